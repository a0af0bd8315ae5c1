#include "storage/base/buffer.h"
#include "tools/tekupd/search/embedding_input.h"
#include "tools/tekupd/search/embedding_numbers.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
            cr_expect_eq(read[i], exact, "%s: %.9g is not %.9g", formats[f], (double)read[i],
                         (double)exact);
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

/* ---- Every reader, against strtof and each other ---- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Room between two pages that cannot be touched. */
struct guarded {
    char *all, *begin, *end;
    size_t size;
};

static struct guarded guard(size_t room)
{
    struct guarded guarded;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guarded.size = (room + 3 * page - 1) / page * page;
    guarded.all = mmap(NULL, guarded.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(guarded.all, MAP_FAILED);
    guarded.begin = guarded.all + page;
    guarded.end = guarded.all + guarded.size - page;
    cr_assert_eq(
        mprotect(guarded.begin, (size_t)(guarded.end - guarded.begin), PROT_READ | PROT_WRITE), 0);
    return guarded;
}

struct outcome {
    int rc;
    float numbers[EMBEDDING_DIM];
    struct error err;
};

/* Reads the text with every reader, where not a byte before it may be read and where none behind it
 * may be; all have to come to the same, to the bit and to the letter. */
static void read_everywhere(const char *text, size_t length, struct outcome *out)
{
    struct guarded room = guard(length);
    bool first = true;
    for (size_t i = 0; number_reader_usable(i) != NULL; i++) {
        for (int side = 0; side < 2; side++) {
            struct outcome other = {0};
            char *copy = side == 0 ? room.begin : room.end - length;
            memcpy(copy, text, length);
            other.rc =
                embedding_array(number_reader_usable(i), copy, length, other.numbers, &other.err);
            if (first) *out = other;
            first = false;
            cr_assert_eq(other.rc, out->rc, "%s: %s", number_reader_usable(i)->name,
                         other.err.message);
            cr_assert_str_eq(other.err.message, out->err.message);
            if (other.rc == 0)
                cr_assert_arr_eq(other.numbers, out->numbers, sizeof(other.numbers), "%s",
                                 number_reader_usable(i)->name);
        }
    }
    munmap(room.all, room.size);
}

/* Numbers as text: the longest are those of %.80f. */
enum { LONGEST = 256 };
typedef void (*write_number)(uint64_t *state, char number[LONGEST]);

static void write_any_format(uint64_t *state, char number[LONGEST])
{
    const uint64_t pick = next_random(state);
    const int digits = 6 + (int)(pick % 12);
    const int power = pick >> 8 & 1 ? (int)(pick >> 16) % 74 - 37 : (int)(pick >> 16) % 12 - 6;
    const double value = ((double)(next_random(state) >> 11) * 0x1p-53 - 0.5) * pow(10, power);
    if (pick >> 9 & 1)
        snprintf(number, LONGEST, "%.*g", digits, value);
    else
        snprintf(number, LONGEST, "%.*f", digits, fmod(value, 1e6));
}

/* Any float32 that is finite, denormal ones too. */
static void write_any_float(uint64_t *state, char number[LONGEST])
{
    const uint32_t bits = (uint32_t)next_random(state);
    float value;
    memcpy(&value, &bits, 4);
    if (!isfinite(value)) value = 0;
    snprintf(number, LONGEST, "%.*g", 6 + (int)(next_random(state) % 12), (double)value);
}

/* The middle between two float32 next to each other, and a little more or less. */
static void write_middle(uint64_t *state, char number[LONGEST])
{
    const uint64_t pick = next_random(state);
    const uint32_t bits = 0x3a800000 + (uint32_t)pick % 0x05800000; /* from 2^-10 to 2 */
    float below;
    memcpy(&below, &bits, 4);
    const double middle = ((double)below + (double)nextafterf(below, INFINITY)) / 2;
    snprintf(number, LONGEST, "%.*f", pick >> 40 & 1 ? 60 : 10 + (int)(pick >> 48) % 16,
             pick >> 41 & 1 ? -middle : middle);
    if ((pick >> 42 & 3) == 0) number[strlen(number) - 1] = '1';
}

/* Digits without end, before the point and behind it. */
static void write_long(uint64_t *state, char number[LONGEST])
{
    size_t length = 0;
    const size_t whole = next_random(state) % 30, rest = next_random(state) % 60;
    if (next_random(state) & 1) number[length++] = '-';
    for (size_t i = 0; i < whole; i++)
        number[length++] =
            (char)('0' + (i == 0 ? 1 + next_random(state) % 9 : next_random(state) % 10));
    if (whole == 0) number[length++] = '0';
    if (rest > 0) number[length++] = '.';
    for (size_t i = 0; i < rest; i++)
        number[length++] = next_random(state) & 7 ? (char)('0' + next_random(state) % 10) : '0';
    number[length] = '\0';
    if ((next_random(state) & 7) == 0)
        snprintf(number + length, LONGEST - length, "%s%d", next_random(state) & 1 ? "e" : "E+",
                 (int)(next_random(state) % 9));
}

static void write_short(uint64_t *state, char number[LONGEST])
{
    static const char *const shorts[] = {"0", "-0", "1", "-1", "0.5", "-0.0", "7e-3", "12", "1E2"};
    strcpy(number, shorts[next_random(state) % (sizeof(shorts) / sizeof(*shorts))]);
}

/* All in one, so that the usual and the unusual stand side by side. */
static void write_mixed(uint64_t *state, char number[LONGEST])
{
    static const write_number all[] = {write_any_format, write_any_float, write_middle, write_long,
                                       write_short};
    all[next_random(state) % (sizeof(all) / sizeof(*all))](state, number);
}

static void write_random_array(struct buffer *out, uint64_t *state, write_number write,
                               float expected[EMBEDDING_DIM])
{
    static const char *const spaces[] = {"", "", " ", "\n    ", "\t", "  \r\n"};
    const uint64_t how = next_random(state) % 3; /* none, one, any */
    buffer_text(out, "[");
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        char number[LONGEST];
        write(state, number);
        expected[i] = strtof(number, NULL);
        buffer_format(out, "%s%s%s%s", i > 0 ? "," : "",
                      how == 0   ? ""
                      : how == 1 ? " "
                                 : spaces[next_random(state) % 6],
                      number, how == 2 && (next_random(state) & 3) == 0 ? " " : "");
    }
    buffer_text(out, "]");
}

