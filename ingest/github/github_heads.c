/* github_heads.c: see github_heads.h. */
#include "ingest/github/github_heads.h"

#include "storage/base/buffer.h"
#include "storage/base/fnv.h"
#include "storage/base/log.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 16 }; /* hexadecimal ones of the hash by which a file is remembered */

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

void github_heads_free(struct github_heads *heads)
{
    for (size_t i = 0; i < heads->count; i++) {
        free(heads->list[i].branch);
        free(heads->list[i].etag);
    }
    free(heads->list);
    free(heads->default_branch);
    free(heads->etag);
    free(heads->files);
    *heads = (struct github_heads){0};
}

static const struct github_head *find_head(const struct github_heads *heads, const char *branch)
{
    for (size_t i = 0; i < heads->count; i++)
        if (strcmp(heads->list[i].branch, branch) == 0) return &heads->list[i];
    return NULL;
}

static char *copy(const char *text)
{
    return text != NULL ? strdup(text) : NULL;
}

/* ---- Asking ---- */

/* Takes what GitHub says of the repository. */
static int take_repository(struct github_api *api, const struct http_response *response,
                           struct github_heads *heads, struct error *err)
{
    json_t *about = json_loadb(response->body, response->length, 0, NULL);
    const char *branch = json_string_value(json_object_get(about, "default_branch"));
    const char *name = json_string_value(json_object_get(about, "full_name"));
    int status = 0;
    if (branch == NULL || name == NULL) {
        status =
            error_set(err, ERR_UNAVAILABLE, NULL, "the repository: the answer is not GitHub's");
    } else if ((heads->default_branch = strdup(branch)) == NULL) {
        status = out_of_memory(err);
    } else if (strcasecmp(name, api->repository) != 0) {
        log_info("github.renamed", "repository=%s now=%s", log_quote(api->repository),
                 log_quote(name));
        char *now = strdup(name);
        if (now == NULL) {
            status = out_of_memory(err);
        } else {
            free(api->repository);
            api->repository = now;
        }
    }
    json_decref(about);
    return status;
}

static int ask_repository(struct github_api *api, const struct github_heads *before,
                          struct github_heads *heads, struct error *err)
{
    const struct github_call call = {.path = ":", .etag = before->etag};
    struct http_response response;
    char what[240];
    int status = 0;
    snprintf(what, sizeof(what), "the repository %s", api->repository);
    if (github_get(api, what, &call, &response, err) != 0) return -1;
    if (response.status == 304) {
        heads->default_branch = copy(before->default_branch);
        heads->etag = copy(before->etag);
        if (heads->default_branch == NULL || heads->etag == NULL) status = out_of_memory(err);
    } else {
        status = take_repository(api, &response, heads, err);
        /* A renamed repository's ETag would hide its new name. */
        if (strcasecmp(api->repository, api->context->repository) == 0)
            heads->etag = copy(http_response_header(&response, "ETag"));
    }
    http_response_free(&response);
    return status;
}

/* Takes the sha that is the whole of the answer. */
static int take_commit(const struct http_response *response, struct github_head *head,
                       const char *what, struct error *err)
{
    if (strspn(response->body, "0123456789abcdef") != GITHUB_SHA_SIZE - 1)
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s: the answer is no sha", what);
    memcpy(head->commit, response->body, GITHUB_SHA_SIZE - 1);
    head->etag = copy(http_response_header(response, "ETag"));
    return 0;
}

static int ask_head(const struct github_api *api, const struct github_head *before,
                    const char *branch, struct github_head *head, struct error *err)
{
    struct buffer path = {0};
    struct http_response response;
    char what[280];
    char *escaped = github_escape(branch);
    buffer_format(&path, ":/commits/heads/%s", escaped != NULL ? escaped : "");
    head->branch = strdup(branch);
    if (escaped == NULL || path.failed || head->branch == NULL) {
        free(escaped);
        buffer_free(&path);
        return out_of_memory(err);
    }
    snprintf(what, sizeof(what), "the branch %s", branch);
    const struct github_call call = {.path = path.data,
                                     .accept = "application/vnd.github.sha",
                                     .etag = before != NULL ? before->etag : NULL};
    int status = github_get(api, what, &call, &response, err);
    free(escaped);
    buffer_free(&path);
    if (status != 0) return -1;
    if (response.status == 304) {
        memcpy(head->commit, before->commit, sizeof(head->commit));
        if ((head->etag = copy(before->etag)) == NULL) status = out_of_memory(err);
    } else if (response.status == 200) {
        status = take_commit(&response, head, what, err);
    }
    http_response_free(&response);
    return status;
}

