/*
 * github.c: the `github` source.
 *
 * The git tree says what there is: path and sha of every file. At the first sync, and whenever more
 * than a few files of a branch are new, changed or moved, their contents come by the tarball, in
 * one call; otherwise each blob is asked for. Where no branch has moved, which two conditional
 * requests tell, nothing is listed.
 */
#include "ingest/github/github_heads.h"
#include "ingest/github/github_spool.h"
#include "ingest/plain_text.h"
#include "ingest/source_kind.h"
#include "storage/base/buffer.h"
#include "storage/base/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tarball of a branch is taken where so many of its files are to be fetched: it costs one call
 * of the 5,000 an hour, whatever its size. */
enum { TARBALL_FROM = 25 };

enum { ERROR_MOST = 64 << 10 }; /* bytes of an answer that is no content */

struct github {
    struct github_config config;
    struct github_api api;
    struct github_heads before, heads;
    struct github_files files;
    struct github_spool spool;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void github_close(void *state)
{
    struct github *github = state;
    github_spool_free(&github->spool);
    github_files_free(&github->files);
    github_heads_free(&github->heads);
    github_heads_free(&github->before);
    github_api_close(&github->api);
    github_config_free(&github->config);
    free(github);
}

static int github_open(const struct source_context *context, void **state, struct error *err)
{
    struct github *github = calloc(1, sizeof(*github));
    if (github == NULL) return out_of_memory(err);
    github->spool.fd = -1;
    github_heads_load(&github->before, context->cursor);
    if (github_config_read(context->repository, context->config, &github->config, err) != 0 ||
        github_api_open(&github->api, context, &github->config, err) != 0) {
        github_close(github);
        return -1;
    }
    *state = github;
    return 0;
}

static int github_check(const char *repository, const char *config, struct error *err)
{
    struct github_config read;
    const int status = github_config_read(repository, config, &read, err);
    github_config_free(&read);
    return status;
}

/* ---- Listing ---- */

static int read_branch(struct github *github, size_t i, source_skip_fn skip, void *arg,
                       struct error *err)
{
    const struct github_head *head = &github->heads.list[i];
    char prefix[256] = "";
    if (head->commit[0] == '\0') return 0; /* an empty repository */
    if (github->config.branch_count > 1) snprintf(prefix, sizeof(prefix), "%s/", head->branch);
    const struct github_walk walk = {
        .api = &github->api, .prefix = prefix, .branch = i, .skip = skip, .arg = arg};
    return github_tree_read(&walk, head->commit, &github->files, err);
}

/* How many files of a branch are to be fetched. */
static size_t count_missing(const struct github *github, size_t branch)
{
    size_t count = 0;
    for (size_t i = 0; i < github->files.count; i++) {
        const struct github_file *file = &github->files.list[i];
        count +=
            file->branch == branch && !file->known && !github_spool_has(&github->spool, file->sha);
    }
    return count;
}

/* Gets the contents by tarball where that is the cheaper way. */
static int fill_spool(struct github *github, struct error *err)
{
    github_heads_mark(&github->before, &github->heads, github->api.repository, &github->files);
    for (size_t i = 0; i < github->heads.count; i++) {
        const bool first = github->before.count == 0 && github->spool.count == 0;
        const size_t missing = count_missing(github, i);
        if (missing < (first ? 1 : TARBALL_FROM)) continue;
        if (github_spool_fill(&github->spool, &github->api, github->heads.list[i].commit,
                              &github->files, err) != 0)
            return -1;
    }
    return 0;
}

/* Where a person finds the file. The commit is not named: it changes with every other file. NULL
 * when memory ran out. */
static char *url_of(const struct github *github, const struct github_file *file)
{
    const struct github_head *head = &github->heads.list[file->branch];
    const char *base = github->config.base_url;
    const size_t prefix = github->config.branch_count > 1 ? strlen(head->branch) + 1 : 0;
    struct buffer url = {0};
    char *path = github_escape(file->path + prefix), *branch = github_escape(head->branch);
    const char *api = strstr(base, "/api/v3");
    if (api != NULL) /* GitHub Enterprise Server */
        buffer_append(&url, base, (size_t)(api - base));
    else if (strncmp(base, "https://api.", 12) == 0) /* github.com, or one's own part of ghe.com */
        buffer_format(&url, "https://%s", base + 12);
    else
        buffer_text(&url, "https://github.com");
    buffer_format(&url, "/%s/blob/%s/%s", github->api.repository, branch != NULL ? branch : "",
                  path != NULL ? path : "");
    free(path);
    free(branch);
    return buffer_take(&url);
}

static int github_list(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                       struct error *err)
{
    struct github *github = state;
    bool changed;
    if (github_heads_ask(&github->api, &github->before, &github->heads, &changed, err) != 0)
        return -1;
    if (!changed) return SOURCE_UNCHANGED;
    for (size_t i = 0; i < github->heads.count; i++)
        if (read_branch(github, i, skip, arg, err) != 0) return -1;
    github_files_sort(&github->files);
    for (size_t i = 0; i < github->files.count; i++) {
        const struct github_file *file = &github->files.list[i];
        char *url = url_of(github, file);
        if (url == NULL) return out_of_memory(err);
        const struct source_item found = {
            .path = file->path, .sha = file->sha, .size = file->size, .url = url};
        const int stopped = item(arg, &found);
        free(url);
        if (stopped != 0) return error_set(err, ERR_CANCELLED, NULL, "the listing was stopped");
    }
    return fill_spool(github, err) == 0 ? SOURCE_LISTED : -1;
}

static int github_cursor(void *state, char **text, struct error *err)
{
    const struct github *github = state;
    *text = github_heads_save(&github->heads, github->api.repository, &github->files);
    return *text != NULL ? 0 : out_of_memory(err);
}

/* ---- Fetching ---- */

/* A blob that the tree has can be had unless the repository, or the right to read it, went away
 * meanwhile: then nothing else can be had either, and nothing is to be taken for deleted. */
static int fetch_blob(const struct github *github, const struct github_file *file, char **text,
                      size_t *length, struct error *err)
{
    char path[96], what[160], sha[GIT_SHA_HEX];
    size_t most = github->config.max_bytes;
    if (most < ERROR_MOST) most = ERROR_MOST;
    struct http_response response;
    snprintf(path, sizeof(path), ":/git/blobs/%s", file->sha);
    snprintf(what, sizeof(what), "the blob %.8s", file->sha);
    const struct github_call call = {
        .path = path, .accept = "application/vnd.github.raw", .response_most = most};
    struct error why = {0};
    if (github_get(&github->api, what, &call, &response, &why) != 0) {
        if (why.code == ERR_NOT_FOUND || why.code == ERR_IO) why.code = ERR_UNAVAILABLE;
        if (err != NULL) *err = why;
        return -1;
    }
    digest_git_blob(response.body, response.length, sha);
    if (response.status != 200 || strcmp(sha, file->sha) != 0) {
        http_response_free(&response);
        return error_set(err, ERR_UNAVAILABLE, NULL, "%s: the answer is not its content", what);
    }
    *text = response.body;
    *length = response.length;
    response.body = NULL;
    http_response_free(&response);
    return 0;
}

static bool is_lfs_pointer(const char *text, size_t length)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    return length < 1024 && length > sizeof(start) && memcmp(text, start, sizeof(start) - 1) == 0;
}

