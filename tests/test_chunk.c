#include "ingest/chunk.h"
#include "ingest/outline.h"

#include "storage/base/buffer.h"
#include "storage/base/utf8.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct cut {
    struct chunk *chunks;
    size_t count;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What must hold for any text; returns the chunks for the test to look at. */
static struct cut cut_and_check(const char *text, size_t length)
{
    struct cut cut;
    struct cut again;
    cr_assert_eq(chunk_text(text, length, &cut.chunks, &cut.count), 0);
    cr_assert_eq(chunk_text(text, length, &again.chunks, &again.count), 0);
    cr_assert_eq(again.count, cut.count);

    size_t covered = 0;
    for (size_t i = 0; i < cut.count; i++) {
        const struct chunk chunk = cut.chunks[i];
        cr_assert(again.chunks[i].start == chunk.start && again.chunks[i].end == chunk.end);
        cr_assert_lt(chunk.start, chunk.end);
        cr_assert_leq(chunk.end, length);
        cr_assert_leq(chunk.end - chunk.start, (size_t)CHUNK_LIMIT);
        cr_assert_eq(utf8_valid_prefix(text + chunk.start, chunk.end - chunk.start),
                     chunk.end - chunk.start, "chunk %zu breaks a UTF-8 sequence", i);
        cr_assert_not(is_space(text[chunk.start]));
        cr_assert_not(is_space(text[chunk.end - 1]));
        for (size_t at = covered; at < chunk.start; at++)
            cr_assert(is_space(text[at]), "byte %zu is in no chunk", at);
        if (i > 0) {
            const struct chunk before = cut.chunks[i - 1];
            cr_assert_gt(chunk.start, before.start);
            cr_assert_gt(chunk.end, before.end);
            if (chunk.start < before.end)
                cr_assert_leq(before.end - chunk.start, (size_t)CHUNK_OVERLAP + 3);
        }
        covered = chunk.end;
    }
    for (size_t at = covered; at < length; at++)
        cr_assert(is_space(text[at]), "byte %zu is in no chunk", at);
    free(again.chunks);
    return cut;
}

