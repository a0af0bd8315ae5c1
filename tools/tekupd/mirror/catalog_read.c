/* catalog_read.c: filters, and the names of hits. */
#include "tools/tekupd/mirror/catalog_internal.h"

#include <stdlib.h>
#include <string.h>

/* A filter by path that lets at most this many of its repositories' embeddings pass, or one of
 * NARROW of all, becomes a set. */
enum { SMALL_SET = 2000, NARROW = 10 };

bool catalog_knows(const struct catalog *catalog, int64_t embedding)
{
    const bool known = id_map_lock(catalog->embeddings, embedding) != NULL;
    id_map_unlock(catalog->embeddings, embedding);
    return known;
}

void catalog_count(const struct catalog *catalog, struct catalog_counts *counts)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    pthread_rwlock_rdlock(lock);
    counts->documents = catalog->document_count;
    pthread_rwlock_unlock(lock);
    counts->embeddings = atomic_load(&catalog->embedding_count);
    counts->bytes = sizeof(*catalog) + atomic_load(&catalog->bytes) +
                    counts->documents * sizeof(struct entry *) +
                    counts->embeddings * (sizeof(struct held) + 2 * sizeof(void *) +
                                          2 * sizeof(int64_t) + sizeof(uint16_t));
}

bool catalog_is_one_to_one(const struct catalog *catalog)
{
    return atomic_load_explicit(&catalog->embedding_count, memory_order_relaxed) <=
           atomic_load_explicit(&catalog->document_count, memory_order_relaxed);
}

static bool repository_passes(const struct repository *repository,
                              const struct catalog_filter *filter)
{
    return (filter->source == NULL || strcmp(repository->source, filter->source) == 0) &&
           (filter->repository == NULL || strcmp(repository->name, filter->repository) == 0);
}

static bool path_passes(const struct entry *document, const struct catalog_filter *filter)
{
    return filter->path_prefix == NULL ||
           strncmp(document->path, filter->path_prefix, strlen(filter->path_prefix)) == 0;
}

static bool document_passes(const struct entry *document, const struct catalog_filter *filter)
{
    return repository_passes(document->repository, filter) && path_passes(document, filter);
}

static bool passes(const struct catalog_filter *filter, tk_id id)
{
    const struct entry *document = id_map_lock(filter->catalog->embeddings, (int64_t)id);
    const bool pass = document != NULL && document_passes(document, filter);
    id_map_unlock(filter->catalog->embeddings, (int64_t)id);
    return pass;
}

/* A tk_predicate. */
static uint64_t passing(const tk_id *ids, size_t count, void *arg)
{
    uint64_t accepted = 0;
    for (size_t i = 0; i < count; i++) accepted |= (uint64_t)passes(arg, ids[i]) << i;
    return accepted;
}

static int add_document(const struct entry *document, tk_idset *set)
{
    for (uint32_t i = 0; i < document->count; i++) {
        if (tk_idset_add(set, (tk_id)document->embeddings[i].embedding) != TK_OK) return -1;
    }
    return 0;
}

/* The repositories that pass, one after another; NULL at the end. *bucket starts as 0. `lock` is
 * held. */
static struct repository *next_passing(const struct catalog_filter *filter,
                                       struct repository *repository, size_t *bucket)
{
    const struct catalog *catalog = filter->catalog;
    if (filter->source != NULL && filter->repository != NULL)
        return (*bucket)++ == 0
                   ? catalog_find_repository(catalog, filter->source, filter->repository)
                   : NULL;
    if (repository != NULL) repository = repository->next;
    for (;;) {
        while (repository == NULL && *bucket < REPOSITORY_BUCKETS)
            repository = catalog->repositories[(*bucket)++];
        if (repository == NULL || repository_passes(repository, filter)) return repository;
        repository = repository->next;
    }
}

/* Embeddings in the repositories that pass. `lock` is held. */
static size_t count_passing(const struct catalog_filter *filter)
{
    size_t count = 0, bucket = 0;
    struct repository *repository = NULL;
    while ((repository = next_passing(filter, repository, &bucket)) != NULL)
        count += repository->embeddings;
    return count;
}

