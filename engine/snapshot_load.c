/*
 * snapshot_load.c: reading an index from a file; snapshot.h has the form.
 *
 * The file is mapped, privately, so that what is changed later stays in memory. Nothing in it is
 * believed: sizes are held against the size of the file, checksums are computed before content is
 * looked at, and content is checked before it is used.
 */
#include "engine/entries.h"
#include "engine/parallel.h"
#include "engine/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct input {
    const char *path;
    int fd;
    uint64_t size;
    struct snapshot_header header;
    const struct kernels *kernels;
    char *mapping; /* until the store has taken it over */
    const uint32_t *members, *parents, *lengths;
    const tk_id *ids;
    uint64_t begin, chunks; /* of what the checksums cover */
    _Atomic uint64_t next;  /* chunk to be checked */
    _Atomic bool damaged;
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

/* Whether the sections lie one after another to the end of the file, and are as large as the counts
 * say. The sizes of rows and lists are checked against the index that is made. */
static tk_status check_layout(struct input *input)
{
    const struct snapshot_header *header = &input->header;
    const tk_index_options options = options_in(header);
    if (tk_options_check(&options, NULL) != TK_OK)
        return fail_corrupt(input, "has options out of range");
    if (header->slots >= STORE_SLOTS_MAX || header->nodes > header->slots)
        return fail_corrupt(input, "has counts out of range");
    /* The table of checksums is as long as what comes after it demands. */
    uint64_t chunks = tk_snapshot_chunks(header->file_size);
    while (chunks > 0 && tk_snapshot_begin(chunks - 1) + (chunks - 1) * (uint64_t)SNAPSHOT_CHUNK >=
                             header->file_size)
        chunks--;
    input->chunks = chunks;
    input->begin = tk_snapshot_begin(chunks);
    const uint64_t sizes[SECTION_ROWS] = {[SECTION_MEMBERS] = header->slots * sizeof(uint32_t),
                                          [SECTION_PARENTS] = header->slots * sizeof(uint32_t),
                                          [SECTION_LENGTHS] = header->slots * sizeof(uint32_t),
                                          [SECTION_IDS] = header->ids * sizeof(tk_id),
                                          [SECTION_SCALES] = header->slots * sizeof(float)};
    uint64_t end = input->begin;
    if (header->ids > header->file_size) return fail_corrupt(input, "has counts out of range");
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        const struct snapshot_extent *section = &header->sections[i];
        const uint64_t offset = tk_snapshot_align(end);
        if (section->offset != offset || offset > header->file_size ||
            section->size > header->file_size - offset)
            return fail_corrupt(input, "has sections that do not fit");
        if (i < SECTION_ROWS && section->size != sizes[i])
            return fail_corrupt(input, "has counts that do not fit its sections");
        end = offset + section->size;
    }
    if (end != header->file_size) return fail_corrupt(input, "has something at its end");
    if (header->sections[SECTION_NOTE].size > SNAPSHOT_NOTE_MAX)
        return fail_corrupt(input, "has a note that is too long");
    return TK_OK;
}

/* ---- Checksums ------------------------------------------------------------------------------- */

static void check_chunks(void *arg)
{
    struct input *input = arg;
    const uint32_t *checksums = (const uint32_t *)(input->mapping + SNAPSHOT_HEADER);
    for (;;) {
        const uint64_t chunk = atomic_fetch_add(&input->next, 1);
        if (chunk >= input->chunks || atomic_load(&input->damaged)) return;
        const uint64_t offset = input->begin + chunk * SNAPSHOT_CHUNK;
        const uint64_t left = input->size - offset;
        const size_t size = left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK;
        if (input->kernels->crc32c(0, input->mapping + offset, size) != checksums[chunk])
            atomic_store(&input->damaged, true);
    }
}

static bool all_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i]) return false;
    return true;
}

static tk_status map_file(struct input *input)
{
    const struct snapshot_header *header = &input->header;
    void *mapping = mmap(NULL, input->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, input->fd, 0);
    if (mapping == MAP_FAILED) return fail_system(input, "map");
    input->mapping = mapping;
    const size_t table = input->chunks * sizeof(uint32_t);
    if (!all_zero(input->mapping + sizeof(*header), SNAPSHOT_HEADER - sizeof(*header)) ||
        !all_zero(input->mapping + SNAPSHOT_HEADER + table, input->begin - SNAPSHOT_HEADER - table))
        return fail_corrupt(input, "has something between its parts");
    if (input->kernels->crc32c(0, input->mapping + SNAPSHOT_HEADER, table) != header->checksums_crc)
        return fail_corrupt(input, "is damaged: its table of checksums is wrong");
    tk_parallel(0, input->chunks, check_chunks, input);
    if (atomic_load(&input->damaged))
        return fail_corrupt(input, "is damaged: a checksum of its content is wrong");
    for (unsigned i = 1; i < SECTION_COUNT; i++) {
        const uint64_t end = header->sections[i - 1].offset + header->sections[i - 1].size;
        if (!all_zero(input->mapping + end, header->sections[i].offset - end))
            return fail_corrupt(input, "has something between its sections");
    }
    input->members = (const uint32_t *)(input->mapping + header->sections[SECTION_MEMBERS].offset);
    input->parents = (const uint32_t *)(input->mapping + header->sections[SECTION_PARENTS].offset);
    input->lengths = (const uint32_t *)(input->mapping + header->sections[SECTION_LENGTHS].offset);
    input->ids = (const tk_id *)(input->mapping + header->sections[SECTION_IDS].offset);
    return TK_OK;
}

