/* relay_up.c: what passes from a client to the server that it has leased.
 *
 * Only headers are read, but for the few messages that say what the connection will be like
 * afterwards. Statements have other names on the server, which more than one client may share. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/look.h"
#include "storage/passthrough/sink.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>

/* A name that no server has a statement under. */
static const char nobody[] = STATEMENT_PREFIX "0";

struct up {
    struct client *client;
    struct backend *backend;
    struct sink sink;
    bool first; /* nothing has gone to the server in this lease */
    bool apart; /* what comes before has had its Sync */
};

static void saw(struct backend *backend, int flags)
{
    backend->look |= flags;
}

/* ---- The pass-through's own ---- */

/* A statement whose answer the client does not see. */
static void put_own_query(struct up *up, const char *sql)
{
    const struct expectation ready = {.kind = EXPECT_READY, .answer = ANSWER_STAYS};
    backend_expect(up->backend, &ready);
    up->backend->own_answers++;
    up->client->unnamed_here = false;
    sink_settle(&up->sink);
    wire_put_query(up->sink.out, sql);
}

/* SQL is about to name or show prepared statements: the server gets the client's under the names
 * that it gave them, and none of anybody else's. From now on names pass unchanged. */
static void go_direct(struct up *up)
{
    static const struct expectation parse = {.kind = EXPECT_PARSE, .answer = ANSWER_STAYS};
    static const struct expectation sync = {.kind = EXPECT_SYNC, .answer = ANSWER_STAYS};
    struct client *client = up->client;
    struct backend *backend = up->backend;
    struct statements *statements = &client->hub->statements;
    struct buffer *out = up->sink.out;
    put_own_query(up, "DEALLOCATE ALL");
    prepared_clear(&backend->prepared, statements);
    backend->bound = NULL;
    for (size_t i = 0; i < client->names.room; i++) {
        for (const struct name *name = client->names.buckets[i]; name != NULL; name = name->next) {
            if (name->closing || !name->confirmed) continue;
            backend_expect(backend, &parse);
            const size_t at = wire_begin(out, 'P');
            buffer_append(out, name->text, name->length);
            buffer_append(out, "", 1);
            buffer_append(out, name->statement->text, name->statement->length);
            wire_end(out, at);
        }
    }
    if (client->names.count > 0) {
        backend_expect(backend, &sync);
        backend->own_answers++;
        wire_end(out, wire_begin(out, 'S'));
    }
    names_free(&client->names, statements);
    client->direct = true;
}

/* Before a statement of which look() said this. */
static void prepare_for(struct up *up, int flags)
{
    struct backend *backend = up->backend;
    if (flags & LOOK_SEQUENCE) backend->role->sequences = true;
    if (up->first && backend->foreign && backend->role->sequences)
        put_own_query(up, "DISCARD SEQUENCES");
    if (flags & LOOK_STATEMENTS && up->apart && backend->status != 'E' && !up->client->direct)
        go_direct(up);
    saw(backend, flags);
}

/* A statement that is not to be prepared any more makes room for another. */
static void make_room(struct up *up)
{
    struct backend *backend = up->backend;
    struct statement *oldest = prepared_oldest(&backend->prepared);
    char name[STATEMENT_NAME];
    if (oldest == NULL) return;
    const struct expectation close = {
        .kind = EXPECT_CLOSE, .answer = ANSWER_STAYS, .statement = oldest, .evicted = true};
    backend_expect(backend, &close);
    statement_name(oldest, name);
    sink_settle(&up->sink);
    const size_t at = wire_begin(up->sink.out, 'C');
    buffer_append(up->sink.out, "S", 1);
    wire_put_string(up->sink.out, name);
    wire_end(up->sink.out, at);
    if (backend->bound == oldest) backend->bound = NULL;
    prepared_remove(&backend->prepared, &backend->hub->statements, oldest);
}

static void put_parse(struct up *up, const char *name, const char *text, size_t length)
{
    sink_settle(&up->sink);
    const size_t at = wire_begin(up->sink.out, 'P');
    wire_put_string(up->sink.out, name);
    buffer_append(up->sink.out, text, length);
    wire_end(up->sink.out, at);
}

/* Sees to it that the server has the statement; the client hears nothing of it. */
static void ensure_prepared(struct up *up, struct statement *statement)
{
    struct backend *backend = up->backend;
    char name[STATEMENT_NAME];
    backend->bound = statement;
    saw(backend, statement->look);
    if (prepared_has(&backend->prepared, statement)) return;
    make_room(up);
    const struct expectation parse = {
        .kind = EXPECT_PARSE, .answer = ANSWER_STAYS, .statement = statement};
    backend_expect(backend, &parse);
    statement_name(statement, name);
    put_parse(up, name, statement->text, statement->length);
    prepared_add(&backend->prepared, statement);
}

