/*
 * prometheus.h: writes figures in the text form of Prometheus (version 0.0.4).
 *
 *     prometheus_family(&out, "tekupdb_syncs", "gauge", "Syncs");
 *     prometheus_count(&out, "tekupdb_syncs", (struct prometheus_label[]){{"state", "queued"},
 * {0}}, 3);
 *
 * Everything of a family is written in one go, behind its head.
 */
#ifndef TEKUPD_PROMETHEUS_H
#define TEKUPD_PROMETHEUS_H

#include "storage/base/buffer.h"
#include "storage/base/histogram.h"

#include <stdint.h>

/* A list of them ends with one without a name; NULL is none. */
struct prometheus_label {
    const char *name, *value;
};

/* help is without its full stop. */
void prometheus_family(struct buffer *out, const char *name, const char *type, const char *help);

void prometheus_count(struct buffer *out, const char *name, const struct prometheus_label *labels,
                      uint64_t value);
void prometheus_number(struct buffer *out, const char *name, const struct prometheus_label *labels,
                       double value);

/* The buckets, the sum and the count of one of a family of histograms. */
void prometheus_histogram(struct buffer *out, const char *name,
                          const struct prometheus_label *labels, const struct histogram *histogram);

/* A family with one sample without labels. */
void prometheus_gauge(struct buffer *out, const char *name, const char *help, double value);
void prometheus_counter(struct buffer *out, const char *name, const char *help, uint64_t value);

#endif
