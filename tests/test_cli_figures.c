/* Numbers, sizes and times as people read and type them. */
#include "tools/tekup/figures.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <string.h>

Test(figures, counts)
{
    char out[FIGURE_SIZE];
    cr_expect_str_eq(figure_count(0, out), "0");
    cr_expect_str_eq(figure_count(999, out), "999");
    cr_expect_str_eq(figure_count(1000, out), "1,000");
    cr_expect_str_eq(figure_count(-1234567, out), "-1,234,567");
    cr_expect_str_eq(figure_count(LLONG_MAX, out), "9,223,372,036,854,775,807");
    cr_expect_str_eq(figure_count(LLONG_MIN, out), "-9,223,372,036,854,775,808");
}

Test(figures, sizes)
{
    char out[FIGURE_SIZE];
    cr_expect_str_eq(figure_bytes(0, out), "0 B");
    cr_expect_str_eq(figure_bytes(999, out), "999 B");
    cr_expect_str_eq(figure_bytes(1536000, out), "1.5 MB");
    cr_expect_str_eq(figure_bytes(999960, out), "1.0 MB");
    cr_expect_str_eq(figure_bytes(84.7e9, out), "84.7 GB");
    cr_expect_str_eq(figure_bytes(123456789, out), "123 MB");
}

Test(figures, durations)
{
    char out[FIGURE_SIZE];
    cr_expect_str_eq(figure_seconds(0.00127, out), "1.3 ms");
    cr_expect_str_eq(figure_seconds(0.25, out), "250 ms");
    cr_expect_str_eq(figure_seconds(4.21, out), "4.2 s");
    cr_expect_str_eq(figure_seconds(59.99, out), "1 min 0 s");
    cr_expect_str_eq(figure_seconds(75.4, out), "1 min 15 s");
    cr_expect_str_eq(figure_seconds(7300, out), "2 h 1 min");
    cr_expect_str_eq(figure_seconds(200000, out), "2 d 7 h");
    cr_expect_str_eq(figure_seconds(-1, out), "0.0 ms");
    cr_expect_lt(strlen(figure_seconds(1e300, out)), FIGURE_SIZE);
    cr_expect_str_eq(figure_rough(26, out), "26 s");
    cr_expect_str_eq(figure_rough(0.2, out), "0 s");
    cr_expect_str_eq(figure_rough(59.7, out), "1 min 0 s");
    cr_expect_str_eq(figure_rough(75.4, out), "1 min 15 s");
    cr_expect_str_eq(figure_rough(-3, out), "0 s");
    cr_expect_lt(strlen(figure_rough(1e300, out)), FIGURE_SIZE);
}

Test(figures, ages)
{
    char out[FIGURE_SIZE];
    const time_t now = 1795530031; /* 2026-11-24T14:20:31Z */
    cr_expect_str_eq(figure_age("2026-11-24T14:20:31.123Z", now, out), "just now");
    cr_expect_str_eq(figure_age("2026-11-24T14:21:31.123Z", now, out), "just now", "a clock ahead");
    cr_expect_str_eq(figure_age("2026-11-24T14:20:01.123Z", now, out), "30 s ago");
    cr_expect_str_eq(figure_age("2026-11-24T14:00:31.123Z", now, out), "20 min ago");
    cr_expect_str_eq(figure_age("2026-11-23T14:20:31.123Z", now, out), "24 h ago");
    cr_expect_str_eq(figure_age("2026-10-25T14:20:31.123Z", now, out), "30 d ago");
    cr_expect_str_eq(figure_age("", now, out), "");
    cr_expect_str_eq(figure_age("never", now, out), "never");
}

Test(figures, intervals)
{
    int seconds = -1;
    char out[FIGURE_SIZE];
    static const struct {
        const char *text;
        int seconds;
    } good[] = {{"0", 0}, {"90", 90}, {"90s", 90}, {"15m", 900}, {"6h", 21600}, {"7d", 604800}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        cr_expect_eq(figure_parse_interval(good[i].text, &seconds), 0, "%s", good[i].text);
        cr_expect_eq(seconds, good[i].seconds);
    }
    static const char *const bad[] = {
        "", "h", "-1h", "1.5h", "6 h", "6hh", "6w", " 6h", "+6h", "99999d", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        cr_expect_eq(figure_parse_interval(bad[i], &seconds), -1, "%s", bad[i]);
    cr_expect_str_eq(figure_interval(21600, out), "6h");
    cr_expect_str_eq(figure_interval(90, out), "90s");
    cr_expect_str_eq(figure_interval(604800, out), "7d");
}

Test(figures, numbers)
{
    long long whole;
    double number;
    cr_expect_eq(figure_parse_integer("-12", &whole), 0);
    cr_expect_eq(whole, -12);
    static const char *const no_integer[] = {"", " 1", "1 ", "1.5", "x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(no_integer) / sizeof(*no_integer); i++)
        cr_expect_eq(figure_parse_integer(no_integer[i], &whole), -1, "%s", no_integer[i]);
    cr_expect_eq(figure_parse_number("-0.25", &number), 0);
    cr_expect_eq(number, -0.25);
    static const char *const no_number[] = {"", " 1", "nan", "inf", "1e999", "0.5x"};
    for (size_t i = 0; i < sizeof(no_number) / sizeof(*no_number); i++)
        cr_expect_eq(figure_parse_number(no_number[i], &number), -1, "%s", no_number[i]);
}
