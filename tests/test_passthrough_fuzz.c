/* Bytes that no client would send, for everything that reads them: first the readers of messages
 * and statements alone, where a byte read beyond the end is found by the address sanitizer; then a
 * whole pass-through, without a server, that has to go on answering others. */
#include "storage/passthrough/look.h"
#include "storage/passthrough/passthrough.h"
#include "storage/passthrough/profile.h"
#include "storage/passthrough/wire.h"
#include "tests/scratch.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { SEED = 20261128, ROUNDS = 20000, CONNECTIONS = 400, SIZE_MOST = 600, HANGS_AFTER_S = 900 };

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- Inputs ---- */

static const char *const pieces[] = {
    "SELECT ",  "set_config(", "'",      "\"",       "$$",        "/*",       "*/",
    "--",       ")",           "(",      ".",        ";",         "true",     "SET ",
    "TEMP ",    "E'",          "\\",     "U&\"",     "user",      "database", "options",
    "-c ",      "a=b",         "tekup_", "$1",       "INTO ",     "LISTEN x", "tekupdb_index",
    "SELECT 1", "_pq_.x",      "=",      "EXECUTE ", "WITH HOLD", "\n",
};
static const char types[] = "QPBDECHSFXdcfpRZ1KTGI\0\xff";

static void put_piece(struct buffer *out, uint64_t *state)
{
    const uint64_t kind = draw(state) % 8;
    if (kind < 4) {
        buffer_text(out, pieces[draw(state) % (sizeof(pieces) / sizeof(*pieces))]);
    } else if (kind == 4) {
        buffer_append(out, "", 1);
    } else if (kind == 5) {
        const char byte = (char)draw(state);
        buffer_append(out, &byte, 1);
    } else if (kind == 6) {
        wire_put16(out, (uint16_t)draw(state));
    } else {
        wire_put32(out, draw(state) % 3 ? (uint32_t)(draw(state) % 64) : (uint32_t)draw(state));
    }
}

/* A message whose length is right, or nearly, or not at all. */
static void put_message(struct buffer *out, uint64_t *state)
{
    const size_t at = wire_begin(out, types[draw(state) % (sizeof(types) - 1)]);
    for (uint64_t i = draw(state) % 12; i > 0; i--) put_piece(out, state);
    if (draw(state) % 2) buffer_append(out, "", 1);
    wire_end(out, at);
    if (draw(state) % 8 == 0) out->data[at + draw(state) % 4] = (char)draw(state);
}

static void put_startup(struct buffer *out, uint64_t *state, bool right)
{
    static const uint32_t codes[] = {WIRE_PROTOCOL_3, WIRE_PROTOCOL_3 | 7, WIRE_SSL,
                                     WIRE_GSSENC,     WIRE_CANCEL,         2 << 16};
    const size_t at = out->length;
    wire_put32(out, 0);
    wire_put32(out, right ? WIRE_PROTOCOL_3 : codes[draw(state) % 6]);
    wire_put_string(out, "user");
    wire_put_string(out, draw(state) % 2 ? "tekup_billy" : "me");
    if (right || draw(state) % 2) {
        wire_put_string(out, "database");
        wire_put_string(out, draw(state) % 4 ? PASSTHROUGH_INDEX : "other");
    }
    if (!right)
        for (uint64_t i = draw(state) % 10; i > 0; i--) put_piece(out, state);
    buffer_append(out, "", 1);
    wire_end(out, at);
    if (!right && draw(state) % 8 == 0) out->data[at + draw(state) % 4] = (char)draw(state);
}

/* ---- The readers ---- */

static void read_message(const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        struct wire_message message;
        const enum wire_result result = wire_peek(bytes + at, length - at, at % 2, &message);
        if (result != WIRE_OK) return;
        cr_assert(message.have <= length - at - WIRE_HEADER);
        struct wire_reader reader = {.at = message.body, .end = message.body + message.have};
        wire_read16(&reader);
        wire_read32(&reader);
        while (!reader.failed && reader.at < reader.end) wire_read_string(&reader, NULL);
        for (const char *field = "SVCMR"; *field != '\0'; field++)
            wire_error_field(message.body, message.have, *field);
        at += WIRE_HEADER + message.have;
    }
}

static void read_options(const char *bytes, size_t length)
{
    struct profiles profiles = {0};
    struct profile_draft draft = {0};
    const char *wrong;
    char *text = strndup(bytes, length);
    cr_assert_not_null(text);
    if (profile_options(&draft, text, &wrong)) {
        struct profile *profile = profile_of(&profiles, &draft);
        struct buffer sql = {0};
        profile_sql(profile, &sql);
        profile_note_shown(profile, bytes, length);
        profile_release(&profiles, profile);
        buffer_free(&sql);
    } else {
        cr_assert(wrong >= text && wrong <= text + strlen(text));
    }
    profile_draft_free(&draft);
    free(text);
}

Test(passthrough_fuzz, no_bytes_harm_the_readers)
{
    const uint64_t seed = setting("TEKUP_FUZZ_SEED", SEED);
    const uint64_t seconds = setting("TEKUP_FUZZ_SECONDS", 0);
    const uint64_t rounds = seconds ? UINT64_MAX : setting("TEKUP_FUZZ_ROUNDS", ROUNDS);
    const time_t end = time(NULL) + (time_t)seconds;
    alarm(seconds ? 0 : HANGS_AFTER_S);
    for (uint64_t i = 0; i < rounds && (!seconds || time(NULL) < end); i++) {
        uint64_t state = seed + i;
        struct buffer made = {0};
        while (made.length < draw(&state) % SIZE_MOST) {
            if (draw(&state) % 3)
                put_piece(&made, &state);
            else
                put_message(&made, &state);
        }
        /* Memory of exactly that size, so that a byte more is one too many. */
        char *bytes = malloc(made.length > 0 ? made.length : 1);
        cr_assert_not_null(bytes);
        if (made.length > 0) memcpy(bytes, made.data, made.length);
        size_t size;
        uint32_t code;
        read_message(bytes, made.length);
        wire_peek_startup(bytes, made.length, &size, &code);
        look(bytes, made.length);
        read_options(bytes, made.length);
        free(bytes);
        buffer_free(&made);
    }
}

