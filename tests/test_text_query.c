/* What somebody typed, as full-text search takes it. Which stems the words have is not PostgreSQL's
 * here: a word is a run of ASCII letters and digits, and a final s is not its stem's. */
#include "tools/tekupd/search/text_query.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vault_words words_of(const char *text)
{
    struct vault_words list = {.words = calloc(strlen(text) + 1, sizeof(*list.words))};
    for (size_t at = 0, place = 1; text[at] != '\0';) {
        size_t length = 0;
        while (isalnum((unsigned char)text[at + length])) length++;
        if (length == 0) {
            at++;
            continue;
        }
        struct vault_word *word = &list.words[list.count++];
        *word = (struct vault_word){place++, at, length, strndup(text + at, length), NULL};
        for (size_t i = 0; i < length; i++)
            word->word[i] = (char)tolower((unsigned char)word->word[i]);
        word->stem = strdup(word->word);
        if (length > 3 && word->stem[length - 1] == 's') word->stem[length - 1] = '\0';
        at += length;
    }
    if (list.count == 0) vault_words_free(&list);
    return list;
}

static void read_query(const char *text, struct text_query *query)
{
    struct error err = {0};
    struct vault_words lists[TEXT_TERMS];
    cr_assert_eq(text_query_parse(text, query, &err), 0, "%s", err.message);
    for (size_t i = 0; i < query->count; i++) lists[i] = words_of(query->terms[i].text);
    text_query_take(query, lists);
}

typedef bool (*query_form)(const struct text_query *query, struct buffer *out);

/* NULL where nothing is asked for. */
static void expect(query_form form, const char *text, const char *wanted)
{
    struct text_query query;
    struct buffer out = {0};
    read_query(text, &query);
    const bool asks = form(&query, &out);
    cr_expect_eq(asks, wanted != NULL, "%s", text);
    if (asks && wanted != NULL)
        cr_expect_str_eq(out.data, wanted, "%s is %s, not %s", text, out.data, wanted);
    buffer_free(&out);
    text_query_free(&query);
}

Test(text_query, words_phrases_prefixes_and_what_is_not_wanted)
{
    expect(text_query_all, "Audible bells", "'audible' & 'bell'");
    expect(text_query_all, "\"audible bells\" zebra", "('audible' <1> 'bell') & 'zebra'");
    expect(text_query_all,
           "zebra\xe2\x80\x9c"
           "a bell\xe2\x80\x9d",
           "'zebra' & ('a' <1> 'bell')");
    expect(text_query_all, "bells* zebra", "'bells':* & 'zebra'");
    expect(text_query_all, "zebra -bells -\"two words\"",
           "'zebra' & !'bell' & !('two' <1> 'word')");
    expect(text_query_all, "snake_case", "('snake' <1> 'case')");
    expect(text_query_all, "snake_cases*", "('snake' <1> 'case':*)");
    expect(text_query_all, "\"not closed", "('not' <1> 'closed')");
    expect(text_query_all, "--option - zebra", "'option' & 'zebra'");
    expect(text_query_all, "zebra ZEBRAS zebra", "'zebra'");
}

Test(text_query, what_has_no_word_counts_for_nothing)
{
    static const char *const nothing[] = {"",    " ",      "\"",    "\"\"",        "-",
                                          "*",   "- *",    "!",     "'",           "\\",
                                          "-\"", "-zebra", "\"-\"", "\xe2\x80\x9c"};
    for (size_t i = 0; i < sizeof(nothing) / sizeof(*nothing); i++) {
        expect(text_query_all, nothing[i], NULL);
        expect(text_query_any, nothing[i], NULL);
    }
    expect(text_query_all, "zebra & | ! ( :* <->", "'zebra'");
}

Test(text_query, common_words_are_asked_for_only_where_there_is_nothing_else)
{
    expect(text_query_all, "where is the zebra", "'zebra'");
    expect(text_query_all, "to be or not", "'to' & 'be' & 'or' & 'not'");
    expect(text_query_all, "\"the zebra\"", "('the' <1> 'zebra')");
    expect(text_query_any, "the zebra and okapi", "('zebra' | 'okapi')");
}

Test(text_query, any_and_strict)
{
    expect(text_query_any, "zebra \"some words\"", "('some' <1> 'word')");
    expect(text_query_any, "zebra okapi -tapir", "('zebra' | 'okapi') & !'tapir'");
    expect(text_query_strict, "zebra okapi", NULL);
    expect(text_query_strict, "zebra \"some words\" -tapir", "('some' <1> 'word') & !'tapir'");
    expect(text_query_strict, "-tapir", "!'tapir'");
}

Test(text_query, quotes_what_tsquery_would_take_for_something_else)
{
    struct text_query query;
    struct error err = {0};
    struct buffer out = {0};
    cr_assert_eq(text_query_parse("x", &query, &err), 0);
    struct vault_words list = words_of("x");
    free(list.words[0].stem);
    list.words[0].stem = strdup("it's \\ :* 'x");
    text_query_take(&query, &list);
    cr_assert(text_query_all(&query, &out));
    cr_expect_str_eq(out.data, "'it''s \\\\ :* ''x'");
    buffer_free(&out);
    text_query_free(&query);
}

