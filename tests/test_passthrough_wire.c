#include "storage/passthrough/wire.h"

#include <criterion/criterion.h>
#include <string.h>

Test(passthrough_wire, a_message_is_known_by_its_header)
{
    static const char query[] = "Q\0\0\0\x0dSELECT 1";
    struct wire_message message;
    for (size_t length = 0; length < WIRE_HEADER; length++)
        cr_expect_eq(wire_peek(query, length, true, &message), WIRE_INCOMPLETE, "%zu", length);
    for (size_t length = WIRE_HEADER; length <= sizeof(query); length++) {
        cr_assert_eq(wire_peek(query, length, true, &message), WIRE_OK, "%zu", length);
        cr_expect_eq(message.type, 'Q');
        cr_expect_eq(message.size, 14);
        cr_expect_eq(message.have, length < 14 ? length - WIRE_HEADER : 9);
        cr_expect_eq(message.body, query + WIRE_HEADER);
    }
}

Test(passthrough_wire, lengths_that_lie_are_refused)
{
    static const struct {
        const char *bytes;
        bool from_client;
    } wrong[] = {
        {"Q\0\0\0\0", true},          {"Q\0\0\0\3", true},     {"Q\xff\xff\xff\xff", true},
        {"Q\x7f\xff\xff\xff", true},  {"S\0\0\x27\x11", true}, {"E\0\1\0\0", true},
        {"D\x7f\xff\xff\xff", false}, {"D\0\0\0\0", false},    {"\0\0\0\0\4", true},
        {"p\0\0\0\4", true},          {"R\0\0\0\4", true},     {"\xff\0\0\0\4", true},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct wire_message message;
        cr_expect_eq(wire_peek(wrong[i].bytes, 5, wrong[i].from_client, &message), WIRE_WRONG,
                     "%zu", i);
    }
    struct wire_message message;
    cr_expect_eq(wire_peek("Q\x3f\xff\xff\xff", 5, true, &message), WIRE_OK);
    cr_expect_eq(wire_peek("X\0\0\0\4", 5, true, &message), WIRE_OK);
    cr_expect_eq(wire_peek("!", 1, true, &message), WIRE_WRONG, "a type is known by one byte");
}

Test(passthrough_wire, a_startup_packet_has_bounds)
{
    static const struct {
        const char *bytes;
        size_t length;
        enum wire_result result;
    } cases[] = {
        {"\0\0\0", 3, WIRE_INCOMPLETE},
        {"\0\0\0\0", 4, WIRE_WRONG},
        {"\0\0\0\7", 4, WIRE_WRONG},
        {"\0\0\0\x08\4\xd2\x16\x2f", 8, WIRE_OK},
        {"\0\0\0\x09\0\3\0\0", 8, WIRE_INCOMPLETE},
        {"\xff\xff\xff\xff", 4, WIRE_WRONG},
        {"\0\0\x27\x14", 4, WIRE_INCOMPLETE},
        {"\0\0\x27\x15", 4, WIRE_WRONG},
        {"GET / HTTP", 10, WIRE_WRONG},
        {"\x16\3\1\2\0\1", 6, WIRE_WRONG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t size;
        uint32_t code = 0;
        cr_expect_eq(wire_peek_startup(cases[i].bytes, cases[i].length, &size, &code),
                     cases[i].result, "%zu", i);
        if (cases[i].result == WIRE_OK) cr_expect_eq(code, (uint32_t)WIRE_SSL);
    }
}

Test(passthrough_wire, reading_ends_with_the_body)
{
    static const char body[] = {0, 1, 0, 0, 0, 7, 'a', 'b', 0, 'c'};
    struct wire_reader reader = {.at = body, .end = body + sizeof(body)};
    size_t length = 0;
    cr_expect_eq(wire_read16(&reader), 1);
    cr_expect_eq(wire_read32(&reader), 7u);
    cr_expect_str_eq(wire_read_string(&reader, &length), "ab");
    cr_expect_eq(length, 2);
    cr_expect_not(reader.failed);
    cr_expect_null(wire_read_string(&reader, &length), "without its NUL it is none");
    cr_expect(reader.failed);
    reader = (struct wire_reader){.at = body, .end = body + 1};
    cr_expect_eq(wire_read16(&reader), 0);
    cr_expect(reader.failed);
    reader = (struct wire_reader){.at = body, .end = body + 3};
    cr_expect_eq(wire_read32(&reader), 0u);
    cr_expect(reader.failed);
}

Test(passthrough_wire, what_is_written_can_be_read)
{
    struct buffer out = {0};
    struct wire_message message;
    wire_put_error(&out, "FATAL", "57P01", "the end");
    cr_assert_eq(wire_peek(out.data, out.length, false, &message), WIRE_OK);
    cr_expect_eq(message.type, 'E');
    cr_expect_eq(message.size, out.length);
    cr_expect_str_eq(wire_error_field(message.body, message.have, 'C'), "57P01");
    cr_expect_str_eq(wire_error_field(message.body, message.have, 'V'), "FATAL");
    cr_expect_str_eq(wire_error_field(message.body, message.have, 'M'), "the end");
    cr_expect_null(wire_error_field(message.body, message.have, 'H'));
    cr_expect_null(wire_error_field(message.body, 3, 'M'), "a body that is cut off has none");
    buffer_clear(&out);
    wire_put_ready(&out, 'T');
    wire_put_query(&out, "BEGIN");
    cr_expect_eq(out.length, 6 + 11);
    cr_expect_eq(memcmp(out.data,
                        "Z\0\0\0\5TQ\0\0\0\x0a"
                        "BEGIN\0",
                        17),
                 0);
    buffer_free(&out);
}
