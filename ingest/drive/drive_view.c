/* drive_view.c: the view itself: its feeds, what is added to it, and how the cursor keeps it. */
#include "ingest/drive/drive_view.h"

#include <stdlib.h>
#include <string.h>

enum { CURSOR_VERSION = 1 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- Feeds ---- */

static int add_feed(struct drive_view *view, const char *drive, const char *token)
{
    struct drive_feed *grown = realloc(view->feeds, (view->feed_count + 1) * sizeof(*view->feeds));
    if (grown == NULL) return -1;
    view->feeds = grown;
    struct drive_feed feed = {strdup(drive), strdup(token)};
    if (feed.drive == NULL || feed.token == NULL) {
        free(feed.drive);
        free(feed.token);
        return -1;
    }
    view->feeds[view->feed_count++] = feed;
    return 0;
}

static const struct drive_feed *find_feed(const struct drive_view *view, const char *drive)
{
    for (size_t i = 0; i < view->feed_count; i++)
        if (strcmp(view->feeds[i].drive, drive) == 0) return &view->feeds[i];
    return NULL;
}

const struct drive_feed *drive_view_feed(const struct drive_view *view, const char *drive)
{
    const struct drive_feed *own = drive != NULL ? find_feed(view, drive) : NULL;
    return own != NULL ? own : find_feed(view, "");
}

int drive_view_open_feed(struct drive_view *view, const char *drive, struct error *err)
{
    if (drive == NULL) drive = "";
    if (find_feed(view, drive) != NULL) return 0;
    struct buffer path = {0};
    struct drive_fault fault;
    json_t *answer;
    buffer_text(&path, "/drive/v3/changes/startPageToken?supportsAllDrives=true");
    if (drive[0] != '\0') drive_query(&path, "driveId", drive);
    int status = path.failed ? out_of_memory(err)
                             : drive_get_json(view->api, "the feed of changes", path.data, &answer,
                                              &fault, err);
    buffer_free(&path);
    if (status != 0) {
        const bool member = fault.status != 403 && fault.status != 404;
        if (drive[0] == '\0' || member || (err != NULL && err->code == ERR_UNAVAILABLE)) return -1;
        return drive_view_open_feed(view, "", err);
    }
    const char *token = json_string_value(json_object_get(answer, "startPageToken"));
    if (token == NULL)
        status = error_set(err, ERR_UNAVAILABLE, NULL, "Drive gave no token for its changes");
    else if (add_feed(view, drive, token) != 0)
        status = out_of_memory(err);
    json_decref(answer);
    return status;
}

/* ---- Files ---- */

int drive_view_add(struct drive_view *view, const json_t *file, bool outside,
                   struct drive_node **node, struct error *err)
{
    *node = NULL;
    if (json_is_true(json_object_get(file, "trashed"))) return 0;
    struct drive_node *read = drive_node_read(file);
    if (read == NULL) return 0;
    read->outside = outside;
    if (drive_nodes_put(&view->nodes, read) < 0) return out_of_memory(err);
    *node = read;
    return 0;
}

int drive_view_get(struct drive_view *view, const char *id, bool outside, struct drive_node **node,
                   struct error *err)
{
    struct buffer path = {0};
    struct drive_fault fault;
    json_t *answer;
    *node = NULL;
    buffer_format(&path, "/drive/v3/files/%s?supportsAllDrives=true&fields=" DRIVE_FILE_FIELDS, id);
    int status = path.failed ? out_of_memory(err)
                             : drive_get_json(view->api, "a file", path.data, &answer, &fault, err);
    buffer_free(&path);
    if (status != 0) return fault.status == 404 ? 1 : -1;
    status = drive_view_add(view, answer, outside, node, err);
    json_decref(answer);
    return status == 0 && *node == NULL ? 1 : status;
}

int drive_view_drives(const struct drive_api *api, json_t **drives, struct error *err)
{
    struct drive_fault fault;
    char *token = NULL;
    int status = 0;
    *drives = json_object();
    do {
        struct buffer path = {0};
        json_t *answer = NULL, *drive;
        size_t i;
        buffer_text(&path, "/drive/v3/drives?pageSize=100&fields=nextPageToken,drives(id,name)");
        if (token != NULL) drive_query(&path, "pageToken", token);
        free(token);
        token = NULL;
        status = path.failed
                     ? out_of_memory(err)
                     : drive_get_json(api, "the shared drives", path.data, &answer, &fault, err);
        buffer_free(&path);
        json_array_foreach(json_object_get(answer, "drives"), i, drive)
        {
            const char *id = json_string_value(json_object_get(drive, "id"));
            json_t *name = json_object_get(drive, "name");
            if (drive_is_id(id) && json_is_string(name)) json_object_set(*drives, id, name);
        }
        const char *next = json_string_value(json_object_get(answer, "nextPageToken"));
        if (next != NULL && (token = strdup(next)) == NULL) status = out_of_memory(err);
        json_decref(answer);
    } while (status == 0 && token != NULL);
    free(token);
    if (status == 0) return 0;
    json_decref(*drives);
    *drives = NULL;
    return -1;
}

/* ---- What shortcuts lead to ---- */

static int follow_one(struct drive_view *view, const char *id, bool *missing, struct error *err)
{
    struct drive_node *node;
    int status = drive_view_get(view, id, true, &node, err);
    *missing = status == 1;
    if (status != 0) return status == 1 ? 0 : -1;
    const size_t feeds = view->feed_count;
    if (drive_view_open_feed(view, node->drive, err) != 0) return -1;
    /* What changed before its feed was opened would not be told. */
    if (view->feed_count > feeds) {
        status = drive_view_get(view, id, true, &node, err);
        *missing = status == 1;
        if (status != 0) return status == 1 ? 0 : -1;
    }
    if (!drive_node_is_folder(node)) return 0;
    return drive_view_list_below(view, &node->id, 1, true, err);
}

int drive_view_follow(struct drive_view *view, struct error *err)
{
    /* The table grows meanwhile, and the shortcuts that come are met too. A node is looked up anew
     * by its id after each call, since the call may have replaced it. */
    for (size_t i = 0; i < view->nodes.count; i++) {
        const struct drive_node *shortcut = view->nodes.list[i];
        bool missing;
        if (shortcut->gone || shortcut->target == NULL || shortcut->broken ||
            drive_nodes_find(&view->nodes, shortcut->target) != NULL)
            continue;
        char *target = strdup(shortcut->target);
        if (target == NULL) return out_of_memory(err);
        const int status = follow_one(view, target, &missing, err);
        free(target);
        if (status != 0) return -1;
        view->nodes.list[i]->broken = missing;
    }
    return 0;
}

/* ---- The cursor ---- */

static int load(struct drive_view *view, const json_t *object)
{
    const json_t *token;
    const char *drive;
    if (json_integer_value(json_object_get(object, "version")) != CURSOR_VERSION) return -1;
    json_object_foreach((json_t *)json_object_get(object, "feeds"), drive, token)
    {
        if (!json_is_string(token) || (drive[0] != '\0' && !drive_is_id(drive))) return -1;
        if (add_feed(view, drive, json_string_value(token)) != 0) return -1;
    }
    if (view->feed_count == 0) return -1;
    return drive_nodes_read(&view->nodes, json_object_get(object, "nodes"));
}

int drive_view_load(struct drive_view *view, const char *cursor)
{
    json_t *object = json_loads(cursor, 0, NULL);
    const int status = load(view, object);
    json_decref(object);
    if (status != 0) drive_view_free(view);
    return status;
}

char *drive_view_save(const struct drive_view *view)
{
    json_t *feeds = json_object();
    for (size_t i = 0; i < view->feed_count; i++)
        json_object_set_new(feeds, view->feeds[i].drive, json_string(view->feeds[i].token));
    json_t *object = json_pack("{s:i, s:o, s:o}", "version", CURSOR_VERSION, "feeds", feeds,
                               "nodes", drive_nodes_write(&view->nodes));
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

void drive_view_free(struct drive_view *view)
{
    drive_nodes_free(&view->nodes);
    for (size_t i = 0; i < view->feed_count; i++) {
        free(view->feeds[i].drive);
        free(view->feeds[i].token);
    }
    free(view->feeds);
    *view = (struct drive_view){.api = view->api};
}
