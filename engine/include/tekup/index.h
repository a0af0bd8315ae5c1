/*
 * tekup/index.h: an in-memory nearest-neighbour index for embeddings.
 *
 * An index holds vectors of one dimension under 64-bit ids of the caller's choosing and finds the
 * ones most similar to a query by cosine similarity. It is a navigable graph (HNSW: Malkov and
 * Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
 * Small World graphs", arXiv 1603.09320), and answers small sets and narrow filters by exact
 * search.
 *
 *     tk_index_options options;
 *     tk_index_options_init(&options);
 *     tk_index *index;
 *     if (tk_index_create(&options, &index, &error) != TK_OK) ...
 *     tk_index_add(index, 42, vector, &error);
 *
 *     tk_hit hits[10];
 *     size_t found;
 *     tk_search search;
 *     tk_search_init(&search);
 *     search.k = 10;
 *     tk_index_search(index, query, &search, hits, &found, &error);
 *     tk_index_free(index);
 *
 * VECTORS are arrays of `dim` floats. They need not be normalised; the index normalises what it
 * stores and what it is asked. A vector with a NaN or an infinity is refused (TK_ENONFINITE), and
 * so is one whose length is zero (TK_EZERO), since it has no direction to compare. The caller keeps
 * ownership of every array it passes in; nothing is kept by pointer unless a function says so.
 *
 * SIMILARITY is the cosine: 1 for the same direction, 0 for orthogonal, -1 for opposite.
 *
 * THREADS. Any number of threads may search while others add, replace and remove. A search never
 * waits for a writer, and sees each vector either as it was before a concurrent write or as it is
 * after. Writers may run side by side. tk_index_free must be the last call on an index. Making or
 * loading an index sets OpenBLAS to one thread, for the whole process: the work is shared out by
 * the threads that search and add.
 *
 * ERRORS. Functions that can fail return a tk_status. The optional tk_error says in words what was
 * wrong and names the argument. A call that fails leaves the index as it was, unless it says
 * otherwise.
 */
#ifndef TEKUP_INDEX_H
#define TEKUP_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TK_API
#define TK_API __attribute__((visibility("default")))
#endif

/* ---- Errors ---------------------------------------------------------------------------------- */

typedef enum tk_status {
    TK_OK = 0,
    TK_EINVAL,     /* an argument is out of its range; the message names it */
    TK_ENONFINITE, /* a vector has a component that is NaN or infinite */
    TK_EZERO,      /* a vector has length zero */
    TK_EEXISTS,    /* the id is in the index already */
    TK_ENOTFOUND,  /* the id is not in the index */
    TK_ENOMEM,     /* memory ran out; the index is unchanged */
    TK_EFULL,      /* the index holds as many vectors as it can (2^31) */
    TK_EIO,        /* reading or writing a file failed; the message carries the system's reason */
    TK_ECORRUPT,   /* a saved index is truncated or damaged */
    TK_EVERSION    /* a saved index is of another format version or another byte order */
} tk_status;

typedef struct tk_error {
    char message[256]; /* English, NUL-terminated, without a final newline */
} tk_error;

/* The name of a status in words, a static string. */
TK_API const char *tk_status_text(tk_status status);

/* ---- Making an index ------------------------------------------------------------------------- */

typedef uint64_t tk_id;
typedef struct tk_index tk_index;

typedef struct tk_index_options {
    uint32_t dim;            /* components of a vector, 1 to 65,536 (1,536) */
    uint32_t max_neighbours; /* M of the HNSW paper: a node keeps twice as many neighbours; 4 to 128
                                (16) */
    uint32_t ef_construction; /* candidates considered for the neighbour list of a new vector,
                                 8 to 4,096 (200) */
    uint32_t ef_search;       /* candidates a search keeps when it names no ef, 1 to 65,536 (96) */
    uint64_t seed;            /* for the choice of entry points; the same adds in the same order by
                                 one thread give the same graph */
} tk_index_options;

