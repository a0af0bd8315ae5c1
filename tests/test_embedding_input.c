#include "storage/base/buffer.h"
#include "tools/tekupd/search/embedding_input.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float random_float(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return ((float)(*state >> 8) / (float)(1 << 24) - 0.5f) * 0.2f;
}

static void write_array(struct buffer *out, const float *vector, const char *format)
{
    char number[64];
    buffer_text(out, "[");
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        /* The formats are the test's own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(number, sizeof(number), format, (double)vector[i]);
#pragma GCC diagnostic pop
        buffer_format(out, "%s%s", i > 0 ? ", " : "", number);
    }
    buffer_text(out, "]");
}

Test(embedding_input, numbers_come_out_as_strtof_has_them)
{
    static const char *const formats[] = {"%.9g", "%.17g", "%.25f", "%.3e", "%.30e", "%.1f"};
    uint32_t state = 1;
    for (size_t f = 0; f < sizeof(formats) / sizeof(*formats); f++) {
        float vector[EMBEDDING_DIM], read[EMBEDDING_DIM];
        struct buffer text = {0};
        struct error err = {0};
        for (int i = 0; i < EMBEDDING_DIM; i++) vector[i] = random_float(&state);
        vector[0] = 1;
        vector[1] = 0;
        vector[2] = -3.0e38f;
        vector[3] = 1e-40f;
        vector[4] = 1e-30f;
        vector[5] = 3.4e38f;
        write_array(&text, vector, formats[f]);
        cr_assert_eq(embedding_from_json(text.data, text.length, read, &err), 0, "%s: %s",
                     formats[f], err.message);
        const char *at = text.data + 1;
        for (int i = 0; i < EMBEDDING_DIM; i++) {
            char *end;
            const float exact = strtof(at, &end);
            cr_expect(read[i] == exact || read[i] == nextafterf(exact, INFINITY) ||
                          read[i] == nextafterf(exact, -INFINITY),
                      "%s: %.9g is not %.9g", formats[f], (double)read[i], (double)exact);
            at = end + 2;
        }
        if (f < 2) cr_expect_arr_eq(read, vector, sizeof(vector));
        buffer_free(&text);
    }
}

/* An array of one unusual element and 1,535 times 0.5. */
static int read_with(const char *element, float out[EMBEDDING_DIM], struct error *err)
{
    struct buffer text = {0};
    buffer_format(&text, "[%s", element);
    for (int i = 1; i < EMBEDDING_DIM; i++) buffer_text(&text, ",0.5");
    buffer_text(&text, "]");
    char *exact = malloc(text.length); /* not one byte more, for the address sanitizer */
    memcpy(exact, text.data, text.length);
    const int rc = embedding_from_json(exact, text.length, out, err);
    free(exact);
    buffer_free(&text);
    return rc;
}

Test(embedding_input, reads_every_form_of_a_number)
{
    static const struct {
        const char *text;
        float value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {" 7 ", 7},
        {"-1.25", -1.25f},
        {"1e2", 100},
        {"1E+2", 100},
        {"25e-1", 2.5f},
        {"0.0e0", 0},
        {"1e-99999", 0},
        {"0e99999", 0},
        {"12345678901234567890123", 12345678901234567890123.0f},
        {"0.00000000000000000000000000000000000000000000000000001e53", 1},
        {"3.4028234663852886e38", FLT_MAX},
        {"100000000000000000000000000000000000000000000e-44", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        float out[EMBEDDING_DIM];
        struct error err = {0};
        cr_expect_eq(read_with(cases[i].text, out, &err), 0, "%s: %s", cases[i].text, err.message);
        cr_expect_float_eq(out[0], cases[i].value, fabsf(cases[i].value) * FLT_EPSILON, "%s",
                           cases[i].text);
        cr_expect_eq(out[EMBEDDING_DIM - 1], 0.5f);
    }
}

Test(embedding_input, refuses_what_is_no_number)
{
    static const char *const wrong[] = {"NaN", "Infinity", "-Infinity", "null", "\"1\"", "[1]",
                                        "01",  "1.",       ".5",        "+1",   "1e",    "-",
                                        "0x1", "1 2",      "",          "1,",   "true",  "1e+"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        float out[EMBEDDING_DIM];
        struct error err = {0};
        cr_expect_eq(read_with(wrong[i], out, &err), -1, "%s", wrong[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.field, "embedding");
    }
    static const char *const infinite[] = {"1e39", "-1e39", "1e400", "3.4028236e38"};
    for (size_t i = 0; i < sizeof(infinite) / sizeof(*infinite); i++) {
        float out[EMBEDDING_DIM];
        struct error err = {0};
        cr_expect_eq(read_with(infinite[i], out, &err), -1, "%s", infinite[i]);
        cr_expect_not_null(strstr(err.message, "embedding[0] is not finite"), "%s", err.message);
    }
}

Test(embedding_input, refuses_other_values_dimensions_and_zero)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "1536 numbers, not 0"},      {"[1,2,3]", "1536 numbers, not 3"},
        {"[1", "is not a number"},          {"[1,", "the array has no end"},
        {"[1]]", "more follows"},           {"null", "must be an array"},
        {"7", "must be an array"},          {"{}", "must be an array"},
        {"\"\"", "8192 characters, not 0"}, {"\"AAAA\"", "not 4"},
        {"\"A A\"", "not base64"},          {"\"AA==\"", "not base64"},
    };
    float out[EMBEDDING_DIM];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct error err = {0};
        cr_expect_eq(embedding_from_json(cases[i].text, strlen(cases[i].text), out, &err), -1);
        cr_expect_str_eq(err.field, "embedding");
        cr_expect_not_null(strstr(err.message, cases[i].message), "%s: %s", cases[i].text,
                           err.message);
    }
    struct buffer text = {0};
    struct error err = {0};
    float zero[EMBEDDING_DIM] = {0};
    write_array(&text, zero, "%g");
    cr_expect_eq(embedding_from_json(text.data, text.length, out, &err), -1);
    cr_expect_not_null(strstr(err.message, "zero vector"), "%s", err.message);
    buffer_clear(&text);
    for (int i = 0; i <= EMBEDDING_DIM; i++) buffer_format(&text, "%s1", i > 0 ? "," : "[");
    buffer_text(&text, "]");
    cr_expect_eq(embedding_from_json(text.data, text.length, out, &err), -1);
    cr_expect_not_null(strstr(err.message, "not 1537"), "%s", err.message);
    buffer_free(&text);
}

