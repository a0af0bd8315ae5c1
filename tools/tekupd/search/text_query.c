#include "tools/tekupd/search/text_query.h"

#include "ingest/embedding/words.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* The length of the quotation mark that the text begins with, 0 where it begins with none.
 * Keyboards of phones make typographic ones. */
static size_t quote_length(const char *text)
{
    static const char *const quotes[] = {"\"", "\xe2\x80\x9c", "\xe2\x80\x9d", "\xe2\x80\x9e"};
    for (size_t i = 0; i < sizeof(quotes) / sizeof(*quotes); i++) {
        const size_t length = strlen(quotes[i]);
        if (strncmp(text, quotes[i], length) == 0) return length;
    }
    return 0;
}

static int add_term(struct text_query *query, const char *text, size_t length,
                    struct text_term term, struct error *err)
{
    if (length == 0 || query->count == TEXT_TERMS) return 0;
    term.text = strndup(text, length);
    if (term.text == NULL) return no_memory(err);
    query->terms[query->count++] = term;
    query->marked = query->marked || term.phrase || term.prefix || term.without;
    return 0;
}

/* Reads the term that the text begins with, and moves behind it. */
static int read_term(struct text_query *query, const char **text, struct error *err)
{
    struct text_term term = {0};
    const char *at = *text;
    /* "--option" is a word, and a dash that stands alone is nothing. */
    if (at[0] == '-' && at[1] != '-' && at[1] != '\0' && !is_space(at[1])) {
        term.without = true;
        at++;
    }
    size_t quote = quote_length(at), length = 0;
    if (quote > 0) {
        term.phrase = true;
        at += quote;
        while (at[length] != '\0' && quote_length(at + length) == 0) length++;
        *text = at + length + (at[length] != '\0' ? quote_length(at + length) : 0);
        return add_term(query, at, length, term, err);
    }
    while (at[length] != '\0' && !is_space(at[length]) && quote_length(at + length) == 0) length++;
    *text = at + length;
    if (length > 1 && at[length - 1] == '*') {
        term.prefix = true;
        while (length > 0 && at[length - 1] == '*') length--;
    }
    return add_term(query, at, length, term, err);
}

int text_query_parse(const char *text, struct text_query *query, struct error *err)
{
    *query = (struct text_query){.terms = calloc(TEXT_TERMS, sizeof(*query->terms))};
    if (query->terms == NULL) return no_memory(err);
    for (;;) {
        while (is_space(*text)) text++;
        if (*text == '\0' || query->count == TEXT_TERMS) return 0;
        if (read_term(query, &text, err) != 0) return -1;
    }
}

static void free_term(struct text_term *term)
{
    free(term->text);
    vault_words_free(&term->words);
}

void text_query_free(struct text_query *query)
{
    for (size_t i = 0; i < query->count; i++) free_term(&query->terms[i]);
    free(query->terms);
    *query = (struct text_query){0};
}

char *text_query_plain(const struct text_query *query)
{
    struct buffer plain = {0};
    for (size_t i = 0; i < query->count; i++) {
        if (query->terms[i].without) continue;
        if (plain.length > 0) buffer_text(&plain, " ");
        buffer_text(&plain, query->terms[i].text);
    }
    return buffer_take(&plain);
}

/* ---- Looking up ------------------------------------------------------------------------------ */

/* What a word tells, for want of a count of how many passages have it. */
static float weight_of(const char *text, bool *common)
{
    static const float weights[] = {
        [WORD_FUNCTION] = 0.05f, [WORD_FREQUENT] = 0.3f, [WORD_FAMILIAR] = 0.6f, [WORD_RARE] = 1};
    const float most = 2;
    struct word_reader reader = {.text = text, .length = strlen(text)};
    struct word word;
    float weight = 0;
    *common = false;
    while (word_next(&reader, &word)) {
        const enum word_rarity rarity = word_rarity(&word);
        *common = weight == 0 && rarity == WORD_FUNCTION;
        weight += weights[rarity];
    }
    return weight == 0 || weight > most ? most / 2 : weight;
}

static bool same_words(const struct text_term *one, const struct text_term *other)
{
    if (one->words.count != other->words.count || one->without != other->without ||
        one->prefix != other->prefix)
        return false;
    for (size_t i = 0; i < one->words.count; i++) {
        const struct vault_word *left = &one->words.words[i], *right = &other->words.words[i];
        if (strcmp(left->stem, right->stem) != 0) return false;
        if (one->prefix && strcmp(left->word, right->word) != 0) return false;
    }
    return true;
}

