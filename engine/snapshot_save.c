/*
 * snapshot_save.c: writing an index to a file; snapshot.h has the form.
 *
 * The file is written beside its place, synced, and renamed. The one beside is locked meanwhile
 * (flock), so that two who save to one place do it one after the other. Only the writing itself
 * holds up those who change the index; syncing does not.
 */
#include "engine/entries.h"
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
    uint64_t begin;      /* of the sections */
    uint64_t offset;     /* of what comes next */
    uint32_t *checksums; /* of the chunks from `begin` on */
    uint64_t chunks;
    struct snapshot_header header;
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

/* Adds bytes that go to `offset` to the checksums of their chunks. */
static void checksum(struct output *output, const char *from, size_t size)
{
    const struct kernels *kernels = output->index->store.coder.kernels;
    uint64_t at = output->offset - output->begin;
    while (size > 0) {
        const size_t room = SNAPSHOT_CHUNK - at % SNAPSHOT_CHUNK;
        const size_t part = size < room ? size : room;
        uint32_t *crc = &output->checksums[at / SNAPSHOT_CHUNK];
        *crc = kernels->crc32c(*crc, from, part);
        from += part;
        at += part;
        size -= part;
    }
}

/* Appends to what is being written. */
static tk_status put(struct output *output, const void *data, size_t size)
{
    const char *from = data;
    checksum(output, from, size);
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

static tk_status put_zeros(struct output *output, size_t size)
{
    static const char zeros[4096];
    tk_status status = TK_OK;
    for (size_t part; size > 0 && status == TK_OK; size -= part) {
        part = size < sizeof(zeros) ? size : sizeof(zeros);
        status = put(output, zeros, part);
    }
    return status;
}

/* ---- Sections -------------------------------------------------------------------------------- */

/* Whether there is a node, or the slot is free. */
static bool is_node(const struct output *output, uint32_t slot)
{
    return tk_store_is_live(&output->index->store, slot);
}

static struct node_ids members_at(const struct output *output, uint32_t slot)
{
    if (!is_node(output, slot)) return (struct node_ids){0};
    return tk_store_ids(&output->index->store, slot);
}

static tk_status put_member_count(struct output *output, uint32_t slot)
{
    const uint32_t count = members_at(output, slot).count;
    return put(output, &count, sizeof(count));
}

static tk_status put_parent(struct output *output, uint32_t slot)
{
    uint32_t parent = is_node(output, slot) ? tk_parent(&output->index->graph, slot) : NO_SLOT;
    if (parent != NO_SLOT && (parent == slot || !is_node(output, parent))) parent = NO_SLOT;
    return put(output, &parent, sizeof(parent));
}

static tk_status put_length(struct output *output, uint32_t slot)
{
    const struct neighbours *list =
        is_node(output, slot) ? tk_store_list(&output->index->store, slot) : NULL;
    const uint32_t count = list ? list->count : 0;
    return put(output, &count, sizeof(count));
}

static tk_status put_ids(struct output *output, uint32_t slot)
{
    const struct node_ids members = members_at(output, slot);
    return members.count ? put(output, members.ids, members.count * sizeof(*members.ids)) : TK_OK;
}

static tk_status put_scale(struct output *output, uint32_t slot)
{
    const float scale =
        is_node(output, slot) ? tk_store_spot(&output->index->store, slot)->scale : 0;
    return put(output, &scale, sizeof(scale));
}

static tk_status put_row(struct output *output, uint32_t slot)
{
    const struct store *store = &output->index->store;
    if (!is_node(output, slot)) return put_zeros(output, store->row_size);
    return put(output, tk_store_codes(store, slot), store->row_size);
}

static tk_status put_list(struct output *output, uint32_t slot)
{
    if (!is_node(output, slot)) return TK_OK;
    const struct neighbours *list = tk_store_list(&output->index->store, slot);
    const struct neighbours header = {.count = list->count, .groups = list->groups, .n = list->n};
    tk_status status = put(output, &header, sizeof(header));
    if (status != TK_OK) return status;
    return put(output, list->content, tk_links_size(list->n, list->groups) - sizeof(header));
}

static tk_status (*const put_slot[SECTION_NOTE])(struct output *,
                                                 uint32_t) = {[SECTION_MEMBERS] = put_member_count,
                                                              [SECTION_PARENTS] = put_parent,
                                                              [SECTION_LENGTHS] = put_length,
                                                              [SECTION_IDS] = put_ids,
                                                              [SECTION_SCALES] = put_scale,
                                                              [SECTION_ROWS] = put_row,
                                                              [SECTION_LISTS] = put_list};

/* Counts what there is, and says where everything goes. */
static tk_status lay_out(struct output *output, size_t note_size)
{
    const struct store *store = &output->index->store;
    struct snapshot_header *header = &output->header;
    uint64_t lists = 0;
    header->slots = atomic_load_explicit(&store->used, memory_order_acquire);
    for (uint32_t slot = 0; slot < header->slots; slot++) {
        if (!is_node(output, slot)) continue;
        header->nodes++;
        header->ids += members_at(output, slot).count;
        const struct neighbours *list = tk_store_list(store, slot);
        lists += tk_links_size(list->n, list->groups);
    }
    const uint64_t sizes[SECTION_COUNT] = {[SECTION_MEMBERS] = header->slots * sizeof(uint32_t),
                                           [SECTION_PARENTS] = header->slots * sizeof(uint32_t),
                                           [SECTION_LENGTHS] = header->slots * sizeof(uint32_t),
                                           [SECTION_IDS] = header->ids * sizeof(tk_id),
                                           [SECTION_SCALES] = header->slots * sizeof(float),
                                           [SECTION_ROWS] = header->slots * store->row_size,
                                           [SECTION_LISTS] = lists,
                                           [SECTION_NOTE] = note_size};
    uint64_t end = 0;
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        header->sections[i].size = sizes[i];
        header->sections[i].offset = tk_snapshot_align(end);
        end = header->sections[i].offset + sizes[i];
    }
    output->chunks = tk_snapshot_chunks(end);
    output->begin = tk_snapshot_begin(output->chunks);
    for (unsigned i = 0; i < SECTION_COUNT; i++) header->sections[i].offset += output->begin;
    header->file_size = output->begin + end;
    output->checksums = calloc(output->chunks + 1, sizeof(*output->checksums));
    return output->checksums ? TK_OK : tk_fail_memory(output->error);
}

