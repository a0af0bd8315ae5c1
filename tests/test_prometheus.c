#include "tools/tekupd/metrics/prometheus.h"

#include <criterion/criterion.h>
#include <math.h>

Test(prometheus, writes_families_and_samples)
{
    struct buffer out = {0};
    prometheus_family(&out, "syncs", "gauge", "Syncs that run");
    prometheus_count(&out, "syncs",
                     (struct prometheus_label[]){{"a", "x"}, {"b", "y"}, {NULL, NULL}}, 3);
    prometheus_number(&out, "syncs", NULL, 0.25);
    prometheus_gauge(&out, "g", "G", INFINITY);
    prometheus_counter(&out, "c_total", "C", 18446744073709551615u);
    cr_assert_str_eq(out.data, "# HELP syncs Syncs that run.\n# TYPE syncs gauge\n"
                               "syncs{a=\"x\",b=\"y\"} 3\nsyncs 0.25\n"
                               "# HELP g G.\n# TYPE g gauge\ng +Inf\n"
                               "# HELP c_total C.\n# TYPE c_total counter\n"
                               "c_total 18446744073709551615\n");
    buffer_free(&out);
}

Test(prometheus, escapes_what_labels_hold)
{
    struct buffer out = {0};
    prometheus_count(&out, "m", (struct prometheus_label[]){{"model", "a\"b\\c\nd"}, {NULL, NULL}},
                     1);
    cr_assert_str_eq(out.data, "m{model=\"a\\\"b\\\\c\\nd\"} 1\n");
    buffer_free(&out);
}

Test(prometheus, writes_histograms)
{
    static const struct histogram_scale scale = {2, {0.5, 1}};
    struct histogram histogram;
    struct buffer out = {0};
    histogram_init(&histogram, &scale);
    histogram_observe(&histogram, 0.25);
    histogram_observe(&histogram, 1.5);
    prometheus_histogram(&out, "h", (struct prometheus_label[]){{"k", "v"}, {NULL, NULL}},
                         &histogram);
    prometheus_histogram(&out, "h", NULL, &histogram);
    cr_assert_str_eq(out.data, "h_bucket{k=\"v\",le=\"0.5\"} 1\nh_bucket{k=\"v\",le=\"1\"} 1\n"
                               "h_bucket{k=\"v\",le=\"+Inf\"} 2\nh_sum{k=\"v\"} 1.75\n"
                               "h_count{k=\"v\"} 2\n"
                               "h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1\"} 1\n"
                               "h_bucket{le=\"+Inf\"} 2\nh_sum 1.75\nh_count 2\n");
    buffer_free(&out);
}
