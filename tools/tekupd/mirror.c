/*
 * mirror.c: applying what the vault says to the index and the catalog.
 *
 * An embedding's row never changes and its id is never used again, so that all there is to get
 * right is that a row that is gone does not come back. Three things see to that:
 *
 *   - `order` makes the catalog's part of every change a single step. What was removed is
 * remembered for a while (gone.h), and dropped when its writer, or the load, tells of it only then.
 *   - The index is changed after the catalog and outside the lock, because that takes long. Whoever
 *     has added a vector looks into the catalog again, and takes the vector out if its row was
 *     removed in between. A search drops hits that the catalog does not know.
 *   - Each load begins a new epoch and marks what it sees; live writes mark what they bring. What
 * is not marked when the load has ended is gone from the vault.
 *
 * Locks: `order` protects gone_embeddings, gone_documents and loading, and is taken before the
 * catalog's. Nothing else is held while the index works.
 */
#include "tools/tekupd/mirror.h"

#include "storage/base/log.h"
#include "tools/tekupd/gone.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK = 512, MOST_HITS = 65536 };

struct mirror {
    tk_index *index;
    struct catalog *catalog;
    const char *model;
    pthread_mutex_t order;
    struct gone *gone_embeddings;
    struct gone *gone_documents; /* by hash_of() their id */
    bool loading;
    _Atomic uint32_t epoch;
    atomic_bool ready, stopping;
    _Atomic double load_seconds;
    _Atomic double written_s; /* when the listener was last told of a write; 0 before */
    _Atomic size_t skipped;
};

/* ---- Making and releasing -------------------------------------------------------------------- */

struct mirror *mirror_create(const tk_index_options *options, const char *model, struct error *err)
{
    tk_error problem = {{0}};
    struct mirror *mirror = calloc(1, sizeof(*mirror));
    if (mirror == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    pthread_mutex_init(&mirror->order, NULL);
    mirror->model = model;
    atomic_init(&mirror->epoch, 1);
    mirror->catalog = catalog_create();
    mirror->gone_embeddings = gone_create();
    mirror->gone_documents = gone_create();
    if (tk_index_create(options, &mirror->index, &problem) != TK_OK) {
        error_set(err, ERR_INVALID, NULL, "the index: %s", problem.message);
    } else if (mirror->catalog == NULL || mirror->gone_embeddings == NULL ||
               mirror->gone_documents == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    } else {
        return mirror;
    }
    mirror_free(mirror);
    return NULL;
}

void mirror_free(struct mirror *mirror)
{
    if (mirror == NULL) return;
    tk_index_free(mirror->index);
    catalog_free(mirror->catalog);
    gone_free(mirror->gone_embeddings);
    gone_free(mirror->gone_documents);
    pthread_mutex_destroy(&mirror->order);
    free(mirror);
}

/* ---- One step each --------------------------------------------------------------------------- */

static int64_t hash_of(const char *id)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *id != '\0'; id++) hash = (hash ^ (unsigned char)*id) * 0x100000001b3u;
    return (int64_t)hash;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void remember(struct mirror *mirror, struct gone *gone, int64_t id)
{
    if (gone_add(gone, id, mirror->loading, now()) != 0)
        log_error("mirror.memory", "error=\"cannot remember that row %" PRId64 " is gone\"", id);
}

/* Returns 1 when the document is gone already. With `order` held. */
static int add_document(struct mirror *mirror, const char *id, const char *source,
                        const char *repository, const char *path, uint32_t epoch, struct error *err)
{
    if (gone_has(mirror->gone_documents, hash_of(id))) return 1;
    return catalog_put_document(mirror->catalog, id, source, repository, path, epoch, err);
}

/* Returns 1 when the embedding, or its document, is gone already. With `order` held. */
static int add_to_catalog(struct mirror *mirror, int64_t embedding, const char *document,
                          uint32_t epoch, struct error *err)
{
    struct error problem = {0};
    if (gone_has(mirror->gone_embeddings, embedding)) return 1;
    if (catalog_put_embedding(mirror->catalog, embedding, document, epoch, NULL, &problem) == 0)
        return 0;
    if (problem.code == ERR_NOT_FOUND) return 1;
    if (err != NULL) *err = problem;
    return -1;
}

static void remove_from_index(struct mirror *mirror, int64_t embedding)
{
    tk_error problem = {{0}};
    const tk_status status = tk_index_remove(mirror->index, (tk_id)embedding, &problem);
    /* Its hits are dropped all the same, since the catalog does not know it. */
    if (status != TK_OK && status != TK_ENOTFOUND)
        log_error("mirror.remove", "embedding=%" PRId64 " error=%s", embedding,
                  log_quote(problem.message));
}

