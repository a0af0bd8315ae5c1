/*
 * wire.h: messages of PostgreSQL's protocol version 3, in memory: no input or output, nothing that
 * is kept, no byte beyond the ones given.
 *
 * The chapter "Frontend/Backend Protocol" of PostgreSQL's manual describes every message.
 */
#ifndef STORAGE_PASSTHROUGH_WIRE_H
#define STORAGE_PASSTHROUGH_WIRE_H

#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_HEADER = 5,           /* type and length */
    WIRE_STARTUP_MOST = 10000, /* PostgreSQL's own limit */
    WIRE_PROTOCOL_3 = 3 << 16,
    WIRE_CANCEL = 1234 << 16 | 5678,
    WIRE_SSL = 1234 << 16 | 5679,
    WIRE_GSSENC = 1234 << 16 | 5680,
};

enum wire_result {
    WIRE_INCOMPLETE, /* more bytes are needed */
    WIRE_OK,
    WIRE_WRONG /* it is no such message */
};

/* ---- Reading ---- */

struct wire_message {
    char type;
    size_t size;      /* of the whole message, header and all */
    const char *body; /* behind the header */
    size_t have;      /* bytes of the body that are there */
};

/* The message that data begins with: WIRE_OK as soon as its header is there. from_client: types and
 * sizes are those that PostgreSQL takes. */
enum wire_result wire_peek(const char *data, size_t length, bool from_client,
                           struct wire_message *message);

/* The packet that a connection begins with: *size is that of the whole packet, *code the version or
 * the request. WIRE_WRONG as soon as the length is one that PostgreSQL refuses. */
enum wire_result wire_peek_startup(const char *data, size_t length, size_t *size, uint32_t *code);

/* Takes a body apart. A read beyond the end returns false (or 0) and sets failed. */
struct wire_reader {
    const char *at, *end;
    bool failed;
};
uint16_t wire_read16(struct wire_reader *reader);
uint32_t wire_read32(struct wire_reader *reader);
/* NUL-terminated, in place; *length without the NUL. NULL where there is no NUL. */
const char *wire_read_string(struct wire_reader *reader, size_t *length);

/* A field of the body of an ErrorResponse ('C' the SQLSTATE, 'M' the message...), or NULL. */
const char *wire_error_field(const char *body, size_t length, char field);

/* ---- Writing ---- */

/* A message is begun, put together and ended; wire_begin returns what wire_end wants. */
size_t wire_begin(struct buffer *out, char type);
void wire_put16(struct buffer *out, uint16_t value);
void wire_put32(struct buffer *out, uint32_t value);
void wire_put_string(struct buffer *out, const char *text); /* with its NUL */
void wire_end(struct buffer *out, size_t at);

void wire_put_error(struct buffer *out, const char *severity, const char *sqlstate,
                    const char *message);
void wire_put_ready(struct buffer *out, char status);
void wire_put_query(struct buffer *out, const char *sql);
void wire_put_parameter(struct buffer *out, const char *name, const char *value);

#endif
