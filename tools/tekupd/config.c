#include "tools/tekupd/config.h"

#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { TEXT, INTEGER, COUNT, SIZE, MODE, LEVEL };

struct setting {
    const char *section, *name;
    enum kind kind;
    size_t offset;
    size_t room; /* of a TEXT, with its NUL */
    long least, most;
    bool live; /* takes effect on SIGHUP */
};

#define TEXT_SETTING(section, name, member)                                                        \
    {                                                                                              \
        section, name, TEXT, offsetof(struct config, member),                                      \
            sizeof(((struct config *)0)->member), 0, 0, false                                      \
    }
#define NUMBER_SETTING(section, name, kind, member, least, most, live)                             \
    {                                                                                              \
        section, name, kind, offsetof(struct config, member), 0, least, most, live                 \
    }

static const struct setting settings[] = {
    TEXT_SETTING("tekupd", "run", configured_run),
    TEXT_SETTING("tekupd", "data", configured_data),
    NUMBER_SETTING("http", "socket_mode", MODE, socket_mode, 0, 0777, false),
    TEXT_SETTING("http", "socket_group", socket_group),
    NUMBER_SETTING("http", "max_body", SIZE, max_body, 64L << 10, 1L << 30, true),
    NUMBER_SETTING("http", "threads", INTEGER, http_threads, 0, 64, false),
    NUMBER_SETTING("http", "idle_timeout", INTEGER, idle_timeout, 1, 86400, false),
    NUMBER_SETTING("http", "wake_latency", INTEGER, wake_latency, -1, 1000000, false),
    TEXT_SETTING("http", "listen", http_listen),
    TEXT_SETTING("http", "host", http_host),
    TEXT_SETTING("http", "open_loopback", http_open_loopback),
    TEXT_SETTING("http", "key_env", http_key_env),
    TEXT_SETTING("http", "key_file", http_key_file),
    TEXT_SETTING("database", "url", database_url),
    NUMBER_SETTING("database", "pool_size", INTEGER, pool_size, 1, 10, false),
    TEXT_SETTING("embedding", "provider", embedding_provider),
    TEXT_SETTING("embedding", "model", embedding_model),
    TEXT_SETTING("embedding", "base_url", embedding_base_url),
    TEXT_SETTING("embedding", "api_version", embedding_api_version),
    TEXT_SETTING("embedding", "api_key_env", embedding_key_env),
    TEXT_SETTING("embedding", "api_key_file", embedding_key_file),
    TEXT_SETTING("embedding", "dimensions", embedding_dimensions),
    NUMBER_SETTING("embedding", "batch", INTEGER, embedding_batch, 1, 2048, false),
    NUMBER_SETTING("embedding", "parallel", INTEGER, embedding_parallel, 1, 64, false),
    TEXT_SETTING("search", "backend", search_backend),
    NUMBER_SETTING("index", "ef", INTEGER, index_ef, 0, 65536, true),
    NUMBER_SETTING("index", "max_neighbours", INTEGER, index_max_neighbours, 0, 128, false),
    NUMBER_SETTING("index", "ef_construction", INTEGER, index_ef_construction, 0, 4096, false),
    NUMBER_SETTING("snapshot", "changes", COUNT, snapshot_changes, 0, 1000000000, false),
    NUMBER_SETTING("snapshot", "minutes", INTEGER, snapshot_minutes, 0, 10080, false),
    NUMBER_SETTING("sync", "threads", INTEGER, sync_threads, 1, 16, false),
    TEXT_SETTING("outgoing", "ca_file", outgoing_ca_file),
    TEXT_SETTING("outgoing", "proxy", outgoing_proxy),
    NUMBER_SETTING("outgoing", "per_host", INTEGER, outgoing_per_host, 1, 64, false),
    TEXT_SETTING("github", "webhook_secret_file", github_webhook_secret_file),
    NUMBER_SETTING("events", "clients", INTEGER, event_clients, 0, 10000, false),
    NUMBER_SETTING("events", "buffer", SIZE, event_buffer, 16L << 10, 64L << 20, false),
    NUMBER_SETTING("events", "keep", INTEGER, event_keep, 10, 43200, false),
    TEXT_SETTING("passthrough", "listen", passthrough),
    NUMBER_SETTING("passthrough", "connection_limit", INTEGER, connection_limit, 1, 200, false),
    NUMBER_SETTING("passthrough", "clients", INTEGER, passthrough_clients, 1, 100000, false),
    NUMBER_SETTING("passthrough", "wait_timeout", INTEGER, wait_timeout, 1, 3600, false),
    NUMBER_SETTING("passthrough", "socket_mode", MODE, passthrough_mode, 0, 0777, false),
    TEXT_SETTING("passthrough", "socket_group", passthrough_group),
    TEXT_SETTING("passthrough", "tekup_admin", allow_admin),
    TEXT_SETTING("passthrough", "tekup_vault", allow_vault),
    TEXT_SETTING("passthrough", "tekup_billy", allow_billy),
    TEXT_SETTING("passthrough", "tekup_renos", allow_renos),
    TEXT_SETTING("passthrough", "tekup_crm", allow_crm),
    TEXT_SETTING("passthrough", "tekup_flow", allow_flow),
    NUMBER_SETTING("log", "level", LEVEL, log_level, 0, 0, true),
};
enum { SETTINGS = sizeof(settings) / sizeof(*settings) };

