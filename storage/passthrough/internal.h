/*
 * internal.h: the pass-through, for the files that it is made of.
 *
 * Everything here belongs to the loop's thread, but for the atomic figures, the cancels (cancel.c)
 * and the answers (answer.c), which have locks. A client or backend that is closed in the middle of
 * something stays in memory, closed, until the next event (hub_bury), so that whoever was at work
 * on it can see that.
 */
#ifndef STORAGE_PASSTHROUGH_INTERNAL_H
#define STORAGE_PASSTHROUGH_INTERNAL_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/passthrough/channel.h"
#include "storage/passthrough/identity.h"
#include "storage/passthrough/passthrough.h"
#include "storage/passthrough/prepared.h"
#include "storage/passthrough/profile.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
    READ_ROOM = 64 << 10,   /* what is read at once */
    GATHER_MOST = 1 << 20,  /* the longest message that has to be seen whole */
    LOOK_MOST = 64 << 10,   /* statements up to this long are looked at */
    NAME_MOST = 1 << 10,    /* the longest name of a statement or portal */
    EXPECT_MOST = 32 << 10, /* pipelined messages; a client that sends more is read later */
    STARTUP_S = 15,         /* for a client to log in */
    CONNECT_S = 10,         /* for a server connection to open */
    DRAIN_S = 5,            /* for a server connection to get rid of what a client left */
    SURVEY_S = 10,
    STALL_S = 30, /* a client that takes nothing for so long while others wait is cut off */
    IDLE_S = 300, /* unused server connections are closed after that */
    PARAMETERS_MOST = 32,
};

struct backend;
struct client;
TAILQ_HEAD(client_list, client);
TAILQ_HEAD(backend_list, backend);

/* ---- Roles ---- */

struct role_counters {
    _Atomic int clients, connections, leased, waiting, pinned, pins[PINS];
    _Atomic uint64_t leases, transactions, waits, wait_us, timeouts, opened, lost, received, sent;
    _Atomic uint64_t pinned_total[PINS];
};

struct role {
    const char *name;
    struct allowed allowed;
    PQconninfoOption *conninfo; /* of its connections, user and all */
    struct role_counters counters;
    int connections;            /* to the server, being opened or open */
    bool sequences;             /* its clients ask what sequences gave their sessions */
    double failed_at;           /* when opening one failed last, 0 for never; then why: */
    struct buffer failure;      /* an ErrorResponse */
    struct client_list waiting; /* in the order in which they came */
};

#define COUNT(role, what, by)                                                                      \
    atomic_fetch_add_explicit(&(role)->counters.what, (by), memory_order_relaxed)

/* ---- What a server says of itself ---- */

struct parameters {
    size_t count;
    struct {
        char *name, *value;
    } list[PARAMETERS_MOST];
};
void parameters_set(struct parameters *parameters, const char *name, const char *value);
const char *parameters_get(const struct parameters *parameters, const char *name);
void parameters_free(struct parameters *parameters);

/* ---- Server connections ---- */

/* What has been sent to a server and is to be answered, as far as the answer matters here. */
enum expected {
    EXPECT_READY,    /* ReadyForQuery, to a Query or FunctionCall */
    EXPECT_SYNC,     /* ReadyForQuery, to a Sync */
    EXPECT_PARSE,    /* ParseComplete */
    EXPECT_CLOSE,    /* CloseComplete */
    EXPECT_COPY_END, /* nothing: CopyDone or CopyFail went here */
};
enum answered {
    ANSWER_PASSES,
    ANSWER_STAYS,  /* nobody asked for it but the pass-through */
    ANSWER_PARSES, /* a CloseComplete that the client gets as ParseComplete */
};
struct expectation {
    enum expected kind;
    enum answered answer;
    struct statement *statement; /* that was prepared or closed, used; or NULL */
    bool named;                  /* one of the client's names comes or goes with it */
    bool evicted;                /* the server had too many */
    bool unnamed;                /* the client's unnamed statement */
};

enum backend_state {
    BACKEND_CONNECTING,
    BACKEND_IDLE,
    BACKEND_LEASED,  /* to backend->client */
    BACKEND_ERRAND,  /* runs statements of the pass-through's own */
    BACKEND_DRAINING /* gets rid of what a client that is gone has left */
};

/* Statements of the pass-through's own, between leases. */
enum errand {
    ERRAND_NONE,
    ERRAND_PROFILE,  /* brings the session to the profile of the client that waits for it */
    ERRAND_QUESTION, /* what there is in the session, of its client's */
    ERRAND_SURVEY,   /* whether the database has code that may leave something unseen */
    ERRAND_ROLLBACK, /* of what a client that is gone had begun */
    ERRAND_CLEAN,    /* DISCARD ALL */
};

