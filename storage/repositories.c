/* The repositories of the vault, counted where their rows are. */
#include "storage/repositories.h"

#include "storage/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AS_ISO ", 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

static int no_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void copy_short(const PGresult *result, int row, int column, char *out, size_t size)
{
    const char *text = sql_get_text(result, row, column);
    snprintf(out, size, "%s", text != NULL ? text : "");
}

/* ---- The list -------------------------------------------------------------------------------- */

void repository_free(struct repository *repository)
{
    free(repository->source);
    free(repository->repository);
    free(repository->error_message);
    *repository = (struct repository){0};
}

/* A source that was never synced has a status row whose time is when it was made. */
static const char list_statement[] =
    "WITH d AS (SELECT \"source\", \"repository\", count(*) AS n, max(\"updatedAt\") AS latest"
    " FROM vault.\"VaultDocument\" WHERE ($1::text IS NULL OR \"source\" = $1)"
    " AND ($2::text IS NULL OR \"repository\" = $2) GROUP BY 1, 2),"
    " s AS (SELECT * FROM tekupdb.\"Source\" WHERE ($1::text IS NULL OR \"source\" = $1)"
    " AND ($2::text IS NULL OR \"repository\" = $2)),"
    " y AS (SELECT * FROM vault.\"VaultSyncStatus\" WHERE ($1::text IS NULL OR \"source\" = $1)"
    " AND ($2::text IS NULL OR \"repository\" = $2))"
    " SELECT \"source\", \"repository\", coalesce(d.n, 0), to_char(d.latest" AS_ISO
    ", s.\"config\" IS NOT NULL, coalesce(s.\"intervalSeconds\", 0), y.\"status\","
    " CASE WHEN s.\"createdAt\" IS DISTINCT FROM y.\"lastSyncAt\""
    " THEN to_char(y.\"lastSyncAt\"" AS_ISO " END, CASE WHEN s.\"intervalSeconds\" > 0"
    " THEN to_char(y.\"lastSyncAt\" + make_interval(secs => s.\"intervalSeconds\")" AS_ISO
    " END, y.\"errorMessage\" FROM d FULL JOIN s USING (\"source\", \"repository\")"
    " FULL JOIN y USING (\"source\", \"repository\")"
    " ORDER BY \"source\" COLLATE \"C\", \"repository\" COLLATE \"C\"";

static int read_row(const PGresult *result, int row, struct repository *out, struct error *err)
{
    bool failed = false;
    *out = (struct repository){0};
    out->source = sql_copy_text(result, row, 0, &failed);
    out->repository = sql_copy_text(result, row, 1, &failed);
    out->documents = sql_get_int8(result, row, 2);
    copy_short(result, row, 3, out->updated_at, sizeof(out->updated_at));
    out->registered = sql_get_bool(result, row, 4);
    out->interval_s = sql_get_int4(result, row, 5);
    copy_short(result, row, 6, out->status, sizeof(out->status));
    copy_short(result, row, 7, out->last_sync_at, sizeof(out->last_sync_at));
    copy_short(result, row, 8, out->next_sync_at, sizeof(out->next_sync_at));
    out->error_message = sql_copy_text(result, row, 9, &failed);
    if (!failed) return 0;
    repository_free(out);
    return no_memory(err);
}

int repositories_list(struct pool *pool, const char *source, const char *repository,
                      struct repository **rows, size_t *count, struct error *err)
{
    struct sql sql = {0};
    *rows = NULL;
    *count = 0;
    sql_text(&sql, source);
    sql_text(&sql, repository);
    PGresult *result = sql_query(pool, list_statement, &sql, err);
    if (result == NULL) return -1;
    const int n = PQntuples(result);
    struct repository *list = calloc((size_t)n + 1, sizeof(*list));
    int rc = list != NULL ? 0 : no_memory(err);
    for (int i = 0; i < n && rc == 0; i++) rc = read_row(result, i, &list[i], err);
    PQclear(result);
    if (rc != 0) {
        for (int i = 0; i < n && list != NULL; i++) repository_free(&list[i]);
        free(list);
        return -1;
    }
    *rows = list;
    *count = (size_t)n;
    return 0;
}

/* ---- What one holds -------------------------------------------------------------------------- */

static void free_parts(struct repository_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) free(parts[i].name);
    free(parts);
}

void repository_content_free(struct repository_content *content)
{
    free_parts(content->types, content->type_count);
    free_parts(content->folders, content->folder_count);
    *content = (struct repository_content){0};
}

/* One statement, so that it is one moment: a row of totals, then the types, then the folders. An
 * extension is what is behind the last dot of the file's name, but for a dot that begins it. */
static const char look_statement[] =
    "WITH d AS MATERIALIZED (SELECT \"id\", \"path\", octet_length(\"content\") AS bytes,"
    " \"createdAt\" FROM vault.\"VaultDocument\" WHERE \"source\" = $1 AND \"repository\" = $2)"
    " (SELECT 0, to_char(min(d.\"createdAt\")" AS_ISO ", coalesce(sum(bytes), 0)::bigint,"
    " (SELECT count(*) FROM vault.\"VaultEmbedding\" e"
    " WHERE e.\"documentId\" IN (SELECT \"id\" FROM d)) FROM d)"
    " UNION ALL (SELECT 1, name, n, 0 FROM (SELECT coalesce(lower(substring(\"path\""
    " from '[^/]\\.([^./]{1,32})$')), '') AS name, count(*) AS n FROM d GROUP BY 1) t"
    " ORDER BY n DESC, name COLLATE \"C\" LIMIT $3)"
    " UNION ALL (SELECT 2, name, n, 0 FROM (SELECT CASE WHEN \"path\" LIKE '%/%'"
    " THEN split_part(\"path\", '/', 1) ELSE '' END AS name, count(*) AS n FROM d GROUP BY 1) f"
    " ORDER BY n DESC, name COLLATE \"C\" LIMIT $3)";

static int add_part(const PGresult *result, int row, struct repository_part **parts, size_t *count,
                    struct error *err)
{
    bool failed = false;
    if (*parts == NULL) *parts = calloc(REPOSITORY_PARTS, sizeof(**parts));
    if (*parts == NULL || *count == REPOSITORY_PARTS) return no_memory(err);
    struct repository_part *part = &(*parts)[*count];
    part->name = sql_copy_text(result, row, 1, &failed);
    part->documents = sql_get_int8(result, row, 2);
    if (failed) return no_memory(err);
    (*count)++;
    return 0;
}

int repository_look(struct pool *pool, const char *source, const char *repository,
                    struct repository_content *content, struct error *err)
{
    struct sql sql = {0};
    *content = (struct repository_content){0};
    sql_text(&sql, source);
    sql_text(&sql, repository);
    sql_int4(&sql, REPOSITORY_PARTS);
    PGresult *result = sql_query(pool, look_statement, &sql, err);
    if (result == NULL) return -1;
    int rc = 0;
    for (int i = 0; i < PQntuples(result) && rc == 0; i++) {
        const int kind = sql_get_int4(result, i, 0);
        if (kind == 0) {
            copy_short(result, i, 1, content->oldest, sizeof(content->oldest));
            content->bytes = sql_get_int8(result, i, 2);
            content->passages = sql_get_int8(result, i, 3);
        } else if (kind == 1) {
            rc = add_part(result, i, &content->types, &content->type_count, err);
        } else {
            rc = add_part(result, i, &content->folders, &content->folder_count, err);
        }
    }
    PQclear(result);
    if (rc != 0) repository_content_free(content);
    return rc;
}
