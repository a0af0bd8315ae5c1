/*
 * notion.c: the `notion` source.
 *
 * A sync lists everything that the integration sees, a hundred at a time, and reads the blocks of
 * pages whose last_edited_time is another one than at the last sync. That time is told in whole
 * minutes: a page that was edited in the minute before it was listed may be edited again in the
 * same one, so that its sha is marked, and it is read once more at the next sync.
 */
#include "ingest/notion/notion_page.h"
#include "ingest/notion/notion_pages.h"
#include "ingest/notion/notion_properties.h"
#include "ingest/source_kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct notion {
    struct notion_config config;
    struct notion_api api;
    struct notion_pages pages;
    struct timespec listed;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void notion_close(void *state)
{
    struct notion *notion = state;
    notion_pages_free(&notion->pages);
    notion_api_close(&notion->api);
    notion_config_free(&notion->config);
    free(notion);
}

static int notion_open(const struct source_context *context, void **state, struct error *err)
{
    struct notion *notion = calloc(1, sizeof(*notion));
    if (notion == NULL) return out_of_memory(err);
    if (notion_config_read(context->config, &notion->config, err) != 0 ||
        notion_api_open(&notion->api, context, &notion->config, err) != 0) {
        notion_close(notion);
        return -1;
    }
    *state = notion;
    return 0;
}

static int notion_check(const char *repository, const char *config, struct error *err)
{
    struct notion_config read;
    (void)repository;
    const int status = notion_config_read(config, &read, err);
    notion_config_free(&read);
    return status;
}

/* ---- Listing ---- */

/* "2026-11-28T08:00:00.000Z", with the time of this listing behind it as long as the page may
 * change unseen, so that it is another sha at the next. */
static void sha_of(const struct notion *notion, const struct notion_page *page, char sha[80])
{
    if (!notion_is_settled(page->edited, notion->listed.tv_sec))
        snprintf(sha, 80, "%s %lld.%09ld", page->edited, (long long)notion->listed.tv_sec,
                 notion->listed.tv_nsec);
    else
        snprintf(sha, 80, "%s", page->edited);
}

static int notion_list(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                       struct error *err)
{
    struct notion *notion = state;
    (void)skip;
    clock_gettime(CLOCK_REALTIME, &notion->listed);
    if (notion_pages_list(&notion->api, notion->api.context->cursor, &notion->pages, err) != 0 ||
        notion_pages_name(&notion->api, &notion->pages, err) != 0)
        return -1;
    for (size_t i = 0; i < notion->pages.document_count; i++) {
        const struct notion_page *page = &notion->pages.list[notion->pages.by_path[i]];
        char sha[80];
        sha_of(notion, page, sha);
        const struct source_item found = {.path = page->path, .sha = sha};
        if (item(arg, &found) != 0)
            return error_set(err, ERR_CANCELLED, NULL, "the listing was stopped");
    }
    return SOURCE_LISTED;
}

static int notion_cursor(void *state, char **text, struct error *err)
{
    const struct notion *notion = state;
    *text = notion_pages_save(&notion->pages);
    return *text != NULL ? 0 : out_of_memory(err);
}

/* ---- Fetching ---- */

