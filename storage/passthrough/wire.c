#include "storage/passthrough/wire.h"

#include <string.h>

enum { SMALL_MOST = 10000, LARGE_MOST = 0x3fffffff };

static uint32_t get32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void set32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (char)(value >> (24 - 8 * i));
}

/* ---- Reading ---- */

/* What the length of a client's message may say, as in PostgreSQL; 0: there is no such message. */
static uint32_t most_from_client(char type)
{
    switch (type) {
    case 'Q':
    case 'F':
    case 'B':
    case 'P':
    case 'd':
        return LARGE_MOST;
    case 'X':
    case 'C':
    case 'D':
    case 'E':
    case 'H':
    case 'S':
    case 'c':
    case 'f':
        return SMALL_MOST;
    default:
        return 0;
    }
}

enum wire_result wire_peek(const char *data, size_t length, bool from_client,
                           struct wire_message *message)
{
    if (length == 0) return WIRE_INCOMPLETE;
    message->type = data[0];
    const uint32_t most = from_client ? most_from_client(data[0]) : LARGE_MOST;
    if (most == 0) return WIRE_WRONG;
    if (length < WIRE_HEADER) return WIRE_INCOMPLETE;
    const uint32_t said = get32(data + 1);
    if (said < 4 || said > most) return WIRE_WRONG;
    message->size = (size_t)said + 1;
    message->body = data + WIRE_HEADER;
    message->have = length < message->size ? length - WIRE_HEADER : message->size - WIRE_HEADER;
    return WIRE_OK;
}

enum wire_result wire_peek_startup(const char *data, size_t length, size_t *size, uint32_t *code)
{
    if (length < 4) return WIRE_INCOMPLETE;
    *size = get32(data);
    if (*size < 8 || *size > WIRE_STARTUP_MOST + 4) return WIRE_WRONG;
    if (length < *size) return WIRE_INCOMPLETE;
    *code = get32(data + 4);
    return WIRE_OK;
}

uint16_t wire_read16(struct wire_reader *reader)
{
    if (reader->end - reader->at < 2) {
        reader->failed = true;
        return 0;
    }
    const unsigned char *bytes = (const unsigned char *)reader->at;
    reader->at += 2;
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

uint32_t wire_read32(struct wire_reader *reader)
{
    if (reader->end - reader->at < 4) {
        reader->failed = true;
        return 0;
    }
    reader->at += 4;
    return get32(reader->at - 4);
}

const char *wire_read_string(struct wire_reader *reader, size_t *length)
{
    const size_t left = (size_t)(reader->end - reader->at);
    const char *text = reader->at;
    const char *nul = left > 0 ? memchr(text, '\0', left) : NULL;
    if (nul == NULL) {
        reader->failed = true;
        return NULL;
    }
    reader->at = nul + 1;
    if (length != NULL) *length = (size_t)(nul - text);
    return text;
}

const char *wire_error_field(const char *body, size_t length, char field)
{
    struct wire_reader reader = {.at = body, .end = body + length};
    while (reader.at < reader.end && *reader.at != '\0') {
        const char kind = *reader.at++;
        const char *text = wire_read_string(&reader, NULL);
        if (text == NULL) return NULL;
        if (kind == field) return text;
    }
    return NULL;
}

/* ---- Writing ---- */

size_t wire_begin(struct buffer *out, char type)
{
    const char header[WIRE_HEADER] = {type};
    buffer_append(out, header, sizeof(header));
    return out->length - 4;
}

void wire_put16(struct buffer *out, uint16_t value)
{
    const char bytes[2] = {(char)(value >> 8), (char)value};
    buffer_append(out, bytes, sizeof(bytes));
}

void wire_put32(struct buffer *out, uint32_t value)
{
    char bytes[4];
    set32(bytes, value);
    buffer_append(out, bytes, sizeof(bytes));
}

void wire_put_string(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text) + 1);
}

void wire_end(struct buffer *out, size_t at)
{
    if (!out->failed) set32(out->data + at, (uint32_t)(out->length - at));
}

static void put_field(struct buffer *out, char field, const char *text)
{
    buffer_append(out, &field, 1);
    wire_put_string(out, text);
}

void wire_put_error(struct buffer *out, const char *severity, const char *sqlstate,
                    const char *message)
{
    const size_t at = wire_begin(out, 'E');
    put_field(out, 'S', severity);
    put_field(out, 'V', severity);
    put_field(out, 'C', sqlstate);
    put_field(out, 'M', message);
    buffer_append(out, "", 1);
    wire_end(out, at);
}

void wire_put_ready(struct buffer *out, char status)
{
    const size_t at = wire_begin(out, 'Z');
    buffer_append(out, &status, 1);
    wire_end(out, at);
}

void wire_put_query(struct buffer *out, const char *sql)
{
    const size_t at = wire_begin(out, 'Q');
    wire_put_string(out, sql);
    wire_end(out, at);
}

void wire_put_parameter(struct buffer *out, const char *name, const char *value)
{
    const size_t at = wire_begin(out, 'S');
    wire_put_string(out, name);
    wire_put_string(out, value);
    wire_end(out, at);
}