/* ---- A whole pass-through ---- */

static void answer(void *arg, struct passthrough_answer *to, const char *text)
{
    static const struct passthrough_column column = {"text", 25};
    (void)arg;
    passthrough_answer_columns(to, &column, 1);
    passthrough_answer_row(to, &text, 1);
    passthrough_answer_complete(to, "SELECT 1");
    passthrough_answer_end(to);
}

static int listen_on(const char *path, struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0 &&
              listen(fd, 64) == 0);
    return fd;
}

static int connect_to(const struct sockaddr_un *address)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
    return fd;
}

static void send_all(int fd, const struct buffer *bytes)
{
    size_t sent = 0;
    while (sent < bytes->length) {
        const ssize_t put = send(fd, bytes->data + sent, bytes->length - sent, MSG_NOSIGNAL);
        if (put <= 0) return;
        sent += (size_t)put;
    }
}

/* Reads until ReadyForQuery comes `wanted` times; returns whether it did. */
static bool read_ready(int fd, int wanted)
{
    struct buffer got = {0};
    char some[4096];
    while (wanted > 0) {
        const ssize_t length = recv(fd, some, sizeof(some), 0);
        if (length <= 0) break;
        buffer_append(&got, some, (size_t)length);
        wanted -= got.length >= 6 && memcmp(got.data + got.length - 6, "Z\0\0\0\5I", 6) == 0;
    }
    buffer_free(&got);
    return wanted == 0;
}

static void expect_an_answer(const struct sockaddr_un *address, uint64_t seed)
{
    struct buffer bytes = {0};
    const int fd = connect_to(address);
    const size_t at = bytes.length;
    wire_put32(&bytes, 0);
    wire_put32(&bytes, WIRE_PROTOCOL_3);
    wire_put_string(&bytes, "user");
    wire_put_string(&bytes, "me");
    wire_put_string(&bytes, "database");
    wire_put_string(&bytes, PASSTHROUGH_INDEX);
    buffer_append(&bytes, "", 1);
    wire_end(&bytes, at);
    send_all(fd, &bytes);
    cr_assert(read_ready(fd, 1), "seed %" PRIu64, seed);
    buffer_clear(&bytes);
    wire_put_query(&bytes, "SELECT 1");
    send_all(fd, &bytes);
    cr_assert(read_ready(fd, 1), "seed %" PRIu64, seed);
    buffer_free(&bytes);
    close(fd);
}

static void one_connection(const struct sockaddr_un *address, uint64_t seed)
{
    uint64_t state = seed;
    struct buffer bytes = {0};
    const int fd = connect_to(address);
    put_startup(&bytes, &state, draw(&state) % 2);
    for (uint64_t i = draw(&state) % 20; i > 0; i--) put_message(&bytes, &state);
    if (draw(&state) % 4 == 0)
        for (uint64_t i = draw(&state) % 200; i > 0; i--) put_piece(&bytes, &state);
    if (draw(&state) % 3 == 0) bytes.length = draw(&state) % (bytes.length + 1);
    send_all(fd, &bytes);
    if (draw(&state) % 2) {
        struct pollfd socket = {.fd = fd, .events = POLLIN};
        char some[4096];
        while (poll(&socket, 1, 2) > 0 && recv(fd, some, sizeof(some), 0) > 0) {
        }
    }
    close(fd);
    buffer_free(&bytes);
}

Test(passthrough_fuzz, no_bytes_keep_others_from_being_answered)
{
    const uint64_t seed = setting("TEKUP_FUZZ_SEED", SEED);
    const uint64_t seconds = setting("TEKUP_FUZZ_SECONDS", 0);
    const uint64_t connections = seconds ? UINT64_MAX : CONNECTIONS;
    const time_t end = time(NULL) + (time_t)seconds;
    char directory[32], path[64], conninfo[96];
    struct sockaddr_un address;
    struct error err = {0};
    alarm(seconds ? 0 : HANGS_AFTER_S);
    scratch_directory(directory);
    snprintf(path, sizeof(path), "%s/socket", directory);
    snprintf(conninfo, sizeof(conninfo), "host=%s dbname=tekup_db", directory);
    const int fd = listen_on(path, &address);
    const struct passthrough_options options = {
        .fd = fd,
        .conninfo = conninfo, /* nobody listens there */
        .connection_limit = 3,
        .clients = 100,
        .wait_s = 1,
        .index_uid = geteuid(),
        .query = answer,
    };
    struct passthrough *passthrough = passthrough_create(&options, &err);
    cr_assert_not_null(passthrough, "%s", err.message);
    passthrough_begin(passthrough);
    for (uint64_t i = 0; i < connections && (!seconds || time(NULL) < end); i++) {
        one_connection(&address, seed + i);
        if (i % 20 == 0) expect_an_answer(&address, seed + i);
    }
    struct passthrough_figures figures;
    passthrough_get_figures(passthrough, &figures);
    cr_expect(figures.refused > 0);
    passthrough_free(passthrough);
    close(fd);
    scratch_remove(directory);
}