static const char *const providers[] = {"hash", "openai", NULL};
static const char *const dimensions[] = {"auto", "on", "off", NULL};
static const char *const backends[] = {"index", "postgres", NULL};
static const char *const switches[] = {"on", "off", NULL};

static const struct {
    size_t offset;
    const char *const *among;
    const char *words;
} choices[] = {
    {offsetof(struct config, embedding_provider), providers, "hash or openai"},
    {offsetof(struct config, embedding_dimensions), dimensions, "auto, on or off"},
    {offsetof(struct config, search_backend), backends, "index or postgres"},
    {offsetof(struct config, passthrough), switches, "on or off"},
    {offsetof(struct config, http_open_loopback), switches, "on or off"},
};

static void set_defaults(struct config *config)
{
    memset(config, 0, sizeof(*config));
    config->socket_mode = 0660;
    config->max_body = 16L << 20;
    config->idle_timeout = 300;
    snprintf(config->http_open_loopback, sizeof(config->http_open_loopback), "off");
    config->pool_size = 10;
    snprintf(config->embedding_provider, sizeof(config->embedding_provider), "hash");
    snprintf(config->embedding_model, sizeof(config->embedding_model), "text-embedding-3-small");
    snprintf(config->embedding_dimensions, sizeof(config->embedding_dimensions), "auto");
    config->embedding_batch = 256;
    config->embedding_parallel = 4;
    snprintf(config->search_backend, sizeof(config->search_backend), "index");
    config->snapshot_changes = 50000;
    config->snapshot_minutes = 15;
    config->sync_threads = 2;
    config->outgoing_per_host = 8;
    config->event_clients = 64;
    config->event_buffer = 256L << 10;
    config->event_keep = 600;
    snprintf(config->passthrough, sizeof(config->passthrough), "on");
    config->connection_limit = 10;
    config->passthrough_clients = 2000;
    config->wait_timeout = 30;
    config->passthrough_mode = 0666;
    config->log_level = LOG_INFO;
}

/* ---- One value ------------------------------------------------------------------------------- */

static int set_text(const struct setting *setting, const char *value, char *out, struct error *err)
{
    if (strlen(value) >= setting->room)
        return error_set(err, ERR_INVALID, NULL, "is longer than %zu bytes", setting->room - 1);
    snprintf(out, setting->room, "%s", value);
    return 0;
}