static tk_status put_section(struct output *output, unsigned section)
{
    const uint64_t offset = output->header.sections[section].offset;
    tk_status status = put_zeros(output, offset - output->offset);
    for (uint32_t slot = 0; slot < output->header.slots && status == TK_OK; slot++)
        status = put_slot[section](output, slot);
    return status;
}

static void fill_header(struct output *output)
{
    const struct tk_index *index = output->index;
    const struct kernels *kernels = index->store.coder.kernels;
    struct snapshot_header *header = &output->header;
    memcpy(header->magic, SNAPSHOT_MAGIC, sizeof(header->magic));
    header->order = SNAPSHOT_ORDER;
    header->version = SNAPSHOT_VERSION;
    header->dim = index->options.dim;
    header->max_neighbours = index->options.max_neighbours;
    header->ef_construction = index->options.ef_construction;
    header->ef_search = index->options.ef_search;
    header->seed = index->options.seed;
    header->components = index->store.coder.n;
    header->interleaved = kernels->interleaved;
    header->checksums_crc =
        kernels->crc32c(0, output->checksums, output->chunks * sizeof(*output->checksums));
    header->crc = kernels->crc32c(0, header, offsetof(struct snapshot_header, crc));
}

/* Writes what stands before the sections, in the room that was left for it. */
static tk_status put_front(struct output *output)
{
    char front[SNAPSHOT_HEADER] = {0};
    fill_header(output);
    memcpy(front, &output->header, sizeof(output->header));
    if (lseek(output->fd, 0, SEEK_SET) != 0) return fail_output(output, "seek in");
    tk_status status = write_all(output, front, sizeof(front));
    if (status != TK_OK) return status;
    return write_all(output, output->checksums, output->chunks * sizeof(*output->checksums));
}

/* Writes everything. Nobody may be changing the index. */
static tk_status put_index(struct output *output, const void *note, size_t note_size)
{
    tk_status status = lay_out(output, note_size);
    if (status != TK_OK) return status;
    output->offset = output->begin;
    if (lseek(output->fd, (off_t)output->begin, SEEK_SET) < 0)
        return fail_output(output, "seek in");
    for (unsigned section = 0; section < SECTION_NOTE && status == TK_OK; section++)
        status = put_section(output, section);
    if (status == TK_OK)
        status = put_zeros(output, output->header.sections[SECTION_NOTE].offset - output->offset);
    if (status == TK_OK && note_size > 0) status = put(output, note, note_size);
    if (status == TK_OK) status = flush(output);
    return status == TK_OK ? put_front(output) : status;
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
        tk_epoch_stay(&session->seat);
        /* The table of entry points is not saved: loading draws it as it is drawn here, so that a
         * loaded index answers just as this one does from now on. */
        if (atomic_load(&output->index->graph.nodes) > 0)
            tk_entries_draw(&output->index->graph, session);
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
    free(output.checksums);
    free(output.buffer);
    free(output.beside);
    return status;
}
