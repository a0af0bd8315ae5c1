/*
 * drive.c: the `gdrive` source: Google Drive.
 *
 * The first sync lists; later ones read the feeds of changes into the table that the cursor keeps,
 * and list from that. A listing that Drive does not give whole fails, so that nothing is taken for
 * gone that only was not shown.
 */
#include "ingest/drive/drive_fetch.h"
#include "ingest/drive/drive_places.h"
#include "ingest/drive/drive_view.h"
#include "ingest/source_kind.h"
#include "storage/base/log.h"

#include <stdlib.h>
#include <string.h>

struct drive {
    const struct source_context *context;
    struct drive_config config;
    struct drive_auth *auth;
    struct drive_api api;
    struct drive_view view;
    struct drive_places places;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void drive_close(void *state)
{
    struct drive *drive = state;
    drive_places_free(&drive->places);
    drive_view_free(&drive->view);
    drive_auth_close(drive->auth);
    drive_config_free(&drive->config);
    free(drive);
}

static int drive_open(const struct source_context *context, void **state, struct error *err)
{
    struct drive *drive = calloc(1, sizeof(*drive));
    if (drive == NULL) return out_of_memory(err);
    drive->context = context;
    if (drive_config_read(context->config, &drive->config, err) != 0 ||
        (drive->auth = drive_auth_open(&drive->config, context, err)) == NULL) {
        drive_close(drive);
        return -1;
    }
    drive->api = (struct drive_api){context, &drive->config, drive->auth};
    drive->view.api = &drive->api;
    *state = drive;
    return 0;
}

static int drive_check(const char *repository, const char *config, struct error *err)
{
    void *state = NULL;
    const struct source_context context = {.repository = repository, .config = config};
    if (drive_open(&context, &state, err) == 0) {
        drive_close(state);
        return 0;
    }
    /* When it is set up, a key file that is not there is a mistake in the input. */
    if (err != NULL && err->code == ERR_IO) err->code = ERR_INVALID;
    return -1;
}

/* ---- Listing ---- */

/* Brings the view up to date, from the cursor where there is one. */
static int look(struct drive *drive, struct error *err)
{
    const char *cursor = drive->context->cursor;
    if (cursor == NULL || drive_view_load(&drive->view, cursor) != 0)
        return drive_view_list(&drive->view, err) == 0 ? DRIVE_CHANGED : -1;
    const int status = drive_view_catch_up(&drive->view, err);
    if (status != DRIVE_STALE) return status;
    log_info("drive.list_anew", "repository=%s reason=\"the feed of changes does not tell enough\"",
             log_quote(drive->context->repository));
    return drive_view_list(&drive->view, err) == 0 ? DRIVE_CHANGED : -1;
}

static int tell(const struct drive *drive, source_item_fn item, source_skip_fn skip, void *arg,
                struct error *err)
{
    for (size_t i = 0; i < drive->places.count; i++) {
        const struct drive_place *place = &drive->places.list[i];
        const enum skip_reason reason = drive_fetch_judge(&drive->api, place->node);
        if (reason != SKIP_NONE) {
            skip(arg, place->path, reason);
            continue;
        }
        char sha[65];
        drive_node_sha(place->node, sha);
        const struct source_item found = {
            .path = place->path, .sha = sha, .size = place->node->size};
        if (item(arg, &found) != 0)
            return error_set(err, ERR_CANCELLED, NULL, "the listing was stopped");
    }
    for (size_t i = 0; i < drive->places.lost_count; i++) {
        const struct drive_place *lost = &drive->places.lost[i];
        skip(arg, lost->path, lost->node->target != NULL ? SKIP_NOT_FILE : SKIP_UNREADABLE);
    }
    return 0;
}

static int drive_list(void *state, source_item_fn item, source_skip_fn skip, void *arg,
                      struct error *err)
{
    struct drive *drive = state;
    const int looked = look(drive, err);
    if (looked < 0) return -1;
    if (looked == DRIVE_UNCHANGED) return SOURCE_UNCHANGED;
    if (drive_places_find(&drive->view.nodes, drive->config.my_drive, &drive->places) != 0)
        return out_of_memory(err);
    if (tell(drive, item, skip, arg, err) != 0) return -1;
    /* What has no place is not kept. */
    return drive_nodes_sweep(&drive->view.nodes) == 0 ? SOURCE_LISTED : out_of_memory(err);
}

static int drive_cursor(void *state, char **text, struct error *err)
{
    const struct drive *drive = state;
    *text = drive_view_save(&drive->view);
    return *text != NULL ? 0 : out_of_memory(err);
}

/* ---- Fetching ---- */

static int drive_fetch_path(void *state, const char *path, struct source_content *content,
                            enum skip_reason *reason, struct error *err)
{
    const struct drive *drive = state;
    const struct drive_node *node = drive_places_node(&drive->places, path);
    if (node == NULL) return error_set(err, ERR_NOT_FOUND, NULL, "%s is not there", path);
    return drive_fetch(&drive->api, node, path, content, reason, err);
}

/* ---- Testing ---- */

/* Who the token is for. */
static int report_user(const struct drive *drive, struct buffer *report, struct error *err)
{
    json_t *answer;
    struct drive_fault fault;
    if (drive_get_json(&drive->api, "asking who the token is for",
                       "/drive/v3/about?fields=user(displayName,emailAddress)", &answer, &fault,
                       err) != 0)
        return -1;
    const json_t *user = json_object_get(answer, "user");
    const char *name = json_string_value(json_object_get(user, "displayName"));
    const char *address = json_string_value(json_object_get(user, "emailAddress"));
    buffer_format(report, "Reads Drive as %s", address != NULL ? address : "an unnamed account");
    if (name != NULL && (address == NULL || strcmp(name, address) != 0))
        buffer_format(report, " (%s)", name);
    buffer_text(report, ".");
    json_decref(answer);
    return 0;
}

/* My Drive, and what is shared with the account. */
static int report_files(const struct drive *drive, struct buffer *report, struct error *err)
{
    json_t *answer;
    struct drive_fault fault;
    if (drive_get_json(&drive->api, "looking at My Drive",
                       "/drive/v3/files?pageSize=100&corpora=user&spaces=drive"
                       "&q=trashed%20%3D%20false&fields=nextPageToken,files(id)",
                       &answer, &fault, err) != 0)
        return -1;
    const size_t count = json_array_size(json_object_get(answer, "files"));
    const bool more = json_object_get(answer, "nextPageToken") != NULL;
    const char *email = drive_auth_email(drive->auth);
    json_decref(answer);
    if (count == 0 && email != NULL && drive->config.subject == NULL)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "the account sees no file yet: share a folder with %s", email);
    buffer_format(report, " Sees %s%zu file%s and folder%s in My Drive and shared with it.",
                  more ? "more than " : "", count, count == 1 ? "" : "s", count == 1 ? "" : "s");
    return 0;
}

