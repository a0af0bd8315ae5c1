/*
 * chores.h: long work that somebody asks for: verifying the index, and building it anew. One at a
 * time, on a thread of its own.
 *
 * All functions may be called from any thread.
 */
#ifndef TEKUPD_CHORES_H
#define TEKUPD_CHORES_H

#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/mirror/verify.h"

struct chores;

enum chore { CHORE_NONE, CHORE_VERIFY, CHORE_REBUILD };

/* The options are those that the follower was made with; all of them outlive the chores. */
struct chores *chores_create(const struct follower_options *options, struct follower *follower,
                             struct error *err);

/* Errors: ERR_CONFLICT while another one goes on; ERR_UNAVAILABLE as long as searches are not
 * answered. */
int chores_begin(struct chores *chores, enum chore chore, struct error *err);

struct chore_report {
    enum chore chore; /* the one that goes on, or the last one */
    bool running;
    double elapsed_s;
    size_t documents, embeddings, all_documents, all_embeddings;
    struct error failure;        /* code ERR_NONE where it went well */
    struct verify_result result; /* of a verification that went well */
};
void chores_get(struct chores *chores, struct chore_report *report);

/* Ends what goes on. NULL is allowed. */
void chores_stop(struct chores *chores);
void chores_free(struct chores *chores);

#endif
