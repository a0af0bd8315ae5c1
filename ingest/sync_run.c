/*
 * sync_run.c: one sync of one repository.
 *
 * The listing is taken first, whole, and matched with what the vault holds. Then a few threads take
 * the items in turn: fetch, compare, write. What is gone is deleted last, so that a document that
 * moved still finds the embeddings it had at its old place. A document that fails is counted and
 * the sync goes on; a database, provider or source that is away ends it.
 *
 * Everything that the threads share is in struct work and struct sync_run: run->lock protects the
 * figures and both errors, `next` is atomic, and each item and each version is touched by the one
 * thread that took it.
 */
#include "ingest/sync_run.h"

#include "ingest/sync.h"
#include "ingest/sync_cursor.h"
#include "ingest/sync_plan.h"
#include "storage/base/log.h"
#include "storage/sources.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct work {
    struct sync_run *run;
    const struct source_kind *kind;
    struct source_context context;
    void *state; /* of the open source */
    struct sync_cursor before; /* of the last complete sync */
    struct sync_cursor after;  /* what this one leaves; under run->lock */
    struct sync_plan plan;

    void (*step)(struct work *work, size_t i);
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
    *figures = run->figures;
    pthread_mutex_unlock(&run->lock);
}

static void add_to(struct sync_run *run, size_t *figure, size_t count)
{
    pthread_mutex_lock(&run->lock);
    *figure += count;
    pthread_mutex_unlock(&run->lock);
}

/* ---- The listing ---- */

static int on_item(void *arg, const struct source_item *item)
{
    struct work *work = arg;
    if (is_stopped(work)) return interrupted(&work->fault);
    if (plan_add_item(&work->plan, item->path, item->sha) != 0) return out_of_memory(&work->fault);
    add_to(work->run, &work->run->figures.found, 1);
    return 0;
}

static void on_skip(void *arg, const char *path, enum skip_reason reason)
{
    struct work *work = arg;
    if (reason == SKIP_UNREADABLE) {
        log_warn("sync.unreadable", "source=%s repository=%s path=%s", work->run->source,
                 log_quote(work->run->repository), log_quote(path));
        if (plan_keep(&work->plan, path) != 0) out_of_memory(&work->fault);
    }
    add_to(work->run, &work->run->figures.skipped[reason], 1);
}

static int on_version(void *arg, const char *id, const char *path, const char *sha, bool current)
{
    struct work *work = arg;
    if (is_stopped(work)) return interrupted(&work->fault);
    if (plan_add_version(&work->plan, id, path, sha, current) != 0)
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
    const int status =
        vault_list_versions(run->pipeline->pool, run->source, run->repository,
                            embedder_model(run->pipeline->embedder), on_version, work, err);
    return settle(work, status, err);
}

/* Whether the vault has what the last complete sync left there, as far as can be told: others may
 * write to it too. */
static bool is_as_left(const struct work *work)
{
    for (size_t i = 0; i < work->plan.version_count; i++)
        if (!work->plan.versions[i].current) return false;
    return work->plan.version_count == work->before.documents;
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
    pthread_mutex_lock(&run->lock);
    run->figures.found = found;
    run->figures.total = found;
    if (*unchanged) run->figures.unchanged = found;
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
    if (item->version != NULL && reason != SKIP_UNREADABLE) item->version->gone = true;
    pthread_mutex_lock(&run->lock);
    run->figures.found--;
    run->figures.total--;
    if (reason != SKIP_NONE) run->figures.skipped[reason]++;
    /* Where memory runs out it is fetched once more, no harm. */
    if (reason != SKIP_NONE && reason != SKIP_UNREADABLE && item->sha != NULL)
        sync_cursor_add_skipped(&work->after, item->path, item->sha, reason);
    pthread_mutex_unlock(&run->lock);
}

static bool is_unchanged(const struct plan_item *item, const char *sha)
{
    const struct plan_version *version = item->version;
    return version != NULL && version->current && version->sha != NULL && sha != NULL &&
           strcmp(version->sha, sha) == 0;
}

