/*
 * catalog_internal.h: how the catalog is kept, for catalog.c (writing) and catalog_read.c.
 *
 * Locks. `lock` protects the table of documents, the list of each repository and the list of
 * embeddings of each document. Whoever holds it reads the embeddings' table without that one's
 * locks, since only those who hold `lock` for writing change it. Searches that look up every
 * candidate, one by one, take a lock of the table instead, of which there are many. A document that
 * an embedding leads to stays as long as either is held: a document is taken out of the table
 * before it is freed. What it says of its place never changes; one that moves is replaced.
 * Repositories are never freed. Order: `lock`, then the table's.
 *
 * Filters. Each repository has the set of its embeddings, which a search takes hold of under `lock`
 * and then reads without it, while writers go on with a copy. So it may be older than the catalog:
 * whoever names a hit looks whether it passes now (catalog_best). Where memory runs out for a copy
 * ids stay in that have left; the same look keeps them out of answers.
 */
#ifndef TEKUPD_CATALOG_INTERNAL_H
#define TEKUPD_CATALOG_INTERNAL_H

#include "tools/tekupd/mirror/catalog.h"
#include "tools/tekupd/mirror/id_map.h"
#include "tools/tekupd/mirror/shared_set.h"

#include <pthread.h>
#include <stdatomic.h>

enum { REPOSITORY_BUCKETS = 1024, FIRST_BUCKETS = 1024 };

struct repository {
    char *source, *name;
    struct entry *first;
    size_t embeddings;
    struct shared_set *ids;  /* of the embeddings */
    struct repository *next; /* in its bucket */
};

struct held {
    int64_t embedding;
    uint64_t hash; /* of the vector as PostgreSQL has it */
};

struct entry {
    uint64_t serial; /* never used twice, unlike the address */
    struct repository *repository;
    struct entry *next;           /* in its bucket */
    struct entry *before, *after; /* in its repository */
    struct held *embeddings;
    uint32_t count, room;
    char id[DOCUMENT_ID_SIZE];
    char path[];
};

struct catalog {
    pthread_rwlock_t lock;
    struct entry **buckets;
    size_t bucket_count;
    uint64_t next_serial;
    struct repository *repositories[REPOSITORY_BUCKETS];
    _Atomic size_t document_count, embedding_count, bytes;
    struct id_map *embeddings;
};

/* With `lock` held. */
struct entry *catalog_find(const struct catalog *catalog, const char *id);
struct repository *catalog_find_repository(const struct catalog *catalog, const char *source,
                                           const char *name);

int catalog_no_memory(struct error *err);

#endif