/* Fills in the defaults given above in parentheses. */
TK_API void tk_index_options_init(tk_index_options *options);

/* Makes an empty index. *index belongs to the caller and is released by tk_index_free.
 * Errors: TK_EINVAL, TK_ENOMEM. */
TK_API tk_status tk_index_create(const tk_index_options *options, tk_index **index,
                                 tk_error *error);

/* Releases the index and everything in it. NULL is allowed. No other call may be under way. */
TK_API void tk_index_free(tk_index *index);

/* ---- Writing --------------------------------------------------------------------------------- */

/* Adds a vector under a new id. Errors: TK_EEXISTS, TK_ENONFINITE, TK_EZERO, TK_ENOMEM, TK_EFULL.
 */
TK_API tk_status tk_index_add(tk_index *index, tk_id id, const float *vector, tk_error *error);

/* Adds n vectors, laid out one after another (n x dim floats), with `threads` threads (0: one per
 * processor). Much faster than n calls of tk_index_add. All arguments are checked before anything
 * is added: a bad vector, an id that exists or one that occurs twice in the batch leaves the index
 * unchanged, and the message names its position. After TK_ENOMEM a part of the batch may be in.
 * Errors: as tk_index_add. */
TK_API tk_status tk_index_add_batch(tk_index *index, size_t n, const tk_id *ids,
                                    const float *vectors, unsigned threads, tk_error *error);

/* Puts another vector in the place of the one under this id, which takes little time where it is
 * the same. A concurrent search finds the old one or the new one, never both. Errors: TK_ENOTFOUND
 * and those of tk_index_add. */
TK_API tk_status tk_index_replace(tk_index *index, tk_id id, const float *vector, tk_error *error);

/* Takes a vector out. Its space is used again by a later add. Errors: TK_ENOTFOUND, TK_ENOMEM. */
TK_API tk_status tk_index_remove(tk_index *index, tk_id id, tk_error *error);

/* ---- Reading --------------------------------------------------------------------------------- */

/* The number of vectors in the index. */
TK_API size_t tk_index_count(const tk_index *index);

TK_API bool tk_index_contains(const tk_index *index, tk_id id);

/* Copies the stored vector, normalised to length 1, to out (dim floats). It is within 0.0001 of the
 * given one in every component, not always bit for bit the same. Errors: TK_ENOTFOUND. */
TK_API tk_status tk_index_get(const tk_index *index, tk_id id, float *out, tk_error *error);

typedef struct tk_hit {
    tk_id id;
    float similarity; /* within 0.0001 of the exact cosine */
} tk_hit;

/* A set of ids, for filters: a compressed bitmap (Roaring: arXiv 1603.06549). Not locked: a set may
 * be read by many threads, but must not be changed while it is in use. */
typedef struct tk_idset tk_idset;
TK_API tk_idset *tk_idset_create(void);              /* NULL when memory ran out */
TK_API tk_idset *tk_idset_copy(const tk_idset *set); /* NULL when memory ran out */
TK_API void tk_idset_free(tk_idset *set);
TK_API tk_status tk_idset_add(tk_idset *set, tk_id id);
TK_API tk_status tk_idset_add_many(tk_idset *set, size_t n, const tk_id *ids);
TK_API tk_status tk_idset_add_set(tk_idset *set, const tk_idset *other); /* all ids of another */
TK_API void tk_idset_remove(tk_idset *set, tk_id id); /* one that is not there is no error */
TK_API bool tk_idset_contains(const tk_idset *set, tk_id id);
TK_API size_t tk_idset_count(const tk_idset *set);

/* Which vectors may be part of the answer: bit i of what it returns stands for ids[i]. It is asked
 * about 1 to TK_PREDICATE_MAX ids at once, by the searching threads, possibly several times about
 * one id; it must not call back into the index. */
#define TK_PREDICATE_MAX 64
typedef uint64_t (*tk_predicate)(const tk_id *ids, size_t count, void *arg);

