#include "tools/tekup/backup_place.h"

#include "storage/backup/inventory.h"
#include "storage/base/buffer.h"
#include "tools/tekup/client.h"
#include "tools/tekup/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Every parameter is said, so that no PG... variable says otherwise. */
static PGconn *connect_socket(const char *directory, const char *user, struct error *err)
{
    struct buffer conninfo = {0};
    PGconn *conn = NULL;
    buffer_text(&conninfo, "host='");
    for (const char *at = directory; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\') buffer_text(&conninfo, "\\");
        buffer_append(&conninfo, at, 1);
    }
    buffer_format(&conninfo,
                  "' hostaddr='' port=5432 user=%s dbname=tekup_db sslmode=disable"
                  " gssencmode=disable options=''",
                  user);
    if (conninfo.failed)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else
        conn = backup_connect(conninfo.data, err);
    buffer_free(&conninfo);
    return conn;
}

static int denied(const char *path, struct error *err)
{
    return error_set(err, ERR_INVALID, NULL,
                     "%s is not for this user: root and the user that tekupd runs as may back up "
                     "and restore",
                     path);
}

static int connect_daemon(struct backup_place *place, struct error *err)
{
    char run[PATHS_SIZE], directory[PATHS_SIZE + 16], path[PATHS_SIZE + 64];
    struct stat found;
    if (client_find_run(run, err) != 0) return -1;
    snprintf(directory, sizeof(directory), "%s/postgres", run);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", directory);
    if (stat(path, &found) == 0) {
        place->conn = connect_socket(directory, "postgres", err);
        return place->conn != NULL ? 0 : -1;
    }
    if (errno == EACCES) return denied(directory, err);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", run);
    if (stat(path, &found) != 0)
        return error_set(err, ERR_NOT_FOUND, NULL,
                         "there is no PostgreSQL socket in %s: start tekupd, or name the database "
                         "with --url-env",
                         run);
    place->conn = connect_socket(run, "tekup_admin", err);
    if (place->conn != NULL) return 0;
    return error_prefix(err, "by %s as tekup_admin (--url-env names the database itself)", path);
}

static int connect_url(const char *url_env, struct backup_place *place, struct error *err)
{
    const char *url = getenv(url_env);
    if (url == NULL || *url == '\0')
        return error_set(err, ERR_INVALID, "url-env", "the environment has no %s", url_env);
    place->conn = backup_connect(url, err);
    return place->conn != NULL ? 0 : -1;
}

json_t *backup_place_ask(void)
{
    struct response response = {0};
    json_t *status = NULL;
    if (command_call("GET", "/v1/status", NULL, &response, NULL) == 0)
        status = json_incref(response.json);
    response_free(&response);
    return status;
}

int backup_place_open(const char *url_env, struct backup_place *place, struct error *err)
{
    *place = (struct backup_place){0};
    const int rc = url_env != NULL ? connect_url(url_env, place, err) : connect_daemon(place, err);
    if (rc == 0) place->status = backup_place_ask();
    return rc;
}

void backup_place_close(struct backup_place *place)
{
    json_decref(place->status);
    PQfinish(place->conn);
    *place = (struct backup_place){0};
}
