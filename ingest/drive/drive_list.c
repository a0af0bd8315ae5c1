/* drive_list.c: the view made anew: whole corpora by files.list, chosen folders level by level. */
#include "ingest/drive/drive_view.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 1000, FOLDERS_PER_QUERY = 40, ROUNDS = 3 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* Folders whose children are to be listed: each once. */
struct frontier {
    char **ids;
    size_t count, room, done;
    json_t *seen;
    json_t *met; /* the parents of what the answer to the last query held */
};

static int enter(struct frontier *frontier, const char *id, struct error *err)
{
    if (json_object_get(frontier->seen, id) != NULL) return 0;
    if (json_object_set_new(frontier->seen, id, json_true()) != 0) return out_of_memory(err);
    if (frontier->count == frontier->room) {
        const size_t wanted = frontier->room > 0 ? 2 * frontier->room : 64;
        char **grown = realloc(frontier->ids, wanted * sizeof(*grown));
        if (grown == NULL) return out_of_memory(err);
        frontier->ids = grown;
        frontier->room = wanted;
    }
    frontier->ids[frontier->count] = strdup(id);
    if (frontier->ids[frontier->count] == NULL) return out_of_memory(err);
    frontier->count++;
    return 0;
}

static void free_frontier(struct frontier *frontier)
{
    for (size_t i = 0; i < frontier->count; i++) free(frontier->ids[i]);
    free(frontier->ids);
    json_decref(frontier->seen);
    json_decref(frontier->met);
}

/* ---- Pages ---- */

static int meet(struct frontier *frontier, const struct drive_node *node, struct error *err)
{
    for (size_t i = 0; i < node->parent_count; i++)
        if (json_object_set_new(frontier->met, node->parents[i], json_true()) != 0)
            return out_of_memory(err);
    return drive_node_is_folder(node) ? enter(frontier, node->id, err) : 0;
}

static int take_files(struct drive_view *view, const json_t *answer, bool outside,
                      struct frontier *frontier, struct error *err)
{
    const json_t *files = json_object_get(answer, "files"), *file;
    size_t i;
    /* An answer that leaves something out must not look as if that were gone. */
    if (!json_is_array(files) || json_is_true(json_object_get(answer, "incompleteSearch")))
        return error_set(err, ERR_UNAVAILABLE, NULL, "Drive's listing is not complete");
    json_array_foreach(files, i, file)
    {
        struct drive_node *node;
        if (drive_view_add(view, file, outside, &node, err) != 0) return -1;
        if (node != NULL && frontier != NULL && meet(frontier, node, err) != 0) return -1;
    }
    return 0;
}

/* All pages of what the query `q` finds in a shared drive, or where that is NULL with the user. */
static int list_pages(struct drive_view *view, const char *drive, const char *q, bool all_drives,
                      bool outside, struct frontier *frontier, struct error *err)
{
    char *token = NULL;
    int status;
    do {
        struct buffer path = {0};
        struct drive_fault fault;
        json_t *answer = NULL;
        buffer_format(&path,
                      "/drive/v3/files?pageSize=%d&spaces=drive&supportsAllDrives=true"
                      "&includeItemsFromAllDrives=%s&corpora=%s"
                      "&fields=nextPageToken,incompleteSearch,files(" DRIVE_FILE_FIELDS ")",
                      PAGE, drive != NULL || all_drives ? "true" : "false",
                      drive != NULL ? "drive" : "user");
        if (drive != NULL) drive_query(&path, "driveId", drive);
        drive_query(&path, "q", q);
        if (token != NULL) drive_query(&path, "pageToken", token);
        free(token);
        token = NULL;
        status = path.failed
                     ? out_of_memory(err)
                     : drive_get_json(view->api, "the listing", path.data, &answer, &fault, err);
        buffer_free(&path);
        if (status == 0) status = take_files(view, answer, outside, frontier, err);
        const char *next = json_string_value(json_object_get(answer, "nextPageToken"));
        if (status == 0 && next != NULL && (token = strdup(next)) == NULL)
            status = out_of_memory(err);
        json_decref(answer);
    } while (status == 0 && token != NULL);
    free(token);
    return status;
}

/* ---- Below folders ---- */

/* The shared drive to ask for a folder's children: NULL where the user's corpus has them. */
static const char *drive_to_ask(const struct drive_view *view, const char *folder)
{
    const struct drive_node *node = drive_nodes_find(&view->nodes, folder);
    const struct drive_feed *feed = drive_view_feed(view, node != NULL ? node->drive : NULL);
    return feed != NULL && feed->drive[0] != '\0' ? feed->drive : NULL;
}

