/* Heads of requests, and bodies in chunks, as bytes. */
#include "tools/tekupd/http/http_chunks.h"
#include "tools/tekupd/http/http_head.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct http_head head;
static char bytes[HTTP_MAX_HEAD + 64];

/* Reads it from memory of just its length, so that a sanitizer sees a byte too far. */
static const char *read_head(const char *text)
{
    static char *copy;
    const size_t length = strlen(text);
    free(copy);
    copy = malloc(length);
    memcpy(copy, text, length);
    cr_expect_eq(http_head_find_end(copy, length, 0), length, "%s", text);
    return http_head_read(copy, length, &head);
}

Test(http_head, is_found_to_its_end_however_it_comes)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\nbody", 18},
        {"GET / HTTP/1.1\n\nbody", 16},
        {"GET / HTTP/1.1\r\n\nbody", 17},
        {"GET / HTTP/1.1\n\r\nbody", 17},
        {"GET / HTTP/1.1\r\n\r", 0},
        {"GET / HTTP/1.1\r\n", 0},
        {"", 0},
        {"\r\r\n\r\n", 5},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const size_t all = strlen(cases[i].text);
        for (size_t seen = 0; seen <= all; seen++) {
            if (cases[i].length == 0 || seen < cases[i].length)
                cr_expect_eq(http_head_find_end(cases[i].text, all, seen), cases[i].length,
                             "case %zu, %zu seen", i, seen);
        }
    }
}

Test(http_head, is_read)
{
    cr_expect_null(read_head("POST /v1/search?limit=3&x=%20 HTTP/1.1\r\nHost: x\r\n"
                             "content-type:application/json;charset=utf-8\r\n"
                             "CONTENT-LENGTH:\t 17 \t\r\nExpect: 100-Continue\r\nEmpty:\r\n"
                             "X-Twice: a\r\nx-twice: b\r\n\r\n"));
    cr_expect_str_eq(head.method, "POST");
    cr_expect_str_eq(head.path, "/v1/search");
    cr_expect_str_eq(head.query, "limit=3&x=%20");
    cr_expect_str_eq(head.type, "application/json;charset=utf-8");
    cr_expect_eq(head.length, 17);
    cr_expect(head.keeps && head.expects && !head.chunked && !head.old_version);
    cr_expect_str_eq(http_head_field(&head, "X-TWICE"), "a");
    cr_expect_str_eq(http_head_field(&head, "empty"), "");
    cr_expect_null(http_head_field(&head, "Accept"));

    cr_expect_null(read_head("GET http://host:80/a?b#c HTTP/1.1\nTransfer-Encoding: Chunked\n\n"));
    cr_expect_str_eq(head.path, "/a");
    cr_expect_str_eq(head.query, "b");
    cr_expect(head.chunked);
    cr_expect_null(read_head("GET HTTPS://host HTTP/1.1\r\n\r\n"));
    cr_expect_str_eq(head.path, "/");
    cr_expect_null(head.query);
    cr_expect_null(read_head("OPTIONS * HTTP/1.1\r\n\r\n"));
    cr_expect_str_eq(head.path, "*");
    cr_expect_null(read_head("GET /\xc3\xa6?\xff HTTP/1.1\r\n\r\n"));
    cr_expect_str_eq(head.path, "/\xc3\xa6");
}

Test(http_head, says_whether_the_connection_stays)
{
    static const struct {
        const char *text;
        bool keeps;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nConnection: foo , Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.7\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        cr_expect_null(read_head(cases[i].text));
        cr_expect_eq(head.keeps, cases[i].keeps, "%s", cases[i].text);
    }
}

Test(http_head, moves_with_its_bytes)
{
    strcpy(bytes, "GET /a?b HTTP/1.1\r\nContent-Type: c\r\nX: d\r\n\r\n");
    const size_t length = strlen(bytes);
    cr_assert_null(http_head_read(bytes, length, &head));
    char *copy = malloc(length);
    memcpy(copy, bytes, length);
    http_head_move(&head, bytes, copy);
    memset(bytes, 'z', length);
    cr_expect_str_eq(head.method, "GET");
    cr_expect_str_eq(head.path, "/a");
    cr_expect_str_eq(head.query, "b");
    cr_expect_str_eq(head.type, "c");
    cr_expect_str_eq(http_head_field(&head, "x"), "d");
    free(copy);
}

Test(http_head, has_at_most_so_many_fields)
{
    for (int more = 0; more < 2; more++) {
        char *at = stpcpy(bytes, "GET /a HTTP/1.1\r\n");
        for (int i = 0; i < HTTP_MAX_FIELDS + more; i++) at = stpcpy(at, "a: b\r\n");
        stpcpy(at, "\r\n");
        const char *wrong = read_head(bytes);
        if (more == 0)
            cr_expect_null(wrong);
        else
            cr_expect_str_eq(wrong, "the head has more than 128 headers");
        cr_expect_str_eq(head.path, "/a", "also where the rest is wrong");
    }
}

