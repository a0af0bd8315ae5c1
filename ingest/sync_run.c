/*
 * sync_run.c: one sync of one repository.
 *
 * The listing is taken first, whole, and matched with what the vault holds. Then a few threads take
 * the items in turn: fetch, compare, write. What is gone is deleted last, so that a document that
 * moved still finds the embeddings it had at its old place. A document that fails is counted and
 * the sync goes on; a database, provider or source that is away ends it. Neither
 * fetching nor embedding takes a permit of those to write, so that a server that makes one sync
 * wait does not make the others wait.
 *
 * Everything that the threads share is in struct work and struct sync_run: run->lock protects the
 * figures and both errors, `next` is atomic, and each item and each version is touched by the one
 * thread that took it.
 */
#include "ingest/sync_run.h"

#include "ingest/clock.h"
#include "ingest/sync.h"
#include "ingest/sync_cursor.h"
#include "ingest/sync_gather.h"
#include "ingest/sync_plan.h"
#include "storage/base/log.h"
#include "storage/paid.h"
#include "storage/sources.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct turn;

struct work {
    struct sync_run *run;
    const struct source_kind *kind;
    struct source_context context;
    void *state;               /* of the open source */
    struct sync_cursor before; /* of the last complete sync */
    struct sync_cursor after;  /* what this one leaves; under run->lock */
    bool unread;               /* something could not be read only now; under run->lock */
    struct sync_plan plan;

    void (*step)(struct turn *turn, size_t i);
    size_t count;
    atomic_size_t next;

    atomic_bool broken;  /* `fault` is set: take nothing more */
    struct error fault;  /* what ended the sync */
    struct error first;  /* of the documents that failed, the first in the order of the plan */
    size_t first_failed; /* its place: items, then versions; SIZE_MAX where none failed */
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static int interrupted(struct error *err)
{
    return error_set(err, ERR_CANCELLED, NULL, "interrupted");
}

static bool is_stopped(const struct work *work)
{
    return atomic_load(work->run->stop);
}

void sync_run_figures(struct sync_run *run, struct sync_figures *figures)
{
    pthread_mutex_lock(&run->lock);
    sync_pace_note(&run->pace, clock_now(), run->done);
    *figures = run->figures;
    figures->left_s =
        figures->phase == SYNC_LISTING ? -1 : sync_pace_left(&run->pace, run->to_do - run->done);
    pthread_mutex_unlock(&run->lock);
}

static void add_to(struct sync_run *run, size_t *figure, size_t count)
{
    pthread_mutex_lock(&run->lock);
    *figure += count;
    pthread_mutex_unlock(&run->lock);
}

static void enter_phase(struct sync_run *run, enum sync_phase phase)
{
    pthread_mutex_lock(&run->lock);
    run->figures.phase = phase;
    pthread_mutex_unlock(&run->lock);
}

static void count_done(struct sync_run *run)
{
    pthread_mutex_lock(&run->lock);
    run->done++;
    sync_pace_note(&run->pace, clock_now(), run->done);
    pthread_mutex_unlock(&run->lock);
}

/* ---- Waits ---- */

/* Several may wait at once, each for its own reason: the last one that began is told. */
static void on_waiting(void *arg, const char *why, time_t until)
{
    struct sync_run *run = arg;
    pthread_mutex_lock(&run->lock);
    if (why != NULL) {
        sync_pace_wait(&run->pace, clock_now(), run->done);
        snprintf(run->figures.waits_for, sizeof(run->figures.waits_for), "%s", why);
        run->figures.waits_until = until;
    } else {
        sync_pace_go_on(&run->pace, clock_now(), run->done);
        if (run->pace.waits == 0) run->figures.waits_for[0] = '\0';
    }
    pthread_mutex_unlock(&run->lock);
    if (why != NULL) run->rests(run->arg);
}

/* One of the few that may write at a time, in all syncs together. */
struct permit {
    struct work *work;
    bool held;
};

static bool take_permit(struct permit *permit)
{
    const struct work *work = permit->work;
    while (!is_stopped(work) && !atomic_load(&work->broken)) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 100000000;
        if (soon.tv_nsec >= 1000000000) {
            soon.tv_nsec -= 1000000000;
            soon.tv_sec++;
        }
        if (sem_timedwait(work->run->permits, &soon) != 0) continue;
        permit->held = true;
        return true;
    }
    return false;
}

