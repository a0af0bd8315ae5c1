/* relay_down.c: what passes from a server to the client that has leased it, and what the answers
 * say of statements, transactions and settings. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/sink.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>

struct down {
    struct backend *backend;
    struct sink sink;
};

/* What an error keeps the server from doing: everything up to the next Sync. */
static void undo(struct backend *backend)
{
    struct client *client = backend->client;
    struct statements *statements = &backend->hub->statements;
    struct expectation *next;
    while ((next = backend_expected(backend, 0)) != NULL && next->kind != EXPECT_READY &&
           next->kind != EXPECT_SYNC) {
        struct statement *statement = next->statement;
        if (next->evicted) {
            prepared_add(&backend->prepared, statement);
        } else if (next->kind == EXPECT_PARSE && statement != NULL) {
            if (backend->bound == statement) backend->bound = NULL;
            prepared_remove(&backend->prepared, statements, statement);
        }
        if (next->named && client != NULL) {
            if (next->kind == EXPECT_CLOSE && next->answer == ANSWER_PASSES)
                names_keep(&client->names, statement);
            else
                names_drop(&client->names, statements, statement, false);
        }
        if (next->unnamed && client != NULL) client_forget_unnamed(client);
        backend_met(backend, 0);
    }
}

static void drop_copy_ends(struct backend *backend)
{
    struct expectation *next;
    while ((next = backend_expected(backend, 0)) != NULL && next->kind == EXPECT_COPY_END)
        backend_met(backend, 0);
}

static void down_completed(struct down *down, const struct wire_message *message)
{
    struct backend *backend = down->backend;
    struct client *client = backend->client;
    struct statements *statements = &backend->hub->statements;
    const enum expected kind = message->type == '1' ? EXPECT_PARSE : EXPECT_CLOSE;
    drop_copy_ends(backend);
    const struct expectation *next = backend_expected(backend, 0);
    if (next == NULL || next->kind != kind) {
        sink_pass(&down->sink, message->body - WIRE_HEADER, message->size);
        return;
    }
    const struct expectation met = *next;
    if (kind == EXPECT_PARSE && met.statement != NULL) met.statement->proven = true;
    if (met.named && client != NULL) {
        if (kind == EXPECT_CLOSE && met.answer == ANSWER_PASSES)
            names_drop(&client->names, statements, met.statement, true);
        else
            names_confirm(&client->names, met.statement);
    }
    backend_met(backend, 0);
    if (met.answer == ANSWER_PASSES) {
        sink_pass(&down->sink, message->body - WIRE_HEADER, message->size);
    } else if (met.answer == ANSWER_PARSES) {
        sink_settle(&down->sink);
        wire_end(down->sink.out, wire_begin(down->sink.out, '1'));
    }
}

static void down_ready(struct down *down, const struct wire_message *message)
{
    struct backend *backend = down->backend;
    struct expectation *next;
    backend->status = message->have == 1 ? message->body[0] : 'E';
    backend->answered = true;
    backend->copying = false;
    if (backend->status != 'I') backend->transacted = true;
    backend->readies++;
    while ((next = backend_expected(backend, 0)) != NULL && next->kind != EXPECT_READY &&
           next->kind != EXPECT_SYNC)
        backend_met(backend, 0);
    if (next != NULL) backend_met(backend, 0);
    drop_copy_ends(backend);
    if (backend->status == 'I' && backend->client != NULL) COUNT(backend->role, transactions, 1);
    sink_pass(&down->sink, message->body - WIRE_HEADER, message->size);
}

/* The server waits for data and takes no notice of Syncs, those included that were sent already. */
static void down_copy_in(struct backend *backend)
{
    size_t at = 0;
    struct expectation *next;
    drop_copy_ends(backend);
    backend->copying = true;
    if ((next = backend_expected(backend, 0)) != NULL && next->kind == EXPECT_READY) at = 1;
    while ((next = backend_expected(backend, at)) != NULL) {
        if (next->kind == EXPECT_COPY_END) {
            backend_met(backend, at);
            backend->copying = false;
            return;
        }
        if (next->kind != EXPECT_SYNC) return;
        backend_met(backend, at);
    }
    if (at == 0) backend->unsynced = true;
}

