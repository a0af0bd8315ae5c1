/*
 * sync_gather.c: documents wait here in the order in which they came. The first ones have been
 * looked up, so that it is known how many of their texts are missing; those that miss none are
 * written at once. A document whose texts would not fit into the request any more begins the next
 * one.
 */
#include "ingest/sync_gather.h"

#include "ingest/clock.h"

#include <stdlib.h>
#include <string.h>

enum { BYTES_MOST = 16 << 20 };  /* of texts that wait */
static const double WAIT_S = 10; /* for more */

struct gathered {
    size_t place, length;
    struct source_content *content;
    struct draft *draft;
};

static void gathered_free(struct gathered *document)
{
    draft_free(document->draft);
    if (document->content == NULL) return;
    free(document->content->text);
    free(document->content->metadata);
    free(document->content);
}

void gather_free(struct gather *gather)
{
    for (size_t i = 0; i < gather->count; i++) gathered_free(&gather->documents[i]);
    free(gather->documents);
    gather->documents = NULL;
    gather->count = gather->room = gather->looked_up = 0;
    gather->texts = gather->missing = gather->missing_bytes = gather->bytes = 0;
}

/* Takes the one at i out; those behind it move up. */
static struct gathered take_out(struct gather *gather, size_t i)
{
    struct gathered document = gather->documents[i];
    gather->bytes -= document.length;
    if (i < gather->looked_up) {
        gather->looked_up--;
        gather->missing -= draft_missing(document.draft);
        gather->missing_bytes -= draft_missing_bytes(document.draft);
    } else {
        gather->texts -= draft_texts(document.draft);
    }
    gather->count--;
    memmove(&gather->documents[i], &gather->documents[i + 1],
            (gather->count - i) * sizeof(*gather->documents));
    return document;
}

static void fail(struct gather *gather, size_t i, const struct error *why)
{
    struct gathered document = take_out(gather, i);
    gather->fail(gather->arg, document.place, why);
    gathered_free(&document);
}

static void write_out(struct gather *gather, size_t i)
{
    struct gathered document = take_out(gather, i);
    gather->write(gather->arg, document.place, document.draft);
    gathered_free(&document);
}

/* The drafts from i on; NULL where memory ran out. */
static struct draft **list_drafts(const struct gather *gather, size_t i, size_t count)
{
    struct draft **drafts = calloc(count + 1, sizeof(*drafts));
    for (size_t j = 0; drafts != NULL && j < count; j++) drafts[j] = gather->documents[i + j].draft;
    return drafts;
}

