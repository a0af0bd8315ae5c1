/*
 * replica_intake.c: rows on their way into a replica.
 *
 * A row is put into the catalog when it comes by; its vector waits in a block until that is full or
 * flushed. A second row of the same embedding, which may come when rows are read by two statements,
 * lets the block go first.
 */
#include "tools/tekupd/mirror/replica_internal.h"

#include "storage/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, MOST_THREADS = 16, WORTH_THREADS = 4 };

struct intake {
    struct replica *replica;
    bool distrust;
    const atomic_bool *stop;
    size_t count; /* rows in the block */
    int64_t ids[BLOCK];
    bool there[BLOCK]; /* in the index already: to be replaced */
    float *vectors;    /* BLOCK x EMBEDDING_DIM */
    int64_t *seen;
    size_t seen_count, seen_room;
    size_t seen_given; /* of them, those that intake_seen() has handed out */
    struct intake_counts counts;
    struct error err; /* the first failure */
};

/* ---- Sharing out ----------------------------------------------------------------------------- */

struct share {
    void (*step)(void *arg, size_t i);
    void *arg;
    size_t count;
    atomic_size_t next;
};

static void *take_share(void *arg)
{
    struct share *share = arg;
    size_t i;
    while ((i = atomic_fetch_add(&share->next, 1)) < share->count) share->step(share->arg, i);
    return NULL;
}

void replica_share_out(void (*step)(void *arg, size_t i), void *arg, size_t count)
{
    struct share share = {step, arg, count, 0};
    pthread_t threads[MOST_THREADS];
    int started = 0;
    if (count >= WORTH_THREADS) {
        long wanted = sysconf(_SC_NPROCESSORS_ONLN) - 1;
        if (wanted > MOST_THREADS) wanted = MOST_THREADS;
        while (started < wanted && pthread_create(&threads[started], NULL, take_share, &share) == 0)
            started++;
    }
    take_share(&share);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
}

/* ---- The block ------------------------------------------------------------------------------- */

static int out_of_memory(struct intake *intake)
{
    if (intake->err.code == ERR_NONE) error_set(&intake->err, ERR_INTERNAL, NULL, "memory ran out");
    return -1;
}

/* A vector that the index has not taken: the catalog must not know it either. */
static void give_up(struct intake *intake, size_t i, const tk_error *problem)
{
    log_error("replica.skip", "embedding=%" PRId64 " error=%s", intake->ids[i],
              log_quote(problem->message));
    catalog_remove_embedding(intake->replica->catalog, intake->ids[i]);
}

struct outcome {
    struct intake *intake;
    atomic_size_t refused;
    atomic_bool no_memory;
};

static void put_one(void *arg, size_t i)
{
    struct outcome *outcome = arg;
    struct intake *intake = outcome->intake;
    tk_index *index = intake->replica->index;
    const float *vector = intake->vectors + i * EMBEDDING_DIM;
    const tk_id id = (tk_id)intake->ids[i];
    tk_error problem = {{0}};
    const tk_status status = intake->there[i] ? tk_index_replace(index, id, vector, &problem)
                                              : tk_index_add(index, id, vector, &problem);
    if (status == TK_OK) return;
    /* What it stood for before is gone in any case. */
    if (intake->there[i]) tk_index_remove(index, id, NULL);
    give_up(intake, i, &problem);
    if (status == TK_ENOMEM)
        atomic_store(&outcome->no_memory, true);
    else
        atomic_fetch_add(&outcome->refused, 1);
}

/* When all of the block is new the index takes it at once. */
static bool add_all(struct intake *intake)
{
    tk_id ids[BLOCK];
    for (size_t i = 0; i < intake->count; i++) {
        if (intake->there[i]) return false;
        ids[i] = (tk_id)intake->ids[i];
    }
    const tk_status status =
        tk_index_add_batch(intake->replica->index, intake->count, ids, intake->vectors, 0, NULL);
    /* After this one a part of the batch may be in. */
    for (size_t i = 0; i < intake->count && status == TK_ENOMEM; i++)
        intake->there[i] = tk_index_contains(intake->replica->index, ids[i]);
    return status == TK_OK;
}

/* With `writing` held. */
static int let_go(struct intake *intake)
{
    if (intake->count > 0 && !add_all(intake)) {
        /* Some are to be replaced, or one is such that the index refuses it. */
        struct outcome outcome = {.intake = intake};
        replica_share_out(put_one, &outcome, intake->count);
        intake->counts.skipped += atomic_load(&outcome.refused);
        if (atomic_load(&outcome.no_memory)) out_of_memory(intake);
    }
    intake->count = 0;
    return intake->err.code == ERR_NONE ? 0 : -1;
}

static bool is_waiting(const struct intake *intake, int64_t id)
{
    for (size_t i = 0; i < intake->count; i++)
        if (intake->ids[i] == id) return true;
    return false;
}