/* ---- Content --------------------------------------------------------------------------------- */

static tk_status make_index(struct input *input)
{
    const struct snapshot_header *header = &input->header;
    const tk_index_options options = options_in(header);
    tk_status status = tk_index_create(&options, &input->index, input->error);
    if (status != TK_OK) return status;
    const struct store *store = &input->index->store;
    if (header->components != store->coder.n || header->interleaved > 1 ||
        header->sections[SECTION_ROWS].size != header->slots * store->row_size)
        return fail_corrupt(input, "has rows of another size");
    return TK_OK;
}

/* Gives the store the rows. From here on the mapping is its business. */
static tk_status adopt_rows(struct input *input, struct session *session)
{
    const struct snapshot_header *header = &input->header;
    struct store *store = &input->index->store;
    int8_t *codes = (int8_t *)input->mapping + header->sections[SECTION_ROWS].offset;
    const float *scales = (const float *)(input->mapping + header->sections[SECTION_SCALES].offset);
    void *mapping = input->mapping;
    input->mapping = NULL;
    if (tk_store_adopt(store, &session->seat, mapping, input->size, codes, scales,
                       (uint32_t)header->slots) != TK_OK)
        return tk_fail_memory(input->error);
    return TK_OK;
}

static tk_status make_members(struct input *input, struct session *session, uint32_t slot,
                              const tk_id *ids)
{
    struct store *store = &input->index->store;
    const uint32_t count = input->members[slot];
    if (count == 1) {
        *tk_store_id(store, slot) = ids[0];
    } else {
        struct members *members = tk_store_new_members(store, count);
        if (!members) return tk_fail_memory(input->error);
        memcpy(members->ids, ids, count * sizeof(*ids));
        tk_store_set_members(store, &session->seat, slot, members);
    }
    for (uint32_t i = 0; i < count; i++) {
        tk_status status = tk_idmap_reserve(&input->index->map, &session->seat, ids[i]);
        if (status == TK_EEXISTS) return fail_corrupt(input, "has an id twice");
        if (status != TK_OK) return tk_fail_memory(input->error);
        tk_idmap_publish(&input->index->map, ids[i], slot);
    }
    return TK_OK;
}

static bool is_node(const struct input *input, uint32_t slot)
{
    return slot < input->header.slots && input->members[slot] > 0;
}

/* Makes the nodes with their ids. */
static tk_status make_nodes(struct input *input, struct session *session)
{
    struct store *store = &input->index->store;
    const tk_id *ids = input->ids;
    uint64_t left = input->header.ids, nodes = 0;
    tk_status status = TK_OK;
    for (uint32_t slot = 0; slot < input->header.slots && status == TK_OK; slot++) {
        const uint32_t count = input->members[slot], parent = input->parents[slot];
        struct node *node = tk_store_node(store, slot);
        if (count == 0) continue;
        const float scale = tk_store_row(store, slot).scale;
        if (!(scale > 0 && scale < 1)) return fail_corrupt(input, "has a row that is no vector's");
        if (count > left) return fail_corrupt(input, "has a node without its ids");
        if (parent != NO_SLOT && (parent == slot || !is_node(input, parent)))
            return fail_corrupt(input, "has a parent that leads nowhere");
        atomic_store_explicit(&node->parent, parent, memory_order_relaxed);
        status = make_members(input, session, slot, ids);
        ids += count;
        left -= count;
        nodes++;
    }
    if (status == TK_OK && (left > 0 || nodes != input->header.nodes))
        return fail_corrupt(input, "has counts that do not fit its nodes");
    return status;
}

/* Whether a list is as long as it is to be and leads only to nodes. */
static bool list_is_sound(const struct input *input, const struct neighbours *list, uint32_t slot)
{
    const struct store *store = &input->index->store;
    const uint32_t count = input->lengths[slot], groups = tk_links_groups(count);
    const uint32_t expected = groups > store->usual_groups ? groups : store->usual_groups;
    if (list->count != count || list->groups < expected ||
        list->groups > tk_links_groups(LIST_MAX) || list->n != store->coder.n)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!is_node(input, tk_neighbour(list, i))) return false;
    return true;
}