int github_heads_ask(struct github_api *api, const struct github_heads *before,
                     struct github_heads *heads, bool *changed, struct error *err)
{
    const struct github_config *config = api->config;
    if (ask_repository(api, before, heads, err) != 0) return -1;
    const size_t count = config->branch_count > 0 ? config->branch_count : 1;
    heads->list = calloc(count, sizeof(*heads->list));
    if (heads->list == NULL) return out_of_memory(err);
    *changed = before->count != count;
    for (size_t i = 0; i < count; i++) {
        const char *branch = config->branch_count > 0 ? config->branches[i] : heads->default_branch;
        const struct github_head *known = find_head(before, branch);
        heads->count++;
        if (ask_head(api, known, branch, &heads->list[i], err) != 0) return -1;
        *changed = *changed || known == NULL || strcmp(known->commit, heads->list[i].commit) != 0;
    }
    return 0;
}

/* ---- The cursor ---- */

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* With the '\0' at its end. */
static uint64_t add_to_hash(uint64_t hash, const char *text)
{
    return fnv_add(hash, text, strlen(text) + 1);
}

/* Its branch and the repository's name count: they are in what is said of where it is. */
static uint64_t hash_of(const struct github_heads *heads, const char *repository,
                        const struct github_file *file)
{
    uint64_t hash = add_to_hash(FNV_BASIS, repository);
    hash = add_to_hash(hash, heads->list[file->branch].branch);
    return add_to_hash(add_to_hash(hash, file->path), file->sha);
}

static void load_files(struct github_heads *heads, const char *text)
{
    const size_t count = text != NULL ? strlen(text) / DIGITS : 0;
    heads->files = calloc(count + 1, sizeof(*heads->files));
    if (heads->files == NULL) return;
    for (size_t i = 0; i < count; i++) {
        char digits[DIGITS + 1] = "";
        memcpy(digits, text + i * DIGITS, DIGITS);
        heads->files[i] = strtoull(digits, NULL, 16);
    }
    heads->file_count = count;
    qsort(heads->files, count, sizeof(*heads->files), compare_numbers);
}

static void load_heads(struct github_heads *heads, const json_t *branches)
{
    size_t i;
    const json_t *entry;
    heads->list = calloc(json_array_size(branches) + 1, sizeof(*heads->list));
    if (heads->list == NULL) return;
    json_array_foreach(branches, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *commit = json_string_value(json_object_get(entry, "commit"));
        if (name == NULL || commit == NULL || strlen(commit) >= GITHUB_SHA_SIZE) continue;
        struct github_head *head = &heads->list[heads->count];
        head->branch = strdup(name);
        head->etag = copy(json_string_value(json_object_get(entry, "etag")));
        strcpy(head->commit, commit);
        if (head->branch != NULL) heads->count++;
    }
}

void github_heads_load(struct github_heads *heads, const char *cursor)
{
    *heads = (struct github_heads){0};
    json_t *root = cursor != NULL ? json_loads(cursor, 0, NULL) : NULL;
    if (root == NULL) return;
    heads->default_branch = copy(json_string_value(json_object_get(root, "defaultBranch")));
    heads->etag = copy(json_string_value(json_object_get(root, "etag")));
    if (heads->default_branch == NULL) { /* without it the ETag is of no use */
        free(heads->etag);
        heads->etag = NULL;
    }
    load_heads(heads, json_object_get(root, "branches"));
    load_files(heads, json_string_value(json_object_get(root, "files")));
    json_decref(root);
}

char *github_heads_save(const struct github_heads *heads, const char *repository,
                        const struct github_files *files)
{
    struct buffer hashes = {0};
    json_t *branches = json_array();
    for (size_t i = 0; i < heads->count; i++)
        json_array_append_new(branches,
                              json_pack("{s:s, s:s, s:s*}", "name", heads->list[i].branch, "commit",
                                        heads->list[i].commit, "etag", heads->list[i].etag));
    buffer_text(&hashes, "");
    for (size_t i = 0; i < files->count; i++)
        buffer_format(&hashes, "%016" PRIx64, hash_of(heads, repository, &files->list[i]));
    json_t *root = hashes.failed
                       ? NULL
                       : json_pack("{s:s, s:s*, s:O, s:s}", "defaultBranch", heads->default_branch,
                                   "etag", heads->etag, "branches", branches, "files", hashes.data);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    json_decref(branches);
    buffer_free(&hashes);
    return text;
}

void github_heads_mark(const struct github_heads *before, const struct github_heads *heads,
                       const char *repository, struct github_files *files)
{
    for (size_t i = 0; i < files->count && before->file_count > 0; i++) {
        const uint64_t hash = hash_of(heads, repository, &files->list[i]);
        files->list[i].known = bsearch(&hash, before->files, before->file_count, sizeof(hash),
                                       compare_numbers) != NULL;
    }
}