/* The server's unnamed statement may be another client's; the client's own is prepared again, or
 * that there is none is made true. */
static void ensure_unnamed(struct up *up)
{
    struct client *client = up->client;
    if (client->unnamed_here) return;
    client->unnamed_here = true;
    if (client->unnamed_length > 0) {
        const struct expectation parse = {
            .kind = EXPECT_PARSE, .answer = ANSWER_STAYS, .unnamed = true};
        backend_expect(up->backend, &parse);
        put_parse(up, "", client->unnamed, client->unnamed_length);
        saw(up->backend, look(client->unnamed, client->unnamed_length));
        return;
    }
    const struct expectation close = {.kind = EXPECT_CLOSE, .answer = ANSWER_STAYS};
    backend_expect(up->backend, &close);
    sink_settle(&up->sink);
    const size_t at = wire_begin(up->sink.out, 'C');
    buffer_append(up->sink.out, "S", 2);
    wire_end(up->sink.out, at);
}

static void keep_unnamed(struct client *client, const char *text, size_t length)
{
    if (length > client->unnamed_room) {
        char *grown = realloc(client->unnamed, length);
        if (grown == NULL) {
            client_forget_unnamed(client);
            return;
        }
        client->unnamed = grown;
        client->unnamed_room = length;
    }
    memcpy(client->unnamed, text, length);
    client->unnamed_length = length;
    client->unnamed_long = false;
}

/* Passes on the message, as far as it is there. */
static void pass_message(struct up *up, const struct wire_message *message)
{
    sink_pass(&up->sink, message->body - WIRE_HEADER, WIRE_HEADER + message->have);
    up->backend->sending = message->size - WIRE_HEADER - message->have;
}

static void up_query(struct up *up, const struct wire_message *message)
{
    const struct expectation ready = {.kind = EXPECT_READY};
    struct client *client = up->client;
    const bool whole = message->have == message->size - WIRE_HEADER;
    prepare_for(up, whole ? look(message->body, message->have) : LOOK_SUSPECT | LOOK_OPAQUE);
    /* A simple query does away with the unnamed statement. */
    client_forget_unnamed(client);
    client->unnamed_here = true;
    backend_expect(up->backend, &ready);
    pass_message(up, message);
}

static void up_parse_unnamed(struct up *up, const struct wire_message *message)
{
    struct client *client = up->client;
    const struct expectation parse = {.kind = EXPECT_PARSE, .unnamed = true};
    const bool whole = message->have == message->size - WIRE_HEADER;
    prepare_for(up,
                whole ? look(message->body + 1, message->have - 1) : LOOK_SUSPECT | LOOK_OPAQUE);
    client->unnamed_here = true;
    if (whole)
        keep_unnamed(client, message->body + 1, message->have - 1);
    else
        client_forget_unnamed(client);
    client->unnamed_long = !whole;
    backend_expect(up->backend, &parse);
    pass_message(up, message);
}

/* Returns false where the client had to be ended. */
static bool up_parse_named(struct up *up, const struct wire_message *message, const char *name,
                           size_t length)
{
    struct client *client = up->client;
    struct backend *backend = up->backend;
    struct statements *statements = &client->hub->statements;
    const char *text = name + length + 1;
    const size_t text_length = message->size - WIRE_HEADER - length - 1;
    char server_name[STATEMENT_NAME];
    const struct name *taken = names_get(&client->names, name, length);
    if (taken != NULL) {
        /* Let the server say that there is one already. */
        const struct expectation parse = {.kind = EXPECT_PARSE};
        ensure_prepared(up, taken->statement);
        statement_name(taken->statement, server_name);
        backend_expect(backend, &parse);
        put_parse(up, server_name, text, text_length);
        return true;
    }
    struct statement *statement =
        statement_of(statements, backend->role, client->profile->serial, text, text_length);
    if (statement == NULL) {
        client_fail(client, "53200", "out of memory");
        return false;
    }
    if (statement->look < 0) statement->look = look(text, text_length);
    if (!names_add(&client->names, statements, name, length, statement)) {
        client_fail(client, "54000", "too many prepared statements");
        return false;
    }
    struct expectation expected = {.kind = EXPECT_PARSE, .statement = statement, .named = true};
    if (backend->status != 'E' && prepared_has(&backend->prepared, statement)) {
        expected.kind = EXPECT_CLOSE;
        expected.answer = ANSWER_PARSES;
        backend_expect(backend, &expected);
        sink_settle(&up->sink);
        const size_t at = wire_begin(up->sink.out, 'C');
        buffer_append(up->sink.out, "S", 1);
        wire_put_string(up->sink.out, nobody);
        wire_end(up->sink.out, at);
        return true;
    }
    make_room(up);
    backend_expect(backend, &expected);
    statement_name(statement, server_name);
    put_parse(up, server_name, text, text_length);
    if (!prepared_has(&backend->prepared, statement)) prepared_add(&backend->prepared, statement);
    return true;
}

