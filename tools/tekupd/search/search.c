#include "tools/tekupd/search/search.h"

#include "storage/vault/vault_text.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/keeper.h"
#include "tools/tekupd/mirror/replica.h"
#include "tools/tekupd/search/ranking.h"
#include "tools/tekupd/search/words_keeper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Candidates to fuse and to choose from: so many for each result, and at least. */
enum { FUSED_EACH = 2, DIVERSE_EACH = 4, LEAST = 100 };
#define GOOD_SIMILARITY 0.5

enum { BY_VECTOR, BY_WORDS };

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

static void forget_hits(struct search *search)
{
    catalog_hits_free(&search->found);
    for (size_t i = 0; i < 2; i++) {
        vault_hits_free(search->stored[i].hits, search->stored[i].count);
        search->stored[i].hits = NULL;
        search->stored[i].count = 0;
    }
}

void search_drop_passages(struct search *search)
{
    for (size_t i = 0; i < search->found.count; i++) {
        if (search->passages != NULL) passage_free(&search->passages[i]);
        if (search->highlights != NULL) free(search->highlights[i].ranges);
    }
    free(search->passages);
    free(search->highlights);
    search->passages = NULL;
    search->highlights = NULL;
}

void search_free(struct search *search)
{
    search_drop_passages(search);
    search_request_free(&search->wanted);
    text_query_free(&search->text);
    for (size_t i = 0; i < search->match_count; i++) free(search->matching[i]);
    free(search->matching);
    forget_hits(search);
}

/* ---- The query ------------------------------------------------------------------------------- */

bool search_has_vector(const struct search *search)
{
    return search->wanted.mode != MODE_TEXT;
}

bool search_has_words(const struct search *search)
{
    return search->wanted.mode == MODE_TEXT || search->wanted.mode == MODE_HYBRID;
}

void search_prepare(struct search *search, bool by_hash)
{
    struct search_request *wanted = &search->wanted;
    if (wanted->mode == MODE_UNSAID)
        wanted->mode = wanted->query != NULL && by_hash ? MODE_HYBRID : MODE_VECTOR;
    const bool highlights = (wanted->include & INCLUDE_HIGHLIGHTS) != 0;
    if (wanted->query == NULL || (!search_has_words(search) && !highlights)) return;
    if (text_query_parse(wanted->query, &search->text, &search->err) != 0) return;
    /* Marks are for the words; what is not wanted must not be looked for by its vector. */
    if (wanted->mode != MODE_HYBRID || !search->text.marked) return;
    wanted->plain = text_query_plain(&search->text);
    if (wanted->plain == NULL) {
        no_memory(&search->err);
    } else if (*wanted->plain == '\0') {
        free(wanted->plain);
        wanted->plain = NULL;
    }
}

static size_t candidates(const struct search_request *wanted)
{
    size_t count = wanted->limit;
    if (wanted->mode == MODE_HYBRID) count = wanted->limit * FUSED_EACH;
    if (wanted->diversity > 0) count = wanted->limit * DIVERSE_EACH;
    if (count > wanted->limit && count < LEAST) count = LEAST;
    return count < REPLICA_LIMIT ? count : REPLICA_LIMIT;
}

/* ---- By the vectors -------------------------------------------------------------------------- */

