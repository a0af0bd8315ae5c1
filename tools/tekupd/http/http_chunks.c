#include "tools/tekupd/http/http_chunks.h"

#include <stdbool.h>
#include <string.h>

enum { LONGEST_LINE = 4096, LONGEST_TRAILER = 64 << 10 };

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    const char letter = (char)(digit | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* The line "SIZE" or "SIZE;what nobody knows", without its end. */
static bool read_size(const char *line, size_t length, uint64_t *size)
{
    size_t at = 0;
    *size = 0;
    for (; at < length && hexadecimal(line[at]) >= 0; at++) {
        if (*size >> 60 != 0) return false;
        *size = *size << 4 | (uint64_t)hexadecimal(line[at]);
    }
    if (at == 0) return false;
    while (at < length && (line[at] == ' ' || line[at] == '\t')) at++;
    if (at < length && line[at] != ';') return false;
    while (at < length && ((unsigned char)line[at] >= 0x20 || line[at] == '\t')) at++;
    return at == length;
}

/* One step from `raw` on. CHUNKS_GO_ON without a move: there is too little. */
static enum http_chunks_result step(struct http_chunks *chunks, char *bytes, size_t length,
                                    size_t *raw, size_t limit)
{
    const size_t there = length - *raw;
    const char *from = bytes + *raw;
    if (chunks->at == CHUNK_BYTES) {
        const size_t some = there < chunks->left ? there : (size_t)chunks->left;
        memmove(bytes + chunks->end, from, some);
        chunks->end += some;
        chunks->left -= some;
        *raw += some;
        if (chunks->left == 0) chunks->at = CHUNK_END;
        return CHUNKS_GO_ON;
    }
    const char *end = memchr(from, '\n', there);
    if (end == NULL) return there > LONGEST_LINE ? CHUNKS_ARE_WRONG : CHUNKS_GO_ON;
    if (end == from || end[-1] != '\r') return CHUNKS_ARE_WRONG;
    const size_t line = (size_t)(end - from) - 1;
    *raw += line + 2;
    switch (chunks->at) {
    case CHUNK_SIZE:
        if (!read_size(from, line, &chunks->left)) return CHUNKS_ARE_WRONG;
        if (chunks->left > limit || chunks->end > limit - chunks->left) return CHUNKS_ARE_LARGE;
        chunks->at = chunks->left > 0 ? CHUNK_BYTES : CHUNK_TRAILER;
        return CHUNKS_GO_ON;
    case CHUNK_TRAILER:
        chunks->trailer += line + 2;
        if (line == 0) return CHUNKS_ARE_WHOLE;
        return chunks->trailer > LONGEST_TRAILER ? CHUNKS_ARE_WRONG : CHUNKS_GO_ON;
    case CHUNK_END:
    case CHUNK_BYTES:
        break;
    }
    chunks->at = CHUNK_SIZE;
    return line == 0 ? CHUNKS_GO_ON : CHUNKS_ARE_WRONG;
}

enum http_chunks_result http_chunks_read(struct http_chunks *chunks, char *bytes, size_t *length,
                                         size_t limit)
{
    enum http_chunks_result result = CHUNKS_GO_ON;
    size_t raw = chunks->end, before;
    do {
        before = raw;
        result = step(chunks, bytes, *length, &raw, limit);
    } while (result == CHUNKS_GO_ON && raw > before);
    memmove(bytes + chunks->end, bytes + raw, *length - raw);
    *length -= raw - chunks->end;
    return result;
}