static char *metadata_of(const struct github *github, const struct github_file *file)
{
    const struct github_head *head = &github->heads.list[file->branch];
    char *url = url_of(github, file);
    json_t *root = url != NULL ? json_pack("{s:s, s:s}", "url", url, "branch", head->branch) : NULL;
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    free(url);
    return text;
}

static int github_fetch(void *state, const char *path, struct source_content *content,
                        enum skip_reason *reason, struct error *err)
{
    const struct github *github = state;
    const struct github_file *file = github_files_find(&github->files, path);
    *content = (struct source_content){0};
    if (file == NULL) return error_set(err, ERR_NOT_FOUND, NULL, "%s is not there", path);
    content->text = github_spool_get(&github->spool, file->sha, &content->length);
    if (content->text == NULL &&
        fetch_blob(github, file, &content->text, &content->length, err) != 0)
        return -1;
    *reason = SKIP_LFS;
    const int read = is_lfs_pointer(content->text, content->length)
                         ? 1
                         : plain_text_read(&content->text, &content->length, reason);
    if (read == 0) {
        content->metadata = metadata_of(github, file);
        memcpy(content->sha, file->sha, sizeof(file->sha));
        if (content->metadata != NULL) return 0;
    }
    free(content->text);
    *content = (struct source_content){0};
    return read > 0 ? 1 : out_of_memory(err);
}

