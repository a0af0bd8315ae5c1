/* openai_cache.h: the embeddings of what was searched for last, so that typing and paging cost no
 * calls. Its functions may be called from any thread. */
#ifndef INGEST_OPENAI_CACHE_H
#define INGEST_OPENAI_CACHE_H

#include "ingest/embedding/embed.h"

struct openai_cache;

struct openai_cache *openai_cache_create(void); /* NULL when memory ran out */
void openai_cache_free(struct openai_cache *cache);
bool openai_cache_get(struct openai_cache *cache, const struct embed_text *text, float *vector);
void openai_cache_put(struct openai_cache *cache, const struct embed_text *text,
                      const float *vector);

#endif
