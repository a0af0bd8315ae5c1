/*
 * search.c: how a search is answered.
 *
 * There are three ways: a walk through the graph, comparing with all vectors, and comparing with
 * the vectors of the filter's id set. The walk is taken where it is the cheapest; the other two are
 * exact, so they are also what a walk falls back to that came up short of hits that exist.
 */
#include "engine/search.h"

#include "engine/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What an expansion takes, and a walk besides, in comparisons with one row: all of them are bound
 * by memory, an expansion reads five times as much and does more with it. */
#define WALK_PER_EXPANSION 8
#define WALK_FIXED 60
/* Ids that a predicate is asked about in the time of one comparison, when all are and it answers at
 * once. */
#define ASKED_PER_ROW 60
/* A walk that takes this much longer than was expected gives way to a scan. */
#define PATIENCE 2
/* Candidates that are kept beyond those that are expanded. */
#define KEEP_MORE 16
/* Coarse similarities are off by a few ten-thousandths, so that the best k by all bits are among a
 * few more by coarse codes. */
#define RANK_MORE(k) ((k) + (k) / 8 + 12)

void tk_search_init(tk_search *search)
{
    if (search) *search = (tk_search){.k = 10, .threshold = -INFINITY};
}

#define SEARCH_MAX 65536

tk_status tk_search_check(const tk_search *search, tk_error *error)
{
    if (search->k < 1 || search->k > SEARCH_MAX)
        return tk_fail(error, TK_EINVAL, "k must be from 1 to %d, not %zu", SEARCH_MAX, search->k);
    if (search->ef > SEARCH_MAX)
        return tk_fail(error, TK_EINVAL, "ef must be at most %d, not %zu", SEARCH_MAX, search->ef);
    if (isnan(search->threshold)) return tk_fail(error, TK_EINVAL, "threshold is not a number");
    return TK_OK;
}

static size_t effort(const struct tk_index *index, const tk_search *search)
{
    size_t ef = search->ef ? search->ef : index->options.ef_search;
    return ef > search->k ? ef : search->k;
}

static struct filter filter_of(const tk_search *search)
{
    return (struct filter){search->within, search->predicate, search->predicate_arg};
}

/* What a walk costs, in vectors compared, when one in `rarity` nodes may be part of the answer. */
static double walk_cost(size_t ef, double rarity)
{
    return WALK_FIXED + WALK_PER_EXPANSION * EXPANSIONS_EACH * (double)ef * rarity;
}

bool tk_search_scans(const struct tk_index *index, const tk_search *search)
{
    return search->exact || (double)tk_index_count(index) <= walk_cost(effort(index, search), 1);
}

/* Whether comparing with the id set is the cheapest way. */
static bool set_is_narrow(const struct tk_index *index, const tk_search *search)
{
    if (!search->within) return false;
    double size = (double)tk_idset_count(search->within);
    double count = (double)tk_index_count(index);
    if (size >= count) return false;
    return search->exact || size <= walk_cost(effort(index, search), count / fmax(size, 1));
}

/* What a walk is to find. */
struct plan {
    struct filter filter;
    size_t ef, wanted;
    double rarity; /* one in so many nodes is accepted, as a sample says; 1 without a predicate */
};

static struct plan plan_of(const struct tk_index *index, const tk_search *search, size_t wanted)
{
    struct plan plan = {filter_of(search), effort(index, search), wanted, 1};
    if (search->predicate) plan.rarity = tk_exact_rarity(index, &plan.filter);
    return plan;
}

/* Asking a predicate about every id and comparing with those it accepts, in comparisons. */
static double asking_cost(const struct tk_index *index, const struct plan *plan)
{
    const double count = (double)tk_index_count(index);
    return count / ASKED_PER_ROW + count / plan->rarity;
}

static bool asking_is_cheap(const struct tk_index *index, const struct plan *plan)
{
    return plan->filter.predicate && asking_cost(index, plan) <= walk_cost(plan->ef, plan->rarity);
}

/* The exact answer, to everything in the filter. */
static tk_status compare_all(const struct tk_index *index, struct session *session,
                             const struct filter *filter, struct ranking *ranking)
{
    ranking->count = ranking->moved = 0;
    tk_epoch_stay(&session->seat);
    if (filter->within && tk_idset_count(filter->within) < tk_index_count(index))
        return tk_exact_set(index, session, filter, ranking);
    return tk_exact_scan(index, session, filter, ranking);
}

static float fine_similarity(const struct tk_index *index, const struct session *session,
                             uint32_t slot)
{
    return tk_fine_similarity(&index->store.coder, &session->query,
                              tk_store_row(&index->store, slot));
}

