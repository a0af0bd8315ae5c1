#include "tools/tekupd/events/event_keep.h"

#include "storage/sql.h"

#include <stdlib.h>
#include <string.h>

enum { TELL_S = 30 };

static void forget_first(struct event_keep *keep)
{
    free(keep->marks[0].position);
    keep->count--;
    memmove(&keep->marks[0], &keep->marks[1], (size_t)keep->count * sizeof(keep->marks[0]));
}

/* The first mark stays until the next one is old enough to take its place. */
static int mark(struct event_keep *keep, const char *position, double now_s, struct error *err)
{
    const double apart_s = (double)keep->keep_s / (EVENT_KEEP_MARKS - 1);
    while (keep->count > 1 && keep->marks[1].at_s + keep->keep_s <= now_s) forget_first(keep);
    if (keep->count > 0 && now_s < keep->marks[keep->count - 1].at_s + apart_s) return 0;
    if (keep->count == EVENT_KEEP_MARKS + 1) return 0;
    char *copy = strdup(position);
    if (copy == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    keep->marks[keep->count].at_s = now_s;
    keep->marks[keep->count++].position = copy;
    return 0;
}

int event_keep_look(struct event_keep *keep, PGconn *conn, double now_s, struct error *err)
{
    struct sql sql = {0};
    if (keep->looked) return 0;
    sql_text(&sql, keep->follower);
    PGresult *row =
        sql_execute(conn, "SELECT FROM tekupdb.\"Follower\" WHERE \"id\" = $1", &sql, err);
    if (row == NULL) return -1;
    keep->looked = true;
    keep->inherit_s = PQntuples(row) > 0 ? now_s + keep->keep_s : 0;
    PQclear(row);
    return 0;
}

int event_keep_move(struct event_keep *keep, PGconn *conn, const char *position, double now_s,
                    struct error *err)
{
    if (mark(keep, position, now_s, err) != 0) return -1;
    if (keep->told_s > 0 && now_s < keep->told_s + TELL_S) return 0;
    if (now_s < keep->inherit_s) return 0;
    int registered = feed_register(conn, keep->follower, keep->marks[0].position, err);
    if (registered == 0) {
        /* Trimmed meanwhile, as by a daemon that has waited for a day: begin with what there is. */
        while (keep->count > 0) forget_first(keep);
        if (mark(keep, position, now_s, err) != 0) return -1;
        registered = feed_register(conn, keep->follower, position, err);
    }
    if (registered < 0) return -1;
    keep->told_s = now_s;
    return 0;
}

int event_keep_end(struct event_keep *keep, PGconn *conn, struct error *err)
{
    event_keep_free(keep);
    keep->told_s = keep->inherit_s = 0;
    return feed_unregister(conn, keep->follower, err);
}

void event_keep_free(struct event_keep *keep)
{
    while (keep->count > 0) forget_first(keep);
}
