/* openai_message.c: see openai_message.h. */
#include "ingest/embedding/openai_message.h"

#include "storage/base/utf8.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

char *openai_request(const char *model, int dimensions, const struct embed_text *const *texts,
                     size_t count, struct error *err)
{
    json_t *input = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(input, json_stringn_nocheck(texts[i]->text, texts[i]->length));
    json_t *root =
        json_pack("{s:s, s:s, s:o}", "model", model, "encoding_format", "base64", "input", input);
    if (root != NULL && dimensions > 0)
        json_object_set_new(root, "dimensions", json_integer(dimensions));
    char *body =
        root != NULL && json_array_size(input) == count ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (body == NULL) out_of_memory(err);
    return body;
}

/* ---- Vectors ---- */

static float float_of(const uint8_t bytes[4])
{
    const uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                          (uint32_t)bytes[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static int wrong_dimension(size_t got, struct error *err)
{
    return error_set(err, ERR_INVALID, "embedding.model",
                     "the embedding model gives vectors of %zu numbers; tekupdb keeps %d", got,
                     EMBEDDING_DIM);
}

static int read_base64(const char *text, size_t length, float *vector, struct error *err)
{
    enum { BYTES = EMBEDDING_DIM * 4, TEXT = (BYTES + 2) / 3 * 4 };
    uint8_t bytes[BYTES + 3];
    if (length != TEXT) return wrong_dimension(length / 4 * 3 / 4, err);
    if (EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length) < BYTES)
        return error_set(err, ERR_INVALID, NULL, "an embedding is not in base64");
    for (size_t i = 0; i < EMBEDDING_DIM; i++) vector[i] = float_of(bytes + 4 * i);
    return 0;
}

static int read_numbers(const json_t *list, float *vector, struct error *err)
{
    if (json_array_size(list) != EMBEDDING_DIM) return wrong_dimension(json_array_size(list), err);
    for (size_t i = 0; i < EMBEDDING_DIM; i++) {
        const json_t *number = json_array_get(list, i);
        if (!json_is_number(number))
            return error_set(err, ERR_INVALID, NULL, "an embedding holds what is no number");
        vector[i] = (float)json_number_value(number);
    }
    return 0;
}

static int normalise(float *vector, struct error *err)
{
    double length = 0;
    for (size_t i = 0; i < EMBEDDING_DIM; i++) length += (double)vector[i] * (double)vector[i];
    if (!isfinite(length) || length == 0)
        return error_set(err, ERR_INVALID, NULL, "an embedding is %s",
                         length == 0 ? "all zero" : "not finite");
    length = sqrt(length);
    for (size_t i = 0; i < EMBEDDING_DIM; i++) vector[i] = (float)((double)vector[i] / length);
    return 0;
}

static int read_vector(const json_t *embedding, float *vector, struct error *err)
{
    int status;
    if (json_is_string(embedding))
        status =
            read_base64(json_string_value(embedding), json_string_length(embedding), vector, err);
    else if (json_is_array(embedding))
        status = read_numbers(embedding, vector, err);
    else
        status = error_set(err, ERR_INVALID, NULL, "an embedding is missing");
    return status == 0 ? normalise(vector, err) : -1;
}

static int read_all(const json_t *data, size_t count, float *const *vectors, bool *there,
                    struct error *err)
{
    size_t place;
    const json_t *item;
    if (json_array_size(data) != count)
        return error_set(err, ERR_INVALID, NULL, "%zu embeddings came for %zu texts",
                         json_array_size(data), count);
    json_array_foreach(data, place, item)
    {
        const json_t *index = json_object_get(item, "index");
        const json_int_t at = index != NULL ? json_integer_value(index) : (json_int_t)place;
        if ((index != NULL && !json_is_integer(index)) || at < 0 || (size_t)at >= count ||
            there[at])
            return error_set(err, ERR_INVALID, NULL, "the embeddings' index is not one of each");
        there[at] = true;
        if (read_vector(json_object_get(item, "embedding"), vectors[at], err) != 0) return -1;
    }
    return 0;
}

int openai_read(const char *body, size_t length, size_t count, float *const *vectors,
                struct error *err)
{
    json_error_t fault;
    bool *there = calloc(count + 1, sizeof(*there));
    if (there == NULL) return out_of_memory(err);
    json_t *root = json_loadb(body, length, 0, &fault);
    const json_t *data = json_object_get(root, "data");
    int status;
    if (!json_is_array(data))
        status =
            error_set(err, ERR_INVALID, NULL, "the answer of the embeddings server holds no data");
    else
        status = read_all(data, count, vectors, there, err);
    json_decref(root);
    free(there);
    return status;
}

/* ---- Errors and limits ---- */

void openai_read_error(const char *body, size_t length, char *message, size_t message_size,
                       char *code, size_t code_size)
{
    json_t *root = json_loadb(body, length, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *words = json_string_value(json_object_get(error, "message"));
    const char *name = json_string_value(json_object_get(error, "code"));
    if (words == NULL) words = json_string_value(error); /* Ollama's form */
    if (words == NULL) words = json_string_value(json_object_get(root, "detail"));
    if (words == NULL) words = json_string_value(json_object_get(root, "message"));
    if (name == NULL) name = json_string_value(json_object_get(error, "type"));
    utf8_copy_line(message, message_size, words);
    utf8_copy_line(code, code_size, name);
    json_decref(root);
}

double openai_read_duration(const char *text)
{
    double total = 0;
    if (text == NULL || !isdigit((unsigned char)*text)) return -1;
    while (*text != '\0') {
        char *end;
        const double value = strtod(text, &end);
        if (end == text || !(value >= 0)) return -1;
        if (strncmp(end, "ms", 2) == 0) {
            total += value / 1000;
            text = end + 2;
        } else if (*end == 'h' || *end == 'm' || *end == 's') {
            total += value * (*end == 'h' ? 3600 : *end == 'm' ? 60 : 1);
            text = end + 1;
        } else {
            if (*end != '\0') return -1;
            return total + value;
        }
    }
    return total;
}
