/*
 * Each slot holds one connection. `lock` protects everything in struct pool but the connections of
 * leased slots, which belong to the thread that leased them; connecting, checking and rolling back
 * happen on a leased slot, without the lock.
 *
 * A leased connection is cut by shutting down a duplicate of its socket, which libpq does not know
 * of: whatever the thread waits for then fails as on a lost connection. The duplicate is the
 * slot's, so that it never is a socket of somebody else that got the same number.
 */
#include "storage/pool.h"

#include "storage/base/buffer.h"
#include "storage/base/log.h"
#include "storage/conninfo.h"
#include "storage/pool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-events.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct slot {
    PGconn *conn;     /* NULL where none is open */
    int line;         /* the socket of its connection, duplicated; -1 where none is open */
    _Atomic bool cut; /* the connection, since PostgreSQL did not answer */
    bool leased;
    struct timespec since;       /* of the lease */
    unsigned long long last_use; /* the lease's number; the freshest connection is used first */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    PQconninfoOption *options;
    const char **keywords; /* point into options; NULL-terminated */
    const char **values;
    int size;
    int leased, waiting;
    unsigned long long leases, opened, failures;
    bool silent; /* PostgreSQL does not answer: nothing is leased */
    struct histogram waits;
    struct slot slots[POOL_MAX];
    struct cuid_generator cuids;
};

/* What a connection gets where the string does not say otherwise. A peer that is gone without a
 * word is noticed after a minute when idle, and 30 s after something was sent to it. */
static const struct {
    const char *keyword, *value;
} defaults[] = {
    {"connect_timeout", "5"},      {"keepalives_idle", "30"},
    {"keepalives_interval", "10"}, {"keepalives_count", "3"},
    {"tcp_user_timeout", "30000"}, {"fallback_application_name", "tekupd"},
};

/* Prisma's DateTime columns have no time zone and hold UTC, so now() must be written as UTC.
 * No statement may hold a connection for ever; the few that read or change whole tables lift the
 * limit for their own transaction. A daemon that hangs, or whose machine has lost its power, in the
 * middle of a transaction must not keep its rows from the daemon that takes over: the server then
 * ends the session. */
static const char session_settings[] = "SET timezone TO 'UTC';"
                                       "SET client_encoding TO 'UTF8';"
                                       "SET search_path TO public;"
                                       "SET statement_timeout TO '60s';"
                                       "SET idle_in_transaction_session_timeout TO '20s';"
                                       "SET tcp_keepalives_idle TO 10;"
                                       "SET tcp_keepalives_interval TO 3;"
                                       "SET tcp_keepalives_count TO 3";

/* ---- Errors ---- */

/* libpq's text on one line, without the blanks around it. */
static const char *one_line(const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (; *text != '\0' && used + 1 < size; text++) {
        const char c = *text == '\n' || *text == '\t' || *text == '\r' ? ' ' : *text;
        if (c == ' ' && (used == 0 || out[used - 1] == ' ')) continue;
        out[used++] = c;
    }
    while (used > 0 && out[used - 1] == ' ') used--;
    out[used] = '\0';
    return out;
}

/* SQLSTATEs after which the same work may succeed later: the connection is gone, the server is
 * shutting down, starting, full or a standby, or it took too long. */
