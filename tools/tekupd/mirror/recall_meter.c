/* recall_meter.c: all of it but `stop` is the thread's own. */
#include "tools/tekupd/mirror/recall_meter.h"

#include "ingest/clock.h"
#include "tools/tekupd/workers.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { QUEUE = 64, PATIENT = 19 };

/* How long a report is told to others who ask for the same. */
static const double fresh_s = 10;

struct recall_meter {
    struct mirror *mirror;
    struct workers *workers;
    atomic_bool stop;
    struct recall_report last;
    const struct replica *replica; /* that was measured last; to compare with, not to look at */
    double last_at;                /* clock_now(); 0: never */
    uint64_t seed;
};

struct asked {
    struct recall_meter *meter;
    struct recall_wanted wanted;
    recall_fn done;
    void *arg;
};

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool is_fresh(const struct recall_meter *meter, const struct replica *replica,
                     const struct recall_wanted *wanted)
{
    const struct recall_wanted *last = &meter->last.wanted;
    return meter->last_at > 0 && clock_now() - meter->last_at < fresh_s &&
           meter->replica == replica && last->sample == wanted->sample &&
           last->limit == wanted->limit && last->ef == wanted->ef;
}

static int measure(struct recall_meter *meter, struct replica *replica,
                   const struct recall_wanted *wanted, struct error *err)
{
    struct recall recall;
    const double began = clock_now();
    if (is_fresh(meter, replica, wanted)) return 0;
    if (recall_measure(replica, wanted, meter->seed++, &meter->stop, &recall, err) != 0) return -1;
    meter->last_at = clock_now();
    meter->replica = replica;
    meter->last = (struct recall_report){.wanted = *wanted,
                                         .recall = recall,
                                         .took_s = meter->last_at - began,
                                         .measured_at = wall_clock()};
    return 0;
}

static void answer(void *arg)
{
    struct asked *asked = arg;
    struct recall_meter *meter = asked->meter;
    struct error err = {0};
    struct replica *replica = mirror_use(meter->mirror);
    int rc = -1;
    setpriority(PRIO_PROCESS, 0, PATIENT); /* of this thread */
    if (atomic_load(&meter->stop)) {
        error_set(&err, ERR_UNAVAILABLE, NULL, "the daemon stops");
    } else if (replica == NULL) {
        error_set(&err, ERR_UNAVAILABLE, NULL, "the index is still loading");
    } else {
        if (asked->wanted.ef == 0) {
            tk_index_stats stats;
            tk_index_get_stats(replica_index(replica), &stats);
            asked->wanted.ef = stats.ef_search;
        }
        rc = measure(meter, replica, &asked->wanted, &err);
        if (err.code == ERR_CANCELLED) error_set(&err, ERR_UNAVAILABLE, NULL, "the daemon stops");
    }
    asked->done(asked->arg, rc == 0 ? &meter->last : NULL, rc == 0 ? NULL : &err);
    replica_release(replica);
    free(asked);
}

struct recall_meter *recall_meter_create(struct mirror *mirror, struct error *err)
{
    struct recall_meter *meter = calloc(1, sizeof(*meter));
    if (meter == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    meter->mirror = mirror;
    meter->workers = workers_create("tekupd-recall", 1, QUEUE, err);
    if (meter->workers != NULL) return meter;
    free(meter);
    return NULL;
}

int recall_meter_ask(struct recall_meter *meter, const struct recall_wanted *wanted, recall_fn done,
                     void *arg, struct error *err)
{
    struct asked *asked = malloc(sizeof(*asked));
    if (asked == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    *asked = (struct asked){meter, *wanted, done, arg};
    if (workers_submit(meter->workers, answer, asked) == 0) return 0;
    free(asked);
    return error_set(err, ERR_UNAVAILABLE, NULL, "too many measurements are asked for already");
}

void recall_meter_stop(struct recall_meter *meter)
{
    if (meter != NULL) atomic_store(&meter->stop, true);
}

void recall_meter_free(struct recall_meter *meter)
{
    if (meter == NULL) return;
    recall_meter_stop(meter);
    workers_free(meter->workers);
    free(meter);
}
