#include "tools/tekupd/http/json_write.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

Test(json_write, puts_commas_where_they_belong)
{
    struct buffer out = {0};
    json_put_open(&out, '{');
    json_field_text(&out, "a", "x");
    json_put_key(&out, "b");
    json_put_open(&out, '[');
    json_put_integer(&out, -5);
    json_put_open(&out, '{');
    json_put_close(&out, '}');
    json_put_open(&out, '[');
    json_put_close(&out, ']');
    json_put_null(&out);
    json_put_text(&out, NULL);
    json_put_boolean(&out, true);
    json_put_close(&out, ']');
    json_field_raw(&out, "c", "{\"n\": 1e400}");
    json_field_raw(&out, "d", NULL);
    json_field_number(&out, "e", 0.25, 7);
    json_field_number(&out, "f", NAN, 7);
    json_field_boolean(&out, "g", false);
    json_field_integer(&out, "h", INT64_MIN);
    json_put_close(&out, '}');
    cr_expect_str_eq(out.data,
                     "{\"a\":\"x\",\"b\":[-5,{},[],null,null,true],\"c\":{\"n\": 1e400},\"d\":null,"
                     "\"e\":0.25,\"f\":null,\"g\":false,\"h\":-9223372036854775808}");
    buffer_free(&out);
}

Test(json_write, text_comes_back_as_it_was)
{
    /* Every byte below 0x80 (but NUL), and longer sequences. */
    char text[256];
    size_t length = 0;
    for (int byte = 1; byte < 0x80; byte++) text[length++] = (char)byte;
    memcpy(text + length, "\xc3\xa6\xe2\x82\xac\xf0\x9f\x98\x80", 10);
    struct buffer out = {0};
    json_put_open(&out, '[');
    json_put_text(&out, text);
    json_put_text(&out, "");
    json_put_close(&out, ']');
    json_error_t error;
    json_t *parsed = json_loadb(out.data, out.length, 0, &error);
    cr_assert_not_null(parsed, "%s in %s", error.text, out.data);
    cr_expect_str_eq(json_string_value(json_array_get(parsed, 0)), text);
    cr_expect_str_eq(json_string_value(json_array_get(parsed, 1)), "");
    json_decref(parsed);
    buffer_free(&out);
}

Test(json_write, what_is_not_utf8_or_ends_early_still_makes_json)
{
    struct buffer out = {0};
    json_put_text_of(&out, "a\xff\0b\xc3", 5);
    cr_expect_str_eq(out.data, "\"a\xef\xbf\xbd\\u0000b\xef\xbf\xbd\"");
    buffer_free(&out);
}

Test(json_write, writes_shares_as_printf_does)
{
    for (int i = -1000003; i <= 1000003; i += 997) {
        const double value = i / 1e6 + i % 7 * 1e-9;
        struct buffer out = {0};
        char expected[32];
        snprintf(expected, sizeof(expected), "%.6g", value);
        json_put_number(&out, value, 6);
        cr_assert_str_eq(out.data, expected);
        buffer_free(&out);
    }
}

static void expect_as_printf(double value, int digits)
{
    struct buffer out = {0};
    char expected[40];
    snprintf(expected, sizeof(expected), "%.*g", digits, value);
    json_put_number(&out, value, digits);
    cr_assert_str_eq(out.data, expected, "%.17g with %d digits: %s", value, digits, out.data);
    buffer_free(&out);
}

/* Of all sizes, and where another digit begins, or the form with an exponent. */
Test(json_write, writes_numbers_as_printf_does)
{
    static const double some[] = {0,          1,
                                  0.1f,       0.2f,
                                  0.0001,     1e-5,
                                  0.5,        2.5,
                                  0.0327869f, 100000,
                                  123456,     999999,
                                  999999.5,   1000000,
                                  0.25,       0.125,
                                  0.0625,     1.5,
                                  0.1234565,  0.12345650000001,
                                  1234.565,   0.000123456789};
    for (int digits = 1; digits <= 7; digits++) {
        for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
            expect_as_printf(some[i], digits);
            expect_as_printf(-some[i], digits);
        }
        double power = 1e-6;
        for (int i = 0; i < 14; i++, power *= 10) {
            expect_as_printf(power, digits);
            expect_as_printf(nextafter(power, 0), digits);
            expect_as_printf(nextafter(power, INFINITY), digits);
            for (int j = 1; j < 400; j++) {
                expect_as_printf(power * j * 0.02503, digits);
                expect_as_printf((double)(float)(power * j * 0.02503), digits);
                expect_as_printf(power * j / 40, digits); /* half way, some of them */
            }
        }
    }
}

Test(json_write, escapes_a_key_that_is_not_its_own)
{
    struct buffer out = {0};
    json_put_open(&out, '{');
    json_put_any_key(&out, "a\"b");
    json_put_integer(&out, 1);
    json_put_any_key(&out, "c");
    json_put_text(&out, "twelve bytes\n and more, of which one is escaped");
    json_put_close(&out, '}');
    cr_expect_str_eq(out.data, "{\"a\\\"b\":1,\"c\":\"twelve bytes\\n and more, of which one is "
                               "escaped\"}");
    buffer_free(&out);
}

Test(json_write, writes_whole_numbers)
{
    static const int64_t values[] = {0, 7, -7, 10, 99, 1234567890, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        struct buffer out = {0};
        char expected[32];
        snprintf(expected, sizeof(expected), "%" PRId64, values[i]);
        json_put_integer(&out, values[i]);
        cr_assert_str_eq(out.data, expected);
        buffer_free(&out);
    }
}
