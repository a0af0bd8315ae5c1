/*
 * peer_pgvector.c: pgvector's HNSW index in a PostgreSQL server that the caller names.
 *
 * The vectors go into a table of a schema of this run's own, which is dropped at the end; a run
 * that was killed leaves it to the next one, which knows by an advisory lock whose run is over. A
 * search is a prepared statement in binary form over a connection of its thread's own, so what is
 * measured includes the server's round trip, as every client of it pays it. Memory is the size of
 * table and index on disk: what the server must keep cached to be this fast.
 */
#include "bench/failure.h"
#include "bench/peer.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA_PREFIX "tekup_bench_"
#define LOCK_CLASS "1952803169" /* of the advisory locks: "tekb" */

struct database {
    size_t dim, count;
    char schema[64];
    Oid vector_type;
    unsigned connections;
    PGconn *connection[]; /* one a thread */
};

static int failed(PGconn *connection, const char *what, tk_error *err)
{
    const char *message = connection ? PQerrorMessage(connection) : "memory ran out";
    fail(err, "%s: %s", what, message);
    err->message[strcspn(err->message, "\n")] = '\0';
    return -1;
}

static int execute(PGconn *connection, const char *sql, tk_error *err)
{
    PGresult *answer = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(answer);
    PQclear(answer);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0
                                                                   : failed(connection, sql, err);
}

static int use_schema(const struct database *database, PGconn *connection, tk_error *err)
{
    char sql[160];
    snprintf(sql, sizeof(sql),
             "SELECT set_config('search_path', '%s, ' || current_setting('search_path'), false)",
             database->schema);
    return execute(connection, sql, err);
}

/* ---- Values in the binary form of the protocol ----------------------------------------------- */