static int find_in_mirror(struct daemon *daemon, struct replica *replica,
                          const struct search *search, struct catalog_hits *hits, struct error *err)
{
    const struct search_request *wanted = &search->wanted;
    struct catalog_filter filter;
    if (replica == NULL) return error_set(err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    if (catalog_narrow(replica_catalog(replica), wanted->source, wanted->repository,
                       wanted->path_prefix, search->matching, search->match_count, &filter,
                       err) != 0)
        return -1;
    const struct replica_query query = {.vector = wanted->vector,
                                        .limit = candidates(wanted),
                                        .chunks = wanted->chunks,
                                        .ef =
                                            wanted->ef > 0 ? wanted->ef : atomic_load(&daemon->ef),
                                        .threshold = wanted->threshold,
                                        .filter = &filter,
                                        .speed = daemon->speed};
    const int rc = replica_search(replica, &query, hits, err);
    catalog_filter_free(&filter);
    return rc;
}

/* The hits in the form of those of the catalog; the texts stay with stored. */
static int name_hits(const struct vault_hit *stored, size_t count, struct catalog_hits *hits,
                     struct error *err)
{
    hits->hits = calloc(count + 1, sizeof(*hits->hits));
    if (hits->hits == NULL) return no_memory(err);
    hits->count = count;
    for (size_t i = 0; i < count; i++) {
        struct catalog_hit *hit = &hits->hits[i];
        hit->embedding = stored[i].embedding;
        hit->similarity = stored[i].similarity;
        hit->score = stored[i].similarity;
        memcpy(hit->document, stored[i].document, sizeof(hit->document));
        hit->source = stored[i].source;
        hit->repository = stored[i].repository;
        hit->path = stored[i].path;
    }
    return 0;
}

static int find_in_database(struct daemon *daemon, const char *model, struct search *search,
                            struct catalog_hits *hits, struct error *err)
{
    const struct search_request *wanted = &search->wanted;
    const struct vault_search query = {
        .vector = wanted->vector,
        .model = model,
        .limit = candidates(wanted),
        .chunks = wanted->chunks,
        .ef = wanted->ef > 0 ? wanted->ef : atomic_load(&daemon->ef),
        .threshold = wanted->threshold,
        .source = wanted->source,
        .repository = wanted->repository,
        .path_prefix = wanted->path_prefix,
        .metadata = wanted->metadata,
    };
    if (vault_search(daemon->pool, &query, &search->stored[BY_VECTOR].hits,
                     &search->stored[BY_VECTOR].count, err) != 0)
        return -1;
    return name_hits(search->stored[BY_VECTOR].hits, search->stored[BY_VECTOR].count, hits, err);
}

/* ---- By the words ---------------------------------------------------------------------------- */

static bool same_result(const struct search *search, const char *document, int64_t embedding,
                        const char *other_document, int64_t other_embedding)
{
    return search->wanted.chunks ? embedding == other_embedding
                                 : strcmp(document, other_document) == 0;
}

static bool is_among(const struct search *search, const struct vault_hit *hits, size_t count,
                     const struct vault_hit *hit)
{
    for (size_t i = 0; i < count; i++)
        if (same_result(search, hits[i].document, hits[i].embedding, hit->document, hit->embedding))
            return true;
    return false;
}

/* Appends what the query finds to the hits by the words, but for what is among them. */
static int find_matches(struct daemon *daemon, struct search *search, struct buffer *query,
                        const struct vault_part *parts, size_t part_count, struct error *err)
{
    const struct search_request *wanted = &search->wanted;
    const struct vault_text_search asked = {
        .query = query->data,
        .parts = parts,
        .part_count = part_count,
        .limit = candidates(wanted),
        .chunks = wanted->chunks,
        .source = wanted->source,
        .repository = wanted->repository,
        .path_prefix = wanted->path_prefix,
        .metadata = wanted->metadata,
    };
    struct vault_hit *more = NULL;
    size_t count = 0, had = search->stored[BY_WORDS].count;
    if (vault_text_search(daemon->pool, &asked, &more, &count, err) != 0) return -1;
    struct vault_hit *all =
        realloc(search->stored[BY_WORDS].hits, (had + count + 1) * sizeof(*all));
    if (all == NULL) {
        vault_hits_free(more, count);
        return no_memory(err);
    }
    search->stored[BY_WORDS].hits = all;
    for (size_t i = 0; i < count; i++) {
        const bool there = is_among(search, all, had, &more[i]);
        if (there || search->stored[BY_WORDS].count >= asked.limit) continue;
        all[search->stored[BY_WORDS].count++] = more[i];
        more[i] = (struct vault_hit){0};
    }
    vault_hits_free(more, count);
    return 0;
}

/* Ranked by the terms that tell most, and by the whole, which counts how near they are together. */
static int find_all_and_any(struct daemon *daemon, struct search *search, struct error *err)
{
    const struct text_term *terms[TEXT_PARTS];
    struct buffer texts[TEXT_PARTS] = {0}, all = {0}, any = {0};
    struct vault_part parts[TEXT_PARTS + 1];
    bool failed = false;
    int rc = 0;
    const size_t count = text_query_parts(&search->text, terms);
    if (count == 0) return 0;
    text_query_all(&search->text, &all);
    text_query_any(&search->text, &any);
    for (size_t i = 0; i < count; i++) {
        text_query_part(terms[i], &texts[i]);
        parts[i] = (struct vault_part){texts[i].data, terms[i]->weight};
        failed = failed || texts[i].failed;
    }
    parts[count] = (struct vault_part){all.data, 1};
    if (failed || all.failed || any.failed)
        rc = no_memory(err);
    else
        rc = find_matches(daemon, search, &all, parts, count > 1 ? count + 1 : 1, err);
    /* A question has words that no answer has. */
    if (rc == 0 && search->wanted.mode == MODE_HYBRID && strcmp(all.data, any.data) != 0 &&
        search->stored[BY_WORDS].count < search->wanted.limit)
        rc = find_matches(daemon, search, &any, parts, count, err);
    for (size_t i = 0; i < count; i++) buffer_free(&texts[i]);
    buffer_free(&all);
    buffer_free(&any);
    return rc;
}

/* Leaves out of the hits by the vectors what a phrase or something unwanted forbids. */
static int keep_strict(struct daemon *daemon, const struct search *search,
                       struct catalog_hits *hits, struct error *err)
{
    struct buffer strict = {0};
    int rc = 0;
    if (text_query_strict(&search->text, &strict) && hits->count > 0) {
        int64_t *ids = calloc(hits->count, sizeof(*ids));
        bool *passes = calloc(hits->count, sizeof(*passes));
        size_t kept = 0;
        if (ids == NULL || passes == NULL || strict.failed) rc = no_memory(err);
        for (size_t i = 0; i < hits->count && rc == 0; i++) ids[i] = hits->hits[i].embedding;
        if (rc == 0)
            rc = vault_text_match(daemon->pool, strict.data, ids, hits->count, passes, err);
        for (size_t i = 0; i < hits->count && rc == 0; i++) {
            if (passes[i]) hits->hits[kept++] = hits->hits[i];
        }
        if (rc == 0) hits->count = kept;
        free(ids);
        free(passes);
    }
    buffer_free(&strict);
    return rc;
}

static int find_by_words(struct daemon *daemon, struct search *search,
                         struct catalog_hits *by_vector, struct catalog_hits *hits,
                         struct error *err)
{
    if (text_query_look_up(&search->text, daemon->pool, err) != 0 ||
        find_all_and_any(daemon, search, err) != 0)
        return -1;
    if (name_hits(search->stored[BY_WORDS].hits, search->stored[BY_WORDS].count, hits, err) != 0)
        return -1;
    for (size_t i = 0; i < hits->count; i++) hits->hits[i].similarity = NAN;
    return keep_strict(daemon, search, by_vector, err);
}

/* ---- Fusing ---------------------------------------------------------------------------------- */

static int compare_scores(const void *left, const void *right)
{
    const struct catalog_hit *a = left, *b = right;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->embedding > b->embedding) - (a->embedding < b->embedding);
}

