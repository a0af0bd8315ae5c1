/*
 * log.h: structured log lines on stderr, one event a line, in logfmt:
 *
 *     time=2026-11-24T14:20:31.123Z level=info event=sync.done source=local documents=812 ms=4211
 *
 * The first word names the event, `noun.verb`; the format after it gives the fields. Safe to call
 * from any thread; a line is written whole.
 */
#ifndef STORAGE_BASE_LOG_H
#define STORAGE_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped. May be changed while other threads log. */
void log_set_level(enum log_level level);

/* Parses "debug", "info", "warn" or "error"; returns 0, or -1 for another word. */
int log_level_parse(const char *name, enum log_level *level);

/* Writes one line. fields is a printf format of `name=value` pairs. A value that may hold spaces,
 * quotes, control characters or text from outside is written with %s and log_quote(). */
void log_event(enum log_level level, const char *event, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));

/* The value in double quotes with quotes, backslashes, control characters and bytes that are not
 * UTF-8 escaped, cut at 400 bytes. The result lives in a ring of 8 buffers of the calling thread.
 */
const char *log_quote(const char *value);

/* Whether lines of this level are written. */
bool log_is_on(enum log_level level);

/* Its fields are not worked out where nobody reads them. */
#define log_debug(event, ...)                                                                      \
    do {                                                                                           \
        if (log_is_on(LOG_DEBUG)) log_event(LOG_DEBUG, event, __VA_ARGS__);                        \
    } while (0)
#define log_info(event, ...) log_event(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

#endif