/* Whatever it is made of, it is refused, or its parts lie in it and end there. */
Test(http_head, of_any_bytes_is_borne)
{
    static const char *const pieces[] = {
        "GET ",
        "/",
        "a",
        " HTTP/1.1",
        "\r\n",
        "\n",
        "\r",
        ":",
        " ",
        "\t",
        "Content-Length",
        "Transfer-Encoding",
        "chunked",
        "9",
        "Host",
        "Connection",
        "close",
        ",",
        "Expect",
        "100-continue",
        "http://",
        "?",
        "#",
        "*",
        "%",
        "\x7f",
        "\x80",
        "\x01",
        "\"",
    };
    size_t taken = 0;
    srand(7);
    for (int round = 0; round < 100000; round++) {
        size_t length = 0;
        if (round % 2 == 0) length = (size_t)sprintf(bytes, "GET /a HTTP/1.1\r\n");
        for (int i = rand() % 24; i > 0; i--) {
            const char *piece = pieces[(size_t)rand() % (sizeof(pieces) / sizeof(*pieces))];
            length += (size_t)sprintf(bytes + length, "%s", piece);
        }
        length += (size_t)sprintf(bytes + length, "\r\n\r\n");
        const size_t end = http_head_find_end(bytes, length, 0);
        cr_assert(end > 0 && end <= length);
        char *copy = malloc(end);
        memcpy(copy, bytes, end);
        if (http_head_read(copy, end, &head) == NULL) {
            taken++;
            cr_assert(head.path >= copy && head.path + strlen(head.path) < copy + end);
            for (size_t i = 0; i < head.field_count; i++) {
                const char *value = head.fields[i].value;
                cr_assert(value > copy && value + strlen(value) < copy + end);
            }
        }
        free(copy);
    }
    cr_expect_gt(taken, 100, "%zu were heads", taken);
}

/* ---- Chunks ---------------------------------------------------------------------------------- */

/* Reads the body in pieces of so many bytes. */
static enum http_chunks_result read_chunks(const char *text, size_t piece, size_t limit)
{
    struct http_chunks chunks = {.end = 4};
    size_t length = 4;
    const size_t all = strlen(text);
    memcpy(bytes, "head", 4);
    for (size_t at = 0; at < all; at += piece) {
        const size_t some = all - at < piece ? all - at : piece;
        memcpy(bytes + length, text + at, some);
        length += some;
        const enum http_chunks_result result = http_chunks_read(&chunks, bytes, &length, limit);
        if (result == CHUNKS_GO_ON) continue;
        bytes[result == CHUNKS_ARE_WHOLE ? chunks.end : length] = '\0';
        return result;
    }
    return CHUNKS_GO_ON;
}

Test(http_chunks, are_put_together_however_they_come)
{
    static const struct {
        const char *text, *body;
    } cases[] = {
        {"3\r\nabc\r\n0\r\n\r\n", "headabc"},
        {"3\r\nabc\r\nA;x=y\r\n0123456789\r\n000\r\nTrailer: x\r\nMore: y\r\n\r\n",
         "headabc0123456789"},
        {"0\r\n\r\n", "head"},
        {"2\r\n\r\n\r\n0\r\n\r\n", "head\r\n"},
        {"1 \t\r\na\r\n01\r\nb\r\n0\r\n\r\n", "headab"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].text); piece++) {
            cr_expect_eq(read_chunks(cases[i].text, piece, 100), CHUNKS_ARE_WHOLE);
            cr_expect_str_eq(bytes, cases[i].body, "case %zu, %zu at a time", i, piece);
        }
    }
}

Test(http_chunks, leave_what_is_behind_them)
{
    struct http_chunks chunks = {.end = 0};
    strcpy(bytes, "1\r\na\r\n0\r\n\r\nGET /");
    size_t length = strlen(bytes);
    cr_expect_eq(http_chunks_read(&chunks, bytes, &length, 100), CHUNKS_ARE_WHOLE);
    cr_expect_eq(length, chunks.end + 5);
    cr_expect_eq(memcmp(bytes, "aGET /", 6), 0);
}

Test(http_chunks, that_are_wrong_or_too_large_are_told)
{
    static const char *const wrong[] = {"\r\n",     "x\r\n",        "-1\r\n",
                                        "1x\r\n",   "0x1\r\n",      "1\r\nab\r\n",
                                        " 1\r\na",  "1\r\na\r\r\n", "11111111111111111\r\n",
                                        "1\n",      "1;\nab",       "1;a\rb\r\n",
                                        "1\r\na\n", "0\r\n\n",      "0\r\na: b\n\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        for (size_t piece = 1; piece <= strlen(wrong[i]); piece++)
            cr_expect_eq(read_chunks(wrong[i], piece, 100), CHUNKS_ARE_WRONG, "case %zu", i);
    cr_expect_eq(read_chunks("2\r\nab\r\n2\r\n", 1, 8), CHUNKS_GO_ON);
    cr_expect_eq(read_chunks("2\r\nab\r\n3\r\n", 1, 8), CHUNKS_ARE_LARGE);
    cr_expect_eq(read_chunks("ffffffffffffffff\r\n", 1, 8), CHUNKS_ARE_LARGE);

    /* What never comes to its end. */
    memset(bytes, '1', sizeof(bytes) - 1);
    bytes[0] = ';';
    char *text = malloc(sizeof(bytes));
    memcpy(text, bytes, sizeof(bytes) - 1);
    text[sizeof(bytes) - 1] = '\0';
    cr_expect_eq(read_chunks(text, 512, 100), CHUNKS_ARE_WRONG);
    size_t at = (size_t)sprintf(text, "0\r\n");
    while (at + 16 < sizeof(bytes)) at += (size_t)sprintf(text + at, "a: b\r\n");
    cr_expect_eq(read_chunks(text, 5, 100), CHUNKS_ARE_WRONG);
    text[at / 2] = '\0';
    cr_expect_eq(read_chunks(text, 5, 100), CHUNKS_GO_ON);
    free(text);
}
