/*
 * error.h: how a function of the daemon says what went wrong.
 *
 * A function that can fail takes a `struct error *` as its last parameter and returns 0, or -1
 * after filling it in. The message is for the person who can do something about it; `field` names
 * the input at fault where there is one, in the spelling of the interface it came in by.
 */
#ifndef STORAGE_BASE_ERROR_H
#define STORAGE_BASE_ERROR_H

#include <stdarg.h>

enum error_code {
    ERR_NONE = 0,
    ERR_INVALID,     /* the input is wrong; trying again will not help */
    ERR_NOT_FOUND,   /* there is no such thing */
    ERR_CONFLICT,    /* it exists already, or is being worked on */
    ERR_TOO_LARGE,   /* the input is over a limit */
    ERR_UNAVAILABLE, /* a server is away or busy; trying again later may help */
    ERR_IO,          /* a file could not be read or written */
    ERR_CANCELLED,   /* it was told to stop */
    ERR_INTERNAL     /* a defect, or memory ran out */
};

struct error {
    enum error_code code;
    char field[64]; /* empty where no single input is at fault */
    char message[512];
};

/* Fills *err in (NULL is allowed) and returns -1, so that a caller can `return error_set(...)`.
 * field may be NULL. */
int error_set(struct error *err, enum error_code code, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "context: " in front of the message, keeping code and field. Returns -1. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code as the interfaces spell it: "invalid", "not_found", ... A static string. */
const char *error_code_name(enum error_code code);

#endif