Test(embedding_input, every_reader_reads_what_strtof_reads)
{
    static const write_number writers[] = {write_any_format, write_any_float, write_middle,
                                           write_long,       write_short,     write_mixed};
    uint64_t state = 20;
    for (int round = 0; round < 60; round++) {
        struct buffer text = {0};
        float expected[EMBEDDING_DIM];
        struct outcome out;
        write_random_array(&text, &state, writers[round % 6], expected);
        read_everywhere(text.data, text.length, &out);
        cr_assert_eq(out.rc, 0, "%s", out.err.message);
        for (int i = 0; i < EMBEDDING_DIM; i++)
            cr_assert_eq(memcmp(out.numbers + i, expected + i, 4), 0, "%d, %d: %.9g is not %.9g",
                         round, i, (double)out.numbers[i], (double)expected[i]);
        buffer_free(&text);
    }
}

/* An array with one unusual element at some place. */
static void write_with(struct buffer *out, const char *element, size_t place)
{
    buffer_clear(out);
    buffer_text(out, "[");
    for (size_t i = 0; i < EMBEDDING_DIM; i++)
        buffer_format(out, "%s%s", i > 0 ? "," : "", i == place ? element : "-0.012345678");
    buffer_text(out, "]");
}

Test(embedding_input, every_reader_refuses_the_same_with_the_same_words)
{
    static const struct {
        const char *text, *message; /* with %zu for the place; NULL where it is a number */
    } cases[] = {
        {"", "embedding[%zu] is not a number"},
        {" ", "embedding[%zu] is not a number"},
        {"-", "embedding[%zu] is not a number"},
        {"- 1", "embedding[%zu] is not a number"},
        {"--1", "embedding[%zu] is not a number"},
        {"+1", "embedding[%zu] is not a number"},
        {".5", "embedding[%zu] is not a number"},
        {"-.5", "embedding[%zu] is not a number"},
        {"1.", "embedding[%zu] is not a number"},
        {"-1.", "embedding[%zu] is not a number"},
        {"01", "embedding[%zu] is not a number"},
        {"-01", "embedding[%zu] is not a number"},
        {"00", "embedding[%zu] is not a number"},
        {"00.5", "embedding[%zu] is not a number"},
        {".", "embedding[%zu] is not a number"},
        {"1e", "embedding[%zu] is not a number"},
        {"1e+", "embedding[%zu] is not a number"},
        {"NaN", "embedding[%zu] is not a number"},
        {"Infinity", "embedding[%zu] is not a number"},
        {"-Infinity", "embedding[%zu] is not a number"},
        {"null", "embedding[%zu] is not a number"},
        {"\"1\"", "embedding[%zu] is not a number"},
        {"[1]", "embedding[%zu] is not a number"},
        {"{}", "embedding[%zu] is not a number"},
        {"1 2", "embedding: a comma is missing after element %zu"},
        {"0 .5", "embedding: a comma is missing after element %zu"},
        {"0. 5", "embedding[%zu] is not a number"},
        {"1.5.2", "embedding: a comma is missing after element %zu"},
        {"1-2", "embedding: a comma is missing after element %zu"},
        {"0.1-", "embedding: a comma is missing after element %zu"},
        {"0x1", "embedding: a comma is missing after element %zu"},
        {"0.5f", "embedding: a comma is missing after element %zu"},
        {"0.5\v", "embedding: a comma is missing after element %zu"},
        {"\f0.5", "embedding[%zu] is not a number"},
        {"0.5/", "embedding: a comma is missing after element %zu"},
        {"0.5:", "embedding: a comma is missing after element %zu"},
        {"0.5\xc2\xa0", "embedding: a comma is missing after element %zu"},
        {"1e999", "embedding[%zu] is not finite as a 32-bit number"},
        {"-1e39", "embedding[%zu] is not finite as a 32-bit number"},
        {"3.4028236e38", "embedding[%zu] is not finite as a 32-bit number"},
        {"1000000000000000000000000000000000000000",
         "embedding[%zu] is not finite as a 32-bit number"},
        {"0.123456789012345678901234567890123456789012345", NULL},
        {"                                                     0.5", NULL},
        {"0.5                                                     ", NULL},
    };
    static const size_t places[] = {0, 1, 2, 5, 63, 64, 777, EMBEDDING_DIM - 2, EMBEDDING_DIM - 1};
    struct buffer text = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (size_t j = 0; j < sizeof(places) / sizeof(*places); j++) {
            struct outcome out;
            struct buffer message = {0};
            write_with(&text, cases[i].text, places[j]);
            read_everywhere(text.data, text.length, &out);
            cr_expect_eq(out.rc, cases[i].message == NULL ? 0 : -1, "%s", cases[i].text);
            if (cases[i].message != NULL) {
                const char *place = strstr(cases[i].message, "%zu");
                buffer_format(&message, "%.*s%zu%s", (int)(place - cases[i].message),
                              cases[i].message, places[j], place + 3);
                cr_expect_str_eq(out.err.message, message.data, "%s: %s", cases[i].text,
                                 out.err.message);
            }
            buffer_free(&message);
        }
    }
    buffer_free(&text);
}

