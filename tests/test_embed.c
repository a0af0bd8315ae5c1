#include "ingest/embedding/embed.h"
#include "ingest/embedding/letters.h"
#include "ingest/embedding/words.h"
#include "storage/base/utf8.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct embedder *create(void)
{
    struct error err = {0};
    struct embedder *embedder = embedder_create("hash", &err);
    cr_assert(embedder != NULL, "%s", err.message);
    return embedder;
}

static void embed(const char *text, float *out)
{
    struct embedder *embedder = create();
    struct error err = {0};
    const struct embed_text one = {text, strlen(text)};
    cr_assert_eq(embed_texts(embedder, &one, 1, out, &err), 0, "%s", err.message);
    embedder_free(embedder);
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < EMBEDDING_DIM; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static double similarity(const char *a, const char *b)
{
    float first[EMBEDDING_DIM];
    float second[EMBEDDING_DIM];
    embed(a, first);
    embed(b, second);
    return dot(first, second);
}

Test(embed, an_unknown_provider_is_refused_by_name)
{
    static const char *const names[] = {"", "Hash", "openai2", "hash "};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct error err = {0};
        cr_expect(embedder_create(names[i], &err) == NULL);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.field, "embedding.provider");
        cr_expect(strstr(err.message, names[i]) != NULL);
    }
    embedder_free(NULL);
}

Test(embed, names_its_model)
{
    struct embedder *embedder = create();
    cr_expect_str_eq(embedder_model(embedder), "hash-1536-v1");
    embedder_free(embedder);
}

Test(embed, every_text_has_a_vector_of_length_one)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "a",
                                        "the",
                                        "!!! --- ???",
                                        "\xf0\x9f\x98\x80",
                                        "\xc3\x86\xc3\x98\xc3\x85",
                                        "\xff\xfe\x80",
                                        "'",
                                        "'s",
                                        "x'",
                                        "don't",
                                        "12345",
                                        "\xe6\xbc\xa2\xe5\xad\x97",
                                        "one two three two one"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        float vector[EMBEDDING_DIM];
        embed(texts[i], vector);
        cr_expect_float_eq(dot(vector, vector), 1.0, 1e-6, "text %zu", i);
        for (int j = 0; j < EMBEDDING_DIM; j++) cr_assert(isfinite(vector[j]));
    }
    cr_expect_lt(similarity("!!!", "???"), 0.9);
}

/* The bits themselves, as any machine must give them. */
Test(embed, gives_the_same_bits_on_every_machine)
{
    static const struct {
        const char *text;
        uint64_t checksum;
    } known[] = {
        {"", 0x276aab533679bfae},
        {"How do I report a bug in bash?", 0xdf785fc8b9643a02},
        {"Bl\xc3\xa5"
         "b\xc3\xa6rgr\xc3\xb8"
         "d med fl\xc3\xb8"
         "de, og \xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82 \xe6\xbc\xa2\xe5\xad\x97",
         0x97c3fc9c3defabbc},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        float vector[EMBEDDING_DIM];
        uint64_t checksum = 0xcbf29ce484222325U;
        embed(known[i].text, vector);
        for (int j = 0; j < EMBEDDING_DIM; j++) {
            uint32_t bits;
            memcpy(&bits, &vector[j], sizeof(bits));
            for (int k = 0; k < 32; k += 8)
                checksum = (checksum ^ (bits >> k & 0xff)) * 0x100000001b3U;
        }
        cr_expect_eq(checksum, known[i].checksum, "text %zu: 0x%016llx", i,
                     (unsigned long long)checksum);
    }
}