/* Puts the first `count` candidates into their final order. */
static void know_finely(const struct tk_index *index, const struct session *session, size_t count)
{
    const struct coder *coder = &index->store.coder;
    struct candidate *items = session->best.items;
    for (size_t i = 0; i < count; i++)
        tk_codes_prefetch(tk_store_codes(&index->store, items[i].slot) + coder->n);
    for (size_t i = 0; i < count; i++)
        items[i].similarity = fine_similarity(index, session, items[i].slot);
    tk_candidates_sort(items, count);
}

/* Asks for what tk_rank_node will read of the first `count` candidates. */
static void prefetch_ids(const struct tk_index *index, const struct session *session, size_t count)
{
    const struct candidate *items = session->best.items;
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(tk_store_id(&index->store, items[i].slot));
    }
    for (size_t i = 0; i < count; i++) {
        const struct node_ids members = tk_store_ids(&index->store, items[i].slot);
        if (members.count == 1) tk_idmap_prefetch(&index->map, members.ids[0]);
    }
}

/* Turns what a walk found into hits. Candidates are sorted by coarse codes; the first few are
 * looked at by all bits, and the others only where those were not enough, because nodes have died
 * or stand for ids that the filter does not want. */
static bool rank_walk(const struct tk_index *index, struct session *session,
                      const struct filter *filter, size_t wanted, struct ranking *ranking)
{
    const struct queue *best = &session->best;
    const size_t few = RANK_MORE(wanted) < best->count ? RANK_MORE(wanted) : best->count;
    float last = INFINITY;
    know_finely(index, session, few);
    prefetch_ids(index, session, wanted < few ? wanted : few);
    for (size_t i = 0; i < best->count; i++) {
        const struct candidate candidate = best->items[i];
        /* An id that is being replaced may come twice; then there has to be one more. */
        const bool enough = ranking->count >= wanted + ranking->moved;
        if (enough && (i >= few || candidate.similarity < last)) break;
        last = i < few ? candidate.similarity : fine_similarity(index, session, candidate.slot);
        if (!tk_rank_node(index, &session->query, filter, ranking, candidate.slot, last))
            return false;
    }
    return true;
}

/* After how many expansions looking at everything that the filter accepts is the better way. */
static size_t expansions_max(const struct tk_index *index, const struct plan *plan)
{
    const tk_idset *within = plan->filter.within;
    if (tk_filter_is_open(&plan->filter)) return SIZE_MAX;
    if (!within || tk_idset_count(within) >= tk_index_count(index))
        return (size_t)(asking_cost(index, plan) / WALK_PER_EXPANSION) + plan->ef;
    return PATIENCE * tk_idset_count(within) / WALK_PER_EXPANSION + plan->ef;
}

/* Walks the graph. TK_EFULL when the filter let so little through that comparing with everything is
 * the better way. */
static tk_status walk(const struct tk_index *index, struct session *session,
                      const struct plan *plan, struct ranking *ranking)
{
    const bool open = tk_filter_is_open(&plan->filter);
    const struct walk walk = {.query = &session->query,
                              .width = plan->ef,
                              .keep = (open ? plan->ef : 2 * plan->ef) + KEEP_MORE,
                              .filter = open ? NULL : &plan->filter,
                              .expansions_max = expansions_max(index, plan)};
    ranking->count = ranking->moved = 0;
    tk_status status = tk_graph_walk(&index->graph, session, &walk);
    if (status != TK_OK) return status;
    tk_graph_know_all(&index->graph, session);
    return rank_walk(index, session, &plan->filter, plan->wanted, ranking) ? TK_OK : TK_ENOMEM;
}

/* Whether a walk may have missed hits that exist. */
static bool came_up_short(const struct tk_index *index, const tk_search *search, size_t found)
{
    size_t there = tk_index_count(index);
    if (search->within && tk_idset_count(search->within) < there)
        there = tk_idset_count(search->within);
    return found < search->k && found < there;
}

/* What hits a ranking keeps in the session's memory. */
static struct ranking ranking_in(struct session *session, size_t limit)
{
    return (struct ranking){.items = session->hits.items,
                            .room = session->hits.capacity,
                            .limit = limit,
                            .threshold = -INFINITY,
                            .session = session};
}

tk_status tk_search_one(const struct tk_index *index, struct session *session,
                        const tk_search *search, tk_hit *hits, size_t *found)
{
    const struct filter filter = filter_of(search);
    struct ranking ranking = ranking_in(session, tk_ranking_limit(search->k));
    tk_status status = TK_EFULL;
    if (search->predicate) tk_epoch_stay(&session->seat); /* it may take its time */
    if (!set_is_narrow(index, search) && !tk_search_scans(index, search)) {
        const struct plan plan = plan_of(index, search, search->k);
        if (!asking_is_cheap(index, &plan)) status = walk(index, session, &plan, &ranking);
        if (status == TK_OK) {
            tk_ranking_finish(&ranking, search->k);
            if (came_up_short(index, search, ranking.count)) status = TK_EFULL;
        }
    }
    if (status == TK_EFULL) {
        ranking.threshold = search->threshold;
        status = compare_all(index, session, &filter, &ranking);
        tk_ranking_finish(&ranking, search->k);
    }
    if (status != TK_OK) return status;
    while (ranking.count > 0 && ranking.items[ranking.count - 1].similarity < search->threshold)
        ranking.count--;
    if (ranking.count > 0) memcpy(hits, ranking.items, ranking.count * sizeof(*hits));
    *found = ranking.count;
    return TK_OK;
}

