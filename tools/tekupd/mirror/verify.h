/*
 * verify.h: compares a replica that is being followed with the database, row by row.
 *
 * Every row is read once, as of one moment, and compared by the hash of its vector's bits, which
 * tells any change that was missed, and with the vector in the index within the index's own
 * tolerance (VERIFY_TOLERANCE in each component), which tells damage in memory. What differs may do
 * so because it was changed meanwhile: it is looked at again, once nothing that has been committed
 * about it is still on its way, and only then counts.
 */
#ifndef TEKUPD_VERIFY_H
#define TEKUPD_VERIFY_H

#include "tools/tekupd/mirror/follow.h"

/* Of a component; the index promises 0.0001. */
#define VERIFY_TOLERANCE 0.00015

enum { VERIFY_SHOWN = 100, VERIFY_MOST = 10000 };

enum verify_object { VERIFY_DOCUMENT, VERIFY_EMBEDDING, VERIFY_INDEX };

struct difference {
    enum verify_object object;
    int64_t embedding;               /* 0 for a document */
    char document[DOCUMENT_ID_SIZE]; /* as PostgreSQL has it, or else as the index */
    const char *what;                /* a static string */
};

struct verify_result {
    size_t documents, embeddings; /* that the database has */
    size_t differences;           /* VERIFY_MOST: that many or more */
    size_t shown;
    struct difference shown_ones[VERIFY_SHOWN];
};

/* position says where the replica stands: the caller's copy, freed here; NULL when memory ran out.
 */
struct verify_subject {
    struct pool *pool;
    struct replica *replica;
    char *(*position)(void *arg);
    void *arg;
    const atomic_bool *stop;
};

int verify(const struct verify_subject *subject, struct follow_progress *progress,
           struct verify_result *result, struct error *err);

#endif
