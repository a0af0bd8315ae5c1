/*
 * Locks. `use` is held by whoever speaks on the session, for at most ANSWER_MS, and protects conn,
 * broken and stopping; only the thread opens and closes the session. `state` protects what the
 * others ask without waiting: session, leads and heard_s. Order: `use`, then `state`.
 *
 * Time is CLOCK_BOOTTIME, which goes on while a machine sleeps.
 */
#include "storage/claims.h"

#include "storage/base/log.h"
#include "storage/sql.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* What is not answered is noticed before the validity ends (BEAT_MS + ANSWER_MS), and that ends
 * before the server gives up a session of which it hears nothing. The worst that can come to pass
 * is 13 s of silence, a beat, and the wait of the one that follows: 23 s. */
enum { BEAT_MS = 2000, ANSWER_MS = 4000, OPENING_MS = 5000 };
static const double VALID_S = 8;
static const char silence[] = "SET idle_session_timeout TO '13s'";

enum { RETRY_LEAST_MS = 200, RETRY_MOST_MS = 4000 };

/* "tekupdb" in ASCII, plus one; migrate.c uses the number itself. */
#define LEADER "32762643847541859"

struct claims {
    struct pool *pool;
    void (*lost)(void *arg);
    void *arg;
    pthread_t thread;
    int wake; /* an eventfd */

    pthread_mutex_t use;
    pthread_cond_t opened;
    PGconn *conn; /* NULL where none is open */
    bool broken;  /* to be closed */
    bool stopping;