static int embed(struct gather *gather, size_t count, struct error *err)
{
    struct draft **drafts = list_drafts(gather, 0, count);
    if (drafts == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    const int status = pipeline_embed(gather->pipeline, drafts, count, &gather->how, err);
    free(drafts);
    return status;
}

/* How many of the first fit into one request: at least one. */
static size_t count_fitting(const struct gather *gather)
{
    const size_t most = embedder_batch(gather->pipeline->embedder);
    const size_t bytes_most = embedder_batch_bytes(gather->pipeline->embedder);
    size_t texts = 0, bytes = 0;
    size_t count = 0;
    while (count < gather->looked_up) {
        texts += draft_missing(gather->documents[count].draft);
        bytes += draft_missing_bytes(gather->documents[count].draft);
        if (count > 0 && (texts > most || bytes > bytes_most)) break;
        count++;
    }
    return count;
}

static bool is_everybodys(const struct error *why)
{
    return why->code == ERR_UNAVAILABLE || why->code == ERR_CANCELLED;
}

/* Embeds and writes the first ones. What fails for all of them together, but need not for each, is
 * tried for each. */
static void send_some(struct gather *gather)
{
    struct error err = {0};
    size_t count = count_fitting(gather);
    if (embed(gather, count, &err) == 0) {
        while (count-- > 0) write_out(gather, 0);
        return;
    }
    if (count == 1 || is_everybodys(&err)) {
        while (count-- > 0) fail(gather, 0, &err);
        return;
    }
    while (count-- > 0 && !gather->ends(gather->arg)) {
        if (embed(gather, 1, &err) == 0)
            write_out(gather, 0);
        else
            fail(gather, 0, &err);
    }
}

/* Looks up those that have not been, and writes those that miss nothing. */
static void look_up(struct gather *gather)
{
    struct error err = {0};
    const size_t first = gather->looked_up;
    const size_t count = gather->count - first;
    if (count == 0 || !gather->enter(gather->arg)) return;
    struct draft **drafts = list_drafts(gather, first, count);
    const int status = drafts != NULL ? pipeline_find(gather->pipeline, drafts, count, &err)
                                      : error_set(&err, ERR_INTERNAL, NULL, "out of memory");
    free(drafts);
    gather->leave(gather->arg);
    if (status != 0) {
        while (gather->count > first) fail(gather, first, &err);
        return;
    }
    gather->texts = 0;
    gather->looked_up = gather->count;
    for (size_t i = first; i < gather->count; i++) {
        gather->missing += draft_missing(gather->documents[i].draft);
        gather->missing_bytes += draft_missing_bytes(gather->documents[i].draft);
    }
}

static void write_complete(struct gather *gather)
{
    struct error err = {0};
    for (size_t i = 0; i < gather->looked_up && !gather->ends(gather->arg);) {
        struct draft *draft = gather->documents[i].draft;
        if (draft_missing(draft) > 0)
            i++;
        else if (pipeline_embed(gather->pipeline, &draft, 1, &gather->how, &err) == 0)
            write_out(gather, i);
        else
            fail(gather, i, &err);
    }
}

static int append(struct gather *gather, const struct gathered *document, struct error *err)
{
    if (gather->count == gather->room) {
        const size_t room = gather->room == 0 ? 16 : 2 * gather->room;
        struct gathered *grown = realloc(gather->documents, room * sizeof(*grown));
        if (grown == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
        gather->documents = grown;
        gather->room = room;
    }
    if (gather->count == 0) gather->since = clock_now();
    gather->documents[gather->count++] = *document;
    gather->texts += draft_texts(document->draft);
    gather->bytes += document->length;
    return 0;
}

static void send_all(struct gather *gather)
{
    if (!gather->ends(gather->arg)) {
        look_up(gather);
        write_complete(gather);
    }
    while (gather->looked_up > 0 && !gather->ends(gather->arg)) send_some(gather);
}

/* The content is taken over, and stays where it is now: the draft points to its sha, too. */
static int prepare(struct gathered *document, const char *source, const char *repository,
                   const char *path, struct source_content *content, struct error *err)
{
    document->length = content->length;
    document->content = malloc(sizeof(*document->content));
    if (document->content == NULL) {
        free(content->text);
        free(content->metadata);
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    *document->content = *content;
    const struct document_input input = {
        .source = source,
        .repository = repository,
        .path = path,
        .content = document->content->text,
        .content_length = document->content->length,
        .sha = document->content->sha,
        .metadata = document->content->metadata,
    };
    return pipeline_cut(&input, &document->draft, err);
}

void gather_add(struct gather *gather, size_t place, const char *source, const char *repository,
                const char *path, struct source_content *content)
{
    const size_t batch = embedder_batch(gather->pipeline->embedder);
    const size_t bytes = embedder_batch_bytes(gather->pipeline->embedder);
    struct error err = {0};
    struct gathered document = {.place = place};
    if (prepare(&document, source, repository, path, content, &err) != 0 ||
        append(gather, &document, &err) != 0) {
        gather->fail(gather->arg, place, &err);
        gathered_free(&document);
        return;
    }
    /* Of those that have not been looked up all texts may be missing. */
    if (gather->missing + gather->texts >= batch || gather->bytes >= bytes ||
        gather->bytes >= BYTES_MOST) {
        look_up(gather);
        write_complete(gather);
    }
    while (
        gather->count > 0 && gather->looked_up == gather->count && !gather->ends(gather->arg) &&
        (gather->missing >= batch || gather->missing_bytes >= bytes || gather->bytes >= BYTES_MOST))
        send_some(gather);
    if (gather->count > 0 && clock_now() >= gather->since + WAIT_S) send_all(gather);
}

void gather_move(struct gather *gather, struct gather *other)
{
    struct error err = {0};
    /* So that those that were looked up stay the first ones. */
    if (!gather->ends(gather->arg)) look_up(gather);
    if (!other->ends(other->arg)) look_up(other);
    while (other->count > 0 && gather->looked_up == gather->count &&
           other->looked_up == other->count) {
        struct gathered document = take_out(other, 0);
        if (append(gather, &document, &err) != 0) {
            gather->fail(gather->arg, document.place, &err);
            gathered_free(&document);
            continue;
        }
        gather->texts -= draft_texts(document.draft);
        gather->missing += draft_missing(document.draft);
        gather->missing_bytes += draft_missing_bytes(document.draft);
        gather->looked_up++;
    }
    gather_free(other);
}

void gather_finish(struct gather *gather)
{
    send_all(gather);
    gather_free(gather);
}