/* PostgreSQL has no longer words; a phrase that is longer counts by its beginning. */
static void cut_words(struct vault_words *words)
{
    enum { LONGEST = 2046, MOST = 64 };
    bool fits = true;
    for (size_t i = 0; i < words->count && fits; i++)
        fits = strlen(words->words[i].word) <= LONGEST && strlen(words->words[i].stem) <= LONGEST;
    if (!fits) vault_words_free(words);
    while (words->count > MOST) {
        struct vault_word *last = &words->words[--words->count];
        free(last->word);
        free(last->stem);
    }
}

void text_query_take(struct text_query *query, struct vault_words *lists)
{
    size_t kept = 0;
    for (size_t i = 0; i < query->count; i++) {
        struct text_term term = query->terms[i];
        cut_words(&lists[i]);
        bool keep = lists[i].count > 0;
        term.words = lists[i];
        for (size_t j = 0; j < kept && keep; j++) keep = !same_words(&query->terms[j], &term);
        if (!keep) {
            free_term(&term);
            continue;
        }
        term.weight = weight_of(term.text, &term.common);
        term.common = term.common && term.words.count == 1 && !term.phrase && !term.prefix;
        query->terms[kept++] = term;
    }
    query->count = kept;
    query->looked_up = true;
}

int text_query_look_up(struct text_query *query, struct pool *pool, struct error *err)
{
    if (query->looked_up) return 0;
    const char **texts = calloc(query->count + 1, sizeof(*texts));
    struct vault_words *lists = calloc(query->count + 1, sizeof(*lists));
    int rc = texts != NULL && lists != NULL ? 0 : no_memory(err);
    for (size_t i = 0; i < query->count && rc == 0; i++) texts[i] = query->terms[i].text;
    if (rc == 0 && query->count > 0)
        rc = vault_list_words(pool, texts, query->count, NULL, lists, err);
    if (rc == 0) text_query_take(query, lists);
    free(texts);
    free(lists);
    return rc;
}

/* ---- As tsquery ------------------------------------------------------------------------------ */

static void put_lexeme(struct buffer *out, const char *lexeme)
{
    buffer_text(out, "'");
    for (const char *at = lexeme; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') buffer_append(out, at, 1);
        buffer_append(out, at, 1);
    }
    buffer_text(out, "'");
}

/* Words as they are have no positions (words_of in 0016_words.sql), so that the last word of a
 * phrase begins as its stem does. */
void text_query_part(const struct text_term *term, struct buffer *out)
{
    const struct vault_words *words = &term->words;
    if (words->count > 1) buffer_text(out, "(");
    for (size_t i = 0; i < words->count; i++) {
        const struct vault_word *word = &words->words[i];
        const bool begins = term->prefix && i + 1 == words->count;
        if (i > 0) buffer_format(out, " <%zu> ", word->place - words->words[i - 1].place);
        put_lexeme(out, begins && i == 0 ? word->word : word->stem);
        if (begins) buffer_text(out, ":*");
    }
    if (words->count > 1) buffer_text(out, ")");
}

static void put_next(struct buffer *out, const char *operation, const struct text_term *term)
{
    if (out->length > 0) buffer_text(out, operation);
    if (term->without) buffer_text(out, "!");
    text_query_part(term, out);
}

static bool all_common(const struct text_query *query)
{
    for (size_t i = 0; i < query->count; i++)
        if (!query->terms[i].common && !query->terms[i].without) return false;
    return true;
}

static void put_unwanted(const struct text_query *query, struct buffer *out)
{
    for (size_t i = 0; i < query->count; i++)
        if (query->terms[i].without) put_next(out, " & ", &query->terms[i]);
}

/* What is only not wanted finds nothing: it would find nearly everything. */
bool text_query_all(const struct text_query *query, struct buffer *out)
{
    const bool common = all_common(query);
    for (size_t i = 0; i < query->count; i++) {
        const struct text_term *term = &query->terms[i];
        if (!term->without && (common || !term->common)) put_next(out, " & ", term);
    }
    if (out->length == 0) return false;
    put_unwanted(query, out);
    return true;
}

