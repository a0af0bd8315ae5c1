/*
 * drive_changes.c: brings the view up to date from the feeds of changes (changes.list).
 *
 * An entry gives the state that a file has now, not what was changed, and only the latest entry of
 * each file is in a feed. What is below a folder has no entries when the folder moves or goes to
 * the trash, so that is for us to conclude:
 * - a folder that was not in the table has its children listed: it was made, moved in, restored;
 * - a folder that goes to the trash takes what is below it along;
 * - a folder that is removed may have left something that is still shared by itself: list anew.
 */
#include "ingest/drive/drive_view.h"

#include <stdlib.h>
#include <string.h>

/* Entries that do not concern us are read again by the next sync if they are this few. */
enum { PAGE = 1000, READ_AGAIN_MOST = 100 };

struct catching {
    struct drive_view *view;
    const struct drive_feed *feed; /* that is being read */
    json_t *targets;               /* ids that shortcuts lead to */
    json_t *appeared;              /* folders: id -> whether it is only what a shortcut leads to */
    json_t *trashed, *removed;     /* folders */
    size_t entries;
    bool changed, stale;
    struct error *err;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool has(const json_t *set, const char *id)
{
    return json_object_get(set, id) != NULL;
}

/* ---- One entry ---- */

static bool is_chosen_folder(const struct drive_view *view, const char *id)
{
    const struct drive_config *config = view->api->config;
    for (size_t i = 0; i < config->folder_count; i++)
        if (strcmp(config->folders[i], id) == 0) return true;
    return false;
}

/* Whether a file that is not in the table belongs there. */
static bool belongs(const struct catching *catching, const json_t *file)
{
    const struct drive_view *view = catching->view;
    const char *drive = text_of(file, "driveId");
    const struct drive_node *root = drive_nodes_find(&view->nodes, drive);
    const json_t *parent;
    size_t i;
    if (drive == NULL && view->api->config->my_drive) return true;
    if (root != NULL && root->root) return true;
    json_array_foreach(json_object_get(file, "parents"), i, parent)
    {
        if (drive_nodes_find(&view->nodes, json_string_value(parent)) != NULL) return true;
    }
    return false;
}

/* It is removed or in the trash. */
static void leave(struct catching *catching, const char *id, json_t *folders)
{
    struct drive_node *node = drive_nodes_find(&catching->view->nodes, id);
    if (node == NULL) return;
    /* One that moved to another corpus is removed from the feed of the one that it was in. */
    if (drive_view_feed(catching->view, node->drive) != catching->feed) return;
    if (drive_node_is_folder(node)) json_object_set_new(folders, id, json_true());
    json_object_del(catching->appeared, id);
    node->gone = true;
    catching->changed = true;
}

static int arrive(struct catching *catching, const json_t *file)
{
    struct drive_view *view = catching->view;
    struct drive_node *node = drive_node_read(file);
    if (node == NULL) return 0;
    const struct drive_node *old = drive_nodes_find(&view->nodes, node->id);
    const bool known = old != NULL, folder = drive_node_is_folder(node);
    const bool chosen = is_chosen_folder(view, node->id);
    const bool inside = chosen || belongs(catching, file);
    if (!known && !inside && !has(catching->targets, node->id)) {
        drive_node_free(node);
        return 0;
    }
    node->outside = !known && !inside;
    node->root = chosen && folder;
    if (!known && folder) {
        json_object_set_new(catching->appeared, node->id, json_boolean(node->outside));
        json_object_del(catching->trashed, node->id);
        json_object_del(catching->removed, node->id);
    }
    const int put = drive_nodes_put(&view->nodes, node);
    if (put < 0) return out_of_memory(catching->err);
    catching->changed |= put > 0;
    return 0;
}

/* A shared drive itself has another name, or is no longer ours. */
static int take_drive(struct catching *catching, const json_t *change)
{
    const char *id = text_of(change, "driveId");
    const char *name = text_of(json_object_get(change, "drive"), "name");
    struct drive_node *root = id != NULL ? drive_nodes_find(&catching->view->nodes, id) : NULL;
    if (root == NULL || !root->root) return 0;
    if (json_is_true(json_object_get(change, "removed"))) {
        catching->stale = true;
    } else if (name != NULL && strcmp(name, root->name) != 0) {
        char *copy = strdup(name);
        if (copy == NULL) return out_of_memory(catching->err);
        free(root->name);
        root->name = copy;
        root->marked = false;
        catching->changed = true;
    }
    return 0;
}

static int take_change(struct catching *catching, const json_t *change)
{
    const char *type = text_of(change, "changeType"), *id = text_of(change, "fileId");
    const json_t *file = json_object_get(change, "file");
    catching->entries++;
    if (type != NULL && strcmp(type, "drive") == 0) return take_drive(catching, change);
    if (id == NULL) return 0;
    if (json_is_true(json_object_get(change, "removed")) || file == NULL) {
        leave(catching, id, catching->removed);
        return 0;
    }
    if (json_is_true(json_object_get(file, "trashed"))) {
        leave(catching, id, catching->trashed);
        return 0;
    }
    return arrive(catching, file);
}

/* ---- The feeds ---- */

/* Whether the answer means that the place in the feed is not known any more, or the feed is not
 * ours any more: listing tells. */
static bool is_lost(const struct drive_fault *fault, const struct error *err)
{
    return err->code != ERR_UNAVAILABLE && (fault->status == 400 || fault->status == 403 ||
                                            fault->status == 404 || fault->status == 410);
}

/* One page. *next: the token to go on from; *last: nothing more is there now. */
static int read_page(struct catching *catching, char **token, bool *last)
{
    struct buffer path = {0};
    struct drive_fault fault;
    struct error why = {0};
    json_t *answer = NULL, *change;
    size_t i;
    buffer_format(&path,
                  "/drive/v3/changes?pageSize=%d&spaces=drive&supportsAllDrives=true"
                  "&includeItemsFromAllDrives=true&includeRemoved=true"
                  "&fields=nextPageToken,newStartPageToken,changes(changeType,removed,fileId,"
                  "driveId,drive(name),file(" DRIVE_FILE_FIELDS "))",
                  PAGE);
    drive_query(&path, "pageToken", *token);
    if (catching->feed->drive[0] != '\0') drive_query(&path, "driveId", catching->feed->drive);
    int status = path.failed ? out_of_memory(&why)
                             : drive_get_json(catching->view->api, "the feed of changes", path.data,
                                              &answer, &fault, &why);
    buffer_free(&path);
    if (status != 0) {
        if (catching->err != NULL) *catching->err = why;
        if (why.code == ERR_INTERNAL || !is_lost(&fault, &why)) return -1;
        catching->stale = true;
        *last = true;
        return 0;
    }
    json_array_foreach(json_object_get(answer, "changes"), i, change)
    {
        if (status == 0) status = take_change(catching, change);
    }
    const char *next = text_of(answer, "nextPageToken");
    *last = next == NULL;
    if (next == NULL) next = text_of(answer, "newStartPageToken");
    char *copy = next != NULL ? strdup(next) : NULL;
    if (status == 0 && next == NULL)
        status = error_set(catching->err, ERR_UNAVAILABLE, NULL,
                           "Drive's feed of changes ends without a token");
    else if (status == 0 && copy == NULL)
        status = out_of_memory(catching->err);
    json_decref(answer);
    if (status != 0) {
        free(copy);
        return -1;
    }
    free(*token);
    *token = copy;
    return 0;
}

static int read_feeds(struct catching *catching)
{
    struct drive_view *view = catching->view;
    for (size_t i = 0; i < view->feed_count && !catching->stale; i++) {
        bool last = false;
        catching->feed = &view->feeds[i];
        while (!last)
            if (read_page(catching, &view->feeds[i].token, &last) != 0) return -1;
    }
    return 0;
}

/* With "drives": "all": whether the account is a member of the same ones still. */
static int check_drives(struct catching *catching)
{
    struct drive_view *view = catching->view;
    json_t *drives;
    size_t found = 0, known = 0;
    if (!view->api->config->all_drives) return 0;
    if (drive_view_drives(view->api, &drives, catching->err) != 0) return -1;
    for (size_t i = 0; i < view->nodes.count; i++) {
        const struct drive_node *node = view->nodes.list[i];
        if (node->gone || !node->root || node->drive == NULL || strcmp(node->drive, node->id) != 0)
            continue;
        known++;
        found += json_object_get(drives, node->id) != NULL;
    }
    catching->stale = found != known || known != json_object_size(drives);
    json_decref(drives);
    return 0;
}

/* ---- What follows from them ---- */

/* Whether what was removed leaves something below it. */
static bool has_orphans(const struct catching *catching)
{
    const struct drive_nodes *nodes = &catching->view->nodes;
    for (size_t i = 0; i < nodes->count; i++)
        for (size_t j = 0; !nodes->list[i]->gone && j < nodes->list[i]->parent_count; j++)
            if (has(catching->removed, nodes->list[i]->parents[j])) return true;
    return false;
}

static bool is_trashed_with(const struct catching *catching, const struct drive_node *node)
{
    bool below = false;
    for (size_t i = 0; i < node->parent_count; i++) {
        if (drive_nodes_find(&catching->view->nodes, node->parents[i]) != NULL) return false;
        below |= has(catching->trashed, node->parents[i]);
    }
    return below;
}

static void trash_below(struct catching *catching)
{
    const struct drive_nodes *nodes = &catching->view->nodes;
    bool more = json_object_size(catching->trashed) > 0;
    while (more) {
        more = false;
        for (size_t i = 0; i < nodes->count; i++) {
            struct drive_node *node = nodes->list[i];
            if (node->gone || !is_trashed_with(catching, node)) continue;
            node->gone = true;
            if (!drive_node_is_folder(node)) continue;
            json_object_set_new(catching->trashed, node->id, json_true());
            more = true;
        }
    }
}

static int list_appeared(struct catching *catching)
{
    json_t *outside;
    const char *id;
    int status = 0;
    for (int round = 0; round < 2 && status == 0; round++) {
        char **ids = calloc(json_object_size(catching->appeared) + 1, sizeof(*ids));
        size_t count = 0;
        if (ids == NULL) return out_of_memory(catching->err);
        json_object_foreach(catching->appeared, id, outside)
        {
            if (json_is_true(outside) == (round == 1) &&
                drive_nodes_find(&catching->view->nodes, id) != NULL)
                ids[count++] = (char *)id;
        }
        if (count > 0)
            status = drive_view_list_below(catching->view, ids, count, round == 1, catching->err);
        free(ids);
    }
    return status;
}

static void find_targets(struct catching *catching)
{
    const struct drive_nodes *nodes = &catching->view->nodes;
    for (size_t i = 0; i < nodes->count; i++)
        if (!nodes->list[i]->gone && nodes->list[i]->target != NULL)
            json_object_set_new(catching->targets, nodes->list[i]->target, json_true());
}

static int catch_up(struct catching *catching)
{
    find_targets(catching);
    if (check_drives(catching) != 0) return -1;
    if (!catching->stale && read_feeds(catching) != 0) return -1;
    if (catching->stale || has_orphans(catching)) return DRIVE_STALE;
    trash_below(catching);
    if (list_appeared(catching) != 0) return -1;
    if (catching->changed && drive_view_follow(catching->view, catching->err) != 0) return -1;
    return catching->changed || catching->entries > READ_AGAIN_MOST ? DRIVE_CHANGED
                                                                    : DRIVE_UNCHANGED;
}

int drive_view_catch_up(struct drive_view *view, struct error *err)
{
    struct catching catching = {.view = view,
                                .targets = json_object(),
                                .appeared = json_object(),
                                .trashed = json_object(),
                                .removed = json_object(),
                                .err = err};
    const int status = catch_up(&catching);
    json_decref(catching.targets);
    json_decref(catching.appeared);
    json_decref(catching.trashed);
    json_decref(catching.removed);
    return status;
}
