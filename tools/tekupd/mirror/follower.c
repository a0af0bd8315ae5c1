/*
 * follower.c: connecting, and following. Those who wait are in follower_tickets.c, what others are
 * told in follower_report.c.
 */
#include "tools/tekupd/mirror/follower_internal.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "storage/model.h"
#include "tools/tekupd/mirror/follower_name.h"
#include "tools/tekupd/mirror/snapshot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_MS = 5000,      /* between two looks at the feed that nothing called for */
    FENCE_S = 1,         /* between two registrations while there are changes */
    HEARTBEAT_S = 30,    /* between two registrations */
    FIRST_PAUSE_MS = 50, /* after a connection was lost */
    LONGEST_PAUSE_MS = 5000,
};

static bool is_stopping(const struct follower *follower)
{
    return atomic_load(&follower->stopping);
}

static void set_state(struct follower *follower, enum follower_state state, const char *reason)
{
    pthread_mutex_lock(&follower->lock);
    follower->report.state = state;
    snprintf(follower->report.reason, sizeof(follower->report.reason), "%s", reason);
    pthread_mutex_unlock(&follower->lock);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Until something is heard, or the time has passed. feed is -1 while there is no connection. */
static void wait_for(struct follower *follower, int feed, int ms)
{
    uint64_t kicks;
    struct pollfd fds[] = {{.fd = follower->wake, .events = POLLIN},
                           {.fd = feed, .events = POLLIN}};
    if (is_stopping(follower)) return;
    if (poll(fds, feed >= 0 ? 2 : 1, ms) > 0 && fds[0].revents != 0)
        (void)!read(follower->wake, &kicks, sizeof(kicks));
}

/* Half of the pause is left to chance, so that daemons that lost a server together do not come back
 * to it together. Those who wait do so only for a while. */
static void pause_after(struct follower *follower, int *pause_ms)
{
    const int ms = *pause_ms / 2 + (int)(rand_r(&follower->seed) % (unsigned)(*pause_ms / 2 + 1));
    const double until = clock_now() + ms / 1e3;
    *pause_ms = *pause_ms * 2 < LONGEST_PAUSE_MS ? *pause_ms * 2 : LONGEST_PAUSE_MS;
    wait_for(follower, -1, ms);
    /* A ticket wakes it, which is no reason to try sooner than in a moment. */
    while (!is_stopping(follower) && clock_now() < until && ms <= FIRST_PAUSE_MS)
        wait_for(follower, -1, (int)((until - clock_now()) * 1e3) + 1);
    follower_give_up(follower, false);
}

/* ---- Coming to follow ------------------------------------------------------------------------ */

static int read_all(struct follower *follower, const char *reason, struct error *err)
{
    struct replica *fresh;
    log_info("mirror.load", "reason=%s", log_quote(reason));
    set_state(follower, FOLLOWER_LOADING, "");
    follower_give_up(follower, true);
    follower->loading_s = clock_now();
    follower->let_in = follower->from_snapshot = false;
    /* Searches go on in the one that they have, if they have one. */
    replica_release(follower->follow.replica);
    follower->follow.replica = NULL;
    fresh = replica_create(&follower->options.index, models_serving(follower->options.models), err);
    if (fresh == NULL) return -1;
    const int rc =
        follow_read_all(&follower->follow, follower->name, fresh, &follower->progress, err);
    replica_release(fresh);
    return rc;
}

/* The snapshot on the disk is of no use any more. */
static void drop_snapshot(struct follower *follower, const char *reason)
{
    if (saver_position(follower->saver) == NULL) return;
    saver_restart(follower->saver, NULL);
    snapshot_set_aside(follower->options.data, reason);
}

/* Keeps what a start would have to read in the feed: what is not in the snapshot, if there is one.
 */
static int put_name(struct follower *follower, PGconn *conn, struct error *err)
{
    struct follow *follow = &follower->follow;
    const char *saved = saver_position(follower->saver);
    int reaches =
        feed_register(conn, follower->name, saved != NULL ? saved : follow->position, err);
    if (reaches == 0 && saved != NULL) {
        drop_snapshot(follower, "the change feed does not reach back to it");
        reaches = feed_register(conn, follower->name, follow->position, err);
    }
    if (reaches == 0)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "the change feed was trimmed while the follower registered");
    follower->heartbeat_s = clock_now();
    return reaches < 0 ? -1 : 0;
}

