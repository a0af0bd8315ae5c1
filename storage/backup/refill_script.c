#include "storage/backup/refill_script.h"

#include "storage/base/buffer.h"
#include "storage/pool.h"
#include "storage/sql.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, STATEMENTS_MOST = 1024 * 1024 };

static ssize_t read_some(int fd, char *bytes, size_t size, struct error *err)
{
    for (;;) {
        const ssize_t got = read(fd, bytes, size);
        if (got >= 0) return got;
        if (errno != EINTR)
            return error_set(err, ERR_IO, NULL, "cannot read from pg_restore: %s", strerror(errno));
    }
}

/* ---- Statements ------------------------------------------------------------------------------ */

/* Lines between the statements that are for psql (\restrict), and settings of servers that are
 * newer than this one. */
static bool is_for_others(const char *line, size_t length, int server_version)
{
    static const char timeout[] = "SET transaction_timeout = ";
    if (length > 0 && *line == '\\') return true;
    return server_version < 170000 && length >= sizeof(timeout) - 1 &&
           memcmp(line, timeout, sizeof(timeout) - 1) == 0;
}

/* They stand before the first statement of the dump's own and at its very end. */
static void blank_out(char *text, int server_version)
{
    static const char last[] = "\n\\unrestrict ";
    for (char *line = text; *line != '\0';) {
        const size_t length = strcspn(line, "\n");
        if (strncmp(line, "CREATE ", 7) == 0 || strncmp(line, "ALTER ", 6) == 0 ||
            strncmp(line, "COPY ", 5) == 0)
            break;
        if (is_for_others(line, length, server_version)) memset(line, ' ', length);
        line += length + (line[length] == '\n');
    }
    for (char *at = text, *found = NULL;; at = found + 1) {
        char *next = strstr(at, last);
        if (next != NULL) {
            found = next;
            continue;
        }
        if (found != NULL && strchr(found + 1, '\n') != NULL)
            memset(found + 1, ' ', strcspn(found + 1, "\n"));
        return;
    }
}

