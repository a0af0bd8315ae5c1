#include "tools/tekupd/http/json_body.h"

#include "storage/base/buffer.h"
#include "storage/base/utf8.h"
#include "tools/tekupd/http/json_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Finding where values begin and end ------------------------------------------------------ */

/*
 * The scanner knows strings and brackets, nothing else. That is enough: with a value replaced by
 * null the rest must be JSON, and the value must be JSON by itself, so the whole is JSON.
 */

static size_t skip_space(const char *text, size_t at, size_t length)
{
    while (at < length &&
           (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
        at++;
    return at;
}

/* text[at] is a quote: the place after its counterpart, or length where there is none. */
static size_t skip_string(const char *text, size_t at, size_t length)
{
    at++;
    for (;;) {
        const char *quote = at < length ? memchr(text + at, '"', length - at) : NULL;
        if (quote == NULL) return length;
        const char *escape = memchr(text + at, '\\', (size_t)(quote - text) - at);
        if (escape == NULL) return (size_t)(quote - text) + 1;
        at = (size_t)(escape - text) + 2;
    }
}

/* The place after the value that begins here, or length. */
static size_t skip_value(const char *text, size_t at, size_t length)
{
    const struct json_scanner *scanner = json_scanner_usable(0);
    size_t depth = 0;
    do {
        if (at >= length) return length;
        switch (text[at]) {
        case '"':
            at = skip_string(text, at, length);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0) return at; /* of what the value is in */
            depth--;
            break;
        case ',':
            if (depth == 0) return at;
            break;
        case ' ':
        case '\t':
        case '\n':
        case '\r':
            if (depth == 0) return at;
            break;
        default:
            if (depth == 0) { /* a number or a word goes on to the next delimiter */
                while (at < length && strchr(",]} \t\n\r", text[at]) == NULL) at++;
                return at;
            }
        }
        at++;
        if (depth > 0) at = scanner->next(text, at, length);
    } while (depth > 0);
    return at;
}

static void cut_member(const char *text, size_t key, size_t key_length, size_t value, size_t end,
                       const char *const *cut, struct json_slice *slices)
{
    for (size_t i = 0; cut[i] != NULL; i++) {
        if (strlen(cut[i]) != key_length || memcmp(cut[i], text + key, key_length) != 0) continue;
        /* A second one stays where it is, for jansson to refuse. */
        if (slices[i].text == NULL) slices[i] = (struct json_slice){text + value, end - value};
    }
}

/* Finds the values of the members named in cut. Finds nothing more where the text stops being an
 * object: jansson says what is wrong. */
static void find_members(const char *text, size_t length, const char *const *cut,
                         struct json_slice *slices)
{
    size_t at = skip_space(text, 0, length);
    if (at >= length || text[at] != '{') return;
    do {
        const size_t key = skip_space(text, at + 1, length);
        if (key >= length || text[key] != '"') return;
        const size_t key_end = skip_string(text, key, length);
        at = skip_space(text, key_end, length);
        if (at >= length || text[at] != ':') return;
        const size_t value = skip_space(text, at + 1, length);
        const size_t end = skip_value(text, value, length);
        at = skip_space(text, end, length);
        if (end >= length || end == value) return;
        cut_member(text, key + 1, key_end - key - 2, value, end, cut, slices);
    } while (at < length && text[at] == ',');
}

/* The text with null in place of what was cut. */
static void write_rest(const char *text, size_t length, const char *const *cut,
                       const struct json_slice *slices, struct buffer *rest)
{
    size_t written = 0;
    for (;;) {
        const struct json_slice *next = NULL; /* the nearest one that is to come */
        for (size_t i = 0; cut[i] != NULL; i++) {
            if (slices[i].text != NULL && slices[i].text >= text + written &&
                (next == NULL || slices[i].text < next->text))
                next = &slices[i];
        }
        if (next == NULL) break;
        buffer_append(rest, text + written, (size_t)(next->text - text) - written);
        buffer_append(rest, "null", 4);
        written = (size_t)(next->text - text) + next->length;
    }
    buffer_append(rest, text + written, length - written);
}

/* ---- Reading --------------------------------------------------------------------------------- */

enum { READ_FLAGS = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL };

/* Says what is wrong with the whole text, cuts and all. */
static int refuse(const char *text, size_t length, const json_error_t *of_rest, struct error *err)
{
    json_error_t problem;
    const size_t valid = utf8_valid_prefix(text, length);
    if (valid < length)
        return error_set(err, ERR_INVALID, NULL, "the body is not valid UTF-8 at byte %zu", valid);
    json_t *whole = json_loadb(text, length, READ_FLAGS, &problem);
    if (whole != NULL) {
        json_decref(whole);
        problem = *of_rest;
    }
    return error_set(err, ERR_INVALID, NULL, "the body is not valid JSON: %s (line %d, column %d)",
                     problem.text, problem.line, problem.column);
}

/* A name may be spelled with escapes, and then it is not recognised where members are cut. What it
 * says must not be passed over in silence. */
static int refuse_uncut(const json_t *root, const char *const *cut, const struct json_slice *slices,
                        struct error *err)
{
    for (size_t i = 0; cut[i] != NULL; i++) {
        if (slices[i].text == NULL && json_object_get(root, cut[i]) != NULL)
            return error_set(err, ERR_INVALID, cut[i],
                             "the name %s must be written without escapes", cut[i]);
    }
    return 0;
}

int json_body_parse(const char *text, size_t length, const char *const *cut,
                    struct json_slice *slices, json_t **root, struct error *err)
{
    struct buffer rest = {0};
    json_error_t problem;
    int rc = -1;
    *root = NULL;
    for (size_t i = 0; cut[i] != NULL; i++) slices[i] = (struct json_slice){NULL, 0};
    if (skip_space(text, 0, length) == length)
        return error_set(err, ERR_INVALID, NULL, "the body is empty: a JSON object is needed");

    find_members(text, length, cut, slices);
    write_rest(text, length, cut, slices, &rest);
    if (rest.failed) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        goto out;
    }
    *root = json_loadb(rest.data, rest.length, READ_FLAGS, &problem);
    if (*root == NULL) {
        refuse(text, length, &problem, err);
        goto out;
    }
    if (!json_is_object(*root)) {
        json_decref(*root);
        *root = NULL;
        error_set(err, ERR_INVALID, NULL, "the body must be a JSON object");
        goto out;
    }
    rc = refuse_uncut(*root, cut, slices, err);
    if (rc != 0) {
        json_decref(*root);
        *root = NULL;
    }
out:
    buffer_free(&rest);
    return rc;
}

