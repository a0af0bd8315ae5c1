/* The ids of events, which come back from clients as anything at all; and events as text. */
#include "tools/tekupd/events/event_id.h"
#include "tools/tekupd/events/event_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(event_id, comes_back_as_it_went)
{
    static const struct {
        struct event_place place;
        const char *text;
    } cases[] = {
        {{(char *)"730:735:731,733", NULL, 0}, "-730:735:731,733"},
        {{(char *)"5:5:", (char *)"9:12:10", 1234567890123}, "-5:5:-9:12:10-1234567890123"},
        {{(char *)"5:5:", (char *)"9:12:10", 0}, "-5:5:-9:12:10-0"},
    };
    char name[EVENT_FEED_SIZE], feed[EVENT_FEED_SIZE];
    event_feed("7123456789/00000001/16384/some-uuid", name);
    cr_expect_eq(strlen(name), EVENT_FEED_SIZE - 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buffer text = {0};
        struct event_place place;
        struct error err = {0};
        event_id_put(&text, name, &cases[i].place);
        cr_expect_str_eq(text.data + EVENT_FEED_SIZE - 1, cases[i].text);
        cr_assert_eq(event_id_parse(text.data, feed, &place, &err), 0, "%s", err.message);
        cr_expect_str_eq(feed, name);
        cr_expect_str_eq(place.after, cases[i].place.after);
        cr_expect_eq(place.upto == NULL, cases[i].place.upto == NULL);
        if (place.upto != NULL) cr_expect_str_eq(place.upto, cases[i].place.upto);
        cr_expect_eq(place.seq, cases[i].place.seq);
        event_place_free(&place);
        buffer_free(&text);
    }
}

Test(event_id, names_feeds_apart)
{
    char one[EVENT_FEED_SIZE], other[EVENT_FEED_SIZE];
    event_feed("a", one);
    event_feed("b", other);
    cr_expect_str_neq(one, other);
}

Test(event_id, refuses_what_is_none)
{
    static const char *const texts[] = {
        "",
        "-",
        "x",
        "12345678",
        "12345678-",
        "1234567-5:5:",
        "123456789-5:5:",
        "1234567G-5:5:",
        "12345678-5:5",
        "12345678-6:5:",
        "12345678-5:5:'; DROP TABLE x",
        "12345678-5:5:-6:6:",
        "12345678-5:5:-6:6:-",
        "12345678-5:5:-6:6:--1",
        "12345678-5:5:-6:6:-1x",
        "12345678-5:5:-6:6:-99999999999999999999",
        "12345678-5:5:-6:6:-1-",
        "12345678-5:5:-x-1",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        char feed[EVENT_FEED_SIZE];
        struct event_place place;
        struct error err = {0};
        cr_expect_eq(event_id_parse(texts[i], feed, &place, &err), -1, "%s", texts[i]);
        cr_expect_eq(err.code, ERR_INVALID, "%s", texts[i]);
        cr_expect_str_eq(err.field, "Last-Event-ID");
        cr_expect_null(place.after);
        cr_expect_null(place.upto);
    }
    char *huge = malloc(EVENT_ID_MOST + 2);
    char feed[EVENT_FEED_SIZE];
    struct event_place place;
    struct error err = {0};
    memset(huge, '1', EVENT_ID_MOST + 1);
    huge[EVENT_ID_MOST + 1] = '\0';
    cr_expect_eq(event_id_parse(huge, feed, &place, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    free(huge);
}

static void expect_text(const struct feed_change *change, const char *expected)
{
    const struct sync_rows none = {NULL};
    struct buffer text = {0};
    event_text_put(&text, change, &none);
    cr_expect_str_eq(text.data, expected);
    buffer_free(&text);
}

Test(event_text, says_what_happened_in_two_lines)
{
    struct feed_change change = {.seq = 7,
                                 .at_us = 1795536000123456,
                                 .object = FEED_DOCUMENT,
                                 .action = FEED_UPDATE,
                                 .id = "c1",
                                 .source = "local",
                                 .repository = "r",
                                 .path = "a\n\"b\"\r\xff"};
    expect_text(&change,
                "event: document\ndata:{\"action\":\"update\",\"id\":\"c1\",\"source\":\"local\","
                "\"repository\":\"r\",\"path\":\"a\\n\\\"b\\\"\\r\xef\xbf\xbd\","
                "\"at\":\"2026-11-24T16:00:00.123Z\"}\n");
    change.object = FEED_EMBEDDING;
    change.action = FEED_DELETE;
    change.embedding = 17;
    expect_text(&change, "event: embedding\ndata:{\"action\":\"delete\",\"documentId\":\"c1\","
                         "\"embeddingId\":17,\"source\":\"local\",\"repository\":\"r\","
                         "\"at\":\"2026-11-24T16:00:00.123Z\"}\n");
    change = (struct feed_change){
        .at_us = 1795536000000000, .object = FEED_SYNC_STATUS, .action = FEED_TRUNCATE};
    expect_text(&change, "event: sync\ndata:{\"action\":\"truncate\",\"id\":null,\"source\":null,"
                         "\"repository\":null,\"at\":\"2026-11-24T16:00:00.000Z\"}\n");
}
