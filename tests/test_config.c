#include "tools/tekupd/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static char file[96];

static void begin(void)
{
    snprintf(directory, sizeof(directory), "/tmp/tekup-config-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(file, sizeof(file), "%s/tekupd.conf", directory);
    setenv("TEKUP_RUN", directory, 1);
    setenv("TEKUP_DATA", directory, 1);
    unsetenv("DATABASE_URL");
}

static void end(void)
{
    unlink(file);
    rmdir(directory);
}

TestSuite(config, .init = begin, .fini = end);

static void write_file(const char *text)
{
    FILE *out = fopen(file, "w");
    cr_assert_not_null(out);
    cr_assert_geq(fputs(text, out), 0);
    cr_assert_eq(fclose(out), 0);
}

Test(config, has_its_defaults_without_a_file)
{
    struct config config;
    struct error err = {0};
    cr_assert_eq(config_load(NULL, &config, &err), 0, "%s", err.message);
    cr_expect_str_eq(config.run, directory);
    cr_expect_str_eq(config.data, directory);
    cr_expect_eq(config.socket_mode, 0660);
    cr_expect_eq(config.max_body, 16 << 20);
    cr_expect_eq(config.wake_latency, 0);
    cr_expect_eq(config.pool_size, 10);
    cr_expect_str_eq(config.embedding_provider, "hash");
    cr_expect_str_eq(config.database_url, "");
    cr_expect_eq(config.log_level, LOG_INFO);
}

Test(config, reads_every_setting)
{
    write_file("# a comment\n"
               "[tekupd]\nrun = /srv/run/\ndata=/srv/data\n"
               "[http]\nsocket_mode = 0600\nsocket_group = staff\nmax_body = 2 MiB ; inline\n"
               "threads = 3\nidle_timeout = 7\nwake_latency = -1\n"
               "[database]\nurl = postgresql://db/x?a=b\npool_size = 4\n"
               "[embedding]\nprovider = openai\nmodel = m\nbase_url = http://b\napi_version = 1\n"
               "api_key_env = K\napi_key_file = /k\ndimensions = off\nbatch = 7\nparallel = 3\n"
               "[search]\nbackend = postgres\n"
               "[index]\nef = 200\nmax_neighbours = 32\nef_construction = 400\n"
               "[sync]\nthreads = 5\n"
               "[outgoing]\nca_file = /x.pem\nproxy = http://p:3128\nper_host = 2\n"
               "[events]\nclients = 3\nbuffer = 64 KiB\nkeep = 60\n"
               "[log]\nlevel = debug\n");
    unsetenv("TEKUP_RUN");
    unsetenv("TEKUP_DATA");
    struct config config;
    struct error err = {0};
    cr_assert_eq(config_load(file, &config, &err), 0, "%s", err.message);
    cr_expect_str_eq(config.file, file);
    cr_expect_str_eq(config.run, "/srv/run");
    cr_expect_str_eq(config.data, "/srv/data");
    cr_expect_eq(config.socket_mode, 0600);
    cr_expect_str_eq(config.socket_group, "staff");
    cr_expect_eq(config.max_body, 2 << 20);
    cr_expect_eq(config.http_threads, 3);
    cr_expect_eq(config.idle_timeout, 7);
    cr_expect_eq(config.wake_latency, -1);
    cr_expect_str_eq(config.database_url, "postgresql://db/x?a=b");
    cr_expect_eq(config.pool_size, 4);
    cr_expect_str_eq(config.embedding_provider, "openai");
    cr_expect_str_eq(config.embedding_model, "m");
    cr_expect_str_eq(config.embedding_base_url, "http://b");
    cr_expect_str_eq(config.embedding_api_version, "1");
    cr_expect_str_eq(config.embedding_key_env, "K");
    cr_expect_str_eq(config.embedding_key_file, "/k");
    cr_expect_str_eq(config.embedding_dimensions, "off");
    cr_expect_eq(config.embedding_batch, 7);
    cr_expect_eq(config.embedding_parallel, 3);
    cr_expect_str_eq(config.search_backend, "postgres");
    cr_expect_eq(config.index_ef, 200);
    cr_expect_eq(config.index_max_neighbours, 32);
    cr_expect_eq(config.index_ef_construction, 400);
    cr_expect_eq(config.sync_threads, 5);
    cr_expect_str_eq(config.outgoing_ca_file, "/x.pem");
    cr_expect_str_eq(config.outgoing_proxy, "http://p:3128");
    cr_expect_eq(config.outgoing_per_host, 2);
    cr_expect_eq(config.event_clients, 3);
    cr_expect_eq(config.event_buffer, 64 << 10);
    cr_expect_eq(config.event_keep, 60);
    cr_expect_eq(config.log_level, LOG_DEBUG);
}

Test(config, the_environment_goes_before_the_file)
{
    write_file("[tekupd]\nrun = /elsewhere\n[database]\nurl = postgresql://file/x\n");
    setenv("DATABASE_URL", "postgresql://environment/x", 1);
    struct config config;
    cr_assert_eq(config_load(NULL, &config, NULL), 0);
    cr_expect_str_eq(config.file, file);
    cr_expect_str_eq(config.run, directory);
    cr_expect_str_eq(config.database_url, "postgresql://environment/x");
}

Test(config, refuses_with_the_line_and_the_name)
{
    char long_line[400];
    memset(long_line, 'x', sizeof(long_line) - 1);
    memcpy(long_line, "[database]\nurl = ", 17);
    long_line[sizeof(long_line) - 1] = '\0';

    static const struct {
        const char *text, *field, *message;
    } cases[] = {
        {"[http]\n\nmax_bdoy = 1\n", "http.max_bdoy", ":3: there is no setting 'max_bdoy'"},
        {"[htpp]\n", "htpp", ":1: there is no section [htpp]"},
        {"\n[htpp]\nthreads = 1\n", "htpp", ":2: there is no section [htpp]"},
        {"threads = 1\n", "threads", ":1: threads stands before any [section]"},
        {"[http]\nthreads = 1\nthreads = 1\n", "http.threads", ":3: http.threads is set twice"},
        {"[http]\nthreads = 1\n  2\n", "http.threads", ":3: http.threads is set twice"},
        {"[http]\nthreads = many\n", "http.threads", ":2: http.threads must be a whole number"},
        {"[http]\nthreads = 65\n", "http.threads", ":2: http.threads must be a whole number"},
        {"[http]\nthreads = -1\n", "http.threads", ":2: http.threads must be a whole number"},
        {"[http]\nthreads =\n", "http.threads", ":2: http.threads must be a whole number"},
        {"[http]\nthreads = 99999999999999999999\n", "http.threads", "must be a whole number"},
        {"[http]\nmax_body = 1\n", "http.max_body", ":2: http.max_body must be a size"},
        {"[http]\nmax_body = 16 MB\n", "http.max_body", "must be a size"},
        {"[http]\nmax_body = 9223372036854775807 GiB\n", "http.max_body", "must be a size"},
        {"[http]\nsocket_mode = 0999\n", "http.socket_mode", "octal"},
        {"[http]\nsocket_mode = 1777\n", "http.socket_mode", "octal"},
        {"[database]\npool_size = 11\n", "database.pool_size", "from 1 to 10"},
        {"[embedding]\nprovider = magic\n", "embedding.provider", "must be hash or openai"},
        {"[search]\nbackend = pg\n", "search.backend", "must be index or postgres, not 'pg'"},
        {"[index]\nmax_neighbours = 3\n", "index.max_neighbours", "from 4 to 128"},
        {"[index]\nef_construction = 7\n", "index.ef_construction", "from 8 to 4096"},
        {"[log]\nlevel = loud\n", "log.level", "debug, info, warn or error, not 'loud'"},
        {"[log]\nlevel\n", "", ":2: neither a [section], nor name = value"},
        {"[log\n", "", ":1: neither a [section]"},
        {"[log]\nlevel\nlevel = loud\n", "", ":2: neither"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct config config = {.pool_size = 77};
        struct error err = {0};
        write_file(cases[i].text);
        cr_expect_eq(config_load(file, &config, &err), -1, "case %zu", i);
        cr_expect_eq(err.code, ERR_INVALID, "case %zu", i);
        cr_expect_str_eq(err.field, cases[i].field, "case %zu: %s", i, err.field);
        cr_expect_not_null(strstr(err.message, cases[i].message), "case %zu: %s", i, err.message);
        cr_expect_not_null(strstr(err.message, file), "case %zu: %s", i, err.message);
        cr_expect_eq(config.pool_size, 77, "a failure leaves the old settings");
    }
    struct config config;
    struct error err = {0};
    write_file(long_line);
    cr_expect_eq(config_load(file, &config, &err), -1);
    cr_expect_not_null(strstr(err.message, ":2: the line is too long"), "%s", err.message);
}

Test(config, refuses_a_named_file_that_is_not_there)
{
    struct config config;
    struct error err = {0};
    cr_expect_eq(config_load("/nonexistent/tekupd.conf", &config, &err), -1);
    cr_expect_eq(err.code, ERR_IO);
    cr_expect_not_null(strstr(err.message, "/nonexistent/tekupd.conf"));
    cr_expect_eq(config_load(directory, &config, &err), -1, "a directory is no file");
}

Test(config, tells_live_changes_from_those_that_need_a_restart)
{
    struct config before, after;
    cr_assert_eq(config_load(NULL, &before, NULL), 0);
    write_file("[http]\nmax_body = 1 MiB\nthreads = 2\n[database]\nurl = postgresql://x/y\n"
               "[log]\nlevel = warn\n");
    cr_assert_eq(config_load(NULL, &after, NULL), 0);
    struct buffer live = {0}, restart = {0}, none = {0};
    cr_expect_eq(config_changes(&before, &after, true, &live), 2);
    cr_expect_str_eq(live.data, "http.max_body, log.level");
    cr_expect_eq(config_changes(&before, &after, false, &restart), 2);
    cr_expect_str_eq(restart.data, "http.threads, database.url");
    cr_expect_eq(config_changes(&after, &after, true, &none), 0);
    cr_expect_eq(config_changes(&after, &after, false, &none), 0);
    buffer_free(&live);
    buffer_free(&restart);
    buffer_free(&none);
}

Test(config, the_shipped_file_is_right_and_so_is_each_of_its_defaults)
{
    FILE *in = fopen(TEKUPD_CONF, "r");
    cr_assert_not_null(in);
    struct config defaults, shipped, uncommented;
    struct error err = {0};
    cr_assert_eq(config_load(NULL, &defaults, NULL), 0);
    cr_assert_eq(config_load(TEKUPD_CONF, &shipped, &err), 0, "%s", err.message);

    /* With "# name = value" uncommented, but for the places and names that are examples. */
    char line[256];
    FILE *out = fopen(file, "w");
    cr_assert_not_null(out);
    int settings = 0;
    while (fgets(line, sizeof(line), in) != NULL) {
        char name[64];
        if (line[0] == '[') fputs(line, out);
        if (sscanf(line, "# %63[a-z_] = ", name) != 1 || strchr(line, '=') == NULL) continue;
        settings++;
        if (strcmp(name, "url") != 0 && strcmp(name, "socket_group") != 0 &&
            strcmp(name, "ca_file") != 0 && strcmp(name, "api_key_file") != 0 &&
            strcmp(name, "webhook_secret_file") != 0 && strncmp(name, "tekup_", 6) != 0 &&
            strncmp(name, "key_", 4) != 0 && strcmp(name, "host") != 0 &&
            strstr(line, "127.0.0.1:") == NULL)
            fputs(line + 2, out);
    }
    fclose(in);
    fclose(out);
    cr_expect_eq(settings, 51);
    cr_assert_eq(config_load(file, &uncommented, &err), 0, "%s", err.message);

    struct buffer names = {0};
    cr_expect_eq(config_changes(&defaults, &shipped, true, &names), 0);
    cr_expect_eq(config_changes(&defaults, &shipped, false, &names), 0);
    cr_expect_eq(config_changes(&defaults, &uncommented, true, &names), 0, "%s", names.data);
    cr_expect_eq(config_changes(&defaults, &uncommented, false, &names), 2);
    cr_expect_str_eq(names.data, "tekupd.run, tekupd.data");
    buffer_free(&names);
}
