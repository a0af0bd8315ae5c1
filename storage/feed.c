#include "storage/feed.h"

#include "storage/base/buffer.h"
#include "storage/base/log.h"
#include "storage/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a follower may stay away before it has to read everything anew. */
#define GONE_AFTER "interval '1 day'"

/* Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin. */
#define EPOCH_US INT64_C(946684800000000)

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- Where ----------------------------------------------------------------------------------- */

int feed_identify(PGconn *conn, char identity[FEED_IDENTITY_SIZE], struct error *err)
{
    /* A standby knows no WAL position to write at, and a follower has to write. */
    static const char statement[] =
        "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/'"
        " || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/'"
        " || (SELECT oid FROM pg_database WHERE datname = current_database())::text || '/'"
        " || \"id\"::text FROM tekupdb.\"Feed\"";
    PGresult *row = sql_execute(conn, statement, NULL, err);
    if (row == NULL) return -1;
    const char *text = PQntuples(row) == 1 ? sql_get_text(row, 0, 0) : NULL;
    int rc = 0;
    if (text == NULL || strlen(text) >= FEED_IDENTITY_SIZE)
        rc = error_set(err, ERR_INTERNAL, NULL, "tekupdb.\"Feed\" has not its one row");
    else
        strcpy(identity, text);
    PQclear(row);
    return rc;
}

static int take_position(const PGresult *row, int column, char **position, struct error *err)
{
    bool failed = false;
    *position = sql_copy_text(row, 0, column, &failed);
    return *position != NULL ? 0 : out_of_memory(err);
}

int feed_now(PGconn *conn, char **position, struct error *err)
{
    PGresult *row = sql_execute(conn, "SELECT pg_current_snapshot()::text", NULL, err);
    if (row == NULL) return -1;
    const int rc = take_position(row, 0, position, err);
    PQclear(row);
    return rc;
}

bool feed_position_valid(const char *text)
{
    unsigned long long xmin, xmax;
    int length = 0;
    if (strspn(text, "0123456789:,") != strlen(text)) return false;
    return sscanf(text, "%20llu:%20llu:%n", &xmin, &xmax, &length) == 2 && length > 0 && xmin > 0 &&
           xmin <= xmax;
}

static int check_position(const char *position, struct error *err)
{
    if (feed_position_valid(position)) return 0;
    return error_set(err, ERR_INVALID, NULL, "'%.100s' is no position in the feed", position);
}

