/*
 * snapshot_load.c: reading an index from a file; snapshot.h has the form.
 *
 * Nothing in the file is believed: sizes are held against the size of the file before anything is
 * allocated, checksums are computed before content is looked at, and content is checked before it
 * is used.
 */
#include "engine/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How far the length of a stored vector may be from 1. */
#define LENGTH_SLACK 1e-3f
#define VECTOR_CHUNK ((size_t)1 << 20)

struct input {
    const char *path;
    int fd;
    uint64_t size;
    struct snapshot_header header;
    const struct kernels *kernels;
    void *sections[SECTION_COUNT]; /* all but the vectors */
    struct tk_index *index;
    tk_error *error;
};

static tk_status fail_system(const struct input *input, const char *doing)
{
    return tk_fail(input->error, TK_EIO, "cannot %s %.150s: %m", doing, input->path);
}

static tk_status fail_corrupt(const struct input *input, const char *reason)
{
    return tk_fail(input->error, TK_ECORRUPT, "%.150s %s", input->path, reason);
}

static tk_status read_at(const struct input *input, void *to, size_t size, uint64_t offset)
{
    char *at = to;
    while (size > 0) {
        ssize_t got = pread(input->fd, at, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_system(input, "read");
        if (got == 0) return fail_corrupt(input, "is truncated");
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return TK_OK;
}

/* ---- Header ---------------------------------------------------------------------------------- */

static tk_status open_file(struct input *input)
{
    struct stat found;
    input->fd = open(input->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (input->fd < 0) return fail_system(input, "open");
    if (fstat(input->fd, &found) != 0) return fail_system(input, "look at");
    if (!S_ISREG(found.st_mode))
        return tk_fail(input->error, TK_EIO, "%.150s is not a regular file", input->path);
    input->size = (uint64_t)found.st_size;
    return TK_OK;
}

static tk_status read_header(struct input *input)
{
    struct snapshot_header *header = &input->header;
    size_t there = input->size < sizeof(*header) ? (size_t)input->size : sizeof(*header);
    tk_status status = read_at(input, header, there, 0);
    if (status != TK_OK) return status;
    if (there < sizeof(header->magic) ||
        memcmp(header->magic, SNAPSHOT_MAGIC, sizeof(header->magic)) != 0)
        return fail_corrupt(input, there ? "is not a saved index" : "is empty");
    if (there < sizeof(*header)) return fail_corrupt(input, "is truncated in its header");
    if (header->order == __builtin_bswap32(SNAPSHOT_ORDER))
        return tk_fail(input->error, TK_EVERSION,
                       "%.150s was saved on a machine of the other byte order", input->path);
    if (header->order != SNAPSHOT_ORDER) return fail_corrupt(input, "has a damaged header");
    if (header->version != SNAPSHOT_VERSION)
        return tk_fail(input->error, TK_EVERSION,
                       "%.150s has format version %u; this is version %d", input->path,
                       header->version, SNAPSHOT_VERSION);
    if (header->crc != input->kernels->crc32c(0, header, offsetof(struct snapshot_header, crc)))
        return fail_corrupt(input, "has a damaged header");
    if (input->size < header->file_size) return fail_corrupt(input, "is truncated");
    if (input->size > header->file_size) return fail_corrupt(input, "has something at its end");
    return TK_OK;
}

static tk_index_options options_in(const struct snapshot_header *header)
{
    return (tk_index_options){.dim = header->dim,
                              .max_neighbours = header->max_neighbours,
                              .ef_construction = header->ef_construction,
                              .ef_search = header->ef_search,
                              .seed = header->seed};
}

/* Whether what is between two sections is zeros. */
static tk_status check_gap(const struct input *input, uint64_t begin, uint64_t end)
{
    char gap[SNAPSHOT_ALIGN] = {0};
    tk_status status = read_at(input, gap, (size_t)(end - begin), begin);
    for (size_t i = 0; i < sizeof(gap) && status == TK_OK; i++)
        if (gap[i] != 0) status = fail_corrupt(input, "has something between its sections");
    return status;
}

/* Whether the sections lie one after another to the end of the file, and are as large as the counts
 * say. */
static tk_status check_layout(const struct input *input)
{
    const struct snapshot_header *header = &input->header;
    const tk_index_options options = options_in(header);
    uint64_t end = sizeof(*header);
    if (tk_options_check(&options, NULL) != TK_OK)
        return fail_corrupt(input, "has options out of range");
    const uint64_t counts[SECTION_COUNT] = {header->nodes,   header->nodes,   header->ids,
                                            header->lengths, header->lengths, header->links,
                                            header->nodes};
    const uint64_t sizes[SECTION_COUNT] = {1,
                                           sizeof(uint32_t),
                                           sizeof(tk_id),
                                           sizeof(uint32_t),
                                           sizeof(uint32_t),
                                           sizeof(uint32_t),
                                           header->dim * sizeof(float)};
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        const struct snapshot_extent *section = &header->sections[i];
        uint64_t offset = (end + SNAPSHOT_ALIGN - 1) / SNAPSHOT_ALIGN * SNAPSHOT_ALIGN;
        if (section->offset != offset || offset > header->file_size ||
            section->size > header->file_size - offset)
            return fail_corrupt(input, "has sections that do not fit");
        bool fits = i == SECTION_NOTE
                        ? section->size <= SNAPSHOT_NOTE_MAX
                        : section->size % sizes[i] == 0 && section->size / sizes[i] == counts[i];
        if (!fits) return fail_corrupt(input, "has counts that do not fit its sections");
        tk_status status = check_gap(input, end, offset);
        if (status != TK_OK) return status;
        end = offset + section->size;
    }
    if (end != header->file_size) return fail_corrupt(input, "has something at its end");
    if (header->nodes >= STORE_SLOTS_MAX) return fail_corrupt(input, "has too many nodes");
    if (header->nodes ? header->entry >= header->nodes : header->entry != NO_SLOT)
        return fail_corrupt(input, "has an entry point out of range");
    return TK_OK;
}

static tk_status check_crc(const struct input *input, unsigned section, uint32_t crc)
{
    static const char *const names[SECTION_COUNT] = {"levels",  "members", "ids",     "lengths",
                                                     "parents", "links",   "vectors", "note"};
    if (crc == input->header.sections[section].crc) return TK_OK;
    return tk_fail(input->error, TK_ECORRUPT, "%.150s is damaged: the checksum of its %s is wrong",
                   input->path, names[section]);
}

static tk_status read_section(struct input *input, unsigned section)
{
    const struct snapshot_extent *extent = &input->header.sections[section];
    input->sections[section] = malloc(extent->size ? extent->size : 1);
    if (!input->sections[section]) return tk_fail_memory(input->error);
    tk_status status = read_at(input, input->sections[section], extent->size, extent->offset);
    if (status != TK_OK) return status;
    return check_crc(input, section,
                     input->kernels->crc32c(0, input->sections[section], extent->size));
}

/* ---- Content --------------------------------------------------------------------------------- */

static tk_status make_index(struct input *input)
{
    const struct snapshot_header *header = &input->header;
    tk_index_options options = options_in(header);
    tk_status status = tk_index_create(&options, &input->index, input->error);
    if (status == TK_OK) atomic_store(&input->index->graph.drawn, header->drawn);
    return status;
}

/* Makes the nodes with their levels and members; slots come in the order of the file's numbers. */
static tk_status make_nodes(struct input *input, struct session *session)
{
    struct store *store = &input->index->store;
    const uint8_t *levels = input->sections[SECTION_LEVELS];
    const uint32_t *counts = input->sections[SECTION_MEMBERS];
    const tk_id *ids = input->sections[SECTION_IDS];
    uint64_t left = input->header.ids;
    for (uint32_t number = 0; number < input->header.nodes; number++) {
        uint32_t slot, count = counts[number];
        if (levels[number] > LEVEL_MAX) return fail_corrupt(input, "has a level out of range");
        if (count == 0 || count > left) return fail_corrupt(input, "has a node without its ids");
        if (tk_store_take(store, &session->seat, &slot) != TK_OK)
            return tk_fail_memory(input->error);
        struct node *node = tk_store_node(store, slot);
        struct members *members = tk_store_new_members(store, count);
        if (!members) return tk_fail_memory(input->error);
        memcpy(members->ids, ids, count * sizeof(*ids));
        atomic_store_explicit(&node->members, members, memory_order_relaxed);
        for (uint32_t i = 0; i < count; i++, ids++) {
            tk_status status = tk_idmap_reserve(&input->index->map, &session->seat, *ids);
            if (status == TK_EEXISTS) return fail_corrupt(input, "has an id twice");
            if (status != TK_OK) return tk_fail_memory(input->error);
            tk_idmap_publish(&input->index->map, *ids, slot);
        }
        left -= count;
        if (!tk_store_set_level(store, node, levels[number])) return tk_fail_memory(input->error);
    }
    return left == 0 ? TK_OK : fail_corrupt(input, "has ids without a node");
}

/* Whether a parent is another node on the layer, or none. */
static bool parent_is_sound(const struct store *store, uint32_t slot, unsigned layer,
                            uint32_t parent, uint64_t nodes)
{
    if (parent == NO_SLOT) return true;
    return parent < nodes && parent != slot && tk_store_node(store, parent)->level >= layer;
}

/* Whether a list leads only to other nodes that are on the layer, and to each once. */
static bool list_is_sound(const struct store *store, uint32_t slot, unsigned layer,
                          const uint32_t *links, uint32_t length, uint64_t nodes)
{
    if (length > LIST_MAX) return false;
    for (uint32_t i = 0; i < length; i++) {
        if (links[i] >= nodes || links[i] == slot) return false;
        if (tk_store_node(store, links[i])->level < layer) return false;
        for (uint32_t j = 0; j < i; j++)
            if (links[j] == links[i]) return false;
    }
    return true;
}

static tk_status make_links(struct input *input, struct session *session)
{
    struct tk_index *index = input->index;
    const uint32_t *lengths = input->sections[SECTION_LENGTHS];
    const uint32_t *parents = input->sections[SECTION_PARENTS];
    const uint32_t *links = input->sections[SECTION_LINKS];
    uint64_t lengths_left = input->header.lengths, links_left = input->header.links;
    for (uint32_t slot = 0; slot < input->header.nodes; slot++) {
        unsigned level = tk_store_node(&index->store, slot)->level;
        for (unsigned layer = 0; layer <= level; layer++, lengths++, parents++) {
            if (lengths_left-- == 0) return fail_corrupt(input, "has too few neighbour lists");
            uint32_t length = *lengths;
            if (length > links_left ||
                !list_is_sound(&index->store, slot, layer, links, length, input->header.nodes))
                return fail_corrupt(input, "has a neighbour list that leads nowhere");
            if (!parent_is_sound(&index->store, slot, layer, *parents, input->header.nodes))
                return fail_corrupt(input, "has a parent that leads nowhere");
            if (!tk_graph_restore(&index->graph, session, slot, layer, links, length, *parents))
                return tk_fail_memory(input->error);
            links += length;
            links_left -= length;
        }
    }
    if (lengths_left > 0 || links_left > 0)
        return fail_corrupt(input, "has too many neighbour lists");
    return TK_OK;
}

/* Puts a vector into its slot, if it is one that the index could have stored. */
static tk_status restore_vector(struct input *input, uint32_t slot, const float *from)
{
    const struct store *store = &input->index->store;
    float *to = tk_store_vector(store, slot);
    memcpy(to, from, store->dim * sizeof(float));
    memset(to + store->dim, 0, (store->stride - store->dim) * sizeof(float));
    float square = input->kernels->dot(to, to, store->stride);
    if (!(fabsf(square - 1) < LENGTH_SLACK))
        return fail_corrupt(input, "has a vector that is not of length 1");
    return TK_OK;
}

/* The vectors are most of the file, so they are read in chunks, past their checksum, into place. */
static tk_status read_vectors(struct input *input)
{
    const struct snapshot_extent *extent = &input->header.sections[SECTION_VECTORS];
    size_t size = input->header.dim * sizeof(float);
    uint64_t rows = VECTOR_CHUNK / size ? VECTOR_CHUNK / size : 1;
    uint64_t offset = extent->offset, nodes = input->header.nodes;
    uint32_t crc = 0;
    tk_status status = TK_OK;
    char *chunk = malloc(rows * size);
    if (!chunk) return tk_fail_memory(input->error);
    for (uint64_t slot = 0; slot < nodes && status == TK_OK; slot += rows) {
        uint64_t part = nodes - slot < rows ? nodes - slot : rows;
        status = read_at(input, chunk, part * size, offset);
        if (status != TK_OK) break;
        offset += part * size;
        crc = input->kernels->crc32c(crc, chunk, part * size);
        for (uint64_t row = 0; row < part && status == TK_OK; row++)
            status =
                restore_vector(input, (uint32_t)(slot + row), (const float *)(chunk + row * size));
    }
    free(chunk);
    return status == TK_OK ? check_crc(input, SECTION_VECTORS, crc) : status;
}

static tk_status restore_note(struct input *input)
{
    struct tk_index *index = input->index;
    size_t size = input->header.sections[SECTION_NOTE].size;
    if (size == 0) return TK_OK;
    index->note = tk_memory_alloc(&index->memory, size);
    if (!index->note) return tk_fail_memory(input->error);
    memcpy(index->note, input->sections[SECTION_NOTE], size);
    index->note_size = size;
    return TK_OK;
}

/* Makes everything visible. */
static void publish(struct input *input)
{
    struct tk_index *index = input->index;
    for (uint32_t slot = 0; slot < input->header.nodes; slot++) {
        struct node *node = tk_store_node(&index->store, slot);
        atomic_store_explicit(&node->state, SLOT_LIVE, memory_order_release);
    }
    if (input->header.nodes > 0)
        tk_graph_set_entry(&index->graph, input->header.entry,
                           tk_store_node(&index->store, input->header.entry)->level);
    atomic_store(&index->count, input->header.ids);
}

static tk_status load(struct input *input)
{
    struct session *session;
    tk_status status = open_file(input);
    if (status == TK_OK) status = read_header(input);
    if (status == TK_OK) status = check_layout(input);
    for (unsigned section = 0; section < SECTION_COUNT && status == TK_OK; section++)
        if (section != SECTION_VECTORS) status = read_section(input, section);
    if (status == TK_OK) status = make_index(input);
    if (status == TK_OK) status = tk_write_begin(input->index, &session, input->error);
    if (status != TK_OK) return status;
    status = make_nodes(input, session);
    if (status == TK_OK) status = make_links(input, session);
    if (status == TK_OK) status = read_vectors(input);
    if (status == TK_OK) status = restore_note(input);
    if (status == TK_OK) publish(input);
    tk_write_end(input->index, session);
    return status;
}

tk_status tk_index_load(const char *path, tk_index **index, tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    *index = NULL;
    if (!path || !*path) return tk_fail(error, TK_EINVAL, "path is %s", path ? "empty" : "NULL");
    struct input input = {.path = path, .fd = -1, .kernels = tk_kernels_best(), .error = error};
    tk_status status = load(&input);
    if (input.fd >= 0) close(input.fd);
    for (size_t i = 0; i < SECTION_COUNT; i++) free(input.sections[i]);
    if (status == TK_OK)
        *index = input.index;
    else
        tk_index_free(input.index);
    return status;
}
