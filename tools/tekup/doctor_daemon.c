#include "tools/tekup/command.h"
#include "tools/tekup/doctor.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/source_body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void check_version(struct checks *checks, const json_t *status)
{
    const char *version = field_text(status, "version");
    const bool same = strcmp(version, TEKUP_VERSION) == 0;
    char up[FIGURE_SIZE];
    figure_seconds(field_number(status, "uptimeSeconds"), up);
    if (same)
        check_add(checks, CHECK_OK, "version", "", "tekupd %s, up %s", version, up);
    else
        check_add(checks, CHECK_WARN, "version",
                  "start the daemon again after an update, so that both are the same",
                  "tekupd is %s and tekup is %s", version, TEKUP_VERSION);
}

/* GET /readyz: 503 with a reason while the index loads or the database is away. Returns whether it
 * is ready. */
static bool check_ready(struct checks *checks, struct client *client)
{
    struct response response = {0};
    struct error err = {0};
    const int called = client_call(client, "GET", "/readyz", NULL, &response, &err);
    const char *status = field_text(response.json, "status");
    const char *reason = field_text(response.json, "reason");
    if (called == 0)
        check_add(checks, CHECK_OK, "ready", "", "it takes searches and writes");
    else if (strcmp(status, "loading") == 0)
        check_add(checks, CHECK_WARN, "ready", "wait a little and try again",
                  "the index is still loading");
    else if (*status != '\0')
        check_add(checks, CHECK_FAIL, "ready", "see the checks below and the daemon's log",
                  "%s%s%s", status, *reason != '\0' ? ": " : "", reason);
    else
        check_add(checks, CHECK_FAIL, "ready", "see the daemon's log", "%s", err.message);
    response_free(&response);
    return called == 0;
}

static void check_database(struct checks *checks, const json_t *database)
{
    const bool is_private = field_true(database, "private");
    if (!field_true(database, "connected")) {
        const char *reason = field_text(database, "error");
        check_add(checks, CHECK_FAIL, "database",
                  is_private ? "tekupd starts its private cluster again by itself; if it does not, "
                               "DATA/postgres and the daemon's log say why (disk full?)"
                             : "look at the server that DATABASE_URL names; tekupd connects again "
                               "by itself",
                  "PostgreSQL is away: %s", *reason != '\0' ? reason : "no reason given");
        return;
    }
    check_add(checks, CHECK_OK, "database", "", "PostgreSQL %s, %s, schema version %lld",
              field_text(database, "serverVersion"),
              is_private ? "a private cluster" : "named by DATABASE_URL",
              field_integer(database, "schemaVersion"));
    if (field_true(database, "pgvector"))
        check_add(checks, CHECK_OK, "pgvector", "",
                  "there: embeddings are kept as vector(1536), other programs can search in SQL");
    else
        check_add(checks, CHECK_OK, "pgvector", "",
                  "not in use: embeddings are kept as real[]. Searches do not need it, the index "
                  "answers them; other programs cannot use its operators in SQL. Once the server "
                  "has it, 'tekup db pgvector' converts them");
    if (field_true(database, "dblink"))
        check_add(checks, CHECK_OK, "dblink", "",
                  "there: match_documents in SQL is answered by the index");
    else
        check_add(
            checks, CHECK_WARN, "dblink",
            "let an administrator run CREATE EXTENSION dblink SCHEMA tekupdb in this database, "
            "and start the daemon again",
            "not there: match_documents in SQL compares with every embedding");

    const json_t *pool = json_object_get(database, "pool");
    const long long waiting = field_integer(pool, "waiting");
    if (waiting > 0)
        check_add(checks, CHECK_WARN, "pool", "the database is slower than it is asked",
                  "all %lld connections are in use and %lld calls wait for one",
                  field_integer(pool, "size"), waiting);
}

/* The index is a mirror of the embeddings: the counts are equal, except while writes go on. */
static void check_index(struct checks *checks, const json_t *status)
{
    char a[FIGURE_SIZE], b[FIGURE_SIZE];
    const json_t *index = json_object_get(status, "index");
    const json_t *database = json_object_get(status, "database");
    const long long vectors = field_integer(index, "vectors");
    const json_t *embeddings = json_object_get(database, "embeddings");
    if (json_is_null(index)) {
        check_add(checks, CHECK_OK, "index", "",
                  "none in memory: PostgreSQL answers searches (search.backend = postgres)");
        return;
    }
    figure_count(vectors, a);
    if (!field_true(database, "connected") || !json_is_integer(embeddings)) {
        check_add(checks, CHECK_WARN, "index", "try again when the database is back",
                  "%s vectors; not compared with the database, which is away", a);
        return;
    }
    figure_count(json_integer_value(embeddings), b);
    if (vectors == json_integer_value(embeddings))
        check_add(checks, CHECK_OK, "index", "", "%s vectors, as many as the database has", a);
    else if (field_integer(json_object_get(status, "syncs"), "running") > 0)
        check_add(checks, CHECK_OK, "index", "",
                  "%s vectors, %s in the database: a sync is writing at this moment", a, b);
    else
        check_add(checks, CHECK_WARN, "index",
                  "embeddings of another model are not loaded; if there are none, start the daemon "
                  "again: it loads the index from the database",
                  "%s vectors, but the database has %s embeddings", a, b);
}

