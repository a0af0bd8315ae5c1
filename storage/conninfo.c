#include "storage/conninfo.h"

#include "storage/base/buffer.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char field[] = "DATABASE_URL";

static bool is_url(const char *text)
{
    return strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0;
}

/* What Prisma's PostgreSQL URLs may have and libpq does not know. */
static bool only_prisma_knows(const char *name, size_t length)
{
    static const char *const names[] = {
        "schema",
        "connection_limit",
        "pool_timeout",
        "pgbouncer",
        "socket_timeout",
        "statement_cache_size",
        "sslaccept",
        "sslidentity",
        "max_connection_lifetime",
        "directConnection",
        "single_use_connections",
        "max_idle_connection_lifetime",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) return true;
    return false;
}

/* The URL without the parameters that are Prisma's own. NULL when memory ran out. */
static char *without_prisma_parameters(const char *url)
{
    struct buffer kept = {0};
    const char *query = strchr(url, '?');
    if (query == NULL) {
        buffer_text(&kept, url);
        return buffer_take(&kept);
    }
    buffer_append(&kept, url, (size_t)(query - url));
    char separator = '?';
    for (const char *at = query + 1; *at != '\0';) {
        const size_t length = strcspn(at, "&");
        if (length > 0 && !only_prisma_knows(at, strcspn(at, "=&"))) {
            buffer_append(&kept, &separator, 1);
            buffer_append(&kept, at, length);
            separator = '&';
        }
        at += length + (at[length] == '&');
    }
    return buffer_take(&kept);
}

/* Copies libpq's complaint with what it quotes from the string replaced. */
static int refuse(const char *complaint, struct error *err)
{
    struct buffer said = {0};
    bool quoted = false;
    for (const char *at = complaint; *at != '\0'; at++) {
        if (*at == '"' && !quoted) buffer_text(&said, "\"...");
        if (*at == '"') quoted = !quoted;
        if (!quoted || *at == '\n') buffer_append(&said, *at == '\n' ? " " : at, 1);
    }
    while (said.length > 0 && isspace((unsigned char)said.data[said.length - 1]))
        said.data[--said.length] = '\0';
    error_set(err, ERR_INVALID, field, "%s is not a connection string: %s", field,
              said.data != NULL ? said.data : "out of memory");
    buffer_free(&said);
    return -1;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++)
        if (strcmp(option->keyword, keyword) == 0) return option->val != NULL ? option->val : "";
    return "";
}

/* A password with '@', '/', '?' or ':' that was not percent-encoded moves parts of itself into the
 * host or the port, and libpq would name those when it fails to connect. */
static int check_url(const PQconninfoOption *options, struct error *err)
{
    const char *port = value_of(options, "port");
    if (strchr(value_of(options, "host"), '@') != NULL)
        return error_set(err, ERR_INVALID, field,
                         "%s: the host has an '@' in it; in a user name or password write '@' as "
                         "%%40",
                         field);
    if (port[strspn(port, "0123456789,")] != '\0')
        return error_set(err, ERR_INVALID, field,
                         "%s: the port is not a number; in a user name or password write '/' as "
                         "%%2F and ':' as %%3A",
                         field);
    return 0;
}

PQconninfoOption *conninfo_parse(const char *conninfo, struct error *err)
{
    if (conninfo == NULL || conninfo[0] == '\0') {
        error_set(err, ERR_INVALID, field, "%s is empty", field);
        return NULL;
    }
    const bool url = is_url(conninfo);
    char *text = url ? without_prisma_parameters(conninfo) : strdup(conninfo);
    if (text == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(text, &complaint);
    if (options == NULL) {
        refuse(complaint != NULL ? complaint : "out of memory", err);
    } else if (url && check_url(options, err) != 0) {
        PQconninfoFree(options);
        options = NULL;
    }
    PQfreemem(complaint);
    free(text);
    return options;
}