/* ---- Testing ---- */

/* Who the token is for. Tokens of apps may not ask, which says nothing against them. */
static int report_user(const struct github *github, struct buffer *report, struct error *err)
{
    json_t *user = NULL;
    struct error why = {0};
    if (github->api.authorization == NULL) {
        buffer_text(report, "Without a token: public repositories, 60 calls an hour.");
        return 0;
    }
    if (github_get_json(&github->api, "asking who the token is for", "/user", &user, &why) != 0) {
        if (why.code == ERR_IO || why.code == ERR_NOT_FOUND) {
            buffer_text(report, "The token is an app's.");
            return 0;
        }
        if (err != NULL) *err = why;
        return -1;
    }
    const char *login = json_string_value(json_object_get(user, "login"));
    buffer_format(report, "The token is %s's.", login != NULL ? login : "somebody");
    json_decref(user);
    return 0;
}

static int report_repository(struct github *github, struct buffer *report, struct error *err)
{
    const struct github_call call = {.path = ":"};
    struct http_response response;
    char what[240];
    snprintf(what, sizeof(what), "the repository %s", github->api.repository);
    if (github_get(&github->api, what, &call, &response, err) != 0) return -1;
    json_t *about = json_loadb(response.body, response.length, 0, NULL);
    if (!json_is_object(about)) {
        json_decref(about);
        http_response_free(&response);
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "%s: the answer is not GitHub's, which is JSON", what);
    }
    const char *name = json_string_value(json_object_get(about, "full_name"));
    const char *branch = json_string_value(json_object_get(about, "default_branch"));
    buffer_format(report, " Sees %s (%s%s, default branch %s, %lld KB).",
                  name != NULL ? name : github->api.repository,
                  json_is_true(json_object_get(about, "private")) ? "private" : "public",
                  json_is_true(json_object_get(about, "archived")) ? ", archived" : "",
                  branch != NULL ? branch : "unknown",
                  (long long)json_integer_value(json_object_get(about, "size")));
    if (name != NULL && strcasecmp(name, github->api.repository) != 0)
        buffer_format(report, " It was renamed from %s.", github->api.repository);
    const char *limit = http_response_header(&response, "X-RateLimit-Limit");
    const char *left = http_response_header(&response, "X-RateLimit-Remaining");
    if (limit != NULL && left != NULL)
        buffer_format(report, " Of %.20s calls an hour %.20s are left.", limit, left);
    json_decref(about);
    http_response_free(&response);
    return 0;
}

static int report_heads(struct github *github, struct buffer *report, struct error *err)
{
    bool changed;
    if (github_heads_ask(&github->api, &github->before, &github->heads, &changed, err) != 0)
        return -1;
    for (size_t i = 0; i < github->heads.count; i++)
        if (github->heads.list[i].commit[0] == '\0') buffer_text(report, " It is empty.");
    return 0;
}

static int github_test(const struct source_context *context, char **report, struct error *err)
{
    void *state;
    struct buffer text = {0};
    if (github_open(context, &state, err) != 0) return -1;
    int status = report_user(state, &text, err);
    if (status == 0) status = report_repository(state, &text, err);
    if (status == 0) status = report_heads(state, &text, err);
    if (status == 0 && (*report = buffer_take(&text)) == NULL) status = out_of_memory(err);
    /* It is the service, not this daemon, that something is wrong with. */
    if (status != 0 && err != NULL && err->code == ERR_IO) err->code = ERR_UNAVAILABLE;
    buffer_free(&text);
    github_close(state);
    return status;
}

const struct source_kind source_github = {.name = "github",
                                          .check = github_check,
                                          .open = github_open,
                                          .list = github_list,
                                          .fetch = github_fetch,
                                          .cursor = github_cursor,
                                          .test = github_test,
                                          .close = github_close};