/* The fastest kernels this processor could run, as far as this program was built to tell. */
static bool has_vector_unit(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

static void check_kernel(struct checks *checks, const json_t *status)
{
    const char *kernel = field_text(json_object_get(status, "index"), "kernel");
    if (json_is_null(json_object_get(status, "index"))) return;
    if (strcmp(kernel, "portable") != 0)
        check_add(checks, CHECK_OK, "processor", "", "the %s kernels are in use", kernel);
    else if (has_vector_unit())
        check_add(checks, CHECK_WARN, "processor",
                  "the daemon was built without them, or runs in a machine that hides them",
                  "the portable kernels are in use though the processor has faster ones");
    else
        check_add(checks, CHECK_OK, "processor", "",
                  "the portable kernels are in use: it has neither AVX2 nor NEON");
}

/* A search shows whether the server of the embeddings answers, and takes the key: one short text,
 * which is another one each time, since the daemon remembers what it has asked for. */
static int try_search(struct client *client, struct error *err)
{
    struct response response = {0};
    char query[64];
    snprintf(query, sizeof(query), "tekup doctor %lld %d", (long long)time(NULL), (int)getpid());
    json_t *body =
        json_pack("{s:s, s:s, s:i, s:[]}", "query", query, "mode", "vector", "limit", 1, "include");
    const int result = body != NULL
                           ? client_call(client, "POST", "/v1/search", body, &response, err)
                           : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    json_decref(body);
    response_free(&response);
    return result;
}

static void check_embedding(struct checks *checks, struct client *client, const json_t *status,
                            bool ready)
{
    struct error err = {0};
    const json_t *embedding = json_object_get(status, "embedding");
    const char *model = field_text(embedding, "model");
    if (strcmp(field_text(embedding, "provider"), "hash") == 0)
        check_add(checks, CHECK_OK, "embedding", "", "%s: finds shared words, not shared meaning",
                  model);
    else if (!ready)
        check_add(checks, CHECK_OK, "embedding", "", "%s, not tried before it is ready", model);
    else if (try_search(client, &err) == 0)
        check_add(checks, CHECK_OK, "embedding", "", "%s answers", model);
    else
        check_add(checks, CHECK_FAIL, "embedding",
                  "look at that server, and at [embedding] in tekupd.conf: base_url and the key. "
                  "Until then texts are found by words alone, and nothing new is taken in",
                  "%s: %s", model, err.message);
}

/* Every registered repository is read by the daemon, with the daemon's permissions. */
static void check_sources(struct checks *checks, struct client *client)
{
    struct response list = {0};
    struct error err = {0};
    if (client_call(client, "GET", "/v1/sources", NULL, &list, &err) != 0) {
        check_add(checks, CHECK_WARN, "sources", "try again when the database is back",
                  "they cannot be listed: %s", err.message);
        response_free(&list);
        return;
    }
    size_t i;
    json_t *source;
    const json_t *sources = json_object_get(list.json, "sources");
    if (json_array_size(sources) == 0)
        check_add(checks, CHECK_OK, "sources", "'tekup sources add local /usr/share/doc' makes one",
                  "there are none yet");
    json_array_foreach(sources, i, source)
    {
        struct response tested = {0};
        json_t *body = source_body_of(source);
        const int failed = client_call(client, "POST", "/v1/sources/test", body, &tested, &err);
        json_decref(body);
        check_add(checks, failed == 0 ? CHECK_OK : CHECK_FAIL, "source",
                  failed == 0 ? ""
                              : "make it readable for the daemon's user, change it with 'tekup "
                                "sources add', or remove it with 'tekup sources rm'",
                  "%s %s: %s", field_text(source, "source"), field_text(source, "repository"),
                  failed == 0 ? "can be read" : err.message);
        response_free(&tested);
    }
    response_free(&list);
}

/* Syncs that failed; one line for each. */
static void check_syncs(struct checks *checks, struct client *client)
{
    struct response response = {0};
    struct error err = {0};
    size_t failures = 0, i;
    json_t *item;
    if (client_call(client, "GET", "/v1/sync", NULL, &response, &err) != 0) {
        check_add(checks, CHECK_WARN, "syncs", "try again when the database is back",
                  "how they stand cannot be read: %s", err.message);
        response_free(&response);
        return;
    }
    const json_t *items = json_object_get(response.json, "items");
    json_array_foreach(items, i, item)
    {
        if (strcmp(field_text(item, "status"), "error") != 0) continue;
        failures++;
        char advice[1024];
        snprintf(advice, sizeof(advice), "run it again: tekup sync %s '%s'",
                 field_text(item, "source"), field_text(item, "repository"));
        check_add(checks, CHECK_WARN, "sync", advice, "%s %s failed: %s",
                  field_text(item, "source"), field_text(item, "repository"),
                  field_text(item, "errorMessage"));
    }
    if (failures == 0)
        check_add(checks, CHECK_OK, "syncs", "", "%s",
                  json_array_size(items) > 0 ? "none of the last ones failed" : "none yet");
    response_free(&response);
}

void doctor_check_daemon(struct checks *checks, struct client *client, const json_t *status)
{
    check_version(checks, status);
    const bool ready = check_ready(checks, client);
    check_database(checks, json_object_get(status, "database"));
    check_index(checks, status);
    check_kernel(checks, status);
    check_embedding(checks, client, status, ready);
    check_sources(checks, client);
    check_syncs(checks, client);
}
