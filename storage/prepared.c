#include "storage/prepared.h"

#include "storage/base/fnv.h"
#include "storage/pool.h"

#include <inttypes.h>
#include <libpq-events.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* SQLSTATEs: there is no such statement; its result has other types than when it was prepared. */
#define GONE "26000"
#define CHANGED "0A000"

enum { PREPARED_MOST = 8, PREPARED_SECONDS = 30, NAME_SIZE = 32 };

/* What one connection has prepared. Statements beyond those are executed without. */
struct prepared {
    size_t count;
    struct {
        const char *statement;
        time_t since;
    } known[PREPARED_MOST];
    bool useless; /* the session is not always the same */
};

/* ---- With the connection --------------------------------------------------------------------- */

static int event(PGEventId id, void *info, void *unused)
{
    (void)unused;
    if (id == PGEVT_REGISTER) {
        PGconn *conn = ((PGEventRegister *)info)->conn;
        struct prepared *prepared = calloc(1, sizeof(*prepared));
        if (prepared == NULL) return 0;
        return PQsetInstanceData(conn, event, prepared);
    }
    if (id == PGEVT_CONNDESTROY) {
        PGconn *conn = ((PGEventConnDestroy *)info)->conn;
        free(PQinstanceData(conn, event));
    }
    if (id == PGEVT_CONNRESET) {
        PGconn *conn = ((PGEventConnReset *)info)->conn;
        struct prepared *prepared = PQinstanceData(conn, event);
        if (prepared != NULL) *prepared = (struct prepared){0};
    }
    return 1;
}

/* NULL when memory ran out, or where there is no use in it. */
static struct prepared *prepared_of(PGconn *conn)
{
    struct prepared *prepared = PQinstanceData(conn, event);
    if (prepared == NULL && PQregisterEventProc(conn, event, "prepared", NULL) != 0)
        prepared = PQinstanceData(conn, event);
    return prepared != NULL && !prepared->useless ? prepared : NULL;
}

static time_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec;
}

/* ---- Statements ------------------------------------------------------------------------------ */

/* The same name is always the same statement, whoever has prepared it. */
static void name_statement(const char *statement, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "tekupd_%016" PRIx64,
             fnv_add(FNV_BASIS, statement, strlen(statement)));
}

static void deallocate(PGconn *conn, const char *name)
{
    char text[NAME_SIZE + 16];
    snprintf(text, sizeof(text), "DEALLOCATE %s", name);
    PQclear(PQexec(conn, text)); /* if it fails, what comes next does */
}

/* Its place among those that are prepared and not too old; PREPARED_MOST where it is not there. */
static size_t find(PGconn *conn, struct prepared *prepared, const char *statement, const char *name)
{
    size_t at = 0;
    while (at < prepared->count && prepared->known[at].statement != statement) at++;
    if (at == prepared->count) return PREPARED_MOST;
    if (now() - prepared->known[at].since < PREPARED_SECONDS) return at;
    deallocate(conn, name);
    prepared->known[at] = prepared->known[--prepared->count];
    return PREPARED_MOST;
}

/* Its place, or PREPARED_MOST where it cannot be prepared; executing it then tells why. */
static size_t prepare(PGconn *conn, struct prepared *prepared, const char *statement,
                      const char *name, const struct sql *sql)
{
    if (prepared->count == PREPARED_MOST) return PREPARED_MOST;
    PGresult *result = PQprepare(conn, name, statement, sql->count, sql->types);
    const bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    /* There already: the session was somebody else's before. */
    if (sql_state_is(result, "42P05")) prepared->useless = true;
    PQclear(result);
    if (!done) return PREPARED_MOST;
    prepared->known[prepared->count].statement = statement;
    prepared->known[prepared->count].since = now();
    return prepared->count++;
}

/* NULL without an error where it has to be executed without. */
static PGresult *execute(PGconn *conn, struct prepared *prepared, const char *statement,
                         const struct sql *sql, struct error *err)
{
    char name[NAME_SIZE];
    name_statement(statement, name);
    size_t at = find(conn, prepared, statement, name);
    if (at == PREPARED_MOST) at = prepare(conn, prepared, statement, name, sql);
    if (at == PREPARED_MOST) return NULL;
    PGresult *result =
        PQexecPrepared(conn, name, sql->count, sql->values, sql->lengths, sql->formats, 1);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return result;
    if (sql_state_is(result, GONE))
        prepared->useless = true;
    else if (sql_state_is(result, CHANGED))
        prepared->known[at].since = now() - PREPARED_SECONDS; /* anew the next time */
    else
        pool_error(conn, result, err);
    PQclear(result);
    return NULL;
}

PGresult *prepared_execute(PGconn *conn, const char *statement, const struct sql *sql,
                           struct error *err)
{
    struct error problem = {0};
    /* Within a transaction there would be no second try. */
    struct prepared *prepared =
        PQtransactionStatus(conn) == PQTRANS_IDLE ? prepared_of(conn) : NULL;
    PGresult *result = prepared != NULL ? execute(conn, prepared, statement, sql, &problem) : NULL;
    if (result != NULL) return result;
    if (problem.code == ERR_NONE) return sql_execute(conn, statement, sql, err);
    if (err != NULL) *err = problem;
    return NULL;
}

PGresult *prepared_query(struct pool *pool, const char *statement, const struct sql *sql,
                         struct error *err)
{
    PGconn *conn = pool_lease(pool, POOL_WAIT_MS, err);
    if (conn == NULL) return NULL;
    PGresult *result = prepared_execute(conn, statement, sql, err);
    pool_release(pool, conn);
    return result;
}
