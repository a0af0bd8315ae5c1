/*
 * follow.h: keeps a replica as PostgreSQL has the vault, on two connections of its own: one reads
 * the change feed, the other the rows that changed.
 *
 * A change is not applied as it was recorded; it says which row to look at again, and the row is
 * read as it is now. All reading of rows and all changing of the replica is done by one thread, one
 * after another, so that what it reads of a row is never older than what the replica has. Reading
 * a change twice, or after the row has changed again, therefore does no harm, and a document can be
 * looked at out of turn (follow_documents) because somebody waits for it.
 *
 * The replica is at least as new as `position`; what is newer in it will be read again.
 *
 * When a connection is lost PostgreSQL may have crashed, and with it what the follower has seen
 * since its last fence (feed_register). So it goes back to the position that it had then, and looks
 * again at what was touched since: follow_step_back, follow_look_again, and after the next fence
 * follow_fenced.
 */
#ifndef TEKUPD_FOLLOW_H
#define TEKUPD_FOLLOW_H

#include "storage/base/error.h"
#include "storage/feed.h"
#include "storage/pool.h"
#include "tools/tekupd/mirror/replica.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct follow {
    PGconn *feed, *rows;               /* NULL while there is no connection */
    char identity[FEED_IDENTITY_SIZE]; /* of the feed that they lead to */
    struct replica *replica;           /* the follow's reference; NULL before the first */
    char *position;                    /* NULL: not known, everything has to be read */
    char *fenced;                      /* the last position that no crash makes untrue, or NULL */
    unsigned long long fenced_touched; /* `touched` at that moment */
    struct recent *recent;             /* what has been looked at since then */
    char followed[FEED_IDENTITY_SIZE]; /* the feed that the position is one of */
    unsigned long long touched;        /* changes of documents and embeddings that were applied */
    bool distrust;                     /* the replica may be newer than its position in places */
    const atomic_bool *stop;           /* ends what is under way, with ERR_CANCELLED */
};

void follow_init(struct follow *follow, const atomic_bool *stop);
void follow_free(struct follow *follow); /* what it holds, not itself */

/* Connects and listens. */
int follow_connect(struct follow *follow, struct pool *pool, struct error *err);
void follow_disconnect(struct follow *follow);

/* Whether it can go on from where it is, in this feed (1); else 0 with why not. */
int follow_can_go_on(struct follow *follow, char *reason, size_t reason_size, struct error *err);

/* Before anything else on new connections: back to the last fence. */
int follow_step_back(struct follow *follow, struct error *err);

/* What has been looked at since the last fence, as it is now. */
int follow_look_again(struct follow *follow, struct error *err);

/* There was a fence between two readings of the feed, or (complete: false) within one. */
int follow_fenced(struct follow *follow, bool complete, struct error *err);

/* Whether anything has been seen since the last fence; or so much that there must be one. */
bool follow_wants_fence(const struct follow *follow);
bool follow_needs_fence(const struct follow *follow);

/* How far reading everything has come, for others to look at. */
struct follow_progress {
    atomic_size_t documents, embeddings;         /* rows read */
    atomic_size_t all_documents, all_embeddings; /* rows there were when it began */
};

/* Reads the whole vault into a replica that is empty, under a name that keeps the feed from then
 * on (feed_register). */
int follow_read_all(struct follow *follow, const char *name, struct replica *replica,
                    struct follow_progress *progress, struct error *err);

/* Applies what has been committed up to now. Before each page of changes `between` is called, if
 * there is one, for what cannot wait. *applied is counted up by every change as it is applied. */
int follow_changes(struct follow *follow, void (*between)(void *arg), void *arg,
                   atomic_ullong *applied, struct error *err);

/* Looks at documents (at most FOLLOW_DOCUMENTS) and their embeddings as they are now. */
enum { FOLLOW_DOCUMENTS = 64 };
int follow_documents(struct follow *follow, const char *const *ids, size_t count,
                     struct error *err);

/* What NOTIFY has brought since the last call: 1 something, 0 nothing, -1 when the connection is
 * lost. Does not wait. */
int follow_heard(struct follow *follow, struct error *err);

#endif