int feed_reaches_back(PGconn *conn, const char *position, struct error *err)
{
    static const char statement[] =
        "SELECT \"trimmed\" <= pg_snapshot_xmin($1::pg_snapshot)"
        " AND pg_snapshot_xmax($1::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())"
        " FROM tekupdb.\"Feed\"";
    struct sql sql = {0};
    if (check_position(position, err) != 0) return -1;
    sql_text(&sql, position);
    PGresult *row = sql_execute(conn, statement, &sql, err);
    if (row == NULL) return -1;
    const int reaches = PQntuples(row) == 1 && sql_get_bool(row, 0, 0);
    PQclear(row);
    return reaches;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* Positions are digits, colons and commas by now, so that they can stand in the statement. What a
 * snapshot did not see is what began after it, and what it saw running: both are found by the
 * index, however long the one that runs longest has been there. */
static void put_query(struct buffer *query, const char *after, const char *upto, int64_t seq)
{
    static const char columns[] =
        "SELECT \"seq\", \"at\", \"object\", \"action\", \"id\", \"embedding\", \"source\","
        " \"repository\", \"path\" FROM tekupdb.\"Change\" WHERE \"seq\" > ";
    buffer_text(query, "DECLARE feed NO SCROLL CURSOR FOR ");
    for (int half = 0; half < 2; half++) {
        buffer_format(query, "%s%s%" PRId64, half > 0 ? " UNION ALL " : "", columns, seq);
        if (half == 0)
            buffer_format(query, " AND \"xid\" >= pg_snapshot_xmax('%s')", after);
        else
            buffer_format(query,
                          " AND \"xid\" = ANY(ARRAY(SELECT pg_snapshot_xip('%s'::pg_snapshot)))",
                          after);
        if (upto != NULL) buffer_format(query, " AND pg_visible_in_snapshot(\"xid\", '%s')", upto);
    }
    buffer_text(query, " ORDER BY 1");
}

static int open_cursor(PGconn *conn, const char *after, const char *upto, int64_t seq,
                       struct error *err)
{
    struct buffer query = {0};
    put_query(&query, after, upto, seq);
    const int rc = query.failed ? out_of_memory(err) : sql_run(conn, query.data, err);
    buffer_free(&query);
    return rc;
}

static int begin_reading(PGconn *conn, const char *beginning, const char *after, const char *upto,
                         int64_t seq, char **until, struct error *err)
{
    *until = NULL;
    if (check_position(after, err) != 0) return -1;
    if (upto != NULL && check_position(upto, err) != 0) return -1;
    int rc = sql_run(conn, beginning, err);
    if (rc == 0 && upto != NULL) {
        *until = strdup(upto);
        if (*until == NULL) rc = out_of_memory(err);
    } else if (rc == 0) {
        rc = feed_now(conn, until, err);
    }
    if (rc == 0) rc = open_cursor(conn, after, upto, seq, err);
    if (rc == 0) return 0;
    free(*until);
    *until = NULL;
    feed_end(conn, NULL);
    return -1;
}

#define BEGIN_READING                                                                              \
    "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"                                 \
    "SET LOCAL statement_timeout TO 0;"

int feed_begin(PGconn *conn, const char *after, const char *upto, int64_t seq, char **until,
               struct error *err)
{
    return begin_reading(conn, BEGIN_READING, after, upto, seq, until, err);
}

/* Neither SET nor LOCK takes the transaction's snapshot, so that one that is taken after the lock
 * sees every TRUNCATE that was before it. */
int feed_begin_with_rows(PGconn *conn, const char *after, char **until, struct error *err)
{
    return begin_reading(conn,
                         BEGIN_READING
                         "LOCK TABLE vault.\"VaultDocument\", vault.\"VaultEmbedding\""
                         " IN ACCESS SHARE MODE",
                         after, NULL, 0, until, err);
}

static void read_change(const PGresult *rows, int row, struct feed_change *change)
{
    *change = (struct feed_change){
        .seq = sql_get_int8(rows, row, 0),
        .at_us = sql_get_int8(rows, row, 1) + EPOCH_US,
        .object = (enum feed_object)(unsigned char)*PQgetvalue(rows, row, 2),
        .action = (enum feed_action)(unsigned char)*PQgetvalue(rows, row, 3),
        .id = sql_get_text(rows, row, 4),
        .embedding = sql_is_null(rows, row, 5) ? 0 : sql_get_int4(rows, row, 5),
        .source = sql_get_text(rows, row, 6),
        .repository = sql_get_text(rows, row, 7),
        .path = sql_get_text(rows, row, 8),
    };
}

int feed_next(PGconn *conn, int most, struct feed_change *changes, size_t *count, PGresult **result,
              struct error *err)
{
    char statement[64];
    *count = 0;
    snprintf(statement, sizeof(statement), "FETCH %d FROM feed", most);
    *result = sql_execute(conn, statement, NULL, err);
    if (*result == NULL) return -1;
    for (int row = 0; row < PQntuples(*result) && row < most; row++)
        read_change(*result, row, &changes[(*count)++]);
    return 0;
}

int feed_end(PGconn *conn, struct error *err)
{
    if (PQtransactionStatus(conn) == PQTRANS_IDLE) return 0;
    return sql_run(conn, "ROLLBACK", err); /* nothing was written */
}

/* ---- Followers ------------------------------------------------------------------------------- */

/* Where the feed has been trimmed to stays as it is until the transaction ends. Returns whether the
 * position lies behind that. */
static int lock_reach(PGconn *conn, const char *position, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, position);
    PGresult *row = sql_execute(conn,
                                "SELECT \"trimmed\" <= pg_snapshot_xmin($1::pg_snapshot)"
                                " FROM tekupdb.\"Feed\" FOR SHARE",
                                &sql, err);
    if (row == NULL) return -1;
    const int reaches = PQntuples(row) == 1 && sql_get_bool(row, 0, 0);
    PQclear(row);
    return reaches;
}