/* Gives the nodes their lists where they lie, and counts who is linked to how often. */
static tk_status set_lists(struct input *input, uint32_t *inlinks)
{
    struct store *store = &input->index->store;
    const struct snapshot_extent *section = &input->header.sections[SECTION_LISTS];
    char *at = store->mapping + section->offset;
    uint64_t left = section->size;
    const bool reorder = store->coder.kernels->interleaved != (input->header.interleaved == 1);
    for (uint32_t slot = 0; slot < input->header.slots; slot++) {
        if (input->members[slot] == 0) continue;
        struct neighbours *list = (struct neighbours *)at;
        if (input->lengths[slot] > LIST_MAX || left < sizeof(*list) ||
            list->groups > tk_links_groups(LIST_MAX) || list->n != store->coder.n ||
            left < tk_links_size(list->n, list->groups) || !list_is_sound(input, list, slot))
            return fail_corrupt(input, "has a neighbour list that leads nowhere");
        if (reorder) tk_links_reorder(&store->coder, list);
        for (uint32_t i = 0; i < list->count; i++)
            if (tk_neighbour(list, i) != slot) inlinks[tk_neighbour(list, i)]++;
        atomic_store_explicit(&tk_store_spot(store, slot)->out, list, memory_order_release);
        at += tk_links_size(list->n, list->groups);
        left -= tk_links_size(list->n, list->groups);
    }
    return left == 0 ? TK_OK : fail_corrupt(input, "has too many neighbour lists");
}

/* Fills in who links to whom. */
static tk_status set_inlinks(struct input *input, const uint32_t *inlinks)
{
    struct store *store = &input->index->store;
    for (uint32_t slot = 0; slot < input->header.slots; slot++) {
        struct inlinks *in = &tk_store_node(store, slot)->in;
        if (inlinks[slot] == 0) continue;
        in->slots = tk_memory_alloc(store->memory, inlinks[slot] * sizeof(*in->slots));
        if (!in->slots) return tk_fail_memory(input->error);
        in->capacity = inlinks[slot];
    }
    for (uint32_t slot = 0; slot < input->header.slots; slot++) {
        const struct neighbours *list = tk_store_list(store, slot);
        for (uint32_t i = 0; list && i < list->count; i++) {
            if (tk_neighbour(list, i) == slot) continue;
            struct inlinks *in = &tk_store_node(store, tk_neighbour(list, i))->in;
            in->slots[in->count++] = slot;
        }
    }
    return TK_OK;
}

static tk_status make_links(struct input *input)
{
    uint32_t *inlinks = calloc(input->header.slots + 1, sizeof(*inlinks));
    if (!inlinks) return tk_fail_memory(input->error);
    tk_status status = set_lists(input, inlinks);
    if (status == TK_OK) status = set_inlinks(input, inlinks);
    free(inlinks);
    return status;
}

static tk_status restore_note(struct input *input)
{
    struct tk_index *index = input->index;
    const struct snapshot_extent *section = &input->header.sections[SECTION_NOTE];
    if (section->size == 0) return TK_OK;
    index->note = tk_memory_alloc(&index->memory, section->size);
    if (!index->note) return tk_fail_memory(input->error);
    memcpy(index->note, index->store.mapping + section->offset, section->size);
    index->note_size = section->size;
    return TK_OK;
}

/* Makes everything visible. */
static tk_status publish(struct input *input, struct session *session)
{
    struct tk_index *index = input->index;
    for (uint32_t slot = 0; slot < input->header.slots; slot++) {
        struct node *node = tk_store_node(&index->store, slot);
        if (input->members[slot] > 0)
            tk_store_set_live(&index->store, slot, true);
        else
            tk_store_give(&index->store, node);
    }
    atomic_store(&index->graph.nodes, input->header.nodes);
    atomic_store(&index->count, input->header.ids);
    if (input->header.nodes > 0 && !tk_entries_draw(&index->graph, session))
        return tk_fail_memory(input->error);
    return TK_OK;
}

static tk_status load(struct input *input)
{
    struct session *session;
    tk_status status = open_file(input);
    if (status == TK_OK) status = read_header(input);
    if (status == TK_OK) status = check_layout(input);
    if (status == TK_OK) status = map_file(input);
    if (status == TK_OK) status = make_index(input);
    if (status == TK_OK) status = tk_write_begin(input->index, &session, input->error);
    if (status != TK_OK) return status;
    status = adopt_rows(input, session);
    if (status == TK_OK) status = make_nodes(input, session);
    if (status == TK_OK) status = make_links(input);
    if (status == TK_OK) status = restore_note(input);
    if (status == TK_OK) status = publish(input, session);
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
    if (input.mapping) munmap(input.mapping, input.size);
    if (status == TK_OK)
        *index = input.index;
    else
        tk_index_free(input.index);
    return status;
}