/* The name that the server knows the client's statement by; its own where the server does not know
 * it from here. */
static void put_server_name(struct up *up, const char *name, size_t length)
{
    const struct name *known = names_get(&up->client->names, name, length);
    char server_name[STATEMENT_NAME];
    if (known != NULL) {
        statement_name(known->statement, server_name);
        wire_put_string(up->sink.out, server_name);
        return;
    }
    buffer_append(up->sink.out, name, length);
    if (strncmp(name, STATEMENT_PREFIX, sizeof(STATEMENT_PREFIX) - 1) == 0)
        buffer_append(up->sink.out, "?", 1);
    buffer_append(up->sink.out, "", 1);
}

static void up_bind(struct up *up, const struct wire_message *message, const char *portal,
                    size_t portal_length, const char *name, size_t length)
{
    const struct name *known = names_get(&up->client->names, name, length);
    if (known != NULL) ensure_prepared(up, known->statement);
    const char *rest = name + length + 1;
    const size_t rest_length = message->have - (size_t)(rest - message->body);
    sink_settle(&up->sink);
    struct buffer *out = up->sink.out;
    const size_t at = wire_begin(out, 'B');
    buffer_append(out, portal, portal_length + 1);
    put_server_name(up, name, length);
    up->backend->sending = message->size - WIRE_HEADER - message->have;
    if (!out->failed) {
        /* The length counts what is still to come. */
        const size_t size = out->length - at + rest_length + up->backend->sending;
        for (int i = 0; i < 4; i++) out->data[at + (size_t)i] = (char)(size >> (24 - 8 * i));
    }
    sink_pass(&up->sink, rest, rest_length);
}

static void up_describe(struct up *up, const struct wire_message *message, const char *name,
                        size_t length)
{
    const struct name *known = names_get(&up->client->names, name, length);
    if (known != NULL) ensure_prepared(up, known->statement);
    sink_settle(&up->sink);
    const size_t at = wire_begin(up->sink.out, 'D');
    buffer_append(up->sink.out, message->body, 1);
    put_server_name(up, name, length);
    wire_end(up->sink.out, at);
}

static void up_close(struct up *up, const struct wire_message *message, const char *name,
                     size_t length)
{
    struct expectation expected = {.kind = EXPECT_CLOSE};
    const bool named = *message->body == 'S' && length > 0;
    struct name *known = named ? names_get(&up->client->names, name, length) : NULL;
    if (named && up->client->direct) saw(up->backend, LOOK_SUSPECT);
    if (known == NULL) {
        if (*message->body == 'S' && length == 0) {
            client_forget_unnamed(up->client);
            up->client->unnamed_here = true;
        }
        backend_expect(up->backend, &expected);
        if (named && !up->client->direct &&
            strncmp(name, STATEMENT_PREFIX, sizeof(STATEMENT_PREFIX) - 1) == 0)
            name = nobody;
        else {
            pass_message(up, message);
            return;
        }
    } else {
        known->closing = true;
        expected.named = true;
        expected.statement = known->statement;
        backend_expect(up->backend, &expected);
        name = nobody; /* others may still use the statement */
    }
    sink_settle(&up->sink);
    const size_t at = wire_begin(up->sink.out, 'C');
    buffer_append(up->sink.out, "S", 1);
    wire_put_string(up->sink.out, name);
    wire_end(up->sink.out, at);
}

static void up_copy_end(struct up *up, const struct wire_message *message)
{
    const struct expectation end = {.kind = EXPECT_COPY_END};
    struct backend *backend = up->backend;
    if (backend->copying)
        backend->copying = false;
    else if (backend->expected_count > 0)
        backend_expect(backend, &end);
    pass_message(up, message);
}

/* How much of a message has to be there before anything is done with it; more than there may be
 * where it is no use waiting. */
