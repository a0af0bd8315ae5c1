#include "tools/tekupd/sql/index_request.h"

#include "storage/base/utf8.h"
#include "storage/embedding.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The larger of the two binary formats, real[]'s. */
enum { VECTOR_BYTES_MOST = 20 + 8 * EMBEDDING_DIM };

static int malformed(struct error *err)
{
    return error_set(err, ERR_INVALID, NULL,
                     "what the index is asked is: SEARCH secret limit threshold source repository "
                     "embedding");
}

/* The next word, which ends with one blank or with the text. */
static bool next_word(const char **text, const char **word, size_t *length)
{
    *word = *text;
    *length = strcspn(*text, " ");
    if (*length == 0) return false;
    *text += *length;
    if (**text == ' ') (*text)++;
    return true;
}

static bool copy_word(const char *word, size_t length, char *out, size_t size)
{
    if (length >= size) return false;
    memcpy(out, word, length);
    out[length] = '\0';
    return true;
}

static int read_limit(const char *word, size_t length, size_t *limit, struct error *err)
{
    char number[16], *end;
    if (!copy_word(word, length, number, sizeof(number)) || strspn(number, "0123456789") != length)
        return malformed(err);
    *limit = strtoul(number, &end, 10);
    if (*limit < 1 || *limit > INDEX_LIMIT_MOST)
        return error_set(err, ERR_INVALID, NULL, "the limit must be from 1 to %d",
                         INDEX_LIMIT_MOST);
    return 0;
}

static int read_threshold(const char *word, size_t length, float *threshold, struct error *err)
{
    char number[40], *end;
    if (!copy_word(word, length, number, sizeof(number)) ||
        strspn(number, "0123456789+-.e") != length)
        return malformed(err);
    const double value = strtod(number, &end);
    if (*end != '\0') return malformed(err);
    if (!(value >= -1 && value <= 1))
        return error_set(err, ERR_INVALID, NULL, "the threshold must be from -1 to 1");
    *threshold = (float)value;
    return 0;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The text after '=', or NULL for '-'. */
static int read_filter(const char *word, size_t length, char **filter, struct error *err)
{
    *filter = NULL;
    if (length == 1 && *word == '-') return 0;
    if (*word != '=' || length % 2 == 0) return malformed(err);
    char *text = calloc(length / 2 + 1, 1);
    if (text == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    *filter = text;
    for (size_t i = 1; i < length; i += 2) {
        const int high = digit_value(word[i]), low = digit_value(word[i + 1]);
        if (high < 0 || low < 0 || high + low == 0) return malformed(err);
        text[i / 2] = (char)(high << 4 | low);
    }
    return utf8_valid_prefix(text, length / 2) == length / 2 ? 0 : malformed(err);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

static int read_vector(const char *word, size_t length, float vector[EMBEDDING_DIM],
                       struct error *err)
{
    char bytes[VECTOR_BYTES_MOST + 3];
    const char *end = word + length;
    size_t count = 0, digits = 0;
    uint32_t group = 0;
    for (; word < end && *word != '='; word++) {
        const int value = base64_value(*word);
        if (*word == '\n') continue; /* PostgreSQL breaks the lines */
        if (value < 0) return malformed(err);
        group = group << 6 | (uint32_t)value;
        if (++digits % 4 != 0) continue;
        if (count + 3 > sizeof(bytes))
            return error_set(err, ERR_INVALID, "embedding", "the embedding has not %d dimensions",
                             EMBEDDING_DIM);
        bytes[count++] = (char)(group >> 16);
        bytes[count++] = (char)(group >> 8);
        bytes[count++] = (char)group;
    }
    /* Two or three digits are left of a group that '=' fills up. */
    const ptrdiff_t filling = end - word;
    if (digits % 4 == 2 && filling == 2 && word[1] == '=' && count < sizeof(bytes)) {
        bytes[count++] = (char)(group >> 4);
    } else if (digits % 4 == 3 && filling == 1 && count + 1 < sizeof(bytes)) {
        bytes[count++] = (char)(group >> 10);
        bytes[count++] = (char)(group >> 2);
    } else if (digits % 4 != 0 || filling != 0) {
        return malformed(err);
    }
    if (embedding_decode(bytes, count, vector) != 0)
        return error_set(err, ERR_INVALID, "embedding", "the embedding has not %d dimensions",
                         EMBEDDING_DIM);
    if (!embedding_usable(vector))
        return error_set(err, ERR_INVALID, "embedding",
                         "the embedding is not finite, or is the zero vector");
    return 0;
}

int index_request_read(const char *text, struct index_request *out, struct error *err)
{
    enum { VERB, SECRET, LIMIT, THRESHOLD, SOURCE, REPOSITORY, EMBEDDING, WORDS };
    const char *words[WORDS];
    size_t lengths[WORDS];
    memset(out, 0, offsetof(struct index_request, vector));
    for (int i = 0; i < WORDS; i++)
        if (!next_word(&text, &words[i], &lengths[i])) return malformed(err);
    if (*text != '\0' || text[-1] == ' ' || lengths[VERB] != 6 ||
        memcmp(words[VERB], "SEARCH", 6) != 0)
        return malformed(err);
    if (!copy_word(words[SECRET], lengths[SECRET], out->secret, sizeof(out->secret)))
        return malformed(err);
    if (read_limit(words[LIMIT], lengths[LIMIT], &out->limit, err) != 0 ||
        read_threshold(words[THRESHOLD], lengths[THRESHOLD], &out->threshold, err) != 0 ||
        read_filter(words[SOURCE], lengths[SOURCE], &out->source, err) != 0 ||
        read_filter(words[REPOSITORY], lengths[REPOSITORY], &out->repository, err) != 0)
        return -1;
    return read_vector(words[EMBEDDING], lengths[EMBEDDING], out->vector, err);
}

void index_request_free(struct index_request *request)
{
    free(request->source);
    free(request->repository);
}
