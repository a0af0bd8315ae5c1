/* source_config.c: see source_config.h. */
#include "ingest/source_config.h"

#include "ingest/http/secret.h"
#include "storage/base/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_SIZE = 64, PATTERNS_MOST = 1000 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static const char *field_of(const char *name, char field[FIELD_SIZE])
{
    snprintf(field, FIELD_SIZE, "config.%s", name);
    return field;
}

static int refuse_unknown(json_t *object, const char *kind, const char *const *known,
                          struct error *err)
{
    const char *key;
    json_t *value;
    char field[FIELD_SIZE];
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0) i++;
        if (known[i] != NULL) continue;
        struct buffer names = {0};
        for (i = 0; known[i] != NULL; i++)
            buffer_format(&names, "%s%s", i == 0 ? "" : ", ", known[i]);
        error_set(err, ERR_INVALID, field_of(key, field),
                  "config.%s is not a setting of a %s source: those are %s", key, kind,
                  names.data != NULL ? names.data : "");
        buffer_free(&names);
        return -1;
    }
    return 0;
}

json_t *source_config_parse(const char *text, const char *kind, const char *const *known,
                            struct error *err)
{
    json_error_t fault;
    if (text == NULL || *text == '\0') text = "{}";
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &fault);
    if (object == NULL) {
        error_set(err, ERR_INVALID, "config", "config is not valid JSON: %s", fault.text);
        return NULL;
    }
    if (!json_is_object(object))
        error_set(err, ERR_INVALID, "config", "config must be an object");
    else if (refuse_unknown(object, kind, known, err) == 0)
        return object;
    json_decref(object);
    return NULL;
}

int source_config_text(const json_t *object, const char *name, char **out, struct error *err)
{
    char field[FIELD_SIZE];
    const json_t *value = json_object_get(object, name);
    if (value == NULL) return 0;
    const char *text = json_string_value(value);
    field_of(name, field);
    if (text == NULL || *text == '\0')
        return error_set(err, ERR_INVALID, field, "%s must be a string that is not empty", field);
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return error_set(err, ERR_INVALID, field, "%s must not have control characters", field);
    *out = strdup(text);
    return *out != NULL ? 0 : out_of_memory(err);
}

int source_config_env(const json_t *object, const char *name, char **out, struct error *err)
{
    char field[FIELD_SIZE];
    if (source_config_text(object, name, out, err) != 0) return -1;
    if (*out == NULL || secret_env_name_is_valid(*out)) return 0;
    return error_set(err, ERR_INVALID, field_of(name, field),
                     "config.%s must be the name of an environment variable", name);
}

int source_config_path(const json_t *object, const char *name, char **out, struct error *err)
{
    char field[FIELD_SIZE];
    if (source_config_text(object, name, out, err) != 0) return -1;
    if (*out == NULL || **out == '/') return 0;
    return error_set(err, ERR_INVALID, field_of(name, field), "config.%s must be an absolute path",
                     name);
}

int source_config_url(const json_t *object, const char *name, char **out, struct error *err)
{
    char field[FIELD_SIZE];
    if (source_config_text(object, name, out, err) != 0) return -1;
    if (*out == NULL) return 0;
    const char *host = strncmp(*out, "https://", 8) == 0  ? *out + 8
                       : strncmp(*out, "http://", 7) == 0 ? *out + 7
                                                          : "";
    if (*host == '\0' || *host == '/' || strpbrk(host, " ?#@") != NULL)
        return error_set(err, ERR_INVALID, field_of(name, field),
                         "config.%s must be a URL like https://host, without a user or a query",
                         name);
    size_t length = strlen(*out);
    while ((*out)[length - 1] == '/') (*out)[--length] = '\0';
    return 0;
}

int source_config_patterns(const json_t *object, const char *name, struct gitignore **out,
                           struct error *err)
{
    struct buffer text = {0};
    char field[FIELD_SIZE];
    const json_t *value = json_object_get(object, name), *pattern;
    size_t i;
    field_of(name, field);
    if (value == NULL) return 0;
    if (!json_is_array(value) || json_array_size(value) > PATTERNS_MOST)
        return error_set(err, ERR_INVALID, field, "%s must be an array of at most %d patterns",
                         field, PATTERNS_MOST);
    json_array_foreach(value, i, pattern)
    {
        const char *line = json_string_value(pattern);
        if (line == NULL || *line == '\0' || strpbrk(line, "\r\n") != NULL) {
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

int source_config_size(const json_t *object, const char *name, size_t most, size_t *out,
                       struct error *err)
{
    char field[FIELD_SIZE];
    const json_t *value = json_object_get(object, name);
    if (value == NULL) return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        (size_t)json_integer_value(value) > most)
        return error_set(err, ERR_INVALID, field_of(name, field),
                         "config.%s must be a whole number from 1 to %zu", name, most);
    *out = (size_t)json_integer_value(value);
    return 0;
}
