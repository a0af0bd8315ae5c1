/*
 * passthrough.h: the PostgreSQL socket of the daemon, RUN/.s.PGSQL.5432.
 *
 * Clients speak PostgreSQL's protocol version 3. What they send reaches PostgreSQL as they sent it,
 * and the answer comes back as PostgreSQL gave it, but over few server connections: each is leased
 * to a client for a transaction. README.md beside this says how; the rest of the directory is
 * private to it.
 *
 * One thread runs everything. The functions here may be called from any thread.
 */
#ifndef STORAGE_PASSTHROUGH_PASSTHROUGH_H
#define STORAGE_PASSTHROUGH_PASSTHROUGH_H

#include "storage/base/error.h"
#include "storage/base/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PASSTHROUGH_SOCKET ".s.PGSQL.5432"
#define PASSTHROUGH_INDEX "tekupdb_index" /* the database that `query` answers for */

enum { PASSTHROUGH_ROLES = 6 }; /* those of roles.h, in their order */

struct passthrough;

/* ---- Queries that this process answers ----
 *
 * A client that names PASSTHROUGH_INDEX as its database is not relayed: the text of each simple
 * Query is given to a function. Whoever knows the password may, whatever user he is and calls
 * himself; where there is none, root, the daemon's own user and `index_uid` may. */

struct passthrough_answer;

/* Called on the pass-through's thread, so it must not wait: it answers at once, or keeps the answer
 * and goes on from another thread. Either way it calls passthrough_answer_end exactly once. text is
 * NUL-terminated and lives as long as the answer. */
typedef void passthrough_query(void *arg, struct passthrough_answer *answer, const char *text);

struct passthrough_column {
    const char *name;
    uint32_t type; /* pg_type's oid: 25 text, 20 int8, 701 float8, 700 float4 */
};

/* One thread at a time. In this order: columns, rows and complete, or, at any point, error. Values
 * are in PostgreSQL's text format; NULL is NULL. */
void passthrough_answer_columns(struct passthrough_answer *answer,
                                const struct passthrough_column *columns, size_t count);
void passthrough_answer_row(struct passthrough_answer *answer, const char *const *values,
                            size_t count);
void passthrough_answer_complete(struct passthrough_answer *answer, const char *tag);
void passthrough_answer_error(struct passthrough_answer *answer, const char *sqlstate,
                              const char *message);

/* Sends what was put together, to a client that may be gone by now, and releases the answer. */
void passthrough_answer_end(struct passthrough_answer *answer);

/* ---- Its life ---- */

struct passthrough_options {
    int fd;               /* listening, non-blocking; stays the caller's */
    const char *conninfo; /* anything libpq takes; its user and password are replaced */
    int connection_limit; /* server connections, at most */
    int clients;          /* at most */
    int wait_s;           /* a client waits so long for a server connection */
    /* Who may be each role beside root and the daemon's own user: "user, @group, ..."; NULL and ""
     * are nobody. */
    const char *allow[PASSTHROUGH_ROLES];
    /* The connection string of a role where it is not conninfo with the role's name; or NULL. */
    const char *urls[PASSTHROUGH_ROLES];
    uid_t index_uid; /* who may ask PASSTHROUGH_INDEX beside root and the daemon's own user */
    passthrough_query *query;
    /* Whether this is the password of PASSTHROUGH_INDEX, on the pass-through's thread; or NULL. */
    bool (*password)(void *arg, const char *password);
    void *arg;
};

/* Starts to take clients. The strings are copied; query is called until passthrough_stop returns.
 * Errors: ERR_INVALID (a user or group that does not exist, a connection string that is none),
 * ERR_INTERNAL. */
struct passthrough *passthrough_create(const struct passthrough_options *options,
                                       struct error *err);

/* From now on clients may log in; until then they are told that the server is starting (57P03). */
void passthrough_begin(struct passthrough *passthrough);

/* Whether its thread has come round since this was asked last, which it does several times a
 * second; for a watchdog, by one thread. */
bool passthrough_is_alive(struct passthrough *passthrough);

/* Ends every connection, clients first being told, and joins the thread. Answers that are still
 * out go nowhere. NULL is allowed. */
void passthrough_stop(struct passthrough *passthrough);

/* No answer may be out any more. Stops it where that has not been done. NULL is allowed. */
void passthrough_free(struct passthrough *passthrough);

/* ---- Figures ---- */

/* Why a client keeps its server connection between transactions. */
enum passthrough_pin {
    PIN_LISTEN,
    PIN_TEMPORARY, /* tables and other objects of the session's own */
    PIN_SETTING,   /* SET, for the session */
    PIN_ADVISORY,  /* advisory locks, for the session */
    PIN_CURSOR,    /* WITH HOLD */
    PIN_PREPARE,   /* PREPARE, in SQL */
    PIN_STATEMENT, /* an unnamed statement too long to be remembered */
    PINS
};
extern const char *const passthrough_pin_names[PINS];

struct passthrough_role_figures {
    const char *name;
    int clients;     /* logged in */
    int connections; /* to the server, open or being opened */
    int leased;      /* of them */
    int waiting;     /* clients that wait for one */
    int pinned;      /* clients that keep theirs */
    int pins[PINS];  /* of them, for this reason; there may be several */
    uint64_t leases, transactions;
    uint64_t waits, wait_us; /* leases that had to be waited for, and how long in all */
    uint64_t timeouts;       /* clients that waited in vain */
    uint64_t opened;         /* server connections */
    uint64_t lost;           /* of them, while a client had it */
    uint64_t pinned_total[PINS];
    uint64_t received, sent; /* bytes from and to clients */
};

struct passthrough_figures {
    int clients; /* all, logged in or not */
    int client_limit;
    int connections, connection_limit;
    uint64_t refused; /* clients: who may not, too many, not the protocol */
    struct passthrough_role_figures roles[PASSTHROUGH_ROLES];
};

void passthrough_get_figures(struct passthrough *passthrough, struct passthrough_figures *figures);

/* How long clients waited for their leases, in all roles. As old as the pass-through. */
const struct histogram *passthrough_waits(const struct passthrough *passthrough);

#endif
