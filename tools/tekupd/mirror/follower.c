/*
 * follower.c: connecting, following, and those who wait.
 *
 * A ticket is somebody who waits. One that is about a document is served between two pages of
 * changes, so that a backlog of somebody else's changes holds nobody up; one that is about
 * everything is done when a reading of the feed has ended that began after it came.
 *
 * Locks: `lock` protects the tickets, the report and the flags. Everything else belongs to the
 * thread.
 */
#include "tools/tekupd/mirror/follower.h"

#include "storage/base/log.h"
#include "storage/cuid.h"
#include "storage/model.h"
#include "tools/tekupd/mirror/follow.h"
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
    PATIENCE_S = 5, /* of tickets while PostgreSQL is away */
};

struct ticket {
    struct ticket *next;
    void (*done)(void *arg, bool applied);
    void *arg;
    double came_s;
    char document[DOCUMENT_ID_SIZE]; /* empty: everything */
};

struct queue {
    struct ticket *first, **last;
};

/* Somebody who has another replica to follow with. */
struct adoption {
    struct follow *fresh;
    bool taken, done;
    int rc;
    struct error err;
};

struct follower {
    struct follower_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    int wake; /* an eventfd */
    bool begun, joined;
    atomic_bool stopping;
    atomic_bool anew;                   /* the database is another one */
    struct queue documents, everything; /* tickets */
    struct adoption *adoption;
    pthread_cond_t changed; /* adoption->done, fences */
    bool fence_wanted;
    unsigned long long fences;
    char *position;         /* a copy of the follow's fenced one */
    char *applied_position; /* of the last one that the mirror has caught up with */
    struct follower_report report;
    struct follow_progress progress;
    atomic_ullong applied;
    struct saver *saver;
    atomic_bool saved; /* since the last registration */
    /* The thread's own. */
    struct follow follow;
    struct queue reading; /* tickets that the reading of the feed that goes on will serve */
    char name[FEED_FOLLOWER_SIZE];
    double heartbeat_s, trimmed_s;
    double loading_s; /* when it began to read the vault */
    unsigned seed;
    bool let_in;    /* searches are answered from its replica */
    bool answering; /* from it or from one before */
    bool from_snapshot;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

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

/* ---- Tickets --------------------------------------------------------------------------------- */

static void queue_init(struct queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void queue_add(struct queue *queue, struct ticket *ticket)
{
    ticket->next = NULL;
    *queue->last = ticket;
    queue->last = &ticket->next;
}

/* Moves everything to the end of the other. */
static void queue_move(struct queue *from, struct queue *to)
{
    if (from->first == NULL) return;
    *to->last = from->first;
    to->last = from->last;
    queue_init(from);
}

static void finish(struct queue *queue, bool applied)
{
    struct ticket *ticket = queue->first;
    queue_init(queue);
    while (ticket != NULL) {
        struct ticket *next = ticket->next;
        ticket->done(ticket->arg, applied);
        free(ticket);
        ticket = next;
    }
}

/* Those that have waited too long while there is no connection, or all of them. */
static void give_up(struct follower *follower, bool all)
{
    struct queue old, kept;
    struct queue *const queues[] = {&follower->documents, &follower->everything};
    const double time = now();
    queue_init(&old);
    pthread_mutex_lock(&follower->lock);
    queue_move(&follower->reading, &follower->everything);
    for (int i = 0; i < 2; i++) {
        queue_init(&kept);
        for (struct ticket *ticket = queues[i]->first, *next; ticket != NULL; ticket = next) {
            next = ticket->next;
            queue_add(all || time - ticket->came_s > PATIENCE_S ? &old : &kept, ticket);
        }
        queue_init(queues[i]);
        queue_move(&kept, queues[i]);
    }
    pthread_mutex_unlock(&follower->lock);
    finish(&old, false);
}

static void put_back(struct follower *follower, struct queue *queue)
{
    pthread_mutex_lock(&follower->lock);
    queue_move(&follower->documents, queue);
    queue_move(queue, &follower->documents);
    pthread_mutex_unlock(&follower->lock);
}

/* Looks at the documents that somebody waits for. Returns -1 when the database could not be asked,
 * and they wait on. */
static int serve(struct follower *follower, struct error *err)
{
    struct queue waiting, some;
    int rc = 0;
    queue_init(&waiting);
    pthread_mutex_lock(&follower->lock);
    queue_move(&follower->documents, &waiting);
    pthread_mutex_unlock(&follower->lock);
    while (rc == 0 && waiting.first != NULL) {
        const char *ids[FOLLOW_DOCUMENTS];
        size_t count = 0;
        queue_init(&some);
        while (waiting.first != NULL && count < FOLLOW_DOCUMENTS) {
            struct ticket *ticket = waiting.first;
            waiting.first = ticket->next;
            if (waiting.first == NULL) queue_init(&waiting);
            queue_add(&some, ticket);
            ids[count++] = ticket->document;
        }
        rc = follow_documents(&follower->follow, ids, count, err);
        if (rc == 0)
            finish(&some, true);
        else
            put_back(follower, &some);
    }
    put_back(follower, &waiting);
    return rc;
}

static struct ticket *make_ticket(const char *document, void (*done)(void *, bool), void *arg)
{
    struct ticket *ticket = calloc(1, sizeof(*ticket));
    if (ticket == NULL) return NULL;
    ticket->done = done;
    ticket->arg = arg;
    ticket->came_s = now();
    if (document != NULL) snprintf(ticket->document, sizeof(ticket->document), "%s", document);
    return ticket;
}

static void kick(struct follower *follower)
{
    const uint64_t one = 1;
    (void)!write(follower->wake, &one, sizeof(one));
}

void follower_settle(struct follower *follower, const char *document,
                     void (*done)(void *arg, bool applied), void *arg)
{
    struct ticket *ticket = make_ticket(document, done, arg);
    pthread_mutex_lock(&follower->lock);
    const bool waits = ticket != NULL && follower->report.answering && !follower->joined &&
                       follower->report.state != FOLLOWER_LOADING;
    if (waits) queue_add(document != NULL ? &follower->documents : &follower->everything, ticket);
    pthread_mutex_unlock(&follower->lock);
    if (waits) {
        kick(follower);
        return;
    }
    free(ticket);
    done(arg, false);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over;
};

static void stop_waiting(void *arg, bool applied)
{
    struct waiting *waiting = arg;
    (void)applied;
    pthread_mutex_lock(&waiting->lock);
    waiting->over = true;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

void follower_wait(struct follower *follower)
{
    struct waiting waiting = {.over = false};
    pthread_mutex_init(&waiting.lock, NULL);
    pthread_cond_init(&waiting.changed, NULL);
    follower_settle(follower, NULL, stop_waiting, &waiting);
    pthread_mutex_lock(&waiting.lock);
    while (!waiting.over) pthread_cond_wait(&waiting.changed, &waiting.lock);
    pthread_mutex_unlock(&waiting.lock);
    pthread_cond_destroy(&waiting.changed);
    pthread_mutex_destroy(&waiting.lock);
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
    const double until = now() + ms / 1e3;
    *pause_ms = *pause_ms * 2 < LONGEST_PAUSE_MS ? *pause_ms * 2 : LONGEST_PAUSE_MS;
    wait_for(follower, -1, ms);
    /* A ticket wakes it, which is no reason to try sooner than in a moment. */
    while (!is_stopping(follower) && now() < until && ms <= FIRST_PAUSE_MS)
        wait_for(follower, -1, (int)((until - now()) * 1e3) + 1);
    give_up(follower, false);
}

/* ---- Coming to follow ------------------------------------------------------------------------ */

static int read_all(struct follower *follower, const char *reason, struct error *err)
{
    struct replica *fresh;
    log_info("mirror.load", "reason=%s", log_quote(reason));
    set_state(follower, FOLLOWER_LOADING, "");
    give_up(follower, true);
    follower->loading_s = now();
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
    follower->heartbeat_s = now();
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
    serve(follower, &err);
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
    if (first) follower->report.load_seconds = now() - follower->loading_s;
    follower->report.answering = true;
    follower->report.changing = false;
    follower->report.from_snapshot = follower->from_snapshot;
    follower->report.state = FOLLOWER_FOLLOWING;
    strcpy(follower->report.identity, follower->follow.followed);
    pthread_mutex_unlock(&follower->lock);
    if (first) say_loaded(follower);
    if (!before) follower->options.ready(follower->options.arg);
    finish(&follower->reading, true);
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
    follower->trimmed_s = now();
    return 0;
}

/* Seconds until the next registration is due. */
static double heartbeat_in(const struct follower *follower)
{
    const bool soon =
        follow_wants_fence(&follower->follow) || saver_waits_for_the_first(follower->saver);
    const double pause = soon ? FENCE_S : HEARTBEAT_S;
    return follower->heartbeat_s + pause - now();
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
    return saved || now() - follower->trimmed_s >= HEARTBEAT_S ? trim(follower, err) : 0;
}

static int read_feed(struct follower *follower, struct error *err)
{
    pthread_mutex_lock(&follower->lock);
    queue_move(&follower->everything, &follower->reading);
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
    kick(follower);
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
        if (serve(follower, err) != 0 || read_feed(follower, err) != 0 ||
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
    const double began = now();
    const int found = snapshot_open(options->data, &options->index, &snapshot, &err);
    if (found < 0 && err.code == ERR_INVALID) {
        snapshot_set_aside(options->data, err.message);
    } else if (found < 0) {
        log_error("snapshot.open", "error=%s", log_quote(err.message));
    } else if (found > 0) {
        struct follow *follow = &follower->follow;
        log_info("snapshot.opened", "embeddings=%zu seconds=%.3f",
                 tk_index_count(replica_index(snapshot.replica)), now() - began);
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
    follower->loading_s = now();
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
    kick(follower);
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
    queue_init(&follower->documents);
    queue_init(&follower->everything);
    queue_init(&follower->reading);
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
    kick(follower);
}

void follower_wake(struct follower *follower)
{
    kick(follower);
}

void follower_look_anew(struct follower *follower, const char *identity)
{
    pthread_mutex_lock(&follower->lock);
    const bool another = strcmp(follower->report.identity, identity) != 0;
    pthread_mutex_unlock(&follower->lock);
    if (!another) return;
    atomic_store(&follower->anew, true);
    kick(follower);
}

void follower_get(struct follower *follower, struct follower_report *report)
{
    pthread_mutex_lock(&follower->lock);
    *report = follower->report;
    pthread_mutex_unlock(&follower->lock);
    report->applied = atomic_load(&follower->applied);
    report->documents = atomic_load(&follower->progress.documents);
    report->embeddings = atomic_load(&follower->progress.embeddings);
    report->all_documents = atomic_load(&follower->progress.all_documents);
    report->all_embeddings = atomic_load(&follower->progress.all_embeddings);
}

const char *follower_state_name(enum follower_state state)
{
    static const char *const names[] = {
        [FOLLOWER_WAITING] = "waiting",     [FOLLOWER_LOADING] = "loading",
        [FOLLOWER_CATCHING] = "catchingUp", [FOLLOWER_FOLLOWING] = "following",
        [FOLLOWER_AWAY] = "away",
    };
    return names[state];
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
    kick(follower);
    return 0;
}

char *follower_position(struct follower *follower)
{
    enum { PATIENCE = 2 };
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    pthread_mutex_lock(&follower->lock);
    const unsigned long long before = follower->fences;
    follower->fence_wanted = true;
    kick(follower);
    while (follower->fences == before &&
           pthread_cond_timedwait(&follower->changed, &follower->lock, &end) == 0) {
    }
    char *copy = follower->position != NULL ? strdup(follower->position) : NULL;
    pthread_mutex_unlock(&follower->lock);
    return copy;
}

char *follower_applied(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    char *copy = follower->report.state == FOLLOWER_FOLLOWING && follower->applied_position != NULL
                     ? strdup(follower->applied_position)
                     : NULL;
    pthread_mutex_unlock(&follower->lock);
    return copy;
}

const char *follower_own_name(const struct follower *follower)
{
    return follower->name;
}

void follower_get_snapshots(struct follower *follower, struct saver_report *report)
{
    saver_get(follower->saver, report);
}

bool follower_is_ready(struct follower *follower, bool *loading, char *reason, size_t reason_size)
{
    struct follower_report report;
    follower_get(follower, &report);
    *loading = !report.answering;
    if (report.changing && report.answering && report.state != FOLLOWER_AWAY) return true;
    switch (report.state) {
    case FOLLOWER_WAITING:
        snprintf(reason, reason_size, "the index is still loading");
        break;
    case FOLLOWER_LOADING:
        snprintf(reason, reason_size,
                 "the index is being read from PostgreSQL: %zu of %zu embeddings",
                 report.embeddings, report.all_embeddings);
        break;
    case FOLLOWER_CATCHING:
        snprintf(reason, reason_size, "the index is catching up with the change feed");
        break;
    case FOLLOWER_AWAY:
        snprintf(reason, reason_size, "%s", report.reason);
        break;
    case FOLLOWER_FOLLOWING:
        return true;
    }
    return false;
}

void follower_stop(struct follower *follower)
{
    if (follower == NULL || follower->joined) return;
    atomic_store(&follower->stopping, true);
    kick(follower);
    pthread_join(follower->thread, NULL);
    pthread_mutex_lock(&follower->lock);
    follower->joined = true;
    pthread_mutex_unlock(&follower->lock);
    give_up(follower, true);
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