    pthread_mutex_t state;
    unsigned long long session; /* counts them; 0 before the first */
    bool leads;
    bool denied;         /* somebody else has been leading since this daemon did */
    double leads_from_s; /* by when that one knows that it does not lead any more */
    double heard_s;      /* when the last thing that was answered was asked; 0 without a session */
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void wake_thread(const struct claims *claims)
{
    const uint64_t one = 1;
    (void)!write(claims->wake, &one, sizeof(one));
}

/* ---- State ----------------------------------------------------------------------------------- */

static bool is_valid(const struct claims *claims)
{
    return now_s() < claims->heard_s + VALID_S;
}

bool claims_lead(struct claims *claims)
{
    pthread_mutex_lock(&claims->state);
    const bool leads = claims->leads && is_valid(claims) && now_s() >= claims->leads_from_s;
    pthread_mutex_unlock(&claims->state);
    return leads;
}

bool claims_hold(struct claims *claims, const struct claim *claim)
{
    pthread_mutex_lock(&claims->state);
    const bool holds = claim->session != 0 && claim->session == claims->session && is_valid(claims);
    pthread_mutex_unlock(&claims->state);
    return holds;
}

static void set_heard(struct claims *claims, double asked_s)
{
    pthread_mutex_lock(&claims->state);
    claims->heard_s = asked_s;
    pthread_mutex_unlock(&claims->state);
}

/* ---- Speaking, with `use` held --------------------------------------------------------------- */

/* Waits for the answer to what was sent. */
static PGresult *receive(PGconn *conn, double until_s)
{
    PGresult *result = NULL;
    for (;;) {
        while (!PQisBusy(conn)) {
            PGresult *next = PQgetResult(conn);
            if (next == NULL) return result;
            PQclear(result);
            result = next;
        }
        const double left_s = until_s - now_s();
        struct pollfd socket = {.fd = PQsocket(conn), .events = POLLIN};
        const int ready = left_s > 0 ? poll(&socket, 1, (int)(left_s * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0 || !PQconsumeInput(conn)) break;
    }
    PQclear(result);
    return NULL;
}

/* The truth of a statement that answers with one boolean: 0 or 1, or -1, which ends the session. */
static int ask(struct claims *claims, const char *statement, const struct sql *sql,
               struct error *err)
{
    static const struct sql none;
    PGconn *conn = claims->conn;
    const double asked_s = now_s();
    PGresult *result = NULL;
    int answer = -1;
    if (sql == NULL) sql = &none;
    if (PQsendQueryParams(conn, statement, sql->count, sql->types, sql->values, sql->lengths,
                          sql->formats, 1))
        result = receive(conn, asked_s + ANSWER_MS / 1e3);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        answer = sql_get_bool(result, 0, 0);
        set_heard(claims, asked_s);
    } else if (result != NULL || PQstatus(conn) != CONNECTION_OK) {
        pool_error(conn, result, err);
    } else {
        error_set(err, ERR_UNAVAILABLE, NULL, "PostgreSQL did not answer within %d s",
                  ANSWER_MS / 1000);
    }
    PQclear(result);
    if (answer < 0) {
        claims->broken = true;
        wake_thread(claims);
    }
    return answer;
}

static struct sql of_repository(const char *source, const char *repository)
{
    struct sql sql = {0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    return sql;
}

#define OF_REPOSITORY                                                                              \
    CLAIM_NUMBER("r") ") FROM (SELECT $1 AS \"source\", $2 AS \"repository\") AS r"

/* Whether there is a session, after waiting for one for a while. */
static bool wait_open(struct claims *claims)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += OPENING_MS / 1000;
    while ((claims->conn == NULL || claims->broken) && !claims->stopping &&
           pthread_cond_timedwait(&claims->opened, &claims->use, &end) == 0) {
    }
    return claims->conn != NULL && !claims->broken && !claims->stopping;
}

int claims_take(struct claims *claims, const char *source, const char *repository,
                struct claim *claim, struct error *err)
{
    const struct sql sql = of_repository(source, repository);
    int taken = -1;
    *claim = (struct claim){0};
    pthread_mutex_lock(&claims->use);
    if (wait_open(claims)) {
        taken = ask(claims, "SELECT pg_try_advisory_lock(" OF_REPOSITORY, &sql, err);
        /* Nobody but the thread changes it, and it needs `use` for that. */
        if (taken == 1) claim->session = claims->session;
    } else {
        error_set(err, ERR_UNAVAILABLE, NULL,
                  "the database cannot be asked whether another daemon syncs this repository");
    }
    pthread_mutex_unlock(&claims->use);
    if (taken != 0) return taken < 0 ? -1 : 0;
    return error_set(err, ERR_CONFLICT, "repository",
                     "another daemon is syncing %s %s, or is about to", source, repository);
}

void claims_drop(struct claims *claims, const char *source, const char *repository,
                 struct claim *claim)
{
    const struct sql sql = of_repository(source, repository);
    pthread_mutex_lock(&claims->use);
    if (claim->session != 0 && claim->session == claims->session && claims->conn != NULL &&
        !claims->broken)
        ask(claims, "SELECT pg_advisory_unlock(" OF_REPOSITORY, &sql, NULL);
    pthread_mutex_unlock(&claims->use);
    *claim = (struct claim){0};
}

/* ---- The thread ------------------------------------------------------------------------------ */

/* What the server does for us where nobody is at our end any more. */
static int set_up(PGconn *conn, struct error *err)
{
    if (sql_run(conn,
                "SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 3;"
                "SET tcp_keepalives_count TO 3; SET application_name TO 'tekupd claims'",
                err) != 0)
        return -1;
    if (PQserverVersion(conn) < 140000) return 0;
    return sql_run(conn, silence, err);
}

static void open_session(struct claims *claims, struct error *err)
{
    PGconn *conn = pool_connect(claims->pool, err);
    if (conn != NULL && set_up(conn, err) != 0) {
        PQfinish(conn);
        conn = NULL;
    }
    if (conn == NULL) return;
    pthread_mutex_lock(&claims->use);
    claims->conn = conn;
    claims->broken = false;
    pthread_mutex_lock(&claims->state);
    claims->session++;
    pthread_mutex_unlock(&claims->state);
    pthread_cond_broadcast(&claims->opened);
    pthread_mutex_unlock(&claims->use);
}

/* With it goes every claim. */
static void close_session(struct claims *claims, const char *reason)
{
    pthread_mutex_lock(&claims->use);
    PGconn *conn = claims->conn;
    claims->conn = NULL;
    pthread_mutex_lock(&claims->state);
    const bool led = claims->leads;
    claims->leads = false;
    claims->heard_s = 0;
    claims->session++; /* nobody's claim is of this one */
    pthread_mutex_unlock(&claims->state);
    pthread_mutex_unlock(&claims->use);
    if (conn == NULL) return;
    claims->lost(claims->arg);
    PQfinish(conn);
    if (led) log_info("leader.lost", "reason=%s", log_quote(reason));
}

/* What the server said of leading. Who led before may not have heard yet that its session has
 * ended, and is waited for. */
static void set_leads(struct claims *claims, bool leads)
{
    pthread_mutex_lock(&claims->state);
    if (leads && claims->denied) claims->leads_from_s = now_s() + VALID_S;
    claims->denied = !leads;
    claims->leads = leads;
    pthread_mutex_unlock(&claims->state);
    if (leads) log_info("leader.elected", "pid=%ld", (long)getpid());
}

/* Speaks, and leads where nobody does. Returns -1 when the session is lost. */
static int beat(struct claims *claims, struct error *err)
{
    pthread_mutex_lock(&claims->use);
    pthread_mutex_lock(&claims->state);
    const bool led = claims->leads;
    pthread_mutex_unlock(&claims->state);
    int answer = -1;
    if (!claims->broken)
        answer =
            ask(claims, led ? "SELECT true" : "SELECT pg_try_advisory_lock(" LEADER ")", NULL, err);
    else
        error_set(err, ERR_UNAVAILABLE, NULL, "the session for claims is lost");
    if (answer >= 0 && !led) set_leads(claims, answer == 1);
    pthread_mutex_unlock(&claims->use);
    return answer < 0 ? -1 : 0;
}

static bool is_stopping(struct claims *claims)
{
    pthread_mutex_lock(&claims->use);
    const bool stopping = claims->stopping;
    pthread_mutex_unlock(&claims->use);
    return stopping;
}

/* Until the time has passed, somebody wakes the thread, or the server says something: it does so
 * unasked only to say that it goes away. */
static void wait_for(struct claims *claims, int ms)
{
    uint64_t count;
    pthread_mutex_lock(&claims->use);
    struct pollfd fds[2] = {{.fd = claims->wake, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    if (claims->conn != NULL && !claims->broken) fds[1].fd = PQsocket(claims->conn);
    pthread_mutex_unlock(&claims->use);
    poll(fds, 2, ms);
    if ((fds[0].revents & POLLIN) != 0) (void)!read(claims->wake, &count, sizeof(count));
}

/* A little more or less, so that many daemons do not come back at once. */
static int jitter(unsigned *seed, int ms)
{
    *seed = *seed * 1103515245U + 12345U;
    return ms / 2 + (int)((*seed >> 8) % (unsigned)ms);
}

static void *run(void *arg)
{
    struct claims *claims = arg;
    int retry_ms = RETRY_LEAST_MS;
    unsigned seed = (unsigned)getpid() ^ (unsigned)time(NULL);
    while (!is_stopping(claims)) {
        struct error err = {0};
        if (claims->conn == NULL) open_session(claims, &err); /* only this thread changes it */
        if (claims->conn != NULL && beat(claims, &err) != 0) close_session(claims, err.message);
        if (claims->conn != NULL) {
            retry_ms = RETRY_LEAST_MS;
            wait_for(claims, BEAT_MS);
            continue;
        }
        log_debug("claims.away", "error=%s", log_quote(err.message));
        wait_for(claims, jitter(&seed, retry_ms));
        retry_ms = retry_ms * 2 < RETRY_MOST_MS ? retry_ms * 2 : RETRY_MOST_MS;
    }
    close_session(claims, "tekupd stops");
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct claims *claims_create(struct pool *pool, void (*lost)(void *arg), void *arg,
                             struct error *err)
{
    struct claims *claims = calloc(1, sizeof(*claims));
    if (claims == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    claims->pool = pool;
    claims->lost = lost;
    claims->arg = arg;
    pthread_mutex_init(&claims->use, NULL);
    pthread_mutex_init(&claims->state, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&claims->opened, &monotonic);
    pthread_condattr_destroy(&monotonic);
    claims->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (claims->wake < 0 || pthread_create(&claims->thread, NULL, run, claims) != 0) {
        error_set(err, ERR_INTERNAL, NULL, "a thread for claims cannot be started");
        if (claims->wake >= 0) close(claims->wake);
        claims->wake = -1;
        claims_free(claims);
        return NULL;
    }
    pthread_setname_np(claims->thread, "tekupd-claims");
    return claims;
}

void claims_free(struct claims *claims)
{
    if (claims == NULL) return;
    if (claims->wake >= 0) {
        pthread_mutex_lock(&claims->use);
        claims->stopping = true;
        pthread_cond_broadcast(&claims->opened);
        pthread_mutex_unlock(&claims->use);
        wake_thread(claims);
        pthread_join(claims->thread, NULL);
        close(claims->wake);
    }
    pthread_cond_destroy(&claims->opened);
    pthread_mutex_destroy(&claims->state);
    pthread_mutex_destroy(&claims->use);
    free(claims);
}
