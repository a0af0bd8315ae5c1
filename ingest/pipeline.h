/*
 * pipeline.h: how one document gets in: text -> chunks -> embeddings (those already paid for are
 * used again) -> one transaction -> whoever wants to know is told.
 */
#ifndef INGEST_PIPELINE_H
#define INGEST_PIPELINE_H

#include "ingest/embedding/embed.h"
#include "storage/vault/vault.h"

#include <stdatomic.h>
#include <time.h>

struct http_client;

/* written and deleted are told after each commit, by the thread that wrote, and not of a write that
 * failed. settle returns when what has been committed before is found by searches; a sync calls it
 * once at its end. Any of them may be NULL. */
struct vault_listener {
    void (*written)(void *arg, const struct document_write *write,
                    const struct write_result *result);
    void (*deleted)(void *arg, const struct write_result *result);
    void (*settle)(void *arg);
    void *arg;
};

struct pipeline {
    struct pool *pool;
    /* Of the model that the vault serves, as far as is known. Another one may take its place at any
     * time, and this one stays usable. */
    struct embedder *_Atomic embedder;
    /* Brings `embedder` up to date; NULL: it stays as it is. */
    void (*renew)(void *arg);
    void *renew_arg;
    struct http_client *http; /* by which sources are read; NULL: by none but `local` */
    struct vault_listener listener;
};

struct document_input {
    const char *source, *repository, *path;
    const char *content; /* valid UTF-8 without NUL: checked, ERR_INVALID names the field */
    size_t content_length;
    const char *sha;        /* NULL: the git blob hash of the content */
    const char *metadata;   /* JSON text or NULL */
    const float *embedding; /* the document's own embedding (one chunk, the whole), or NULL */
    /* For who waits for the embeddings; each may be NULL. stop ends that, with ERR_CANCELLED.
     * waiting is told why and until when a server makes it wait, and with why NULL when it goes on;
     * by any thread. */
    const atomic_bool *stop;
    void (*waiting)(void *arg, const char *why, time_t until);
    void *arg;
};

struct ingest_counts {
    size_t chunks, embedded, reused;
    size_t rejected; /* chunks that the provider does not take, and that have no embedding */
};

/* Checks, chunks, embeds and writes. counts may be NULL. Errors: ERR_INVALID with the field:
 * source, repository, path (empty, not UTF-8, control characters, over SOURCE_PATH_MAX bytes; a
 * path that is absolute or has a part that is empty, "." or ".."), content (nothing but white
 * space, not UTF-8, NUL), embedding (not finite, zero).
 *
 * Texts that repeat within the document are embedded once. An embedding that the caller brought is
 * kept with this document only: it is never used again for another text of the same bytes. */
int pipeline_put(struct pipeline *pipeline, const struct document_input *input,
                 struct write_result *result, struct ingest_counts *counts, struct error *err);

/* ---- The same in steps, for several documents whose texts are embedded together ---- */

struct draft;

/* Checks and cuts. What input points to is the caller's and stays until draft_free. */
int pipeline_cut(const struct document_input *input, struct draft **draft, struct error *err);
void draft_free(struct draft *draft);            /* NULL is allowed */
size_t draft_texts(const struct draft *draft);   /* distinct ones */
size_t draft_missing(const struct draft *draft); /* of them, after pipeline_find */
size_t draft_missing_bytes(const struct draft *draft);

/* Takes the embeddings that were paid for already. */
int pipeline_find(struct pipeline *pipeline, struct draft *const *drafts, size_t count,
                  struct error *err);
/* Embeds what was not found. `how`: stop, waiting and arg are of who waits. */
int pipeline_embed(struct pipeline *pipeline, struct draft *const *drafts, size_t count,
                   const struct embed_call *how, struct error *err);
/* Writes one that was embedded. Where the vault serves another model by now it is embedded again,
 * by that one, and by input's stop and waiting. */
int pipeline_write(struct pipeline *pipeline, struct draft *draft, struct write_result *result,
                   struct ingest_counts *counts, struct error *err);

/* Errors: ERR_NOT_FOUND. */
int pipeline_delete(struct pipeline *pipeline, const char *document_id, struct error *err);

#endif
