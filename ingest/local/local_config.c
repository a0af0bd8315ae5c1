/* local_config.c: reads the settings of a `local` source and refuses what it does not know. */
#include "ingest/local/local_config.h"

#include "ingest/source_config.h"

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
        return error_set(
            err, ERR_INVALID, field,
            "the directory's path is missing, and the repository's name is no absolute "
            "path");
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

int local_config_read(const char *repository, const char *config, struct local_config *out,
                      struct error *err)
{
    static const char *const known[] = {"path", "maxBytes", "include", "exclude", NULL};
    *out = (struct local_config){.max_bytes = LOCAL_MAX_BYTES_DEFAULT};
    json_t *object = source_config_parse(config, "local", known, err);
    int result = -1;
    if (object != NULL && read_path(repository, json_object_get(object, "path"), out, err) == 0 &&
        source_config_size(object, "maxBytes", LOCAL_MAX_BYTES_MOST, &out->max_bytes, err) == 0 &&
        source_config_patterns(object, "include", &out->include, err) == 0 &&
        source_config_patterns(object, "exclude", &out->exclude, err) == 0)
        result = 0;
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
