#include "storage/base/buffer.h"
#include "storage/embedding.h"
#include "tools/tekupd/sql/index_request.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static struct index_request request;
static struct error problem;

static void put_base64(struct buffer *out, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        const size_t left = length - i;
        const unsigned group = (unsigned)bytes[i] << 16 |
                               (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                               (left > 2 ? (unsigned)bytes[i + 2] : 0);
        const char text[] = {digits[group >> 18], digits[group >> 12 & 63],
                             left > 1 ? digits[group >> 6 & 63] : '=',
                             left > 2 ? digits[group & 63] : '='};
        buffer_append(out, text, 4);
        if (i / 3 % 19 == 18) buffer_append(out, "\n", 1); /* as PostgreSQL's encode */
    }
}

static void fill(float vector[EMBEDDING_DIM])
{
    for (int i = 0; i < EMBEDDING_DIM; i++)
        vector[i] = (float)sin(i) * (i % 7 == 0 ? -3.5F : 1e-3F);
}

/* The request "before", with the vector in the format as its last word. */
static int read_with(const char *before, enum embedding_form form, const float *vector)
{
    struct buffer bytes = {0}, text = {0};
    embedding_encode(&bytes, form, vector);
    buffer_text(&text, before);
    put_base64(&text, (const unsigned char *)bytes.data, bytes.length);
    cr_assert_not(bytes.failed || text.failed);
    index_request_free(&request);
    memset(&problem, 0, sizeof(problem));
    const int rc = index_request_read(text.data, &request, &problem);
    buffer_free(&bytes);
    buffer_free(&text);
    return rc;
}

static int read_text(const char *text)
{
    index_request_free(&request);
    memset(&problem, 0, sizeof(problem));
    return index_request_read(text, &request, &problem);
}

static void end(void)
{
    index_request_free(&request);
}

TestSuite(index_request, .fini = end);

Test(index_request, reads_both_forms_of_vectors_exactly)
{
    float vector[EMBEDDING_DIM];
    const enum embedding_form forms[] = {EMBEDDING_REAL, EMBEDDING_VECTOR};
    fill(vector);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(read_with("SEARCH " SECRET " 10 0.7 - - ", forms[i], vector), 0, "%s",
                     problem.message);
        cr_expect_arr_eq(request.vector, vector, sizeof(vector));
        cr_expect_str_eq(request.secret, SECRET);
        cr_expect_eq(request.limit, 10);
        cr_expect_float_eq(request.threshold, 0.7F, 1e-9F);
        cr_expect_null(request.source);
        cr_expect_null(request.repository);
    }
}

Test(index_request, reads_filters_of_any_text)
{
    float vector[EMBEDDING_DIM];
    fill(vector);
    cr_assert_eq(read_with("SEARCH s 10000 -1 = =c3a62027 ", EMBEDDING_VECTOR, vector), 0, "%s",
                 problem.message);
    cr_expect_str_eq(request.source, "", "no text is a text");
    cr_expect_str_eq(request.repository, "æ '");
    cr_assert_eq(read_with("SEARCH s 1 1e-05 =67 - ", EMBEDDING_REAL, vector), 0);
    cr_expect_str_eq(request.source, "g");
    cr_expect_float_eq(request.threshold, 1e-5F, 1e-9F);
}

Test(index_request, refuses_what_is_no_request)
{
    static const char *const wrong[] = {
        "",
        " ",
        "SEARCH",
        "SELECT 1",
        "search s 10 0.7 - - AAAA",
        "SEARCH s 10 0.7 - -",
        "SEARCH s 10 0.7 - - ",
        "SEARCH  s 10 0.7 - - AAAA",
        "SEARCH s 10 0.7 - - AAAA ",
        "SEARCH s 10 0.7 - - AAAA more",
        "SEARCH s 10 0.7 - - AAAA; DROP TABLE x",
        "SEARCH s 0 0.7 - - AAAA",
        "SEARCH s -1 0.7 - - AAAA",
        "SEARCH s 10001 0.7 - - AAAA",
        "SEARCH s 99999999999999999999 0.7 - - AAAA",
        "SEARCH s ten 0.7 - - AAAA",
        "SEARCH s 10 1.1 - - AAAA",
        "SEARCH s 10 -1.1 - - AAAA",
        "SEARCH s 10 NaN - - AAAA",
        "SEARCH s 10 0.7x - - AAAA",
        "SEARCH s 10 0x1p-1 - - AAAA",
        "SEARCH s 10 0.7 github - AAAA",
        "SEARCH s 10 0.7 =6 - AAAA",
        "SEARCH s 10 0.7 =6G - AAAA",
        "SEARCH s 10 0.7 =00 - AAAA",
        "SEARCH s 10 0.7 =ff - AAAA",
        "SEARCH s 10 0.7 - - AAA",
        "SEARCH s 10 0.7 - - A===",
        "SEARCH s 10 0.7 - - AA=A",
        "SEARCH s 10 0.7 - - ====",
        "SEARCH s 10 0.7 - - AA*A",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        cr_expect_eq(read_text(wrong[i]), -1, "%s", wrong[i]);
        cr_expect_eq(problem.code, ERR_INVALID, "%s", wrong[i]);
        cr_expect_str_eq(problem.field, "", "%s", wrong[i]);
    }
}

Test(index_request, refuses_vectors_that_cannot_be_searched_for)
{
    float vector[EMBEDDING_DIM] = {0};
    static const float strange[] = {NAN, INFINITY, -INFINITY};
    cr_expect_eq(read_with("SEARCH s 1 0 - - ", EMBEDDING_VECTOR, vector), -1, "zero");
    cr_expect_str_eq(problem.field, "embedding");
    fill(vector);
    for (int i = 0; i < 3; i++) {
        vector[1535] = strange[i];
        cr_expect_eq(read_with("SEARCH s 1 0 - - ", EMBEDDING_REAL, vector), -1);
        cr_expect_str_eq(problem.field, "embedding");
    }
    cr_expect_eq(read_text("SEARCH s 1 0 - - AAAA"), -1);
    cr_expect_str_eq(problem.field, "embedding");
    char *huge = malloc(200000);
    strcpy(huge, "SEARCH s 1 0 - - ");
    memset(huge + strlen(huge), 'A', 160000);
    huge[160016] = '\0';
    while (strlen(huge + 17) % 4 != 0) huge[strlen(huge) - 1] = '\0';
    cr_expect_eq(read_text(huge), -1);
    cr_expect_str_eq(problem.field, "embedding");
    memset(huge, 'S', 100000);
    cr_expect_eq(read_text(huge), -1);
    free(huge);
}

Test(index_request, refuses_a_secret_that_is_too_long)
{
    char text[300] = "SEARCH ";
    memset(text + 7, 'x', 200);
    strcpy(text + 207, " 1 0 - - AAAA");
    cr_expect_eq(read_text(text), -1);
}
