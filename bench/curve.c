#include "bench/curve.h"
#include "bench/progress.h"

#include <string.h>

static int measure(struct curve *curve, size_t ef, struct known *known, tk_error *err)
{
    const struct exchange *exchange = curve->exchange;
    struct request request = {.task = TASK_ANSWER,
                              .ef = ef,
                              .threads = curve->threads,
                              .filter = curve->filter,
                              .bits = curve->bits};
    struct reply reply;
    progress("recall of %s at %s %zu", curve->worker->peer->name, curve->worker->peer->setting, ef);
    if (worker_ask(curve->worker, &request, &reply, err) != 0) return -1;
    const struct answers answers = {exchange->k, exchange->hits, exchange->found};
    *known = (struct known){.ef = ef, .seconds = reply.seconds};
    tk_error wrong;
    if (recall_measure(&exchange->base, &exchange->queries, curve->truth, &answers,
                       curve->bits ? exchange->keep : NULL, curve->bits, &known->recall,
                       &wrong) != 0)
        return fail(err, "%s: %s", curve->worker->peer->name, wrong.message);
    return 0;
}

int curve_at(struct curve *curve, size_t ef, struct known *known, tk_error *err)
{
    if (ef < curve->exchange->k) ef = curve->exchange->k;
    if (ef > curve->worker->peer->most_ef) ef = curve->worker->peer->most_ef;
    size_t at = 0;
    while (at < curve->count && curve->known[at].ef < ef) at++;
    if (at < curve->count && curve->known[at].ef == ef) {
        *known = curve->known[at];
        return 0;
    }
    if (curve->count == MOST_KNOWN) return fail(err, "there are too many search settings");
    if (measure(curve, ef, known, err) != 0) return -1;
    memmove(curve->known + at + 1, curve->known + at, (curve->count - at) * sizeof(*known));
    curve->known[at] = *known;
    curve->count++;
    return 0;
}

int curve_sweep(struct curve *curve, const size_t *efs, size_t n, double enough, tk_error *err)
{
    struct known known;
    for (size_t i = 0; i < n && efs[i] <= curve->most_ef; i++) {
        if (curve_at(curve, efs[i], &known, err) != 0) return -1;
        if (enough < 1 && known.recall.value >= enough) break;
    }
    return 0;
}

/* The known settings around the recall: below it the largest, or ef 0; at it the smallest. */
static bool bracket(const struct curve *curve, double recall, size_t *below, struct known *reaches)
{
    *below = 0;
    for (size_t i = 0; i < curve->count; i++) {
        if (curve->known[i].recall.value >= recall) {
            *reaches = curve->known[i];
            return true;
        }
        *below = curve->known[i].ef;
    }
    return false;
}

int curve_smallest(struct curve *curve, double recall, struct known *smallest, bool *found,
                   tk_error *err)
{
    struct known known = {0};
    size_t below;
    const size_t least = curve->exchange->k;
    while (!(*found = bracket(curve, recall, &below, smallest))) {
        if (below >= curve->most_ef) return 0;
        size_t next = below ? 2 * below : least;
        if (next > curve->most_ef) next = curve->most_ef > least ? curve->most_ef : least;
        if (curve_at(curve, next, &known, err) != 0) return -1;
        if (known.ef < next) return 0; /* the engine takes no more */
    }
    while (smallest->ef > below + 1 && smallest->ef > least) {
        size_t middle = below + (smallest->ef - below) / 2;
        if (middle < least) middle = least;
        if (curve_at(curve, middle, &known, err) != 0) return -1;
        if (known.recall.value >= recall)
            *smallest = known;
        else
            below = middle;
    }
    return 0;
}
