/* local_config.c: reads the settings of a `local` source and refuses what it does not know. */
#include "ingest/local/local_config.h"

#include "storage/base/buffer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static int read_path(const char *repository, const json_t *value, struct local_config *out,
                     struct error *err)
{
    static const char field[] = "config.path";
    if (value != NULL && !json_is_string(value))
        return error_set(err, ERR_INVALID, field, "%s must be a string", field);
    const char *path = value != NULL ? json_string_value(value) : repository;
    if (value == NULL && repository[0] != '/')
        return error_set(err, ERR_INVALID, field,
                         "%s is missing, and the repository's name is no absolute path", field);
    if (path[0] != '/')
        return error_set(err, ERR_INVALID, field, "%s must be an absolute path", field);
    for (const char *part = path; part != NULL; part = strchr(part, '/')) {
        part++;
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return error_set(err, ERR_INVALID, field, "%s must not contain \"..\"", field);
    }
    out->path = strdup(path);
    return out->path != NULL ? 0 : out_of_memory(err);
}

static int read_max_bytes(const json_t *value, struct local_config *out, struct error *err)
{
    out->max_bytes = LOCAL_MAX_BYTES_DEFAULT;
    if (value == NULL) return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > LOCAL_MAX_BYTES_MOST)
        return error_set(err, ERR_INVALID, "config.maxBytes",
                         "config.maxBytes must be a whole number from 1 to %d",
                         LOCAL_MAX_BYTES_MOST);
    out->max_bytes = (size_t)json_integer_value(value);
    return 0;
}

static int read_patterns(const char *field, const json_t *value, struct gitignore **out,
                         struct error *err)
{
    struct buffer text = {0};
    size_t i;
    const json_t *pattern;

    if (value == NULL) return 0;
    if (!json_is_array(value) || json_array_size(value) > LOCAL_PATTERNS_MOST)
        return error_set(err, ERR_INVALID, field, "%s must be an array of at most %d patterns",
                         field, LOCAL_PATTERNS_MOST);
    json_array_foreach(value, i, pattern)
    {
        const char *line = json_string_value(pattern);
        if (line == NULL || line[0] == '\0' || strpbrk(line, "\r\n") != NULL) {
            buffer_free(&text);
            return error_set(err, ERR_INVALID, field,
                             "%s[%zu] must be a pattern: a string that is not empty, of one line",
                             field, i);
        }
        buffer_format(&text, "%s\n", line);
    }
    if (!text.failed) *out = gitignore_parse(text.data != NULL ? text.data : "", text.length);
    buffer_free(&text);
    return *out != NULL ? 0 : out_of_memory(err);
}

static int refuse_unknown(json_t *object, struct error *err)
{
    static const char *const known[] = {"path", "maxBytes", "include", "exclude"};
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(*known) && strcmp(known[i], key) != 0) i++;
        if (i < sizeof(known) / sizeof(*known)) continue;
        char field[64];
        snprintf(field, sizeof(field), "config.%s", key);
        return error_set(err, ERR_INVALID, field,
                         "config.%s is not a setting of a local source: those are path, maxBytes, "
                         "include and exclude",
                         key);
    }
    return 0;
}

int local_config_read(const char *repository, const char *config, struct local_config *out,
                      struct error *err)
{
    json_error_t fault;
    *out = (struct local_config){0};
    if (config == NULL || config[0] == '\0') config = "{}";
    json_t *object = json_loads(config, JSON_REJECT_DUPLICATES, &fault);
    if (object == NULL)
        return error_set(err, ERR_INVALID, "config", "config is not valid JSON: %s", fault.text);

    int result = -1;
    if (!json_is_object(object)) {
        error_set(err, ERR_INVALID, "config", "config must be an object");
        goto out;
    }
    if (refuse_unknown(object, err) != 0) goto out;
    if (read_path(repository, json_object_get(object, "path"), out, err) != 0) goto out;
    if (read_max_bytes(json_object_get(object, "maxBytes"), out, err) != 0) goto out;
    if (read_patterns("config.include", json_object_get(object, "include"), &out->include, err) !=
        0)
        goto out;
    if (read_patterns("config.exclude", json_object_get(object, "exclude"), &out->exclude, err) !=
        0)
        goto out;
    result = 0;
out:
    if (result != 0) local_config_free(out);
    json_decref(object);
    return result;
}

void local_config_free(struct local_config *config)
{
    free(config->path);
    gitignore_free(config->include);
    gitignore_free(config->exclude);
    *config = (struct local_config){0};
}
