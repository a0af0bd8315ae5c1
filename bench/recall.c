#include "bench/recall.h"

#include <math.h>

static bool answered_before(const tk_hit *hits, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (hits[i].id == hits[at].id) return true;
    return false;
}

size_t recall_count(const struct vectors *base, const float *query, double least,
                    const tk_hit *hits, size_t found, double *error)
{
    size_t count = 0;
    for (size_t i = 0; i < found; i++) {
        if (hits[i].id >= base->count) continue;
        double similarity = vector_dot(query, vectors_row(base, hits[i].id), base->dim);
        double difference = fabs(similarity - hits[i].similarity);
        if (error && difference > *error) *error = difference;
        if (similarity >= least - RECALL_TOLERANCE && !answered_before(hits, i)) count++;
    }
    return count;
}

static int check_answers(const struct vectors *base, const tk_hit *hits, size_t found, size_t k,
                         const uint8_t *keep, uint8_t bits, tk_error *err)
{
    if (found > k) return fail(err, "%zu hits were answered where %zu were asked for", found, k);
    for (size_t i = 0; i < found; i++) {
        unsigned long long id = hits[i].id;
        if (id >= base->count) return fail(err, "the answered id %llu does not exist", id);
        if (!isfinite(hits[i].similarity))
            return fail(err, "the answered similarity of id %llu is no number", id);
        if (keep && !(keep[id] & bits))
            return fail(err, "the answered id %llu is not part of the filter", id);
    }
    return 0;
}

int recall_measure(const struct vectors *base, const struct vectors *queries,
                   const struct neighbours *truth, const struct answers *answers,
                   const uint8_t *keep, uint8_t bits, struct recall *recall, tk_error *err)
{
    const size_t k = answers->k;
    double sum = 0;
    size_t asked = 0;
    *recall = (struct recall){0};
    for (size_t q = 0; q < queries->count; q++) {
        const tk_hit *hits = answers->hits + q * k;
        const size_t found = answers->found[q];
        if (check_answers(base, hits, found, k, keep, bits, err) != 0) return -1;
        const size_t wanted = truth->found[q] < k ? truth->found[q] : k;
        if (wanted == 0) continue;
        double least = truth->similarities[q * truth->depth + wanted - 1];
        size_t count = recall_count(base, vectors_row(queries, q), least, hits, found,
                                    &recall->similarity_error);
        sum += (double)(count < wanted ? count : wanted) / (double)wanted;
        asked++;
    }
    recall->value = asked ? sum / (double)asked : 1;
    return 0;
}
