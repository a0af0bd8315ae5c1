/* How fast a sync gets on, and what is told of it. */
#include "ingest/sync.h"
#include "ingest/sync_pace.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

static void run_at(struct sync_pace *pace, double *now, size_t *done, double rate, double seconds)
{
    const double end = *now + seconds;
    const double from = *now;
    const size_t before = *done;
    while (*now < end) {
        *now += 0.05;
        *done = before + (size_t)((*now - from) * rate);
        sync_pace_note(pace, *now, *done);
    }
}

Test(sync_pace, tells_nothing_before_it_knows_something)
{
    struct sync_pace pace = {0};
    cr_expect_lt(sync_pace_left(&pace, 10), 0.0);
    cr_expect_eq(sync_pace_left(&pace, 0), 0.0);
    sync_pace_note(&pace, 5, 3); /* it has not begun */
    sync_pace_begin(&pace, 100);
    sync_pace_note(&pace, 100.3, 1);
    cr_expect_lt(sync_pace_left(&pace, 10), 0.0);
    /* Nothing has been done. */
    sync_pace_begin(&pace, 100);
    sync_pace_note(&pace, 130, 0);
    cr_expect_lt(sync_pace_left(&pace, 10), 0.0);
}

Test(sync_pace, tells_what_is_left_at_the_pace_there_is)
{
    struct sync_pace pace = {0};
    double now = 1000;
    size_t done = 0;
    sync_pace_begin(&pace, now);
    run_at(&pace, &now, &done, 40, 2);
    cr_expect_float_eq(sync_pace_left(&pace, 400), 10, 0.6);
    run_at(&pace, &now, &done, 40, 60);
    cr_expect_float_eq(sync_pace_left(&pace, 400), 10, 0.6);
    /* Slower from now on: it learns that within a minute. */
    run_at(&pace, &now, &done, 4, 60);
    cr_expect_float_eq(sync_pace_left(&pace, 400), 100, 20);
    /* And that it stands still. */
    const double before = sync_pace_left(&pace, 400);
    run_at(&pace, &now, &done, 0, 60);
    cr_expect_gt(sync_pace_left(&pace, 400), 10 * before);
}

Test(sync_pace, waits_do_not_count)
{
    struct sync_pace pace = {0};
    double now = 1000;
    size_t done = 0;
    sync_pace_begin(&pace, now);
    run_at(&pace, &now, &done, 40, 5);
    sync_pace_wait(&pace, now, done);
    sync_pace_wait(&pace, now, done); /* two threads */
    now += 1800;
    sync_pace_note(&pace, now, done);
    sync_pace_go_on(&pace, now, done);
    now += 1800;
    sync_pace_go_on(&pace, now, done);
    sync_pace_go_on(&pace, now, done); /* one too many is no harm */
    cr_expect_float_eq(sync_pace_left(&pace, 400), 10, 0.6);
    run_at(&pace, &now, &done, 40, 5);
    cr_expect_float_eq(sync_pace_left(&pace, 400), 10, 0.6);
}

/* ---- As JSON ---- */

static json_t *written(const struct sync_progress *progress)
{
    char *text = sync_progress_json(progress);
    cr_assert_not_null(text);
    json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    free(text);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? text : "";
}

Test(sync_json, says_what_it_does_and_when_it_may_be_over)
{
    const time_t now = time(NULL);
    struct sync_progress progress = {.figures = {.left_s = -1}};
    json_t *json = written(&progress);
    cr_expect_str_eq(text_of(json, "phase"), "queued");
    cr_expect(json_is_null(json_object_get(json, "estimatedEnd")));
    json_decref(json);

    progress.running = true;
    progress.figures = (struct sync_figures){.phase = SYNC_DOCUMENTS,
                                             .rejected = 2,
                                             .waits_for = "GitHub's rate limit",
                                             .waits_until = now + 100000,
                                             .left_s = 5};
    progress.figures.skipped[SKIP_BINARY] = 3;
    json = written(&progress);
    cr_expect_str_eq(text_of(json, "phase"), "documents");
    cr_expect_str_eq(text_of(json, "waitsFor"), "GitHub's rate limit");
    cr_expect_eq(json_integer_value(json_object_get(json, "rejected")), 2);
    cr_expect_eq(json_integer_value(json_object_get(json_object_get(json, "skipped"), "binary")),
                 3);
    struct tm utc;
    char end[40];
    const time_t at = now + 100005;
    gmtime_r(&at, &utc);
    strftime(end, sizeof(end), "%Y-%m-%dT%H:%M:%S.000Z", &utc);
    cr_expect_str_eq(text_of(json, "estimatedEnd"), end);
    json_decref(json);

    /* What is over waits for nobody. */
    progress.running = false;
    progress.ended = true;
    json = written(&progress);
    cr_expect_str_eq(text_of(json, "phase"), "done");
    cr_expect(json_is_null(json_object_get(json, "waitsFor")));
    cr_expect(json_is_null(json_object_get(json, "estimatedEnd")));
    json_decref(json);

    /* Bytes that are no text do not keep it from being told. */
    progress.running = true;
    progress.figures.waits_for[0] = (char)0xff;
    json = written(&progress);
    cr_expect(json_is_null(json_object_get(json, "waitsFor")));
    json_decref(json);
}
