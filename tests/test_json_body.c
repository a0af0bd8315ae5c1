#include "tools/tekupd/http/json_body.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const cut[] = {"embedding", "metadata", NULL};

static int parse(const char *text, struct json_slice slices[2], json_t **root, struct error *err)
{
    return json_body_parse(text, strlen(text), cut, slices, root, err);
}

static void expect_slice(struct json_slice slice, const char *text)
{
    if (text == NULL) {
        cr_expect_null(slice.text);
        return;
    }
    cr_assert_not_null(slice.text, "%s", text);
    cr_expect_eq(slice.length, strlen(text), "%.*s", (int)slice.length, slice.text);
    cr_expect_eq(strncmp(slice.text, text, slice.length), 0);
}

Test(json_body, cuts_what_it_is_told_to_and_reads_the_rest)
{
    static const struct {
        const char *text, *embedding, *metadata, *rest;
    } cases[] = {
        {"{}", NULL, NULL, "{}"},
        {" {\"a\": 1}\n", NULL, NULL, "{\"a\":1}"},
        {"{\"embedding\":[1,2]}", "[1,2]", NULL, "{\"embedding\":null}"},
        {"{\"a\":\"}\\\"]\",\"embedding\" : [ 1 , [2]] ,\"b\":2}", "[ 1 , [2]]", NULL,
         "{\"a\":\"}\\\"]\",\"b\":2,\"embedding\":null}"},
        {"{\"metadata\":{\"n\":1e999,\"s\":\"]}\\\\\"},\"embedding\":\"AAAA\"}", "\"AAAA\"",
         "{\"n\":1e999,\"s\":\"]}\\\\\"}", "{\"embedding\":null,\"metadata\":null}"},
        {"{\"x\":{\"embedding\":[1]},\"metadata\":12.5}", NULL, "12.5",
         "{\"metadata\":null,\"x\":{\"embedding\":[1]}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct json_slice slices[2];
        struct error err = {0};
        json_t *root;
        cr_assert_eq(parse(cases[i].text, slices, &root, &err), 0, "%s: %s", cases[i].text,
                     err.message);
        expect_slice(slices[0], cases[i].embedding);
        expect_slice(slices[1], cases[i].metadata);
        char *rest = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
        cr_expect_str_eq(rest, cases[i].rest);
        free(rest);
        json_decref(root);
    }
}

Test(json_body, refuses_what_is_not_a_json_object)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "the body is empty"},
        {" \n", "the body is empty"},
        {"[]", "must be a JSON object"},
        {"\"x\"", "not valid JSON"},
        {"{\"a\":1", "not valid JSON"},
        {"{\"embedding\":[1,2", "not valid JSON"},
        {"{\"embedding\":[1,2]", "not valid JSON"},
        {"{\"embedding\":\"AAAA", "not valid JSON"},
        {"{\"embedding\":}", "not valid JSON"},
        {"{\"embedding\"}", "not valid JSON"},
        {"{embedding:[1]}", "not valid JSON"},
        {"{\"a\":1}}", "not valid JSON"},
        {"{\"a\":1} x", "not valid JSON"},
        {"{\"a\":1,}", "not valid JSON"},
        {"{\"a\":NaN}", "not valid JSON"},
        {"{\"a\":1,\"a\":2}", "duplicate object key"},
        {"{\"embedding\":[1],\"embedding\":[2]}", "duplicate object key"},
        {"{\"embedding\":[1],\"embed\\u0064ing\":[2]}", "duplicate object key"},
        {"{\"embed\\u0064ing\":[1]}", "embedding must be written without escapes"},
        {"{\"a\":\"\xff\"}", "not valid UTF-8 at byte 6"},
        {"{\"a\":\"\xed\xa0\x80\"}", "not valid UTF-8 at byte 6"},
        {"{\"a\":\"\\ud800\"}", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct json_slice slices[2];
        struct error err = {0};
        json_t *root;
        cr_expect_eq(parse(cases[i].text, slices, &root, &err), -1, "%s", cases[i].text);
        cr_expect_null(root);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not_null(strstr(err.message, cases[i].message), "%s: %s", cases[i].text,
                           err.message);
    }
}

Test(json_body, every_beginning_of_a_body_is_refused_and_none_is_read_beyond)
{
    static const char whole[] = "{\"query\":\"a\\\"b\\u00e6\",\"embedding\":[1.5,-2e3],\"limit\":3,"
                                "\"metadata\":{\"a\":[{}]},\"include\":[]}";
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        /* In memory of its own, so that the address sanitizer sees a step too far. */
        char *part = malloc(length + 1);
        memcpy(part, whole, length);
        part = realloc(part, length > 0 ? length : 1);
        struct json_slice slices[2];
        json_t *root;
        cr_expect_eq(json_body_parse(part, length, cut, slices, &root, NULL), -1, "%zu", length);
        free(part);
    }
}

