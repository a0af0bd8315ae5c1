#include "tools/tekupd/mirror/snapshot.h"

#include "storage/base/log.h"
#include "storage/base/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY "index"
#define VECTORS "vectors"
#define CATALOG "catalog-"
#define POSITION "position"
#define ASIDE ".set-aside"

enum { NAME_SIZE = 48, PATH_SIZE = PATHS_SIZE + 64 };

/* A file of the snapshot; name "" is their directory. */
static const char *place(const char *data, const char *name, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/" DIRECTORY "%s%s", data, *name != '\0' ? "/" : "", name);
    return out;
}

void snapshot_free(struct snapshot *snapshot)
{
    replica_release(snapshot->replica);
    free(snapshot->position);
    *snapshot = (struct snapshot){0};
}

/* ---- The note -------------------------------------------------------------------------------- */

/* Lines of name=value; the position is the last and the longest. */
struct note {
    char identity[FEED_IDENTITY_SIZE], model[128], catalog[NAME_SIZE];
    struct catalog_file file;
    char *position;
};

static const char note_head[] = "tekupdb snapshot 1\n";

static void put_note(struct buffer *out, const struct note *note)
{
    buffer_format(out,
                  "%sidentity=%s\nmodel=%s\ncatalog=%s\nsize=%" PRIu64 "\nchecksum=%016" PRIx64
                  "\nposition=%s\n",
                  note_head, note->identity, note->model, note->catalog, note->file.size,
                  note->file.checksum, note->position);
}

/* The value of the next line, which must have this name. *at moves behind the line. */
static int take_value(char **at, const char *name, char **value)
{
    const size_t length = strlen(name);
    char *end = strchr(*at, '\n');
    if (end == NULL || strncmp(*at, name, length) != 0 || (*at)[length] != '=') return -1;
    *value = *at + length + 1;
    *end = '\0';
    *at = end + 1;
    return 0;
}

static int take_lines(char *text, struct note *note)
{
    char *values[6];
    static const char *const names[] = {"identity", "model",    "catalog",
                                        "size",     "checksum", "position"};
    if (strncmp(text, note_head, strlen(note_head)) != 0) return -1;
    text += strlen(note_head);
    for (int i = 0; i < 6; i++)
        if (take_value(&text, names[i], &values[i]) != 0) return -1;
    if (strlen(values[0]) >= sizeof(note->identity) || strlen(values[1]) >= sizeof(note->model) ||
        strlen(values[2]) >= sizeof(note->catalog) || strchr(values[2], '/') != NULL ||
        !feed_position_valid(values[5]))
        return -1;
    strcpy(note->identity, values[0]);
    strcpy(note->model, values[1]);
    strcpy(note->catalog, values[2]);
    note->file.size = strtoull(values[3], NULL, 10);
    note->file.checksum = strtoull(values[4], NULL, 16);
    note->position = strdup(values[5]);
    return note->position != NULL ? 0 : -1;
}

static int read_note(const tk_index *index, struct note *note, struct error *err)
{
    size_t size;
    const void *bytes = tk_index_note(index, &size);
    char *text = bytes != NULL ? strndup(bytes, size) : NULL;
    *note = (struct note){0};
    const int rc = text != NULL ? take_lines(text, note) : -1;
    free(text);
    if (rc != 0)
        error_set(err, ERR_INVALID, NULL, "its note is not one of a snapshot of this version");
    return rc;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Removes catalogs but for the one that is kept (NULL: none). */
static void remove_catalogs(const char *data, const char *kept)
{
    char path[PATH_SIZE];
    DIR *directory = opendir(place(data, "", path));
    struct dirent *entry;
    if (directory == NULL) return;
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, CATALOG, strlen(CATALOG)) != 0 ||
            strlen(entry->d_name) >= NAME_SIZE || strstr(entry->d_name, ASIDE) != NULL ||
            (kept != NULL && strcmp(entry->d_name, kept) == 0))
            continue;
        unlink(place(data, entry->d_name, path));
    }
    closedir(directory);
}

static int make_directory(const char *data, struct error *err)
{
    char path[PATH_SIZE];
    if (mkdir(place(data, "", path), 0700) == 0 || errno == EEXIST) return 0;
    return error_set(err, ERR_IO, NULL, "cannot make %s: %s", path, strerror(errno));
}

/* Each catalog has a name of its own: the one of the snapshot before is needed until the new one is
 * in place. */
static void name_catalog(char name[NAME_SIZE])
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, NAME_SIZE, CATALOG "%llx",
             (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec);
}

/* ---- Saving ---------------------------------------------------------------------------------- */

static int save_vectors(const char *data, struct replica *replica, const struct note *note,
                        struct error *err)
{
    char path[PATH_SIZE];
    struct buffer text = {0};
    tk_error problem = {{0}};
    tk_status status = TK_ENOMEM;
    put_note(&text, note);
    if (!text.failed)
        status = tk_index_save(replica_index(replica), place(data, VECTORS, path), text.data,
                               text.length, &problem);
    buffer_free(&text);
    if (status == TK_OK) return 0;
    return error_set(err, status == TK_EIO ? ERR_IO : ERR_INTERNAL, NULL, "%s",
                     *problem.message != '\0' ? problem.message : "memory ran out");
}

int snapshot_save(const char *data, struct replica *replica, const char *identity,
                  const char *position, struct error *err)
{
    char path[PATH_SIZE];
    struct note note = {.position = (char *)position};
    if (make_directory(data, err) != 0) return -1;
    snprintf(note.identity, sizeof(note.identity), "%s", identity);
    snprintf(note.model, sizeof(note.model), "%s", replica_model(replica));
    name_catalog(note.catalog);
    if (catalog_save(replica_catalog(replica), place(data, note.catalog, path), &note.file, err) !=
        0)
        return -1;
    if (save_vectors(data, replica, &note, err) != 0) {
        unlink(path);
        return -1;
    }
    /* That of the one before must not be taken for this one's: it is named in it. */
    unlink(place(data, POSITION, path));
    remove_catalogs(data, note.catalog);
    return 0;
}

