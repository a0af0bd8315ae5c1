/* catalog.c: adding, moving and removing documents and embeddings. */
#include "tools/tekupd/mirror/catalog_internal.h"

#include "storage/base/fnv.h"

#include <stdlib.h>
#include <string.h>

/* ---- Hashes ---------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text, uint64_t hash)
{
    hash = fnv_add(hash, text, strlen(text));
    return hash ^ hash >> 29;
}

/* ---- Documents and repositories; `lock` is held for writing ------------------------------
 */

struct repository *catalog_find_repository(const struct catalog *catalog, const char *source,
                                           const char *name)
{
    const uint64_t hash = hash_text(name, hash_text(source, FNV_BASIS));
    struct repository *repository = catalog->repositories[hash % REPOSITORY_BUCKETS];
    while (repository != NULL &&
           (strcmp(repository->name, name) != 0 || strcmp(repository->source, source) != 0))
        repository = repository->next;
    return repository;
}

static void free_repository(struct repository *repository)
{
    shared_set_release(repository->ids);
    free(repository->source);
    free(repository->name);
    free(repository);
}

static struct repository *make_repository(struct catalog *catalog, const char *source,
                                          const char *name)
{
    struct repository *repository = catalog_find_repository(catalog, source, name);
    if (repository != NULL) return repository;
    repository = calloc(1, sizeof(*repository));
    if (repository == NULL) return NULL;
    repository->source = strdup(source);
    repository->name = strdup(name);
    repository->ids = shared_set_create();
    if (repository->source == NULL || repository->name == NULL || repository->ids == NULL) {
        free_repository(repository);
        return NULL;
    }
    const uint64_t hash = hash_text(name, hash_text(source, FNV_BASIS));
    struct repository **bucket = &catalog->repositories[hash % REPOSITORY_BUCKETS];
    repository->next = *bucket;
    *bucket = repository;
    return repository;
}

/* The set of a repository's embeddings follows those of its documents. */
static int put_ids(struct repository *repository, const struct held *held, size_t count)
{
    tk_idset *ids = count > 0 ? shared_set_change(&repository->ids) : NULL;
    if (count > 0 && ids == NULL) return -1;
    for (size_t i = 0; i < count; i++) {
        if (tk_idset_add(ids, (tk_id)held[i].embedding) == TK_OK) continue;
        while (i-- > 0) tk_idset_remove(ids, (tk_id)held[i].embedding);
        return -1;
    }
    return 0;
}

/* Those stay in that memory ran out for. */
static void take_ids(struct repository *repository, const struct held *held, size_t count)
{
    tk_idset *ids = count > 0 ? shared_set_change(&repository->ids) : NULL;
    for (size_t i = 0; ids != NULL && i < count; i++)
        tk_idset_remove(ids, (tk_id)held[i].embedding);
}

static struct entry **bucket_of(const struct catalog *catalog, const char *id)
{
    return &catalog->buckets[hash_text(id, FNV_BASIS) & (catalog->bucket_count - 1)];
}

struct entry *catalog_find(const struct catalog *catalog, const char *id)
{
    struct entry *document = *bucket_of(catalog, id);
    while (document != NULL && strcmp(document->id, id) != 0) document = document->next;
    return document;
}

static void grow_buckets(struct catalog *catalog)
{
    const size_t old_count = catalog->bucket_count;
    struct entry **old = catalog->buckets;
    struct entry **buckets = calloc(old_count * 2, sizeof(struct entry *));
    if (buckets == NULL) return; /* slower, not wrong */
    catalog->buckets = buckets;
    catalog->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        struct entry *document = old[i];
        while (document != NULL) {
            struct entry *next = document->next;
            struct entry **bucket = bucket_of(catalog, document->id);
            document->next = *bucket;
            *bucket = document;
            document = next;
        }
    }
    free(old);
}

static size_t document_bytes(const struct entry *document)
{
    return sizeof(*document) + strlen(document->path) + 1;
}