struct backend {
    TAILQ_ENTRY(backend) link; /* in hub->backends */
    TAILQ_ENTRY(backend) idle; /* in hub->idle while BACKEND_IDLE, the last used first */
    struct passthrough *hub;
    struct role *role;
    enum backend_state state;
    PGconn *conn;
    struct channel channel;
    double since; /* when the state began */
    bool closed;
    bool writing; /* the relay has noted more than it has sent */
    struct client *client;
    struct profile *profile; /* NULL: not known any more */
    struct profile *next_profile;
    struct parameters parameters, defaults; /* now; and in the plain profile */
    bool reported;                          /* a parameter changed during this lease */
    int look;                               /* what look() found in the statements of this lease */
    bool answered;                          /* there was a ReadyForQuery since the state began */
    bool transacted;                        /* there was a transaction block in this lease */
    bool failed;                            /* there was an error in it */
    int readies;                            /* ReadyForQuery in this lease */
    bool discarded;                         /* there was a DISCARD ALL in it */
    bool left_pinned;                       /* by a client that is gone */
    bool foreign; /* somebody else had it before, and may have used sequences */
    uint32_t last_client;
    bool begun;      /* something has gone to it in this lease */
    int own_answers; /* ReadyForQuery to come that are not for the client */
    bool told_fatal; /* the client has been told why the connection ends */

    char status;                  /* of the last ReadyForQuery */
    bool unsynced;                /* messages went out after the last Sync */
    bool copying;                 /* COPY FROM STDIN waits for data: Syncs are ignored */
    size_t sending;               /* bytes of a client's message that are still to go out */
    struct expectation *expected; /* a ring */
    size_t expected_first, expected_count, expected_room;

    char *held; /* the beginning of a message that came in part */
    size_t held_length, held_room;
    size_t passing;     /* bytes of a message from the server that go on unseen */
    bool passing_drops; /* or are dropped */

    enum errand errand;
    bool errand_ended;
    struct client *errand_for;
    struct buffer errand_error; /* an ErrorResponse */
    struct buffer errand_row;   /* the body of the last DataRow */
    struct prepared prepared;
    struct statement *bound; /* the last that was named to the server; only compared */
    int cancels;             /* cancel requests on their way to it */
};

/* ---- Clients ---- */

enum client_state {
    CLIENT_STARTING, /* no StartupMessage yet */
    CLIENT_LOGIN,    /* waits for what the server says of itself */
    CLIENT_READY,
    CLIENT_INDEX /* of PASSTHROUGH_INDEX */
};

struct client {
    TAILQ_ENTRY(client) link;   /* in hub->clients */
    TAILQ_ENTRY(client) starts; /* in hub->starting until it is logged in */
    TAILQ_ENTRY(client) queue;  /* in role->waiting */
    TAILQ_ENTRY(client) same;   /* in hub->by_id once it has an id of a role's client */
    struct passthrough *hub;
    struct channel channel;
    enum client_state state;
    struct peer peer;
    struct role *role;
    struct profile *profile; /* as its settings are now */
    struct profile *initial; /* as they were at its start */
    uint32_t id, secret;     /* of its cancel requests */
    double since;            /* it is starting, or waits, or has taken nothing */
    uint64_t order;          /* in the queues of all roles; 0: in none */
    double waits_since;
    bool waiting, closed;
    bool busy;                 /* what it sent is being looked at */
    bool gathering;            /* more of a message is needed before it can go on */
    struct backend *preparing; /* is brought to the profile for it */
    struct backend *backend;   /* that it has leased */

    char *held; /* what was received and could not go on yet */
    size_t held_length, held_room;
    size_t dropping; /* bytes of a message that are to be dropped */

    bool password_wanted;              /* it was asked for that of PASSTHROUGH_INDEX */
    struct passthrough_answer *answer; /* that is out, of PASSTHROUGH_INDEX */
    bool skipping;                     /* until the next Sync, after an error */
    int pins;                          /* a bit for each reason */
    struct names names;
    char *unnamed; /* its unnamed statement, the body of Parse behind the name; or NULL */
    size_t unnamed_length, unnamed_room;
    bool unnamed_long; /* it is too long to be remembered */
    bool custom;       /* it has set what the server does not list */
    bool direct;       /* its statements have their own names on the server, for SQL to use */
    bool unnamed_here; /* the leased server's unnamed statement is as the client expects */
};

/* ---- The whole ---- */

struct passthrough {
    struct passthrough_options options;
    struct role roles[PASSTHROUGH_ROLES];
    struct allowed index_allowed;
    char *database;
    struct event_base *base;
    struct event *listening, *wake, *tick;
    pthread_t thread;
    _Atomic bool begun, stopping;
    _Atomic bool awake; /* it has come round since somebody looked */
    bool joined, started;

    struct client_list clients, starting;
    struct client_list by_id[1024];
    struct client_list buried;
    int client_count;
    struct backend_list backends, idle, buried_backends;
    int backend_count, waiting_count;
    uint64_t next_order;
    uint32_t next_id;
    struct profiles profiles;
    struct profile *plain; /* with no settings */
    bool serving, serve_again;
    bool strict; /* triggers and views may leave something: every lease ends with a question */
    bool leased_since; /* the last survey */
    double surveyed_at;
    struct statements statements;