static void give_permit(struct permit *permit)
{
    if (permit->held) sem_post(permit->work->run->permits);
    permit->held = false;
}

/* ---- The listing ---- */

static int on_item(void *arg, const struct source_item *item)
{
    struct work *work = arg;
    work->run->resumes(work->run->arg);
    if (is_stopped(work)) return interrupted(&work->fault);
    if (plan_add_item(&work->plan, item->path, item->sha, item->url) != 0)
        return out_of_memory(&work->fault);
    add_to(work->run, &work->run->figures.found, 1);
    return 0;
}

/* A line for who looks for a certain file; there may be very many of them. */
static void say_skipped(const struct sync_run *run, const char *path, enum skip_reason reason)
{
    log_debug("sync.skipped", "source=%s repository=%s path=%s reason=%s", run->source,
              log_quote(run->repository), log_quote(path), skip_reason_name(reason));
}

static void on_skip(void *arg, const char *path, enum skip_reason reason)
{
    struct work *work = arg;
    say_skipped(work->run, path, reason);
    if (reason == SKIP_UNREADABLE) {
        log_warn("sync.unreadable", "source=%s repository=%s path=%s", work->run->source,
                 log_quote(work->run->repository), log_quote(path));
        if (plan_keep(&work->plan, path) != 0) out_of_memory(&work->fault);
    }
    add_to(work->run, &work->run->figures.skipped[reason], 1);
}

static int on_version(void *arg, const char *id, const char *path, const char *sha, const char *url,
                      bool current)
{
    struct work *work = arg;
    if (is_stopped(work)) return interrupted(&work->fault);
    if (plan_add_version(&work->plan, id, path, sha, url, current) != 0)
        return out_of_memory(&work->fault);
    return 0;
}

/* A reason of our own to stop comes before what the function that we stopped says. */
static int settle(struct work *work, int status, struct error *err)
{
    if (work->fault.code == ERR_NONE) return status;
    if (err != NULL) *err = work->fault;
    return -1;
}

static int list_versions(struct work *work, struct error *err)
{
    struct sync_run *run = work->run;
    struct pipeline *pipeline = run->pipeline;
    if (pipeline->renew != NULL) pipeline->renew(pipeline->renew_arg);
    const int status =
        vault_list_versions(run->pipeline->pool, run->source, run->repository,
                            embedder_model(run->pipeline->embedder), on_version, work, err);
    return settle(work, status, err);
}

/* Whether the vault has what the last complete sync left there: others may write to it too, and a
 * sync since then may have come half way. */
static bool is_as_left(const struct work *work)
{
    struct vault_state now = {.known = true};
    for (size_t i = 0; i < work->plan.version_count; i++) {
        const struct plan_version *version = &work->plan.versions[i];
        if (!version->current) return false;
        vault_state_add(&now, version->path, version->sha);
    }
    return vault_state_same(&now, &work->before.vault);
}

static int open_source(struct work *work, const char *cursor, struct error *err)
{
    if (work->state != NULL) work->kind->close(work->state);
    work->state = NULL;
    work->context.cursor = cursor;
    return work->kind->open(&work->context, &work->state, err);
}

/* Lists the source. Returns SOURCE_LISTED, SOURCE_UNCHANGED or -1. */
static int list_source(struct work *work, struct error *err)
{
    const int status = work->kind->list(work->state, on_item, on_skip, work, err);
    if (settle(work, status < 0 ? -1 : 0, err) != 0) return -1;
    return status;
}

static bool is_unchanged(const struct plan_item *item, const char *sha)
{
    const struct plan_version *version = item->version;
    return version != NULL && version->current && version->sha != NULL && sha != NULL &&
           strcmp(version->sha, sha) == 0 && (item->url == 0 || item->url == version->url);
}

static enum skip_reason skipped_before(const struct work *work, const struct plan_item *item)
{
    return item->sha != NULL ? sync_cursor_skipped(&work->before, item->path, item->sha)
                             : SKIP_NONE;
}

/* What is left when everything that the listing has settled is left out. */
static size_t count_to_do(const struct work *work)
{
    const struct sync_plan *plan = &work->plan;
    size_t count = 0;
    for (size_t i = 0; i < plan->item_count; i++) {
        const struct plan_item *item = &plan->items[i];
        count += !is_unchanged(item, item->sha) && skipped_before(work, item) == SKIP_NONE;
    }
    for (size_t i = 0; i < plan->version_count; i++) count += plan->versions[i].gone;
    return count;
}

