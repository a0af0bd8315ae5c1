#include "storage/base/error.h"

#include "storage/base/utf8.h"

#include <stdio.h>
#include <string.h>

/* A message that did not fit must not end in half a character: PostgreSQL and JSON refuse it. */
static void end_whole(struct error *err)
{
    err->message[utf8_whole(err->message, strlen(err->message))] = '\0';
}

int error_set(struct error *err, enum error_code code, const char *field, const char *format, ...)
{
    if (err == NULL) return -1;
    err->code = code;
    snprintf(err->field, sizeof(err->field), "%s", field != NULL ? field : "");
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    end_whole(err);
    return -1;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (err == NULL) return -1;
    char prefix[256];
    char message[sizeof(err->message)];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof(prefix), format, args);
    va_end(args);
    prefix[utf8_whole(prefix, strlen(prefix))] = '\0';
    memcpy(message, err->message, sizeof(message));
    int length = snprintf(err->message, sizeof(err->message), "%s: ", prefix);
    snprintf(err->message + length, sizeof(err->message) - (size_t)length, "%s", message);
    end_whole(err);
    return -1;
}

const char *error_code_name(enum error_code code)
{
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_TOO_LARGE:
        return "too_large";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_IO:
        return "io";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_INTERNAL:
        break;
    }
    return "internal";
}
