/*
 * snapshot_save.c: writing an index to a file; snapshot.h has the form.
 *
 * The file is written beside its place, synced, and renamed. The one beside is locked meanwhile
 * (flock), so that two who save to one place do it one after the other. Only the writing itself
 * holds up those who change the index; syncing does not.
 */
#include "engine/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)1 << 20)
#define FILE_SUFFIX ".tmp"

struct output {
    struct tk_index *index;
    const char *path; /* where the file is to be in the end */
    char *beside;     /* where it is written */
    int fd;
    char *buffer;
    size_t buffered;
    uint64_t offset;   /* of what comes next */
    uint32_t *numbers; /* of each slot, its number in the file */
    uint32_t used;     /* slots */
    struct snapshot_header header;
    struct snapshot_extent *section; /* being written */
    tk_error *error;
};

static tk_status fail_output(const struct output *output, const char *doing)
{
    return tk_fail(output->error, TK_EIO, "cannot %s %.150s: %m", doing, output->beside);
}

static tk_status write_all(struct output *output, const void *data, size_t size)
{
    const char *from = data;
    while (size > 0) {
        ssize_t written = write(output->fd, from, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_output(output, "write");
        from += written;
        size -= (size_t)written;
    }
    return TK_OK;
}

static tk_status flush(struct output *output)
{
    tk_status status = write_all(output, output->buffer, output->buffered);
    output->buffered = 0;
    return status;
}

/* Appends to the section that is being written. */
static tk_status put(struct output *output, const void *data, size_t size)
{
    const char *from = data;
    if (output->section) {
        output->section->crc =
            output->index->graph.kernels->crc32c(output->section->crc, data, size);
        output->section->size += size;
    }
    output->offset += size;
    while (size > 0) {
        size_t room = BUFFER_SIZE - output->buffered;
        size_t part = size < room ? size : room;
        memcpy(output->buffer + output->buffered, from, part);
        output->buffered += part;
        from += part;
        size -= part;
        if (output->buffered == BUFFER_SIZE) {
            tk_status status = flush(output);
            if (status != TK_OK) return status;
        }
    }
    return TK_OK;
}

static tk_status begin_section(struct output *output, enum snapshot_section section)
{
    static const char zeros[SNAPSHOT_ALIGN];
    size_t gap = (SNAPSHOT_ALIGN - output->offset % SNAPSHOT_ALIGN) % SNAPSHOT_ALIGN;
    output->section = NULL;
    tk_status status = put(output, zeros, gap);
    output->section = &output->header.sections[section];
    output->section->offset = output->offset;
    return status;
}

/* ---- Sections -------------------------------------------------------------------------------- */

static tk_status put_level(struct output *output, uint32_t slot)
{
    const struct node *node = tk_store_node(&output->index->store, slot);
    return put(output, &node->level, sizeof(node->level));
}

static const struct members *members_of(const struct output *output, uint32_t slot)
{
    return atomic_load_explicit(&tk_store_node(&output->index->store, slot)->members,
                                memory_order_acquire);
}

static tk_status put_member_count(struct output *output, uint32_t slot)
{
    const struct members *members = members_of(output, slot);
    output->header.ids += members->count;
    return put(output, &members->count, sizeof(members->count));
}

static tk_status put_ids(struct output *output, uint32_t slot)
{
    const struct members *members = members_of(output, slot);
    return put(output, members->ids, members->count * sizeof(*members->ids));
}

/* A list as the file has it: the numbers of the nodes, without entries that were blotted out. */
static uint32_t numbered_list(const struct output *output, uint32_t slot, unsigned layer,
                              uint32_t *numbers)
{
    const struct neighbours *list = tk_graph_list(&output->index->graph, slot, layer);
    uint32_t count = 0;
    for (uint32_t i = 0; list && i < list->count; i++) {
        uint32_t neighbour = tk_neighbour(list, i);
        if (neighbour != slot) numbers[count++] = output->numbers[neighbour];
    }
    return count;
}

static tk_status put_lengths(struct output *output, uint32_t slot)
{
    unsigned level = tk_store_node(&output->index->store, slot)->level;
    tk_status status = TK_OK;
    for (unsigned layer = 0; layer <= level && status == TK_OK; layer++) {
        uint32_t numbers[LIST_MAX];
        uint32_t length = numbered_list(output, slot, layer, numbers);
        output->header.lengths++;
        output->header.links += length;
        status = put(output, &length, sizeof(length));
    }
    return status;
}

static tk_status put_parents(struct output *output, uint32_t slot)
{
    struct node *node = tk_store_node(&output->index->store, slot);
    tk_status status = TK_OK;
    for (unsigned layer = 0; layer <= node->level && status == TK_OK; layer++) {
        uint32_t parent = tk_parent(&output->index->graph, slot, layer);
        if (parent != NO_SLOT) parent = output->numbers[parent];
        status = put(output, &parent, sizeof(parent));
    }
    return status;
}

static tk_status put_links(struct output *output, uint32_t slot)
{
    unsigned level = tk_store_node(&output->index->store, slot)->level;
    tk_status status = TK_OK;
    for (unsigned layer = 0; layer <= level && status == TK_OK; layer++) {
        uint32_t numbers[LIST_MAX];
        uint32_t length = numbered_list(output, slot, layer, numbers);
        status = put(output, numbers, length * sizeof(*numbers));
    }
    return status;
}

static tk_status put_vector(struct output *output, uint32_t slot)
{
    const struct store *store = &output->index->store;
    return put(output, tk_store_vector(store, slot), store->dim * sizeof(float));
}

static tk_status put_section(struct output *output, enum snapshot_section section,
                             tk_status (*put_node)(struct output *, uint32_t))
{
    tk_status status = begin_section(output, section);
    for (uint32_t slot = 0; slot < output->used && status == TK_OK; slot++)
        if (output->numbers[slot] != NO_SLOT) status = put_node(output, slot);
    return status;
}

/* Numbers the live nodes. */
static tk_status number_nodes(struct output *output)
{
    const struct store *store = &output->index->store;
    output->used = atomic_load_explicit(&store->used, memory_order_acquire);
    output->numbers = malloc(output->used ? output->used * sizeof(*output->numbers) : 1);
    if (!output->numbers) return tk_fail_memory(output->error);
    for (uint32_t slot = 0; slot < output->used; slot++) {
        bool live = tk_node_state(tk_store_node(store, slot)) == SLOT_LIVE;
        output->numbers[slot] = live ? (uint32_t)output->header.nodes++ : NO_SLOT;
    }
    return TK_OK;
}

static void fill_header(struct output *output)
{
    struct tk_index *index = output->index;
    struct snapshot_header *header = &output->header;
    uint32_t entry;
    unsigned level;
    memcpy(header->magic, SNAPSHOT_MAGIC, sizeof(header->magic));
    header->order = SNAPSHOT_ORDER;
    header->version = SNAPSHOT_VERSION;
    header->file_size = output->offset;
    header->dim = index->options.dim;
    header->max_neighbours = index->options.max_neighbours;
    header->ef_construction = index->options.ef_construction;
    header->ef_search = index->options.ef_search;
    header->seed = index->options.seed;
    header->drawn = atomic_load(&index->graph.drawn);
    header->entry =
        tk_graph_entry(&index->graph, &entry, &level) ? output->numbers[entry] : NO_SLOT;
    header->crc = index->graph.kernels->crc32c(0, header, offsetof(struct snapshot_header, crc));
}

/* Writes everything. Nobody may be changing the index. */
static tk_status put_index(struct output *output, const void *note, size_t note_size)
{
    static tk_status (*const put_node[SECTION_NOTE])(struct output *, uint32_t) = {
        [SECTION_LEVELS] = put_level,    [SECTION_MEMBERS] = put_member_count,
        [SECTION_IDS] = put_ids,         [SECTION_LENGTHS] = put_lengths,
        [SECTION_PARENTS] = put_parents, [SECTION_LINKS] = put_links,
        [SECTION_VECTORS] = put_vector};
    tk_status status = number_nodes(output);
    if (status == TK_OK) status = put(output, &output->header, sizeof(output->header));
    for (unsigned section = 0; section < SECTION_NOTE && status == TK_OK; section++)
        status = put_section(output, section, put_node[section]);
    if (status == TK_OK) status = begin_section(output, SECTION_NOTE);
    if (status == TK_OK && note_size > 0) status = put(output, note, note_size);
    if (status == TK_OK) status = flush(output);
    if (status != TK_OK) return status;
    fill_header(output);
    if (lseek(output->fd, 0, SEEK_SET) != 0) return fail_output(output, "seek in");
    return write_all(output, &output->header, sizeof(output->header));
}

/* ---- The file -------------------------------------------------------------------------------- */

/* Whether the name still leads to the file that is open. */
static bool is_at(int fd, const char *path)
{
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

/* Opens the file beside for this save alone, empty. Another save that held it has renamed it by the
 * time it lets go, so then there is a new one to open. */
static tk_status open_beside(struct output *output)
{
    for (;;) {
        output->fd = open(output->beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (output->fd < 0) return fail_output(output, "create");
        int locked;
        do {
            locked = flock(output->fd, LOCK_EX);
        } while (locked != 0 && errno == EINTR);
        if (locked != 0) return fail_output(output, "lock");
        if (is_at(output->fd, output->beside)) break;
        close(output->fd);
        output->fd = -1;
    }
    return ftruncate(output->fd, 0) == 0 ? TK_OK : fail_output(output, "truncate");
}

static tk_status sync_directory(const struct output *output)
{
    const char *slash = strrchr(output->path, '/');
    char *directory =
        slash ? strndup(output->path, (size_t)(slash - output->path) + 1) : strdup(".");
    if (!directory) return tk_fail_memory(output->error);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    tk_status status = TK_OK;
    /* Some file systems cannot sync a directory and say EINVAL; they have no need to. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        status =
            tk_fail(output->error, TK_EIO, "cannot sync the directory of %.150s: %m", output->path);
    if (fd >= 0) close(fd);
    free(directory);
    return status;
}

static tk_status put_in_place(struct output *output)
{
    if (fsync(output->fd) != 0) return fail_output(output, "sync");
    if (rename(output->beside, output->path) != 0)
        return tk_fail(output->error, TK_EIO, "cannot rename %.100s to %.100s: %m", output->beside,
                       output->path);
    return sync_directory(output);
}

static tk_status save(struct output *output, const void *note, size_t note_size)
{
    size_t length = strlen(output->path);
    output->beside = malloc(length + sizeof(FILE_SUFFIX));
    output->buffer = malloc(BUFFER_SIZE);
    if (!output->beside || !output->buffer) return tk_fail_memory(output->error);
    memcpy(output->beside, output->path, length);
    memcpy(output->beside + length, FILE_SUFFIX, sizeof(FILE_SUFFIX));
    tk_status status = open_beside(output);
    if (status != TK_OK) return status;

    struct session *session;
    pthread_rwlock_wrlock(&output->index->gate);
    status = tk_settle(output->index, output->error);
    if (status == TK_OK) status = tk_read_begin(output->index, &session, output->error);
    if (status == TK_OK) {
        status = put_index(output, note, note_size);
        tk_read_end(output->index, session);
    }
    pthread_rwlock_unlock(&output->index->gate);

    if (status == TK_OK) status = put_in_place(output);
    if (status != TK_OK && is_at(output->fd, output->beside)) unlink(output->beside);
    return status;
}

tk_status tk_index_save(const tk_index *index, const char *path, const void *note, size_t note_size,
                        tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (!path || !*path) return tk_fail(error, TK_EINVAL, "path is %s", path ? "empty" : "NULL");
    if (!note && note_size > 0) return tk_fail(error, TK_EINVAL, "note is NULL");
    if (note_size > SNAPSHOT_NOTE_MAX)
        return tk_fail(error, TK_EINVAL, "note_size must be at most %d, not %zu", SNAPSHOT_NOTE_MAX,
                       note_size);
    /* Settling changes how the index is held, not what is in it. */
    struct output output = {
        .index = (struct tk_index *)index, .path = path, .fd = -1, .error = error};
    tk_status status = save(&output, note, note_size);
    if (output.fd >= 0) close(output.fd);
    free(output.numbers);
    free(output.buffer);
    free(output.beside);
    return status;
}