/* *unchanged: there is nothing to do. */
static int make_plan(struct work *work, bool *unchanged, struct error *err)
{
    struct sync_run *run = work->run;
    *unchanged = false;
    int status = list_source(work, err);
    if (status < 0 || list_versions(work, err) != 0) return -1;
    if (status == SOURCE_UNCHANGED) {
        *unchanged = is_as_left(work);
        if (!*unchanged && (open_source(work, NULL, err) != 0 || list_source(work, err) < 0))
            return -1;
    }
    if (!*unchanged) plan_match(&work->plan);
    const size_t found = *unchanged ? work->plan.version_count : work->plan.item_count;
    const size_t to_do = *unchanged ? 0 : count_to_do(work);
    pthread_mutex_lock(&run->lock);
    run->figures.found = found;
    run->figures.total = found;
    if (*unchanged) run->figures.unchanged = found;
    run->figures.documents = work->plan.version_count;
    run->figures.phase = SYNC_DOCUMENTS;
    run->to_do = to_do;
    sync_pace_begin(&run->pace, clock_now());
    pthread_mutex_unlock(&run->lock);
    return 0;
}

/* ---- Documents ---- */

/* Ends the sync, for the first reason that comes. */
static void break_off(struct work *work, const char *path, const struct error *why)
{
    pthread_mutex_lock(&work->run->lock);
    if (!atomic_load(&work->broken)) {
        work->fault = *why;
        if (why->code != ERR_CANCELLED) error_prefix(&work->fault, "%s", path);
        atomic_store(&work->broken, true);
    }
    pthread_mutex_unlock(&work->run->lock);
}

static void count_failed(struct work *work, size_t place, const char *path, const struct error *why)
{
    struct sync_run *run = work->run;
    log_warn("sync.document_failed", "source=%s repository=%s path=%s error=%s", run->source,
             log_quote(run->repository), log_quote(path), log_quote(why->message));
    pthread_mutex_lock(&run->lock);
    run->figures.failed++;
    if (place < work->first_failed) {
        work->first_failed = place;
        work->first = *why;
        error_prefix(&work->first, "%s", path);
    }
    pthread_mutex_unlock(&run->lock);
}

/* Whether more documents would meet the same. */
static bool is_fatal(const struct error *why)
{
    return why->code == ERR_UNAVAILABLE || why->code == ERR_CANCELLED;
}

static void fail(struct work *work, size_t place, const char *path, const struct error *why)
{
    if (is_fatal(why))
        break_off(work, path, why);
    else
        count_failed(work, place, path, why);
}

/* What was listed turned out to be no document. What the vault has of it goes too, unless it only
 * cannot be read now. */
static void leave_out(struct work *work, const struct plan_item *item, enum skip_reason reason)
{
    struct sync_run *run = work->run;
    const bool gone = item->version != NULL && reason != SKIP_UNREADABLE;
    if (reason != SKIP_NONE) say_skipped(run, item->path, reason);
    if (gone) item->version->gone = true;
    pthread_mutex_lock(&run->lock);
    if (gone) run->to_do++;
    if (reason == SKIP_UNREADABLE) work->unread = true;
    run->figures.found--;
    run->figures.total--;
    if (reason != SKIP_NONE) run->figures.skipped[reason]++;
    /* Where memory runs out it is fetched once more, no harm. */
    if (reason != SKIP_NONE && reason != SKIP_UNREADABLE && item->sha != NULL)
        sync_cursor_add_skipped(&work->after, item->path, item->sha, reason);
    pthread_mutex_unlock(&run->lock);
}

/* ---- Documents that are gathered ---- */

/* What a thread has gathered. */
struct turn {
    struct permit permit;
    struct gather gather;
};

static bool turn_ends(void *arg)
{
    const struct turn *turn = arg;
    return is_stopped(turn->permit.work) || atomic_load(&turn->permit.work->broken);
}

static bool turn_enter(void *arg)
{
    struct turn *turn = arg;
    return take_permit(&turn->permit);
}

static void turn_leave(void *arg)
{
    struct turn *turn = arg;
    give_permit(&turn->permit);
}

static void turn_fail(void *arg, size_t place, const struct error *why)
{
    struct turn *turn = arg;
    struct work *work = turn->permit.work;
    fail(work, place, work->plan.items[place].path, why);
    count_done(work->run);
}

