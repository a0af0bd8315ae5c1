/*
 * model_keeper.c: looking, and changing.
 *
 * A change takes pages of texts, has a few threads embed and stage the parts of each, and begins
 * from the first row again until a whole round finds little that is new; then it switches. Text is
 * read and embeddings are written on the pool's connections, none of which is held while a server
 * is asked but for the last few texts before the switch.
 *
 * `lock` protects `state`, which others look at, and when progress was told. The rest belongs to
 * the thread.
 */
#include "tools/tekupd/model_keeper.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "storage/model_change.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/models.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_MS = 1000,
    PAUSE_LEAST_MS = 2000, /* after a failure */
    PAUSE_MOST_MS = 60000,
    PART = 64, /* texts that are embedded and kept together, where it is not a server's batch */
    PARALLEL_MOST = 16,
    PARTS_EACH = 4, /* of a page, for each thread */
    PAGE_MOST = 4096,
    FEW = 64, /* texts that are embedded while writers wait for the switch */
    REPORT_S = 1,
    LOG_S = 10,
};

struct model_keeper {
    struct daemon *daemon;
    pthread_t thread;
    bool joined;
    atomic_bool stop;
    atomic_bool hurried; /* ends a call that has to wait, before the switch */
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    struct model_state state;
    double reported_s, logged_s;
};

/* One change, as long as this daemon is at it. */
struct change {
    struct model_keeper *keeper;
    struct embedder *embedder; /* of the model that is wanted */
    const char *from, *to;
};

/* Returns whether to go on. */
static bool pause_for(struct model_keeper *keeper, int ms)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&keeper->lock);
    while (!atomic_load(&keeper->stop) &&
           pthread_cond_timedwait(&keeper->stopped, &keeper->lock, &end) == 0) {
    }
    pthread_mutex_unlock(&keeper->lock);
    return !atomic_load(&keeper->stop);
}

static bool leads(const struct model_keeper *keeper)
{
    struct syncer *syncer = atomic_load(&keeper->daemon->syncer);
    return syncer != NULL && syncer_leads(syncer);
}

static void set_state(struct model_keeper *keeper, const struct model_state *state)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->state = *state;
    pthread_mutex_unlock(&keeper->lock);
}

void model_keeper_get(struct model_keeper *keeper, struct model_state *state)
{
    pthread_mutex_lock(&keeper->lock);
    *state = keeper->state;
    pthread_mutex_unlock(&keeper->lock);
}

/* ---- Telling --------------------------------------------------------------------------------- */

/* Whether so many seconds have passed since *last, which becomes now then. */
static bool is_due(struct model_keeper *keeper, double *last, double seconds)
{
    const double now = clock_now();
    pthread_mutex_lock(&keeper->lock);
    const bool due = now - *last >= seconds;
    if (due) *last = now;
    pthread_mutex_unlock(&keeper->lock);
    return due;
}

static void say_progress(struct model_keeper *keeper, const struct model_state *state, bool always)
{
    struct error err = {0};
    if (is_due(keeper, &keeper->reported_s, always ? 0 : REPORT_S)) {
        if (model_report(keeper->daemon->pool, state, &err) != 0)
            log_warn("model.report_failed", "error=%s", log_quote(err.message));
    }
    if (!is_due(keeper, &keeper->logged_s, LOG_S)) return;
    log_info("model.change", "from=%s to=%s embeddings=%lld of=%lld refused=%lld",
             log_quote(state->serving), log_quote(state->wanted), (long long)state->done,
             (long long)state->total, (long long)state->refused);
}

static void add_progress(struct change *change, int64_t rows, int64_t refused)
{
    struct model_state state;
    struct model_keeper *keeper = change->keeper;
    pthread_mutex_lock(&keeper->lock);
    keeper->state.done += rows;
    keeper->state.refused += refused;
    if (keeper->state.total < keeper->state.done) keeper->state.total = keeper->state.done;
    state = keeper->state;
    pthread_mutex_unlock(&keeper->lock);
    say_progress(keeper, &state, false);
}