static int write_document(struct work *work, const char *path, const struct source_content *content,
                          struct error *err)
{
    struct sync_run *run = work->run;
    struct write_result result;
    struct ingest_counts counts;
    const struct document_input input = {
        .source = run->source,
        .repository = run->repository,
        .path = path,
        .content = content->text,
        .content_length = content->length,
        .sha = content->sha,
        .metadata = content->metadata,
    };
    if (pipeline_put(run->pipeline, &input, &result, &counts, err) != 0) return -1;
    write_result_free(&result);
    pthread_mutex_lock(&run->lock);
    run->figures.written++;
    run->figures.chunks += counts.chunks;
    run->figures.embedded += counts.embedded;
    run->figures.reused += counts.reused;
    pthread_mutex_unlock(&run->lock);
    return 0;
}

static void take_item(struct work *work, size_t i)
{
    const struct plan_item *item = &work->plan.items[i];
    struct source_content content = {0};
    enum skip_reason reason = SKIP_NONE;
    struct error err = {0};

    if (is_unchanged(item, item->sha)) {
        add_to(work->run, &work->run->figures.unchanged, 1);
        return;
    }
    if (item->sha != NULL &&
        (reason = sync_cursor_skipped(&work->before, item->path, item->sha)) != SKIP_NONE) {
        leave_out(work, item, reason);
        return;
    }
    const int fetched = work->kind->fetch(work->state, item->path, &content, &reason, &err);
    if (fetched == 1 || (fetched < 0 && err.code == ERR_NOT_FOUND)) {
        leave_out(work, item, reason);
    } else if (fetched < 0) {
        fail(work, i, item->path, &err);
    } else if (is_unchanged(item, content.sha)) {
        add_to(work->run, &work->run->figures.unchanged, 1);
    } else if (write_document(work, item->path, &content, &err) != 0) {
        fail(work, i, item->path, &err);
    }
    free(content.text);
    free(content.metadata);
}

static void drop_version(struct work *work, size_t i)
{
    const struct plan_version *version = &work->plan.versions[i];
    struct error err = {0};
    if (!version->gone) return;
    if (pipeline_delete(work->run->pipeline, version->id, &err) == 0)
        add_to(work->run, &work->run->figures.deleted, 1);
    else if (err.code != ERR_NOT_FOUND) /* somebody else deleted it */
        fail(work, work->plan.item_count + i, version->path, &err);
}

/* ---- Threads ---- */

static void *take_turns(void *arg)
{
    struct work *work = arg;
    while (!is_stopped(work) && !atomic_load(&work->broken)) {
        const size_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->count) break;
        while (sem_wait(work->run->permits) != 0) continue; /* a signal came */
        work->step(work, i);
        sem_post(work->run->permits);
    }
    return NULL;
}

/* Calls step for each i below count, on this thread and a few more. */
static int for_each(struct work *work, void (*step)(struct work *, size_t), size_t count,
                    struct error *err)
{
    pthread_t threads[SYNC_WRITERS - 1];
    size_t started = 0;
    work->step = step;
    work->count = count;
    atomic_store(&work->next, 0);
    while (started < SYNC_WRITERS - 1 && started + 1 < count &&
           pthread_create(&threads[started], NULL, take_turns, work) == 0)
        started++;
    take_turns(work);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
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
    if (work->kind->verify != NULL && work->kind->verify(work->state, err) != 0) return -1;
    return for_each(work, drop_version, work->plan.version_count, err);
}

static int set_cursor(struct work *work, time_t listed, struct error *err)
{
    const struct sync_run *run = work->run;
    if (work->kind->cursor != NULL &&
        work->kind->cursor(work->state, &work->after.source, err) != 0)
        return -1;
    if (vault_count_documents(run->pipeline->pool, run->source, run->repository,
                              &work->after.documents, err) != 0)
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
                                           .stop = run->stop};
    int status = sync_cursor_read(pipeline->pool, run->source, run->repository, config,
                                  &work.before, err);
    if (status == 0) status = open_source(&work, work.before.source, err);
    if (status == 0) {
        status = bring_up_to_date(&work, err);
        if (pipeline->listener.settle != NULL) pipeline->listener.settle(pipeline->listener.arg);
    }
    if (work.state != NULL) work.kind->close(work.state);
    plan_free(&work.plan);
    sync_cursor_free(&work.before);
    sync_cursor_free(&work.after);
    return status;
}