Test(text_query, the_terms_that_tell_most_rank)
{
    struct text_query query;
    const struct text_term *parts[TEXT_PARTS];
    char text[4000] = "file ";
    for (int i = 0; i < 40; i++) snprintf(text + strlen(text), 20, "zebra%d ", i);
    strcat(text, "\"zebra okapi\"");
    read_query(text, &query);
    cr_assert_eq(text_query_parts(&query, parts), TEXT_PARTS);
    cr_expect(parts[0]->phrase, "two rare words tell more than one");
    for (size_t i = 1; i < TEXT_PARTS; i++) {
        cr_expect_leq(parts[i]->weight, parts[i - 1]->weight);
        cr_expect_str_neq(parts[i]->text, "file");
    }
    text_query_free(&query);
}

Test(text_query, what_is_embedded_has_no_marks)
{
    struct text_query query;
    struct error err = {0};
    cr_assert_eq(text_query_parse("\"some words\" pre* -not plain", &query, &err), 0);
    cr_expect(query.marked);
    char *plain = text_query_plain(&query);
    cr_expect_str_eq(plain, "some words pre plain");
    free(plain);
    text_query_free(&query);
    cr_assert_eq(text_query_parse("only plain words - here", &query, &err), 0);
    cr_expect_not(query.marked);
    text_query_free(&query);
}

Test(text_query, very_many_words_and_very_long_ones)
{
    struct text_query query;
    struct buffer text = {0};
    for (int i = 0; i < 5000; i++) buffer_format(&text, "w%d ", i);
    read_query(text.data, &query);
    cr_expect_eq(query.count, TEXT_TERMS);
    text_query_free(&query);
    buffer_clear(&text);
    for (int i = 0; i < 3000; i++) buffer_text(&text, "x");
    read_query(text.data, &query);
    cr_expect_eq(query.count, 0, "PostgreSQL has no such word");
    text_query_free(&query);
    buffer_clear(&text);
    buffer_text(&text, "\"");
    for (int i = 0; i < 3000; i++) buffer_format(&text, "w%d ", i);
    read_query(text.data, &query);
    cr_assert_eq(query.count, 1);
    cr_expect_eq(query.terms[0].words.count, 64);
    text_query_free(&query);
    buffer_free(&text);
}

/* The text with what is found in brackets. */
static void expect_found(const char *typed, const char *text, const char *wanted)
{
    struct text_query query;
    struct vault_wanted words = {0};
    struct vault_words list = words_of(text), some = {0};
    struct text_range *ranges;
    struct buffer out = {0};
    struct error err = {0};
    size_t count, at = 0;
    read_query(typed, &query);
    cr_assert_eq(text_query_wanted(&query, &words, &err), 0);
    /* As vault_list_words picks them. */
    some.words = calloc(list.count + 1, sizeof(*some.words));
    for (size_t i = 0; i < list.count; i++) {
        bool pick = false;
        for (size_t j = 0; j < words.stem_count; j++)
            pick = pick || strcmp(words.stems[j], list.words[i].stem) == 0;
        for (size_t j = 0; j < words.prefix_count; j++)
            pick = pick ||
                   strncmp(words.prefixes[j], list.words[i].word, strlen(words.prefixes[j])) == 0;
        if (pick) some.words[some.count++] = list.words[i];
    }
    cr_assert_eq(text_query_find(&query, &some, &ranges, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        cr_assert(ranges[i].start >= at && ranges[i].end > ranges[i].start);
        buffer_append(&out, text + at, ranges[i].start - at);
        buffer_text(&out, "[");
        buffer_append(&out, text + ranges[i].start, ranges[i].end - ranges[i].start);
        buffer_text(&out, "]");
        at = ranges[i].end;
    }
    buffer_text(&out, text + at);
    cr_expect_str_eq(out.data, wanted, "%s: %s, not %s", typed, out.data, wanted);
    buffer_free(&out);
    free(ranges);
    free(some.words);
    vault_words_free(&list);
    free((void *)words.stems);
    free((void *)words.prefixes);
    text_query_free(&query);
}

Test(text_query, finds_what_is_to_be_highlighted)
{
    static const char text[] = "The bells ring; a bell, the ringing of bells. Bell-ring!";
    expect_found("bell", text, "The [bells] ring; a [bell], the ringing of [bells]. [Bell]-ring!");
    expect_found("\"bells ring\"", text,
                 "The [bells ring]; a bell, the ringing of bells. [Bell-ring]!");
    expect_found("ring*", text, "The bells [ring]; a bell, the [ringing] of bells. Bell-[ring]!");
    expect_found("\"the bell\" ring", text,
                 "[The bells] [ring]; a bell, the ringing of bells. Bell-[ring]!");
    expect_found("bell_ring*", text,
                 "The [bells ring]; a bell, the ringing of bells. [Bell-ring]!");
    expect_found("the ring -bell", text,
                 "The bells [ring]; a bell, the ringing of bells. Bell-[ring]!");
    expect_found("\"bell bell\" \"ring a\"", text,
                 "The bells [ring; a] bell, the ringing of [bells. Bell]-ring!");
    expect_found("zebra", text, text);
    expect_found("bell", "", "");
}
