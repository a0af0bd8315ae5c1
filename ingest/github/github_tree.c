/* github_tree.c: see github_tree.h. */
#include "ingest/github/github_tree.h"

#include "storage/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 200 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- Files ---- */

static int add_file(struct github_files *files, const struct github_file *file)
{
    if (files->count == files->room) {
        const size_t room = files->room == 0 ? 256 : 2 * files->room;
        struct github_file *grown = realloc(files->list, room * sizeof(*grown));
        if (grown == NULL) return -1;
        files->list = grown;
        files->room = room;
    }
    files->list[files->count++] = *file;
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct github_file *)a)->path, ((const struct github_file *)b)->path);
}

void github_files_sort(struct github_files *files)
{
    if (files->count > 0) qsort(files->list, files->count, sizeof(*files->list), compare_paths);
}

const struct github_file *github_files_find(const struct github_files *files, const char *path)
{
    const struct github_file wanted = {.path = (char *)path};
    if (files->count == 0) return NULL;
    return bsearch(&wanted, files->list, files->count, sizeof(*files->list), compare_paths);
}

void github_files_free(struct github_files *files)
{
    for (size_t i = 0; i < files->count; i++) free(files->list[i].path);
    free(files->list);
    *files = (struct github_files){0};
}

/* ---- What is taken in ---- */

/* Whether a pattern names the file or a directory above it. */
static bool matches(const struct gitignore *rules, const char *path)
{
    char above[SOURCE_PATH_MAX + 1];
    if (strlen(path) > SOURCE_PATH_MAX) return false;
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        memcpy(above, path, (size_t)(slash - path));
        above[slash - path] = '\0';
        if (gitignore_check(rules, above, true) == GITIGNORE_IGNORED) return true;
    }
    return gitignore_check(rules, path, false) == GITIGNORE_IGNORED;
}

