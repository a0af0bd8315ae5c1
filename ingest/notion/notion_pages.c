/* notion_pages.c: see notion_pages.h. */
#include "ingest/notion/notion_pages.h"

#include "ingest/notion/notion_properties.h"
#include "storage/base/buffer.h"
#include "storage/base/digest.h"
#include "storage/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SIZE = 100, PART_MOST = 200, DEPTH_MOST = 100, RESTARTS_MOST = 3 };
enum { SETTLED_S = 120 }; /* the minute itself, and clocks that differ */
/* With room for what tells equal ones apart. */
enum { PATH_MOST = SOURCE_PATH_MAX - 64 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

char *notion_path_part(const char *title)
{
    struct buffer part = {0};
    buffer_text(&part, "");
    for (; *title != '\0'; title++) {
        const unsigned char c = (unsigned char)*title;
        if (c == '/')
            buffer_text(&part, "-");
        else if (c < 0x20 || c == 0x7f)
            buffer_text(&part, " ");
        else
            buffer_append(&part, title, 1);
    }
    if (part.failed) {
        buffer_free(&part);
        return NULL;
    }
    char *begin = part.data;
    size_t length = part.length;
    while (*begin == ' ') begin++, length--;
    if (length > PART_MOST) length = utf8_valid_prefix(begin, PART_MOST);
    while (length > 0 && begin[length - 1] == ' ') length--;
    char *made;
    if (length == 0)
        made = strdup("Untitled");
    else if (strspn(begin, ".") >= length) /* "." and ".." are no names */
        made = strdup("Dots");
    else
        made = strndup(begin, length);
    buffer_free(&part);
    return made;
}

/* ---- The list ---- */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct notion_page *)a)->id, ((const struct notion_page *)b)->id);
}

static struct notion_page *find_id(const struct notion_pages *pages, const char *id)
{
    struct notion_page wanted;
    if (pages->count == 0) return NULL;
    memcpy(wanted.id, id, sizeof(wanted.id));
    return bsearch(&wanted, pages->list, pages->count, sizeof(*pages->list), compare_ids);
}

static void free_page(struct notion_page *page)
{
    free(page->title);
    free(page->path);
    json_decref(page->about);
}

static void forget(struct notion_pages *pages)
{
    for (size_t i = 0; i < pages->count; i++) free_page(&pages->list[i]);
    pages->count = 0;
}

void notion_pages_free(struct notion_pages *pages)
{
    forget(pages);
    free(pages->list);
    free(pages->by_path);
    json_decref(pages->blocks_before);
    json_decref(pages->blocks);
    *pages = (struct notion_pages){0};
}

/* Where a page is: the id of a page, database, data source or block. */
static void read_parent(const json_t *parent, struct notion_page *page)
{
    static const char *const kinds[] = {"page_id", "data_source_id", "database_id", "block_id"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        const char *id = json_string_value(json_object_get(parent, kinds[i]));
        if (id == NULL || notion_id_read(id, page->parent) != 0) continue;
        page->parent_is_block = strcmp(kinds[i], "block_id") == 0;
        return;
    }
    page->parent[0] = '\0';
}

static bool is_gone(const json_t *object)
{
    return json_is_true(json_object_get(object, "in_trash")) ||
           json_is_true(json_object_get(object, "archived"));
}

static int add(struct notion_pages *pages, json_t *object, struct error *err)
{
    struct notion_page page = {0};
    struct buffer title = {0};
    const char *kind = json_string_value(json_object_get(object, "object"));
    const char *edited = json_string_value(json_object_get(object, "last_edited_time"));
    if (kind == NULL || is_gone(object)) return 0;
    if (notion_id_read(json_string_value(json_object_get(object, "id")), page.id) != 0)
        return error_set(err, ERR_UNAVAILABLE, NULL, "Notion lists something without an id");
    page.is_database = strcmp(kind, "page") != 0;
    snprintf(page.edited, sizeof(page.edited), "%s", edited != NULL ? edited : "");
    /* A data source is where its database is. */
    const json_t *above = json_object_get(object, "database_parent");
    read_parent(above != NULL ? above : json_object_get(object, "parent"), &page);
    notion_title(object, &title);
    page.title = notion_path_part(title.data != NULL ? title.data : "");
    buffer_free(&title);
    if (page.title == NULL) return out_of_memory(err);
    if (pages->count == pages->room) {
        const size_t room = pages->room == 0 ? 256 : 2 * pages->room;
        struct notion_page *grown = realloc(pages->list, room * sizeof(*grown));
        if (grown == NULL) {
            free(page.title);
            return out_of_memory(err);
        }
        pages->list = grown;
        pages->room = room;
    }
    page.about = json_incref(object);
    pages->list[pages->count++] = page;
    return 0;
}