static void publish_position(struct follower *follower)
{
    char *copy = strdup(follower->follow.fenced);
    pthread_mutex_lock(&follower->lock);
    free(follower->position);
    follower->position = copy;
    follower->fence_wanted = false;
    follower->fences++;
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->lock);
}

/* Between two readings of the feed. */
static int register_here(struct follower *follower, struct error *err)
{
    if (put_name(follower, follower->follow.feed, err) != 0) return -1;
    if (follow_fenced(&follower->follow, true, err) != 0) return -1;
    publish_position(follower);
    return 0;
}

/* Between two pages of changes; a failure shows with the next page too. */
static void serve_between(void *arg)
{
    struct follower *follower = arg;
    struct error err = {0};
    follower_serve(follower, &err);
    if (follow_needs_fence(&follower->follow) &&
        put_name(follower, follower->follow.rows, &err) == 0)
        follow_fenced(&follower->follow, false, &err);
}

static bool is_of(const struct follow *follow, const char *model)
{
    return follow->replica == NULL || strcmp(replica_model(follow->replica), model) == 0;
}

/* Which model the vault serves, on new connections. */
static int look_at_model(struct follower *follower, struct error *err)
{
    char serving[MODEL_SIZE];
    if (model_serving(follower->follow.feed, serving, err) != 0) return -1;
    return models_take(follower->options.models, serving, err);
}

/* Whether it can go on from where it is (1); else 0 with why not. */
static int can_go_on(struct follower *follower, char *reason, size_t reason_size, struct error *err)
{
    const struct follow *follow = &follower->follow;
    const char *serving = models_serving(follower->options.models);
    if (is_of(follow, serving))
        return follow_can_go_on(&follower->follow, reason, reason_size, err);
    snprintf(reason, reason_size, "it is of the embedding model %s, not %s",
             replica_model(follow->replica), serving);
    pthread_mutex_lock(&follower->lock);
    follower->report.changing = follower->answering;
    pthread_mutex_unlock(&follower->lock);
    return 0;
}

/* Connects, and reads everything where it cannot go on from where it is. */
static int come_up(struct follower *follower, struct error *err)
{
    char reason[400];
    struct follow *follow = &follower->follow;
    if (follow_connect(follow, follower->options.pool, err) != 0) return -1;
    if (look_at_model(follower, err) != 0) return -1;
    if (follow_step_back(follow, err) != 0) return -1;
    const int goes_on = can_go_on(follower, reason, sizeof(reason), err);
    if (goes_on < 0) return -1;
    if (goes_on == 0) {
        drop_snapshot(follower, reason);
        if (read_all(follower, reason, err) != 0) return -1;
    } else if (follow_look_again(follow, err) != 0) {
        return -1;
    }
    set_state(follower, FOLLOWER_CATCHING, "");
    return register_here(follower, err);
}

/* ---- Following ------------------------------------------------------------------------------- */

static void say_loaded(struct follower *follower)
{
    struct replica_stats stats;
    replica_get_stats(follower->follow.replica, &stats);
    log_info("mirror.loaded", "documents=%zu embeddings=%zu seconds=%.2f", stats.catalog.documents,
             stats.catalog.embeddings, follower->report.load_seconds);
}

/* What the feed has told so far is in the mirror. */
static void caught_up(struct follower *follower)
{
    const bool first = !follower->let_in, before = follower->answering;
    char *applied = strdup(follower->follow.position);
    if (first) mirror_switch(follower->options.mirror, follower->follow.replica);
    follower->let_in = follower->answering = true;
    pthread_mutex_lock(&follower->lock);
    free(follower->applied_position);
    follower->applied_position = applied;
    if (first) follower->report.load_seconds = clock_now() - follower->loading_s;
    follower->report.answering = true;
    follower->report.changing = false;
    follower->report.from_snapshot = follower->from_snapshot;
    follower->report.state = FOLLOWER_FOLLOWING;
    strcpy(follower->report.identity, follower->follow.followed);
    pthread_mutex_unlock(&follower->lock);
    if (first) say_loaded(follower);
    if (!before) follower->options.ready(follower->options.arg);
    ticket_queue_finish(&follower->reading, true);
}