static void link_document(struct catalog *catalog, struct entry *document)
{
    if (catalog->document_count >= catalog->bucket_count) grow_buckets(catalog);
    struct entry **bucket = bucket_of(catalog, document->id);
    struct repository *repository = document->repository;
    document->next = *bucket;
    *bucket = document;
    document->before = NULL;
    document->after = repository->first;
    if (repository->first != NULL) repository->first->before = document;
    repository->first = document;
    repository->embeddings += document->count;
    catalog->document_count++;
    atomic_fetch_add(&catalog->bytes, document_bytes(document));
}

static void unlink_document(struct catalog *catalog, struct entry *document)
{
    struct entry **at = bucket_of(catalog, document->id);
    while (*at != document) at = &(*at)->next;
    *at = document->next;
    if (document->before != NULL)
        document->before->after = document->after;
    else
        document->repository->first = document->after;
    if (document->after != NULL) document->after->before = document->before;
    document->repository->embeddings -= document->count;
    catalog->document_count--;
    atomic_fetch_sub(&catalog->bytes, document_bytes(document));
}

static void drop_document(struct catalog *catalog, struct entry *document)
{
    for (uint32_t i = 0; i < document->count; i++)
        id_map_remove(catalog->embeddings, document->embeddings[i].embedding);
    atomic_fetch_sub(&catalog->embedding_count, document->count);
    take_ids(document->repository, document->embeddings, document->count);
    unlink_document(catalog, document);
    free(document->embeddings);
    free(document);
}

static void forget_embedding(struct catalog *catalog, struct entry *document, uint32_t index)
{
    id_map_remove(catalog->embeddings, document->embeddings[index].embedding);
    take_ids(document->repository, &document->embeddings[index], 1);
    document->embeddings[index] = document->embeddings[--document->count];
    document->repository->embeddings--;
    atomic_fetch_sub(&catalog->embedding_count, 1);
}

static struct entry *new_document(struct catalog *catalog, const char *id, const char *source,
                                  const char *repository, const char *path)
{
    struct entry *document = calloc(1, sizeof(*document) + strlen(path) + 1);
    struct repository *home = make_repository(catalog, source, repository);
    if (document == NULL || home == NULL) {
        free(document);
        return NULL;
    }
    document->repository = home;
    document->serial = catalog->next_serial++;
    strncpy(document->id, id, sizeof(document->id) - 1);
    strcpy(document->path, path);
    return document;
}

/* ---- Making and releasing -------------------------------------------------------------------- */

struct catalog *catalog_create(void)
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (catalog == NULL) return NULL;
    catalog->bucket_count = FIRST_BUCKETS;
    catalog->next_serial = 1; /* 0 stands for none */
    catalog->buckets = calloc(catalog->bucket_count, sizeof(struct entry *));
    catalog->embeddings = id_map_create();
    if (catalog->buckets == NULL || catalog->embeddings == NULL) {
        free(catalog->buckets);
        id_map_free(catalog->embeddings);
        free(catalog);
        return NULL;
    }
    id_map_init_lock(&catalog->lock);
    return catalog;
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL) return;
    for (size_t i = 0; i < catalog->bucket_count; i++) {
        struct entry *document = catalog->buckets[i];
        while (document != NULL) {
            struct entry *next = document->next;
            free(document->embeddings);
            free(document);
            document = next;
        }
    }
    for (size_t i = 0; i < REPOSITORY_BUCKETS; i++) {
        struct repository *repository = catalog->repositories[i];
        while (repository != NULL) {
            struct repository *next = repository->next;
            free_repository(repository);
            repository = next;
        }
    }
    id_map_free(catalog->embeddings);
    pthread_rwlock_destroy(&catalog->lock);
    free(catalog->buckets);
    free(catalog);
}

/* ---- Writing --------------------------------------------------------------------------------- */

