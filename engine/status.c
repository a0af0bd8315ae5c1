/*
 * status.c: names of statuses, and the one way to fill in a tk_error.
 */
#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *tk_status_text(tk_status status)
{
    switch (status) {
    case TK_OK:
        return "success";
    case TK_EINVAL:
        return "invalid argument";
    case TK_ENONFINITE:
        return "vector has a component that is NaN or infinite";
    case TK_EZERO:
        return "vector has length zero";
    case TK_EEXISTS:
        return "id exists already";
    case TK_ENOTFOUND:
        return "id not found";
    case TK_ENOMEM:
        return "out of memory";
    case TK_EFULL:
        return "index is full";
    case TK_EIO:
        return "input or output failed";
    case TK_ECORRUPT:
        return "saved index is damaged";
    case TK_EVERSION:
        return "saved index is of another version";
    }
    return "unknown status";
}

tk_status tk_fail(tk_error *error, tk_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof(error->message), format, arguments);
        va_end(arguments);
    }
    return status;
}

tk_status tk_fail_memory(tk_error *error)
{
    return tk_fail(error, TK_ENOMEM, "memory ran out");
}
