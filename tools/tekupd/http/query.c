#include "tools/tekupd/http/query.h"

#include "storage/base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static int decode(char *text, bool plus_is_space)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in == '%') {
            const int high = hex_digit(in[1]);
            const int low = high >= 0 ? hex_digit(in[2]) : -1;
            if (low < 0 || (high == 0 && low == 0)) return -1;
            *out++ = (char)(high * 16 + low);
            in += 2;
        } else {
            *out++ = *in == '+' && plus_is_space ? ' ' : *in;
        }
    }
    *out = '\0';
    const size_t length = (size_t)(out - text);
    return utf8_valid_prefix(text, length) == length ? 0 : -1;
}

int query_decode(char *text)
{
    return decode(text, false);
}

/* Most names differ in their first letters already. */
static bool same_name(const char *one, const char *other)
{
    return *one == *other && strcmp(one, other) == 0;
}

static bool is_known(const char *name, const char *const *known)
{
    while (*known != NULL && !same_name(*known, name)) known++;
    return *known != NULL;
}

static int add_parameter(struct query *query, char *name, const char *const *known,
                         struct error *err)
{
    char *value = strchr(name, '=');
    if (value != NULL) *value++ = '\0';
    if (decode(name, true) != 0)
        return error_set(err, ERR_INVALID, NULL,
                         "a parameter's name is not valid UTF-8 in percent-encoding");
    if (!is_known(name, known))
        return error_set(err, ERR_INVALID, name, "unknown parameter '%s'", name);
    if (query_get(query, name) != NULL)
        return error_set(err, ERR_INVALID, name, "%s is given twice", name);
    if (value == NULL) return error_set(err, ERR_INVALID, name, "%s has no value", name);
    if (decode(value, true) != 0)
        return error_set(err, ERR_INVALID, name,
                         "%s must be valid UTF-8 without NUL in percent-encoding", name);
    if (query->count == QUERY_LIMIT)
        return error_set(err, ERR_INVALID, name, "more than %d parameters", QUERY_LIMIT);
    query->parameter[query->count].name = name;
    query->parameter[query->count].value = value;
    query->count++;
    return 0;
}

int query_parse(const char *raw, const char *const *known, struct query *query, struct error *err)
{
    query->count = 0;
    query->text = NULL;
    if (raw == NULL) return 0;
    query->text = strdup(raw);
    if (query->text == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    char *rest = query->text;
    char *part;
    while ((part = strsep(&rest, "&")) != NULL) {
        if (*part != '\0' && add_parameter(query, part, known, err) != 0) return -1;
    }
    return 0;
}

void query_free(struct query *query)
{
    free(query->text);
    query->text = NULL;
    query->count = 0;
}

const char *query_get(const struct query *query, const char *name)
{
    for (size_t i = 0; i < query->count; i++) {
        if (same_name(query->parameter[i].name, name)) return query->parameter[i].value;
    }
    return NULL;
}

int query_integer(const struct query *query, const char *name, long least, long most, long *value,
                  struct error *err)
{
    const char *text = query_get(query, name);
    if (text == NULL) return 0;
    char *end;
    errno = 0;
    const long parsed = strtol(text, &end, 10);
    if (((*text < '0' || *text > '9') && *text != '-') || *end != '\0')
        return error_set(err, ERR_INVALID, name, "%s must be a whole number", name);
    if (errno != 0 || parsed < least || parsed > most)
        return error_set(err, ERR_INVALID, name, "%s must be from %ld to %ld", name, least, most);
    *value = parsed;
    return 0;
}

int query_boolean(const struct query *query, const char *name, bool *value, struct error *err)
{
    const char *text = query_get(query, name);
    if (text == NULL) return 0;
    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return error_set(err, ERR_INVALID, name, "%s must be true or false", name);
    *value = strcmp(text, "true") == 0;
    return 0;
}