static void turn_write(void *arg, size_t place, struct draft *draft)
{
    struct turn *turn = arg;
    struct sync_run *run = turn->permit.work->run;
    struct write_result result;
    struct ingest_counts counts;
    struct error err = {0};
    run->resumes(run->arg);
    if (!take_permit(&turn->permit)) return;
    const int status = pipeline_write(run->pipeline, draft, &result, &counts, &err);
    give_permit(&turn->permit);
    if (status != 0) {
        turn_fail(turn, place, &err);
        return;
    }
    const bool created = result.created;
    write_result_free(&result);
    pthread_mutex_lock(&run->lock);
    run->figures.written++;
    run->figures.documents += created;
    run->figures.chunks += counts.chunks;
    run->figures.embedded += counts.embedded;
    run->figures.reused += counts.reused;
    run->figures.rejected += counts.rejected;
    pthread_mutex_unlock(&run->lock);
    count_done(run);
}

static void gather_document(struct turn *turn, size_t place, struct source_content *content)
{
    const struct sync_run *run = turn->permit.work->run;
    gather_add(&turn->gather, place, run->source, run->repository,
               turn->permit.work->plan.items[place].path, content);
}

static void take_item(struct turn *turn, size_t i)
{
    struct work *work = turn->permit.work;
    const struct plan_item *item = &work->plan.items[i];
    struct source_content content = {0};
    enum skip_reason reason = SKIP_NONE;
    struct error err = {0};

    if (is_unchanged(item, item->sha)) {
        add_to(work->run, &work->run->figures.unchanged, 1);
        return;
    }
    if ((reason = skipped_before(work, item)) != SKIP_NONE) {
        leave_out(work, item, reason);
        return;
    }
    const int fetched = work->kind->fetch(work->state, item->path, &content, &reason, &err);
    if (fetched == 0) add_to(work->run, &work->run->figures.fetched, 1);
    if (fetched == 0 && !is_unchanged(item, content.sha)) {
        gather_document(turn, i, &content);
        return;
    }
    if (fetched == 1 || (fetched < 0 && err.code == ERR_NOT_FOUND))
        leave_out(work, item, reason);
    else if (fetched < 0)
        fail(work, i, item->path, &err);
    else
        add_to(work->run, &work->run->figures.unchanged, 1);
    count_done(work->run);
    free(content.text);
    free(content.metadata);
}

static void drop_version(struct turn *turn, size_t i)
{
    struct work *work = turn->permit.work;
    const struct plan_version *version = &work->plan.versions[i];
    struct sync_run *run = work->run;
    struct error err = {0};
    if (!version->gone || !take_permit(&turn->permit)) return;
    const int status = pipeline_delete(run->pipeline, version->id, &err);
    give_permit(&turn->permit);
    count_done(run);
    if (status == 0) {
        pthread_mutex_lock(&run->lock);
        run->figures.deleted++;
        if (run->figures.documents > 0) run->figures.documents--;
        pthread_mutex_unlock(&run->lock);
    } else if (err.code != ERR_NOT_FOUND) { /* somebody else deleted it */
        fail(work, work->plan.item_count + i, version->path, &err);
    }
}

/* ---- Threads ---- */

static void turn_begin(struct turn *turn, struct work *work)
{
    const struct sync_run *run = work->run;
    *turn = (struct turn){
        .permit = {.work = work},
        .gather = {.pipeline = run->pipeline,
                   .how = {.stop = run->stop, .waiting = on_waiting, .arg = work->run},
                   .ends = turn_ends,
                   .enter = turn_enter,
                   .leave = turn_leave,
                   .write = turn_write,
                   .fail = turn_fail,
                   .arg = turn}};
}

static void *take_turns(void *arg)
{
    struct turn *turn = arg;
    struct work *work = turn->permit.work;
    struct sync_run *run = work->run;
    while (!turn_ends(turn)) {
        const size_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->count) break;
        run->resumes(run->arg);
        if (is_stopped(work)) break;
        work->step(turn, i);
    }
    /* Those that are left may all be waiting. */
    pthread_mutex_lock(&run->lock);
    const bool waits = run->pace.waits > 0;
    pthread_mutex_unlock(&run->lock);
    if (waits) run->rests(run->arg);
    return NULL;
}

/* Calls step for each i below count, on this thread and a few more. What each of them has gathered
 * in the end goes together. */