int catalog_no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* The document at its new place takes over the embeddings of the old one. */
static int move_document(struct catalog *catalog, struct entry *old, struct entry *new)
{
    if (new->repository != old->repository) {
        if (put_ids(new->repository, old->embeddings, old->count) != 0) return -1;
        take_ids(old->repository, old->embeddings, old->count);
    }
    new->embeddings = old->embeddings;
    new->count = old->count;
    new->room = old->room;
    for (uint32_t i = 0; i < new->count; i++)
        id_map_put(catalog->embeddings, new->embeddings[i].embedding,
                   new); /* is there: cannot fail */
    unlink_document(catalog, old);
    free(old);
    return 0;
}

int catalog_put_document(struct catalog *catalog, const char *id, const char *source,
                         const char *repository, const char *path, struct error *err)
{
    int rc = 0;
    if (strlen(id) >= DOCUMENT_ID_SIZE)
        return error_set(err, ERR_INVALID, "id", "a document's id is longer than %d bytes",
                         DOCUMENT_ID_SIZE - 1);
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *old = catalog_find(catalog, id);
    if (old != NULL && strcmp(old->path, path) == 0 &&
        strcmp(old->repository->name, repository) == 0 &&
        strcmp(old->repository->source, source) == 0)
        goto out;
    struct entry *document = new_document(catalog, id, source, repository, path);
    if (document == NULL || (old != NULL && move_document(catalog, old, document) != 0)) {
        free(document);
        rc = catalog_no_memory(err);
        goto out;
    }
    link_document(catalog, document);
out:
    pthread_rwlock_unlock(&catalog->lock);
    return rc;
}

static struct held *find_held(struct entry *document, int64_t embedding)
{
    for (uint32_t i = 0; i < document->count; i++)
        if (document->embeddings[i].embedding == embedding) return &document->embeddings[i];
    return NULL;
}

/* The document that an embedding leads to. `lock` is held, so that it stays. */
static struct entry *owner_of(const struct catalog *catalog, int64_t embedding)
{
    return id_map_find(catalog->embeddings, embedding);
}

static void forget_of(struct catalog *catalog, struct entry *document, int64_t embedding)
{
    const struct held *held = find_held(document, embedding);
    if (held != NULL) forget_embedding(catalog, document, (uint32_t)(held - document->embeddings));
}

static int add_embedding(struct catalog *catalog, struct entry *document, int64_t embedding,
                         uint64_t hash, struct error *err)
{
    if (document->count == document->room) {
        const uint32_t room = document->room > 0 ? document->room * 2 : 2;
        struct held *grown = realloc(document->embeddings, room * sizeof(*grown));
        if (grown == NULL) return catalog_no_memory(err);
        document->embeddings = grown;
        document->room = room;
    }
    const struct held held = {embedding, hash};
    if (put_ids(document->repository, &held, 1) != 0) return catalog_no_memory(err);
    if (id_map_put(catalog->embeddings, embedding, document) != 0) {
        take_ids(document->repository, &held, 1);
        return catalog_no_memory(err);
    }
    document->embeddings[document->count++] = held;
    document->repository->embeddings++;
    atomic_fetch_add(&catalog->embedding_count, 1);
    return 0;
}

/* One that belongs to another document now. Nothing fails half way: its place in the table is
 * there already. */
static int move_embedding(struct catalog *catalog, struct entry *from, struct entry *to,
                          int64_t embedding, uint64_t hash, enum catalog_had *had,
                          struct error *err)
{
    const bool same = find_held(from, embedding)->hash == hash;
    if (add_embedding(catalog, to, embedding, hash, err) != 0) return -1;
    const struct held *held = find_held(from, embedding);
    if (from->repository != to->repository) take_ids(from->repository, held, 1);
    from->embeddings[held - from->embeddings] = from->embeddings[--from->count];
    from->repository->embeddings--;
    atomic_fetch_sub(&catalog->embedding_count, 1);
    *had = same ? CATALOG_SAME : CATALOG_OTHER;
    return 0;
}

