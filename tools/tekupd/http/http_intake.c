/*
 * http_intake.c: from what a client has sent to what it is answered with, one request at a time.
 */
#include "tools/tekupd/http/http_internal.h"

#include <string.h>
#include <sys/socket.h>

enum { IN_A_ROW = 16 }; /* requests of one connection before others get their turn */

/* ---- Refusing -------------------------------------------------------------------------------- */

/* Its request is answered although it has not been read to its end. */
static struct http_request *end_early(struct connection *connection)
{
    connection->closes = connection->rest = true;
    connection->state = IS_BUSY;
    http_request_begin(&connection->request);
    return &connection->request;
}

static void refuse_early(struct connection *connection, int status, const char *message)
{
    http_respond_refusal(end_early(connection), status, NULL, message);
}

static void refuse_large(struct connection *connection)
{
    http_request_too_large(end_early(connection));
}

/* ---- Taking what has come -------------------------------------------------------------------- */

/* An empty line or two in front of a request are nobody's. */
static void skip_empty_lines(struct connection *connection)
{
    size_t skipped = 0;
    while (skipped < connection->in_length &&
           (connection->in[skipped] == '\r' || connection->in[skipped] == '\n'))
        skipped++;
    if (skipped == 0) return;
    connection->in_length -= skipped;
    memmove(connection->in, connection->in + skipped, connection->in_length);
}

static void begin_body(struct connection *connection)
{
    static const char go[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct http_head *head = &connection->head;
    connection->limit = http_request_judge(&connection->request);
    connection->state = head->chunked ? READS_CHUNKS : READS_BODY;
    connection->chunks = (struct http_chunks){.end = connection->head_length};
    if (!head->chunked && head->length > (uint64_t)connection->limit) {
        refuse_large(connection);
    } else if (head->expects && (head->chunked || head->length > 0) &&
               connection->in_length == connection->head_length) {
        if (connection->request.refused != 0)
            refuse_large(connection); /* whether the body will come is not to be known */
        else
            connection_write(connection, go, sizeof(go) - 1, NULL, 0);
    }
}

static void give_to_handler(struct connection *connection, size_t body_length)
{
    struct http_request *request = &connection->request;
    request->body = connection->in + connection->head_length;
    request->body_length = body_length;
    connection->state = IS_BUSY;
    http_request_dispatch(request);
}

/* Each returns whether there was enough to go on with. */
static bool take_head(struct connection *connection)
{
    if (connection->head_seen == 0) skip_empty_lines(connection);
    const size_t there = connection->in_length;
    const size_t length = http_head_find_end(connection->in, there, connection->head_seen);
    if (length > HTTP_MAX_HEAD || (length == 0 && there > HTTP_MAX_HEAD)) {
        http_head_clear(&connection->head);
        refuse_early(connection, 400, "the head is larger than 64 KiB");
        return true;
    }
    connection->head_seen = there;
    if (length == 0) return false;
    const char *wrong = http_head_read(connection->in, length, &connection->head);
    if (wrong != NULL) {
        refuse_early(connection, 400, wrong);
        return true;
    }
    connection->head_length = length;
    begin_body(connection);
    return true;
}

static bool take_body(struct connection *connection)
{
    const size_t length = (size_t)connection->head.length;
    if (connection->in_length - connection->head_length < length) return false;
    connection->chunks.end += length;
    give_to_handler(connection, length);
    return true;
}

static bool take_chunks(struct connection *connection)
{
    struct http_chunks *chunks = &connection->chunks;
    const size_t most = connection->head_length + (size_t)connection->limit;
    switch (http_chunks_read(chunks, connection->in, &connection->in_length, most)) {
    case CHUNKS_GO_ON:
        return false;
    case CHUNKS_ARE_WHOLE:
        give_to_handler(connection, chunks->end - connection->head_length);
        return true;
    case CHUNKS_ARE_LARGE:
        refuse_large(connection);
        return true;
    case CHUNKS_ARE_WRONG:
        break;
    }
    refuse_early(connection, 400, "a chunk of the body does not begin or end as one");
    return true;
}

/* ---- From one request to the next ------------------------------------------------------------ */

static void next_request(struct connection *connection)
{
    const size_t used = connection->chunks.end;
    connection->in_length -= used;
    if (connection->in_length > 0) {
        memmove(connection->in, connection->in + used, connection->in_length);
        clock_gettime(CLOCK_MONOTONIC_COARSE, &connection->since);
    }
    connection_shrink(connection);
    connection->head_seen = connection->head_length = 0;
    connection->chunks.end = 0;
    connection->request = (struct http_request){.connection = connection};
    connection->state = READS_HEAD;
    connection_count_no_more(connection);
    connection_resume(connection);
}

void connection_answered(struct connection *connection)
{
    if (!connection->broken && connection->out.length > connection->written) {
        connection->state = WRITES;
        buffer_free(&connection->request.answer); /* what is left of it is copied */
        event_add(&connection->writable, connection->loop->connections.idle);
        return;
    }
    http_request_done(&connection->request);
    connection->state = ANSWERED;
    if (connection->going) return;
    if (!connection->broken && !connection->ended && !connection->closes)
        connection_await(connection);
    connection_go_on(connection);
}

/* Whether the client goes on with what will not be read. */
static bool says_more(const struct connection *connection)
{
    char byte;
    return connection->rest || connection->in_length > connection->chunks.end ||
           recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void end_or_linger(struct connection *connection)
{
    if (says_more(connection))
        connection_linger(connection);
    else
        connection_close(connection);
}

/* Takes it as far as what has come in allows. The connection may be gone afterwards. */
void connection_go_on(struct connection *connection)
{
    bool enough = true;
    int answered = 0;
    connection->going = true;
    while (enough && !connection->broken) {
        switch (connection->state) {
        case READS_HEAD:
            enough = connection->in_length > 0 && take_head(connection);
            break;
        case READS_BODY:
            enough = take_body(connection);
            break;
        case READS_CHUNKS:
            enough = take_chunks(connection);
            break;
        case ANSWERED:
            if (connection->closes) {
                end_or_linger(connection);
                return;
            }
            next_request(connection);
            enough = ++answered < IN_A_ROW;
            if (!enough) connection_yield(connection);
            break;
        case IS_BUSY:
        case WRITES:
        case LINGERS:
            enough = false;
            break;
        }
    }
    connection->going = false;
    if (connection->broken ||
        (connection->ended && connection->state < IS_BUSY && !connection->late))
        connection_close(connection);
    else if (connection->late)
        return;
    else if (connection->ended && !connection->paused)
        connection_pause(connection);
    else if (connection->in_length == 0 && connection->state == READS_HEAD)
        connection_give_back(connection);
}
