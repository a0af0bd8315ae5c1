/*
 * model_change.h: from one embedding model to another.
 *
 * Whoever changes the model goes through the embeddings a page at a time (model_change_page), has
 * their texts embedded and puts the results aside (model_change_stage) until nothing is left; then
 * model_change_switch puts them in the place of the old ones. What has been staged is kept whatever
 * happens; nothing of it is lost when the daemon dies. One caller at a time is meant to do this,
 * and more than one do no harm.
 */
#ifndef STORAGE_MODEL_CHANGE_H
#define STORAGE_MODEL_CHANGE_H

#include "storage/model.h"
#include "storage/vault/vault.h"

/* The most of a text that is embedded: what came as one piece may be longer, and is known by its
 * beginning. */
enum { MODEL_TEXT_MOST = 8191 };

struct model_text {
    uint8_t key[SHA256_SIZE];
    int32_t embedding;
    char *document;
    char *text; /* UTF-8, NUL-terminated; NULL: it is not what was embedded, and is to be refused */
    size_t length;
};

struct model_page {
    struct model_text *texts; /* each different; NULL where there are none */
    size_t count;
    int64_t rows; /* embeddings that they are of, and that were passed over as alike */
    int32_t last; /* id of the last of them */
};
void model_page_free(struct model_page *page);

/* Forgets what was staged for other models, and counts: how many embeddings of other models there
 * are (total), how many of those have been seen to (done; refused of those). */
int model_change_begin(struct pool *pool, const char *model, struct model_state *state,
                       struct error *err);

/* The first embeddings behind `after` that have not been seen to, at most `most`. */
int model_change_page(PGconn *conn, const char *model, int32_t after, int most,
                      struct model_page *page, struct error *err);

/* Keeps the embeddings (EMBEDDING_DIM floats each) of texts, or that they were refused. In the
 * caller's transaction, if there is one. */
int model_change_stage(PGconn *conn, const char *model, const struct model_text *texts,
                       size_t count, const float *vectors, const bool *refused, struct error *err);

/* Switches at once, or (*switched false) does not, because more than `few` embeddings are left. A
 * few are given to `rest`, in the transaction in which everybody who writes waits: it has to stage
 * them on the same connection, soon. */
struct model_switch {
    const char *from, *to;
    int few;
    int (*rest)(void *arg, PGconn *conn, const struct model_page *page, struct error *err);
    void *arg;
};
int model_change_switch(struct pool *pool, const struct model_switch *change, bool *switched,
                        struct error *err);

#endif