/* A document that both found comes with the chunk that has the better place, so that what is shown
 * is what was found. Takes the paths of the former. */
static int fuse(const struct search *search, struct catalog_hits *by_vector,
                struct catalog_hits *by_words, struct catalog_hits *fused, struct error *err)
{
    fused->hits = calloc(by_vector->count + by_words->count + 1, sizeof(*fused->hits));
    if (fused->hits == NULL) return no_memory(err);
    for (size_t i = 0; i < by_vector->count; i++) {
        by_vector->hits[i].score = (float)ranking_fusion(i);
        fused->hits[fused->count++] = by_vector->hits[i];
    }
    fused->paths = by_vector->paths;
    by_vector->paths = NULL;
    const size_t before = fused->count;
    size_t place = 0;
    float rank = 0;
    for (size_t i = 0; i < by_words->count; i++) {
        struct catalog_hit *hit = &by_words->hits[i];
        size_t at = 0;
        while (at < before &&
               !same_result(search, fused->hits[at].document, fused->hits[at].embedding,
                            hit->document, hit->embedding))
            at++;
        /* Those that the words tell no difference between share a place. */
        if (i == 0 || hit->score != rank) place = i;
        rank = hit->score;
        hit->score = (float)ranking_fusion(place);
        if (at == before) {
            fused->hits[fused->count++] = *hit;
            continue;
        }
        struct catalog_hit *same = &fused->hits[at];
        const float score = same->score + hit->score;
        if (place <= at && same->embedding != hit->embedding) {
            *same = *hit;
        }
        same->score = score;
    }
    qsort(fused->hits, fused->count, sizeof(*fused->hits), compare_scores);
    return 0;
}

