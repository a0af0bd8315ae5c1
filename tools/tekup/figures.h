/* figures.h: numbers, sizes and times as people read and type them. */
#ifndef TEKUP_FIGURES_H
#define TEKUP_FIGURES_H

#include <stddef.h>
#include <time.h>

enum { FIGURE_SIZE = 48 };

/* 1234567 -> "1,234,567". Each writes to out and returns it. */
const char *figure_count(long long value, char out[FIGURE_SIZE]);

/* 1536000 -> "1.5 MB" (powers of 1,000). */
const char *figure_bytes(double bytes, char out[FIGURE_SIZE]);

/* 0.0042 -> "4 ms", 4.21 -> "4.2 s", 75 -> "1 min 15 s", 7300 -> "2 h 1 min", 200000 -> "2 d 7 h"
 */
const char *figure_seconds(double seconds, char out[FIGURE_SIZE]);

/* The same for what is an estimate: whole seconds. */
const char *figure_rough(double seconds, char out[FIGURE_SIZE]);

/* "2026-11-24T14:20:31.123Z" seen from now -> "3 min ago"; text that is no time as it is. */
const char *figure_age(const char *time, time_t now, char out[FIGURE_SIZE]);

/* How long from now until then: "in 3 min"; "now" where that is over. */
const char *figure_until(const char *time, time_t now, char out[FIGURE_SIZE]);

/* Seconds from now until then, below 0 where that is over. Returns -1 for text that is no time. */
int figure_left(const char *time, time_t now, double *seconds);

/* 21600 -> "6h": an interval as figure_parse_interval reads it. */
const char *figure_interval(long long seconds, char out[FIGURE_SIZE]);

/* "90", "90s", "15m", "6h", "7d" -> seconds. Returns -1 for anything else or above ten years. */
int figure_parse_interval(const char *text, int *seconds);

/* Whole numbers and decimals, nothing after them. Return -1 for anything else. */
int figure_parse_integer(const char *text, long long *value);
int figure_parse_number(const char *text, double *value);

#endif