static bool starts_with(const char *text, size_t at, const char *word)
{
    return strncmp(text + at, word, strlen(word)) == 0;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void append_code_point(struct buffer *text, uint32_t point)
{
    char bytes[4];
    size_t length = 0;
    if (point < 0x80) {
        bytes[length++] = (char)point;
    } else if (point < 0x800) {
        bytes[length++] = (char)(0xc0 | (point >> 6));
        bytes[length++] = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        bytes[length++] = (char)(0xe0 | (point >> 12));
        bytes[length++] = (char)(0x80 | ((point >> 6) & 0x3f));
        bytes[length++] = (char)(0x80 | (point & 0x3f));
    } else {
        bytes[length++] = (char)(0xf0 | (point >> 18));
        bytes[length++] = (char)(0x80 | ((point >> 12) & 0x3f));
        bytes[length++] = (char)(0x80 | ((point >> 6) & 0x3f));
        bytes[length++] = (char)(0x80 | (point & 0x3f));
    }
    buffer_append(text, bytes, length);
}

Test(chunk, nothing_but_white_space_gives_no_chunks)
{
    static const char *const blank[] = {"", " ", "\n\n\n", "\r\n \t\v\f\r\n"};
    for (size_t i = 0; i < sizeof(blank) / sizeof(*blank); i++) {
        struct cut cut = cut_and_check(blank[i], strlen(blank[i]));
        cr_expect_eq(cut.count, 0);
        free(cut.chunks);
    }
}

Test(chunk, a_short_text_is_one_chunk_without_the_space_around_it)
{
    const char text[] = "\n\n  # Title\n\nA few words.\n\n## More\n\nAnd more.\n\n";
    struct cut cut = cut_and_check(text, strlen(text));
    cr_assert_eq(cut.count, 1);
    cr_expect(starts_with(text, cut.chunks[0].start, "# Title"));
    cr_expect(starts_with(text, cut.chunks[0].end - 4, "ore.\n"));
    free(cut.chunks);
}

Test(chunk, a_megabyte_without_a_space_is_cut_inside_the_limit)
{
    const size_t length = 1 << 20;
    char *text = malloc(length);
    cr_assert(text != NULL);
    memset(text, 'x', length);
    struct cut cut = cut_and_check(text, length);
    cr_expect_gt(cut.count, length / CHUNK_LIMIT);
    free(cut.chunks);

    /* The same of two-byte characters, so that every second place to cut is wrong. */
    for (size_t i = 0; i < length; i++) text[i] = i % 2 == 0 ? '\xc3' : '\xa6';
    cut = cut_and_check(text, length);
    free(cut.chunks);
    free(text);
}

Test(chunk, a_long_word_after_a_short_line_does_not_hold_the_line)
{
    struct buffer text = {0};
    buffer_text(&text, "A line of its own\n");
    for (int i = 0; i < 5000; i++) buffer_text(&text, "y");
    buffer_text(&text, "\nthe end");
    struct cut cut = cut_and_check(text.data, text.length);
    cr_assert_gt(cut.count, 2);
    cr_expect_eq(cut.chunks[0].end, strlen("A line of its own"));
    free(cut.chunks);
    buffer_free(&text);
}

Test(chunk, breaks_at_headings_first_and_does_not_overlap_there)
{
    struct buffer text = {0};
    for (int i = 0; i < 12; i++) {
        buffer_format(&text, "## Section %d\n\n", i);
        for (int j = 0; j < 2; j++) {
            for (int k = 0; k < 6; k++) buffer_text(&text, "Some words that fill up a line.\n");
            buffer_text(&text, "\n");
        }
    }
    struct cut cut = cut_and_check(text.data, text.length);
    cr_assert_gt(cut.count, 3);
    for (size_t i = 0; i < cut.count; i++) {
        cr_expect(starts_with(text.data, cut.chunks[i].start, "## Section"), "chunk %zu", i);
        if (i > 0) cr_expect_lt(cut.chunks[i - 1].end, cut.chunks[i].start);
    }
    free(cut.chunks);
    buffer_free(&text);
}

Test(chunk, breaks_inside_a_section_at_paragraphs_with_an_overlap_of_whole_lines)
{
    struct buffer text = {0};
    for (int i = 0; i < 40; i++)
        buffer_format(&text, "Paragraph %d says something\nand goes on with it here.\n\n", i);
    struct cut cut = cut_and_check(text.data, text.length);
    cr_assert_gt(cut.count, 1);
    for (size_t i = 0; i + 1 < cut.count; i++) {
        cr_expect(starts_with(text.data, cut.chunks[i].end - 5, "here.\n\n"), "chunk %zu", i);
        cr_expect_lt(cut.chunks[i + 1].start, cut.chunks[i].end, "chunk %zu", i);
        cr_expect_eq(text.data[cut.chunks[i + 1].start - 1], '\n', "chunk %zu", i);
    }
    free(cut.chunks);
    buffer_free(&text);
}

Test(chunk, text_of_headings_alone_is_packed)
{
    struct buffer text = {0};
    for (int i = 0; i < 2000; i++) buffer_format(&text, "# Heading %d\n", i);
    struct cut cut = cut_and_check(text.data, text.length);
    cr_expect_lt(cut.count, text.length / (CHUNK_TARGET / 2));
    for (size_t i = 0; i < cut.count; i++)
        cr_expect(starts_with(text.data, cut.chunks[i].start, "# Heading"));
    free(cut.chunks);
    buffer_free(&text);
}

Test(chunk, line_ends_of_every_kind_break_alike)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    size_t counts[3];
    for (int e = 0; e < 3; e++) {
        struct buffer text = {0};
        for (int i = 0; i < 200; i++)
            buffer_format(&text, "Line %03d is forty characters long or so%s%s", i, ends[e],
                          i % 10 == 9 ? ends[e] : "");
        struct cut cut = cut_and_check(text.data, text.length);
        for (size_t i = 0; i < cut.count; i++)
            cr_expect(starts_with(text.data, cut.chunks[i].start, "Line "), "%d: chunk %zu", e, i);
        counts[e] = cut.count;
        free(cut.chunks);
        buffer_free(&text);
    }
    cr_expect_eq(counts[0], counts[2]);
    cr_expect_leq(counts[0], counts[1]);
}

