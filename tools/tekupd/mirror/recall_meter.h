/*
 * recall_meter.h: measures recall when somebody asks, on a thread of its own.
 *
 * One measurement at a time, at the lowest priority beside searches and writes. Who asks for what
 * was measured a moment ago is told that. All functions may be called from any thread.
 */
#ifndef TEKUPD_RECALL_METER_H
#define TEKUPD_RECALL_METER_H

#include "tools/tekupd/mirror/mirror.h"
#include "tools/tekupd/mirror/recall.h"

struct recall_meter;

/* The mirror outlives it. */
struct recall_meter *recall_meter_create(struct mirror *mirror, struct error *err);

struct recall_report {
    struct recall_wanted wanted; /* with the effort that was made */
    struct recall recall;
    double took_s, measured_at; /* seconds; of the clock on the wall */
};

/* failure is NULL where there is a report. */
typedef void (*recall_fn)(void *arg, const struct recall_report *report,
                          const struct error *failure);

/* Has done(arg, ...) called once, by the thread. Errors: ERR_UNAVAILABLE where too many have asked
 * already; done is then not called. */
int recall_meter_ask(struct recall_meter *meter, const struct recall_wanted *wanted, recall_fn done,
                     void *arg, struct error *err);

/* Ends what is measured: everybody is told ERR_UNAVAILABLE. */
void recall_meter_stop(struct recall_meter *meter);
void recall_meter_free(struct recall_meter *meter); /* NULL is allowed for both */

#endif