/* ---- What the vectors of the hits say -------------------------------------------------------- */

static void normalise(float *vector)
{
    double sum = 0;
    for (size_t i = 0; i < EMBEDDING_DIM; i++) sum += (double)vector[i] * (double)vector[i];
    const float scale = (float)(1 / sqrt(sum));
    for (size_t i = 0; i < EMBEDDING_DIM; i++) vector[i] *= scale;
}

/* The vectors of the hits, of length 1; from memory where there is a mirror. */
static int load_vectors(struct daemon *daemon, const struct replica *replica,
                        const struct catalog_hits *hits, float *vectors, bool *has,
                        struct error *err)
{
    int rc = 0;
    if (replica != NULL) {
        for (size_t i = 0; i < hits->count; i++)
            has[i] = tk_index_get(replica_index(replica), (tk_id)hits->hits[i].embedding,
                                  vectors + i * EMBEDDING_DIM, NULL) == TK_OK;
        return 0;
    }
    int64_t *ids = calloc(hits->count + 1, sizeof(*ids));
    if (ids == NULL) return no_memory(err);
    for (size_t i = 0; i < hits->count; i++) ids[i] = hits->hits[i].embedding;
    rc = vault_fetch_vectors(daemon->pool, ids, hits->count, vectors, has, err);
    for (size_t i = 0; i < hits->count && rc == 0; i++)
        if (has[i]) normalise(vectors + i * EMBEDDING_DIM);
    free(ids);
    return rc;
}

/* How similar those are that the words found, which leaves out those below the threshold. */
static void compare(const struct search_request *wanted, struct catalog_hits *hits, float *vectors,
                    bool *has)
{
    float query[EMBEDDING_DIM];
    size_t kept = 0;
    memcpy(query, wanted->vector, sizeof(query));
    normalise(query);
    for (size_t i = 0; i < hits->count; i++) {
        struct catalog_hit *hit = &hits->hits[i];
        float *vector = vectors + i * EMBEDDING_DIM;
        if (isnan(hit->similarity) && has[i]) {
            double sum = 0;
            for (size_t j = 0; j < EMBEDDING_DIM; j++) sum += (double)query[j] * (double)vector[j];
            hit->similarity = (float)sum;
        }
        if (!isinf(wanted->threshold) && !(hit->similarity >= wanted->threshold)) continue;
        has[kept] = has[i];
        if (kept != i) memcpy(vectors + kept * EMBEDDING_DIM, vector, sizeof(query));
        hits->hits[kept++] = *hit;
    }
    hits->count = kept;
}

/* What a hit is worth, on the scale of the similarities that it is weighed against: otherwise the
 * best copies of one text would be worth more than anything else, however alike they are. By words
 * it is the share of the best score, as if that one were similar to the query as good hits are; in
 * fused orders, where shares lie close together, the similarity counts for half of it. */
static double relevance_of(const struct search_request *wanted, const struct catalog_hit *hit,
                           double best_score, double best_similarity)
{
    const double similarity = (double)hit->similarity;
    if (wanted->mode == MODE_VECTOR) return (double)hit->score;
    const double share = best_score > 0 ? (double)hit->score / best_score : 1;
    if (wanted->mode == MODE_TEXT || isnan(similarity)) return share * best_similarity;
    return (share * best_similarity + similarity) / 2;
}

/* The greatest similarity to the query, and that of a good hit where none is known. */
static double best_similarity_of(const struct catalog_hits *hits)
{
    double best = 0;
    for (size_t i = 0; i < hits->count; i++) /* false where it is not known */
        if ((double)hits->hits[i].similarity > best) best = (double)hits->hits[i].similarity;
    return best > 0 ? best : GOOD_SIMILARITY;
}