static void remove_embedding(struct mirror *mirror, int64_t embedding)
{
    pthread_mutex_lock(&mirror->order);
    remember(mirror, mirror->gone_embeddings, embedding);
    catalog_remove_embedding(mirror->catalog, embedding);
    pthread_mutex_unlock(&mirror->order);
    remove_from_index(mirror, embedding);
}

static void remove_document(struct mirror *mirror, const char *id)
{
    int64_t *embeddings;
    size_t count;
    struct error problem = {0};
    pthread_mutex_lock(&mirror->order);
    remember(mirror, mirror->gone_documents, hash_of(id));
    if (catalog_remove_document(mirror->catalog, id, &embeddings, &count, &problem) != 0)
        log_error("mirror.remove", "document=%s error=%s", log_quote(id),
                  log_quote(problem.message));
    pthread_mutex_unlock(&mirror->order);
    for (size_t i = 0; i < count; i++) remove_from_index(mirror, embeddings[i]);
    free(embeddings);
}

/* A vector went in whose row may have been removed meanwhile. */
static void check_again(struct mirror *mirror, int64_t embedding)
{
    if (!catalog_knows(mirror->catalog, embedding)) remove_from_index(mirror, embedding);
}

static int add_to_index(struct mirror *mirror, int64_t embedding, const float *vector,
                        struct error *err)
{
    tk_error problem = {{0}};
    const tk_status status = tk_index_add(mirror->index, (tk_id)embedding, vector, &problem);
    if (status != TK_OK && status != TK_EEXISTS)
        return error_set(err, status == TK_ENOMEM ? ERR_INTERNAL : ERR_INVALID, "embedding",
                         "the index does not take embedding %" PRId64 ": %s", embedding,
                         problem.message);
    check_again(mirror, embedding);
    return 0;
}

/* ---- Live writes ----------------------------------------------------------------------------- */

/* PostgreSQL has it; that the mirror has not is repaired by the next load. */
static void log_missed(const char *document, const struct error *err)
{
    log_error("mirror.missed", "document=%s error=%s", document, log_quote(err->message));
}

/* The document and its embeddings in one step: in between it would look like one that the removal
 * of its repository has emptied. One whose embeddings are all gone already is such a one. */
static void catalog_written(struct mirror *mirror, const struct document_write *write,
                            const struct write_result *result)
{
    const uint32_t epoch = atomic_load(&mirror->epoch);
    struct error err = {0};
    size_t added = 0;
    pthread_mutex_lock(&mirror->order);
    int rc = add_document(mirror, result->document_id, write->source, write->repository,
                          write->path, epoch, &err);
    for (size_t i = 0; i < write->chunk_count && rc >= 0; i++) {
        rc =
            add_to_catalog(mirror, write->chunks[i].embedding_id, result->document_id, epoch, &err);
        added += rc == 0;
    }
    if (rc < 0) log_missed(result->document_id, &err);
    if (added == 0 && write->chunk_count > 0)
        catalog_remove_if_empty(mirror->catalog, result->document_id);
    pthread_mutex_unlock(&mirror->order);
}

static void on_written(void *arg, const struct document_write *write,
                       const struct write_result *result)
{
    struct mirror *mirror = arg;
    struct error err = {0};
    atomic_store(&mirror->written_s, now());
    catalog_written(mirror, write, result);
    for (size_t i = 0; i < write->chunk_count; i++) {
        const struct chunk_write *chunk = &write->chunks[i];
        if (catalog_knows(mirror->catalog, chunk->embedding_id) &&
            add_to_index(mirror, chunk->embedding_id, chunk->embedding, &err) != 0)
            log_missed(result->document_id, &err);
    }
    for (size_t i = 0; i < result->removed_count; i++) remove_embedding(mirror, result->removed[i]);
}

static void on_deleted(void *arg, const struct write_result *result)
{
    struct mirror *mirror = arg;
    atomic_store(&mirror->written_s, now());
    for (size_t i = 0; i < result->removed_count; i++) remove_embedding(mirror, result->removed[i]);
    if (result->document_id[0] != '\0') remove_document(mirror, result->document_id);
}

struct vault_listener mirror_listener(struct mirror *mirror)
{
    return (struct vault_listener){on_written, on_deleted, mirror};
}

