#include "tools/tekupd/search/ranking.h"

#include <stdlib.h>

double ranking_fusion(size_t place)
{
    return 1.0 / (61.0 + (double)place); /* 60, and the first place is 1 */
}

static double dot(const float *left, const float *right, size_t dim)
{
    enum { LANES = 8 };
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) sums[lane] += left[i + lane] * right[i + lane];
    double sum = 0;
    for (size_t lane = 0; lane < LANES; lane++) sum += (double)sums[lane];
    for (; i < dim; i++) sum += (double)(left[i] * right[i]);
    return sum;
}

int ranking_diversify(const double *relevance, const float *vectors, const bool *has, size_t dim,
                      size_t count, double diversity, size_t limit, size_t *order,
                      struct error *err)
{
    double *nearest = calloc(count + 1, sizeof(*nearest)); /* similarity to the chosen ones */
    bool *chosen = calloc(count + 1, sizeof(*chosen));
    if (nearest == NULL || chosen == NULL) {
        free(nearest);
        free(chosen);
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    }
    for (size_t place = 0; place < limit; place++) {
        size_t best = count;
        double most = 0;
        for (size_t i = 0; i < count; i++) {
            if (chosen[i]) continue;
            /* The first one is the most relevant one, whatever diversity is. */
            const double value =
                place == 0 ? relevance[i] : (1 - diversity) * relevance[i] - diversity * nearest[i];
            if (best == count || value > most) {
                best = i;
                most = value;
            }
        }
        chosen[best] = true;
        order[place] = best;
        for (size_t i = 0; i < count && has[best]; i++) {
            if (chosen[i] || !has[i]) continue;
            const double similarity = dot(vectors + best * dim, vectors + i * dim, dim);
            if (place == 0 || similarity > nearest[i]) nearest[i] = similarity;
        }
    }
    free(nearest);
    free(chosen);
    return 0;
}