static size_t wanted(const struct wire_message *message)
{
    const size_t body = message->size - WIRE_HEADER;
    switch (message->type) {
    case 'Q':
        return body <= LOOK_MOST ? body : 0;
    case 'P':
        if (message->have > 0 && message->body[0] == '\0') return body <= LOOK_MOST ? body : 1;
        return body <= GATHER_MOST ? body : NAME_MOST + 1;
    case 'B':
        return body < 2 * (NAME_MOST + 1) ? body : 2 * (NAME_MOST + 1);
    case 'D':
    case 'C':
        return body;
    default:
        return 0;
    }
}

static void answer_locally(struct client *client, char type)
{
    struct buffer out = {0};
    wire_end(&out, wire_begin(&out, type));
    wire_put_ready(&out, 'I');
    client_send(client, &out);
    buffer_free(&out);
}

/* Parse and Sync, or Close and Sync, of a client that has no server: where a server has prepared
 * the same before, nobody need wait for one. A client that waits for the answer, while others that
 * it has to go on with hold all servers, would wait for ever. Returns how much was used. */
static size_t without_server(struct client *client, const struct wire_message *message,
                             const char *data, size_t length)
{
    static const char sync[WIRE_HEADER] = {'S', 0, 0, 0, 4};
    if (length < message->size + sizeof(sync) || (message->type != 'P' && message->type != 'C') ||
        memcmp(data + message->size, sync, sizeof(sync)) != 0)
        return 0;
    struct statements *statements = &client->hub->statements;
    struct wire_reader reader = {.at = message->body, .end = message->body + message->have};
    size_t name_length;
    if (message->type == 'C' && (message->have == 0 || *reader.at++ != 'S')) return 0;
    const char *name = wire_read_string(&reader, &name_length);
    if (name == NULL || name_length == 0 || name_length > NAME_MOST) return 0;
    struct name *known = names_get(&client->names, name, name_length);
    if (message->type == 'C') {
        if (known == NULL || reader.at != reader.end) return 0;
        known->closing = true;
        names_drop(&client->names, statements, known->statement, true);
        answer_locally(client, '3');
        return message->size + sizeof(sync);
    }
    if (known != NULL) return 0;
    struct statement *statement = statement_find(statements, client->role, client->profile->serial,
                                                 reader.at, (size_t)(reader.end - reader.at));
    if (statement == NULL || !statement->proven || statement->look & LOOK_STATEMENTS) return 0;
    statement_use(statement);
    if (!names_add(&client->names, statements, name, name_length, statement)) return 0;
    names_confirm(&client->names, statement);
    answer_locally(client, '1');
    return message->size + sizeof(sync);
}

static bool refuse_message(struct client *client, const char *what)
{
    client_fail(client, "08P01", "invalid message: %s", what);
    return false;
}

/* Messages with names of statements in them. */
static bool up_named(struct up *up, const struct wire_message *message)
{
    struct wire_reader reader = {.at = message->body, .end = message->body + message->have};
    struct client *client = up->client;
    size_t portal_length = 0, length = 0;
    const char *portal = NULL;
    char kind = 'S';
    if (message->type == 'D' || message->type == 'C') {
        if (message->have == 0) return refuse_message(client, "it is empty");
        kind = *reader.at++;
    }
    if (message->type == 'B') portal = wire_read_string(&reader, &portal_length);
    const char *name = wire_read_string(&reader, &length);
    if (reader.failed || portal_length > NAME_MOST || length > NAME_MOST) {
        if (message->have <= NAME_MOST) return refuse_message(client, "a name has no end");
        client_fail(client, "54000", "a name of a statement or portal is longer than %d bytes",
                    NAME_MOST);
        return false;
    }
    switch (message->type) {
    case 'P':
        if (length == 0) {
            up_parse_unnamed(up, message);
            return true;
        }
        prepare_for(up, look(reader.at, (size_t)(reader.end - reader.at)) &
                            (LOOK_STATEMENTS | LOOK_SEQUENCE));
        if (client->direct) {
            const struct expectation parse = {.kind = EXPECT_PARSE};
            saw(up->backend, LOOK_SUSPECT | LOOK_OPAQUE);
            backend_expect(up->backend, &parse);
            pass_message(up, message);
            return true;
        }
        if (message->have < message->size - WIRE_HEADER) {
            client_fail(client, "54000", "a named statement is longer than %d bytes", GATHER_MOST);
            return false;
        }
        return up_parse_named(up, message, name, length);
    case 'B':
        if (length == 0) client->unnamed_long = false; /* it will hardly be used once more */
        if (length > 0 && !client->direct) {
            up_bind(up, message, portal, portal_length, name, length);
            return true;
        }
        if (length == 0) ensure_unnamed(up);
        pass_message(up, message);
        return true;
    case 'D':
        if (reader.at != reader.end) return refuse_message(client, "it is too long");
        if (kind == 'S' && length > 0 && !client->direct) {
            up_describe(up, message, name, length);
            return true;
        }
        if (kind == 'S' && length == 0) ensure_unnamed(up);
        pass_message(up, message);
        return true;
    default:
        if (reader.at != reader.end) return refuse_message(client, "it is too long");
        up_close(up, message, name, length);
        return true;
    }
}

