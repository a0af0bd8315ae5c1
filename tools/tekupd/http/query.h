/*
 * query.h: the parameters behind the '?' of a request.
 *
 * Names and values are percent-decoded ('+' is a space) and must be valid UTF-8 without NUL. A
 * parameter that is given twice, or that a call does not know, is refused by name.
 */
#ifndef TEKUPD_QUERY_H
#define TEKUPD_QUERY_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { QUERY_LIMIT = 32 };

struct query {
    char *text; /* holds all names and values */
    size_t count;
    struct {
        const char *name, *value;
    } parameter[QUERY_LIMIT];
};

/* raw may be NULL: no parameters. known is a list that ends with NULL. query_free is called in any
 * case. Errors: ERR_INVALID with the parameter's name as field. */
int query_parse(const char *raw, const char *const *known, struct query *query, struct error *err);
void query_free(struct query *query);

/* NULL where it is not given. */
const char *query_get(const struct query *query, const char *name);

/* Leaves *value as it is where the parameter is not given. */
int query_integer(const struct query *query, const char *name, long least, long most, long *value,
                  struct error *err);
int query_boolean(const struct query *query, const char *name, bool *value, struct error *err);

/* Percent-decodes in place. Returns -1 for a '%' that two hexadecimal digits do not follow, for NUL
 * and for what is not UTF-8. */
int query_decode(char *text);

#endif