int json_next_element(struct json_slice array, size_t *at, struct json_slice *element)
{
    const char *text = array.text;
    const bool first = *at == 0;
    if (first && (array.length < 2 || text[0] != '[')) return -1;
    size_t next = skip_space(text, first ? 1 : *at, array.length);
    if (next >= array.length) return -1;
    if (text[next] == ']') return next + 1 == array.length ? 0 : -1;
    if (!first) {
        if (text[next] != ',') return -1;
        next = skip_space(text, next + 1, array.length);
    }
    const size_t end = skip_value(text, next, array.length);
    if (end == next || end >= array.length) return -1;
    *element = (struct json_slice){text + next, end - next};
    *at = end;
    return 1;
}

/* ---- Members --------------------------------------------------------------------------------- */

int json_check_known(json_t *object, const char *const *known, struct error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], name) != 0) i++;
        if (known[i] == NULL) return error_set(err, ERR_INVALID, name, "unknown field '%s'", name);
    }
    return 0;
}

int json_get_text(json_t *object, const char *name, const char **value, struct error *err)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL) return 0;
    if (!json_is_string(member))
        return error_set(err, ERR_INVALID, name, "%s must be a string", name);
    if (strlen(json_string_value(member)) != json_string_length(member))
        return error_set(err, ERR_INVALID, name, "%s has a NUL character in it", name);
    *value = json_string_value(member);
    return 0;
}

int json_need_text(json_t *object, const char *name, const char **value, struct error *err)
{
    *value = NULL;
    if (json_get_text(object, name, value, err) != 0) return -1;
    if (*value == NULL) return error_set(err, ERR_INVALID, name, "%s is missing", name);
    if (**value == '\0') return error_set(err, ERR_INVALID, name, "%s is empty", name);
    return 0;
}

/* 10.0 is a whole number as well, for JSON Schema and so by openapi.json; there are languages that
 * write every number so. Larger ones than a double tells apart are left as they are. */
static bool is_whole(const json_t *member, json_int_t *number)
{
    const double real = json_real_value(member);
    if (json_is_integer(member)) {
        *number = json_integer_value(member);
        return true;
    }
    if (!json_is_real(member) || !(fabs(real) < 0x1p53) || real != trunc(real)) return false;
    *number = (json_int_t)real;
    return true;
}

int json_get_integer(json_t *object, const char *name, long least, long most, long *value,
                     struct error *err)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL) return 0;
    json_int_t number = 0;
    if (!is_whole(member, &number))
        return error_set(err, ERR_INVALID, name, "%s must be a whole number", name);
    if (number < least || number > most)
        return error_set(err, ERR_INVALID, name, "%s must be from %ld to %ld", name, least, most);
    *value = (long)number;
    return 0;
}

int json_get_number(json_t *object, const char *name, double least, double most, double *value,
                    struct error *err)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL) return 0;
    if (!json_is_number(member))
        return error_set(err, ERR_INVALID, name, "%s must be a number", name);
    const double number = json_number_value(member);
    if (!(number >= least && number <= most))
        return error_set(err, ERR_INVALID, name, "%s must be from %g to %g", name, least, most);
    *value = number;
    return 0;
}

int json_take_object(struct json_slice slice, const char *name, char **copy, struct error *err)
{
    json_error_t problem;
    *copy = NULL;
    if (slice.text == NULL) return 0;
    /* PostgreSQL keeps numbers of any size; reading them as reals is only a check. */
    json_t *value =
        json_loadb(slice.text, slice.length,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &problem);
    if (value == NULL)
        return error_set(err, ERR_INVALID, name, "%s is not valid JSON: %s", name, problem.text);
    const bool object = json_is_object(value);
    json_decref(value);
    if (!object) return error_set(err, ERR_INVALID, name, "%s must be an object", name);
    *copy = strndup(slice.text, slice.length);
    if (*copy == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    return 0;
}
