#include "tools/tekupd/events/event_client.h"

#include "ingest/clock.h"
#include "storage/base/log.h"
#include "tools/tekupd/http/json_write.h"

#include <stdlib.h>
#include <string.h>

enum { ALIVE_S = 15, STALLED_S = 20 };

void event_client_free(struct event_client *client)
{
    event_place_free(&client->place);
    free(client->source);
    free(client->repository);
    free(client->last_id);
    free(client);
}

struct event_client *event_client_create(const char *source, const char *repository,
                                         const char *last_id)
{
    struct event_client *client = calloc(1, sizeof(*client));
    if (client == NULL) return NULL;
    client->source = source != NULL ? strdup(source) : NULL;
    client->repository = repository != NULL ? strdup(repository) : NULL;
    client->last_id = last_id != NULL ? strdup(last_id) : NULL;
    client->sent_s = client->taken_s = clock_now();
    if ((source == NULL || client->source != NULL) &&
        (repository == NULL || client->repository != NULL) &&
        (last_id == NULL || client->last_id != NULL))
        return client;
    event_client_free(client);
    return NULL;
}

static void send_text(struct event_client *client, const struct buffer *text)
{
    if (text->failed) client->failed = true;
    if (client->failed) return;
    http_stream_send(client->stream, text->data, text->length);
    client->sent_s = clock_now();
}

/* One that takes nothing for long of what there is for it is cut off. */
bool event_client_is_over(struct event_client *client)
{
    const struct http_stream_state state = http_stream_state(client->stream);
    if (state.gone || client->failed) return true;
    if (state.taken != client->taken || state.backlog == 0) {
        client->taken = state.taken;
        client->taken_s = clock_now();
    }
    if (clock_now() <= client->taken_s + STALLED_S) return false;
    log_info("events.cut", "backlog=%zu", state.backlog);
    return true;
}

bool event_client_has_room(const struct event_client *client, size_t most)
{
    return http_stream_state(client->stream).backlog < most;
}

static bool wants(const struct event_client *client, const struct feed_change *change)
{
    if (change->action == FEED_TRUNCATE) return true; /* of everything, whatever it was */
    return (client->source == NULL ||
            (change->source != NULL && strcmp(client->source, change->source) == 0)) &&
           (client->repository == NULL ||
            (change->repository != NULL && strcmp(client->repository, change->repository) == 0));
}

static void put_id(struct event_client *client, const char *feed, struct buffer *out)
{
    buffer_text(out, "id: ");
    event_id_put(out, feed, &client->place);
    buffer_text(out, "\n");
    client->moved = false;
}

static int set_place(struct event_client *client, const char *position, struct error *err)
{
    char *copy = strdup(position);
    if (copy == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    event_place_free(&client->place);
    client->place.after = copy;
    client->placed = true;
    return 0;
}

int event_client_begin(struct event_client *client, const char *feed, const char *position,
                       const char *reason, struct error *err)
{
    struct buffer text = {0};
    if (position != NULL && set_place(client, position, err) != 0) return -1;
    client->placed = true;
    put_id(client, feed, &text);
    if (reason != NULL) {
        buffer_text(&text, "event: reset\ndata:");
        json_put_open(&text, '{');
        json_field_text(&text, "reason", reason);
        json_put_close(&text, '}');
        buffer_text(&text, "\n\n");
    } else {
        buffer_format(&text, "retry: 2000\nevent: start\ndata:{\"resumed\":%s}\n\n",
                      position == NULL ? "true" : "false");
    }
    send_text(client, &text);
    buffer_free(&text);
    return 0;
}

void event_client_give(struct event_client *client, const char *feed,
                       const struct feed_change *changes, size_t count,
                       const struct sync_rows *rows, size_t most)
{
    struct buffer text = {0};
    const size_t backlog = http_stream_state(client->stream).backlog;
    for (size_t i = 0; i < count && client->reading; i++) {
        client->place.seq = changes[i].seq;
        client->moved = true;
        if (!wants(client, &changes[i])) continue;
        put_id(client, feed, &text);
        event_text_put(&text, &changes[i], rows);
        buffer_text(&text, "\n");
        client->reading = !text.failed && backlog + text.length < most;
    }
    if (text.length > 0 || text.failed) send_text(client, &text);
    buffer_free(&text);
}

void event_client_keep_alive(struct event_client *client, const char *feed, size_t most)
{
    struct buffer text = {0};
    if (clock_now() < client->sent_s + ALIVE_S || !event_client_has_room(client, most)) return;
    buffer_text(&text, ": alive\n");
    if (client->placed && client->moved) put_id(client, feed, &text);
    buffer_text(&text, "\n");
    send_text(client, &text);
    buffer_free(&text);
}