/* ---- Octets and base64 ---- */

static void put_octets(const float *vector, unsigned char out[EMBEDDING_DIM * 4])
{
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], 4);
        for (int byte = 0; byte < 4; byte++) out[4 * i + byte] = (unsigned char)(bits >> 8 * byte);
    }
}

static void put_base64(const unsigned char *bytes, struct buffer *out, bool escape)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buffer_text(out, "\"");
    for (int i = 0; i < EMBEDDING_DIM * 4; i += 3) {
        const uint32_t group =
            (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) {
            const char digit = digits[group >> shift & 63];
            if (digit == '/' && escape) buffer_text(out, "\\");
            buffer_append(out, &digit, 1);
        }
    }
    buffer_text(out, "\"");
}

Test(embedding_input, reads_octets_and_base64_bit_for_bit)
{
    float vector[EMBEDDING_DIM], read[EMBEDDING_DIM];
    unsigned char octets[EMBEDDING_DIM * 4];
    uint32_t state = 3;
    struct error err = {0};
    for (int i = 0; i < EMBEDDING_DIM; i++) vector[i] = random_float(&state);
    put_octets(vector, octets);
    cr_expect_eq(embedding_from_octets((char *)octets, sizeof(octets), read, &err), 0);
    cr_expect_arr_eq(read, vector, sizeof(vector));
    for (int escape = 0; escape < 2; escape++) {
        struct buffer text = {0};
        memset(read, 0, sizeof(read));
        put_base64(octets, &text, escape != 0);
        cr_expect_eq(embedding_from_json(text.data, text.length, read, &err), 0, "%s", err.message);
        cr_expect_arr_eq(read, vector, sizeof(vector));
        buffer_free(&text);
    }
    cr_expect_eq(embedding_from_octets((char *)octets, sizeof(octets) - 1, read, &err), -1);
    cr_expect_not_null(strstr(err.message, "6144 bytes, not 6143"), "%s", err.message);
    cr_expect_eq(embedding_from_octets(NULL, 0, read, &err), -1);

    static const struct {
        float value;
        const char *message;
    } bad[] = {{NAN, "embedding[9] is NaN"},
               {INFINITY, "embedding[9] is infinite"},
               {-INFINITY, "embedding[9] is infinite"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buffer text = {0};
        vector[9] = bad[i].value;
        put_octets(vector, octets);
        cr_expect_eq(embedding_from_octets((char *)octets, sizeof(octets), read, &err), -1);
        cr_expect_not_null(strstr(err.message, bad[i].message), "%s", err.message);
        put_base64(octets, &text, false);
        cr_expect_eq(embedding_from_json(text.data, text.length, read, &err), -1);
        cr_expect_str_eq(err.field, "embedding");
        buffer_free(&text);
    }
    memset(octets, 0, sizeof(octets));
    cr_expect_eq(embedding_from_octets((char *)octets, sizeof(octets), read, &err), -1);
    cr_expect_not_null(strstr(err.message, "zero vector"));
}

/* Against strtof, with as many digits as clients write and more. */
Test(embedding_input, reads_numbers_of_any_length)
{
    struct buffer text = {0};
    float expected[EMBEDDING_DIM], out[EMBEDDING_DIM];
    struct error err;
    srand(7);
    buffer_text(&text, "[");
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        char number[64];
        const double scale = i % 3 == 0 ? 1 : i % 3 == 1 ? 1e-2 : 1e7;
        const double value = ((double)rand() / RAND_MAX - 0.5) * scale;
        const int digits = 1 + i % 25;
        if (i % 2 == 0)
            snprintf(number, sizeof(number), "%.*f", digits, value);
        else
            snprintf(number, sizeof(number), "%.*g", digits, value);
        expected[i] = strtof(number, NULL);
        buffer_format(&text, "%s%s", i > 0 ? "," : "", number);
    }
    buffer_text(&text, "]");
    cr_assert_eq(embedding_from_json(text.data, text.length, out, &err), 0);
    for (int i = 0; i < EMBEDDING_DIM; i++)
        cr_assert(fabsf(out[i] - expected[i]) <= fabsf(expected[i]) * 1.2e-7f, "%d: %.9g not %.9g",
                  i, (double)out[i], (double)expected[i]);
    buffer_free(&text);
}
