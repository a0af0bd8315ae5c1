/* test_openai_message.c: what is sent to an embeddings server, and what it answers. */
#include "ingest/embedding/openai.h"
#include "ingest/embedding/openai_message.h"
#include "storage/base/buffer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(openai_message, durations)
{
    static const struct {
        const char *text;
        double seconds;
    } durations[] = {{"6m0s", 360}, {"1s", 1}, {"20ms", 0.02}, {"1h2m3s", 3723},
                     {"1.5s", 1.5}, {"7", 7},  {"0s", 0},      {"1m30", 90},
                     {"", -1},      {"x", -1}, {"-1s", -1},    {"1s junk", -1},
                     {"1d", -1},    {NULL, -1}};
    for (size_t i = 0; i < sizeof(durations) / sizeof(*durations); i++)
        cr_expect_float_eq(openai_read_duration(durations[i].text), durations[i].seconds, 1e-9,
                           "%s", durations[i].text);
}

Test(openai_message, a_request_holds_the_texts_as_they_are)
{
    const struct embed_text first = {"line\n\"quoted\" \\ æ", 18}, second = {"cut here", 3};
    const struct embed_text *texts[] = {&first, &second};
    char *body = openai_request("a-model", 1536, texts, 2, NULL);
    json_t *root = json_loads(body, 0, NULL);
    const json_t *input = json_object_get(root, "input");
    cr_assert_eq(json_array_size(input), 2);
    cr_expect_str_eq(json_string_value(json_array_get(input, 0)), first.text);
    cr_expect_str_eq(json_string_value(json_array_get(input, 1)), "cut");
    cr_expect_str_eq(json_string_value(json_object_get(root, "model")), "a-model");
    cr_expect_str_eq(json_string_value(json_object_get(root, "encoding_format")), "base64");
    cr_expect_eq(json_integer_value(json_object_get(root, "dimensions")), 1536);
    json_decref(root);
    free(body);
    body = openai_request("a-model", 0, texts, 1, NULL);
    cr_expect(strstr(body, "dimensions") == NULL);
    free(body);
    cr_expect(openai_takes_dimensions("text-embedding-3-large"));
    cr_expect_not(openai_takes_dimensions("text-embedding-ada-002"));
}

/* An answer with one vector, whose numbers are `first` and then `rest`. */
static char *answer_of(const char *first, const char *rest, size_t count)
{
    struct buffer body = {0};
    buffer_format(&body, "{\"data\": [{\"index\": 0, \"embedding\": [%s", first);
    for (size_t i = 1; i < count; i++) buffer_format(&body, ", %s", rest);
    buffer_text(&body, "]}]}");
    cr_assert_not(body.failed);
    return body.data;
}

static int read_one(char *body, float *vector, struct error *err)
{
    const int status = openai_read(body, strlen(body), 1, &vector, err);
    free(body);
    return status;
}

Test(openai_message, vectors_become_of_length_one)
{
    float vector[EMBEDDING_DIM];
    struct error err = {0};
    cr_assert_eq(read_one(answer_of("3", "0", EMBEDDING_DIM), vector, &err), 0, "%s", err.message);
    cr_expect_float_eq(vector[0], 1, 1e-6);
    cr_assert_eq(read_one(answer_of("1e-30", "1e-30", EMBEDDING_DIM), vector, &err), 0);
    cr_expect_float_eq(vector[7], 1 / sqrtf(EMBEDDING_DIM), 1e-6);
}

Test(openai_message, what_is_no_answer_is_refused)
{
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "null",
                                         "{}",
                                         "{\"data\": 5}",
                                         "{\"data\": []}",
                                         "{\"data\": [5]}",
                                         "{\"data\": [{\"embedding\": []}]}",
                                         "{\"data\": [{\"index\": 1, \"embedding\": []}]}",
                                         "{\"data\": [{\"index\": \"0\", \"embedding\": [1]}]}",
                                         "{\"data\": [{\"index\": -1, \"embedding\": [1]}]}",
                                         "{\"data\": [{\"index\": 0, \"embedding\": \"=\"}]}"};
    float vector[EMBEDDING_DIM];
    struct error err = {0};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        cr_expect_eq(read_one(strdup(bodies[i]), vector, &err), -1, "%s", bodies[i]);
        cr_expect_eq(err.code, ERR_INVALID);
    }
    cr_expect_eq(read_one(answer_of("1", "0", EMBEDDING_DIM - 1), vector, &err), -1);
    cr_expect(strstr(err.message, "1535 numbers; tekupdb keeps 1536") != NULL, "%s", err.message);
    cr_expect_str_eq(err.field, "embedding.model");
    cr_expect_eq(read_one(answer_of("true", "0", EMBEDDING_DIM), vector, &err), -1);
    cr_expect_eq(read_one(answer_of("0", "0", EMBEDDING_DIM), vector, &err), -1);
}

static void expect_words(const char *body, const char *message, const char *code)
{
    char words[20], name[20];
    openai_read_error(body, strlen(body), words, sizeof(words), name, sizeof(name));
    cr_expect_str_eq(words, message, "%s", body);
    cr_expect_str_eq(name, code, "%s", body);
}

Test(openai_message, errors_in_the_forms_of_several_servers)
{
    expect_words("{\"error\": {\"message\": \"no\\nmoney\", \"type\": \"t\", \"code\": \"c\"}}",
                 "no money", "c");
    expect_words("{\"error\": {\"message\": \"no\", \"type\": \"t\", \"code\": null}}", "no", "t");
    expect_words("{\"error\": \"model not found\"}", "model not found", "");
    expect_words("{\"detail\": \"what is too long to be kept whole\"}", "what is too long to", "");
    expect_words("<html>", "", "");
    expect_words("", "", "");
}
