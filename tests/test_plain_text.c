/* What the bytes of files are read as: UTF-8, UTF-16, Windows-1252, or nothing. */
#include "ingest/plain_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static int read_bytes(const char *bytes, size_t length, char **text, enum skip_reason *reason)
{
    *text = malloc(length + 1);
    cr_assert(*text != NULL);
    memcpy(*text, bytes, length);
    (*text)[length] = '\0';
    size_t now = length;
    const int result = plain_text_read(text, &now, reason);
    if (result == 0) cr_expect_eq(strlen(*text), now);
    return result;
}

static void expect_text(const char *bytes, size_t length, const char *text)
{
    char *read;
    enum skip_reason reason;
    cr_expect_eq(read_bytes(bytes, length, &read, &reason), 0, "%s", text);
    cr_expect_eq(reason, SKIP_NONE);
    cr_expect_str_eq(read, text);
    free(read);
}

static void expect_skipped(const char *bytes, size_t length, enum skip_reason wanted)
{
    char *read;
    enum skip_reason reason;
    cr_expect_eq(read_bytes(bytes, length, &read, &reason), 1);
    cr_expect_eq(reason, wanted);
    free(read);
}

#define TEXT(bytes, text) expect_text("" bytes, sizeof(bytes) - 1, text)
#define SKIPPED(bytes, reason) expect_skipped("" bytes, sizeof(bytes) - 1, reason)

Test(plain_text, utf8_stays_as_it_is)
{
    TEXT("R\xc3\xb8"
         "dgr\xc3\xb8"
         "d\r\n",
         "R\xc3\xb8"
         "dgr\xc3\xb8"
         "d\r\n");
    TEXT("\x01 control characters too", "\x01 control characters too");
    TEXT("\xe4\xbc\x91\xe6\x9a\x87", "\xe4\xbc\x91\xe6\x9a\x87");
}

Test(plain_text, a_byte_order_mark_is_no_text)
{
    TEXT("\xef\xbb\xbf"
         "a",
         "a");
    SKIPPED("\xef\xbb\xbf", SKIP_EMPTY);
    SKIPPED("\xef\xbb\xbf \n", SKIP_EMPTY);
    SKIPPED("\xff\xfe", SKIP_EMPTY);
    SKIPPED("\xff\xfe \0", SKIP_EMPTY);
}

Test(plain_text, utf16_of_both_orders)
{
    TEXT("\xff\xfe"
         "b\0l\0\xe5\0b\0",
         "bl\xc3\xa5"
         "b");
    TEXT("\xfe\xff\0b\0l\0\xe5\0b", "bl\xc3\xa5"
                                    "b");
    TEXT("\xff\xfe\x3d\xd8\x00\xde", "\xf0\x9f\x98\x80");
    TEXT("\xfe\xff\x4f\x11\xac\x00", "\xe4\xbc\x91\xea\xb0\x80");
    SKIPPED("\xff\xfe"
            "a",
            SKIP_BINARY);
    SKIPPED("\xff\xfe"
            "a\0\0\0",
            SKIP_BINARY);
    SKIPPED("\xff\xfe\x3d\xd8", SKIP_BINARY);
    SKIPPED("\xff\xfe\x3d\xd8"
            "a\0",
            SKIP_BINARY);
    SKIPPED("\xff\xfe\x00\xde", SKIP_BINARY);
    SKIPPED("b\0l\0", SKIP_BINARY);
}

Test(plain_text, windows_1252_and_latin_1)
{
    TEXT("bl\xe5"
         "b\xe6r",
         "bl\xc3\xa5"
         "b\xc3\xa6r");
    TEXT("the \x93quoted\x94 price: 5 \x80",
         "the \xe2\x80\x9cquoted\xe2\x80\x9d price: 5 \xe2\x82\xac");
    SKIPPED("not given a character: \x81", SKIP_BINARY);
    SKIPPED("a control character: \x02 \xe5", SKIP_BINARY);
}

Test(plain_text, what_cannot_be_told_is_no_text)
{
    SKIPPED("text\0more", SKIP_BINARY);
    SKIPPED("\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0", SKIP_BINARY); /* Cyrillic in Windows-1251 */
    SKIPPED("\x82\xa0\x82\xa2\x82\xa4 \x8a\xbf\x8e\x9a", SKIP_BINARY); /* Shift JIS */
    SKIPPED("\xed\xa0\x80", SKIP_BINARY);
    SKIPPED(" \r\n\t", SKIP_EMPTY);
    SKIPPED("", SKIP_EMPTY);
}

Test(plain_text, a_damaged_byte_does_not_cost_the_rest)
{
    TEXT("gr\xc3\xb8"
         "d og fl\xc3\xb8"
         "de, \xc3",
         "gr\xc3\xb8"
         "d og fl\xc3\xb8"
         "de, \xef\xbf\xbd");
    TEXT("\xe4\xbc\x91\xe6\x9a\x87\xe3\x82", "\xe4\xbc\x91\xe6\x9a\x87\xef\xbf\xbd\xef\xbf\xbd");
}

/* Whatever the bytes are, what comes of them is a text or a reason. */
Test(plain_text, any_bytes)
{
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        char bytes[64];
        const size_t length = (size_t)rand_r(&seed) % sizeof(bytes);
        for (size_t i = 0; i < length; i++) {
            const int any = rand_r(&seed);
            bytes[i] = (char)(round % 3 == 0 || any % 8 == 0 ? any >> 8 : 'a' + any % 20);
        }
        if (round % 5 == 0 && length >= 2)
            memcpy(bytes, round % 2 == 0 ? "\xff\xfe" : "\xfe\xff", 2);
        char *text;
        enum skip_reason reason;
        const int result = read_bytes(bytes, length, &text, &reason);
        cr_assert(result == 0 || result == 1);
        cr_assert_eq(result == 0 ? skip_reason_of_text(text, strlen(text)) : SKIP_NONE, SKIP_NONE);
        free(text);
    }
}
