/* sync_json.c: how far a sync is, as the interfaces tell it. */
#include "ingest/sync.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *phase_name(const struct sync_progress *progress)
{
    if (progress->ended) return "done";
    if (!progress->running) return "queued";
    switch (progress->figures.phase) {
    case SYNC_LISTING:
        return "listing";
    case SYNC_DOCUMENTS:
        return "documents";
    case SYNC_DELETING:
        break;
    }
    return "deleting";
}

static json_t *moment(time_t at)
{
    char text[40];
    struct tm utc;
    if (gmtime_r(&at, &utc) == NULL) return json_null();
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    return json_string(text);
}

static json_t *text_or_null(const char *text)
{
    json_t *json = text[0] != '\0' ? json_string(text) : NULL;
    return json != NULL ? json : json_null();
}

static json_t *skipped_json(const struct sync_figures *figures)
{
    json_t *skipped = json_object();
    for (int reason = SKIP_NONE + 1; reason < SKIP_REASONS; reason++)
        if (figures->skipped[reason] > 0)
            json_object_set_new(skipped, skip_reason_name((enum skip_reason)reason),
                                json_integer((json_int_t)figures->skipped[reason]));
    return skipped;
}

/* Null where nobody can tell. */
static json_t *estimated_end(const struct sync_progress *progress, time_t now)
{
    const struct sync_figures *figures = &progress->figures;
    if (!progress->running || figures->left_s < 0) return json_null();
    const bool waits = figures->waits_for[0] != '\0' && figures->waits_until > now;
    return moment((waits ? figures->waits_until : now) + (time_t)ceil(figures->left_s));
}

char *sync_progress_json(const struct sync_progress *progress)
{
    const struct sync_figures *figures = &progress->figures;
    const bool waits = progress->running && figures->waits_for[0] != '\0';
    json_t *root =
        json_pack("{s:s, s:b}", "phase", phase_name(progress), "running", progress->running);
    if (root == NULL) return NULL;
    const struct {
        const char *name;
        size_t value;
    } counts[] = {
        {"total", figures->total},         {"found", figures->found},
        {"unchanged", figures->unchanged}, {"fetched", figures->fetched},
        {"written", figures->written},     {"deleted", figures->deleted},
        {"failed", figures->failed},       {"chunks", figures->chunks},
        {"embedded", figures->embedded},   {"reused", figures->reused},
        {"rejected", figures->rejected},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        failed |=
            json_object_set_new(root, counts[i].name, json_integer((json_int_t)counts[i].value));
    failed |= json_object_set_new(root, "skipped", skipped_json(figures));
    failed |= json_object_set_new(root, "waitsFor",
                                  waits ? text_or_null(figures->waits_for) : json_null());
    failed |=
        json_object_set_new(root, "waitsUntil", waits ? moment(figures->waits_until) : json_null());
    failed |= json_object_set_new(root, "estimatedEnd", estimated_end(progress, time(NULL)));
    failed |= json_object_set_new(root, "elapsedSeconds",
                                  json_real(round(progress->elapsed_s * 1e3) / 1e3));
    char *text = failed == 0 ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    return text;
}
