/* catalog.c: adding, moving and removing documents and embeddings. */
#include "tools/tekupd/catalog_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Hashes ---------------------------------------------------------------------------------- */

static uint64_t hash_text(const char *text, uint64_t hash)
{
    for (; *text != '\0'; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

/* ---- Documents and repositories; `lock` is held for writing ------------------------------
 */

static struct repository *find_repository(const struct catalog *catalog, const char *source,
                                          const char *name)
{
    const uint64_t hash = hash_text(name, hash_text(source, 0xcbf29ce484222325u));
    struct repository *repository = catalog->repositories[hash % REPOSITORY_BUCKETS];
    while (repository != NULL &&
           (strcmp(repository->name, name) != 0 || strcmp(repository->source, source) != 0))
        repository = repository->next;
    return repository;
}

static struct repository *make_repository(struct catalog *catalog, const char *source,
                                          const char *name)
{
    struct repository *repository = find_repository(catalog, source, name);
    if (repository != NULL) return repository;
    repository = calloc(1, sizeof(*repository));
    if (repository == NULL) return NULL;
    repository->source = strdup(source);
    repository->name = strdup(name);
    if (repository->source == NULL || repository->name == NULL) {
        free(repository->source);
        free(repository->name);
        free(repository);
        return NULL;
    }
    const uint64_t hash = hash_text(name, hash_text(source, 0xcbf29ce484222325u));
    struct repository **bucket = &catalog->repositories[hash % REPOSITORY_BUCKETS];
    repository->next = *bucket;
    *bucket = repository;
    return repository;
}

static struct entry **bucket_of(const struct catalog *catalog, const char *id)
{
    return &catalog->buckets[hash_text(id, 0xcbf29ce484222325u) & (catalog->bucket_count - 1)];
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
    unlink_document(catalog, document);
    free(document->embeddings);
    free(document);
}

static void forget_embedding(struct catalog *catalog, struct entry *document, uint32_t index)
{
    id_map_remove(catalog->embeddings, document->embeddings[index].embedding);
    document->embeddings[index] = document->embeddings[--document->count];
    document->repository->embeddings--;
    atomic_fetch_sub(&catalog->embedding_count, 1);
}

static struct entry *new_document(struct catalog *catalog, const char *id, const char *source,
                                  const char *repository, const char *path, uint32_t epoch)
{
    struct entry *document = calloc(1, sizeof(*document) + strlen(path) + 1);
    struct repository *home = make_repository(catalog, source, repository);
    if (document == NULL || home == NULL) {
        free(document);
        return NULL;
    }
    document->repository = home;
    document->serial = catalog->next_serial++;
    document->epoch = epoch;
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
            free(repository->source);
            free(repository->name);
            free(repository);
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
static void move_document(struct catalog *catalog, struct entry *old, struct entry *new)
{
    new->embeddings = old->embeddings;
    new->count = old->count;
    new->room = old->room;
    if (old->epoch > new->epoch) new->epoch = old->epoch;
    for (uint32_t i = 0; i < new->count; i++)
        id_map_put(catalog->embeddings, new->embeddings[i].embedding,
                   new); /* is there: cannot fail */
    unlink_document(catalog, old);
    free(old);
}

int catalog_put_document(struct catalog *catalog, const char *id, const char *source,
                         const char *repository, const char *path, uint32_t epoch,
                         struct error *err)
{
    int rc = 0;
    if (strlen(id) >= DOCUMENT_ID_SIZE)
        return error_set(err, ERR_INVALID, "id", "a document's id is longer than %d bytes",
                         DOCUMENT_ID_SIZE - 1);
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *old = catalog_find(catalog, id);
    if (old != NULL && strcmp(old->path, path) == 0 &&
        strcmp(old->repository->name, repository) == 0 &&
        strcmp(old->repository->source, source) == 0) {
        if (epoch > old->epoch) old->epoch = epoch;
        goto out;
    }
    struct entry *document = new_document(catalog, id, source, repository, path, epoch);
    if (document == NULL) {
        rc = catalog_no_memory(err);
        goto out;
    }
    if (old != NULL) move_document(catalog, old, document);
    link_document(catalog, document);
out:
    pthread_rwlock_unlock(&catalog->lock);
    return rc;
}

static bool mark_seen(struct entry *document, int64_t embedding, uint32_t epoch)
{
    for (uint32_t i = 0; i < document->count; i++) {
        struct seen *seen = &document->embeddings[i];
        if (seen->embedding != embedding) continue;
        if (epoch > seen->epoch) seen->epoch = epoch;
        return true;
    }
    return false;
}

/* The document that an embedding leads to. `lock` is held, so that it stays. */
static struct entry *owner_of(const struct catalog *catalog, int64_t embedding)
{
    struct entry *document = id_map_lock(catalog->embeddings, embedding);
    id_map_unlock(catalog->embeddings, embedding);
    return document;
}

static void forget_of(struct catalog *catalog, struct entry *document, int64_t embedding)
{
    for (uint32_t i = 0; i < document->count; i++) {
        if (document->embeddings[i].embedding != embedding) continue;
        forget_embedding(catalog, document, i);
        return;
    }
}

static int add_embedding(struct catalog *catalog, struct entry *document, int64_t embedding,
                         uint32_t epoch, struct error *err)
{
    if (document->count == document->room) {
        const uint32_t room = document->room > 0 ? document->room * 2 : 2;
        struct seen *grown = realloc(document->embeddings, room * sizeof(*grown));
        if (grown == NULL) return catalog_no_memory(err);
        document->embeddings = grown;
        document->room = room;
    }
    if (id_map_put(catalog->embeddings, embedding, document) != 0) return catalog_no_memory(err);
    document->embeddings[document->count++] = (struct seen){embedding, epoch};
    document->repository->embeddings++;
    atomic_fetch_add(&catalog->embedding_count, 1);
    return 0;
}

int catalog_put_embedding(struct catalog *catalog, int64_t embedding, const char *document_id,
                          uint32_t epoch, bool *known, struct error *err)
{
    int rc;
    bool seen = false;
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *document = catalog_find(catalog, document_id);
    struct entry *owner = owner_of(catalog, embedding);
    if (document == NULL) {
        rc = error_set(err, ERR_NOT_FOUND, NULL, "no document '%s'", document_id);
    } else if (owner == document) {
        seen = mark_seen(document, embedding, epoch);
        rc = 0;
    } else {
        if (owner != NULL) forget_of(catalog, owner, embedding);
        rc = add_embedding(catalog, document, embedding, epoch, err);
    }
    pthread_rwlock_unlock(&catalog->lock);
    if (known != NULL) *known = seen;
    return rc;
}

void catalog_remove_embedding(struct catalog *catalog, int64_t embedding)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *owner = owner_of(catalog, embedding);
    if (owner != NULL) forget_of(catalog, owner, embedding);
    pthread_rwlock_unlock(&catalog->lock);
}

/* Ids that are to be handed out, counted first so that nothing can fail half way. */
struct ids {
    int64_t *list;
    size_t count;
};

static int ids_begin(struct ids *ids, size_t room, struct error *err)
{
    ids->count = 0;
    ids->list = malloc((room > 0 ? room : 1) * sizeof(*ids->list));
    return ids->list != NULL ? 0 : catalog_no_memory(err);
}

static bool is_stale(const struct entry *document, const struct seen *seen, uint32_t epoch)
{
    return document->epoch < epoch || seen->epoch < epoch;
}

int catalog_remove_document(struct catalog *catalog, const char *id, int64_t **embeddings,
                            size_t *count, struct error *err)
{
    struct ids ids = {NULL, 0};
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *document = catalog_find(catalog, id);
    int rc = ids_begin(&ids, document != NULL ? document->count : 0, err);
    if (rc == 0 && document != NULL) {
        for (uint32_t i = 0; i < document->count; i++)
            ids.list[ids.count++] = document->embeddings[i].embedding;
        drop_document(catalog, document);
    }
    pthread_rwlock_unlock(&catalog->lock);
    *embeddings = ids.list;
    *count = ids.count;
    return rc;
}

static size_t count_stale(const struct catalog *catalog, uint32_t epoch)
{
    size_t count = 0;
    for (size_t i = 0; i < catalog->bucket_count; i++) {
        for (const struct entry *document = catalog->buckets[i]; document != NULL;
             document = document->next) {
            for (uint32_t j = 0; j < document->count; j++)
                count += is_stale(document, &document->embeddings[j], epoch);
        }
    }
    return count;
}

static void remove_stale_of(struct catalog *catalog, struct entry *document, uint32_t epoch,
                            struct ids *ids)
{
    for (uint32_t j = document->count; j > 0; j--) {
        if (!is_stale(document, &document->embeddings[j - 1], epoch)) continue;
        ids->list[ids->count++] = document->embeddings[j - 1].embedding;
        forget_embedding(catalog, document, j - 1);
    }
    if (document->epoch < epoch) drop_document(catalog, document);
}

int catalog_remove_stale(struct catalog *catalog, uint32_t epoch, int64_t **embeddings,
                         size_t *count, struct error *err)
{
    struct ids ids = {NULL, 0};
    pthread_rwlock_wrlock(&catalog->lock);
    const int rc = ids_begin(&ids, count_stale(catalog, epoch), err);
    for (size_t i = 0; i < catalog->bucket_count && rc == 0; i++) {
        struct entry *next;
        for (struct entry *document = catalog->buckets[i]; document != NULL; document = next) {
            next = document->next;
            remove_stale_of(catalog, document, epoch, &ids);
        }
    }
    pthread_rwlock_unlock(&catalog->lock);
    *embeddings = ids.list;
    *count = ids.count;
    return rc;
}

void catalog_remove_if_empty(struct catalog *catalog, const char *id)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct entry *document = catalog_find(catalog, id);
    if (document != NULL && document->count == 0) drop_document(catalog, document);
    pthread_rwlock_unlock(&catalog->lock);
}

void catalog_remove_empty(struct catalog *catalog, const char *source, const char *repository)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct repository *home = find_repository(catalog, source, repository);
    struct entry *next;
    for (struct entry *document = home != NULL ? home->first : NULL; document != NULL;
         document = next) {
        next = document->after;
        if (document->count == 0) drop_document(catalog, document);
    }
    pthread_rwlock_unlock(&catalog->lock);
}
