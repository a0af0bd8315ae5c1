#include "engine/ranking.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t state = 5;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

/* Whether a comes before b in an answer. */
static bool before(tk_hit a, tk_hit b)
{
    return a.similarity != b.similarity ? a.similarity > b.similarity : a.id < b.id;
}

/* With ids that come twice, equal similarities, and in several orders. */
Test(engine_ranking, leaves_each_id_once_best_first)
{
    enum { MOST = 120 };
    for (int round = 0; round < 4000; round++) {
        const size_t count = draw() % MOST, k = 1 + draw() % 20, order = draw() % 3;
        float best[MOST]; /* of each id */
        tk_hit items[MOST], wanted[MOST];
        struct ranking ranking = {.items = items, .room = MOST, .limit = MOST, .threshold = -2};
        size_t ids = 0;
        for (size_t id = 0; id < MOST; id++) best[id] = -2;
        for (size_t i = 0; i < count; i++) {
            const tk_id id = draw() % MOST;
            const float drawn = (float)(draw() % 50) / 50;
            const float similarity = order == 0   ? drawn
                                     : order == 1 ? 1 - (float)i / MOST
                                                  : (float)i / MOST;
            cr_assert(tk_ranking_push(&ranking, id, similarity));
            if (similarity > best[id]) best[id] = similarity;
        }
        for (size_t id = 0; id < MOST; id++) {
            if (best[id] < -1) continue;
            const tk_hit hit = {id, best[id]};
            size_t at = ids++;
            for (; at > 0 && before(hit, wanted[at - 1]); at--) wanted[at] = wanted[at - 1];
            wanted[at] = hit;
        }
        tk_ranking_finish(&ranking, k);
        cr_assert_eq(ranking.count, ids < k ? ids : k);
        for (size_t i = 0; i < ranking.count; i++) {
            cr_assert_eq(items[i].id, wanted[i].id, "%zu of %zu", i, count);
            cr_assert_eq(items[i].similarity, wanted[i].similarity);
        }
    }
}

Test(engine_ranking, keeps_similarities_to_what_a_cosine_can_be)
{
    tk_hit items[4];
    struct ranking ranking = {.items = items, .room = 4, .limit = 4, .threshold = -2};
    cr_assert(tk_ranking_push(&ranking, 1, 1.0001f));
    cr_assert(tk_ranking_push(&ranking, 2, -1.0001f));
    cr_assert(tk_ranking_push(&ranking, 3, 0.5f));
    tk_ranking_finish(&ranking, 4);
    cr_expect_eq(ranking.count, 3);
    cr_expect_eq(items[0].similarity, 1);
    cr_expect_eq(items[1].similarity, 0.5f);
    cr_expect_eq(items[2].similarity, -1);
}
