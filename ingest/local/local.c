/*
 * local.c: the `local` source, a directory tree.
 *
 * The listing looks at names and sizes only; what a file holds, and so its sha, is known when it is
 * fetched. A directory that is ignored is counted once and not entered. A subdirectory that cannot
 * be listed for want of permission, or whose .gitignore cannot be read, is skipped; any other
 * failure fails the listing, and so does a root that is not the same directory at the end of it.
 */
#include "ingest/local/local_config.h"
#include "ingest/local/tree.h"
#include "ingest/plain_text.h"
#include "ingest/source_kind.h"
#include "storage/base/buffer.h"
#include "storage/base/digest.h"
#include "storage/base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct local {
    struct local_config config;
    struct tree tree;
};

/* A directory on the way from the root to where the walk is. */
struct level {
    const struct level *above;
    struct gitignore *rules; /* NULL where it has no .gitignore */
    size_t prefix;           /* where paths relative to it begin in walk.path */
    bool included;           /* it matches config.include, and so all below it does */
};

struct walk {
    const struct local *local;
    source_item_fn item;
    source_skip_fn skip;
    void *arg;
    struct buffer path;
    struct error *err;
};

static int local_open(const struct source_context *context, void **state, struct error *err)
{
    struct local *local = calloc(1, sizeof(*local));
    if (local == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    if (local_config_read(context->repository, context->config, &local->config, err) != 0) {
        free(local);
        return -1;
    }
    const int fault = tree_open(&local->tree, local->config.path);
    if (fault != 0) {
        error_set(err, ERR_UNAVAILABLE, "config.path", "the directory %s cannot be opened: %s",
                  local->config.path, strerror(fault));
        local_config_free(&local->config);
        free(local);
        return -1;
    }
    *state = local;
    return 0;
}

static void local_close(void *state)
{
    struct local *local = state;
    tree_close(&local->tree);
    local_config_free(&local->config);
    free(local);
}

static int local_check(const char *repository, const char *config, struct error *err)
{
    void *state = NULL;
    const struct source_context context = {.repository = repository, .config = config};
    if (local_open(&context, &state, err) == 0) {
        local_close(state);
        return 0;
    }
    /* When it is set up, a directory that is not there is a mistake in the input. */
    if (err != NULL && err->code == ERR_UNAVAILABLE) err->code = ERR_INVALID;
    return -1;
}

/* ---- Listing ---- */

static bool is_ignored(const struct walk *walk, const struct level *level, bool is_directory)
{
    const char *path = walk->path.data;
    const struct gitignore *exclude = walk->local->config.exclude;
    if (exclude != NULL && gitignore_check(exclude, path, is_directory) == GITIGNORE_IGNORED)
        return true;
    for (; level != NULL; level = level->above) {
        if (level->rules == NULL) continue;
        const enum gitignore_verdict verdict =
            gitignore_check(level->rules, path + level->prefix, is_directory);
        if (verdict != GITIGNORE_NONE) return verdict == GITIGNORE_IGNORED;
    }
    return false;
}

static bool is_included(const struct walk *walk, const struct level *level, bool is_directory)
{
    const struct gitignore *include = walk->local->config.include;
    return level->included || include == NULL ||
           gitignore_check(include, walk->path.data, is_directory) == GITIGNORE_IGNORED;
}

/* Names come in without control characters: the vault's paths have none. */
static bool is_text_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    return name[utf8_valid_prefix(name, strlen(name))] == '\0';
}

/* Why the entry that walk->path names is skipped, or SKIP_NONE. */
static enum skip_reason judge(const struct walk *walk, const struct level *level,
                              const struct tree_entry *entry)
{
    const bool is_directory = entry->type == ENTRY_DIRECTORY;
    if (!is_text_name(entry->name)) return SKIP_BINARY;
    if (strcmp(entry->name, ".git") == 0 || is_ignored(walk, level, is_directory))
        return SKIP_IGNORED;
    if (entry->type == ENTRY_UNREADABLE || walk->path.length > SOURCE_PATH_MAX)
        return SKIP_UNREADABLE;
    if (is_directory) return SKIP_NONE;
    if (entry->type != ENTRY_FILE) return SKIP_NOT_FILE;
    if (!is_included(walk, level, false)) return SKIP_IGNORED;
    if (entry->size == 0) return SKIP_EMPTY;
    return entry->size > walk->local->config.max_bytes ? SKIP_TOO_LARGE : SKIP_NONE;
}

static void truncate_path(struct walk *walk, size_t length)
{
    walk->path.length = length;
    walk->path.data[length] = '\0';
}

static int list_directory(struct walk *walk, const struct level *above);