static int run(PGconn *conn, struct buffer *text, struct error *err)
{
    if (text->failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    if (text->length == 0) return 0;
    const int rc = sql_run(conn, text->data, err);
    buffer_clear(text);
    return rc;
}

int refill_statements(PGconn *conn, int fd, struct error *err)
{
    char bytes[16 * 1024];
    struct buffer text = {0};
    ssize_t got;
    while ((got = read_some(fd, bytes, sizeof(bytes), err)) > 0)
        buffer_append(&text, bytes, (size_t)got);
    int rc = got < 0 ? -1 : 0;
    if (rc == 0 && text.length > 0 && !text.failed) blank_out(text.data, PQserverVersion(conn));
    if (rc == 0) rc = run(conn, &text, err);
    buffer_free(&text);
    return rc;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

struct rows {
    PGconn *conn;
    struct buffer statements; /* that have not been run yet */
    bool copying;
    bool within; /* the last byte that was taken was in the middle of a line */
};

static bool is_copy(const char *line, size_t length)
{
    static const char head[] = "COPY ", tail[] = " FROM stdin;";
    return length > sizeof(head) + sizeof(tail) && memcmp(line, head, sizeof(head) - 1) == 0 &&
           memcmp(line + length - (sizeof(tail) - 1), tail, sizeof(tail) - 1) == 0;
}

static int begin_copy(struct rows *rows, struct error *err)
{
    if (rows->statements.failed) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    /* The statements before it may leave results, the COPY is the last. */
    PGresult *result = PQexec(rows->conn, rows->statements.data);
    const bool began = PQresultStatus(result) == PGRES_COPY_IN;
    const int rc = began ? 0 : pool_error(rows->conn, result, err);
    PQclear(result);
    buffer_clear(&rows->statements);
    rows->copying = began;
    rows->within = false;
    return rc;
}

static int end_copy(struct rows *rows, struct error *err)
{
    PGresult *result;
    int rc = PQputCopyEnd(rows->conn, NULL) == 1 ? 0 : pool_error(rows->conn, NULL, err);
    while ((result = PQgetResult(rows->conn)) != NULL) {
        if (rc == 0 && PQresultStatus(result) != PGRES_COMMAND_OK)
            rc = pool_error(rows->conn, result, err);
        PQclear(result);
    }
    rows->copying = false;
    return rc;
}

static int put(struct rows *rows, const char *bytes, size_t length, struct error *err)
{
    if (length == 0) return 0;
    rows->within = bytes[length - 1] != '\n';
    return PQputCopyData(rows->conn, bytes, (int)length) == 1 ? 0
                                                              : pool_error(rows->conn, NULL, err);
}

/* Takes rows up to the line "\.", or as far as they go. Returns how many bytes were taken, or -1;
 * what is left may be the beginning of that line. */
static ssize_t take_rows(struct rows *rows, const char *bytes, size_t length, struct error *err)
{
    const char *line = bytes, *const end = bytes + length;
    while (line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const bool begins = line > bytes || !rows->within;
        if (next == NULL) {
            if (!begins || end - line > 2 || *line != '\\') line = end;
            break;
        }
        if (begins && next - line == 2 && line[0] == '\\' && line[1] == '.') {
            if (put(rows, bytes, (size_t)(line - bytes), err) != 0) return -1;
            return end_copy(rows, err) == 0 ? next + 1 - bytes : -1;
        }
        line = next + 1;
    }
    return put(rows, bytes, (size_t)(line - bytes), err) == 0 ? line - bytes : -1;
}

/* Takes one line of statements. Returns how many bytes, 0 where it is not there yet, -1. */
static ssize_t take_statement(struct rows *rows, const char *bytes, size_t length,
                              struct error *err)
{
    const char *end = memchr(bytes, '\n', length);
    if (end == NULL) return 0;
    const size_t line = (size_t)(end - bytes);
    if (!is_for_others(bytes, line, PQserverVersion(rows->conn)))
        buffer_append(&rows->statements, bytes, line + 1);
    if (is_copy(bytes, line)) {
        if (begin_copy(rows, err) != 0) return -1;
    } else if (rows->statements.length > STATEMENTS_MOST && line > 0 && bytes[line - 1] == ';') {
        if (run(rows->conn, &rows->statements, err) != 0) return -1;
    }
    return (ssize_t)line + 1;
}

/* Takes what can be taken from the beginning of the text, and leaves the rest in it. */
static int take(struct rows *rows, struct buffer *text, struct error *err)
{
    size_t at = 0;
    while (at < text->length) {
        const ssize_t taken = rows->copying
                                  ? take_rows(rows, text->data + at, text->length - at, err)
                                  : take_statement(rows, text->data + at, text->length - at, err);
        if (taken < 0) return -1;
        if (taken == 0) break;
        at += (size_t)taken;
    }
    memmove(text->data, text->data + at, text->length - at);
    text->length -= at;
    return 0;
}

int refill_rows(PGconn *conn, int fd, void (*tick)(void *arg), void *arg, struct error *err)
{
    struct rows rows = {.conn = conn};
    struct buffer text = {0};
    char *bytes = malloc(PIECE);
    ssize_t got = 0;
    int rc = bytes != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    while (rc == 0 && (got = read_some(fd, bytes, PIECE, err)) > 0) {
        buffer_append(&text, bytes, (size_t)got);
        rc = text.failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                         : take(&rows, &text, err);
        if (tick != NULL) tick(arg);
    }
    if (got < 0) rc = -1;
    if (rc == 0 && rows.copying) rc = error_set(err, ERR_IO, NULL, "the rows end in the middle");
    if (rc == 0 && text.length > 0) buffer_append(&rows.statements, text.data, text.length);
    if (rc == 0) rc = run(conn, &rows.statements, err);
    buffer_free(&rows.statements);
    buffer_free(&text);
    free(bytes);
    return rc;
}
