#include "tools/tekupd/events/event_text.h"

#include "storage/sql.h"
#include "tools/tekupd/http/json_write.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TEXT_ARRAY = 1009 };

/* ---- How syncs stand ------------------------------------------------------------------------- */

static size_t count_syncs(const struct feed_change *changes, size_t count)
{
    size_t syncs = 0;
    for (size_t i = 0; i < count; i++)
        syncs += changes[i].object == FEED_SYNC_STATUS && changes[i].id != NULL;
    return syncs;
}

int sync_rows_read(PGconn *conn, const struct feed_change *changes, size_t count,
                   struct sync_rows *rows, struct error *err)
{
    struct buffer ids = {0};
    struct sql sql = {0};
    const size_t syncs = count_syncs(changes, count);
    *rows = (struct sync_rows){0};
    if (syncs == 0) return 0;
    sql_put_array(&ids, SQL_TEXT, syncs);
    for (size_t i = 0; i < count; i++) {
        if (changes[i].object != FEED_SYNC_STATUS || changes[i].id == NULL) continue;
        sql_put_int4(&ids, (int32_t)strlen(changes[i].id));
        buffer_text(&ids, changes[i].id);
    }
    if (ids.failed) {
        buffer_free(&ids);
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    }
    sql_bytes(&sql, TEXT_ARRAY, ids.data, ids.length);
    rows->rows = sql_execute(conn,
                             "SELECT y.\"id\", y.\"status\", y.\"errorMessage\","
                             " y.\"documentCount\","
                             " to_char(y.\"lastSyncAt\", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
                             " CASE WHEN y.\"status\" = 'in_progress' THEN"
                             " s.\"progress\"->>'now' END,"
                             " CASE WHEN y.\"status\" IN ('success', 'error') THEN"
                             " s.\"progress\"->>'last' END"
                             " FROM vault.\"VaultSyncStatus\" y LEFT JOIN tekupdb.\"Source\" s"
                             " ON s.\"source\" = y.\"source\""
                             " AND s.\"repository\" = y.\"repository\""
                             " WHERE y.\"id\" = ANY($1)",
                             &sql, err);
    buffer_free(&ids);
    return rows->rows != NULL ? 0 : -1;
}

void sync_rows_free(struct sync_rows *rows)
{
    PQclear(rows->rows);
    rows->rows = NULL;
}

static int find_sync(const struct sync_rows *rows, const char *id)
{
    const int count = rows->rows != NULL && id != NULL ? PQntuples(rows->rows) : 0;
    for (int row = 0; row < count; row++)
        if (strcmp(sql_get_text(rows->rows, row, 0), id) == 0) return row;
    return -1;
}

/* ---- Text ------------------------------------------------------------------------------------ */

static const char *object_name(enum feed_object object)
{
    switch (object) {
    case FEED_DOCUMENT:
        return "document";
    case FEED_EMBEDDING:
        return "embedding";
    case FEED_SYNC_STATUS:
        break;
    }
    return "sync";
}

static const char *action_name(enum feed_action action)
{
    switch (action) {
    case FEED_INSERT:
        return "insert";
    case FEED_UPDATE:
        return "update";
    case FEED_DELETE:
        return "delete";
    case FEED_TRUNCATE:
        break;
    }
    return "truncate";
}

static void put_time(struct buffer *out, int64_t at_us)
{
    char text[40];
    struct tm utc;
    const time_t seconds = (time_t)(at_us / 1000000);
    gmtime_r(&seconds, &utc);
    const size_t length = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, sizeof(text) - length, ".%03dZ", (int)(at_us / 1000 % 1000));
    json_field_text(out, "at", text);
}

/* What the row says now; nothing where it is gone. */
static void put_sync(struct buffer *out, const struct feed_change *change,
                     const struct sync_rows *rows)
{
    const int row = find_sync(rows, change->id);
    json_field_text(out, "id", change->id);
    if (row < 0) return;
    json_field_text(out, "status", sql_get_text(rows->rows, row, 1));
    json_field_text(out, "errorMessage", sql_get_text(rows->rows, row, 2));
    json_field_integer(out, "documentCount", sql_get_int4(rows->rows, row, 3));
    json_field_text(out, "lastSyncAt", sql_get_text(rows->rows, row, 4));
    json_field_raw(out, "progress", sql_get_text(rows->rows, row, 5));
    json_field_raw(out, "last", sql_get_text(rows->rows, row, 6));
}

void event_text_put(struct buffer *out, const struct feed_change *change,
                    const struct sync_rows *rows)
{
    buffer_format(out, "event: %s\ndata:", object_name(change->object));
    json_put_open(out, '{');
    json_field_text(out, "action", action_name(change->action));
    if (change->object == FEED_SYNC_STATUS)
        put_sync(out, change, rows);
    else
        json_field_text(out, change->object == FEED_DOCUMENT ? "id" : "documentId", change->id);
    if (change->object == FEED_EMBEDDING && change->action != FEED_TRUNCATE)
        json_field_integer(out, "embeddingId", change->embedding);
    json_field_text(out, "source", change->source);
    json_field_text(out, "repository", change->repository);
    if (change->object == FEED_DOCUMENT) json_field_text(out, "path", change->path);
    put_time(out, change->at_us);
    json_put_close(out, '}');
    buffer_text(out, "\n");
}
