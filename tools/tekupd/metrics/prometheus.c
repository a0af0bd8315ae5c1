#include "tools/tekupd/metrics/prometheus.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void prometheus_family(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_format(out, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(struct buffer *out, const char *name, const char *value)
{
    buffer_format(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            buffer_text(out, "\\n");
        else if (*value == '"' || *value == '\\')
            buffer_format(out, "\\%c", *value);
        else
            buffer_append(out, value, 1);
    }
    buffer_text(out, "\"");
}

/* Its name and labels; `le` is one more of them, or NULL. */
static void put_name(struct buffer *out, const char *name, const char *suffix,
                     const struct prometheus_label *labels, const char *le)
{
    const char *before = "{";
    buffer_format(out, "%s%s", name, suffix);
    for (; labels != NULL && labels->name != NULL; labels++) {
        buffer_text(out, before);
        put_label(out, labels->name, labels->value);
        before = ",";
    }
    if (le != NULL) {
        buffer_text(out, before);
        put_label(out, "le", le);
        before = ",";
    }
    buffer_text(out, *before == ',' ? "} " : " ");
}

static void put_number(struct buffer *out, double value)
{
    if (isnan(value))
        buffer_text(out, "NaN\n");
    else if (isinf(value))
        buffer_text(out, value > 0 ? "+Inf\n" : "-Inf\n");
    else
        buffer_format(out, "%.15g\n", value);
}

void prometheus_count(struct buffer *out, const char *name, const struct prometheus_label *labels,
                      uint64_t value)
{
    put_name(out, name, "", labels, NULL);
    buffer_format(out, "%" PRIu64 "\n", value);
}

void prometheus_number(struct buffer *out, const char *name, const struct prometheus_label *labels,
                       double value)
{
    put_name(out, name, "", labels, NULL);
    put_number(out, value);
}

void prometheus_histogram(struct buffer *out, const char *name,
                          const struct prometheus_label *labels, const struct histogram *histogram)
{
    struct histogram_values values;
    char bound[32] = "+Inf";
    histogram_read(histogram, &values);
    for (size_t i = 0; i <= values.scale->count; i++) {
        if (i < values.scale->count)
            snprintf(bound, sizeof(bound), "%g", values.scale->bounds[i]);
        else
            snprintf(bound, sizeof(bound), "+Inf");
        put_name(out, name, "_bucket", labels, bound);
        buffer_format(out, "%" PRIu64 "\n", values.buckets[i]);
    }
    put_name(out, name, "_sum", labels, NULL);
    put_number(out, values.sum);
    put_name(out, name, "_count", labels, NULL);
    buffer_format(out, "%" PRIu64 "\n", values.count);
}

void prometheus_gauge(struct buffer *out, const char *name, const char *help, double value)
{
    prometheus_family(out, name, "gauge", help);
    prometheus_number(out, name, NULL, value);
}

void prometheus_counter(struct buffer *out, const char *name, const char *help, uint64_t value)
{
    prometheus_family(out, name, "counter", help);
    prometheus_count(out, name, NULL, value);
}