Test(json_body, nesting_is_bounded)
{
    enum { DEPTH = 100000 };
    char *deep = malloc(DEPTH + 32);
    struct json_slice slices[2];
    struct error err = {0};
    json_t *root;
    size_t length = (size_t)sprintf(deep, "{\"a\":");
    memset(deep + length, '[', DEPTH);
    cr_expect_eq(json_body_parse(deep, length + DEPTH, cut, slices, &root, &err), -1);
    cr_expect_not_null(strstr(err.message, "depth"), "%s", err.message);
    free(deep);
}

Test(json_body, walks_an_array)
{
    static const char text[] = "[ {\"a\":[1,2]} , \"]\",3,null ]";
    static const char *const elements[] = {"{\"a\":[1,2]}", "\"]\"", "3", "null"};
    const struct json_slice array = {text, sizeof(text) - 1};
    struct json_slice element;
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(json_next_element(array, &at, &element), 1, "%zu", i);
        expect_slice(element, elements[i]);
    }
    cr_expect_eq(json_next_element(array, &at, &element), 0);

    at = 0;
    cr_expect_eq(json_next_element((struct json_slice){"[]", 2}, &at, &element), 0);
    static const char *const wrong[] = {"{}", "[1 2]", "[1,]", "[1", "[", "[1,2]]", "[,1]", "1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const struct json_slice bad = {wrong[i], strlen(wrong[i])};
        int rc;
        at = 0;
        while ((rc = json_next_element(bad, &at, &element)) == 1) {
        }
        cr_expect_eq(rc, -1, "%s", wrong[i]);
    }
}

Test(json_body, members_are_refused_by_name)
{
    static const char *const known[] = {"text", "number", "real", "embedding", "metadata", NULL};
    struct json_slice slices[2];
    struct error err = {0};
    json_t *root;
    const char *text = NULL;
    long number = 7;
    double real = 0.5;
    cr_assert_eq(parse("{\"text\":\"a\\u0000b\",\"number\":1.5,\"real\":\"x\",\"other\":1}", slices,
                       &root, &err),
                 0, "%s", err.message);
    cr_expect_eq(json_check_known(root, known, &err), -1);
    cr_expect_str_eq(err.field, "other");
    cr_expect_eq(json_get_text(root, "text", &text, &err), -1);
    cr_expect_str_eq(err.field, "text");
    cr_expect_not_null(strstr(err.message, "NUL"), "%s", err.message);
    cr_expect_eq(json_get_text(root, "number", &text, &err), -1);
    cr_expect_str_eq(err.field, "number");
    cr_expect_eq(json_get_integer(root, "number", 1, 10, &number, &err), -1);
    cr_expect_eq(json_get_number(root, "real", 0, 1, &real, &err), -1);
    cr_expect_str_eq(err.field, "real");
    cr_expect_eq(json_need_text(root, "absent", &text, &err), -1);
    cr_expect_str_eq(err.field, "absent");
    cr_expect_eq(json_get_integer(root, "absent", 1, 10, &number, &err), 0);
    cr_expect_eq(number, 7);
    json_decref(root);

    cr_assert_eq(parse("{\"number\":1e1,\"real\":9007199254740993.0}", slices, &root, &err), 0);
    cr_expect_eq(json_get_integer(root, "number", 1, 10, &number, &err), 0);
    cr_expect_eq(number, 10);
    cr_expect_eq(json_get_integer(root, "real", 0, LONG_MAX, &number, &err), -1,
                 "it is no exact one");
    number = 7;
    json_decref(root);

    cr_assert_eq(parse("{\"text\":\"\",\"number\":0,\"real\":2}", slices, &root, &err), 0);
    cr_expect_eq(json_check_known(root, known, &err), 0);
    cr_expect_eq(json_need_text(root, "text", &text, &err), -1);
    cr_expect_eq(json_get_integer(root, "number", 1, 10, &number, &err), -1);
    cr_expect_eq(json_get_number(root, "real", -1, 1, &real, &err), -1);
    cr_expect_eq(json_get_number(root, "real", -1, 2, &real, &err), 0);
    cr_expect_eq(real, 2);
    json_decref(root);
}

Test(json_body, an_object_goes_on_as_it_was_written)
{
    struct json_slice slices[2];
    struct error err = {0};
    json_t *root;
    char *copy;
    cr_assert_eq(parse("{\"metadata\": {\"big\": 123456789012345678901234567890, \"x\": 0.10} }",
                       slices, &root, &err),
                 0);
    cr_expect_eq(json_take_object(slices[1], "metadata", &copy, &err), 0, "%s", err.message);
    cr_expect_str_eq(copy, "{\"big\": 123456789012345678901234567890, \"x\": 0.10}");
    free(copy);
    json_decref(root);

    static const char *const wrong[] = {"[]",
                                        "1",
                                        "null",
                                        "\"x\"",
                                        "{\"a\":}",
                                        "{\"a\":1]",
                                        "{\"a\":1,\"a\":2}",
                                        "{\"a\":\"\\u0000\"}",
                                        "tru"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        const struct json_slice slice = {wrong[i], strlen(wrong[i])};
        cr_expect_eq(json_take_object(slice, "metadata", &copy, &err), -1, "%s", wrong[i]);
        cr_expect_str_eq(err.field, "metadata");
        cr_expect_null(copy);
    }
}
