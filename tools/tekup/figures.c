#include "tools/tekup/figures.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *figure_count(long long value, char out[FIGURE_SIZE])
{
    char digits[32];
    snprintf(digits, sizeof(digits), "%lld", value);
    char *to = out;
    const char *from = digits;
    if (*from == '-') *to++ = *from++;
    for (size_t left = strlen(from); left > 0; left--) {
        *to++ = *from++;
        if (left > 1 && left % 3 == 1) *to++ = ',';
    }
    *to = '\0';
    return out;
}

const char *figure_bytes(double bytes, char out[FIGURE_SIZE])
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (bytes >= 999.5 && unit + 1 < sizeof(names) / sizeof(*names)) {
        bytes /= 1000;
        unit++;
    }
    const int decimals = unit == 0 || bytes >= 99.95 ? 0 : 1;
    snprintf(out, FIGURE_SIZE, "%.*f %s", decimals, bytes, names[unit]);
    return out;
}

const char *figure_seconds(double seconds, char out[FIGURE_SIZE])
{
    if (seconds < 0) seconds = 0;
    const long long whole = seconds < 1e15 ? (long long)(seconds + 0.5) : 0;
    if (seconds < 0.01)
        snprintf(out, FIGURE_SIZE, "%.1f ms", seconds * 1000);
    else if (seconds < 0.9995)
        snprintf(out, FIGURE_SIZE, "%.0f ms", seconds * 1000);
    else if (seconds < 59.95)
        snprintf(out, FIGURE_SIZE, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(out, FIGURE_SIZE, "%lld min %lld s", whole / 60, whole % 60);
    else if (whole < 86400)
        snprintf(out, FIGURE_SIZE, "%lld h %lld min", whole / 3600, whole % 3600 / 60);
    else
        snprintf(out, FIGURE_SIZE, "%lld d %lld h", whole / 86400, whole % 86400 / 3600);
    return out;
}

const char *figure_rough(double seconds, char out[FIGURE_SIZE])
{
    if (seconds >= 59.5) return figure_seconds(seconds < 60 ? 60 : seconds, out);
    snprintf(out, FIGURE_SIZE, "%.0f s", seconds > 0 ? seconds : 0);
    return out;
}

const char *figure_age(const char *time, time_t now, char out[FIGURE_SIZE])
{
    struct tm utc = {0};
    const char *rest = strptime(time, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL) {
        snprintf(out, FIGURE_SIZE, "%s", time);
        return out;
    }
    const long long age = (long long)(now - timegm(&utc));
    if (age < 60)
        snprintf(out, FIGURE_SIZE, age < 5 ? "just now" : "%lld s ago", age);
    else if (age < 3600)
        snprintf(out, FIGURE_SIZE, "%lld min ago", age / 60);
    else if (age < 172800)
        snprintf(out, FIGURE_SIZE, "%lld h ago", age / 3600);
    else
        snprintf(out, FIGURE_SIZE, "%lld d ago", age / 86400);
    return out;
}

int figure_left(const char *time, time_t now, double *seconds)
{
    struct tm utc = {0};
    if (strptime(time, "%Y-%m-%dT%H:%M:%S", &utc) == NULL) return -1;
    *seconds = difftime(timegm(&utc), now);
    return 0;
}

const char *figure_until(const char *time, time_t now, char out[FIGURE_SIZE])
{
    double left;
    if (figure_left(time, now, &left) != 0)
        snprintf(out, FIGURE_SIZE, "%s", time);
    else if (left <= 0)
        snprintf(out, FIGURE_SIZE, "now");
    else if (left < 60)
        snprintf(out, FIGURE_SIZE, "in %.0f s", left);
    else if (left < 3600)
        snprintf(out, FIGURE_SIZE, "in %.0f min", left / 60);
    else if (left < 172800)
        snprintf(out, FIGURE_SIZE, "in %.0f h", left / 3600);
    else
        snprintf(out, FIGURE_SIZE, "in %.0f d", left / 86400);
    return out;
}

int figure_parse_integer(const char *text, long long *value)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || isspace((unsigned char)*text) ? -1 : 0;
}

int figure_parse_number(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return errno != 0 || end == text || *end != '\0' || isspace((unsigned char)*text) ||
                   !isfinite(*value)
               ? -1
               : 0;
}

static const struct {
    char letter;
    int seconds;
} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
enum { UNITS = sizeof(units) / sizeof(*units) };

const char *figure_interval(long long seconds, char out[FIGURE_SIZE])
{
    int unit = UNITS - 1;
    while (unit > 0 && seconds % units[unit].seconds != 0) unit--;
    snprintf(out, FIGURE_SIZE, "%lld%c", seconds / units[unit].seconds, units[unit].letter);
    return out;
}

int figure_parse_interval(const char *text, int *seconds)
{
    enum { LONGEST = 10 * 366 * 86400 };
    if (!isdigit((unsigned char)*text)) return -1;
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno != 0 || value > LONGEST) return -1;
    long long unit = *end == '\0' ? 1 : 0;
    for (int i = 0; unit == 0 && i < UNITS; i++)
        if (end[0] == units[i].letter && end[1] == '\0') unit = units[i].seconds;
    if (unit == 0 || value * unit > LONGEST) return -1;
    *seconds = (int)(value * unit);
    return 0;
}
