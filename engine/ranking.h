/*
 * ranking.h: the best hits so far, as ids and similarities.
 *
 * A heap with the worst hit on top: lower similarity first, and of equal ones the larger id. It
 * keeps some more hits than asked for, because one id may come in twice while it is being replaced
 * and only one of the two may stay.
 */
#ifndef ENGINE_RANKING_H
#define ENGINE_RANKING_H

#include "engine/session.h"

#include <math.h>

struct ranking {
    tk_hit *items;
    size_t count;
    size_t moved;            /* hits that came from a node their id had already left */
    size_t room;             /* hits there is memory for */
    size_t limit;            /* hits to keep; SIZE_MAX: all */
    float threshold;         /* hits below are not kept */
    struct session *session; /* whose hits the items are and can grow with; NULL: fixed */
};

/* How many hits are kept so that k are left. */
static inline size_t tk_ranking_limit(size_t k)
{
    return k + k / 4 + 16;
}

/* A hit below this would not be kept. */
static inline float tk_ranking_floor(const struct ranking *ranking)
{
    if (ranking->count < ranking->limit) return ranking->threshold;
    const float worst = ranking->items[0].similarity;
    return worst > ranking->threshold ? worst : ranking->threshold;
}

/* Puts a hit in, if it is good enough. Similarities are clamped to what a cosine can be. False when
 * memory ran out. */
bool tk_ranking_push(struct ranking *ranking, tk_id id, float similarity);

/* Leaves at most k hits, each id once, sorted: best first, ties by smaller id. */
void tk_ranking_finish(struct ranking *ranking, size_t k);

#endif
