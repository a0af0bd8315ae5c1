/*
 * peer.h: an engine as the benchmark sees it: tekupdb's own and the ones it is measured against.
 *
 * An index holds the vectors of length 1 that it was built from, under their row numbers. Every
 * index lives in a process of its own (worker.h), and its functions are called from one thread,
 * except `search`, which several threads call at once, and `add` and `remove`, which one thread
 * calls while others search. Functions that can fail return 0, or -1 with a message.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <tekup/index.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The graph that every engine builds: M and efConstruction of the HNSW paper. */
enum { GRAPH_M = 16, GRAPH_EF_CONSTRUCTION = 200 };

struct peer_setup {
    const float *vectors; /* count x dim, in memory that outlives the index */
    size_t count, dim;
    unsigned threads; /* to build with, and the most that search */
    const char *dsn;  /* of a PostgreSQL server, for the peer that is one */
};

enum filter { FILTER_NONE, FILTER_WITHIN, FILTER_PREDICATE };

struct peer {
    const char *name;
    const char *version; /* of the library, or NULL */
    const char *setting; /* what `ef` is called there */
    size_t most_ef;      /* the largest setting it takes */

    int (*build)(const struct peer_setup *setup, void **index, tk_error *err);
    void (*release)(void *index);

    /* The memory of an index that is not in this process, in bytes, or by its own account; 0 where
     * it gives none. external: the process's own memory says nothing. */
    size_t (*bytes)(const void *index);
    int external;

    /* Sets the effort of the searches to come, while none is under way. */
    int (*prepare)(void *index, size_t ef, tk_error *err);

    /* Finds the k nearest; thread is a number below setup->threads of the caller's own. */
    int (*search)(const void *index, unsigned thread, const float *query, size_t k, tk_hit *hits,
                  size_t *found, tk_error *err);

    /* The rest only tekupdb does, and is NULL elsewhere. */

    /* Restricts the searches to come to the ids whose keep[id] has a bit in common with `bits`. */
    int (*filter)(void *index, enum filter kind, const uint8_t *keep, uint8_t bits, tk_error *err);
    int (*add)(void *index, uint64_t id, const float *vector, tk_error *err);
    int (*remove)(void *index, uint64_t id, tk_error *err);
    int (*save)(const void *index, const char *path, tk_error *err);
    int (*load)(const char *path, const struct peer_setup *setup, void **index, tk_error *err);
    const char *(*kernel)(const void *index); /* the instruction set in use */
};

extern const struct peer peer_tekup;
#ifdef BENCH_HNSWLIB
extern const struct peer peer_hnswlib;
#endif
#ifdef BENCH_FAISS
extern const struct peer peer_faiss;
#endif
#ifdef BENCH_PGVECTOR
extern const struct peer peer_pgvector;
#endif

/* Looks a peer up by its name. Where it is known but was not there when the benchmark was compiled,
 * NULL with *missing the package to install; where it is not known, NULL and NULL. */
const struct peer *peer_find(const char *name, const char **missing);

#ifdef __cplusplus
}
#endif
#endif