/* Adds whom to share it with to what is said of something that is not to be seen. */
static int report_hidden(const struct drive *drive, const char *before, const char *after,
                         struct error *err)
{
    const char *email = drive_auth_email(drive->auth);
    if (err != NULL && err->code == ERR_NOT_FOUND && email != NULL)
        error_prefix(err, "%s%s%s", before, email, after);
    return -1;
}

static int report_folder(const struct drive *drive, const char *id, struct buffer *report,
                         struct error *err)
{
    struct buffer path = {0};
    struct drive_fault fault;
    json_t *answer;
    char what[192];
    snprintf(what, sizeof(what), "the folder %s", id);
    buffer_format(&path, "/drive/v3/files/%s?supportsAllDrives=true&fields=name,mimeType,trashed",
                  id);
    int status = path.failed ? out_of_memory(err)
                             : drive_get_json(&drive->api, what, path.data, &answer, &fault, err);
    buffer_free(&path);
    if (status != 0) return report_hidden(drive, "share it with ", "", err);
    const char *name = json_string_value(json_object_get(answer, "name"));
    const char *mime = json_string_value(json_object_get(answer, "mimeType"));
    if (mime == NULL || strcmp(mime, DRIVE_FOLDER) != 0)
        status = error_set(err, ERR_INVALID, "config.folders", "%s is a file, not a folder", id);
    else if (json_is_true(json_object_get(answer, "trashed")))
        status =
            error_set(err, ERR_NOT_FOUND, "config.folders", "the folder %s is in the trash", id);
    else
        buffer_format(report, " Sees the folder \"%s\".", name != NULL ? name : id);
    json_decref(answer);
    return status;
}

static int report_drive(const struct drive *drive, const char *id, struct buffer *report,
                        struct error *err)
{
    struct buffer path = {0};
    struct drive_fault fault;
    json_t *answer;
    char what[192];
    snprintf(what, sizeof(what), "the shared drive %s", id);
    buffer_format(&path, "/drive/v3/drives/%s?fields=id,name", id);
    const int status = path.failed
                           ? out_of_memory(err)
                           : drive_get_json(&drive->api, what, path.data, &answer, &fault, err);
    buffer_free(&path);
    if (status != 0) return report_hidden(drive, "make ", " a member of it", err);
    const char *name = json_string_value(json_object_get(answer, "name"));
    buffer_format(report, " Sees the shared drive \"%s\".", name != NULL ? name : id);
    json_decref(answer);
    return 0;
}

static int report_drives(const struct drive *drive, struct buffer *report, struct error *err)
{
    json_t *drives, *name;
    const char *id;
    if (drive_view_drives(&drive->api, &drives, err) != 0) return -1;
    const size_t count = json_object_size(drives);
    buffer_format(report, " Is a member of %zu shared drive%s", count, count == 1 ? "" : "s");
    const char *before = ": ";
    json_object_foreach(drives, id, name)
    {
        buffer_format(report, "%s%s", before, json_string_value(name));
        before = ", ";
    }
    buffer_text(report, ".");
    json_decref(drives);
    return 0;
}

static int report_all(const struct drive *drive, struct buffer *report, struct error *err)
{
    const struct drive_config *config = &drive->config;
    if (report_user(drive, report, err) != 0) return -1;
    if (config->my_drive && report_files(drive, report, err) != 0) return -1;
    if (config->all_drives && report_drives(drive, report, err) != 0) return -1;
    for (size_t i = 0; i < config->drive_count; i++)
        if (report_drive(drive, config->drives[i], report, err) != 0) return -1;
    for (size_t i = 0; i < config->folder_count; i++)
        if (report_folder(drive, config->folders[i], report, err) != 0) return -1;
    return report->failed ? out_of_memory(err) : 0;
}

static int drive_test(const struct source_context *context, char **report, struct error *err)
{
    void *state;
    struct buffer text = {0};
    if (drive_open(context, &state, err) != 0) return -1;
    int status = report_all(state, &text, err);
    if (status == 0 && (*report = buffer_take(&text)) == NULL) status = out_of_memory(err);
    buffer_free(&text);
    drive_close(state);
    return status;
}

const struct source_kind source_gdrive = {.name = "gdrive",
                                          .check = drive_check,
                                          .open = drive_open,
                                          .list = drive_list,
                                          .fetch = drive_fetch_path,
                                          .cursor = drive_cursor,
                                          .test = drive_test,
                                          .close = drive_close};
