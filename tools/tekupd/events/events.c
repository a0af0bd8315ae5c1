/*
 * events.c: the thread that reads the change feed for the clients of GET /v1/events.
 *
 * In rounds: it asks where the feed ends now, reads to there for all clients that stand at the same
 * place at once, and so brings them to the same place again. A client whose buffer is full stays
 * where it is and is read for by itself until it has caught up. Rounds follow notifications, but
 * not more than one every ROUND_MS.
 *
 * `lock` protects arrived, count and stopping. Clients that have arrived are the thread's own.
 */
#include "tools/tekupd/events/events.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "storage/feed.h"
#include "storage/sql.h"
#include "tools/tekupd/events/event_client.h"
#include "tools/tekupd/events/event_id.h"
#include "tools/tekupd/events/event_keep.h"
#include "tools/tekupd/mirror/follower_name.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PAGE = 256, ROUND_MS = 50, BEHIND_MS = 100, IDLE_MS = 1000 };
enum { RETRY_LEAST_MS = 250, RETRY_MOST_MS = 4000 };

struct events {
    struct events_options options;
    pthread_t thread;
    int wake; /* an eventfd */

    pthread_mutex_t lock;
    struct event_client *arrived;
    int count;
    bool stopping, joined;

    /* The thread's own. */
    struct event_client *clients;
    PGconn *conn;
    char feed[EVENT_FEED_SIZE];
    struct event_keep keep;
    double needed_s; /* when there was last a client */
};

static void wake_thread(void *arg)
{
    const struct events *events = arg;
    const uint64_t one = 1;
    (void)!write(events->wake, &one, sizeof(one));
}

static void count_less(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    events->count--;
    pthread_mutex_unlock(&events->lock);
}

static void sort_out(struct events *events)
{
    struct event_client **place = &events->clients;
    while (*place != NULL) {
        struct event_client *client = *place;
        if (!event_client_is_over(client)) {
            place = &client->next;
            continue;
        }
        *place = client->next;
        http_stream_cut(client->stream);
        event_client_free(client);
        count_less(events);
    }
}

static void take_arrived(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    struct event_client *arrived = events->arrived;
    events->arrived = NULL;
    pthread_mutex_unlock(&events->lock);
    while (arrived != NULL) {
        struct event_client *client = arrived;
        arrived = client->next;
        client->next = events->clients;
        events->clients = client;
    }
}

/* ---- Places ---------------------------------------------------------------------------------- */

static const char trimmed[] = "the feed does not reach back to the last event any more";

/* What only PostgreSQL finds wrong with a position, which somebody has made up, is out of reach. */
static int reaches_back(PGconn *conn, const struct event_place *place, struct error *err)
{
    const char *const positions[] = {place->after, place->upto};
    for (int i = 0; i < 2 && positions[i] != NULL; i++) {
        const int reaches = feed_reaches_back(conn, positions[i], err);
        if (reaches < 0 && PQstatus(conn) != CONNECTION_OK) return -1;
        if (reaches <= 0) return 0;
    }
    return 1;
}

/* Where a client that has come begins; the form of its id has been checked. */
static int place_client(struct events *events, struct event_client *client, const char *now,
                        struct error *err)
{
    char feed[EVENT_FEED_SIZE];
    if (client->last_id == NULL) return event_client_begin(client, events->feed, now, NULL, err);
    if (event_id_parse(client->last_id, feed, &client->place, err) != 0) return -1;
    free(client->last_id);
    client->last_id = NULL;
    if (strcmp(feed, events->feed) != 0)
        return event_client_begin(
            client, events->feed, now,
            "the last event was of another database, or of this one before it was "
            "restored",
            err);
    const int reaches = reaches_back(events->conn, &client->place, err);
    if (reaches < 0) return -1;
    return event_client_begin(client, events->feed, reaches ? NULL : now, reaches ? NULL : trimmed,
                              err);
}

static int place_clients(struct events *events, const char *now, struct error *err)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next)
        if (!client->placed && place_client(events, client, now, err) != 0) return -1;
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool is_same(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

/* Those that stand where the first does, and have room, are read for together. */
static void choose_readers(struct events *events, const struct event_client *first)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next)
        client->reading = is_same(client->place.after, first->place.after) &&
                          is_same(client->place.upto, first->place.upto) &&
                          client->place.seq == first->place.seq &&
                          event_client_has_room(client, events->options.buffer);
}