void mirror_repository_deleted(struct mirror *mirror, const char *source, const char *repository,
                               const struct write_result *result)
{
    for (size_t i = 0; i < result->removed_count; i++) remove_embedding(mirror, result->removed[i]);
    pthread_mutex_lock(&mirror->order);
    catalog_remove_empty(mirror->catalog, source, repository);
    pthread_mutex_unlock(&mirror->order);
}

/* ---- Loading --------------------------------------------------------------------------------- */

/* Embeddings are added a block at a time, by several threads. */
struct load {
    struct mirror *mirror;
    uint32_t epoch;
    size_t skipped;
    size_t count;
    int64_t ids[BLOCK];
    char documents[BLOCK][DOCUMENT_ID_SIZE];
    float *vectors; /* BLOCK x EMBEDDING_DIM */
    struct error err;
};

static void flush_one_by_one(struct load *load, size_t count)
{
    struct error problem = {0};
    for (size_t i = 0; i < count; i++) {
        if (add_to_index(load->mirror, load->ids[i], load->vectors + i * EMBEDDING_DIM, &problem) !=
            0) {
            log_missed(load->documents[i], &problem);
            load->skipped++;
        }
    }
}

/* Keeps those that belong into the index and are not in it, at the beginning of the block. */
static int sort_out(struct load *load, size_t *kept)
{
    struct mirror *mirror = load->mirror;
    *kept = 0;
    for (size_t i = 0; i < load->count; i++) {
        pthread_mutex_lock(&mirror->order);
        const int rc =
            add_to_catalog(mirror, load->ids[i], load->documents[i], load->epoch, &load->err);
        pthread_mutex_unlock(&mirror->order);
        if (rc < 0) return -1;
        if (rc > 0 || tk_index_contains(mirror->index, (tk_id)load->ids[i])) continue;
        if (*kept < i) {
            load->ids[*kept] = load->ids[i];
            memcpy(load->documents[*kept], load->documents[i], DOCUMENT_ID_SIZE);
            memcpy(load->vectors + *kept * EMBEDDING_DIM, load->vectors + i * EMBEDDING_DIM,
                   EMBEDDING_DIM * sizeof(float));
        }
        (*kept)++;
    }
    return 0;
}

static int flush(struct load *load)
{
    struct mirror *mirror = load->mirror;
    tk_id ids[BLOCK];
    size_t kept;
    if (sort_out(load, &kept) != 0) return -1;
    load->count = 0;
    if (kept == 0) return 0;
    for (size_t i = 0; i < kept; i++) ids[i] = (tk_id)load->ids[i];
    tk_error problem = {{0}};
    if (tk_index_add_batch(mirror->index, kept, ids, load->vectors, 0, &problem) != TK_OK) {
        /* A writer was faster with one of them, or one is such that the index refuses it. */
        flush_one_by_one(load, kept);
        return 0;
    }
    for (size_t i = 0; i < kept; i++) check_again(mirror, load->ids[i]);
    return 0;
}

static int load_document(void *arg, const char *id, const char *source, const char *repository,
                         const char *path)
{
    struct load *load = arg;
    if (atomic_load(&load->mirror->stopping)) return 1;
    struct error problem = {0};
    pthread_mutex_lock(&load->mirror->order);
    const int rc = add_document(load->mirror, id, source, repository, path, load->epoch, &problem);
    pthread_mutex_unlock(&load->mirror->order);
    if (rc >= 0) return 0;
    if (problem.code == ERR_INVALID) { /* an id that this daemon would not give */
        log_warn("mirror.skip", "document=%s error=%s", log_quote(id), log_quote(problem.message));
        return 0;
    }
    load->err = problem;
    return 1;
}

static int load_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct load *load = arg;
    if (atomic_load(&load->mirror->stopping)) return 1;
    if (strlen(document_id) >= DOCUMENT_ID_SIZE) return 0; /* the document was skipped */
    load->ids[load->count] = id;
    strcpy(load->documents[load->count], document_id);
    memcpy(load->vectors + load->count * EMBEDDING_DIM, vector, EMBEDDING_DIM * sizeof(float));
    return ++load->count == BLOCK ? flush(load) : 0;
}

