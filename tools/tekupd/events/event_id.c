#include "tools/tekupd/events/event_id.h"

#include "storage/base/digest.h"
#include "storage/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void event_place_free(struct event_place *place)
{
    free(place->after);
    free(place->upto);
    *place = (struct event_place){0};
}

void event_feed(const char *identity, char feed[EVENT_FEED_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    digest_sha256(identity, strlen(identity), digest);
    digest_hex(digest, (EVENT_FEED_SIZE - 1) / 2, feed);
}

void event_id_put(struct buffer *out, const char *feed, const struct event_place *place)
{
    buffer_format(out, "%s-%s", feed, place->after);
    if (place->upto != NULL) buffer_format(out, "-%s-%" PRId64, place->upto, place->seq);
}

static int parse_seq(const char *text, int64_t *seq)
{
    char *end;
    errno = 0;
    *seq = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 ? 0 : -1;
}

/* The parts of the id; the text is cut at its dashes. 0, -1 for what is none, 1 when memory ran
 * out. */
static int parse_parts(char *text, char feed[EVENT_FEED_SIZE], struct event_place *place)
{
    char *parts[4] = {NULL};
    int count = 0;
    char *part;
    while ((part = strsep(&text, "-")) != NULL) {
        if (count == 4) return -1;
        parts[count++] = part;
    }
    if ((count != 2 && count != 4) || strlen(parts[0]) != EVENT_FEED_SIZE - 1 ||
        strspn(parts[0], "0123456789abcdef") != EVENT_FEED_SIZE - 1 ||
        !feed_position_valid(parts[1]))
        return -1;
    if (count == 4 && (!feed_position_valid(parts[2]) || parse_seq(parts[3], &place->seq) != 0))
        return -1;
    memcpy(feed, parts[0], EVENT_FEED_SIZE);
    place->after = strdup(parts[1]);
    if (count == 4) place->upto = strdup(parts[2]);
    return place->after != NULL && (count == 2 || place->upto != NULL) ? 0 : 1;
}

int event_id_parse(const char *text, char feed[EVENT_FEED_SIZE], struct event_place *place,
                   struct error *err)
{
    *place = (struct event_place){0};
    if (strlen(text) > EVENT_ID_MOST)
        return error_set(err, ERR_INVALID, "Last-Event-ID", "Last-Event-ID is too long");
    char *copy = strdup(text);
    const int rc = copy != NULL ? parse_parts(copy, feed, place) : 1;
    free(copy);
    if (rc == 0) return 0;
    event_place_free(place);
    if (rc > 0) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    return error_set(err, ERR_INVALID, "Last-Event-ID",
                     "Last-Event-ID is not the id of an event of this interface");
}
