/* openai_cache.c: see openai_cache.h. */
#include "ingest/embedding/openai_cache.h"

#include "storage/base/digest.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 64 };

struct entry {
    bool used;
    uint8_t digest[SHA256_SIZE];
    float vector[EMBEDDING_DIM];
};

struct openai_cache {
    pthread_mutex_t lock;
    size_t next; /* the oldest, which goes first */
    struct entry entries[ENTRIES];
};

struct openai_cache *openai_cache_create(void)
{
    struct openai_cache *cache = calloc(1, sizeof(*cache));
    if (cache != NULL) pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void openai_cache_free(struct openai_cache *cache)
{
    if (cache == NULL) return;
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool openai_cache_get(struct openai_cache *cache, const struct embed_text *text, float *vector)
{
    uint8_t digest[SHA256_SIZE];
    bool found = false;
    digest_sha256(text->text, text->length, digest);
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < ENTRIES && !found; i++) {
        const struct entry *entry = &cache->entries[i];
        found = entry->used && memcmp(entry->digest, digest, sizeof(digest)) == 0;
        if (found) memcpy(vector, entry->vector, sizeof(entry->vector));
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void openai_cache_put(struct openai_cache *cache, const struct embed_text *text,
                      const float *vector)
{
    uint8_t digest[SHA256_SIZE];
    digest_sha256(text->text, text->length, digest);
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = &cache->entries[cache->next++ % ENTRIES];
    entry->used = true;
    memcpy(entry->digest, digest, sizeof(digest));
    memcpy(entry->vector, vector, sizeof(entry->vector));
    pthread_mutex_unlock(&cache->lock);
}
