/*
 * claims.h: what only one of several daemons on a database may do at a time: the syncs of the
 * schedule (by the one that leads), and the sync of each repository.
 *
 * A claim is an advisory lock of PostgreSQL's on a session of its own, so that it ends with the
 * daemon that holds it, however that ends. A thread keeps the session: it speaks every few seconds,
 * opens it anew when it is lost, and tries to lead while nobody does. A server that hears nothing
 * for 13 s ends the session (idle_session_timeout, from PostgreSQL 14 on; TCP keepalives notice a
 * machine that is gone with any version), and a daemon that has heard nothing for 8 s counts
 * itself as without claims. One that follows another waits for as long before it leads. So there
 * are never two that lead, and one that stops, hangs or loses its power is replaced within 30 s.
 *
 * The session needs a server process of its own: a pooler between the two must not be one that
 * gives it to others after each transaction. All functions may be called from any thread.
 */
#ifndef STORAGE_CLAIMS_H
#define STORAGE_CLAIMS_H

#include "storage/pool.h"

#include <stdbool.h>

struct claims;

/* lost(arg) is called by the thread each time that the session is lost, and with it every claim; it
 * must not call anything of this file. Waits for no connection. The pool must outlive it. Errors:
 * ERR_INTERNAL. */
struct claims *claims_create(struct pool *pool, void (*lost)(void *arg), void *arg,
                             struct error *err);

/* Gives up every claim. NULL is allowed. */
void claims_free(struct claims *claims);

/* Whether this daemon leads. */
bool claims_lead(struct claims *claims);

/* A repository's claim; {0} is none. */
struct claim {
    unsigned long long session; /* the number of the session that it was taken on */
};

/* Takes the claim of a repository; waits a little where the session is being opened. A daemon must
 * not take what it holds. Errors: ERR_CONFLICT (field "repository") where another daemon has it;
 * ERR_UNAVAILABLE. */
int claims_take(struct claims *claims, const char *source, const char *repository,
                struct claim *claim, struct error *err);

/* Whether it has not been lost. */
bool claims_hold(struct claims *claims, const struct claim *claim);

/* Gives it up, where it has not been lost. */
void claims_drop(struct claims *claims, const char *source, const char *repository,
                 struct claim *claim);

/* The SQL expression of the number that the repository of the row r is claimed by. */
#define CLAIM_NUMBER(r)                                                                            \
    "hashtextextended(" r ".\"source\" || E'\\n' || " r ".\"repository\", 32762643847541860)"

#endif
