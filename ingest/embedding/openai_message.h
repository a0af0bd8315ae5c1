/* openai_message.h: what is sent to an embeddings server, and what it answers. */
#ifndef INGEST_OPENAI_MESSAGE_H
#define INGEST_OPENAI_MESSAGE_H

#include "ingest/embedding/embed.h"

/* The request's body; the caller frees it. dimensions 0: they are not asked for. */
char *openai_request(const char *model, int dimensions, const struct embed_text *const *texts,
                     size_t count, struct error *err);

/* Reads count vectors, in the order of the texts, and makes each of length 1: vectors[i] is where
 * the i-th goes. ERR_INVALID where it is no such answer, where one is missing or comes twice, or is
 * not EMBEDDING_DIM numbers, finite and not all zero; then nothing of it is to be used. */
int openai_read(const char *body, size_t length, size_t count, float *const *vectors,
                struct error *err);

/* The server's own words about what went wrong, "" where there are none; and its code. */
void openai_read_error(const char *body, size_t length, char *message, size_t message_size,
                       char *code, size_t code_size);

/* Seconds of "6m0s", "1.5s", "20ms", "1h2m", "7"; less than 0 where it is nothing of the kind. */
double openai_read_duration(const char *text);

#endif
