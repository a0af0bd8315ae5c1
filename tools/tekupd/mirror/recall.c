#include "tools/tekupd/mirror/recall.h"

#include <math.h>
#include <stdlib.h>

/* Vectors that are looked for at once, between two looks at `stop`. The index compares so many with
 * everything in little more time than one. */
enum { BLOCK = 16 };

/* The survey takes more than are wanted, so that chance leaves it with enough. */
enum { SPARE = 4 };

struct block {
    struct replica *replica;
    const struct recall_wanted *wanted;
    size_t count; /* vectors */
    tk_id ids[BLOCK];
    size_t found[BLOCK], true_found[BLOCK];
    float *vectors;
    tk_hit *hits, *true_hits; /* limit + 1 for each: the vector itself is one */
};

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t value = *state;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static void shuffle(struct catalog_survey *survey, uint64_t seed)
{
    for (size_t left = survey->count; left > 1; left--) {
        const size_t other = (size_t)(next_random(&seed) % left);
        const struct catalog_spot spot = survey->spots[left - 1];
        survey->spots[left - 1] = survey->spots[other];
        survey->spots[other] = spot;
    }
}

static int search(struct block *block, bool exact, tk_hit *hits, size_t *found, struct error *err)
{
    tk_search search;
    tk_error problem = {{0}};
    tk_search_init(&search);
    search.k = block->wanted->limit + 1;
    search.ef = block->wanted->ef;
    search.exact = exact;
    if (tk_index_search_batch(replica_index(block->replica), block->count, block->vectors, &search,
                              1, hits, found, &problem) != TK_OK)
        return error_set(err, ERR_INTERNAL, NULL, "%s", problem.message);
    replica_note_own(block->replica, block->count);
    return 0;
}

/* Leaves out the vector itself, or where equal ones have kept it out the last hit. Returns how many
 * are left. */
static size_t leave_out(tk_id id, size_t limit, tk_hit *hits, size_t found)
{
    size_t kept = 0;
    for (size_t i = 0; i < found; i++)
        if (hits[i].id != id) hits[kept++] = hits[i];
    return kept < limit ? kept : limit;
}

static void count_found(struct block *block, size_t *all, size_t *good)
{
    const size_t limit = block->wanted->limit;
    for (size_t i = 0; i < block->count; i++) {
        tk_hit *hits = block->hits + i * (limit + 1), *truth = block->true_hits + i * (limit + 1);
        const size_t found = leave_out(block->ids[i], limit, hits, block->found[i]);
        const size_t wanted = leave_out(block->ids[i], limit, truth, block->true_found[i]);
        size_t right = 0;
        for (size_t j = 0; j < found && wanted > 0; j++)
            right += hits[j].similarity >= truth[wanted - 1].similarity;
        *all += wanted;
        *good += right < wanted ? right : wanted; /* a write in between may have brought more */
    }
}

static int measure_blocks(struct block *block, const struct catalog_survey *survey,
                          const atomic_bool *stop, struct recall *recall, struct error *err)
{
    size_t good = 0;
    for (size_t at = 0; at < survey->count && recall->sample < block->wanted->sample;) {
        if (stop != NULL && atomic_load(stop))
            return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        block->count = 0;
        for (; at < survey->count && block->count < BLOCK &&
               recall->sample + block->count < block->wanted->sample;
             at++) {
            float *vector = block->vectors + block->count * EMBEDDING_DIM;
            block->ids[block->count] = (tk_id)survey->spots[at].embedding;
            if (tk_index_get(replica_index(block->replica), block->ids[block->count], vector,
                             NULL) == TK_OK)
                block->count++; /* the others are gone since */
        }
        if (block->count == 0) break;
        if (search(block, false, block->hits, block->found, err) != 0) return -1;
        if (search(block, true, block->true_hits, block->true_found, err) != 0) return -1;
        count_found(block, &recall->neighbours, &good);
        recall->sample += block->count;
    }
    if (recall->neighbours > 0) recall->recall = (double)good / (double)recall->neighbours;
    return 0;
}

int recall_measure(struct replica *replica, const struct recall_wanted *wanted, uint64_t seed,
                   const atomic_bool *stop, struct recall *recall, struct error *err)
{
    const size_t count = tk_index_count(replica_index(replica));
    const size_t one_in = count / (wanted->sample * SPARE);
    struct catalog_survey survey;
    struct block block = {.replica = replica, .wanted = wanted};
    int rc = -1;
    *recall = (struct recall){.recall = NAN};
    if (catalog_survey(replica_catalog(replica), one_in, seed, &survey, err) != 0) return -1;
    shuffle(&survey, seed);
    block.vectors = malloc(BLOCK * EMBEDDING_DIM * sizeof(*block.vectors));
    block.hits = malloc(BLOCK * (wanted->limit + 1) * sizeof(*block.hits));
    block.true_hits = malloc(BLOCK * (wanted->limit + 1) * sizeof(*block.true_hits));
    if (block.vectors == NULL || block.hits == NULL || block.true_hits == NULL)
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    else
        rc = measure_blocks(&block, &survey, stop, recall, err);
    free(block.vectors);
    free(block.hits);
    free(block.true_hits);
    catalog_survey_free(&survey);
    return rc;
}