static bool is_fence_wanted(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    const bool wanted = follower->fence_wanted;
    pthread_mutex_unlock(&follower->lock);
    return wanted;
}

static int trim(struct follower *follower, struct error *err)
{
    int64_t removed;
    if (feed_trim(follower->follow.feed, &removed, err) != 0) return -1;
    if (removed > 0) log_debug("feed.trimmed", "changes=%lld", (long long)removed);
    follower->trimmed_s = clock_now();
    return 0;
}

/* Seconds until the next registration is due. */
static double heartbeat_in(const struct follower *follower)
{
    const bool soon =
        follow_wants_fence(&follower->follow) || saver_waits_for_the_first(follower->saver);
    const double pause = soon ? FENCE_S : HEARTBEAT_S;
    return follower->heartbeat_s + pause - clock_now();
}

/* Snapshots are made of what is behind a fence. */
static int heartbeat(struct follower *follower, struct error *err)
{
    struct follow *follow = &follower->follow;
    const bool saved = atomic_exchange(&follower->saved, false);
    if (!saved && !is_fence_wanted(follower) && heartbeat_in(follower) > 0) return 0;
    if (register_here(follower, err) != 0) return -1;
    saver_move(follower->saver, follow->fenced, follow->fenced_touched);
    saver_offer(follower->saver, follow->replica, follow->followed, follow->fenced,
                follow->fenced_touched);
    return saved || clock_now() - follower->trimmed_s >= HEARTBEAT_S ? trim(follower, err) : 0;
}

static int read_feed(struct follower *follower, struct error *err)
{
    pthread_mutex_lock(&follower->lock);
    ticket_queue_move(&follower->everything, &follower->reading);
    pthread_mutex_unlock(&follower->lock);
    if (follow_changes(&follower->follow, serve_between, follower, &follower->applied, err) != 0)
        return -1;
    caught_up(follower);
    return 0;
}

/* The other replica is caught up with and takes the place of this one, while nobody is served. */
static void take_over(struct follower *follower, struct adoption *adoption)
{
    struct follow *fresh = adoption->fresh;
    if (!is_of(fresh, replica_model(follower->follow.replica))) {
        adoption->rc = error_set(&adoption->err, ERR_CONFLICT, "model",
                                 "the vault serves another embedding model by now");
        return;
    }
    adoption->rc = follow_changes(fresh, NULL, NULL, &follower->applied, &adoption->err);
    if (adoption->rc == 0) adoption->rc = put_name(follower, fresh->rows, &adoption->err);
    if (adoption->rc == 0) adoption->rc = follow_fenced(fresh, true, &adoption->err);
    if (adoption->rc != 0) return;
    const struct follow before = follower->follow;
    follower->follow = *fresh;
    follower->follow.stop = before.stop;
    /* A snapshot of it is another one. */
    follower->follow.touched = follower->follow.fenced_touched = before.touched + 1;
    *fresh = before;
    mirror_switch(follower->options.mirror, follower->follow.replica);
    publish_position(follower);
    saver_restart(follower->saver, NULL);
}

static void adopt(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    struct adoption *adoption = follower->adoption;
    if (adoption != NULL) adoption->taken = true;
    pthread_mutex_unlock(&follower->lock);
    if (adoption == NULL) return;
    take_over(follower, adoption);
    pthread_mutex_lock(&follower->lock);
    follower->adoption = NULL;
    adoption->done = true;
    pthread_cond_broadcast(&follower->changed);
    pthread_mutex_unlock(&follower->lock);
}

int follower_adopt(struct follower *follower, struct follow *fresh, struct error *err)
{
    enum { LOOK_AT_STOP_S = 1 };
    struct adoption adoption = {.fresh = fresh};
    pthread_mutex_lock(&follower->lock);
    follower->adoption = &adoption;
    follower_kick(follower);
    while (!adoption.done) {
        struct timespec end;
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += LOOK_AT_STOP_S;
        if (!adoption.taken && atomic_load(fresh->stop)) {
            adoption.rc = error_set(&adoption.err, ERR_CANCELLED, NULL, "told to stop");
            follower->adoption = NULL;
            break;
        }
        pthread_cond_timedwait(&follower->changed, &follower->lock, &end);
    }
    pthread_mutex_unlock(&follower->lock);
    if (adoption.rc != 0 && err != NULL) *err = adoption.err;
    return adoption.rc;
}