int catalog_put_embedding(struct catalog *catalog, int64_t embedding, const char *document_id,
                          uint64_t hash, enum catalog_had *had, struct error *err)
{
    int rc = 0;
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *document = catalog_find(catalog, document_id);
    struct entry *owner = owner_of(catalog, embedding);
    if (document == NULL) {
        rc = error_set(err, ERR_NOT_FOUND, NULL, "no document '%s'", document_id);
    } else if (owner == document) {
        struct held *held = find_held(document, embedding);
        *had = held->hash == hash ? CATALOG_SAME : CATALOG_OTHER;
        held->hash = hash;
    } else if (owner != NULL) {
        rc = move_embedding(catalog, owner, document, embedding, hash, had, err);
    } else {
        *had = CATALOG_NEW;
        rc = add_embedding(catalog, document, embedding, hash, err);
    }
    pthread_rwlock_unlock(&catalog->lock);
    return rc;
}

void catalog_remove_embedding(struct catalog *catalog, int64_t embedding)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *owner = owner_of(catalog, embedding);
    if (owner != NULL) forget_of(catalog, owner, embedding);
    pthread_rwlock_unlock(&catalog->lock);
}

/* The ids of a document's embeddings, for the caller. */
static int copy_embeddings(const struct entry *document, int64_t **embeddings, size_t *count,
                           struct error *err)
{
    const size_t room = document != NULL ? document->count : 0;
    *count = 0;
    *embeddings = malloc((room > 0 ? room : 1) * sizeof(**embeddings));
    if (*embeddings == NULL) return catalog_no_memory(err);
    for (size_t i = 0; i < room; i++) (*embeddings)[(*count)++] = document->embeddings[i].embedding;
    return 0;
}

int catalog_remove_document(struct catalog *catalog, const char *id, int64_t **embeddings,
                            size_t *count, struct error *err)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *document = catalog_find(catalog, id);
    const int rc = copy_embeddings(document, embeddings, count, err);
    if (rc == 0 && document != NULL) drop_document(catalog, document);
    pthread_rwlock_unlock(&catalog->lock);
    return rc;
}

int catalog_embeddings_of(const struct catalog *catalog, const char *id, int64_t **embeddings,
                          size_t *count, struct error *err)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    pthread_rwlock_rdlock(lock);
    const int rc = copy_embeddings(catalog_find(catalog, id), embeddings, count, err);
    pthread_rwlock_unlock(lock);
    return rc;
}

size_t catalog_walk(const struct catalog *catalog, size_t *from, char (*ids)[DOCUMENT_ID_SIZE],
                    size_t most)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    size_t count = 0;
    pthread_rwlock_rdlock(lock);
    for (; *from < catalog->bucket_count; (*from)++) {
        size_t length = 0;
        const struct entry *document = catalog->buckets[*from];
        for (const struct entry *at = document; at != NULL; at = at->next) length++;
        if (count > 0 && count + length > most) break;
        for (; document != NULL && count < most; document = document->next)
            memcpy(ids[count++], document->id, DOCUMENT_ID_SIZE);
    }
    pthread_rwlock_unlock(lock);
    return count;
}

bool catalog_look_up(const struct catalog *catalog, int64_t embedding, uint64_t *hash,
                     char document[DOCUMENT_ID_SIZE])
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    pthread_rwlock_rdlock(lock);
    struct entry *owner = owner_of(catalog, embedding);
    if (owner != NULL) {
        *hash = find_held(owner, embedding)->hash;
        memcpy(document, owner->id, DOCUMENT_ID_SIZE);
    }
    pthread_rwlock_unlock(lock);
    return owner != NULL;
}

bool catalog_place(const struct catalog *catalog, const char *id, struct buffer *place)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    pthread_rwlock_rdlock(lock);
    const struct entry *document = catalog_find(catalog, id);
    if (document != NULL) {
        buffer_append(place, document->repository->source,
                      strlen(document->repository->source) + 1);
        buffer_append(place, document->repository->name, strlen(document->repository->name) + 1);
        buffer_append(place, document->path, strlen(document->path) + 1);
    }
    pthread_rwlock_unlock(lock);
    return document != NULL;
}
