/*
 * follower.h: the thread that keeps the mirror as PostgreSQL has the vault.
 *
 * It opens the last snapshot; once the keeper has brought the database up it catches up with the
 * change feed and lets searches in. Where there is no snapshot that fits it reads the vault. From
 * then on it waits for NOTIFY. When the connection is lost the mirror stays as it is; the thread
 * connects again, with pauses that grow and differ from those of other daemons, and goes on from
 * where it was.
 *
 * When the vault serves another model (storage/model.h) nothing more is read into the mirror, which
 * still answers with the model that it has; the vault is read into another one, which takes its
 * place.
 *
 * All functions may be called from any thread.
 */
#ifndef TEKUPD_FOLLOWER_H
#define TEKUPD_FOLLOWER_H

#include "storage/base/error.h"
#include "storage/pool.h"
#include "tools/tekupd/mirror/follow.h"
#include "tools/tekupd/mirror/mirror.h"
#include "tools/tekupd/mirror/saver.h"
#include "tools/tekupd/models.h"

#include <stdbool.h>
#include <stddef.h>
#include <tekup/index.h>

struct follower;

struct follower_options {
    struct pool *pool;
    struct mirror *mirror;
    tk_index_options index;
    struct models *models; /* these two outlive the follower */
    const char *data;      /* the directory DATA */
    long snapshot_changes; /* these two as of the saver */
    int snapshot_minutes;
    void (*ready)(void *arg);                           /* searches are let in for the first time */
    void (*failed)(void *arg, const struct error *err); /* it cannot go on, ever */
    void *arg;
};

/* Starts the thread, which waits for follower_begin. */
struct follower *follower_create(const struct follower_options *options, struct error *err);

/* The database is there and has this version's schema. */
void follower_begin(struct follower *follower);

/* The database may be there again: no more waiting. */
void follower_wake(struct follower *follower);

/* The database is this one by now: unless it is what is followed, the follower connects anew. */
void follower_look_anew(struct follower *follower, const char *identity);

/* Calls done once the mirror has what was committed before this call: this document, or, where it
 * is NULL, everything. It is called at once while the vault is read, since what is read will have
 * it, and soon where PostgreSQL is away; `applied` is false then. done runs on the follower's
 * thread, or on this one before the call returns, and must not wait. */
void follower_settle(struct follower *follower, const char *document,
                     void (*done)(void *arg, bool applied), void *arg);

/* The same for everything, waiting for it. */
void follower_wait(struct follower *follower);

enum follower_state {
    FOLLOWER_WAITING,  /* for the database to be there for the first time */
    FOLLOWER_LOADING,  /* reading the vault */
    FOLLOWER_CATCHING, /* reading what has changed since */
    FOLLOWER_FOLLOWING,
    FOLLOWER_AWAY /* PostgreSQL is */
};

struct follower_report {
    enum follower_state state;
    bool answering;                    /* searches can be answered */
    bool changing;                     /* by a model that the vault does not serve any more */
    bool from_snapshot;                /* the start was made from one */
    char reason[512];                  /* of FOLLOWER_AWAY */
    char identity[FEED_IDENTITY_SIZE]; /* of the database that searches are answered from */
    unsigned long long applied;        /* changes, since the start */
    double load_seconds; /* from the beginning of reading until searches were let in */
    size_t documents, embeddings, all_documents, all_embeddings; /* of the reading that goes on */
};
void follower_get(struct follower *follower, struct follower_report *report);

const char *follower_state_name(enum follower_state state);

/* Whether the mirror has what the feed tells, or is of a model that another one is taking the place
 * of; otherwise why not, and whether it has never had it.
 */
bool follower_is_ready(struct follower *follower, bool *loading, char *reason, size_t reason_size);

/* Has a snapshot written now; done is called with what became of it (NULL: it is written), on
 * another thread, and must not wait. Errors: ERR_UNAVAILABLE as long as searches are not answered;
 * ERR_CONFLICT where one is being written. */
int follower_snapshot(struct follower *follower,
                      void (*done)(void *arg, const struct error *failure), void *arg,
                      struct error *err);

/* A position that the mirror is at least as new as, and that no crash makes untrue, as of now where
 * PostgreSQL is there: a copy for the caller, or NULL (memory ran out, or nothing has been read
 * yet). May wait for a moment. */
char *follower_position(struct follower *follower);

/* A position that a replica taken from the mirror after this call is at least as new as: a copy for
 * the caller, or NULL while the feed is not followed (or memory ran out). Does not wait. */
char *follower_applied(struct follower *follower);

/* The name that it is registered under. */
const char *follower_own_name(const struct follower *follower);

/* Lets what has been read into another replica take the place of what the follower has, when it has
 * caught up; waits for that. *fresh then holds what the follower had. Errors: ERR_CANCELLED once
 * fresh->stop is set, and those of follow_changes; *fresh is the caller's as before then. */
int follower_adopt(struct follower *follower, struct follow *fresh, struct error *err);

/* How the snapshots stand. */
void follower_get_snapshots(struct follower *follower, struct saver_report *report);

/* Joins the thread; what still waits is done. Writes the last snapshot. Nobody may ask for
 * snapshots, nor how they stand, from then on. NULL is allowed. */
void follower_stop(struct follower *follower);

/* Releases it, stopped before. NULL is allowed. */
void follower_free(struct follower *follower);

#endif