static int for_each(struct work *work, void (*step)(struct turn *, size_t), size_t count,
                    struct error *err)
{
    pthread_t threads[SYNC_WRITERS];
    struct turn turns[SYNC_WRITERS];
    size_t started = 1;
    work->step = step;
    work->count = count;
    atomic_store(&work->next, 0);
    for (size_t i = 0; i < SYNC_WRITERS; i++) turn_begin(&turns[i], work);
    while (started < SYNC_WRITERS && started < count &&
           pthread_create(&threads[started], NULL, take_turns, &turns[started]) == 0)
        started++;
    take_turns(&turns[0]);
    for (size_t i = 1; i < started; i++) {
        pthread_join(threads[i], NULL);
        gather_move(&turns[0].gather, &turns[i].gather);
    }
    gather_finish(&turns[0].gather);
    if (atomic_load(&work->broken)) return settle(work, -1, err);
    return is_stopped(work) ? interrupted(err) : 0;
}

/* ---- The whole ---- */

/* Deletes what is gone, if it is the same source still. */
static int delete_gone(struct work *work, struct error *err)
{
    size_t gone = 0;
    for (size_t i = 0; i < work->plan.version_count; i++) gone += work->plan.versions[i].gone;
    if (gone == 0) return 0;
    enter_phase(work->run, SYNC_DELETING);
    if (work->kind->verify != NULL && work->kind->verify(work->state, err) != 0) return -1;
    return for_each(work, drop_version, work->plan.version_count, err);
}

static int on_left(void *arg, const char *id, const char *path, const char *sha, const char *url,
                   bool current)
{
    struct work *work = arg;
    (void)id, (void)url, (void)current;
    vault_state_add(&work->after.vault, path, sha);
    return 0;
}

/* What it leaves unread is to be tried again, although the source may say then that nothing has
 * changed: so no state of the vault is one that need not be looked at. */
static int set_cursor(struct work *work, time_t listed, struct error *err)
{
    const struct sync_run *run = work->run;
    if (work->kind->cursor != NULL &&
        work->kind->cursor(work->state, &work->after.source, err) != 0)
        return -1;
    work->after.vault.known = !work->unread;
    if (work->after.vault.known &&
        vault_list_versions(run->pipeline->pool, run->source, run->repository,
                            embedder_model(run->pipeline->embedder), on_left, work, err) != 0)
        return -1;
    return sync_cursor_write(run->pipeline->pool, run->source, run->repository,
                             work->context.config, listed, &work->after, err);
}

static int report_failed(struct work *work, struct error *err)
{
    const size_t failed = work->run->figures.failed;
    error_set(err, ERR_INTERNAL, NULL, "%s", work->first.message);
    if (failed == 1) return error_prefix(err, "a document failed");
    return error_prefix(err, "%zu documents failed, the first of them", failed);
}

static int bring_up_to_date(struct work *work, struct error *err)
{
    const time_t listed = time(NULL);
    bool unchanged;
    if (make_plan(work, &unchanged, err) != 0) return -1;
    if (unchanged) return 0; /* the cursor of the last sync is that of this one */
    if (for_each(work, take_item, work->plan.item_count, err) != 0) return -1;
    if (delete_gone(work, err) != 0) return -1;
    if (work->first_failed != SIZE_MAX) return report_failed(work, err);
    return set_cursor(work, listed, err);
}

int sync_run(struct sync_run *run, const char *config, struct error *err)
{
    const struct pipeline *pipeline = run->pipeline;
    struct work work = {
        .run = run, .kind = source_kind_find(run->source), .first_failed = SIZE_MAX};
    if (work.kind == NULL)
        return error_set(err, ERR_INVALID, "source", "there is no kind of source \"%s\"",
                         run->source);
    work.context = (struct source_context){.repository = run->repository,
                                           .config = config,
                                           .http = pipeline->http,
                                           .stop = run->stop,
                                           .waiting = on_waiting,
                                           .arg = run};
    int status =
        sync_cursor_read(pipeline->pool, run->source, run->repository, config, &work.before, err);
    if (status == 0) status = open_source(&work, work.before.source, err);
    if (status == 0) {
        status = bring_up_to_date(&work, err);
        if (embedder_asks(pipeline->embedder)) paid_sweep(pipeline->pool, NULL);
        if (pipeline->listener.settle != NULL) pipeline->listener.settle(pipeline->listener.arg);
    }
    if (work.state != NULL) work.kind->close(work.state);
    plan_free(&work.plan);
    sync_cursor_free(&work.before);
    sync_cursor_free(&work.after);
    return status;
}