/* Something edited while the pages of the listing are read moves to their front: what was there
 * comes twice then, and nothing is missed. */
static void drop_repeated(struct notion_pages *pages)
{
    size_t kept = 0;
    if (pages->count == 0) return;
    qsort(pages->list, pages->count, sizeof(*pages->list), compare_ids);
    for (size_t i = 1; i < pages->count; i++) {
        struct notion_page *last = &pages->list[kept], *page = &pages->list[i];
        if (strcmp(last->id, page->id) != 0) {
            pages->list[++kept] = *page;
        } else if (strcmp(page->edited, last->edited) > 0) {
            free_page(last);
            *last = *page;
        } else {
            free_page(page);
        }
    }
    pages->count = kept + 1;
}

/* One page of the listing. *cursor is replaced by that of the next, NULL at the end. */
static int list_some(struct notion_api *api, struct notion_pages *pages, char **cursor,
                     struct error *err)
{
    json_t *answer, *object;
    size_t i;
    json_t *body =
        json_pack("{s:i, s:{s:s, s:s}, s:s*}", "page_size", PAGE_SIZE, "sort", "timestamp",
                  "last_edited_time", "direction", "descending", "start_cursor", *cursor);
    int status = body != NULL ? notion_call(api, "listing pages", "/v1/search", body, &answer, err)
                              : out_of_memory(err);
    json_decref(body);
    if (status != 0) return -1;
    const json_t *results = json_object_get(answer, "results");
    const json_t *state = json_object_get(json_object_get(answer, "request_status"), "type");
    if (!json_is_array(results))
        status = error_set(err, ERR_UNAVAILABLE, NULL, "Notion's answer holds no results");
    else if (json_is_string(state) && strcmp(json_string_value(state), "complete") != 0)
        status = error_set(err, ERR_UNAVAILABLE, NULL,
                           "Notion does not list everything (%s): share fewer pages with the "
                           "integration, or use several",
                           json_string_value(state));
    json_array_foreach(results, i, object)
    {
        if (status == 0) status = add(pages, object, err);
    }
    free(*cursor);
    *cursor = NULL;
    const char *next = json_string_value(json_object_get(answer, "next_cursor"));
    if (status == 0 && json_is_true(json_object_get(answer, "has_more")) && next != NULL &&
        (*cursor = strdup(next)) == NULL)
        status = out_of_memory(err);
    json_decref(answer);
    return status;
}

static int search_all(struct notion_api *api, struct notion_pages *pages, struct error *err)
{
    char *cursor = NULL;
    int restarts = 0;
    bool more = true;
    while (more) {
        const bool went_on = cursor != NULL;
        struct error own = {0};
        const int status = list_some(api, pages, &cursor, &own);
        more = cursor != NULL;
        if (status == 0) continue;
        free(cursor);
        cursor = NULL;
        more = own.code == ERR_INVALID && went_on && restarts++ < RESTARTS_MOST;
        if (!more) {
            if (err != NULL) *err = own;
            return -1;
        }
        forget(pages); /* the cursor is not taken any more: from the beginning */
    }
    drop_repeated(pages);
    return 0;
}

/* ---- What search leaves out ---- */

char *notion_pages_save(const struct notion_pages *pages)
{
    json_t *ids = json_object();
    for (size_t i = 0; i < pages->count; i++)
        json_object_set_new(ids, pages->list[i].id, json_boolean(pages->list[i].is_database));
    const bool whole = json_object_size(ids) == pages->count;
    json_t *root = json_pack("{s:o, s:O*}", "pages", ids, "blocks", pages->blocks);
    char *text = root != NULL && whole ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* Adds it where it is still there, or notes in `gone` that it is not. */
static int ask_for(struct notion_api *api, const char *id, bool is_database,
                   struct notion_pages *pages, json_t *gone, struct error *err)
{
    char path[96];
    json_t *object = NULL;
    struct error own = {0};
    snprintf(path, sizeof(path), "/v1/%s/%s", is_database ? "data_sources" : "pages", id);
    int status = notion_call(api, "a page that search left out", path, NULL, &object, &own);
    if (status == 0 && !is_gone(object)) {
        status = add(pages, object, err);
    } else if (status == 0 || own.code == ERR_NOT_FOUND) {
        status = json_object_set_new(gone, id, json_true()) == 0 ? 0 : out_of_memory(err);
    } else if (err != NULL) {
        *err = own;
    }
    json_decref(object);
    return status;
}

/* What lies below something in the trash is in there too, whatever it says of itself. */
static void drop_below(struct notion_pages *pages, size_t from, json_t *gone)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = from; i < pages->count; i++) {
            struct notion_page *page = &pages->list[i];
            if (json_object_get(gone, page->parent) == NULL) continue;
            json_object_set_new(gone, page->id, json_true());
            free_page(page);
            *page = pages->list[--pages->count];
            again = true;
            i--;
        }
    }
}