typedef struct tk_search {
    size_t k;               /* hits wanted, 1 to 65,536 (10) */
    size_t ef;              /* effort: candidates kept while searching, up to 65,536. Larger is
                               slower and finds more of the true neighbours. 0: the index's own
                               ef_search. Values below k count as k. */
    float threshold;        /* only hits of at least this similarity (-infinity: all) */
    const tk_idset *within; /* only these ids, or NULL */
    tk_predicate predicate; /* only ids it accepts, or NULL; together with `within`, both */
    void *predicate_arg;
    bool exact; /* compare with every vector, so that recall is 1 */
} tk_search;

/* Fills in the defaults: k = 10, no threshold, no filter. */
TK_API void tk_search_init(tk_search *search);

/* Finds the vectors most similar to query (dim floats) and writes them to hits (room for
 * search->k), best first, ties by smaller id. *found is how many there were, less than k when there
 * are fewer. Errors: TK_EINVAL, TK_ENONFINITE, TK_EZERO, TK_ENOMEM. */
TK_API tk_status tk_index_search(const tk_index *index, const float *query, const tk_search *search,
                                 tk_hit *hits, size_t *found, tk_error *error);

/* The same for n queries (n x dim floats) with `threads` threads (0: one per processor). hits has
 * room for n x k, those of query i from hits[i * k] on; found has room for n. */
TK_API tk_status tk_index_search_batch(const tk_index *index, size_t n, const float *queries,
                                       const tk_search *search, unsigned threads, tk_hit *hits,
                                       size_t *found, tk_error *error);

/* Range search: every vector whose similarity is at least search->threshold, best first; search->k
 * is not looked at, search->ef is the least effort. *hits is allocated, *found long, and released
 * by the caller with free(). A threshold of -infinity is TK_EINVAL. */
TK_API tk_status tk_index_search_range(const tk_index *index, const float *query,
                                       const tk_search *search, tk_hit **hits, size_t *found,
                                       tk_error *error);

/* ---- Figures --------------------------------------------------------------------------------- */

typedef struct tk_index_stats {
    size_t count;    /* vectors in the index */
    size_t capacity; /* vectors there is room for without growing */
    size_t bytes;    /* memory held by the index, in bytes */
    uint32_t dim;
    uint32_t max_neighbours;
    uint32_t ef_construction;
    uint32_t ef_search;
    uint32_t layers;        /* layers of the graph: 1, or 0 when it is empty */
    double mean_neighbours; /* mean length of the ground layer's neighbour lists */
    uint64_t adds, replaces, removes, searches; /* since it was created or loaded */
    const char *kernel; /* the kernels in use: "avx512", "avx2", "neon" or "portable" */
} tk_index_stats;

/* Takes time in proportion to the count (for mean_neighbours). */
TK_API void tk_index_get_stats(const tk_index *index, tk_index_stats *stats);

/* ---- Files ----------------------------------------------------------------------------------- */

/* Writes the index to a file: beside path first, then synced and renamed over it, so that path is
 * always either the old file or the whole new one. note (up to 64 KiB, may be NULL) is kept in the
 * file for the caller, and is read back by tk_index_note. Searches go on meanwhile; writers wait.
 * The file beside is path with ".tmp" after it. Errors: TK_EINVAL, TK_ENOMEM, TK_EIO. */
TK_API tk_status tk_index_save(const tk_index *index, const char *path, const void *note,
                               size_t note_size, tk_error *error);

/* Opens a saved index. The file must not be changed in place afterwards, but may be replaced by
 * rename or removed. A file that is truncated, damaged or foreign is refused with the reason.
 * Errors: TK_EIO, TK_ECORRUPT, TK_EVERSION, TK_ENOMEM. */
TK_API tk_status tk_index_load(const char *path, tk_index **index, tk_error *error);

/* The note that the loaded file carried, and its size; NULL and 0 where there is none. Valid until
 * tk_index_free. */
TK_API const void *tk_index_note(const tk_index *index, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
