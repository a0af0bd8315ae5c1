/*
 * notion_page.c: walks a tree of blocks.
 *
 * The way down is kept in an array on the heap, not on the stack of the thread: a page may be as
 * deep as it likes. Nothing is walked twice, a block that is shown in several places (a synced
 * block) neither, and a page within a page not at all, so that there is no way round in circles.
 */
#include "ingest/notion/notion_page.h"

#include "ingest/notion/notion_blocks.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 10000, ID_MOST = 64, RESTARTS_MOST = 3 };

/* The children of one block that are being written. */
struct level {
    char id[ID_MOST];
    json_t *answer; /* up to a hundred of them; NULL: not asked for yet */
    size_t next;
    char *cursor;
    struct notion_frame frame;
};

struct way {
    struct notion_api *api;
    struct level *levels;
    size_t depth, room;
    json_t *walked; /* ids of blocks whose children are written, or being written */
    bool stale;     /* a cursor was not taken any more */
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* Takes over the frame. */
static int go_down(struct way *way, const char *id, struct notion_frame frame, struct error *err)
{
    if (way->depth == way->room) {
        const size_t room = way->room == 0 ? 16 : 2 * way->room;
        struct level *grown =
            way->depth < DEPTH_MOST ? realloc(way->levels, room * sizeof(*grown)) : NULL;
        if (grown == NULL) {
            free(frame.prefix);
            return way->depth < DEPTH_MOST
                       ? out_of_memory(err)
                       : error_set(err, ERR_IO, NULL, "blocks are nested too deeply");
        }
        way->levels = grown;
        way->room = room;
    }
    struct level *level = &way->levels[way->depth++];
    *level = (struct level){.frame = frame};
    snprintf(level->id, sizeof(level->id), "%s", id);
    return 0;
}

static void go_up(struct way *way)
{
    struct level *level = &way->levels[--way->depth];
    json_decref(level->answer);
    free(level->cursor);
    free(level->frame.prefix);
}

/* Asks for the next children of a level. */
static int ask(struct way *way, struct level *level, struct error *err)
{
    char path[512];
    snprintf(path, sizeof(path), "/v1/blocks/%s/children?page_size=100%s%s", level->id,
             level->cursor != NULL ? "&start_cursor=" : "",
             level->cursor != NULL ? level->cursor : "");
    const bool first = level->cursor == NULL;
    struct error own = {0};
    json_decref(level->answer);
    level->answer = NULL;
    level->next = 0;
    free(level->cursor);
    level->cursor = NULL;
    if (notion_call(way->api, "the page's blocks", path, NULL, &level->answer, &own) != 0) {
        /* Deleted meanwhile, or the copy of a block that the integration cannot see. */
        if (own.code == ERR_NOT_FOUND && way->depth > 1) {
            level->answer = json_pack("{s:[]}", "results");
            return level->answer != NULL ? 0 : out_of_memory(err);
        }
        way->stale = own.code == ERR_INVALID && !first;
        if (err != NULL) *err = own;
        return -1;
    }
    const char *next = json_string_value(json_object_get(level->answer, "next_cursor"));
    if (!json_is_array(json_object_get(level->answer, "results")))
        return error_set(err, ERR_UNAVAILABLE, NULL, "Notion's answer holds no blocks");
    if (json_is_true(json_object_get(level->answer, "has_more")) && next != NULL &&
        (level->cursor = strdup(next)) == NULL)
        return out_of_memory(err);
    return 0;
}

/* Writes the next block of the deepest level, or leaves that level. */
static int step(struct way *way, struct buffer *out, struct error *err)
{
    struct level *level = &way->levels[way->depth - 1];
    if (level->answer == NULL && ask(way, level, err) != 0) return -1;
    const json_t *results = json_object_get(level->answer, "results");
    if (level->next == json_array_size(results)) {
        if (level->cursor != NULL) return ask(way, level, err);
        go_up(way);
        return 0;
    }
    const json_t *block = json_array_get(results, level->next++);
    struct notion_frame inside;
    const char *id = json_string_value(json_object_get(block, "id"));
    if (!notion_block_write(block, &level->frame, &inside, out)) return 0;
    const char *original = json_string_value(json_object_get(
        json_object_get(json_object_get(block, "synced_block"), "synced_from"), "block_id"));
    const char *known = original != NULL ? original : id;
    if (id == NULL || json_object_get(way->walked, known) != NULL) {
        free(inside.prefix);
        return 0;
    }
    if (json_object_set_new(way->walked, known, json_true()) != 0) {
        free(inside.prefix);
        return out_of_memory(err);
    }
    return go_down(way, id, inside, err);
}

static int walk(struct way *way, const char *id, struct buffer *out, struct error *err)
{
    const struct notion_frame frame = {.prefix = strdup("")};
    if (frame.prefix == NULL || (way->walked = json_object()) == NULL) {
        free(frame.prefix);
        return out_of_memory(err);
    }
    int status = go_down(way, id, frame, err);
    while (status == 0 && way->depth > 0) {
        status = step(way, out, err);
        if (status == 0 && out->failed) status = out_of_memory(err);
        if (status == 0 && out->length > way->api->config->max_bytes)
            status = error_set(err, ERR_TOO_LARGE, NULL, "the page is longer than maxBytes");
    }
    while (way->depth > 0) go_up(way);
    json_decref(way->walked);
    free(way->levels);
    return status;
}

int notion_page_read(struct notion_api *api, const char *id, struct buffer *out, struct error *err)
{
    const size_t before = out->length;
    for (int restarts = 0;; restarts++) {
        struct way way = {.api = api};
        const int status = walk(&way, id, out, err);
        if (status == 0 || !way.stale || restarts == RESTARTS_MOST) return status;
        out->length = before; /* from the beginning, since blocks may have moved meanwhile */
        if (out->data != NULL) out->data[before] = '\0';
    }
}