static bool is_same_drive(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Asks for the children of `count` folders, from the one at `first` on, which are of one corpus. */
static int list_children(struct drive_view *view, struct frontier *frontier, size_t first,
                         size_t count, bool outside, struct error *err)
{
    struct buffer q = {0};
    const char *drive = drive_to_ask(view, frontier->ids[first]);
    json_object_clear(frontier->met);
    buffer_text(&q, "trashed = false and (");
    for (size_t i = 0; i < count; i++)
        buffer_format(&q, "%s'%s' in parents", i > 0 ? " or " : "", frontier->ids[first + i]);
    buffer_text(&q, ")");
    const int status = q.failed ? out_of_memory(err)
                                : list_pages(view, drive, q.data, true, outside, frontier, err);
    buffer_free(&q);
    return status;
}

/* Asks for the children of the next folders that are of one corpus. Drive is known to leave out,
 * without saying so, all children of some of the folders of such a query; so each that none were
 * given of is asked for alone before it is believed to be empty. */
static int list_next(struct drive_view *view, struct frontier *frontier, bool outside,
                     struct error *err)
{
    const size_t first = frontier->done;
    const char *drive = drive_to_ask(view, frontier->ids[first]);
    size_t count = 1;
    while (first + count < frontier->count && count < FOLDERS_PER_QUERY &&
           is_same_drive(drive, drive_to_ask(view, frontier->ids[first + count])))
        count++;
    frontier->done += count;
    if (list_children(view, frontier, first, count, outside, err) != 0) return -1;
    if (count == 1) return 0;

    bool met[FOLDERS_PER_QUERY];
    for (size_t i = 0; i < count; i++)
        met[i] = json_object_get(frontier->met, frontier->ids[first + i]) != NULL;
    for (size_t i = 0; i < count; i++)
        if (!met[i] && list_children(view, frontier, first + i, 1, outside, err) != 0) return -1;
    return 0;
}

int drive_view_list_below(struct drive_view *view, char **folders, size_t count, bool outside,
                          struct error *err)
{
    struct frontier frontier = {.seen = json_object(), .met = json_object()};
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) status = enter(&frontier, folders[i], err);
    while (status == 0 && frontier.done < frontier.count)
        status = list_next(view, &frontier, outside, err);
    free_frontier(&frontier);
    return status;
}

/* ---- What was chosen ---- */

static int list_drive(struct drive_view *view, const char *id, const char *name, struct error *err)
{
    struct drive_node *node;
    json_t *root = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "name", name, "mimeType",
                             DRIVE_FOLDER, "driveId", id);
    int status = root != NULL ? drive_view_add(view, root, false, &node, err) : out_of_memory(err);
    json_decref(root);
    if (status != 0) return -1;
    if (node != NULL) node->root = true;
    if (drive_view_open_feed(view, id, err) != 0) return -1;
    return list_pages(view, id, "trashed = false", true, false, NULL, err);
}

static int list_all_drives(struct drive_view *view, struct error *err)
{
    json_t *drives, *name;
    const char *id;
    int status = drive_view_drives(view->api, &drives, err);
    if (status != 0) return -1;
    json_object_foreach(drives, id, name)
    {
        if (status == 0) status = list_drive(view, id, json_string_value(name), err);
    }
    json_decref(drives);
    return status;
}

static int list_chosen_drive(struct drive_view *view, const char *id, struct error *err)
{
    struct drive_fault fault;
    struct buffer path = {0};
    char what[192];
    json_t *answer;
    snprintf(what, sizeof(what), "the shared drive %s", id);
    buffer_format(&path, "/drive/v3/drives/%s?fields=id,name", id);
    int status = path.failed ? out_of_memory(err)
                             : drive_get_json(view->api, what, path.data, &answer, &fault, err);
    buffer_free(&path);
    if (status != 0) {
        /* Of a source that cannot be seen nothing is known to be gone. */
        if (fault.status == 404 || fault.status == 403)
            error_set(err, ERR_UNAVAILABLE, "config.drives",
                      "the shared drive %s is not there, or the account is no member of it", id);
        return -1;
    }
    const char *name = json_string_value(json_object_get(answer, "name"));
    status = list_drive(view, id, name != NULL ? name : id, err);
    json_decref(answer);
    return status;
}