static bool may_pass(const char *state)
{
    static const char *const prefixes[] = {"08", "53", "57P0", "57014", "55P03", "25006"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
        if (strncmp(state, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

static const char no_answer[] = "PostgreSQL does not answer";

/* Only there so that a connection has its slot for data. */
static int know_slot(PGEventId id, void *info, void *arg)
{
    (void)id;
    (void)info;
    (void)arg;
    return 1;
}

static bool was_cut(const PGconn *conn)
{
    const struct slot *slot = PQinstanceData(conn, know_slot);
    return slot != NULL && atomic_load(&slot->cut);
}

int pool_error(PGconn *conn, const PGresult *result, struct error *err)
{
    char text[400];
    if (was_cut(conn)) return error_set(err, ERR_UNAVAILABLE, NULL, no_answer);
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *primary =
        result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (primary == NULL && result != NULL) primary = PQresultErrorMessage(result);
    if (primary == NULL || primary[0] == '\0') primary = PQerrorMessage(conn);
    if (primary == NULL || primary[0] == '\0') primary = "the connection failed";

    /* A failure that the server has not told of is libpq's: what was sent did not get through,
     * which it does not yet count as the end of the connection. */
    const bool unsent = result != NULL && state == NULL;
    enum error_code code = ERR_INTERNAL;
    if (PQstatus(conn) != CONNECTION_OK || unsent || (state != NULL && may_pass(state)))
        code = ERR_UNAVAILABLE;
    else if (state != NULL && (strcmp(state, "23505") == 0 || strncmp(state, "40", 2) == 0))
        code = ERR_CONFLICT; /* class 40: deadlock, serialization failure */
    else if (state != NULL && (strcmp(state, "22021") == 0 || strcmp(state, "22P05") == 0))
        code = ERR_INVALID; /* text that is not UTF-8, or that the database cannot hold */
    return error_set(err, code, NULL, "PostgreSQL: %s", one_line(primary, text, sizeof(text)));
}

/* Warnings and notices, and what a server says before it closes an idle connection. */
static void notice(void *arg, const char *message)
{
    (void)arg;
    char text[400];
    log_debug("postgres.notice", "message=%s", log_quote(one_line(message, text, sizeof(text))));
}

/* ---- Connections ---- */

/* From now on this connection of the slot can be cut; with NULL there is none. */
static void set_line(struct pool *pool, struct slot *slot, PGconn *conn)
{
    const int line = conn != NULL ? fcntl(PQsocket(conn), F_DUPFD_CLOEXEC, 0) : -1;
    if (conn != NULL && PQregisterEventProc(conn, know_slot, "tekupdb", NULL) != 0)
        PQsetInstanceData(conn, know_slot, slot);
    pthread_mutex_lock(&pool->lock);
    const int before = slot->line;
    slot->line = line;
    atomic_store(&slot->cut, false);
    pthread_mutex_unlock(&pool->lock);
    if (before >= 0) close(before);
}

/* slot is where the connection will be, or NULL. */
static PGconn *open_connection(struct pool *pool, struct slot *slot, struct error *err)
{
    PGconn *conn = PQconnectdbParams(pool->keywords, pool->values, 0);
    if (conn == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    if (PQstatus(conn) != CONNECTION_OK) {
        pool_error(conn, NULL, err);
        PQfinish(conn);
        return NULL;
    }
    PQsetNoticeProcessor(conn, notice, NULL);
    if (slot != NULL) set_line(pool, slot, conn);
    PGresult *result = PQexec(conn, session_settings);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        pool_error(conn, result, err);
        PQclear(result);
        PQfinish(conn);
        return NULL;
    }
    PQclear(result);
    return conn;
}

/* Whether an idle connection still has a server at its end. What a server that goes away sends is
 * lying in the socket by now, so this costs no round trip. */
static bool is_alive(PGconn *conn)
{
    for (int reads = 0; reads < 64; reads++) {
        if (PQstatus(conn) != CONNECTION_OK) return false;
        struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
        const int ready = poll(&socket, 1, 0);
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) return true;
        if (ready < 0 || !PQconsumeInput(conn)) return false;
        PGnotify *notification;
        while ((notification = PQnotifies(conn)) != NULL) PQfreemem(notification);
    }
    return false;
}

/* Whether the connection is fit for its next user; rolls back what was left open. */
static bool make_idle(PGconn *conn)
{
    if (PQstatus(conn) != CONNECTION_OK || PQpipelineStatus(conn) != PQ_PIPELINE_OFF) return false;
    const PGTransactionStatusType status = PQtransactionStatus(conn);
    if (status == PQTRANS_IDLE) return true;
    if (status != PQTRANS_INTRANS && status != PQTRANS_INERROR) return false;
    PGresult *result = PQexec(conn, "ROLLBACK");
    const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return done && PQtransactionStatus(conn) == PQTRANS_IDLE;
}

/* ---- Leases ---- */

static struct timespec deadline_in(int ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* The free slot to lease: of those with a connection the one used last, so that connections which
 * are not needed stay idle. Called with the lock. */
static struct slot *choose_slot(struct pool *pool)
{
    struct slot *best = NULL;
    for (int i = 0; i < pool->size; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->leased) continue;
        if (best == NULL ||
            (slot->conn != NULL && (best->conn == NULL || slot->last_use > best->last_use)))
            best = slot;
    }
    return best;
}

/* NULL where there is none, because the server is silent or because all are in use. */
static struct slot *take_slot(struct pool *pool, int wait_ms, bool *silent)
{
    const struct timespec deadline = deadline_in(wait_ms > 0 ? wait_ms : 0);
    pthread_mutex_lock(&pool->lock);
    struct slot *slot = choose_slot(pool);
    if (slot == NULL && !pool->silent) {
        int rc = 0;
        pool->waiting++;
        while (!pool->silent && (slot = choose_slot(pool)) == NULL && rc != ETIMEDOUT)
            rc = pthread_cond_timedwait(&pool->freed, &pool->lock, &deadline);
        pool->waiting--;
    }
    *silent = pool->silent;
    if (*silent) slot = NULL;
    if (slot != NULL) {
        slot->leased = true;
        clock_gettime(CLOCK_MONOTONIC, &slot->since);
        slot->last_use = ++pool->leases;
        pool->leased++;
    }
    pthread_mutex_unlock(&pool->lock);
    return slot;
}

/* Gives the slot back with the connection it holds from now on, if any. */
static void give_slot(struct pool *pool, struct slot *slot, PGconn *conn)
{
    if (conn == NULL) set_line(pool, slot, NULL);
    pthread_mutex_lock(&pool->lock);
    slot->conn = conn;
    slot->leased = false;
    pool->leased--;
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

static PGconn *lease(struct pool *pool, int wait_ms, struct error *err)
{
    bool silent;
    struct slot *slot = take_slot(pool, wait_ms, &silent);
    if (slot == NULL && silent) {
        error_set(err, ERR_UNAVAILABLE, NULL, no_answer);
        return NULL;
    }
    if (slot == NULL) {
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "all %d connections to PostgreSQL were in use for %d ms", pool->size, wait_ms);
        return NULL;
    }
    PGconn *conn = slot->conn;
    if (conn != NULL && is_alive(conn)) return conn;

    PGconn *fresh = open_connection(pool, slot, err);
    pthread_mutex_lock(&pool->lock);
    slot->conn = fresh;
    if (fresh != NULL)
        pool->opened++;
    else
        pool->failures++;
    pthread_mutex_unlock(&pool->lock);
    PQfinish(conn);
    if (fresh == NULL) give_slot(pool, slot, NULL);
    return fresh;
}

PGconn *pool_lease(struct pool *pool, int wait_ms, struct error *err)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    PGconn *conn = lease(pool, wait_ms, err);
    clock_gettime(CLOCK_MONOTONIC, &after);
    histogram_observe(&pool->waits, (double)(after.tv_sec - before.tv_sec) +
                                        (double)(after.tv_nsec - before.tv_nsec) / 1e9);
    return conn;
}

PGconn *pool_connect(struct pool *pool, struct error *err)
{
    return open_connection(pool, NULL, err);
}

void pool_release(struct pool *pool, PGconn *conn)
{
    if (conn == NULL) return;
    struct slot *slot = NULL;
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->size; i++)
        if (pool->slots[i].conn == conn) slot = &pool->slots[i];
    pthread_mutex_unlock(&pool->lock);
    if (slot == NULL) return; /* not one of ours: the caller's defect, and nothing to give back */

    if (!make_idle(conn)) {
        PQfinish(conn);
        conn = NULL;
    }
    give_slot(pool, slot, conn);
}

/* ---- A server that hangs ---- */

bool pool_answers(struct pool *pool)
{
    enum { MOST = 64 };
    const char *keywords[MOST], *values[MOST];
    size_t count = 0;
    for (size_t i = 0; pool->keywords[i] != NULL && count < MOST - 2; i++) {
        if (strcmp(pool->keywords[i], "connect_timeout") == 0) continue;
        keywords[count] = pool->keywords[i];
        values[count++] = pool->values[i];
    }
    keywords[count] = "connect_timeout";
    values[count++] = POOL_PING_S;
    keywords[count] = NULL;
    values[count] = NULL;
    const PGPing answer = PQpingParams(keywords, values, 0);
    return answer == PQPING_OK || answer == PQPING_REJECT;
}

int pool_longest_lease(struct pool *pool)
{
    struct timespec now;
    long long longest = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < pool->size; i++) {
        const struct slot *slot = &pool->slots[i];
        if (!slot->leased) continue;
        const long long ms = (long long)(now.tv_sec - slot->since.tv_sec) * 1000 +
                             (now.tv_nsec - slot->since.tv_nsec) / 1000000;
        if (ms > longest) longest = ms;
    }
    pthread_mutex_unlock(&pool->lock);
    return longest < INT_MAX ? (int)longest : INT_MAX;
}

