/*
 * embed_hash.c: embeddings by signed feature hashing (Weinberger et al., arXiv 0902.2206).
 *
 * The features of a text are its words, the runs of 3 to 5 letters within them (so that "bugs" is
 * near "bug"), and pairs of neighbouring words with function words left out. A feature is added,
 * with a sign, at one place in each of three blocks of 512 dimensions: two features that meet in
 * one block stay apart in the others.
 *
 * What a word counts for: there is no corpus to take document frequencies from, so lists of common
 * words and the length of the word stand for them. A word that is repeated counts for
 * 1 + ln(times) / 2. Its letter runs share LETTERS_SHARE of its weight, a pair gets PAIR_SHARE of
 * the lesser of its two. These figures were chosen by what they find in /usr/share/doc: random
 * words of a passage, and questions as people ask them.
 *
 * All sums are of integers, in any order the same, and the square root and the division at the end
 * are exact by IEEE 754: every machine gets the same bits.
 */
#include "ingest/embedding/embed_provider.h"

#include "ingest/embedding/words.h"
#include "storage/base/fnv.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 3, BLOCK_SIZE = EMBEDDING_DIM / BLOCKS, BLOCK_BITS = 9 };
_Static_assert(BLOCKS *(1 << BLOCK_BITS) == EMBEDDING_DIM, "the blocks make up the vector");

/* Weights, of 100. */
enum {
    FUNCTION_WEIGHT = 10,
    FREQUENT_WEIGHT = 50,
    FAMILIAR_WEIGHT = 70,
    IDEOGRAPH_WEIGHT = 60,
    SHORT_NUMBER_WEIGHT = 50,
    LONG_NUMBER_WEIGHT = 65,
    RARE_WEIGHT = 70, /* and LETTER_WEIGHT more for each letter */
    LETTER_WEIGHT = 3,
    MOST_WEIGHT = 100,
    LETTERS_SHARE = 80,
    PAIR_SHARE = 20
};

enum { SHORTEST_RUN = 3, LONGEST_RUN = 5, LONG_NUMBER = 4 };

/* Keeps features of different kinds apart. */
enum { SEED_WORD = 'w', SEED_RUN = 'r', SEED_PAIR = 'p', SEED_TEXT = 't' };

struct feature {
    uint64_t hash; /* 0: the slot is free */
    uint32_t times;
    uint8_t weight;
    bool is_pair, is_function;
    uint8_t length; /* of the word, at `word` in tally.words; 0 where it gives no letter runs */
    size_t word;
};

/* The features of one text, in an open hash table. */
struct tally {
    struct feature *slots;
    size_t size; /* a power of two */
    size_t used;
    char *words;
    size_t words_length, words_room;
    bool failed; /* memory ran out */
};

/* ---- Hashing ---- */

static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9U;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebU;
    return hash ^ hash >> 31;
}

/* Its bits are mixed at the end (as in SplitMix64). Never 0. */
static uint64_t hash_bytes(const char *bytes, size_t length, uint64_t seed)
{
    const uint64_t hash = mix(fnv_add(FNV_BASIS ^ seed, bytes, length));
    return hash != 0 ? hash : 1;
}

static uint64_t hash_pair(uint64_t first, uint64_t second)
{
    const uint64_t hash = mix(first * 0x9e3779b97f4a7c15U + second + SEED_PAIR);
    return hash != 0 ? hash : 1;
}

static void add(int64_t *sums, uint64_t hash, int64_t value)
{
    for (size_t block = 0; block < BLOCKS; block++) {
        const size_t at = block * BLOCK_SIZE + (hash & (BLOCK_SIZE - 1));
        hash >>= BLOCK_BITS;
        sums[at] += (hash & 1) != 0 ? value : -value;
        hash >>= 1;
    }
}

/* ---- Counting ---- */

static struct feature *find_slot(struct feature *slots, size_t size, uint64_t hash)
{
    size_t at = hash & (size - 1);
    while (slots[at].hash != 0 && slots[at].hash != hash) at = (at + 1) & (size - 1);
    return &slots[at];
}