/* ---- Sets; `lock` is held ---- */

static int narrow_to_documents(struct catalog_filter *filter, char *const *documents, size_t count)
{
    filter->made = tk_idset_create();
    if (filter->made == NULL) return -1;
    for (size_t i = 0; i < count; i++) {
        const struct entry *document = catalog_find(filter->catalog, documents[i]);
        if (document != NULL && document_passes(document, filter) &&
            add_document(document, filter->made) != 0)
            return -1;
    }
    return 0;
}

static int narrow_to_paths(struct catalog_filter *filter)
{
    struct repository *repository = NULL;
    size_t bucket = 0;
    filter->made = tk_idset_create();
    if (filter->made == NULL) return -1;
    while ((repository = next_passing(filter, repository, &bucket)) != NULL) {
        for (const struct entry *document = repository->first; document != NULL;
             document = document->after)
            if (path_passes(document, filter) && add_document(document, filter->made) != 0)
                return -1;
    }
    return 0;
}

/* That of the only repository, or all of them together. */
static int narrow_to_repositories(struct catalog_filter *filter)
{
    size_t bucket = 0;
    struct repository *repository = next_passing(filter, NULL, &bucket);
    struct repository *other =
        repository != NULL ? next_passing(filter, repository, &bucket) : NULL;
    if (repository != NULL && other == NULL) {
        filter->kept = shared_set_keep(repository->ids);
        return 0;
    }
    filter->made =
        repository != NULL ? tk_idset_copy(shared_set_ids(repository->ids)) : tk_idset_create();
    if (filter->made == NULL) return -1;
    for (; other != NULL; other = next_passing(filter, other, &bucket))
        if (tk_idset_add_set(filter->made, shared_set_ids(other->ids)) != TK_OK) return -1;
    return 0;
}

int catalog_narrow(const struct catalog *catalog, const char *source, const char *repository,
                   const char *path_prefix, char *const *documents, size_t document_count,
                   struct catalog_filter *filter, struct error *err)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    int rc = 0;
    *filter = (struct catalog_filter){
        .catalog = catalog, .source = source, .repository = repository, .path_prefix = path_prefix};
    if (source == NULL && repository == NULL && path_prefix == NULL && documents == NULL) return 0;

    pthread_rwlock_rdlock(lock);
    if (documents != NULL) {
        rc = narrow_to_documents(filter, documents, document_count);
    } else if (path_prefix == NULL) {
        rc = narrow_to_repositories(filter);
    } else {
        const size_t most = count_passing(filter);
        filter->ask = most > SMALL_SET && most > atomic_load(&catalog->embedding_count) / NARROW;
        if (!filter->ask) rc = narrow_to_paths(filter);
    }
    pthread_rwlock_unlock(lock);
    if (rc != 0) {
        catalog_filter_free(filter);
        return catalog_no_memory(err);
    }
    filter->within = filter->kept != NULL ? shared_set_ids(filter->kept) : filter->made;
    filter->nothing = filter->within != NULL && tk_idset_count(filter->within) == 0;
    return 0;
}

void catalog_filter_free(struct catalog_filter *filter)
{
    shared_set_release(filter->kept);
    tk_idset_free(filter->made);
    filter->kept = NULL;
    filter->made = NULL;
    filter->within = NULL;
}

void catalog_apply(struct catalog_filter *filter, tk_search *search)
{
    search->within = filter->within;
    if (filter->ask) {
        search->predicate = passing;
        search->predicate_arg = filter;
    }
}

/* ---- Hits ------------------------------------------------------------------------------------ */

/* Hits that are looked up side by side. */
enum { TOGETHER = 16 };

/* A hit that is to be named. */
struct pick {
    const tk_hit *hit;
    const struct entry *document;
    size_t path_size; /* with its NUL */
};

struct picks {
    struct pick *picks;
    size_t count, limit;
    uint64_t *taken; /* serials of the documents so far; NULL: a document may be named many times */
    size_t taken_size;
};