/* ---- Embedding a part ------------------------------------------------------------------------ */

static bool is_blank(const struct model_text *text)
{
    return text->text == NULL || text->text[strspn(text->text, " \t\r\n\f\v")] == '\0';
}

/* Those that can be embedded, and where each belongs. */
struct part {
    const struct model_text *texts;
    size_t count;
    struct embed_text *asked;
    size_t *places;
    bool *refused, *asked_refused;
    float *vectors, *asked_vectors;
};

static void part_free(struct part *part)
{
    free(part->asked);
    free(part->places);
    free(part->refused);
    free(part->asked_refused);
    free(part->vectors);
    free(part->asked_vectors);
}

static int part_create(struct part *part, const struct model_text *texts, size_t count,
                       struct error *err)
{
    const size_t size = EMBEDDING_DIM * sizeof(float);
    *part = (struct part){.texts = texts, .count = count};
    part->asked = calloc(count, sizeof(*part->asked));
    part->places = calloc(count, sizeof(*part->places));
    part->refused = calloc(count, sizeof(*part->refused));
    part->asked_refused = calloc(count, sizeof(*part->asked_refused));
    part->vectors = calloc(count, size);
    part->asked_vectors = calloc(count, size);
    if (part->asked != NULL && part->places != NULL && part->refused != NULL &&
        part->asked_refused != NULL && part->vectors != NULL && part->asked_vectors != NULL)
        return 0;
    part_free(part);
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* Somebody who has been told to wait while everybody waits for him. */
static void give_up_waiting(void *arg, const char *why, time_t until)
{
    (void)until;
    if (why != NULL) atomic_store(&((struct change *)arg)->keeper->hurried, true);
}

static int embed_part(struct change *change, struct part *part, bool hurry, int64_t *refused,
                      struct error *err)
{
    size_t asked = 0;
    *refused = 0;
    for (size_t i = 0; i < part->count; i++) {
        part->refused[i] = is_blank(&part->texts[i]);
        if (part->refused[i]) continue;
        part->asked[asked] = (struct embed_text){part->texts[i].text, part->texts[i].length};
        part->places[asked++] = i;
    }
    const struct embed_call call = {.texts = part->asked,
                                    .count = asked,
                                    .out = part->asked_vectors,
                                    .refused = part->asked_refused,
                                    .stop =
                                        hurry ? &change->keeper->hurried : &change->keeper->stop,
                                    .waiting = hurry ? give_up_waiting : NULL,
                                    .arg = change};
    if (asked > 0 && embed_perform(change->embedder, &call, err) != 0) return -1;
    for (size_t i = 0; i < asked; i++) {
        part->refused[part->places[i]] = part->asked_refused[i];
        memcpy(part->vectors + part->places[i] * EMBEDDING_DIM,
               part->asked_vectors + i * EMBEDDING_DIM, EMBEDDING_DIM * sizeof(float));
    }
    for (size_t i = 0; i < part->count; i++) *refused += part->refused[i];
    return 0;
}

/* ---- A page ---------------------------------------------------------------------------------- */

struct page_work {
    struct change *change;
    const struct model_page *page;
    size_t part; /* texts of each */
    atomic_size_t next;
    pthread_mutex_t lock; /* protects err */
    struct error err;
    atomic_bool failed;
};

static int take_part(struct page_work *work, size_t at, size_t count, struct error *err)
{
    struct change *change = work->change;
    struct part part;
    int64_t refused;
    if (part_create(&part, work->page->texts + at, count, err) != 0) return -1;
    int rc = embed_part(change, &part, false, &refused, err);
    if (rc == 0) {
        PGconn *conn = pool_lease(change->keeper->daemon->pool, POOL_WAIT_MS, err);
        rc = conn == NULL ? -1
                          : model_change_stage(conn, change->to, part.texts, count, part.vectors,
                                               part.refused, err);
        if (conn != NULL) pool_release(change->keeper->daemon->pool, conn);
    }
    if (rc == 0) add_progress(change, (int64_t)count, refused);
    part_free(&part);
    return rc;
}

static void *take_parts(void *arg)
{
    struct page_work *work = arg;
    const size_t count = work->page->count;
    while (!atomic_load(&work->failed)) {
        struct error err = {0};
        const size_t at = atomic_fetch_add(&work->next, work->part);
        if (at >= count) break;
        const size_t left = count - at;
        if (take_part(work, at, left < work->part ? left : work->part, &err) == 0) continue;
        pthread_mutex_lock(&work->lock);
        if (!atomic_exchange(&work->failed, true)) work->err = err;
        pthread_mutex_unlock(&work->lock);
    }
    return NULL;
}

static int take_page(struct change *change, const struct model_page *page, size_t part,
                     int parallel, struct error *err)
{
    pthread_t threads[PARALLEL_MOST];
    int started = 0;
    struct page_work work = {.change = change, .page = page, .part = part};
    pthread_mutex_init(&work.lock, NULL);
    while (started < parallel - 1 && (size_t)started + 1 < (page->count + part - 1) / part &&
           pthread_create(&threads[started], NULL, take_parts, &work) == 0)
        started++;
    take_parts(&work);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&work.lock);
    if (atomic_load(&work.failed)) {
        if (err != NULL) *err = work.err;
        return -1;
    }
    add_progress(change, page->rows - (int64_t)page->count, 0); /* those that are alike */
    return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int read_page(struct change *change, int32_t after, int most, struct model_page *page,
                     struct error *err)
{
    struct pool *pool = change->keeper->daemon->pool;
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return -1;
    const int rc = model_change_page(conn, change->to, after, most, page, err);
    pool_release(pool, conn);
    return rc;
}

/* One round through the vault. *found: what had not been seen to. */
static int go_round(struct change *change, int64_t *found, struct error *err)
{
    const struct config *config = &change->keeper->daemon->config;
    const size_t batch = embedder_batch(change->embedder);
    const bool asks = embedder_asks(change->embedder);
    const size_t part = asks ? batch : PART;
    int parallel = asks ? config->embedding_parallel : 2;
    if (parallel > PARALLEL_MOST) parallel = PARALLEL_MOST;
    size_t most = part * (size_t)parallel * PARTS_EACH;
    if (most > PAGE_MOST) most = PAGE_MOST;
    int32_t after = INT32_MIN;
    *found = 0;
    for (;;) {
        struct model_page page;
        if (atomic_load(&change->keeper->stop))
            return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        if (!leads(change->keeper))
            return error_set(err, ERR_CONFLICT, NULL, "another daemon leads now");
        if (read_page(change, after, (int)most, &page, err) != 0) return -1;
        if (page.count == 0) return 0;
        *found += page.rows;
        after = page.last;
        const int rc = take_page(change, &page, part, parallel, err);
        model_page_free(&page);
        if (rc != 0) return -1;
    }
}

/* In the transaction in which all writers wait. */
static int stage_rest(void *arg, PGconn *conn, const struct model_page *page, struct error *err)
{
    struct change *change = arg;
    struct part part;
    int64_t refused;
    if (part_create(&part, page->texts, page->count, err) != 0) return -1;
    int rc = embed_part(change, &part, true, &refused, err);
    if (rc == 0)
        rc = model_change_stage(conn, change->to, part.texts, part.count, part.vectors,
                                part.refused, err);
    part_free(&part);
    return rc;
}

static int try_to_switch(struct change *change, bool *switched, struct error *err)
{
    const struct model_switch wanted = {
        .from = change->from, .to = change->to, .few = FEW, .rest = stage_rest, .arg = change};
    const double began = clock_now();
    atomic_store(&change->keeper->hurried, atomic_load(&change->keeper->stop));
    if (model_change_switch(change->keeper->daemon->pool, &wanted, switched, err) != 0) return -1;
    if (*switched)
        log_info("model.switched", "from=%s to=%s seconds=%.2f", log_quote(change->from),
                 log_quote(change->to), clock_now() - began);
    return 0;
}

static int change_model(struct change *change, struct model_state *state, struct error *err)
{
    struct model_keeper *keeper = change->keeper;
    bool switched = false;
    int64_t found;
    if (model_change_begin(keeper->daemon->pool, change->to, state, err) != 0) return -1;
    snprintf(state->wanted, sizeof(state->wanted), "%s", change->to);
    state->error[0] = '\0';
    set_state(keeper, state);
    keeper->logged_s = 0;
    say_progress(keeper, state, true);
    while (!switched) {
        if (go_round(change, &found, err) != 0) return -1;
        if (found <= FEW && try_to_switch(change, &switched, err) != 0) return -1;
    }
    *state = (struct model_state){0};
    snprintf(state->serving, sizeof(state->serving), "%s", change->to);
    set_state(keeper, state);
    return models_take(keeper->daemon->models, change->to, err);
}

/* ---- Looking --------------------------------------------------------------------------------- */

static void tell_failure(struct model_keeper *keeper, const struct error *why)
{
    struct model_state state;
    log_warn("model.change_failed", "error=%s", log_quote(why->message));
    pthread_mutex_lock(&keeper->lock);
    snprintf(keeper->state.error, sizeof(keeper->state.error), "%s", why->message);
    state = keeper->state;
    pthread_mutex_unlock(&keeper->lock);
    say_progress(keeper, &state, true);
}

/* Returns -1 after a change that failed. */
static int look(struct model_keeper *keeper)
{
    struct model_state state;
    struct error err = {0};
    struct models *models = keeper->daemon->models;
    if (model_read(keeper->daemon->pool, &state, &err) != 0 ||
        models_take(models, state.serving, &err) != 0)
        return 0; /* the database is away, which others tell */
    set_state(keeper, &state);
    if (!leads(keeper) || strcmp(state.serving, models_wanted(models)) == 0) return 0;
    struct change change = {.keeper = keeper,
                            .from = models_serving(models),
                            .to = models_wanted(models),
                            .embedder = models_embedder(models, models_wanted(models), &err)};
    if (change.embedder != NULL && change_model(&change, &state, &err) == 0) return 0;
    if (err.code == ERR_CANCELLED && atomic_load(&keeper->stop)) return 0;
    tell_failure(keeper, &err);
    return -1;
}

static void *run(void *arg)
{
    struct model_keeper *keeper = arg;
    int pause_ms = PAUSE_LEAST_MS;
    bool go_on = true;
    while (go_on) {
        if (look(keeper) == 0) {
            pause_ms = PAUSE_LEAST_MS;
            go_on = pause_for(keeper, LOOK_MS);
        } else {
            go_on = pause_for(keeper, pause_ms);
            if (pause_ms < PAUSE_MOST_MS) pause_ms *= 2;
        }
    }
    return NULL;
}

/* ---- The thread ------------------------------------------------------------------------------ */

struct model_keeper *model_keeper_create(struct daemon *daemon, struct error *err)
{
    struct model_keeper *keeper = calloc(1, sizeof(*keeper));
    if (keeper == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    keeper->daemon = daemon;
    snprintf(keeper->state.serving, sizeof(keeper->state.serving), "%s",
             models_serving(daemon->models));
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->stopped, NULL);
    if (pthread_create(&keeper->thread, NULL, run, keeper) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
        keeper->joined = true;
        model_keeper_free(keeper);
        return NULL;
    }
    pthread_setname_np(keeper->thread, "tekupd-model");
    return keeper;
}

void model_keeper_stop(struct model_keeper *keeper)
{
    if (keeper == NULL || keeper->joined) return;
    pthread_mutex_lock(&keeper->lock);
    atomic_store(&keeper->stop, true);
    atomic_store(&keeper->hurried, true);
    pthread_cond_signal(&keeper->stopped);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    keeper->joined = true;
}

void model_keeper_free(struct model_keeper *keeper)
{
    if (keeper == NULL) return;
    model_keeper_stop(keeper);
    pthread_cond_destroy(&keeper->stopped);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