Test(embed, letter_case_is_of_no_account_in_any_script)
{
    static const char *const pairs[][2] = {
        {"HELLO World", "hello world"},
        {"BL\xc3\x85"
         "B\xc3\x86R \xc3\x98L",
         "bl\xc3\xa5"
         "b\xc3\xa6r \xc3\xb8l"},
        {"\xce\xa3\xce\x8a\xce\xa3\xce\xa5\xce\xa6\xce\x9f\xce\xa3",
         "\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82"},
        {"\xd0\x9c\xd0\x9e\xd0\xa1\xd0\x9a\xd0\x92\xd0\x90",
         "\xd0\xbc\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0"},
        {"\xc5\x81\xc3\x93"
         "D\xc5\xb9",
         "\xc5\x82\xc3\xb3"
         "d\xc5\xba"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        cr_expect_float_eq(similarity(pairs[i][0], pairs[i][1]), 1.0, 1e-6, "pair %zu", i);
}

Test(embed, texts_that_share_words_are_nearer_than_those_that_do_not)
{
    const char *query = "how do I report a bug in bash";
    const double right = similarity(
        query, "REPORTING BUGS: if you find a bug in bash you should report it. Use the bashbug "
               "command to submit bug reports.");
    const double other = similarity(
        query, "This package was put together by the maintainers, from sources obtained from the "
               "upstream site. It contains fonts for the X window system.");
    const double function = similarity(query, "How do I do it? In a what, and how in a where?");
    cr_expect_gt(right, 0.25);
    cr_expect_lt(other, 0.1);
    cr_expect_lt(function, right);
}

Test(embed, forms_of_a_word_are_near_each_other)
{
    cr_expect_gt(similarity("bug", "bugs"), 0.1);
    cr_expect_gt(similarity("configuration", "configurations"), 0.25);
    cr_expect_gt(similarity("fakturering", "faktureringen"), 0.25);
    cr_expect_lt(fabs(similarity("bug", "fox")), 0.08);
    cr_expect_lt(fabs(similarity("configuration", "leaves")), 0.08);
}

Test(embed, the_order_of_words_counts_a_little)
{
    const double same = similarity("cat bites mouse", "cat bites mouse");
    const double other = similarity("cat bites mouse", "mouse bites cat");
    cr_expect_gt(same, other);
    cr_expect_gt(other, 0.85);
}

Test(embed, rare_words_count_for_more_than_common_ones)
{
    const char *text = "the file was written by cachegrind";
    cr_expect_gt(similarity(text, "cachegrind"), similarity(text, "file"));
    cr_expect_gt(similarity(text, "file"), similarity(text, "the"));
}

Test(embed, a_repeated_word_counts_for_more_but_not_in_proportion)
{
    char text[2000] = "zebra ";
    for (int i = 0; i < 200; i++) strcat(text, "lion ");
    const double lion = similarity(text, "lion");
    const double zebra = similarity(text, "zebra");
    cr_expect_gt(lion, zebra);
    cr_expect_gt(zebra, 0.1);
}

Test(embed, a_batch_gives_what_each_text_gives_alone)
{
    static const char *const texts[] = {"first text", "", "second text about something else",
                                        "first text"};
    float *batch = malloc(4 * EMBEDDING_DIM * sizeof(*batch));
    struct embed_text inputs[4];
    struct error err = {0};
    struct embedder *embedder = create();
    cr_assert(batch != NULL);
    for (int i = 0; i < 4; i++) inputs[i] = (struct embed_text){texts[i], strlen(texts[i])};
    cr_assert_eq(embed_texts(embedder, inputs, 4, batch, &err), 0);
    cr_assert_eq(embed_texts(embedder, inputs, 0, batch, &err), 0);
    for (int i = 0; i < 4; i++) {
        float alone[EMBEDDING_DIM];
        embed(texts[i], alone);
        cr_expect_arr_eq(alone, batch + i * EMBEDDING_DIM, sizeof(alone), "text %d", i);
    }
    embedder_free(embedder);
    free(batch);
}

Test(embed, a_large_text_of_many_words_is_embedded)
{
    const size_t length = 8 << 20;
    char *text = malloc(length + 32);
    float vector[EMBEDDING_DIM];
    size_t used = 0;
    cr_assert(text != NULL);
    for (unsigned i = 0; used < length; i++)
        used += (size_t)sprintf(text + used, "w%x ", i * 2654435761U);
    embed(text, vector);
    cr_expect_float_eq(dot(vector, vector), 1.0, 1e-6);
    memset(text, 'a', length);
    text[length] = '\0';
    embed(text, vector);
    cr_expect_float_eq(dot(vector, vector), 1.0, 1e-6);
    free(text);
}

static void *embed_in_thread(void *arg)
{
    static const struct embed_text text = {"shared by all threads", 21};
    float *out = malloc(EMBEDDING_DIM * sizeof(*out));
    for (int i = 0; i < 50; i++) embed_texts(arg, &text, 1, out, NULL);
    return out;
}

Test(embed, may_be_called_from_any_thread)
{
    struct embedder *embedder = create();
    pthread_t threads[4];
    float expected[EMBEDDING_DIM];
    embed("shared by all threads", expected);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, embed_in_thread, embedder), 0);
    for (int i = 0; i < 4; i++) {
        void *out;
        cr_assert_eq(pthread_join(threads[i], &out), 0);
        cr_expect_arr_eq((float *)out, expected, sizeof(expected));
        free(out);
    }
    embedder_free(embedder);
}

