/* catalog_survey.c: every embedding, or an even sample of them, with the repository it is in. */
#include "tools/tekupd/mirror/catalog_internal.h"

#include <stdlib.h>

/* Buckets that are looked at before writers get their turn. */
enum { AT_ONCE = 1024, FIRST_ROOM = 1024 };

/* Whether an embedding is of the sample: always the same of one seed. */
static bool chosen(int64_t embedding, size_t one_in, uint64_t seed)
{
    uint64_t hash = (uint64_t)embedding ^ seed * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return one_in <= 1 || (hash ^ hash >> 31) % one_in == 0;
}

static int add_spot(struct catalog_survey *survey, size_t *room, struct catalog_spot spot)
{
    if (survey->count == *room) {
        const size_t wanted = *room > 0 ? *room * 2 : FIRST_ROOM;
        struct catalog_spot *grown = realloc(survey->spots, wanted * sizeof(*grown));
        if (grown == NULL) return -1;
        survey->spots = grown;
        *room = wanted;
    }
    survey->spots[survey->count++] = spot;
    return 0;
}

static int add_document(const struct entry *document, size_t one_in, uint64_t seed,
                        struct catalog_survey *survey, size_t *room)
{
    for (uint32_t i = 0; i < document->count; i++) {
        const struct catalog_spot spot = {document->embeddings[i].embedding, document->repository};
        if (chosen(spot.embedding, one_in, seed) && add_spot(survey, room, spot) != 0) return -1;
    }
    return 0;
}

static int compare_spots(const void *left, const void *right)
{
    const struct catalog_spot *a = left, *b = right;
    return (a->embedding > b->embedding) - (a->embedding < b->embedding);
}

/* A table that has grown meanwhile shows some documents twice. */
static void put_in_order(struct catalog_survey *survey)
{
    size_t kept = 0;
    if (survey->count == 0) return;
    qsort(survey->spots, survey->count, sizeof(*survey->spots), compare_spots);
    for (size_t i = 1; i < survey->count; i++)
        if (survey->spots[i].embedding != survey->spots[kept].embedding)
            survey->spots[++kept] = survey->spots[i];
    survey->count = kept + 1;
}

int catalog_survey(const struct catalog *catalog, size_t one_in, uint64_t seed,
                   struct catalog_survey *survey, struct error *err)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&catalog->lock;
    size_t room = 0, bucket = 0;
    bool more = true;
    int rc = 0;
    *survey = (struct catalog_survey){0};
    while (more && rc == 0) {
        pthread_rwlock_rdlock(lock);
        for (size_t i = 0; i < AT_ONCE && bucket < catalog->bucket_count && rc == 0; i++, bucket++)
            for (const struct entry *document = catalog->buckets[bucket];
                 document != NULL && rc == 0; document = document->next)
                rc = add_document(document, one_in, seed, survey, &room);
        more = bucket < catalog->bucket_count;
        pthread_rwlock_unlock(lock);
    }
    if (rc == 0) {
        put_in_order(survey);
        return 0;
    }
    catalog_survey_free(survey);
    return catalog_no_memory(err);
}

void catalog_survey_free(struct catalog_survey *survey)
{
    free(survey->spots);
    *survey = (struct catalog_survey){0};
}

const char *catalog_source(const struct repository *repository)
{
    return repository->source;
}

const char *catalog_repository(const struct repository *repository)
{
    return repository->name;
}

uint64_t catalog_serial(const struct catalog *catalog, int64_t embedding)
{
    const struct entry *document = id_map_lock(catalog->embeddings, embedding);
    const uint64_t serial = document != NULL ? document->serial : 0;
    id_map_unlock(catalog->embeddings, embedding);
    return serial;
}