/* What the readers' places have in common while they are read for: `upto`. */
static int enter_reading(struct events *events, const char *until, struct error *err)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        if (!client->reading || client->place.upto != NULL) continue;
        client->place.upto = strdup(until);
        client->place.seq = 0;
        if (client->place.upto == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    }
    return 0;
}

static void leave_reading(struct events *events)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        if (!client->reading) continue;
        client->reading = false;
        free(client->place.after);
        client->place.after = client->place.upto;
        client->place.upto = NULL;
        client->place.seq = 0;
        client->moved = true;
    }
}

/* One page to every reader, each as far as it has room. Returns whether any is left. */
static bool give_page(struct events *events, const struct feed_change *changes, size_t count,
                      const struct sync_rows *rows)
{
    bool any = false;
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        if (client->reading)
            event_client_give(client, events->feed, changes, count, rows, events->options.buffer);
        any = any || client->reading;
    }
    return any;
}

static int give_pages(struct events *events, struct error *err)
{
    struct feed_change changes[PAGE];
    size_t count;
    bool any = true;
    do {
        struct sync_rows rows = {0};
        PGresult *result = NULL;
        int rc = feed_next(events->conn, PAGE, changes, &count, &result, err);
        if (rc == 0) rc = sync_rows_read(events->conn, changes, count, &rows, err);
        if (rc == 0 && count > 0) any = give_page(events, changes, count, &rows);
        sync_rows_free(&rows);
        PQclear(result);
        if (rc != 0) return -1;
    } while (count > 0 && any);
    if (count == 0) leave_reading(events);
    return 0;
}

static int reset_readers(struct events *events, const char *now, struct error *err)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        if (!client->reading) continue;
        client->reading = false;
        if (event_client_begin(client, events->feed, now, trimmed, err) != 0) return -1;
    }
    return 0;
}

/* Reads for those that stand where `first` does. */
static int read_for(struct events *events, const struct event_client *first, const char *now,
                    struct error *err)
{
    char *until = NULL;
    choose_readers(events, first);
    int rc = feed_begin(events->conn, first->place.after,
                        first->place.upto != NULL ? first->place.upto : now, first->place.seq,
                        &until, err);
    if (rc != 0) return -1;
    /* Asked within the transaction that reads, so that nothing is trimmed in between. */
    const int reaches = feed_reaches_back(events->conn, first->place.after, err);
    if (reaches < 0) {
        rc = -1;
    } else if (reaches == 0) {
        rc = reset_readers(events, now, err);
    } else {
        rc = enter_reading(events, until, err);
        if (rc == 0) rc = give_pages(events, err);
    }
    free(until);
    return feed_end(events->conn, rc == 0 ? err : NULL) == 0 ? rc : -1;
}

/* Whether there is something to read for it, now. */
static bool is_behind(const struct event_client *client, const char *now)
{
    return client->placed && (client->place.upto != NULL || !is_same(client->place.after, now));
}

static int read_for_all(struct events *events, const char *now, struct error *err)
{
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        /* After what was interrupted comes what has happened since. */
        for (int turn = 0; turn < 2 && is_behind(client, now) &&
                           event_client_has_room(client, events->options.buffer);
             turn++)
            if (read_for(events, client, now, err) != 0) return -1;
    }
    return 0;
}

/* ---- The connection -------------------------------------------------------------------------- */

static void disconnect(struct events *events)
{
    PQfinish(events->conn);
    events->conn = NULL;
}

static int connect_feed(struct events *events, struct error *err)
{
    char identity[FEED_IDENTITY_SIZE];
    char before[EVENT_FEED_SIZE];
    if (events->conn != NULL) return 0;
    events->conn = pool_connect(events->options.pool, err);
    if (events->conn == NULL) return -1;
    if (sql_run(events->conn, "LISTEN " FEED_CHANNEL, err) != 0 ||
        feed_identify(events->conn, identity, err) != 0)
        return -1;
    memcpy(before, events->feed, sizeof(before));
    event_feed(identity, events->feed);
    if (before[0] == '\0' || strcmp(before, events->feed) == 0) return 0;
    /* Another database has taken the place of the one that was there. */
    event_keep_free(&events->keep);
    events->keep.told_s = 0;
    events->keep.looked = false;
    for (struct event_client *client = events->clients; client != NULL; client = client->next) {
        struct buffer id = {0};
        if (!client->placed) continue;
        event_id_put(&id, before, &client->place);
        event_place_free(&client->place);
        client->placed = false;
        client->last_id = buffer_take(&id);
    }
    return 0;
}

