/* tree.c: opens, lists and reads beneath a root. */
#include "ingest/local/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_DIRECTORY = O_RDONLY | O_DIRECTORY | O_CLOEXEC, READ_STEP = 64 << 10 };

int tree_open(struct tree *tree, const char *path)
{
    struct stat status;
    *tree = (struct tree){.path = path, .fd = -1};
    tree->fd = open(path, OPEN_DIRECTORY);
    if (tree->fd < 0) return errno;
    if (fstat(tree->fd, &status) != 0) {
        const int fault = errno;
        tree_close(tree);
        return fault;
    }
    tree->device = status.st_dev;
    tree->inode = status.st_ino;
    return 0;
}

void tree_close(struct tree *tree)
{
    if (tree->fd >= 0) close(tree->fd);
    tree->fd = -1;
}

int tree_check(const struct tree *tree, struct error *err)
{
    struct stat status;
    if (stat(tree->path, &status) != 0)
        return error_set(err, ERR_UNAVAILABLE, NULL, "the directory %s went away: %s", tree->path,
                         strerror(errno));
    if (status.st_dev != tree->device || status.st_ino != tree->inode)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "the directory %s was replaced by another while it was read", tree->path);
    return 0;
}

/* Opens the directory that holds the last part of path, and points *name at that part. */
static int open_parent(const struct tree *tree, const char *path, int *fd, const char **name)
{
    int at = fcntl(tree->fd, F_DUPFD_CLOEXEC, 0);
    if (at < 0) return errno;
    for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        char part[NAME_MAX + 1];
        const size_t length = (size_t)(slash - path);
        int next = -1;
        int fault = ENAMETOOLONG;
        if (length < sizeof(part)) {
            memcpy(part, path, length);
            part[length] = '\0';
            next = openat(at, part, OPEN_DIRECTORY | O_NOFOLLOW);
            fault = errno;
        }
        close(at);
        if (next < 0) return fault;
        at = next;
    }
    *fd = at;
    *name = path;
    return 0;
}

static int open_directory(const struct tree *tree, const char *path, DIR **directory)
{
    int parent;
    const char *name;
    int fault = open_parent(tree, path, &parent, &name);
    if (fault != 0) return fault;
    int fd = openat(parent, name[0] != '\0' ? name : ".", OPEN_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) fault = errno;
    close(parent);
    if (fault != 0) return fault;
    *directory = fdopendir(fd);
    if (*directory == NULL) {
        fault = errno;
        close(fd);
    }
    return fault;
}

/* Reads to the end. A file may grow while it is read. */
static int read_open_file(int fd, size_t size, size_t most, char **text, size_t *length)
{
    size_t room = size < most ? size + 1 : most + 1;
    size_t used = 0;
    char *data = malloc(room + 1);
    if (data == NULL) return ENOMEM;
    for (;;) {
        const ssize_t got = read(fd, data + used, room - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            const int fault = got < 0 ? errno : 0;
            if (fault != 0) {
                free(data);
                return fault;
            }
            data[used] = '\0';
            *text = data;
            *length = used;
            return 0;
        }
        used += (size_t)got;
        if (used > most) {
            free(data);
            return EFBIG;
        }
        if (used < room) continue;
        room = room + READ_STEP < most + 1 ? room + READ_STEP : most + 1;
        char *grown = realloc(data, room + 1);
        if (grown == NULL) {
            free(data);
            return ENOMEM;
        }
        data = grown;
    }
}

static int read_file_at(int directory, const char *name, size_t most, char **text, size_t *length)
{
    struct stat status;
    /* O_NONBLOCK: a pipe that nobody writes to must not hold us. */
    const int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno;
    int fault = 0;
    if (fstat(fd, &status) != 0)
        fault = errno;
    else if (!S_ISREG(status.st_mode))
        fault = EINVAL;
    else if (status.st_size > 0 && (uintmax_t)status.st_size > most)
        fault = EFBIG;
    else
        fault = read_open_file(fd, (size_t)status.st_size, most, text, length);
    close(fd);
    return fault;
}

int tree_read_file(const struct tree *tree, const char *path, size_t most, char **text,
                   size_t *length)
{
    int parent;
    const char *name;
    int fault = open_parent(tree, path, &parent, &name);
    if (fault != 0) return fault;
    fault = read_file_at(parent, name, most, text, length);
    close(parent);
    return fault;
}

/* git takes a .gitignore that is a symbolic link or no file for none. */
static int read_ignore(int directory, struct tree_directory *out)
{
    const int fault =
        read_file_at(directory, ".gitignore", TREE_IGNORE_MOST, &out->ignore, &out->ignore_length);
    return fault == ENOENT || fault == ELOOP || fault == EINVAL || fault == ENXIO ? 0 : fault;
}

static int describe(int directory, const char *name, struct tree_entry *entry)
{
    struct stat status;
    *entry = (struct tree_entry){.type = ENTRY_UNREADABLE};
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != EACCES) return errno;
    } else if (S_ISREG(status.st_mode)) {
        entry->type = ENTRY_FILE;
        entry->size = (size_t)status.st_size;
    } else {
        entry->type = S_ISDIR(status.st_mode) ? ENTRY_DIRECTORY : ENTRY_OTHER;
    }
    entry->name = strdup(name);
    return entry->name != NULL ? 0 : ENOMEM;
}

static int append(struct tree_directory *out, size_t *room, struct tree_entry entry)
{
    if (out->count == *room) {
        const size_t wanted = *room < 32 ? 32 : *room * 2;
        struct tree_entry *grown = realloc(out->entries, wanted * sizeof(*grown));
        if (grown == NULL) {
            free(entry.name);
            return ENOMEM;
        }
        out->entries = grown;
        *room = wanted;
    }
    out->entries[out->count++] = entry;
    return 0;
}

static int read_entries(DIR *directory, struct tree_directory *out)
{
    size_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(directory);
        if (found == NULL) return errno;
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
        struct tree_entry entry;
        int fault = describe(dirfd(directory), found->d_name, &entry);
        if (fault == ENOENT) continue; /* gone between the two calls */
        if (fault == 0) fault = append(out, &room, entry);
        if (fault != 0) return fault;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tree_entry *)a)->name, ((const struct tree_entry *)b)->name);
}

int tree_read_directory(const struct tree *tree, const char *path, struct tree_directory *out,
                        const char **at)
{
    DIR *directory;
    *out = (struct tree_directory){0};
    *at = "";
    int fault = open_directory(tree, path, &directory);
    if (fault != 0) return fault;
    fault = read_ignore(dirfd(directory), out);
    if (fault != 0)
        *at = ".gitignore";
    else
        fault = read_entries(directory, out);
    closedir(directory);
    if (fault != 0)
        tree_directory_free(out);
    else if (out->count > 1)
        qsort(out->entries, out->count, sizeof(*out->entries), compare_names);
    return fault;
}

void tree_directory_free(struct tree_directory *directory)
{
    for (size_t i = 0; i < directory->count; i++) free(directory->entries[i].name);
    free(directory->entries);
    free(directory->ignore);
    *directory = (struct tree_directory){0};
}