/* Returns false where the client is at its end. */
static bool up_message(struct up *up, const struct wire_message *message)
{
    const struct expectation ready = {.kind = EXPECT_READY}, sync = {.kind = EXPECT_SYNC};
    struct backend *backend = up->backend;
    switch (message->type) {
    case 'Q':
        up_query(up, message);
        return true;
    case 'F':
        saw(backend, LOOK_SUSPECT | LOOK_OPAQUE);
        backend_expect(backend, &ready);
        pass_message(up, message);
        return true;
    case 'S':
        if (!backend->copying) {
            backend_expect(backend, &sync);
            backend->unsynced = false;
        }
        pass_message(up, message);
        return true;
    case 'P':
    case 'B':
    case 'D':
    case 'C':
        backend->unsynced = true;
        return up_named(up, message);
    case 'c':
    case 'f':
        up_copy_end(up, message);
        return true;
    case 'd':
        pass_message(up, message);
        return true;
    default: /* Execute and Flush */
        backend->unsynced = true;
        pass_message(up, message);
        return true;
    }
}

/* Whether the client has a server that takes more now. */
static bool has_server(struct client *client)
{
    if (client->backend == NULL && !client->waiting) lease_request(client);
    const struct backend *backend = client->backend;
    return !client->closed && backend != NULL && backend->state == BACKEND_LEASED &&
           channel_backlog(&backend->channel) == 0 && backend->expected_count < EXPECT_MOST;
}

static void wrong_message(struct client *client, char type)
{
    if (strchr("QFXBPCDEHSdcf", type) != NULL && type != '\0')
        client_fail(client, "08P01", "invalid message length");
    else
        client_fail(client, "08P01", "invalid frontend message type %d", (unsigned char)type);
    COUNT_REFUSED(client->hub);
}

static void flush_up(struct up *up)
{
    if (up->backend == NULL) return;
    sink_write(&up->sink, &up->backend->channel);
    up->backend->writing = false;
}

size_t relay_up(struct client *client, const char *data, size_t length)
{
    struct up up = {.client = client, .sink = {.out = &client->hub->up}};
    size_t at = 0;
    bool going = true;
    buffer_clear(up.sink.out);
    while (going && at < length && !client->closed) {
        const size_t left = length - at;
        struct wire_message message;
        if (client->dropping > 0) {
            at += client_drop(client, left);
            continue;
        }
        if (client->backend != NULL && client->backend->sending > 0) {
            if (!has_server(client)) break;
            up.backend = client->backend;
            const size_t some = left < up.backend->sending ? left : up.backend->sending;
            sink_pass(&up.sink, data + at, some);
            up.backend->sending -= some;
            at += some;
            continue;
        }
        const enum wire_result result = wire_peek(data + at, left, true, &message);
        if (result == WIRE_WRONG) {
            flush_up(&up);
            wrong_message(client, data[at]);
            break;
        }
        if (result == WIRE_INCOMPLETE || wanted(&message) > message.have) {
            client->gathering = true;
            break;
        }
        if (message.type == 'X') {
            flush_up(&up);
            client_close(client);
            break;
        }
        /* The rest of a COPY that has failed. */
        if (client->backend == NULL && !client->waiting && strchr("dcf", message.type) != NULL) {
            client->dropping = message.size;
            continue;
        }
        if (client->backend == NULL && !client->waiting) {
            const size_t used = without_server(client, &message, data + at, left);
            at += used;
            if (used > 0) continue;
        }
        if (!has_server(client)) break;
        up.backend = client->backend;
        up.backend->writing = true;
        up.first = !up.backend->begun;
        up.apart = !up.backend->unsynced;
        up.backend->begun = true;
        going = up_message(&up, &message);
        at += WIRE_HEADER + message.have;
    }
    if (!client->closed) flush_up(&up);
    buffer_clear(up.sink.out);
    return client->closed ? length : at;
}