bool text_query_any(const struct text_query *query, struct buffer *out)
{
    const struct text_term *parts[TEXT_PARTS];
    for (size_t i = 0; i < query->count; i++)
        if (query->terms[i].phrase && !query->terms[i].without)
            put_next(out, " & ", &query->terms[i]);
    if (out->length == 0) {
        const size_t count = text_query_parts(query, parts);
        if (count == 0) return false;
        buffer_text(out, "(");
        for (size_t i = 0; i < count; i++) {
            if (i > 0) buffer_text(out, " | ");
            text_query_part(parts[i], out);
        }
        buffer_text(out, ")");
    }
    put_unwanted(query, out);
    return true;
}

bool text_query_strict(const struct text_query *query, struct buffer *out)
{
    for (size_t i = 0; i < query->count; i++)
        if (query->terms[i].phrase && !query->terms[i].without)
            put_next(out, " & ", &query->terms[i]);
    put_unwanted(query, out);
    return out->length > 0;
}

size_t text_query_parts(const struct text_query *query, const struct text_term **parts)
{
    const bool common = all_common(query);
    size_t count = 0;
    for (size_t i = 0; i < query->count; i++) {
        const struct text_term *term = &query->terms[i];
        if (term->without || (term->common && !common)) continue;
        size_t at = count < TEXT_PARTS ? count++ : TEXT_PARTS;
        if (at == TEXT_PARTS) {
            if (parts[TEXT_PARTS - 1]->weight >= term->weight) continue;
            at--;
        }
        while (at > 0 && parts[at - 1]->weight < term->weight) {
            parts[at] = parts[at - 1];
            at--;
        }
        parts[at] = term;
    }
    return count;
}

/* ---- Highlighting ---------------------------------------------------------------------------- */

static bool is_shown(const struct text_term *term, bool common)
{
    return !term->without && (common || !term->common);
}

int text_query_wanted(const struct text_query *query, struct vault_wanted *wanted,
                      struct error *err)
{
    const bool common = all_common(query);
    size_t most = 1;
    for (size_t i = 0; i < query->count; i++) most += query->terms[i].words.count;
    const char **stems = calloc(most, sizeof(*stems)), **prefixes = calloc(most, sizeof(*stems));
    *wanted = (struct vault_wanted){.stems = stems, .prefixes = prefixes};
    if (stems == NULL || prefixes == NULL) {
        free(stems);
        free(prefixes);
        *wanted = (struct vault_wanted){0};
        return no_memory(err);
    }
    for (size_t i = 0; i < query->count; i++) {
        const struct text_term *term = &query->terms[i];
        if (!is_shown(term, common)) continue;
        for (size_t j = 0; j < term->words.count; j++) {
            if (term->prefix && j + 1 == term->words.count)
                prefixes[wanted->prefix_count++] = term->words.words[j].word;
            else
                stems[wanted->stem_count++] = term->words.words[j].stem;
        }
    }
    return 0;
}

/* Whether the words from here on are the term. */
static bool is_here(const struct text_term *term, const struct vault_words *words, size_t at)
{
    const struct vault_words *wanted = &term->words;
    if (wanted->count > words->count - at) return false;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct vault_word *word = &words->words[at + i], *want = &wanted->words[i];
        if (word->place - words->words[at].place != want->place - wanted->words[0].place)
            return false;
        if (term->prefix && i + 1 == wanted->count) {
            if (strncmp(word->word, want->word, strlen(want->word)) != 0) return false;
        } else if (strcmp(word->stem, want->stem) != 0) {
            return false;
        }
    }
    return true;
}

/* The ranges begin in their order; one that touches the last one makes it longer. */
static void add_range(struct text_range *ranges, size_t *count, size_t start, size_t end)
{
    struct text_range *last = *count > 0 ? &ranges[*count - 1] : NULL;
    if (last != NULL && start <= last->end) {
        if (end > last->end) last->end = end;
    } else {
        ranges[(*count)++] = (struct text_range){start, end};
    }
}

int text_query_find(const struct text_query *query, const struct vault_words *words,
                    struct text_range **ranges, size_t *count, struct error *err)
{
    const bool common = all_common(query);
    *count = 0;
    *ranges = calloc(words->count + 1, sizeof(**ranges));
    if (*ranges == NULL) return no_memory(err);
    for (size_t at = 0; at < words->count; at++) {
        size_t longest = 0;
        for (size_t i = 0; i < query->count; i++) {
            const struct text_term *term = &query->terms[i];
            if (term->words.count > longest && is_shown(term, common) && is_here(term, words, at))
                longest = term->words.count;
        }
        if (longest == 0) continue;
        const struct vault_word *last = &words->words[at + longest - 1];
        add_range(*ranges, count, words->words[at].start, last->start + last->length);
    }
    return 0;
}