static uint8_t *put16(uint8_t *at, uint16_t value)
{
    value = htons(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint32_t get32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return ntohl(value);
}

/* A `vector`: the dimension, 0, the floats. */
static uint8_t *put_vector(uint8_t *at, const float *vector, size_t dim)
{
    at = put16(put16(at, (uint16_t)dim), 0);
    for (size_t i = 0; i < dim; i++) {
        uint32_t bits;
        memcpy(&bits, &vector[i], sizeof(bits));
        at = put32(at, bits);
    }
    return at;
}

static size_t vector_size(size_t dim)
{
    return 4 + 4 * dim;
}

/* ---- Building -------------------------------------------------------------------------------- */

static void database_release(void *index)
{
    struct database *database = index;
    if (!database) return;
    if (database->schema[0]) {
        tk_error ignored;
        char sql[128];
        snprintf(sql, sizeof(sql), "DROP SCHEMA IF EXISTS %s CASCADE", database->schema);
        execute(database->connection[0], sql, &ignored);
    }
    for (unsigned i = 0; i < database->connections; i++) PQfinish(database->connection[i]);
    free(database);
}

static int copy_rows(struct database *database, const struct peer_setup *setup, tk_error *err)
{
    static const char header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* and flags, extension: 0 */
    static const char trailer[2] = "\377\377";
    PGconn *connection = database->connection[0];
    uint8_t *row = malloc(14 + vector_size(setup->dim));
    int result = -1;
    if (!row) return fail(err, "memory ran out");
    PGresult *answer = PQexec(connection, "COPY item FROM STDIN BINARY");
    if (PQresultStatus(answer) != PGRES_COPY_IN) goto out;
    if (PQputCopyData(connection, header, sizeof(header)) != 1) goto out;
    for (size_t i = 0; i < setup->count; i++) {
        uint8_t *at = put32(put32(put16(row, 2), 4), (uint32_t)i);
        at = put32(at, (uint32_t)vector_size(setup->dim));
        at = put_vector(at, setup->vectors + i * setup->dim, setup->dim);
        if (PQputCopyData(connection, (const char *)row, (int)(at - row)) != 1) goto out;
    }
    if (PQputCopyData(connection, trailer, sizeof(trailer)) != 1) goto out;
    if (PQputCopyEnd(connection, NULL) != 1) goto out;
    PQclear(answer);
    answer = PQgetResult(connection);
    if (PQresultStatus(answer) == PGRES_COMMAND_OK) result = 0;
out:
    if (result != 0) failed(connection, "copying the vectors", err);
    PQclear(answer);
    while (result == 0 && (answer = PQgetResult(connection))) PQclear(answer);
    free(row);
    return result;
}

/* Takes the lock of a name for as long as the connection lasts, and drops the schemas whose names
 * nobody has locked. */
static int lock_and_sweep(PGconn *connection, const char *name, tk_error *err)
{
    static const char sweep[] =
        "DO $$ DECLARE found name; BEGIN"
        " FOR found IN SELECT nspname FROM pg_namespace"
        " WHERE nspname ~ '^" SCHEMA_PREFIX "[0-9]+$' AND pg_has_role(nspowner, 'USAGE') LOOP"
        " IF pg_try_advisory_xact_lock(" LOCK_CLASS ", hashtext(found)) THEN"
        " EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', found);"
        " END IF; END LOOP; END $$";
    char sql[160];
    snprintf(sql, sizeof(sql), "SELECT pg_advisory_lock(" LOCK_CLASS ", hashtext('%s'))", name);
    if (execute(connection, sql, err) != 0) return -1;
    return execute(connection, sweep, err);
}

static int create_table(struct database *database, const struct peer_setup *setup, tk_error *err)
{
    PGconn *connection = database->connection[0];
    char name[sizeof(database->schema)], sql[160];
    snprintf(name, sizeof(name), SCHEMA_PREFIX "%d", PQbackendPID(connection));
    if (execute(connection, "SET client_min_messages = warning", err) != 0) return -1;
    if (execute(connection, "CREATE EXTENSION IF NOT EXISTS vector", err) != 0) return -1;
    if (lock_and_sweep(connection, name, err) != 0) return -1;
    snprintf(sql, sizeof(sql), "CREATE SCHEMA %s", name);
    if (execute(connection, sql, err) != 0) return -1;
    memcpy(database->schema, name, sizeof(name));
    if (use_schema(database, connection, err) != 0) return -1;
    /* The number of workers is told, since by the size of the table, whose vectors lie outside it,
     * PostgreSQL would not take any. */
    snprintf(sql, sizeof(sql),
             "CREATE UNLOGGED TABLE item (id int4 NOT NULL, v vector(%zu))"
             " WITH (parallel_workers = %u)",
             setup->dim, setup->threads - 1);
    return execute(connection, sql, err);
}

static int create_index(struct database *database, const struct peer_setup *setup, tk_error *err)
{
    PGconn *connection = database->connection[0];
    char sql[160];
    if (execute(connection, "SET maintenance_work_mem = '1GB'", err) != 0) return -1;
    snprintf(sql, sizeof(sql), "SET max_parallel_maintenance_workers = %u", setup->threads - 1);
    if (execute(connection, sql, err) != 0) return -1;
    snprintf(sql, sizeof(sql),
             "CREATE INDEX item_v ON item USING hnsw (v vector_ip_ops)"
             " WITH (m = %d, ef_construction = %d)",
             GRAPH_M, GRAPH_EF_CONSTRUCTION);
    return execute(connection, sql, err);
}

static int prepare_connection(struct database *database, unsigned thread, tk_error *err)
{
    static const char search[] = "SELECT id, (-(v <#> $1))::float4 FROM item"
                                 " ORDER BY v <#> $1 LIMIT $2::int4";
    PGconn *connection = database->connection[thread];
    if (thread > 0 && use_schema(database, connection, err) != 0) return -1;
    if (execute(connection, "SET enable_seqscan = off", err) != 0) return -1;
    const Oid types[2] = {database->vector_type, 23 /* int4 */};
    PGresult *answer = PQprepare(connection, "search", search, 2, types);
    int result = PQresultStatus(answer) == PGRES_COMMAND_OK
                     ? 0
                     : failed(connection, "preparing the search", err);
    PQclear(answer);
    return result;
}

static int find_vector_type(struct database *database, tk_error *err)
{
    PGconn *connection = database->connection[0];
    PGresult *answer = PQexec(connection, "SELECT 'vector'::regtype::oid::int8");
    int result = PQntuples(answer) == 1 ? 0 : failed(connection, "the type vector", err);
    if (result == 0) database->vector_type = (Oid)strtoul(PQgetvalue(answer, 0, 0), NULL, 10);
    PQclear(answer);
    return result;
}

static int database_build(const struct peer_setup *setup, void **index, tk_error *err)
{
    int result = -1;
    struct database *database =
        calloc(1, sizeof(*database) + setup->threads * sizeof(database->connection[0]));
    if (!database) return fail(err, "memory ran out");
    database->dim = setup->dim;
    database->count = setup->count;
    for (unsigned i = 0; i < setup->threads; i++) {
        database->connection[i] = PQconnectdb(setup->dsn);
        database->connections++;
        if (PQstatus(database->connection[i]) != CONNECTION_OK) {
            failed(database->connection[i], "connecting", err);
            goto out;
        }
    }
    if (create_table(database, setup, err) != 0) goto out;
    if (find_vector_type(database, err) != 0) goto out;
    if (copy_rows(database, setup, err) != 0) goto out;
    if (create_index(database, setup, err) != 0) goto out;
    if (execute(database->connection[0], "ANALYZE item", err) != 0) goto out;
    for (unsigned i = 0; i < setup->threads; i++)
        if (prepare_connection(database, i, err) != 0) goto out;
    result = 0;
out:
    if (result == 0)
        *index = database;
    else
        database_release(database);
    return result;
}

/* ---- Searching ------------------------------------------------------------------------------- */

static size_t database_bytes(const void *index)
{
    const struct database *database = index;
    PGresult *answer =
        PQexec(database->connection[0], "SELECT pg_total_relation_size('item')::int8");
    size_t bytes =
        PQntuples(answer) == 1 ? (size_t)strtoull(PQgetvalue(answer, 0, 0), NULL, 10) : 0;
    PQclear(answer);
    return bytes;
}

static int database_prepare(void *index, size_t ef, tk_error *err)
{
    struct database *database = index;
    char sql[64];
    snprintf(sql, sizeof(sql), "SET hnsw.ef_search = %zu", ef);
    for (unsigned i = 0; i < database->connections; i++)
        if (execute(database->connection[i], sql, err) != 0) return -1;
    return 0;
}

static int database_search(const void *index, unsigned thread, const float *query, size_t k,
                           tk_hit *hits, size_t *found, tk_error *err)
{
    const struct database *database = index;
    PGconn *connection = database->connection[thread];
    uint8_t limit[4];
    put32(limit, (uint32_t)k);
    uint8_t *vector = malloc(vector_size(database->dim));
    if (!vector) return fail(err, "memory ran out");
    put_vector(vector, query, database->dim);
    const char *const values[2] = {(const char *)vector, (const char *)limit};
    const int lengths[2] = {(int)vector_size(database->dim), sizeof(limit)};
    const int binary[2] = {1, 1};
    PGresult *answer = PQexecPrepared(connection, "search", 2, values, lengths, binary, 1);
    free(vector);
    int result = -1;
    if (PQresultStatus(answer) != PGRES_TUPLES_OK) {
        failed(connection, "searching", err);
        goto out;
    }
    *found = (size_t)PQntuples(answer) < k ? (size_t)PQntuples(answer) : k;
    for (size_t i = 0; i < *found; i++) {
        uint32_t bits = get32(PQgetvalue(answer, (int)i, 1));
        hits[i].id = get32(PQgetvalue(answer, (int)i, 0));
        memcpy(&hits[i].similarity, &bits, sizeof(bits));
    }
    result = 0;
out:
    PQclear(answer);
    return result;
}

const struct peer peer_pgvector = {
    .name = "pgvector",
    .setting = "hnsw.ef_search",
    .most_ef = 1000,
    .build = database_build,
    .release = database_release,
    .bytes = database_bytes,
    .external = 1,
    .prepare = database_prepare,
    .search = database_search,
};