static void grow(struct tally *tally)
{
    const size_t size = tally->size == 0 ? 1024 : tally->size * 2;
    struct feature *slots = calloc(size, sizeof(*slots));
    if (slots == NULL) {
        tally->failed = true;
        return;
    }
    for (size_t i = 0; i < tally->size; i++)
        if (tally->slots[i].hash != 0)
            *find_slot(slots, size, tally->slots[i].hash) = tally->slots[i];
    free(tally->slots);
    tally->slots = slots;
    tally->size = size;
}

/* Counts a feature once more; its `times` is 1 where it is new. NULL when memory ran out. */
static struct feature *count(struct tally *tally, uint64_t hash)
{
    if (tally->used * 2 >= tally->size) grow(tally);
    if (tally->failed) return NULL;
    struct feature *feature = find_slot(tally->slots, tally->size, hash);
    if (feature->hash == 0) tally->used++;
    feature->hash = hash;
    if (feature->times < UINT32_MAX) feature->times++;
    return feature;
}

static void keep_word(struct tally *tally, struct feature *feature, const struct word *word)
{
    if (tally->words_length + word->length > tally->words_room) {
        const size_t room = tally->words_room * 2 + 16 * WORD_BYTES;
        char *words = realloc(tally->words, room);
        if (words == NULL) {
            tally->failed = true;
            return;
        }
        tally->words = words;
        tally->words_room = room;
    }
    feature->word = tally->words_length;
    feature->length = (uint8_t)word->length;
    memcpy(tally->words + tally->words_length, word->text, word->length);
    tally->words_length += word->length;
}

static int weigh(const struct word *word, enum word_rarity rarity)
{
    if (word->ideograph) return IDEOGRAPH_WEIGHT;
    if (word->digits == word->letters)
        return word->letters >= LONG_NUMBER ? LONG_NUMBER_WEIGHT : SHORT_NUMBER_WEIGHT;
    switch (rarity) {
    case WORD_FUNCTION:
        return FUNCTION_WEIGHT;
    case WORD_FREQUENT:
        return FREQUENT_WEIGHT;
    case WORD_FAMILIAR:
        return FAMILIAR_WEIGHT;
    case WORD_RARE:
        break;
    }
    const int weight = RARE_WEIGHT + LETTER_WEIGHT * (int)word->letters;
    return weight < MOST_WEIGHT ? weight : MOST_WEIGHT;
}

static void count_words(struct tally *tally, const struct embed_text *text)
{
    struct word_reader reader = {.text = text->text, .length = text->length};
    struct word word;
    uint64_t before = 0;
    uint8_t weight_before = 0;

    while (!tally->failed && word_next(&reader, &word)) {
        const uint64_t hash = hash_bytes(word.text, word.length, SEED_WORD);
        struct feature *feature = count(tally, hash);
        if (feature == NULL) break;
        if (feature->times == 1) {
            const enum word_rarity rarity = word_rarity(&word);
            feature->weight = (uint8_t)weigh(&word, rarity);
            feature->is_function = rarity == WORD_FUNCTION;
            if (!feature->is_function && word.letters > 1) keep_word(tally, feature, &word);
        }
        if (feature->is_function) continue;
        const uint8_t weight = feature->weight;
        if (before != 0) {
            struct feature *pair = count(tally, hash_pair(before, hash));
            if (pair == NULL) break;
            pair->weight = weight < weight_before ? weight : weight_before;
            pair->is_pair = true;
        }
        before = hash;
        weight_before = weight;
    }
}

/* ---- Adding up ---- */

/* 256 * (1 + ln(times) / 2), with the logarithm a straight line between powers of two. */
static int64_t damp(uint32_t times)
{
    int64_t whole = 0;
    while (times >> whole > 1) whole++;
    const int64_t logarithm = whole * 256 + (((int64_t)times << 8) >> whole) - 256;
    return 256 + logarithm * 355 / 1024;
}