static int ask_for_missing(struct notion_api *api, json_t *known, struct notion_pages *pages,
                           struct error *err)
{
    const char *id;
    json_t *is_database;
    struct notion_pages extra = {0};
    json_t *gone = json_object();
    int status = gone != NULL ? 0 : out_of_memory(err);
    json_object_foreach(known, id, is_database)
    {
        char read[NOTION_ID_SIZE];
        if (status != 0) break;
        if (notion_id_read(id, read) == 0 && find_id(pages, read) == NULL)
            status = ask_for(api, read, json_is_true(is_database), &extra, gone, err);
    }
    if (status == 0) drop_below(&extra, 0, gone);
    for (size_t i = 0; status == 0 && i < extra.count; i++)
        status = add(pages, extra.list[i].about, err);
    if (status == 0) drop_repeated(pages);
    notion_pages_free(&extra);
    json_decref(gone);
    return status;
}

int notion_pages_list(struct notion_api *api, const char *cursor, struct notion_pages *pages,
                      struct error *err)
{
    if (search_all(api, pages, err) != 0) return -1;
    json_t *known = cursor != NULL ? json_loads(cursor, 0, NULL) : NULL;
    const int status = ask_for_missing(api, json_object_get(known, "pages"), pages, err);
    pages->blocks_before = json_incref(json_object_get(known, "blocks"));
    json_decref(known);
    return status;
}

/* ---- Paths ---- */

bool notion_is_settled(const char *edited, time_t listed)
{
    struct tm utc = {0};
    return strptime(edited, "%Y-%m-%dT%H:%M:%S", &utc) != NULL &&
           difftime(listed, timegm(&utc)) >= SETTLED_S;
}

/* Where the block is by what was found out before: a block that moves is an edit of its page. */
static bool know_block(const struct notion_pages *pages, const json_t *blocks,
                       struct notion_page *page)
{
    const json_t *place = json_object_get(blocks, page->parent);
    const char *edited = json_string_value(json_array_get(place, 1));
    char id[NOTION_ID_SIZE];
    if (notion_id_read(json_string_value(json_array_get(place, 0)), id) != 0) return false;
    const struct notion_page *above = find_id(pages, id);
    if (above == NULL || edited == NULL || strcmp(above->edited, edited) != 0) return false;
    memcpy(page->parent, id, sizeof(id));
    page->parent_is_block = false;
    return true;
}

static int note_block(struct notion_pages *pages, const char *block, const char *parent,
                      struct error *err)
{
    const struct notion_page *above = parent[0] != '\0' ? find_id(pages, parent) : NULL;
    if (above == NULL || !notion_is_settled(above->edited, time(NULL))) return 0;
    if (pages->blocks == NULL && (pages->blocks = json_object()) == NULL) return out_of_memory(err);
    return json_object_set_new(pages->blocks, block,
                               json_pack("[s, s]", above->id, above->edited)) == 0
               ? 0
               : out_of_memory(err);
}

/* Finds the page or database that a block is in, which takes a call for each block between. */
static int ask_for_block(struct notion_api *api, struct notion_page *page, struct error *err)
{
    for (int depth = 0; page->parent_is_block && depth < DEPTH_MOST; depth++) {
        char path[64];
        json_t *block;
        struct error own = {0};
        snprintf(path, sizeof(path), "/v1/blocks/%s", page->parent);
        page->parent[0] = '\0';
        page->parent_is_block = false;
        if (notion_call(api, "a block", path, NULL, &block, &own) == 0) {
            read_parent(json_object_get(block, "parent"), page);
            json_decref(block);
        } else if (own.code == ERR_UNAVAILABLE || own.code == ERR_CANCELLED) {
            if (err != NULL) *err = own;
            return -1;
        } /* else it is gone, or not to be seen */
    }
    return 0;
}

static bool is_root(const struct notion_config *config, const char *id)
{
    for (size_t i = 0; i < config->root_count; i++)
        if (strcmp(config->roots[i], id) == 0) return true;
    return false;
}

/* Whether the page or one above it is a root. */
static bool is_wanted(const struct notion_api *api, const struct notion_pages *pages,
                      const struct notion_page *page)
{
    if (api->config->root_count == 0) return true;
    for (int depth = 0; page != NULL && depth < DEPTH_MOST; depth++) {
        const json_t *database =
            json_object_get(json_object_get(page->about, "parent"), "database_id");
        char id[NOTION_ID_SIZE];
        if (is_root(api->config, page->id) || is_root(api->config, page->parent)) return true;
        if (notion_id_read(json_string_value(database), id) == 0 && is_root(api->config, id))
            return true;
        page = page->parent[0] != '\0' ? find_id(pages, page->parent) : NULL;
    }
    return false;
}

