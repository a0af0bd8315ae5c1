/*
 * json_body.h: reads the JSON body of a request.
 *
 * jansson reads it, strictly: valid UTF-8, no key twice, nesting up to its own limit of 2,048.
 * Values of some members are cut out before and handed over as they stand in the body: an embedding
 * has a scanner of its own (embedding_input.h), and metadata goes to PostgreSQL with its numbers
 * exactly as they were written. Whoever asked for a cut has to check what was cut.
 */
#ifndef TEKUPD_JSON_BODY_H
#define TEKUPD_JSON_BODY_H

#include "storage/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A piece of the body; text NULL where there is none. */
struct json_slice {
    const char *text;
    size_t length;
};

/* Reads an object. cut names the members to cut (the list ends with NULL); slices has room for as
 * many. *root belongs to the caller, the slices point into the text. Errors: ERR_INVALID. */
int json_body_parse(const char *text, size_t length, const char *const *cut,
                    struct json_slice *slices, json_t **root, struct error *err);

/* Takes the next element off a cut array: 1 with the element, 0 at its end, -1 where it is not an
 * array. Begin with *at = 0. The elements themselves are not checked. */
int json_next_element(struct json_slice array, size_t *at, struct json_slice *element);

/* ---- Members of an object, by type; errors are ERR_INVALID with the member's name ---- */

/* Refuses members that are not in the list (which ends with NULL). */
int json_check_known(json_t *object, const char *const *known, struct error *err);

/* These leave *value as it is where there is no such member. Text is without NUL and lives as long
 * as the object. */
int json_get_text(json_t *object, const char *name, const char **value, struct error *err);
int json_get_integer(json_t *object, const char *name, long least, long most, long *value,
                     struct error *err);
int json_get_number(json_t *object, const char *name, double least, double most, double *value,
                    struct error *err);

/* As json_get_text, for a member that must be there and not be empty. */
int json_need_text(json_t *object, const char *name, const char **value, struct error *err);

/* Checks that a cut member is an object without a NUL in it, and copies its text, NUL-terminated,
 * to *copy, which the caller frees; NULL where the slice is none. */
int json_take_object(struct json_slice slice, const char *name, char **copy, struct error *err);

#endif