/* A whole number, with an optional unit of size. Returns 0 and *number, or -1. */
static int parse_number(const char *value, bool sized, long *number)
{
    static const struct {
        const char *suffix;
        int shift;
    } units[] = {{"", 0},      {"KiB", 10},  {"MiB", 20}, {"GiB", 30},
                 {" KiB", 10}, {" MiB", 20}, {" GiB", 30}};
    if (*value < '0' || *value > '9') return -1;
    char *end;
    errno = 0;
    const long parsed = strtol(value, &end, 10);
    if (errno != 0) return -1;
    for (size_t i = 0; i < (sized ? sizeof(units) / sizeof(*units) : 1); i++) {
        if (strcmp(end, units[i].suffix) != 0) continue;
        if (parsed > (INT64_MAX >> units[i].shift)) return -1;
        *number = parsed << units[i].shift;
        return 0;
    }
    return -1;
}

static int set_integer(const struct setting *setting, const char *value, int *out,
                       struct error *err)
{
    const bool minus = setting->least < 0 && value[0] == '-';
    long number = 0;
    const bool is_number = parse_number(value + minus, false, &number) == 0;
    if (minus) number = -number;
    if (!is_number || number < setting->least || number > setting->most)
        return error_set(err, ERR_INVALID, NULL, "must be a whole number from %ld to %ld, not '%s'",
                         setting->least, setting->most, value);
    *out = (int)number;
    return 0;
}

static int set_count(const struct setting *setting, const char *value, long *out, struct error *err)
{
    if (parse_number(value, false, out) != 0 || *out < setting->least || *out > setting->most)
        return error_set(err, ERR_INVALID, NULL, "must be a whole number from %ld to %ld, not '%s'",
                         setting->least, setting->most, value);
    return 0;
}

static int set_size(const struct setting *setting, const char *value, long *out, struct error *err)
{
    long number;
    if (parse_number(value, true, &number) != 0 || number < setting->least ||
        number > setting->most)
        return error_set(err, ERR_INVALID, NULL,
                         "must be a size from %ld KiB to %ld MiB, such as '16 MiB', not '%s'",
                         setting->least >> 10, setting->most >> 20, value);
    *out = number;
    return 0;
}

static int set_mode(const struct setting *setting, const char *value, int *out, struct error *err)
{
    char *end;
    errno = 0;
    const long mode = strtol(value, &end, 8);
    if (*value < '0' || *value > '7' || errno != 0 || *end != '\0' || mode > setting->most)
        return error_set(err, ERR_INVALID, NULL,
                         "must be an octal file mode such as 0660, not '%s'", value);
    *out = (int)mode;
    return 0;
}

static int set_level(const char *value, int *out, struct error *err)
{
    enum log_level level;
    if (log_level_parse(value, &level) != 0)
        return error_set(err, ERR_INVALID, NULL, "must be debug, info, warn or error, not '%s'",
                         value);
    *out = (int)level;
    return 0;
}

static int set_value(const struct setting *setting, const char *value, struct config *config,
                     struct error *err)
{
    void *member = (char *)config + setting->offset;
    switch (setting->kind) {
    case TEXT:
        return set_text(setting, value, member, err);
    case INTEGER:
        return set_integer(setting, value, member, err);
    case COUNT:
        return set_count(setting, value, member, err);
    case SIZE:
        return set_size(setting, value, member, err);
    case MODE:
        return set_mode(setting, value, member, err);
    case LEVEL:
        return set_level(value, member, err);
    }
    return error_set(err, ERR_INTERNAL, NULL, "a setting of no kind");
}

static bool is_one_of(const char *text, const char *const *known)
{
    while (*known != NULL && strcmp(*known, text) != 0) known++;
    return *known != NULL;
}

/* What a single value cannot tell. */
static int check_value(const struct setting *setting, const struct config *config,
                       struct error *err)
{
    for (size_t i = 0; i < sizeof(choices) / sizeof(*choices); i++) {
        const char *value = (const char *)config + choices[i].offset;
        if (setting->offset == choices[i].offset && !is_one_of(value, choices[i].among))
            return error_set(err, ERR_INVALID, NULL, "must be %s, not '%s'", choices[i].words,
                             value);
    }
    if (setting->offset == offsetof(struct config, embedding_model) && !*config->embedding_model)
        return error_set(err, ERR_INVALID, NULL, "must not be empty");
    if (setting->offset == offsetof(struct config, index_max_neighbours) &&
        config->index_max_neighbours != 0 && config->index_max_neighbours < 4)
        return error_set(err, ERR_INVALID, NULL, "must be from 4 to 128, or 0 for the default");
    if (setting->offset == offsetof(struct config, index_ef_construction) &&
        config->index_ef_construction != 0 && config->index_ef_construction < 8)
        return error_set(err, ERR_INVALID, NULL, "must be from 8 to 4096, or 0 for the default");
    return 0;
}