/* Names that the server has for the client's statements become the client's own. */
static void put_error_with_names(struct down *down, const struct wire_message *message)
{
    static const char prefix[] = "\"" STATEMENT_PREFIX;
    const struct names *names = &down->backend->client->names;
    const char *at = message->body, *end = message->body + message->have;
    sink_settle(&down->sink);
    struct buffer *out = down->sink.out;
    const size_t begun = wire_begin(out, 'E');
    for (;;) {
        const char *found = memmem(at, (size_t)(end - at), prefix, sizeof(prefix) - 1);
        if (found == NULL) break;
        const char *digits = found + sizeof(prefix) - 1;
        char *after;
        /* The body ends with a NUL, so that this ends too. */
        const uint64_t id = strtoull(digits, &after, 16);
        const struct name *name = after > digits && *after == '"' ? names_find(names, id) : NULL;
        buffer_append(out, at, (size_t)(digits - at) - (name != NULL ? sizeof(prefix) - 2 : 0));
        at = digits;
        if (name == NULL) continue;
        buffer_append(out, name->text, name->length);
        at = after;
    }
    buffer_append(out, at, (size_t)(end - at));
    wire_end(out, begun);
}

static void down_error(struct down *down, const struct wire_message *message)
{
    struct backend *backend = down->backend;
    const struct client *client = backend->client;
    const char *severity = wire_error_field(message->body, message->have, 'V');
    const char *routine = wire_error_field(message->body, message->have, 'R');
    if (severity != NULL && strcmp(severity, "ERROR") != 0) backend->told_fatal = true;
    /* The statement's result has changed, and this server will not run it again. Who prepares it
     * anew is to get a new one. */
    if (routine != NULL && strcmp(routine, "RevalidateCachedQuery") == 0 &&
        backend->bound != NULL && prepared_has(&backend->prepared, backend->bound))
        statement_retire(backend->bound);
    const bool whole = message->have > 0 && message->have == message->size - WIRE_HEADER &&
                       message->body[message->have - 1] == '\0';
    if (whole && client != NULL && client->names.count > 0 &&
        memmem(message->body, message->have, STATEMENT_PREFIX, sizeof(STATEMENT_PREFIX) - 1))
        put_error_with_names(down, message);
    else
        sink_pass(&down->sink, message->body - WIRE_HEADER, WIRE_HEADER + message->have);
    backend->copying = false;
    backend->failed = true;
    undo(backend);
}

static void down_parameter(struct backend *backend, const struct wire_message *message)
{
    struct wire_reader reader = {.at = message->body, .end = message->body + message->have};
    const char *name = wire_read_string(&reader, NULL);
    const char *value = wire_read_string(&reader, NULL);
    if (reader.failed) return;
    parameters_set(&backend->parameters, name, value);
    backend->reported = true;
}

static void down_tag(struct backend *backend, const struct wire_message *message)
{
    struct client *client = backend->client;
    if (message->have > 24 || message->have == 0 || message->body[message->have - 1] != '\0')
        return;
    const bool all = strcmp(message->body, "DISCARD ALL") == 0;
    if (!all && strcmp(message->body, "DEALLOCATE ALL") != 0) return;
    if (all) backend->discarded = true;
    prepared_clear(&backend->prepared, &backend->hub->statements);
    if (client != NULL) names_free(&client->names, &backend->hub->statements);
    backend->bound = NULL;
}

/* Whether the whole message is wanted before anything is done. */
static bool is_gathered(const struct backend *backend, const struct wire_message *message)
{
    const size_t body = message->size - WIRE_HEADER;
    switch (message->type) {
    case 'Z':
    case '1':
    case '3':
    case 'S':
    case 'E':
        return body <= READ_ROOM;
    case 'C':
        return body <= 24;
    default:
        return backend->state == BACKEND_ERRAND && body <= READ_ROOM;
    }
}