    char *room;             /* READ_ROOM bytes to read into */
    struct buffer up, down; /* what goes to a server, to a client */

    _Atomic int figure_clients, figure_connections;
    _Atomic uint64_t figure_refused;
    struct histogram waits; /* of the leases */

    struct canceler *canceler;
    struct answers *answers;
};

#define COUNT_REFUSED(hub)                                                                         \
    atomic_fetch_add_explicit(&(hub)->figure_refused, 1, memory_order_relaxed)

double hub_now(void);

/* Releases what was closed; every event begins with it. */
void hub_bury(struct passthrough *hub);

/* ---- startup.c ---- */

/* Reads what a client that is starting has sent; returns how much of it was used. */
size_t startup_read(struct client *client, const char *data, size_t length);

/* Logs the client in with what the server says of itself. */
void startup_welcome(struct client *client, const struct parameters *parameters);

/* ---- client.c ---- */

void client_accept(struct passthrough *hub, int fd);

/* Goes on with what was received and held, after a lease or a backlog. */
void client_go_on(struct client *client);

/* Tells it why, as FATAL, and ends it. */
void client_fail(struct client *client, const char *sqlstate, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void client_fail_with(struct client *client, const struct buffer *error); /* an ErrorResponse */

/* Ends it; what it had leased is cleaned. */
void client_close(struct client *client);

/* Drops what is left to be dropped of the next `length` bytes that it sent; returns how many. */
static inline size_t client_drop(struct client *client, size_t length)
{
    const size_t some = length < client->dropping ? length : client->dropping;
    client->dropping -= some;
    return some;
}

void client_release(struct client *client); /* frees its memory, by hub_bury */

void client_forget_unnamed(struct client *client);
void client_update_reading(struct client *client);
void client_send(struct client *client, const struct buffer *out);

/* ---- relay_up.c, relay_down.c ---- */

/* Passes a client's messages on to its server; returns how much was used. */
size_t relay_up(struct client *client, const char *data, size_t length);

/* Passes a server's messages on to its client. Returns how much was used. */
size_t relay_down(struct backend *backend, const char *data, size_t length);

/* ---- backend.c ---- */

struct backend *backend_open(struct passthrough *hub, struct role *role);
void backend_close(struct backend *backend, const char *why);
void backend_release(struct backend *backend); /* frees its memory, by hub_bury */
void backend_set(struct backend *backend, enum backend_state state);
bool backend_is_alive(struct backend *backend);
void backend_update_reading(struct backend *backend);
void backend_expect(struct backend *backend, const struct expectation *expectation);
struct expectation *backend_expected(struct backend *backend, size_t at); /* 0: the next */
void backend_met(struct backend *backend, size_t at);                     /* removes it */
void backend_run(struct backend *backend, enum errand errand, const char *sql);

/* ---- lease.c ---- */

/* Leases a connection to the client, now or, in its turn, later (client_go_on, startup_welcome). */
void lease_request(struct client *client);
void lease_forget(struct client *client); /* it waits no longer */

void lease_again(struct client *client);   /* the connection it was to get is gone */
void lease_fresh(struct backend *backend); /* goes to its role's first client, or is idle */
void lease_connected(struct backend *backend);
/* There is one connection less: opens one where somebody waits for it. */
void lease_serve(struct passthrough *hub);
void lease_tick(struct passthrough *hub, double now);
void lease_give(struct backend *backend, struct client *client, bool go_on);

/* The connection is as clean as a new one: others may have it. */
void lease_rest(struct backend *backend);

/* ---- session.c ---- */

/* The server has nothing more to do for the client, and no transaction is open. */
void session_ended(struct backend *backend);

/* The client of a lease is gone; then all that it had sent has been answered. */
void session_abandoned(struct backend *backend, bool pinned);
void session_drained(struct backend *backend);

/* Looks for code in the database that may leave something in a session without being named. */
void session_survey(struct backend *backend);

void session_errand_done(struct backend *backend);
void session_set_pins(struct client *client, int pins);

/* ---- cancel.c ---- */

struct canceler *canceler_create(struct passthrough *hub, struct error *err);
void canceler_stop(struct canceler *canceler);
void canceler_free(struct canceler *canceler);

/* A client's CancelRequest. */
void cancel_request(struct passthrough *hub, uint32_t id, uint32_t secret);
void cancel_backend(struct backend *backend);
void cancel_collect(struct passthrough *hub); /* by the loop, when woken */
void cancel_detach(struct backend *backend);  /* it is being freed */

/* ---- answer.c ---- */

struct answers *answers_create(struct passthrough *hub);
void answers_stop(struct answers *answers); /* no answer is sent any more */
void answers_free(struct answers *answers);
size_t answer_read(struct client *client, const char *data, size_t length);
void answer_collect(struct passthrough *hub);
void answer_detach(struct client *client);

#endif