static int hold(struct intake *intake, int64_t id, const float *vector)
{
    const size_t i = intake->count++;
    intake->ids[i] = id;
    intake->there[i] = tk_index_contains(intake->replica->index, (tk_id)id);
    memcpy(intake->vectors + i * EMBEDDING_DIM, vector, EMBEDDING_DIM * sizeof(float));
    return intake->count == BLOCK ? let_go(intake) : 0;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

uint64_t replica_hash(const float *vector)
{
    enum { LANES = 4, WORDS = EMBEDDING_DIM / 2 };
    static const uint64_t prime = 0x9e3779b97f4a7c15u;
    uint64_t lanes[LANES] = {1, 2, 3, 4};
    for (int i = 0; i < WORDS; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, vector + (size_t)(i + lane) * 2, sizeof(word));
            lanes[lane] = (lanes[lane] ^ word) * prime;
            lanes[lane] ^= lanes[lane] >> 32;
        }
    }
    uint64_t hash = 0;
    for (int lane = 0; lane < LANES; lane++) {
        hash = (hash ^ lanes[lane]) * prime;
        hash ^= hash >> 29;
    }
    return hash;
}

static bool is_stopped(const struct intake *intake)
{
    return intake->stop != NULL && atomic_load(intake->stop);
}

static int take_document(void *arg, const char *id, const char *source, const char *repository,
                         const char *path)
{
    struct intake *intake = arg;
    struct error problem = {0};
    if (is_stopped(intake)) return 1;
    intake->counts.documents++;
    replica_hold(intake->replica);
    const int rc =
        catalog_put_document(intake->replica->catalog, id, source, repository, path, &problem);
    replica_go_on(intake->replica);
    if (rc == 0) return 0;
    if (problem.code != ERR_INVALID) {
        intake->err = problem;
        return 1;
    }
    log_warn("replica.skip", "document=%s error=%s", log_quote(id), log_quote(problem.message));
    return 0;
}

static int remember_seen(struct intake *intake, int64_t id)
{
    if (intake->seen_given > 0) intake->seen_count = intake->seen_given = 0;
    if (intake->seen_count == intake->seen_room) {
        const size_t room = intake->seen_room > 0 ? intake->seen_room * 2 : BLOCK;
        int64_t *grown = realloc(intake->seen, room * sizeof(*grown));
        if (grown == NULL) return out_of_memory(intake);
        intake->seen = grown;
        intake->seen_room = room;
    }
    intake->seen[intake->seen_count++] = id;
    return 0;
}

/* With `writing` held. */
static int put_embedding(struct intake *intake, int64_t id, const char *document_id,
                         const float *vector)
{
    struct replica *replica = intake->replica;
    enum catalog_had had = CATALOG_NEW;
    struct error problem = {0};
    if (catalog_put_embedding(replica->catalog, id, document_id, replica_hash(vector), &had,
                              &problem) != 0) {
        if (problem.code == ERR_NOT_FOUND) { /* its document was left out */
            intake->counts.skipped++;
            return 0;
        }
        intake->err = problem;
        return -1;
    }
    const bool waiting = had != CATALOG_NEW && is_waiting(intake, id);
    if (had == CATALOG_SAME &&
        (waiting || (!intake->distrust && tk_index_contains(replica->index, (tk_id)id))))
        return 0;
    if (waiting && let_go(intake) != 0) return -1;
    return hold(intake, id, vector);
}

static int take_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct intake *intake = arg;
    if (is_stopped(intake)) return 1;
    intake->counts.embeddings++;
    if (remember_seen(intake, id) != 0) return 1;
    replica_hold(intake->replica);
    const int rc = put_embedding(intake, id, document_id, vector);
    replica_go_on(intake->replica);
    return rc;
}

/* ---- The interface --------------------------------------------------------------------------- */

struct intake *intake_create(struct replica *replica, bool distrust, const atomic_bool *stop,
                             struct error *err)
{
    struct intake *intake = calloc(1, sizeof(*intake));
    if (intake != NULL) intake->vectors = malloc(sizeof(float) * EMBEDDING_DIM * BLOCK);
    if (intake == NULL || intake->vectors == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        free(intake);
        return NULL;
    }
    intake->replica = replica;
    intake->distrust = distrust;
    intake->stop = stop;
    return intake;
}

void intake_free(struct intake *intake)
{
    if (intake == NULL) return;
    /* What is still waiting was never flushed, because its reading failed. */
    for (size_t i = 0; i < intake->count; i++) {
        if (intake->there[i]) tk_index_remove(intake->replica->index, (tk_id)intake->ids[i], NULL);
        catalog_remove_embedding(intake->replica->catalog, intake->ids[i]);
    }
    free(intake->seen);
    free(intake->vectors);
    free(intake);
}

struct vault_reader intake_reader(struct intake *intake)
{
    return (struct vault_reader){take_document, take_embedding, intake};
}

int intake_flush(struct intake *intake, struct error *err)
{
    replica_hold(intake->replica);
    const int rc = let_go(intake);
    replica_go_on(intake->replica);
    if (rc != 0 && err != NULL) *err = intake->err;
    return rc;
}

void intake_count(const struct intake *intake, struct intake_counts *counts)
{
    *counts = intake->counts;
}

static int ascending(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

const int64_t *intake_seen(struct intake *intake, size_t *count)
{
    if (intake->seen_given > 0) intake->seen_count = 0;
    if (intake->seen_count > 0)
        qsort(intake->seen, intake->seen_count, sizeof(*intake->seen), ascending);
    intake->seen_given = intake->seen_count;
    *count = intake->seen_count;
    return intake->seen;
}