/* Whether the vault takes a document of this path. git itself allows control characters. */
static bool is_path(const char *path)
{
    const size_t length = strlen(path);
    if (utf8_valid_prefix(path, length) != length) return false;
    for (const char *c = path; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    for (const char *part = path; part != NULL;) {
        const char *slash = strchr(part, '/');
        const size_t size = slash != NULL ? (size_t)(slash - part) : strlen(part);
        if (size == 0 || (part[0] == '.' && (size == 1 || (size == 2 && part[1] == '.'))))
            return false;
        part = slash != NULL ? slash + 1 : NULL;
    }
    return true;
}

static enum skip_reason judge(const struct github_config *config, const char *path,
                              const char *mode, size_t size)
{
    if (!is_path(path)) return SKIP_BINARY;
    if (config->exclude != NULL && matches(config->exclude, path)) return SKIP_IGNORED;
    if (config->include != NULL && !matches(config->include, path)) return SKIP_IGNORED;
    if (strcmp(mode, "160000") == 0) return SKIP_SUBMODULE;
    if (strcmp(mode, "100644") != 0 && strcmp(mode, "100755") != 0 && strcmp(mode, "100664") != 0)
        return SKIP_NOT_FILE;
    if (size == 0) return SKIP_EMPTY;
    return size > config->max_bytes ? SKIP_TOO_LARGE : SKIP_NONE;
}

static bool is_sha(const char *text)
{
    return text != NULL && strlen(text) == GITHUB_SHA_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == GITHUB_SHA_SIZE - 1;
}

static int take_entry(const struct github_walk *walk, const json_t *entry, const char *at,
                      struct github_files *files, struct error *err)
{
    const char *name = json_string_value(json_object_get(entry, "path"));
    const char *mode = json_string_value(json_object_get(entry, "mode"));
    const char *sha = json_string_value(json_object_get(entry, "sha"));
    const json_int_t size = json_integer_value(json_object_get(entry, "size"));
    if (name == NULL || mode == NULL || !is_sha(sha) || size < 0)
        return error_set(err, ERR_UNAVAILABLE, NULL, "a tree of GitHub holds what is no entry");
    if (strcmp(mode, "040000") == 0) return 0;
    struct github_file file = {.size = (size_t)size, .branch = walk->branch};
    char *own = NULL;
    memcpy(file.sha, sha, sizeof(file.sha));
    if (asprintf(&own, "%s%s", at, name) < 0) return out_of_memory(err);
    enum skip_reason reason = judge(walk->api->config, own, mode, file.size);
    int status = asprintf(&file.path, "%s%s", walk->prefix, own) < 0 ? -1 : 0;
    free(own);
    if (status != 0) return out_of_memory(err);
    if (reason == SKIP_NONE && strlen(file.path) > SOURCE_PATH_MAX) reason = SKIP_UNREADABLE;
    if (reason != SKIP_NONE) {
        walk->skip(walk->arg, file.path, reason);
    } else if (add_file(files, &file) == 0) {
        return 0;
    } else {
        status = out_of_memory(err);
    }
    free(file.path);
    return status;
}

int github_tree_take(const struct github_walk *walk, const json_t *answer, const char *at,
                     struct github_files *files, bool *truncated, struct error *err)
{
    const json_t *tree = json_object_get(answer, "tree"), *entry;
    size_t i;
    *truncated = json_is_true(json_object_get(answer, "truncated"));
    if (!json_is_array(tree))
        return error_set(err, ERR_UNAVAILABLE, NULL, "an answer of GitHub holds no tree");
    if (*truncated) return 0; /* all of it, directory by directory */
    json_array_foreach(tree, i, entry) if (take_entry(walk, entry, at, files, err) != 0) return -1;
    return 0;
}

/* ---- Reading ---- */

static int ask(const struct github_walk *walk, const char *sha, bool whole, json_t **answer,
               struct error *err)
{
    char path[96];
    snprintf(path, sizeof(path), ":/git/trees/%s%s", sha, whole ? "?recursive=1" : "");
    return github_get_json(walk->api, "the list of files", path, answer, err);
}

static int read_at(const struct github_walk *walk, const char *sha, const char *at, int depth,
                   struct github_files *files, struct error *err);

/* Reads one directory, and those below it one by one. */
static int read_apart(const struct github_walk *walk, const char *sha, const char *at, int depth,
                      struct github_files *files, struct error *err)
{
    json_t *answer;
    bool truncated;
    if (ask(walk, sha, false, &answer, err) != 0) return -1;
    int status = github_tree_take(walk, answer, at, files, &truncated, err);
    if (status == 0 && truncated)
        status = error_set(err, ERR_UNAVAILABLE, NULL, "GitHub does not list all of %s",
                           *at != '\0' ? at : "the repository");
    const json_t *tree = json_object_get(answer, "tree"), *entry;
    size_t i;
    json_array_foreach(tree, i, entry)
    {
        const char *mode = json_string_value(json_object_get(entry, "mode"));
        const char *name = json_string_value(json_object_get(entry, "path"));
        const char *below = json_string_value(json_object_get(entry, "sha"));
        char *path = NULL;
        if (status != 0) break;
        if (mode == NULL || strcmp(mode, "040000") != 0 || name == NULL || !is_sha(below)) continue;
        if (asprintf(&path, "%s%s/", at, name) < 0) {
            status = out_of_memory(err);
            break;
        }
        status = read_at(walk, below, path, depth + 1, files, err);
        free(path);
    }
    json_decref(answer);
    return status;
}

static int read_at(const struct github_walk *walk, const char *sha, const char *at, int depth,
                   struct github_files *files, struct error *err)
{
    json_t *answer;
    bool truncated;
    if (depth > DEPTH_MOST)
        return error_set(err, ERR_UNAVAILABLE, NULL, "directories are nested too deeply at %s", at);
    if (ask(walk, sha, true, &answer, err) != 0) return -1;
    const int status = github_tree_take(walk, answer, at, files, &truncated, err);
    json_decref(answer);
    if (status != 0 || !truncated) return status;
    return read_apart(walk, sha, at, depth, files, err);
}

int github_tree_read(const struct github_walk *walk, const char *sha, struct github_files *files,
                     struct error *err)
{
    return read_at(walk, sha, "", 0, files, err);
}