/* Arrays that end too early, or are not at their end yet. */
Test(embedding_input, every_reader_sees_where_the_array_ends)
{
    struct buffer text = {0};
    struct outcome out;
    write_with(&text, "1", 0);
    const size_t length = text.length;
    for (size_t left = 2; left < length; left += left < 200 || left > length - 200 ? 1 : 611) {
        read_everywhere(text.data, left, &out);
        cr_assert_eq(out.rc, -1);
    }
    static const struct {
        const char *end, *message;
    } ends[] = {{",1]", "embedding must have 1536 numbers, not 1537"},
                {",]", "embedding[1536] is not a number"},
                {",", "embedding: the array has no end"},
                {"", "embedding[1535] is not a number"},
                {"]]", "embedding: more follows behind the array"},
                {"] ", "embedding: more follows behind the array"},
                {" ]", ""}};
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        struct buffer other = {0};
        buffer_append(&other, text.data, length - 1);
        buffer_text(&other, ends[i].end);
        read_everywhere(other.data, other.length, &out);
        cr_expect_str_eq(out.err.message, ends[i].message, "%s: %s", ends[i].end, out.err.message);
        buffer_free(&other);
    }
    buffer_clear(&text);
    buffer_text(&text, "[");
    for (int i = 0; i < 100000; i++) buffer_text(&text, ",");
    buffer_text(&text, "]");
    read_everywhere(text.data, text.length, &out);
    cr_expect_str_eq(out.err.message, "embedding[0] is not a number");
    buffer_free(&text);
}

/* Bytes that are put, removed or changed anywhere. */
Test(embedding_input, every_reader_says_the_same_of_damaged_text)
{
    static const char bytes[] = "0123456789..--++eE,,  [[]]\n\t\"x\x80\xff";
    uint64_t state = 21;
    for (int round = 0; round < 40; round++) {
        struct buffer text = {0};
        float expected[EMBEDDING_DIM];
        write_random_array(&text, &state, round % 2 == 0 ? write_mixed : write_any_format,
                           expected);
        for (int change = 0; change < 25; change++) {
            struct outcome out;
            struct buffer damaged = {0};
            const size_t at = 1 + next_random(&state) % (text.length - 1);
            const size_t removed = next_random(&state) % 2, put = next_random(&state) % 2;
            buffer_append(&damaged, text.data, at);
            buffer_append(&damaged, bytes + next_random(&state) % (sizeof(bytes) - 1), put);
            buffer_append(&damaged, text.data + at + removed, text.length - at - removed);
            read_everywhere(damaged.data, damaged.length, &out);
            buffer_free(&damaged);
        }
        buffer_free(&text);
    }
}