/* What the vault has no more. */
static int sweep(struct load *load, struct error *err)
{
    struct mirror *mirror = load->mirror;
    int64_t *stale;
    size_t count;
    if (catalog_remove_stale(mirror->catalog, load->epoch, &stale, &count, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) remove_from_index(mirror, stale[i]);
    free(stale);
    return 0;
}

static void set_loading(struct mirror *mirror, bool loading)
{
    pthread_mutex_lock(&mirror->order);
    mirror->loading = loading;
    pthread_mutex_unlock(&mirror->order);
}

int mirror_load(struct mirror *mirror, struct pool *pool, struct error *err)
{
    const double began = now();
    struct load *load = calloc(1, sizeof(*load));
    int rc = -1;
    if (load != NULL) load->vectors = malloc(sizeof(float) * EMBEDDING_DIM * BLOCK);
    if (load == NULL || load->vectors == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        goto out;
    }
    load->mirror = mirror;
    set_loading(mirror, true);
    load->epoch = atomic_fetch_add(&mirror->epoch, 1) + 1;
    const struct vault_reader reader = {load_document, load_embedding, load};
    rc = vault_read_all(pool, mirror->model, &reader, err);
    if (rc == 0) rc = flush(load);
    set_loading(mirror, false);
    if (rc != 0) {
        if (load->err.code != ERR_NONE && err != NULL) *err = load->err;
        goto out;
    }
    rc = sweep(load, err);
    if (rc != 0) goto out;
    atomic_store(&mirror->skipped, load->skipped);
    atomic_store(&mirror->load_seconds, now() - began);
    atomic_store(&mirror->ready, true);
out:
    if (load != NULL) free(load->vectors);
    free(load);
    return rc;
}

void mirror_stop(struct mirror *mirror)
{
    atomic_store(&mirror->stopping, true);
}

bool mirror_is_ready(const struct mirror *mirror)
{
    return atomic_load(&mirror->ready);
}

double mirror_seconds_since_write(const struct mirror *mirror)
{
    const double written_s = atomic_load(&mirror->written_s);
    return written_s > 0 ? now() - written_s : INFINITY;
}

/* ---- Searching ------------------------------------------------------------------------------- */

const struct catalog *mirror_catalog(const struct mirror *mirror)
{
    return mirror->catalog;
}

static int search_error(tk_status status, const tk_error *problem, struct error *err)
{
    const bool of_vector = status == TK_ENONFINITE || status == TK_EZERO;
    return error_set(err, of_vector ? ERR_INVALID : ERR_INTERNAL, of_vector ? "embedding" : NULL,
                     "%s", problem->message);
}

/*
 * The index finds embeddings, the answer is documents. So more hits are asked for than documents
 * are wanted, and again many more when the best ones turn out to be of too few documents.
 */
int mirror_search(struct mirror *mirror, const struct mirror_query *query,
                  struct catalog_hit **hits, size_t *found, struct error *err)
{
    enum { PER_DOCUMENT = 4, LEAST = 40, FURTHER = 4 };
    tk_search search;
    tk_hit *raw = NULL;
    int rc = -1;
    *found = 0;
    *hits = calloc(query->limit, sizeof(**hits));
    if (*hits == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (query->filter->nothing) return 0;
    tk_search_init(&search);
    search.ef = query->ef;
    search.threshold = query->threshold;
    catalog_apply(query->filter, &search);
    search.k = query->limit * PER_DOCUMENT > LEAST ? query->limit * PER_DOCUMENT : LEAST;
    for (;;) {
        size_t count;
        tk_error problem = {{0}};
        tk_hit *grown = realloc(raw, search.k * sizeof(*raw));
        if (grown == NULL) {
            error_set(err, ERR_INTERNAL, NULL, "memory ran out");
            break;
        }
        raw = grown;
        const tk_status status =
            tk_index_search(mirror->index, query->vector, &search, raw, &count, &problem);
        if (status != TK_OK) {
            search_error(status, &problem, err);
            break;
        }
        catalog_hits_free(*hits, *found);
        rc = catalog_best(mirror->catalog, raw, count, query->limit, *hits, found, err);
        if (rc != 0 || *found == query->limit || count < search.k || search.k == MOST_HITS) break;
        search.k = search.k * FURTHER < MOST_HITS ? search.k * FURTHER : MOST_HITS;
        rc = -1;
    }
    free(raw);
    if (rc != 0) {
        catalog_hits_free(*hits, *found);
        free(*hits);
        *hits = NULL;
        *found = 0;
    }
    return rc;
}

void mirror_get_stats(const struct mirror *mirror, struct mirror_stats *stats)
{
    tk_index_get_stats(mirror->index, &stats->index);
    catalog_count(mirror->catalog, &stats->catalog);
    stats->ready = atomic_load(&mirror->ready);
    stats->load_seconds = atomic_load(&mirror->load_seconds);
    stats->skipped = atomic_load(&mirror->skipped);
}