static bool is_kept(const struct events *events, double time_s)
{
    return events->options.trims || events->clients != NULL || time_s < events->keep.inherit_s ||
           (events->needed_s > 0 && time_s < events->needed_s + events->options.keep_s);
}

/* Keeps what clients that are away for a while will ask for, as long as there have been any. */
static int keep_feed(struct events *events, const char *now, struct error *err)
{
    int64_t removed;
    const double time_s = clock_now();
    const double before_s = events->keep.told_s;
    if (event_keep_look(&events->keep, events->conn, time_s, err) != 0) return -1;
    if (events->clients != NULL) events->needed_s = time_s;
    if (!is_kept(events, time_s))
        return before_s > 0 || events->keep.inherit_s > 0
                   ? event_keep_end(&events->keep, events->conn, err)
                   : 0;
    if (event_keep_move(&events->keep, events->conn, now, time_s, err) != 0) return -1;
    if (!events->options.trims || events->keep.told_s == before_s) return 0;
    return feed_trim(events->conn, &removed, err);
}

static int do_round(struct events *events, struct error *err)
{
    char *now = NULL;
    if (connect_feed(events, err) != 0) return -1;
    PQconsumeInput(events->conn);
    PGnotify *notification;
    while ((notification = PQnotifies(events->conn)) != NULL) PQfreemem(notification);
    int rc = feed_now(events->conn, &now, err);
    if (rc == 0) rc = place_clients(events, now, err);
    if (rc == 0) rc = read_for_all(events, now, err);
    if (rc == 0) rc = keep_feed(events, now, err);
    free(now);
    return rc;
}

/* ---- The thread ------------------------------------------------------------------------------ */

static bool is_stopping(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    const bool stopping = events->stopping;
    pthread_mutex_unlock(&events->lock);
    return stopping;
}

static bool has_work(const struct events *events)
{
    return events->clients != NULL || events->options.trims || !events->keep.looked ||
           events->keep.told_s > 0 || events->keep.inherit_s > 0;
}

/* Whether some wait for room; they are asked to say when they have it. */
static bool any_is_behind(const struct events *events)
{
    bool any = false;
    for (const struct event_client *client = events->clients; client != NULL;
         client = client->next) {
        const bool full = !event_client_has_room(client, events->options.buffer);
        if (full) http_stream_wait(client->stream);
        any = any || full || client->place.upto != NULL;
    }
    return any;
}

/* Until a client comes, the feed has news, or the time has passed; ms -1: no time. */
static void wait_for_news(const struct events *events, int ms)
{
    struct pollfd fds[2] = {
        {.fd = events->wake, .events = POLLIN},
        {.fd = events->conn != NULL ? PQsocket(events->conn) : -1, .events = POLLIN}};
    uint64_t count;
    poll(fds, 2, ms);
    if ((fds[0].revents & POLLIN) != 0) (void)!read(events->wake, &count, sizeof(count));
}

static void pause_ms(const struct events *events, int ms)
{
    struct pollfd wake = {.fd = events->wake, .events = POLLIN};
    poll(&wake, 1, ms);
}

static void *run(void *arg)
{
    struct events *events = arg;
    int retry_ms = RETRY_LEAST_MS;
    while (!is_stopping(events)) {
        struct error err = {0};
        take_arrived(events);
        sort_out(events);
        if (!has_work(events)) {
            disconnect(events);
            wait_for_news(events, -1);
            continue;
        }
        const bool done = do_round(events, &err) == 0;
        for (struct event_client *client = events->clients; client != NULL; client = client->next)
            event_client_keep_alive(client, events->feed, events->options.buffer);
        if (done) {
            retry_ms = RETRY_LEAST_MS;
            const bool behind = any_is_behind(events);
            wait_for_news(events, behind ? BEHIND_MS : IDLE_MS);
            if (!behind) pause_ms(events, ROUND_MS);
            continue;
        }
        log_debug("events.away", "error=%s", log_quote(err.message));
        disconnect(events);
        wait_for_news(events, retry_ms);
        retry_ms = retry_ms * 2 < RETRY_MOST_MS ? retry_ms * 2 : RETRY_MOST_MS;
    }
    return NULL;
}