static tk_status check_arguments(const tk_index *index, const float *query, const tk_search *search,
                                 const void *hits, const size_t *found, tk_error *error)
{
    if (!index) return tk_fail(error, TK_EINVAL, "index is NULL");
    if (!query) return tk_fail(error, TK_EINVAL, "query is NULL");
    if (!search) return tk_fail(error, TK_EINVAL, "search is NULL");
    if (!hits) return tk_fail(error, TK_EINVAL, "hits is NULL");
    if (!found) return tk_fail(error, TK_EINVAL, "found is NULL");
    return TK_OK;
}

/* Seats the caller and puts the query into the session. */
static tk_status begin(const tk_index *index, const float *query, struct session **session,
                       tk_error *error)
{
    tk_status status = tk_read_begin(index, session, error);
    if (status != TK_OK) return status;
    status = tk_take_vector(index, *session, query, "query", error);
    if (status != TK_OK) tk_read_end(index, *session);
    return status;
}

/* Counting is no part of what an index means. */
static void count_search(const tk_index *index)
{
    atomic_fetch_add_explicit(&((tk_index *)index)->searches, 1, memory_order_relaxed);
}

tk_status tk_index_search(const tk_index *index, const float *query, const tk_search *search,
                          tk_hit *hits, size_t *found, tk_error *error)
{
    struct session *session;
    tk_status status = check_arguments(index, query, search, hits, found, error);
    if (status != TK_OK) return status;
    *found = 0;
    status = tk_search_check(search, error);
    if (status == TK_OK) status = begin(index, query, &session, error);
    if (status != TK_OK) return status;
    status = tk_search_one(index, session, search, hits, found);
    tk_read_end(index, session);
    count_search(index);
    return status == TK_OK ? TK_OK : tk_fail_memory(error);
}

/* ---- Range search ---------------------------------------------------------------------------- */

/* Walks with more and more effort, until what is similar enough is but half of what was looked at:
 * the walk has then gone well past the threshold. */
static tk_status find_range(const tk_index *index, struct session *session, const tk_search *search,
                            struct ranking *ranking)
{
    const struct filter filter = filter_of(search);
    tk_search effort_now = *search;
    tk_status status = TK_EFULL;
    ranking->threshold = search->threshold;
    effort_now.k = search->ef ? search->ef : index->options.ef_search;
    tk_epoch_stay(&session->seat);
    for (; !set_is_narrow(index, &effort_now) && !tk_search_scans(index, &effort_now);
         effort_now.k *= 4) {
        const struct plan plan = plan_of(index, &effort_now, SEARCH_MAX);
        if (asking_is_cheap(index, &plan)) break;
        status = walk(index, session, &plan, ranking);
        if (status != TK_OK || ranking->count <= effort_now.k / 2) break;
        status = TK_EFULL;
        if (effort_now.k > SEARCH_MAX / 4) break;
    }
    if (status == TK_EFULL) status = compare_all(index, session, &filter, ranking);
    tk_ranking_finish(ranking, SIZE_MAX);
    return status;
}

tk_status tk_index_search_range(const tk_index *index, const float *query, const tk_search *search,
                                tk_hit **hits, size_t *found, tk_error *error)
{
    struct session *session;
    tk_status status = check_arguments(index, query, search, hits, found, error);
    if (status != TK_OK) return status;
    *hits = NULL;
    *found = 0;
    tk_search range = *search;
    range.k = 1; /* not looked at, whatever it is */
    status = tk_search_check(&range, error);
    if (status != TK_OK) return status;
    if (search->threshold == -INFINITY)
        return tk_fail(error, TK_EINVAL, "threshold is -infinity, which every vector reaches");
    status = begin(index, query, &session, error);
    if (status != TK_OK) return status;

    struct ranking ranking = ranking_in(session, SIZE_MAX);
    status = find_range(index, session, &range, &ranking);
    if (status == TK_OK) {
        *hits = malloc(ranking.count ? ranking.count * sizeof(**hits) : 1);
        if (!*hits)
            status = TK_ENOMEM;
        else if (ranking.count > 0)
            memcpy(*hits, ranking.items, ranking.count * sizeof(**hits));
        if (*hits) *found = ranking.count;
    }
    tk_read_end(index, session);
    count_search(index);
    return status == TK_OK ? TK_OK : tk_fail_memory(error);
}