static int list_entry(struct walk *walk, const struct level *level, const struct tree_entry *entry)
{
    const size_t length = walk->path.length;
    buffer_text(&walk->path, entry->name);
    if (walk->path.failed) return error_set(walk->err, ERR_INTERNAL, NULL, "out of memory");

    int result = 0;
    const enum skip_reason reason = judge(walk, level, entry);
    if (reason != SKIP_NONE) {
        walk->skip(walk->arg, walk->path.data, reason);
    } else if (entry->type == ENTRY_DIRECTORY) {
        result = list_directory(walk, level);
    } else {
        const struct source_item item = {.path = walk->path.data, .size = entry->size};
        if (walk->item(walk->arg, &item) != 0)
            result = error_set(walk->err, ERR_CANCELLED, NULL, "the listing was stopped");
    }
    truncate_path(walk, length);
    return result;
}

/* A directory that could not be read, or its .gitignore, which decides what may be taken from it:
 * can the listing go on without it? */
static int miss_directory(struct walk *walk, const char *file, int fault)
{
    const bool is_root = walk->path.length == 0;
    if (!is_root && fault == ENOENT) return 0;
    if (!is_root && (fault == ENOTDIR || fault == ELOOP)) {
        walk->skip(walk->arg, walk->path.data, SKIP_NOT_FILE);
        return 0;
    }
    if (!is_root && fault == EACCES) {
        buffer_text(&walk->path, "/");
        if (walk->path.failed) return error_set(walk->err, ERR_INTERNAL, NULL, "out of memory");
        walk->skip(walk->arg, walk->path.data, SKIP_UNREADABLE);
        return 0;
    }
    return error_set(walk->err, ERR_IO, NULL, "%s%s%s%s%s cannot be read: %s",
                     walk->local->tree.path, is_root ? "" : "/", walk->path.data,
                     file[0] != '\0' ? "/" : "", file, strerror(fault));
}

/* Lists the directory that walk->path names, "" for the root. Leaves walk->path longer. */
static int list_directory(struct walk *walk, const struct level *above)
{
    struct tree_directory directory;
    const char *file;
    const int fault = tree_read_directory(&walk->local->tree, walk->path.data, &directory, &file);
    if (fault != 0) return miss_directory(walk, file, fault);

    struct level level = {.above = above};
    int result = -1;
    level.included = above != NULL && is_included(walk, above, true);
    if (above != NULL) buffer_text(&walk->path, "/");
    if (directory.ignore != NULL) {
        level.rules = gitignore_parse(directory.ignore, directory.ignore_length);
        if (level.rules == NULL) walk->path.failed = true;
    }
    if (walk->path.failed) {
        error_set(walk->err, ERR_INTERNAL, NULL, "out of memory");
        goto out;
    }
    level.prefix = walk->path.length;
    for (size_t i = 0; i < directory.count; i++)
        if (list_entry(walk, &level, &directory.entries[i]) != 0) goto out;
    result = 0;
out:
    gitignore_free(level.rules);
    tree_directory_free(&directory);
    return result;
}

static int local_list(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                      struct error *err)
{
    const struct local *local = state;
    struct walk walk = {.local = local, .item = item, .skip = skip, .arg = arg, .err = err};
    buffer_text(&walk.path, "");
    if (walk.path.failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    int result = list_directory(&walk, NULL);
    /* An unlinked directory lists as an empty one: only its path tells that it is gone. */
    if (result == 0) result = tree_check(&local->tree, err);
    buffer_free(&walk.path);
    return result;
}

static int local_verify(void *state, struct error *err)
{
    const struct local *local = state;
    return tree_check(&local->tree, err);
}

/* ---- Fetching ---- */

static int explain(const struct local *local, const char *path, int fault, enum skip_reason *reason,
                   struct error *err)
{
    switch (fault) {
    case EFBIG:
        *reason = SKIP_TOO_LARGE;
        return 1;
    case EINVAL:
    case ELOOP:
    case ENXIO:
        *reason = SKIP_NOT_FILE;
        return 1;
    case EACCES:
    case EPERM:
        *reason = SKIP_UNREADABLE;
        return 1;
    case ENOENT:
    case ENOTDIR:
        if (tree_check(&local->tree, err) != 0) return -1;
        return error_set(err, ERR_NOT_FOUND, NULL, "%s went away", path);
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s cannot be read: %s", path,
                         strerror(fault));
    default:
        return error_set(err, ERR_IO, NULL, "cannot be read: %s", strerror(fault));
    }
}

static int local_fetch(void *state, const char *path, struct source_content *content,
                       enum skip_reason *reason, struct error *err)
{
    const struct local *local = state;
    *content = (struct source_content){0};
    const int fault = tree_read_file(&local->tree, path, local->config.max_bytes, &content->text,
                                     &content->length);
    if (fault != 0) return explain(local, path, fault, reason, err);

    digest_git_blob(content->text, content->length, content->sha); /* of the file, as git's */
    const int read = plain_text_read(&content->text, &content->length, reason);
    if (read == 0) return 0;
    free(content->text);
    *content = (struct source_content){0};
    return read > 0 ? 1 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

const struct source_kind source_local = {.name = "local",
                                         .check = local_check,
                                         .open = local_open,
                                         .list = local_list,
                                         .fetch = local_fetch,
                                         .verify = local_verify,
                                         .close = local_close};