void pool_silence(struct pool *pool, bool silent)
{
    pthread_mutex_lock(&pool->lock);
    pool->silent = silent;
    for (int i = 0; i < pool->size && silent; i++) {
        struct slot *slot = &pool->slots[i];
        if (!slot->leased || slot->line < 0) continue;
        atomic_store(&slot->cut, true);
        shutdown(slot->line, SHUT_RDWR);
    }
    if (silent) pthread_cond_broadcast(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- Life ---- */

/* The arrays that PQconnectdbParams takes: what the string says, then our defaults for the rest. */
static int fill_parameters(struct pool *pool)
{
    size_t count = 0;
    for (PQconninfoOption *option = pool->options; option->keyword != NULL; option++) count++;
    pool->keywords = calloc(count + 1, sizeof(*pool->keywords));
    pool->values = calloc(count + 1, sizeof(*pool->values));
    if (pool->keywords == NULL || pool->values == NULL) return -1;
    size_t used = 0;
    for (PQconninfoOption *option = pool->options; option->keyword != NULL; option++) {
        const char *value = option->val;
        for (size_t i = 0; value == NULL && i < sizeof(defaults) / sizeof(*defaults); i++)
            if (strcmp(option->keyword, defaults[i].keyword) == 0) value = defaults[i].value;
        if (value == NULL) continue;
        pool->keywords[used] = option->keyword;
        pool->values[used++] = value;
    }
    return 0;
}

struct pool *pool_create(const char *conninfo, int size, struct error *err)
{
    if (size < 1 || size > POOL_MAX) {
        error_set(err, ERR_INVALID, "database.pool", "the pool's size must be from 1 to %d",
                  POOL_MAX);
        return NULL;
    }
    PQconninfoOption *options = conninfo_parse(conninfo, err);
    if (options == NULL) return NULL;
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        PQconninfoFree(options);
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    pool->options = options;
    pool->size = size;
    for (int i = 0; i < POOL_MAX; i++) pool->slots[i].line = -1;
    histogram_init(&pool->waits, &histogram_calls);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    cuid_generator_init(&pool->cuids);
    if (fill_parameters(pool) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL) return;
    for (int i = 0; i < pool->size; i++) {
        PQfinish(pool->slots[i].conn);
        if (pool->slots[i].line >= 0) close(pool->slots[i].line);
    }
    PQconninfoFree(pool->options);
    free(pool->keywords);
    free(pool->values);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void pool_get_stats(struct pool *pool, struct pool_stats *stats)
{
    pthread_mutex_lock(&pool->lock);
    *stats = (struct pool_stats){.size = pool->size,
                                 .leased = pool->leased,
                                 .waiting = pool->waiting,
                                 .leases = pool->leases,
                                 .opened = pool->opened,
                                 .failures = pool->failures};
    for (int i = 0; i < pool->size; i++)
        if (pool->slots[i].conn != NULL) stats->open++;
    pthread_mutex_unlock(&pool->lock);
}

const struct histogram *pool_waits(const struct pool *pool)
{
    return &pool->waits;
}

void pool_cuid(struct pool *pool, char out[CUID_SIZE])
{
    cuid_generate(&pool->cuids, out);
}