/* ---- Words ---- */

static void expect_words(const char *text, const char *expected)
{
    struct word_reader reader = {.text = text, .length = strlen(text)};
    struct word word;
    char found[4096] = "";
    while (word_next(&reader, &word)) {
        strncat(found, word.text, word.length);
        strcat(found, "|");
    }
    cr_expect_str_eq(found, expected);
}

Test(words, are_runs_of_letters_and_digits_in_lower_case)
{
    expect_words("", "");
    expect_words("Hello, World!", "hello|world|");
    expect_words("pg_dump --schema-only", "pg|dump|schema|only|");
    expect_words("C++17 and \xc2\xabutf-8\xc2\xbb", "c|17|and|utf|8|");
    expect_words("don't, Bob's 'quoted' rock\xe2\x80\x99n", "don't|bob|quoted|rock'n|");
    expect_words("\xe6\xbc\xa2\xe5\xad\x97 kana\xe3\x81\x8b", "\xe6\xbc\xa2|\xe5\xad\x97|kana|"
                                                              "\xe3\x81\x8b|");
    expect_words("a\xff"
                 "b",
                 "a|b|");
    expect_words("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee",
                 "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd|eeeee|");
    expect_words("one\xe2\x80\x94two\xc2\xa0three", "one|two|three|");
}

static enum word_rarity rarity(const char *text)
{
    struct word_reader reader = {.text = text, .length = strlen(text)};
    struct word word;
    cr_assert(word_next(&reader, &word));
    return word_rarity(&word);
}

Test(words, common_ones_are_known)
{
    static const char *const function[] = {"a",  "the",     "don't",         "you've", "yourself",
                                           "og", "hvordan", "\xc3\xb8vrigt", "about"};
    for (size_t i = 0; i < sizeof(function) / sizeof(*function); i++)
        cr_expect_eq(rarity(function[i]), WORD_FUNCTION, "%s", function[i]);
    cr_expect_eq(rarity("file"), WORD_FREQUENT);
    cr_expect_eq(rarity("buffer"), WORD_FAMILIAR);
    cr_expect_eq(rarity("cachegrind"), WORD_RARE);
    cr_expect_eq(rarity("th"), WORD_RARE);
    cr_expect_eq(rarity("fil"), WORD_RARE);
    cr_expect_eq(rarity("files"), WORD_FREQUENT);
}

Test(letters, are_encoded_as_they_were_decoded)
{
    for (uint32_t point = 0; point < 0x110000; point++) {
        if (point >= 0xd800 && point < 0xe000) continue;
        char bytes[4];
        size_t step;
        const size_t length = utf8_encode(point, bytes);
        cr_assert_eq(letter_decode(bytes, length, &step), point);
        cr_assert_eq(step, length);
        const uint32_t lower = letter_lower(point);
        cr_assert_eq(letter_lower(lower), lower, "U+%04X", point);
        if (lower != point) cr_assert(letter_is(point) && letter_is(lower), "U+%04X", point);
    }
}

Test(letters, lower_case_is_right_for_the_scripts_of_europe)
{
    static const struct {
        uint32_t upper, lower;
    } pairs[] = {
        {'A', 'a'},     {'Z', 'z'},       {0xc6, 0xe6},     {0xd8, 0xf8},     {0xc5, 0xe5},
        {0xd7, 0xd7},   {0xdf, 0xdf},     {0x178, 0xff},    {0x141, 0x142},   {0x17d, 0x17e},
        {0x150, 0x151}, {0x130, 0x130},   {0x391, 0x3b1},   {0x3a9, 0x3c9},   {0x386, 0x3ac},
        {0x389, 0x3ae}, {0x38c, 0x3cc},   {0x38f, 0x3ce},   {0x3c2, 0x3c3},   {0x410, 0x430},
        {0x42f, 0x44f}, {0x401, 0x451},   {0x40f, 0x45f},   {0x490, 0x491},   {0x531, 0x561},
        {0x1e9e, 0xdf}, {0x1ea0, 0x1ea1}, {0xff21, 0xff41}, {0x4e00, 0x4e00}, {'_', '_'},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        cr_expect_eq(letter_lower(pairs[i].upper), pairs[i].lower, "U+%04X", pairs[i].upper);
}