/* Opens the feed that tells when a folder comes back from the trash. */
static int open_feed_of(struct drive_view *view, const char *id, struct error *err)
{
    struct buffer path = {0};
    struct drive_fault fault;
    json_t *answer = NULL;
    buffer_format(&path, "/drive/v3/files/%s?supportsAllDrives=true&fields=driveId", id);
    int status = path.failed
                     ? out_of_memory(err)
                     : drive_get_json(view->api, "a folder", path.data, &answer, &fault, err);
    buffer_free(&path);
    const char *drive = json_string_value(json_object_get(answer, "driveId"));
    if (status == 0) status = drive_view_open_feed(view, drive_is_id(drive) ? drive : NULL, err);
    json_decref(answer);
    return status;
}

static int add_chosen_folder(struct drive_view *view, const char *id, struct error *err)
{
    struct drive_node *node;
    for (int i = 0; i < 2; i++) {
        const int status = drive_view_get(view, id, false, &node, err);
        const size_t feeds = view->feed_count;
        if (status < 0) return -1;
        if (status == 1 && err != NULL && err->code == ERR_NOT_FOUND)
            return error_set(err, ERR_UNAVAILABLE, "config.folders",
                             "the folder %s is not there, or not shared with the account", id);
        if (status == 1) return open_feed_of(view, id, err);
        if (!drive_node_is_folder(node))
            return error_set(err, ERR_UNAVAILABLE, "config.folders", "%s is a file, not a folder",
                             id);
        node->root = true;
        if (drive_view_open_feed(view, node->drive, err) != 0) return -1;
        /* What changed before its feed was opened would not be told. */
        if (view->feed_count == feeds) break;
    }
    return 0;
}

static int list_chosen_folders(struct drive_view *view, struct error *err)
{
    const struct drive_config *config = view->api->config;
    char **found = calloc(config->folder_count + 1, sizeof(*found));
    size_t count = 0;
    int status = found != NULL ? 0 : out_of_memory(err);
    for (size_t i = 0; i < config->folder_count && status == 0; i++) {
        struct error why = {0};
        status = add_chosen_folder(view, config->folders[i], &why);
        if (status != 0 && err != NULL) *err = why;
        if (drive_nodes_find(&view->nodes, config->folders[i]) != NULL)
            found[count++] = config->folders[i];
    }
    if (status == 0) status = drive_view_list_below(view, found, count, false, err);
    free(found);
    return status;
}

static int list_everything(struct drive_view *view, struct error *err)
{
    const struct drive_config *config = view->api->config;
    if (config->my_drive) {
        if (drive_view_open_feed(view, NULL, err) != 0 ||
            list_pages(view, NULL, "trashed = false", false, false, NULL, err) != 0)
            return -1;
    }
    if (config->all_drives && list_all_drives(view, err) != 0) return -1;
    for (size_t i = 0; i < config->drive_count; i++)
        if (list_chosen_drive(view, config->drives[i], err) != 0) return -1;
    if (config->folder_count > 0 && list_chosen_folders(view, err) != 0) return -1;
    /* "all" of no drive yet: the user's feed is where one would be told of. */
    return view->feed_count > 0 ? 0 : drive_view_open_feed(view, NULL, err);
}

/* A name that was marked stays so, whoever had it before it. */
static void carry_marks(const struct drive_nodes *old, struct drive_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        const struct drive_node *before = drive_nodes_find(old, nodes->list[i]->id);
        struct drive_node *node = nodes->list[i];
        if (before == NULL || !before->marked || strcmp(before->name, node->name) != 0) continue;
        bool same = before->parent_count == node->parent_count;
        for (size_t j = 0; same && j < node->parent_count; j++)
            same = strcmp(before->parents[j], node->parents[j]) == 0;
        node->marked = same;
    }
}

int drive_view_list(struct drive_view *view, struct error *err)
{
    struct drive_view old = *view;
    int status = DRIVE_STALE;
    *view = (struct drive_view){.api = old.api};
    for (int i = 0; i < ROUNDS && status == DRIVE_STALE; i++) {
        drive_view_free(view);
        status = list_everything(view, err);
        if (status != 0) break;
        carry_marks(&old.nodes, &view->nodes);
        if ((status = drive_view_follow(view, err)) != 0) break;
        /* What moved from one page to another meanwhile was met twice or not at all. */
        status = drive_view_catch_up(view, err);
    }
    drive_view_free(&old);
    if (status == DRIVE_STALE)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "Drive's folders change faster than they are listed");
    return status < 0 ? -1 : 0;
}