/* ---- The interface --------------------------------------------------------------------------- */

static int check_id(const char *last_id, struct error *err)
{
    char feed[EVENT_FEED_SIZE];
    struct event_place place;
    if (last_id == NULL) return 0;
    const int rc = event_id_parse(last_id, feed, &place, err);
    event_place_free(&place);
    return rc;
}

/* A place among the clients. */
static int reserve(struct events *events, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&events->lock);
    if (events->stopping)
        rc = error_set(err, ERR_UNAVAILABLE, NULL, "tekupd is stopping");
    else if (events->count >= events->options.clients)
        rc = error_set(err, ERR_UNAVAILABLE, NULL, "%d clients are sent events already",
                       events->count);
    else
        events->count++;
    pthread_mutex_unlock(&events->lock);
    return rc;
}

int events_add(struct events *events, struct http_request *request, const char *source,
               const char *repository, const char *last_id, struct error *err)
{
    if (last_id != NULL && *last_id == '\0') last_id = NULL;
    if (check_id(last_id, err) != 0) return -1;
    struct event_client *client = event_client_create(source, repository, last_id);
    if (client == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (reserve(events, err) != 0) {
        event_client_free(client);
        return -1;
    }
    client->stream = http_stream_begin(request, "text/event-stream", wake_thread, events);
    if (client->stream == NULL) { /* and the request is answered */
        event_client_free(client);
        count_less(events);
        return 0;
    }
    pthread_mutex_lock(&events->lock);
    client->next = events->arrived;
    events->arrived = client;
    pthread_mutex_unlock(&events->lock);
    wake_thread(events);
    return 0;
}

size_t events_count(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    const size_t count = (size_t)events->count;
    pthread_mutex_unlock(&events->lock);
    return count;
}

struct events *events_create(const struct events_options *options, struct error *err)
{
    char name[FEED_FOLLOWER_SIZE];
    struct events *events = calloc(1, sizeof(*events));
    if (events == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    events->options = *options;
    events->joined = true;
    pthread_mutex_init(&events->lock, NULL);
    events->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (follower_name(options->data, name, err) != 0) goto fail;
    snprintf(events->keep.follower, sizeof(events->keep.follower), "events-%.50s", name);
    events->keep.keep_s = options->keep_s;
    if (events->wake < 0 || pthread_create(&events->thread, NULL, run, events) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "cannot start a thread for events");
        goto fail;
    }
    events->joined = false;
    pthread_setname_np(events->thread, "tekupd-events");
    return events;
fail:
    events_free(events);
    return NULL;
}

/* What is under way is given the time that the drain has; what waits for a reader is not. */
static void end_clients(struct events *events)
{
    take_arrived(events);
    while (events->clients != NULL) {
        struct event_client *client = events->clients;
        events->clients = client->next;
        if (http_stream_state(client->stream).backlog == 0)
            http_stream_end(client->stream);
        else
            http_stream_cut(client->stream);
        event_client_free(client);
        count_less(events);
    }
}

void events_stop(struct events *events)
{
    if (events == NULL || events->joined) return;
    pthread_mutex_lock(&events->lock);
    events->stopping = true;
    pthread_mutex_unlock(&events->lock);
    wake_thread(events);
    pthread_join(events->thread, NULL);
    events->joined = true;
    /* One that was let in at the last moment may not have arrived yet. */
    while (events_count(events) > 0) {
        end_clients(events);
        pause_ms(events, 1);
    }
}

void events_free(struct events *events)
{
    if (events == NULL) return;
    events_stop(events);
    disconnect(events);
    event_keep_free(&events->keep);
    if (events->wake >= 0) close(events->wake);
    pthread_mutex_destroy(&events->lock);
    free(events);
}