Test(chunk, much_white_space_is_not_carried_along)
{
    struct buffer text = {0};
    buffer_text(&text, "Before the gap.");
    for (int i = 0; i < 30000; i++) buffer_text(&text, "\n");
    buffer_text(&text, "After it.");
    for (int i = 0; i < 30000; i++) buffer_text(&text, " ");
    for (int i = 0; i < 1000; i++) buffer_text(&text, "More words. ");
    struct cut cut = cut_and_check(text.data, text.length);
    cr_expect_eq(cut.chunks[0].end, strlen("Before the gap."));
    cr_expect(starts_with(text.data, cut.chunks[1].start, "After it."));
    free(cut.chunks);
    buffer_free(&text);
}

Test(chunk, random_text_is_covered_whatever_it_holds)
{
    static const char *const pieces[] = {"\n",   "\n\n", " ",    "# ",    "```\n", "===\n", "~~~~",
                                         "\r\n", "\t",   "<h2>", "---\n", "word",  "a",     "\r"};
    uint64_t state = 20240611;
    for (int round = 0; round < 300; round++) {
        struct buffer text = {0};
        const uint64_t parts = next_random(&state) % 4000;
        const uint64_t spaces = next_random(&state) % 100;
        for (uint64_t i = 0; i < parts; i++) {
            if (next_random(&state) % 100 < spaces) {
                buffer_text(&text, pieces[next_random(&state) % 14]);
                continue;
            }
            uint32_t point = (uint32_t)(next_random(&state) % 0x110000);
            if (next_random(&state) % 2 == 0) point %= 0x250;
            if (point == 0 || (point >= 0xd800 && point < 0xe000)) point = 'x';
            append_code_point(&text, point);
        }
        cr_assert_not(text.failed);
        struct cut cut = cut_and_check(text.data != NULL ? text.data : "", text.length);
        free(cut.chunks);
        buffer_free(&text);
    }
}

Test(chunk, bytes_that_are_not_text_are_cut_without_harm)
{
    uint64_t state = 7;
    char *bytes = malloc(100000);
    cr_assert(bytes != NULL);
    for (size_t i = 0; i < 100000; i++) bytes[i] = (char)(0x80 | next_random(&state));
    struct chunk *chunks;
    size_t count;
    cr_assert_eq(chunk_text(bytes, 100000, &chunks, &count), 0);
    cr_assert_gt(count, 0);
    cr_expect_eq(chunks[0].start, 0);
    cr_expect_eq(chunks[count - 1].end, 100000);
    for (size_t i = 1; i < count; i++) cr_expect_leq(chunks[i].start, chunks[i - 1].end);
    free(chunks);
    free(bytes);
}

Test(outline, knows_headings_paragraphs_and_fences)
{
    const char text[] = "# Markdown\n"
                        "plain\n"
                        "#no space\n"
                        "\n"
                        "paragraph\n"
                        "\n"
                        "```sh\n"
                        "# a comment\n"
                        "\n"
                        "echo\n"
                        "```\n"
                        "\n"
                        "Underlined\n"
                        "----------\n"
                        "\n"
                        "=====\n"
                        "Ruled\n"
                        "=====\n"
                        "   \t\n"
                        "    # code by indentation\n"
                        "<h2>HTML</h2>\n"
                        "####### seven\n";
    static const struct {
        const char *start;
        enum line_rank rank;
    } expected[] = {
        {"# Markdown", LINE_HEADING},  {"plain", LINE_PLAIN},          {"#no", LINE_PLAIN},
        {"paragraph", LINE_PARAGRAPH}, {"```sh", LINE_PARAGRAPH},      {"# a comment", LINE_PLAIN},
        {"echo", LINE_PLAIN},          {"```\n", LINE_PLAIN},          {"Underlined", LINE_HEADING},
        {"----------", LINE_PLAIN},    {"=====\nRuled", LINE_HEADING}, {"Ruled", LINE_PLAIN},
        {"=====\n   ", LINE_PLAIN},    {"    # code", LINE_PARAGRAPH}, {"<h2>", LINE_HEADING},
        {"####### seven", LINE_PLAIN},
    };
    struct outline outline;
    cr_assert_eq(outline_read(text, strlen(text), &outline), 0);
    cr_assert_eq(outline.count, sizeof(expected) / sizeof(*expected));
    for (size_t i = 0; i < outline.count; i++) {
        cr_expect(starts_with(text, outline.lines[i].start, expected[i].start), "line %zu", i);
        cr_expect_eq(outline.lines[i].rank, expected[i].rank, "line %zu: %s", i, expected[i].start);
        cr_expect_eq(outline_after(&outline, outline.lines[i].start), i + 1);
    }
    outline_free(&outline);
}
