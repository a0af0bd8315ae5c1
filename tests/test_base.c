#include "storage/base/buffer.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/log.h"
#include "storage/base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

Test(utf8, accepts_every_length_and_refuses_what_rfc_3629_refuses)
{
    static const char *const valid[] = {"",
                                        "a",
                                        "\xc3\xa6",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\xef\xbf\xbf",
                                        "\xf4\x8f\xbf\xbf"};
    static const char *const invalid[] = {"\x80",         "\xc0\x80",
                                          "\xc1\xbf",     "\xe0\x9f\xbf",
                                          "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                          "\xf5\x80",     "\xf4\x90\x80\x80",
                                          "\xe2\x82",     "\xff",
                                          "\xc3"};
    for (size_t i = 0; i < sizeof(valid) / sizeof(*valid); i++)
        cr_expect_eq(utf8_valid_prefix(valid[i], strlen(valid[i])), strlen(valid[i]), "valid %zu",
                     i);
    for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++)
        cr_expect_eq(utf8_valid_prefix(invalid[i], strlen(invalid[i])), 0, "invalid %zu", i);
    cr_expect_eq(utf8_valid_prefix("abc\xff"
                                   "def",
                                   7),
                 3);
}

Test(digest, agrees_with_git_and_fips_180)
{
    char sha[GIT_SHA_HEX];
    digest_git_blob("hello\n", 6, sha);
    cr_expect_str_eq(sha, "ce013625030ba8dba906f756967f9e9ca394464a");
    digest_git_blob("", 0, sha);
    cr_expect_str_eq(sha, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");

    uint8_t digest[SHA256_SIZE];
    static const uint8_t start[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    digest_sha256("abc", 3, digest);
    cr_expect_arr_eq(digest, start, sizeof(start));
}

Test(buffer, grows_formats_and_hands_over)
{
    struct buffer buffer = {0};
    for (int i = 0; i < 1000; i++) buffer_format(&buffer, "%d,", i);
    cr_expect_eq(buffer.length, 3890);
    buffer_clear(&buffer);
    buffer_append(&buffer, "a\0b", 3);
    buffer_text(&buffer, "c");
    cr_expect_eq(buffer.length, 4);
    char *text = buffer_take(&buffer);
    cr_expect_arr_eq(text, "a\0bc", 5);
    cr_expect_null(buffer.data);
    free(text);
    text = buffer_take(&buffer);
    cr_expect_str_eq(text, "");
    free(text);
}

Test(error, keeps_code_and_field_under_a_prefix_and_never_overflows)
{
    struct error err = {0};
    cr_expect_eq(error_set(&err, ERR_INVALID, "limit", "must be at least %d", 1), -1);
    error_prefix(&err, "search %d", 7);
    cr_expect_str_eq(err.message, "search 7: must be at least 1");
    cr_expect_str_eq(err.field, "limit");
    cr_expect_eq(err.code, ERR_INVALID);

    char long_text[2000];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    error_set(&err, ERR_INTERNAL, long_text, "%s", long_text);
    error_prefix(&err, "%s", long_text);
    cr_expect_eq(strlen(err.message), sizeof(err.message) - 1);
    cr_expect_eq(strlen(err.field), sizeof(err.field) - 1);
    cr_expect_eq(error_set(NULL, ERR_INTERNAL, NULL, "no one listens"), -1);
}

Test(log, quotes_what_could_break_a_line)
{
    cr_expect_str_eq(log_quote("a \"b\" \\ \n\x01\xff\xc3\xa6"),
                     "\"a \\\"b\\\" \\\\ \\x0a\\x01\\xff\xc3\xa6\"");
    cr_expect_str_eq(log_quote(NULL), "\"\"");
    char long_text[1000];
    memset(long_text, 'y', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    cr_expect_leq(strlen(log_quote(long_text)), 420);
}

Test(utf8, what_is_cut_ends_with_a_whole_character)
{
    static const struct {
        const char *text;
        size_t length, whole;
    } cuts[] = {{"", 0, 0},
                {"ab", 2, 2},
                {"a\xc3\xa6", 3, 3},
                {"a\xc3", 2, 1},
                {"\xe2\x82", 2, 0},
                {"\xe2\x82\xac", 3, 3},
                {"a\xf0\x9f\x98", 4, 1},
                {"\xf0\x9f\x98\x80", 4, 4},
                {"\x80\x80\x80\x80\x80", 5, 5},
                {"\xff", 1, 0}};
    char line[6];
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++)
        cr_expect_eq(utf8_whole(cuts[i].text, cuts[i].length), cuts[i].whole, "%zu", i);
    utf8_copy_line(line, sizeof(line), "a\nb\xc3\xa6\xc3\xa6");
    cr_expect_str_eq(line, "a b\xc3\xa6");
    utf8_copy_line(line, sizeof(line), NULL);
    cr_expect_str_eq(line, "");
}

Test(error, a_message_that_does_not_fit_ends_with_a_whole_character)
{
    struct error err = {0};
    char text[1200];
    for (size_t i = 0; i + 1 < sizeof(text); i++) text[i] = i % 2 == 0 ? '\xc3' : '\xa6';
    text[sizeof(text) - 1] = '\0';
    for (const char *before = "abcd"; *before != '\0'; before++) {
        error_set(&err, ERR_INVALID, NULL, "%s%s", before, text);
        cr_expect_eq(utf8_valid_prefix(err.message, strlen(err.message)), strlen(err.message));
        error_prefix(&err, "%s%s", before, text);
        cr_expect_eq(utf8_valid_prefix(err.message, strlen(err.message)), strlen(err.message));
    }
}