static int diversify(const struct search_request *wanted, struct catalog_hits *hits,
                     const float *vectors, const bool *has, struct error *err)
{
    const size_t limit = wanted->limit < hits->count ? wanted->limit : hits->count;
    const double best_score = hits->count > 0 ? (double)hits->hits[0].score : 0;
    const double best_similarity = best_similarity_of(hits);
    double *relevance = calloc(hits->count + 1, sizeof(*relevance));
    size_t *order = calloc(limit + 1, sizeof(*order));
    struct catalog_hit *chosen = calloc(limit + 1, sizeof(*chosen));
    int rc = relevance != NULL && order != NULL && chosen != NULL ? 0 : no_memory(err);
    for (size_t i = 0; i < hits->count && rc == 0; i++)
        relevance[i] = relevance_of(wanted, &hits->hits[i], best_score, best_similarity);
    if (rc == 0)
        rc = ranking_diversify(relevance, vectors, has, EMBEDDING_DIM, hits->count,
                               wanted->diversity, limit, order, err);
    if (rc == 0) {
        for (size_t i = 0; i < limit; i++) chosen[i] = hits->hits[order[i]];
        free(hits->hits);
        hits->hits = chosen;
        hits->count = limit;
        chosen = NULL;
    }
    free(relevance);
    free(order);
    free(chosen);
    return rc;
}

static int look_at_vectors(struct daemon *daemon, const struct replica *replica,
                           const struct search_request *wanted, struct catalog_hits *hits,
                           struct error *err)
{
    bool unknown = false;
    for (size_t i = 0; i < hits->count && wanted->mode == MODE_HYBRID; i++)
        unknown = unknown || isnan(hits->hits[i].similarity);
    if (hits->count == 0 || (!unknown && wanted->diversity <= 0)) return 0;
    float *vectors = calloc(hits->count, EMBEDDING_DIM * sizeof(*vectors));
    bool *has = calloc(hits->count, sizeof(*has));
    int rc = vectors != NULL && has != NULL ? 0 : no_memory(err);
    if (rc == 0) rc = load_vectors(daemon, replica, hits, vectors, has, err);
    if (rc == 0 && wanted->mode == MODE_HYBRID) compare(wanted, hits, vectors, has);
    if (rc == 0 && wanted->diversity > 0) rc = diversify(wanted, hits, vectors, has, err);
    free(vectors);
    free(has);
    return rc;
}

/* ---- The search ------------------------------------------------------------------------------ */

/* By the vectors alone where PostgreSQL cannot be asked for the words. */
static int run_words(struct daemon *daemon, struct search *search, struct catalog_hits *by_vector,
                     struct catalog_hits *by_words, struct error *err)
{
    const bool hybrid = search->wanted.mode == MODE_HYBRID;
    if (hybrid && search->wordless.code != ERR_NONE) return 0;
    if (find_by_words(daemon, search, by_vector, by_words, err) == 0) return 0;
    catalog_hits_free(by_words);
    if (!hybrid || err->code != ERR_UNAVAILABLE) return -1;
    keeper_wake(daemon->keeper);
    search->wordless = *err;
    *err = (struct error){0};
    return 0;
}

void search_run(struct daemon *daemon, struct replica *replica, const char *model,
                struct search *search)
{
    const struct search_request *wanted = &search->wanted;
    struct catalog_hits by_vector = {0}, by_words = {0}, fused = {0};
    struct error *err = &search->err;
    int rc = 0;
    if (err->code != ERR_NONE) return;
    forget_hits(search);
    /* Asked first: they may be complete in a moment, too late for this search. */
    search->words_lack = search_has_words(search) && !words_keeper_complete(daemon);
    if (search_has_vector(search))
        rc = daemon->follower != NULL ? find_in_mirror(daemon, replica, search, &by_vector, err)
                                      : find_in_database(daemon, model, search, &by_vector, err);
    if (rc == 0 && search_has_words(search))
        rc = run_words(daemon, search, &by_vector, &by_words, err);
    struct catalog_hits *hits = wanted->mode == MODE_VECTOR ? &by_vector
                                : wanted->mode == MODE_TEXT ? &by_words
                                                            : &fused;
    if (rc == 0 && hits == &fused) rc = fuse(search, &by_vector, &by_words, &fused, err);
    if (rc == 0) rc = look_at_vectors(daemon, replica, wanted, hits, err);
    if (rc == 0) {
        if (hits->count > wanted->limit) hits->count = wanted->limit;
        search->found = *hits;
        *hits = (struct catalog_hits){0};
    }
    catalog_hits_free(&by_vector);
    catalog_hits_free(&by_words);
    catalog_hits_free(&fused);
}