static bool somebody_waits(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    const bool waits = follower->documents.first != NULL || follower->everything.first != NULL ||
                       follower->adoption != NULL || follower->fence_wanted;
    pthread_mutex_unlock(&follower->lock);
    return waits;
}

static int wait_ms(const struct follower *follower)
{
    const double ms = heartbeat_in(follower) * 1e3;
    return ms < 1 ? 1 : ms < LOOK_MS ? (int)ms + 1 : LOOK_MS;
}

/* Until the connection is lost, or it is to stop. */
static int follow_on(struct follower *follower, struct error *err)
{
    struct follow *follow = &follower->follow;
    while (!is_stopping(follower)) {
        if (!is_of(follow, models_serving(follower->options.models)))
            return error_set(err, ERR_CONFLICT, "model",
                             "the vault serves another embedding model");
        if (atomic_exchange(&follower->anew, false))
            return error_set(err, ERR_CONFLICT, "database",
                             "another database has taken the place of this one");
        adopt(follower);
        if (follower_serve(follower, err) != 0 || read_feed(follower, err) != 0 ||
            heartbeat(follower, err) != 0)
            return -1;
        const int heard = follow_heard(follow, err);
        if (heard < 0) return -1;
        if (heard == 0 && !somebody_waits(follower))
            wait_for(follower, PQsocket(follow->feed), wait_ms(follower));
        if (follow_heard(follow, err) < 0) return -1;
    }
    return 0;
}

/* ---- The thread ------------------------------------------------------------------------------ */

/* Whether another try may end otherwise. What is wrong before the first time has been wrong from
 * the start, and will be. */
static bool may_pass(const struct follower *follower, const struct error *err)
{
    return err->code == ERR_UNAVAILABLE || err->code == ERR_CONFLICT || follower->answering;
}

static void lost(struct follower *follower, const struct error *err)
{
    follow_disconnect(&follower->follow);
    set_state(follower, FOLLOWER_AWAY, err->message);
    log_warn("follower.lost", "error=%s", log_quote(err->message));
}

static void wait_to_begin(struct follower *follower)
{
    bool begun = false;
    while (!begun && !is_stopping(follower)) {
        wait_for(follower, -1, -1);
        pthread_mutex_lock(&follower->lock);
        begun = follower->begun;
        pthread_mutex_unlock(&follower->lock);
    }
}

/* What was saved, as far as can be told without the database. */
static void open_snapshot(struct follower *follower)
{
    struct error err = {0};
    struct snapshot snapshot;
    const struct follower_options *options = &follower->options;
    const double began = clock_now();
    const int found = snapshot_open(options->data, &options->index, &snapshot, &err);
    if (found < 0 && err.code == ERR_INVALID) {
        snapshot_set_aside(options->data, err.message);
    } else if (found < 0) {
        log_error("snapshot.open", "error=%s", log_quote(err.message));
    } else if (found > 0) {
        struct follow *follow = &follower->follow;
        log_info("snapshot.opened", "embeddings=%zu seconds=%.3f",
                 tk_index_count(replica_index(snapshot.replica)), clock_now() - began);
        follow->replica = snapshot.replica;
        follow->fenced = snapshot.position;
        follow->distrust = true;
        strcpy(follow->followed, snapshot.identity);
        saver_restart(follower->saver, snapshot.position);
        follower->from_snapshot = true;
    }
}

static void save_last(struct follower *follower)
{
    struct follow *follow = &follower->follow;
    struct error err = {0};
    if (!follower->let_in || follow->replica == NULL) return;
    if (follow->feed != NULL && feed_end(follow->feed, &err) == 0) register_here(follower, &err);
    if (follow->fenced != NULL)
        saver_last(follower->saver, follow->replica, follow->followed, follow->fenced,
                   follow->fenced_touched);
}

