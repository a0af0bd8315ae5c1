/* answer.c: clients of PASSTHROUGH_INDEX, whose queries this process answers. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>

struct passthrough_answer {
    struct passthrough_answer *next; /* among the finished */
    struct answers *answers;
    struct client *client; /* the loop's; NULL once it is gone */
    struct buffer text, out;
    bool ended; /* complete or failed */
};

struct answers {
    struct passthrough *hub;
    pthread_mutex_t lock; /* protects finished and stopped */
    struct passthrough_answer *finished;
    bool stopped;
};

static void release(struct passthrough_answer *answer)
{
    buffer_free(&answer->text);
    buffer_free(&answer->out);
    free(answer);
}

struct answers *answers_create(struct passthrough *hub)
{
    struct answers *answers = calloc(1, sizeof(*answers));
    if (answers == NULL) return NULL;
    answers->hub = hub;
    pthread_mutex_init(&answers->lock, NULL);
    return answers;
}

static struct passthrough_answer *take_finished(struct answers *answers, bool stop)
{
    pthread_mutex_lock(&answers->lock);
    struct passthrough_answer *list = answers->finished;
    answers->finished = NULL;
    if (stop) answers->stopped = true;
    pthread_mutex_unlock(&answers->lock);
    return list;
}

void answers_stop(struct answers *answers)
{
    struct passthrough_answer *list = take_finished(answers, true);
    while (list != NULL) {
        struct passthrough_answer *next = list->next;
        release(list);
        list = next;
    }
}

void answers_free(struct answers *answers)
{
    if (answers == NULL) return;
    answers_stop(answers);
    pthread_mutex_destroy(&answers->lock);
    free(answers);
}

/* ---- Putting it together ---- */

void passthrough_answer_columns(struct passthrough_answer *answer,
                                const struct passthrough_column *columns, size_t count)
{
    struct buffer *out = &answer->out;
    const size_t at = wire_begin(out, 'T');
    wire_put16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        wire_put_string(out, columns[i].name);
        wire_put32(out, 0); /* of no table */
        wire_put16(out, 0);
        wire_put32(out, columns[i].type);
        wire_put16(out, (uint16_t)-1);
        wire_put32(out, (uint32_t)-1);
        wire_put16(out, 0); /* text */
    }
    wire_end(out, at);
}

void passthrough_answer_row(struct passthrough_answer *answer, const char *const *values,
                            size_t count)
{
    struct buffer *out = &answer->out;
    const size_t at = wire_begin(out, 'D');
    wire_put16(out, (uint16_t)count);
    for (size_t i = 0; i < count; i++) {
        if (values[i] == NULL) {
            wire_put32(out, (uint32_t)-1);
            continue;
        }
        const size_t length = strlen(values[i]);
        wire_put32(out, (uint32_t)length);
        buffer_append(out, values[i], length);
    }
    wire_end(out, at);
}

void passthrough_answer_complete(struct passthrough_answer *answer, const char *tag)
{
    const size_t at = wire_begin(&answer->out, 'C');
    wire_put_string(&answer->out, tag);
    wire_end(&answer->out, at);
    answer->ended = true;
}

void passthrough_answer_error(struct passthrough_answer *answer, const char *sqlstate,
                              const char *message)
{
    wire_put_error(&answer->out, "ERROR", sqlstate, message);
    answer->ended = true;
}

void passthrough_answer_end(struct passthrough_answer *answer)
{
    struct answers *answers = answer->answers;
    if (answer->out.failed) {
        buffer_free(&answer->out);
        answer->out = (struct buffer){0};
        passthrough_answer_error(answer, "53200", "out of memory");
    }
    if (!answer->ended) passthrough_answer_error(answer, "XX000", "there is no answer");
    wire_put_ready(&answer->out, 'I');
    pthread_mutex_lock(&answers->lock);
    const bool stopped = answers->stopped;
    if (!stopped) {
        answer->next = answers->finished;
        answers->finished = answer;
        event_active(answers->hub->wake, EV_READ, 0);
    }
    pthread_mutex_unlock(&answers->lock);
    if (stopped) release(answer);
}

/* ---- The loop's ---- */

void answer_collect(struct passthrough *hub)
{
    struct passthrough_answer *answer = take_finished(hub->answers, false);
    while (answer != NULL) {
        struct passthrough_answer *next = answer->next;
        struct client *client = answer->client;
        if (client != NULL) {
            client->answer = NULL;
            client_send(client, &answer->out);
            client_go_on(client);
        }
        release(answer);
        answer = next;
    }
}

void answer_detach(struct client *client)
{
    client->answer->client = NULL;
    client->answer = NULL;
}

static bool ask(struct client *client, const struct wire_message *message)
{
    struct passthrough *hub = client->hub;
    if (message->have == 0 || message->body[message->have - 1] != '\0') {
        client_fail(client, "08P01", "invalid message: the query has no end");
        return false;
    }
    struct passthrough_answer *answer = calloc(1, sizeof(*answer));
    if (answer != NULL) buffer_text(&answer->text, message->body);
    if (answer == NULL || answer->text.failed) {
        if (answer != NULL) release(answer);
        client_fail(client, "53200", "out of memory");
        return false;
    }
    answer->answers = hub->answers;
    answer->client = client;
    client->answer = answer;
    hub->options.query(hub->options.arg, answer, answer->text.data);
    return true;
}

static void say(struct client *client, bool refusal)
{
    struct buffer out = {0};
    if (refusal)
        wire_put_error(&out, "ERROR", "0A000", "only simple queries are answered here");
    else
        wire_put_ready(&out, 'I');
    client_send(client, &out);
    buffer_free(&out);
}

static void other_message(struct client *client, char type)
{
    if (type == 'S') {
        client->skipping = false;
        say(client, false);
    } else if (type == 'F') {
        say(client, true);
        say(client, false);
    } else if (strchr("PBDEC", type) != NULL && !client->skipping) {
        client->skipping = true;
        say(client, true);
    }
}

size_t answer_read(struct client *client, const char *data, size_t length)
{
    size_t at = 0;
    while (at < length && !client->closed && client->answer == NULL) {
        const size_t left = length - at;
        struct wire_message message;
        if (client->dropping > 0) {
            at += client_drop(client, left);
            continue;
        }
        const enum wire_result result = wire_peek(data + at, left, true, &message);
        if (result == WIRE_INCOMPLETE) {
            client->gathering = true;
            break;
        }
        if (result == WIRE_WRONG) {
            client_fail(client, "08P01", "invalid message");
        } else if (message.type == 'X') {
            client_close(client);
        } else if (message.type != 'Q') {
            other_message(client, message.type);
            client->dropping = message.size;
        } else if (message.size > GATHER_MOST) {
            client_fail(client, "54000", "a query is longer than %d bytes", GATHER_MOST);
        } else if (message.have < message.size - WIRE_HEADER) {
            client->gathering = true;
            break;
        } else if (ask(client, &message)) {
            at += message.size;
        }
    }
    return at;
}
