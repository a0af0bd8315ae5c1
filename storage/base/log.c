#include "storage/base/log.h"

#include "storage/base/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int threshold = LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

void log_event(enum log_level level, const char *event, const char *fields, ...)
{
    if (!log_is_on(level)) return;

    char line[4096];
    const size_t room = sizeof(line) - 1; /* one byte is kept for the newline */
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, room, "time=%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, room - used, ".%03ldZ level=%s event=%s ",
                             now.tv_nsec / 1000000, level_names[level], event);
    va_list args;
    va_start(args, fields);
    int written = vsnprintf(line + used, room - used, fields, args);
    va_end(args);
    if (written > 0) used += (size_t)written < room - used ? (size_t)written : room - used - 1;
    for (size_t i = 0; i < used; i++) {
        if (line[i] == '\n' || line[i] == '\r') line[i] = ' ';
    }
    line[used++] = '\n';

    /* One write, so that lines of several threads do not mix. Nothing can be done if it fails. */
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
}

const char *log_quote(const char *value)
{
    enum { RING = 8, LIMIT = 400 };
    static _Thread_local char ring[RING][LIMIT + 16];
    static _Thread_local unsigned next;
    char *out = ring[next++ % RING];
    size_t used = 0;
    out[used++] = '"';
    const unsigned char *byte = (const unsigned char *)(value != NULL ? value : "");
    size_t left = strlen((const char *)byte);
    while (left > 0 && used < LIMIT) {
        size_t length = utf8_sequence(byte, left);
        if (length == 0 || *byte < 0x20 || *byte == 0x7f) {
            used += (size_t)snprintf(out + used, 8, "\\x%02x", *byte);
            length = 1;
        } else {
            if (*byte == '"' || *byte == '\\') out[used++] = '\\';
            memcpy(out + used, byte, length);
            used += length;
        }
        byte += length;
        left -= length;
    }
    if (left > 0) {
        memcpy(out + used, "...", 3);
        used += 3;
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}