static char *metadata_of(const struct notion_page *page)
{
    const json_t *url = json_object_get(page->about, "url");
    json_t *properties = notion_properties(page->about);
    json_t *root = json_pack("{s:O*, s:s, s:s, s:o*}", "url", json_is_string(url) ? url : NULL,
                             "pageId", page->id, "lastEdited", page->edited, "properties",
                             json_object_size(properties) > 0 ? properties : NULL);
    if (json_object_size(properties) == 0) json_decref(properties);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static int read_content(struct notion *notion, const struct notion_page *page, struct buffer *text,
                        struct error *err)
{
    struct buffer title = {0};
    notion_title(page->about, &title);
    if (title.length > 0) {
        for (char *c = title.data; *c != '\0'; c++)
            if (*c == '\n') *c = ' ';
        buffer_format(text, "# %s\n", title.data);
    }
    buffer_free(&title);
    return notion_page_read(&notion->api, page->id, text, err);
}

static int notion_fetch(void *state, const char *path, struct source_content *content,
                        enum skip_reason *reason, struct error *err)
{
    struct notion *notion = state;
    const struct notion_page *page = notion_pages_find(&notion->pages, path);
    struct buffer text = {0};
    struct error own = {0};
    *content = (struct source_content){0};
    if (page == NULL) return error_set(err, ERR_NOT_FOUND, NULL, "%s is not there", path);
    buffer_text(&text, "");
    *reason = SKIP_NONE;
    if (read_content(notion, page, &text, &own) != 0) {
        buffer_free(&text);
        if (own.code == ERR_TOO_LARGE) {
            *reason = SKIP_TOO_LARGE;
            return 1;
        }
        if (err != NULL) *err = own;
        return -1;
    }
    *reason = skip_reason_of_text(text.data, text.length);
    if (*reason != SKIP_NONE) {
        buffer_free(&text);
        return 1;
    }
    content->length = text.length;
    content->text = buffer_take(&text);
    content->metadata = metadata_of(page);
    sha_of(notion, page, content->sha);
    if (content->text != NULL && content->metadata != NULL) return 0;
    free(content->text);
    free(content->metadata);
    *content = (struct source_content){0};
    return out_of_memory(err);
}

/* ---- Testing ---- */

static int report_bot(struct notion *notion, struct buffer *report, struct error *err)
{
    json_t *me;
    if (notion_call(&notion->api, "asking who the token is for", "/v1/users/me", NULL, &me, err) !=
        0)
        return -1;
    const char *name = json_string_value(json_object_get(me, "name"));
    const char *workspace =
        json_string_value(json_object_get(json_object_get(me, "bot"), "workspace_name"));
    buffer_format(report, "The token is of the integration \"%s\"", name != NULL ? name : "");
    if (workspace != NULL) buffer_format(report, " of the workspace \"%s\"", workspace);
    buffer_text(report, ".");
    json_decref(me);
    return 0;
}

static int report_pages(struct notion *notion, struct buffer *report, struct error *err)
{
    json_t *answer, *body = json_pack("{s:i}", "page_size", 100);
    const int status = notion_call(&notion->api, "listing pages", "/v1/search", body, &answer, err);
    json_decref(body);
    if (status != 0) return -1;
    const size_t count = json_array_size(json_object_get(answer, "results"));
    const bool more = json_is_true(json_object_get(answer, "has_more"));
    json_decref(answer);
    if (count == 0)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "the integration sees no page yet: in Notion, open a page, choose "
                         "Connections in its menu, and add the integration");
    buffer_format(report, " It sees %s%zu page%s.", more ? "more than " : "", count,
                  count == 1 ? " or database" : "s and databases");
    return 0;
}

static int report_roots(struct notion *notion, struct buffer *report, struct error *err)
{
    for (size_t i = 0; i < notion->config.root_count; i++) {
        char path[64], what[80];
        json_t *page;
        struct buffer title = {0};
        struct error own = {0};
        snprintf(path, sizeof(path), "/v1/pages/%s", notion->config.roots[i]);
        snprintf(what, sizeof(what), "the root %s", notion->config.roots[i]);
        int status = notion_call(&notion->api, what, path, NULL, &page, &own);
        if (status != 0 && (own.code == ERR_NOT_FOUND || own.code == ERR_INVALID)) {
            snprintf(path, sizeof(path), "/v1/databases/%s", notion->config.roots[i]);
            status = notion_call(&notion->api, what, path, NULL, &page, &own);
        }
        if (status != 0) {
            if (err != NULL) *err = own;
            return -1;
        }
        notion_title(page, &title);
        buffer_format(report, " Root: \"%s\".", title.length > 0 ? title.data : "untitled");
        buffer_free(&title);
        json_decref(page);
    }
    return 0;
}

static int notion_test(const struct source_context *context, char **report, struct error *err)
{
    void *state;
    struct buffer text = {0};
    if (notion_open(context, &state, err) != 0) return -1;
    int status = report_bot(state, &text, err);
    if (status == 0) status = report_pages(state, &text, err);
    if (status == 0) status = report_roots(state, &text, err);
    if (status == 0 && (*report = buffer_take(&text)) == NULL) status = out_of_memory(err);
    buffer_free(&text);
    notion_close(state);
    return status;
}

const struct source_kind source_notion = {.name = "notion",
                                          .check = notion_check,
                                          .open = notion_open,
                                          .list = notion_list,
                                          .fetch = notion_fetch,
                                          .cursor = notion_cursor,
                                          .test = notion_test,
                                          .close = notion_close};
