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

/* Where the parameters of the URL start: behind the first '?' that is not in the user name or the
 * password, which libpq ends at the first '@' that no '/' comes before. NULL where there are none.
 */
static const char *find_query(const char *url)
{
    const char *at = strstr(url, "://") + 3;
    const char *end = at + strcspn(at, "@/");
    return strchr(*end == '@' ? end : at, '?');
}

static bool libpq_knows(const PQconninfoOption *known, const char *name, size_t length)
{
    for (; known != NULL && known->keyword != NULL; known++)
        if (strlen(known->keyword) == length && memcmp(known->keyword, name, length) == 0)
            return true;
    return length == 3 && memcmp(name, "ssl", 3) == 0; /* ssl=true, for JDBC's sake */
}

/* Copies the parameters that are not Prisma's own. One that nobody knows may be named, since a
 * password is not in this part, unless it has an '@' in it and so may be the end of one. */
static int keep_parameters(const char *query, struct buffer *kept, struct error *err)
{
    int rc = 0;
    char separator = '?';
    PQconninfoOption *known = PQconndefaults();
    for (const char *at = query + 1; *at != '\0' && rc == 0;) {
        const size_t length = strcspn(at, "&");
        const size_t name = strcspn(at, "=&");
        if (length > 0 && !only_prisma_knows(at, name)) {
            if (at[name] == '=' && !libpq_knows(known, at, name) && strchr(query, '@') == NULL)
                rc = error_set(err, ERR_INVALID, field, "%s has an unknown parameter: %.*s", field,
                               name < 64 ? (int)name : 64, at);
            buffer_append(kept, &separator, 1);
            buffer_append(kept, at, length);
            separator = '&';
        }
        at += length + (at[length] == '&');
    }
    PQconninfoFree(known);
    return rc;
}

/* The URL without the parameters that are Prisma's own. */
static char *without_prisma_parameters(const char *url, struct error *err)
{
    struct buffer kept = {0};
    const char *query = find_query(url);
    buffer_append(&kept, url, query != NULL ? (size_t)(query - url) : strlen(url));
    if (query != NULL && keep_parameters(query, &kept, err) != 0) {
        buffer_free(&kept);
        return NULL;
    }
    char *text = buffer_take(&kept);
    if (text == NULL) error_set(err, ERR_INTERNAL, NULL, "out of memory");
    return text;
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
    char *text = url ? without_prisma_parameters(conninfo, err) : strdup(conninfo);
    if (text == NULL) {
        if (!url) error_set(err, ERR_INTERNAL, NULL, "out of memory");
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
