/*
 * schema_tool: gives a script what storage does.
 *
 *   schema_tool cluster DATA RUN     runs a private cluster and migrates tekup_db; prints the
 *                                    directory of its socket and stops when stdin ends
 *   schema_tool migrate CONNINFO     migrates the database
 */
#include "storage/base/log.h"
#include "storage/cluster/cluster.h"
#include "storage/migrate.h"
#include "storage/pool.h"

#include <stdio.h>
#include <string.h>

static int migrate_database(const char *conninfo, struct error *err)
{
    struct migration_result result;
    struct pool *pool = pool_create(conninfo, 1, err);
    const int rc = pool != NULL ? migrate(pool, &result, err) : -1;
    pool_free(pool);
    return rc;
}

static int run_cluster(const char *data, const char *run, struct error *err)
{
    struct cluster *cluster = cluster_open(data, run, err);
    if (cluster == NULL) return -1;
    int rc = migrate_database(cluster_conninfo(cluster), err);
    if (rc == 0) {
        printf("%s/postgres\n", run);
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    if (cluster_close(cluster, rc == 0 ? err : NULL) != 0) rc = -1;
    return rc;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    int rc;
    log_set_level(LOG_WARN);
    if (argc == 4 && strcmp(argv[1], "cluster") == 0) {
        rc = run_cluster(argv[2], argv[3], &err);
    } else if (argc == 3 && strcmp(argv[1], "migrate") == 0) {
        rc = migrate_database(argv[2], &err);
    } else {
        fputs("usage: schema_tool cluster DATA RUN | migrate CONNINFO\n", stderr);
        return 2;
    }
    if (rc != 0) fprintf(stderr, "schema_tool: %s\n", err.message);
    return rc == 0 ? 0 : 1;
}