/* The whole part of a square root. */
static int64_t root(int64_t value)
{
    int64_t low = 0;
    int64_t high = 1024;
    while (low + 1 < high) {
        const int64_t middle = (low + high) / 2;
        if (middle * middle <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Adds the letter runs of a word, which has a mark at either end, so that together they are as long
 * as one feature of this value. */
static void add_letter_runs(int64_t *sums, const char *word, size_t length, int64_t value)
{
    char marked[WORD_BYTES + 2];
    size_t starts[WORD_LETTERS + 3];
    size_t letters = 0;
    marked[0] = '<';
    memcpy(marked + 1, word, length);
    marked[length + 1] = '>';
    for (size_t i = 0; i < length + 2; i++)
        if (((unsigned char)marked[i] & 0xc0) != 0x80) starts[letters++] = i;
    starts[letters] = length + 2;

    int64_t runs = 0;
    for (size_t run = SHORTEST_RUN; run <= LONGEST_RUN && run <= letters; run++)
        runs += (int64_t)(letters - run + 1);
    if (runs == 0) return;
    value = value * root((1 << 20) / runs) / 1024;
    for (size_t run = SHORTEST_RUN; run <= LONGEST_RUN; run++)
        for (size_t i = 0; i + run <= letters; i++)
            add(sums, hash_bytes(marked + starts[i], starts[i + run] - starts[i], SEED_RUN), value);
}

static void add_features(int64_t *sums, const struct tally *tally)
{
    for (size_t i = 0; i < tally->size; i++) {
        const struct feature *feature = &tally->slots[i];
        if (feature->hash == 0) continue;
        const int64_t value = damp(feature->times) * feature->weight;
        add(sums, feature->hash, value * (feature->is_pair ? PAIR_SHARE : 100));
        if (feature->length > 0)
            add_letter_runs(sums, tally->words + feature->word, feature->length,
                            value * LETTERS_SHARE);
    }
}

/* Scales the sums to length 1. Returns false where all of them are 0. */
static bool normalise(int64_t *sums, float *out)
{
    int64_t most = 0;
    for (size_t i = 0; i < EMBEDDING_DIM; i++) {
        const int64_t size = sums[i] < 0 ? -sums[i] : sums[i];
        if (size > most) most = size;
    }
    if (most == 0) return false;
    int64_t divisor = 1; /* so that the squares of all dimensions add up within 64 bits */
    while (most / divisor >= 1 << 26) divisor *= 2;
    uint64_t squares = 0;
    for (size_t i = 0; i < EMBEDDING_DIM; i++) {
        sums[i] /= divisor;
        squares += (uint64_t)(sums[i] * sums[i]);
    }
    const double length = sqrt((double)squares);
    for (size_t i = 0; i < EMBEDDING_DIM; i++) out[i] = (float)((double)sums[i] / length);
    return true;
}

static void clear(struct tally *tally)
{
    if (tally->size > 0) memset(tally->slots, 0, tally->size * sizeof(*tally->slots));
    tally->used = 0;
    tally->words_length = 0;
}

static int embed(void *state, const struct embed_call *call, struct error *err)
{
    (void)state;
    const struct embed_text *texts = call->texts;
    float *out = call->out;
    struct tally tally = {0};
    for (size_t i = 0; i < call->count && !tally.failed; i++) {
        int64_t sums[EMBEDDING_DIM] = {0};
        clear(&tally);
        count_words(&tally, &texts[i]);
        add_features(sums, &tally);
        if (!normalise(sums, out + i * EMBEDDING_DIM)) {
            /* No words, or words that cancel out. One feature alone cannot. */
            add(sums, hash_bytes(texts[i].text, texts[i].length, SEED_TEXT), 1);
            normalise(sums, out + i * EMBEDDING_DIM);
        }
    }
    free(tally.slots);
    free(tally.words);
    return tally.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory") : 0;
}

const struct embed_provider embed_hash = {.name = "hash", .embed = embed};