/* The path by titles alone. NULL when memory ran out. */
static char *path_of(const struct notion_pages *pages, const struct notion_page *page)
{
    const struct notion_page *way[DEPTH_MOST];
    struct buffer path = {0};
    int depth = 0;
    for (; page != NULL && depth < DEPTH_MOST; depth++) {
        way[depth] = page;
        page = page->parent[0] != '\0' ? find_id(pages, page->parent) : NULL;
    }
    while (depth-- > 0) buffer_format(&path, "%s%s", path.length > 0 ? "/" : "", way[depth]->title);
    if (path.length > PATH_MOST) { /* the end tells more than the beginning */
        char *end = strchr(path.data + path.length - PATH_MOST, '/');
        char *shorter = strdup(end != NULL ? end + 1 : "Untitled");
        buffer_free(&path);
        return shorter;
    }
    return buffer_take(&path);
}

/* For compare_paths. */
static _Thread_local const struct notion_pages *sorting;

static const char *created(const struct notion_page *page)
{
    const char *time = json_string_value(json_object_get(page->about, "created_time"));
    return time != NULL ? time : "";
}

/* By path, and of one path by age. */
static int compare_paths(const void *x, const void *y)
{
    const struct notion_page *a = &sorting->list[*(const size_t *)x];
    const struct notion_page *b = &sorting->list[*(const size_t *)y];
    int order = strcmp(a->path, b->path);
    if (order == 0) order = strcmp(created(a), created(b));
    return order != 0 ? order : strcmp(a->id, b->id);
}

static void sort_paths(struct notion_pages *pages)
{
    sorting = pages;
    if (pages->document_count > 1)
        qsort(pages->by_path, pages->document_count, sizeof(*pages->by_path), compare_paths);
}

/* "Plan" becomes "Plan (1f2e3d4c)"; with the whole id where that is somebody's title already. */
static char *marked(const struct notion_page *page, int round)
{
    uint8_t hash[SHA256_SIZE];
    struct buffer path = {0};
    digest_sha256(page->id, strlen(page->id), hash);
    if (round == 0)
        buffer_format(&path, "%s (%02x%02x%02x%02x)", page->path, hash[0], hash[1], hash[2],
                      hash[3]);
    else
        buffer_format(&path, "%s (%s)", page->path, page->id);
    return buffer_take(&path);
}

/* Tells those apart that are called the same. Marks may meet titles that look like them, so it is
 * looked again until nothing does. */
static int tell_apart(struct notion_pages *pages, struct error *err)
{
    bool again = true;
    for (int round = 0; again; round++) {
        again = false;
        sort_paths(pages);
        const char *kept = NULL;
        for (size_t i = 0; i < pages->document_count; i++) {
            struct notion_page *page = &pages->list[pages->by_path[i]];
            if (kept == NULL || strcmp(kept, page->path) != 0) {
                kept = page->path;
                continue;
            }
            char *longer = marked(page, round);
            if (longer == NULL) return out_of_memory(err);
            free(page->path);
            page->path = longer;
            again = true;
        }
    }
    return 0;
}

/* Puts a page that is in a block into the page or database that the block is in. */
static int leave_blocks(struct notion_api *api, struct notion_pages *pages,
                        struct notion_page *page, struct error *err)
{
    char block[NOTION_ID_SIZE];
    if (!page->parent_is_block) return 0;
    memcpy(block, page->parent, sizeof(block));
    if (!know_block(pages, pages->blocks, page) && !know_block(pages, pages->blocks_before, page) &&
        ask_for_block(api, page, err) != 0)
        return -1;
    return note_block(pages, block, page->parent, err);
}

int notion_pages_name(struct notion_api *api, struct notion_pages *pages, struct error *err)
{
    for (size_t i = 0; i < pages->count; i++)
        if (leave_blocks(api, pages, &pages->list[i], err) != 0) return -1;
    pages->by_path = calloc(pages->count + 1, sizeof(*pages->by_path));
    if (pages->by_path == NULL) return out_of_memory(err);
    for (size_t i = 0; i < pages->count; i++) {
        struct notion_page *page = &pages->list[i];
        if (page->is_database || !is_wanted(api, pages, page)) continue;
        page->path = path_of(pages, page);
        if (page->path == NULL) return out_of_memory(err);
        pages->by_path[pages->document_count++] = i;
    }
    return tell_apart(pages, err);
}

const struct notion_page *notion_pages_find(const struct notion_pages *pages, const char *path)
{
    size_t low = 0, end = pages->document_count;
    while (low < end) {
        const size_t middle = low + (end - low) / 2;
        const struct notion_page *page = &pages->list[pages->by_path[middle]];
        const int order = strcmp(page->path, path);
        if (order == 0) return page;
        if (order < 0)
            low = middle + 1;
        else
            end = middle;
    }
    return NULL;
}
