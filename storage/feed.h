/*
 * feed.h: the change feed of the vault: who follows it, what there is to read, and how far it may
 * be trimmed. storage/migrations/0009_feed.sql is its table and the triggers that fill it.
 *
 * POSITIONS. A change becomes visible when its transaction commits, not when it gets its number, so
 * that no number says how far somebody has read. A position is instead a PostgreSQL snapshot
 * ("730:735:731,733", the form of pg_current_snapshot()): the changes of the transactions that it
 * saw as committed have been read. Reading from one snapshot to a later one gives every committed
 * change exactly once, and waits for nobody: a transaction that stays open for hours, here or
 * elsewhere on the server, holds back its own changes only. (The idea is that of PgQ, of Skytools.)
 *
 * Within a reading, changes are in the order of their numbers: of two that concern the same row the
 * later one has the larger number, because it waited for the other's transaction.
 *
 * All functions work on one connection, outside a transaction but between feed_begin and feed_end.
 */
#ifndef STORAGE_FEED_H
#define STORAGE_FEED_H

#include "storage/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_CHANNEL "tekupdb_change" /* of LISTEN and NOTIFY */

enum { FEED_IDENTITY_SIZE = 128, FEED_FOLLOWER_SIZE = 64 };

/* Which feed the connection leads to: cluster, its timeline (another one after a promotion or a
 * restored backup), database and feed. Positions mean nothing in another one. */
int feed_identify(PGconn *conn, char identity[FEED_IDENTITY_SIZE], struct error *err);

/* Where the feed ends now: the caller's to free. */
int feed_now(PGconn *conn, char **position, struct error *err);

/* Whether text has the form of a position. */
bool feed_position_valid(const char *text);

/* Whether everything after the position is still there (1), or has been trimmed or was never in it
 * (0). A position that is ahead of the database, as after a restored backup, is 0 too. -1 on
 * failure. */
int feed_reaches_back(PGconn *conn, const char *position, struct error *err);

/* ---- Reading ---- */

enum feed_object { FEED_DOCUMENT = 'd', FEED_EMBEDDING = 'e', FEED_SYNC_STATUS = 's' };
enum feed_action { FEED_INSERT = 'i', FEED_UPDATE = 'u', FEED_DELETE = 'd', FEED_TRUNCATE = 't' };

/* Strings are NULL where they do not apply: all of them for a TRUNCATE. */
struct feed_change {
    int64_t seq;
    int64_t at_us; /* when it was written, microseconds since 1970 */
    enum feed_object object;
    enum feed_action action;
    const char *id;     /* of the document (of an embedding: its document) or of the sync status */
    int64_t embedding;  /* 0 where it is none */
    const char *source; /* where it is; of what was deleted, where it was */
    const char *repository, *path;
};

/* Begins reading what has been committed since `after`, beyond the change `seq` (0: all of it): a
 * transaction that sees the database as it stands now, which is the position *until (the caller's
 * to free). With `upto` (else NULL), a position between `after` and now, what came later is left
 * out, and *until is a copy of it: so a reading that was interrupted after the change `seq` is
 * taken up again without gap and repeat. */
int feed_begin(PGconn *conn, const char *after, const char *upto, int64_t seq, char **until,
               struct error *err);

/* feed_begin for who reads rows of the vault, too, in the same transaction, to compare them with
 * what the feed has told: a TRUNCATE takes rows away even from under snapshots that are older than
 * it is, so it has to wait until feed_end. */
int feed_begin_with_rows(PGconn *conn, const char *after, char **until, struct error *err);

/* The next changes, at most `most`; none at the end. The strings live in *result, which the caller
 * clears with PQclear once the changes are done with. */
int feed_next(PGconn *conn, int most, struct feed_change *changes, size_t *count, PGresult **result,
              struct error *err);

int feed_end(PGconn *conn, struct error *err);

/* ---- Followers ---- */

/* Registers a follower, or moves the one of this id, to where it would go on if it were started
 * now. This is a fence, too: whatever the caller has seen of the database before it will still be
 * so after a crash, and no transaction after a crash gets the number of one that it has seen.
 * Without it the numbers of transactions that had come to nothing, and what synchronous_commit =
 * off has committed, may be lost, and a position that has seen them would pass over others that get
 * these numbers then. It keeps what comes after that in the feed as long as it is seen once a day.
 * Returns 1, or 0 when the feed does not reach back to the position any more (nothing is changed
 * then). */
int feed_register(PGconn *conn, const char *follower, const char *position, struct error *err);

/* Takes a follower's name off the list. */
int feed_unregister(PGconn *conn, const char *follower, struct error *err);

/* Drops followers that have not been seen for a day and removes what all the others have passed.
 * *removed (may be NULL) is how many changes that were. */
int feed_trim(PGconn *conn, int64_t *removed, struct error *err);

#endif