static int picks_init(struct picks *picks, size_t limit, bool all)
{
    *picks = (struct picks){.limit = limit, .taken_size = 16};
    while (picks->taken_size < 2 * limit) picks->taken_size *= 2;
    picks->picks = malloc((limit + 1) * sizeof(*picks->picks));
    if (!all) picks->taken = calloc(picks->taken_size, sizeof(*picks->taken));
    return picks->picks != NULL && (all || picks->taken != NULL) ? 0 : -1;
}

static void picks_free(struct picks *picks)
{
    free(picks->picks);
    free(picks->taken);
}

/* Whether a document's serial was taken already; takes it otherwise. */
static bool take(struct picks *picks, uint64_t serial)
{
    uint64_t *taken = picks->taken;
    if (taken == NULL) return true;
    size_t at = (size_t)(serial * 0x9e3779b97f4a7c15u >> 20) & (picks->taken_size - 1);
    while (taken[at] != 0 && taken[at] != serial) at = (at + 1) & (picks->taken_size - 1);
    const bool first = taken[at] == 0;
    taken[at] = serial;
    return first;
}

/* Picks among at most TOGETHER hits. Their places in the table and then their documents, most of
 * which are in no cache, are asked for before the first is looked at. `lock` is held. */
static void pick_hits(const struct catalog *catalog, const struct catalog_filter *filter,
                      const tk_hit *hits, size_t count, struct picks *picks)
{
    const struct entry *documents[TOGETHER];
    for (size_t i = 0; i < count; i++) id_map_prefetch(catalog->embeddings, (int64_t)hits[i].id);
    for (size_t i = 0; i < count; i++) {
        documents[i] = id_map_find(catalog->embeddings, (int64_t)hits[i].id);
        if (documents[i] == NULL) continue;
        __builtin_prefetch(documents[i]);
        __builtin_prefetch(documents[i]->path);
    }
    for (size_t i = 0; i < count && picks->count < picks->limit; i++) {
        const struct entry *document = documents[i];
        if (document == NULL || (filter != NULL && !document_passes(document, filter)) ||
            !take(picks, document->serial))
            continue;
        picks->picks[picks->count++] = (struct pick){
            .hit = &hits[i], .document = document, .path_size = strlen(document->path) + 1};
    }
}

/* `lock` is held, so that the documents stay until their paths are copied. */
static int name_picks(const struct picks *picks, struct catalog_hits *best)
{
    size_t size = 0;
    if (picks->count == 0) return 0;
    for (size_t i = 0; i < picks->count; i++) size += picks->picks[i].path_size;
    best->hits = malloc(picks->count * sizeof(*best->hits));
    best->paths = malloc(size);
    if (best->hits == NULL || best->paths == NULL) return -1;
    char *path = best->paths;
    for (size_t i = 0; i < picks->count; i++) {
        const struct pick *pick = &picks->picks[i];
        struct catalog_hit *hit = &best->hits[best->count++];
        hit->embedding = (int64_t)pick->hit->id;
        hit->similarity = pick->hit->similarity;
        hit->score = pick->hit->similarity;
        memcpy(hit->document, pick->document->id, sizeof(hit->document));
        hit->source = pick->document->repository->source;
        hit->repository = pick->document->repository->name;
        hit->path = memcpy(path, pick->document->path, pick->path_size);
        path += pick->path_size;
    }
    return 0;
}

int catalog_best(const struct catalog *catalog, const struct catalog_filter *filter,
                 const tk_hit *hits, size_t count, size_t limit, bool all,
                 struct catalog_hits *best, struct error *err)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    struct picks picks;
    *best = (struct catalog_hits){0};
    int rc = picks_init(&picks, limit, all);
    if (rc == 0) {
        pthread_rwlock_rdlock(lock);
        for (size_t at = 0; at < count && picks.count < limit; at += TOGETHER)
            pick_hits(catalog, filter, hits + at, count - at < TOGETHER ? count - at : TOGETHER,
                      &picks);
        rc = name_picks(&picks, best);
        pthread_rwlock_unlock(lock);
    }
    picks_free(&picks);
    if (rc == 0) return 0;
    catalog_hits_free(best);
    return catalog_no_memory(err);
}

void catalog_hits_free(struct catalog_hits *hits)
{
    free(hits->hits);
    free(hits->paths);
    *hits = (struct catalog_hits){0};
}