/* ---- The file -------------------------------------------------------------------------------- */

struct parse {
    const char *path;
    FILE *stream;
    struct config *config;
    int line; /* of the line that is being looked at */
    bool seen[SETTINGS];
    bool failed; /* only the first failure is told */
    int failed_line;
    struct error *err;
};

static void fail(struct parse *parse, const char *field, const char *message)
{
    if (parse->failed) return;
    parse->failed = true;
    parse->failed_line = parse->line;
    error_set(parse->err, ERR_INVALID, field, "%s:%d: %s", parse->path, parse->line, message);
}

static bool section_known(const char *name, size_t length)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (strlen(settings[i].section) == length &&
            strncmp(settings[i].section, name, length) == 0)
            return true;
    }
    return false;
}

/* inih tells of a section only with a setting in it; an empty one is looked at here. */
static void check_section_line(struct parse *parse, const char *line)
{
    line += strspn(line, " \t");
    if (*line != '[') return;
    const size_t length = strcspn(line + 1, "]");
    if (line[1 + length] == '\0' || section_known(line + 1, length)) return;
    char name[64];
    char message[160];
    snprintf(name, sizeof(name), "%.*s", length < sizeof(name) ? (int)length : 63, line + 1);
    snprintf(message, sizeof(message), "there is no section [%s]", name);
    fail(parse, name, message);
}

/* Gives inih the next line, and keeps count of lines. A line that inih has no room for would be
 * taken for two: it is a failure instead. */
static char *read_line(char *out, int room, void *arg)
{
    struct parse *parse = arg;
    int length = 0;
    int byte;
    bool whole = true, nul = false;
    parse->line++;
    while ((byte = getc(parse->stream)) != EOF && byte != '\n') {
        if (byte == '\0') nul = true;
        if (length < room - 2)
            out[length++] = (char)byte;
        else
            whole = false;
    }
    if (byte == EOF && length == 0) return NULL;
    out[length] = '\0';
    if (!whole) fail(parse, NULL, "the line is too long; put a secret into the environment");
    if (nul) fail(parse, NULL, "the line has a NUL byte");
    check_section_line(parse, out);
    return out;
}

static int handle(void *arg, const char *section, const char *name, const char *value)
{
    struct parse *parse = arg;
    char field[64];
    char message[700];
    snprintf(field, sizeof(field), "%s.%s", section, name);
    if (*section == '\0') {
        snprintf(message, sizeof(message), "%s stands before any [section]", name);
        fail(parse, name, message);
        return 0;
    }
    size_t i = 0;
    while (i < SETTINGS &&
           (strcmp(settings[i].section, section) != 0 || strcmp(settings[i].name, name) != 0))
        i++;
    if (i == SETTINGS) {
        snprintf(message, sizeof(message), "there is no setting '%s' in [%s]", name, section);
        fail(parse, field, message);
        return 0;
    }
    if (parse->seen[i]) {
        snprintf(message, sizeof(message), "%s is set twice", field);
        fail(parse, field, message);
        return 0;
    }
    parse->seen[i] = true;
    struct error wrong = {0};
    if (set_value(&settings[i], value, parse->config, &wrong) != 0 ||
        check_value(&settings[i], parse->config, &wrong) != 0) {
        snprintf(message, sizeof(message), "%s %s", field, wrong.message);
        fail(parse, field, message);
        return 0;
    }
    return 1;
}