static void *run(void *arg)
{
    struct follower *follower = arg;
    int pause_ms = FIRST_PAUSE_MS;
    follower->loading_s = clock_now();
    open_snapshot(follower);
    wait_to_begin(follower);
    while (!is_stopping(follower)) {
        struct error err = {0};
        if (come_up(follower, &err) == 0) {
            pause_ms = FIRST_PAUSE_MS;
            if (follow_on(follower, &err) == 0) break;
        }
        if (is_stopping(follower)) break;
        if (model_differs(&err)) continue;
        lost(follower, &err);
        if (!may_pass(follower, &err)) {
            follower->options.failed(follower->options.arg, &err);
            break;
        }
        pause_after(follower, &pause_ms);
    }
    save_last(follower);
    return NULL;
}

static void on_saved(void *arg)
{
    struct follower *follower = arg;
    atomic_store(&follower->saved, true);
    follower_kick(follower);
}

static int make_saver(struct follower *follower, struct error *err)
{
    const struct saver_options options = {
        .data = follower->options.data,
        .changes = follower->options.snapshot_changes,
        .minutes = follower->options.snapshot_minutes,
        .done = on_saved,
        .arg = follower,
    };
    follower->saver = saver_create(&options, err);
    return follower->saver != NULL ? 0 : -1;
}

struct follower *follower_create(const struct follower_options *options, struct error *err)
{
    struct follower *follower = calloc(1, sizeof(*follower));
    if (follower == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    follower->options = *options;
    follower->seed = (unsigned)getpid() ^ (unsigned)time(NULL);
    pthread_mutex_init(&follower->lock, NULL);
    pthread_cond_init(&follower->changed, NULL);
    ticket_queue_init(&follower->documents);
    ticket_queue_init(&follower->everything);
    ticket_queue_init(&follower->reading);
    follow_init(&follower->follow, &follower->stopping);
    follower->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    follower->joined = true;
    if (follower->wake < 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot make an eventfd: %s", strerror(errno));
    } else if (follower_name(options->data, follower->name, err) == 0 &&
               make_saver(follower, err) == 0) {
        if (pthread_create(&follower->thread, NULL, run, follower) == 0) {
            pthread_setname_np(follower->thread, "tekupd-follower");
            follower->joined = false;
            return follower;
        }
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread");
    }
    follower_free(follower);
    return NULL;
}

void follower_begin(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    follower->begun = true;
    pthread_mutex_unlock(&follower->lock);
    follower_kick(follower);
}

void follower_wake(struct follower *follower)
{
    follower_kick(follower);
}

void follower_look_anew(struct follower *follower, const char *identity)
{
    pthread_mutex_lock(&follower->lock);
    const bool another = strcmp(follower->report.identity, identity) != 0;
    pthread_mutex_unlock(&follower->lock);
    if (!another) return;
    atomic_store(&follower->anew, true);
    follower_kick(follower);
}

int follower_snapshot(struct follower *follower,
                      void (*done)(void *arg, const struct error *failure), void *arg,
                      struct error *err)
{
    struct follower_report report;
    follower_get(follower, &report);
    if (!report.answering || report.state == FOLLOWER_AWAY)
        return error_set(err, ERR_UNAVAILABLE, NULL, "the index does not follow the database now");
    if (saver_request(follower->saver, done, arg, err) != 0) return -1;
    follower_kick(follower);
    return 0;
}

void follower_stop(struct follower *follower)
{
    if (follower == NULL || follower->joined) return;
    atomic_store(&follower->stopping, true);
    follower_kick(follower);
    pthread_join(follower->thread, NULL);
    pthread_mutex_lock(&follower->lock);
    follower->joined = true;
    pthread_mutex_unlock(&follower->lock);
    follower_give_up(follower, true);
    saver_free(follower->saver);
    follower->saver = NULL;
}

void follower_free(struct follower *follower)
{
    if (follower == NULL) return;
    follower_stop(follower);
    saver_free(follower->saver);
    follow_free(&follower->follow);
    free(follower->position);
    free(follower->applied_position);
    if (follower->wake >= 0) close(follower->wake);
    pthread_cond_destroy(&follower->changed);
    pthread_mutex_destroy(&follower->lock);
    free(follower);
}
