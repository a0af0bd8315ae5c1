/*
 * status.h: how the engine's functions report failure, a status and a message that travels with it.
 */
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include <tekup/index.h>

/* Writes the message to error, unless that is NULL, and returns status. */
tk_status tk_fail(tk_error *error, tk_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The message for memory that ran out, which every caller words the same. */
tk_status tk_fail_memory(tk_error *error);

#endif