static int put_follower(PGconn *conn, const char *follower, const char *position, struct error *err)
{
    char host[256] = "";
    struct sql sql = {0};
    gethostname(host, sizeof(host) - 1);
    sql_text(&sql, follower);
    sql_text(&sql, host);
    sql_text(&sql, position);
    PGresult *result =
        sql_execute(conn,
                    "INSERT INTO tekupdb.\"Follower\" (\"id\", \"host\", \"position\")"
                    " VALUES ($1, $2, $3::pg_snapshot) ON CONFLICT (\"id\") DO UPDATE SET"
                    " \"host\" = EXCLUDED.\"host\", \"position\" = EXCLUDED.\"position\","
                    " \"seenAt\" = now()",
                    &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

int feed_register(PGconn *conn, const char *follower, const char *position, struct error *err)
{
    if (check_position(position, err) != 0) return -1;
    if (sql_run(conn, "BEGIN; SET LOCAL synchronous_commit TO local", err) != 0) return -1;
    int reaches = lock_reach(conn, position, err);
    if (reaches > 0 && put_follower(conn, follower, position, err) != 0) reaches = -1;
    if (reaches > 0) return sql_commit(conn, err) == 0 ? 1 : -1;
    sql_run(conn, "ROLLBACK", NULL);
    return reaches;
}

int feed_unregister(PGconn *conn, const char *follower, struct error *err)
{
    struct sql sql = {0};
    sql_text(&sql, follower);
    PGresult *result =
        sql_execute(conn, "DELETE FROM tekupdb.\"Follower\" WHERE \"id\" = $1", &sql, err);
    PQclear(result);
    return result != NULL ? 0 : -1;
}

/* The row of tekupdb."Feed" is locked first: who registers waits, and is then told that the feed
 * has been trimmed past it, or is counted. */
static int trim(PGconn *conn, int64_t *removed, struct error *err)
{
    static const char *const statements[] = {
        "SELECT FROM tekupdb.\"Feed\" FOR UPDATE",
        "DELETE FROM tekupdb.\"Follower\" WHERE \"seenAt\" < now() - " GONE_AFTER
        " RETURNING \"id\", \"host\"",
        "UPDATE tekupdb.\"Feed\" SET \"trimmed\" = p.low FROM"
        " (SELECT min(pg_snapshot_xmin(\"position\")::text::numeric)::text::xid8 AS low"
        "  FROM tekupdb.\"Follower\") p WHERE p.low > \"trimmed\"",
        "DELETE FROM tekupdb.\"Change\" WHERE \"xid\" < (SELECT \"trimmed\" FROM tekupdb.\"Feed\")",
    };
    for (int i = 0; i < 4; i++) {
        PGresult *result = sql_execute(conn, statements[i], NULL, err);
        if (result == NULL) return -1;
        for (int row = 0; i == 1 && row < PQntuples(result); row++)
            log_warn("feed.dropped", "follower=%s host=%s reason=\"not seen for a day\"",
                     log_quote(sql_get_text(result, row, 0)),
                     log_quote(sql_get_text(result, row, 1)));
        if (i == 3 && removed != NULL) *removed = strtoll(PQcmdTuples(result), NULL, 10);
        PQclear(result);
    }
    return 0;
}

int feed_trim(PGconn *conn, int64_t *removed, struct error *err)
{
    if (removed != NULL) *removed = 0;
    if (sql_run(conn, "BEGIN; SET LOCAL statement_timeout TO 0", err) != 0) return -1;
    if (trim(conn, removed, err) == 0) return sql_commit(conn, err);
    if (PQstatus(conn) == CONNECTION_OK) sql_run(conn, "ROLLBACK", NULL);
    return -1;
}