/* An answer to the pass-through's own statements. */
static void down_errand(struct backend *backend, const struct wire_message *message)
{
    switch (message->type) {
    case 'Z':
        backend->status = message->have == 1 ? message->body[0] : 'E';
        backend->answered = true;
        if (backend->expected_count > 0) backend_met(backend, 0);
        backend->errand_ended = true;
        break;
    case 'S':
        down_parameter(backend, message);
        break;
    case 'C':
        down_tag(backend, message);
        break;
    case 'D':
        buffer_clear(&backend->errand_row);
        buffer_append(&backend->errand_row, message->body, message->have);
        break;
    case 'E':
        if (backend->errand_error.length == 0)
            buffer_append(&backend->errand_error, message->body - WIRE_HEADER,
                          WIRE_HEADER + message->have);
        break;
    default:
        break;
    }
}

/* Whether a message answers what the pass-through has put in front of the client's. */
static bool is_own_answer(struct backend *backend, char type)
{
    const struct expectation *next;
    if (type == 'A' || type == 'N' || type == 'S') return false;
    for (size_t i = 0; (next = backend_expected(backend, i)) != NULL; i++)
        if (next->kind == EXPECT_READY || next->kind == EXPECT_SYNC)
            return next->answer == ANSWER_STAYS;
    return false;
}

static void down_own(struct backend *backend, const struct wire_message *message)
{
    switch (message->type) {
    case '1':
        if (backend->expected_count > 0) backend_met(backend, 0);
        break;
    case 'E':
        undo(backend);
        break;
    case 'Z':
        backend->status = message->have == 1 ? message->body[0] : 'E';
        backend_met(backend, 0);
        backend->own_answers--;
        break;
    default:
        break;
    }
}

static void down_message(struct down *down, const struct wire_message *message)
{
    struct backend *backend = down->backend;
    if (backend->state == BACKEND_ERRAND && message->type != 'A') {
        down_errand(backend, message);
        backend->passing_drops = true;
        return;
    }
    backend->passing_drops = backend->own_answers > 0 && is_own_answer(backend, message->type);
    if (backend->passing_drops) {
        down_own(backend, message);
        return;
    }
    switch (message->type) {
    case '1':
    case '3':
        down_completed(down, message);
        return;
    case 'Z':
        down_ready(down, message);
        return;
    case 'E':
        down_error(down, message);
        return;
    case 'S':
        down_parameter(backend, message);
        break;
    case 'C':
        down_tag(backend, message);
        break;
    case 'G':
        down_copy_in(backend);
        break;
    default:
        break;
    }
    sink_pass(&down->sink, message->body - WIRE_HEADER, WIRE_HEADER + message->have);
}

size_t relay_down(struct backend *backend, const char *data, size_t length)
{
    struct down down = {.backend = backend, .sink = {.out = &backend->hub->down}};
    size_t at = 0;
    while (at < length) {
        const size_t left = length - at;
        struct wire_message message;
        if (backend->passing > 0) {
            const size_t some = left < backend->passing ? left : backend->passing;
            if (!backend->passing_drops) sink_pass(&down.sink, data + at, some);
            backend->passing -= some;
            at += some;
            continue;
        }
        const enum wire_result result = wire_peek(data + at, left, false, &message);
        if (result == WIRE_INCOMPLETE) break;
        if (result == WIRE_WRONG) {
            buffer_clear(down.sink.out);
            backend_close(backend, "the server sent what is no message");
            return length;
        }
        if (message.have < message.size - WIRE_HEADER && is_gathered(backend, &message)) break;
        down_message(&down, &message);
        at += WIRE_HEADER + message.have;
        backend->passing = message.size - WIRE_HEADER - message.have;
    }
    struct client *client = backend->client;
    if (client != NULL && !client->closed) {
        const size_t sent = down.sink.out->length + down.sink.run_length;
        if (channel_backlog(&client->channel) == 0) client->since = hub_now();
        sink_write(&down.sink, &client->channel);
        COUNT(backend->role, sent, sent);
    }
    buffer_clear(down.sink.out);
    return at;
}