static int write_file(const char *path, const struct buffer *text, struct error *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "cannot create %s: %s", path, strerror(errno));
    int rc = 0;
    if (write(fd, text->data, text->length) != (ssize_t)text->length || fsync(fd) != 0)
        rc = error_set(err, ERR_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    close(fd);
    return rc;
}

/* The catalog's name tells which snapshot a position belongs to. */
static int find_catalog(const char *data, char name[NAME_SIZE])
{
    char path[PATH_SIZE];
    DIR *directory = opendir(place(data, "", path));
    struct dirent *entry;
    int found = 0;
    if (directory == NULL) return 0;
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, CATALOG, strlen(CATALOG)) != 0 ||
            strlen(entry->d_name) >= NAME_SIZE || strstr(entry->d_name, ASIDE) != NULL)
            continue;
        strcpy(name, entry->d_name);
        found++;
    }
    closedir(directory);
    return found;
}

int snapshot_move(const char *data, const char *position, struct error *err)
{
    char beside[PATH_SIZE], path[PATH_SIZE], catalog[NAME_SIZE];
    struct buffer text = {0};
    if (find_catalog(data, catalog) != 1)
        return error_set(err, ERR_NOT_FOUND, NULL, "there is no snapshot, or more than one");
    buffer_format(&text, "%s %s\n", catalog, position);
    int rc = text.failed ? error_set(err, ERR_INTERNAL, NULL, "memory ran out")
                         : write_file(place(data, POSITION ".tmp", beside), &text, err);
    if (rc == 0 && rename(beside, place(data, POSITION, path)) != 0)
        rc = error_set(err, ERR_IO, NULL, "cannot rename %s: %s", beside, strerror(errno));
    buffer_free(&text);
    return rc;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* The later position, where there is one that belongs to this snapshot. */
static int take_later_position(const char *data, struct note *note, struct error *err)
{
    char path[PATH_SIZE];
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(place(data, POSITION, path), "re");
    if (file == NULL) return 0;
    const ssize_t length = getline(&line, &room, file);
    fclose(file);
    char *space = length > 0 ? strchr(line, ' ') : NULL;
    if (space != NULL && line[length - 1] == '\n') {
        *space = line[length - 1] = '\0';
        if (strcmp(line, note->catalog) == 0 && feed_position_valid(space + 1)) {
            free(note->position);
            note->position = strdup(space + 1);
        }
    }
    free(line);
    return note->position != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

static int check_options(const tk_index *index, const tk_index_options *options, struct error *err)
{
    tk_index_stats stats;
    tk_index_get_stats(index, &stats);
    if (stats.dim != options->dim || stats.max_neighbours != options->max_neighbours ||
        stats.ef_construction != options->ef_construction || stats.ef_search != options->ef_search)
        return error_set(err, ERR_INVALID, NULL,
                         "its index was built with other settings (max_neighbours %u, "
                         "ef_construction %u)",
                         stats.max_neighbours, stats.ef_construction);
    return 0;
}

static int open_catalog(const char *data, tk_index *index, const struct note *note,
                        struct snapshot *snapshot, struct error *err)
{
    char path[PATH_SIZE];
    struct catalog *catalog = catalog_load(place(data, note->catalog, path), &note->file, err);
    if (catalog == NULL) {
        tk_index_free(index);
        if (err->code == ERR_IO) err->code = ERR_INVALID; /* it belongs to the index, and is gone */
        return -1;
    }
    snapshot->replica = replica_of(index, catalog, note->model, err);
    return snapshot->replica != NULL ? 0 : -1;
}

int snapshot_open(const char *data, const tk_index_options *options, struct snapshot *snapshot,
                  struct error *err)
{
    char path[PATH_SIZE];
    struct note note = {0};
    tk_error problem = {{0}};
    tk_index *index = NULL;
    *snapshot = (struct snapshot){0};
    if (access(place(data, VECTORS, path), F_OK) != 0) return 0;
    const tk_status status = tk_index_load(path, &index, &problem);
    if (status != TK_OK)
        return error_set(err, status == TK_ENOMEM ? ERR_INTERNAL : ERR_INVALID, NULL, "%s",
                         problem.message);
    int rc = read_note(index, &note, err);
    if (rc == 0) rc = check_options(index, options, err);
    if (rc == 0) rc = take_later_position(data, &note, err);
    if (rc != 0)
        tk_index_free(index);
    else
        rc = open_catalog(data, index, &note, snapshot, err);
    if (rc == 0) {
        strcpy(snapshot->identity, note.identity);
        snapshot->position = note.position;
        return 1;
    }
    free(note.position);
    return -1;
}

void snapshot_set_aside(const char *data, const char *reason)
{
    char path[PATH_SIZE], aside[PATH_SIZE], catalog[NAME_SIZE];
    if (rename(place(data, VECTORS, path), place(data, VECTORS ASIDE, aside)) != 0) {
        log_error("snapshot.set_aside", "file=%s reason=%s error=%s", log_quote(path),
                  log_quote(reason), log_quote(strerror(errno)));
        unlink(path);
    } else {
        log_warn("snapshot.set_aside", "file=%s as=%s reason=%s", log_quote(path), log_quote(aside),
                 log_quote(reason));
    }
    if (find_catalog(data, catalog) == 1)
        (void)!rename(place(data, catalog, path), place(data, "catalog" ASIDE, aside));
    remove_catalogs(data, NULL);
    unlink(place(data, POSITION, path));
}