static int parse_file(const char *path, FILE *stream, struct config *config, struct error *err)
{
    struct parse parse = {.path = path, .stream = stream, .config = config, .err = err};
    const int line = ini_parse_stream(read_line, &parse, handle, &parse);
    if (ferror(stream)) return error_set(err, ERR_IO, NULL, "%s: %s", path, strerror(errno));
    if (line < 0) return error_set(err, ERR_INTERNAL, NULL, "%s: memory ran out", path);
    /* inih names the first line that it or handle() did not like. */
    if (line > 0 && (!parse.failed || line < parse.failed_line))
        return error_set(err, ERR_INVALID, NULL,
                         "%s:%d: neither a [section], nor name = value, nor a comment", path, line);
    return parse.failed ? -1 : 0;
}

/* Opens the file that is to be read: *stream is NULL where there is none. */
static int open_file(const char *named, char path[PATHS_SIZE], FILE **stream, struct error *err)
{
    char data[PATHS_SIZE];
    const char *candidates[2] = {NULL, NULL};
    char beside[PATHS_SIZE + 16];
    size_t count = 0;
    if (named != NULL) {
        candidates[count++] = named;
    } else {
        if (paths_data(NULL, NULL, data, NULL) == 0) {
            snprintf(beside, sizeof(beside), "%s/tekupd.conf", data);
            candidates[count++] = beside;
        }
        candidates[count++] = CONFIG_SYSTEM_FILE;
    }

    *stream = NULL;
    path[0] = '\0';
    for (size_t i = 0; i < count && *stream == NULL; i++) {
        *stream = fopen(candidates[i], "re");
        if (*stream == NULL && (named != NULL || (errno != ENOENT && errno != ENOTDIR)))
            return error_set(err, ERR_IO, NULL, "%s: %s", candidates[i], strerror(errno));
        if (*stream != NULL) snprintf(path, PATHS_SIZE, "%s", candidates[i]);
    }
    return 0;
}

static int read_environment(struct config *config, struct error *err)
{
    const char *url = getenv("DATABASE_URL");
    if (url == NULL || *url == '\0') return 0;
    if (strlen(url) >= sizeof(config->database_url))
        return error_set(err, ERR_INVALID, "DATABASE_URL", "DATABASE_URL is longer than %zu bytes",
                         sizeof(config->database_url) - 1);
    snprintf(config->database_url, sizeof(config->database_url), "%s", url);
    return 0;
}

int config_load(const char *file, struct config *config, struct error *err)
{
    struct config loaded;
    set_defaults(&loaded);
    FILE *stream;
    int rc = open_file(file, loaded.file, &stream, err);
    if (rc == 0 && stream != NULL) {
        rc = parse_file(loaded.file, stream, &loaded, err);
        fclose(stream);
    }
    if (rc == 0) rc = read_environment(&loaded, err);
    if (rc == 0) rc = paths_run(loaded.configured_run, "tekupd.run", loaded.run, err);
    if (rc == 0) rc = paths_data(loaded.configured_data, "tekupd.data", loaded.data, err);
    if (rc == 0) *config = loaded;
    return rc;
}

/* ---- Changes --------------------------------------------------------------------------------- */

static bool differs(const struct setting *setting, const struct config *before,
                    const struct config *after)
{
    const void *old = (const char *)before + setting->offset;
    const void *new = (const char *)after + setting->offset;
    switch (setting->kind) {
    case TEXT:
        return strcmp(old, new) != 0;
    case COUNT:
    case SIZE:
        return memcmp(old, new, sizeof(long)) != 0;
    case INTEGER:
    case MODE:
    case LEVEL:
        break;
    }
    return memcmp(old, new, sizeof(int)) != 0;
}

int config_changes(const struct config *before, const struct config *after, bool live,
                   struct buffer *names)
{
    int count = 0;
    for (size_t i = 0; i < SETTINGS; i++) {
        if (settings[i].live != live || !differs(&settings[i], before, after)) continue;
        buffer_format(names, "%s%s.%s", count > 0 ? ", " : "", settings[i].section,
                      settings[i].name);
        count++;
    }
    return count;
}
