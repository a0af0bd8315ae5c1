#include "bench/failure.h"

#include <stdarg.h>
#include <stdio.h>

int fail(tk_error *err, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
    }
    return -1;
}
