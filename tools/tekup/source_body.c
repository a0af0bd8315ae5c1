/* source_body.c: which option is which setting of which kind of source. */
#include "tools/tekup/source_body.h"

#include "tools/tekup/figures.h"

#include "storage/base/buffer.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum form { TEXT, FILE_NAME, NUMBER, LIST };

/* kinds: their names, with a blank around each. */
static const struct setting {
    const char *option, *key, *kinds;
    enum form form;
    size_t place; /* in struct source_options */
} settings[] = {
#define PLACE(member) offsetof(struct source_options, member)
    {"path", "path", " local ", FILE_NAME, PLACE(path)},
    {"base-url", "baseUrl", " github notion gdrive ", TEXT, PLACE(base_url)},
    {"token-env", "tokenEnv", " github notion ", TEXT, PLACE(token_env)},
    {"token-env", "refreshTokenEnv", " gdrive ", TEXT, PLACE(token_env)},
    {"token-file", "tokenFile", " github notion ", FILE_NAME, PLACE(token_file)},
    {"token-file", "refreshTokenFile", " gdrive ", FILE_NAME, PLACE(token_file)},
    {"key-file", "keyFile", " gdrive ", FILE_NAME, PLACE(key_file)},
    {"max-bytes", "maxBytes", " local github notion gdrive ", NUMBER, PLACE(max_bytes)},
    {"branch...", "branches", " github ", LIST, PLACE(branches)},
    {"include...", "include", " local github ", LIST, PLACE(include)},
    {"exclude...", "exclude", " local github ", LIST, PLACE(exclude)},
    {"root...", "roots", " notion ", LIST, PLACE(roots)},
    {"folder...", "folders", " gdrive ", LIST, PLACE(folders)},
    {"drive...", "drives", " gdrive ", LIST, PLACE(drives)},
#undef PLACE
};
enum { SETTINGS = sizeof(settings) / sizeof(*settings) };

static const char **values_of(const struct source_options *options, const struct setting *setting)
{
    return (const char **)((char *)(uintptr_t)options + setting->place);
}

void source_options_specs(struct source_options *options, struct option_spec *specs)
{
    int count = 0;
    for (int i = 0; i < SETTINGS; i++) {
        if (i > 0 && settings[i].place == settings[i - 1].place) continue;
        specs[count++] =
            (struct option_spec){settings[i].option, values_of(options, &settings[i]), NULL};
    }
    specs[count++] = (struct option_spec){"config", &options->config, NULL};
    if (count != SOURCE_OPTIONS) abort();
}

bool source_options_given(const struct source_options *options)
{
    for (int i = 0; i < SETTINGS; i++)
        if (*values_of(options, &settings[i]) != NULL) return true;
    return options->config != NULL;
}

/* The daemon has another working directory: a path is made absolute here. Where it does not exist
 * it stays as near to what was typed as it can, for the daemon to say so. */
static char *absolute(const char *path)
{
    char *found = realpath(path, NULL);
    if (found != NULL || *path == '/') return found != NULL ? found : strdup(path);
    char *here = getcwd(NULL, 0);
    struct buffer joined = {0};
    if (here != NULL) buffer_format(&joined, "%s/%s", here, path);
    free(here);
    return joined.data != NULL ? buffer_take(&joined) : NULL;
}

static json_t *file_name(const char *path)
{
    char *whole = absolute(path);
    json_t *json = whole != NULL ? json_string(whole) : NULL;
    free(whole);
    return json;
}

static json_t *list(const char **values)
{
    json_t *array = json_array();
    int failed = 0;
    for (; *values != NULL; values++) failed |= json_array_append_new(array, json_string(*values));
    if (failed == 0) return array;
    json_decref(array);
    return NULL;
}

/* NULL after saying what is wrong. */
static json_t *value_of(const struct arguments *arguments, const struct setting *setting,
                        const char **values)
{
    json_t *json = NULL;
    long long number;
    switch (setting->form) {
    case TEXT:
        json = json_string(*values);
        break;
    case FILE_NAME:
        json = file_name(*values);
        break;
    case NUMBER:
        if (figure_parse_integer(*values, &number) != 0) {
            options_wrong(arguments, "--%s takes a whole number, not '%s'", setting->option,
                          *values);
            return NULL;
        }
        json = json_integer(number);
        break;
    case LIST:
        /* Every shared drive: the only setting that is a list or a word. */
        json =
            strcmp(setting->key, "drives") == 0 && strcmp(*values, "all") == 0 && values[1] == NULL
                ? json_string("all")
                : list(values);
        break;
    }
    if (json == NULL) options_wrong(arguments, "an option's value is not valid UTF-8");
    return json;
}

static bool is_kind(const char *kinds, const char *source)
{
    char word[64];
    snprintf(word, sizeof(word), " %s ", source);
    return strstr(kinds, word) != NULL;
}

/* The setting of this option for the kind. The daemon says it where there is no such kind. */
static bool applies(const struct setting *setting, const char *source)
{
    static const char known[] = " local github notion gdrive ";
    return is_kind(setting->kinds, source) || !is_kind(known, source);
}

static int refuse(const struct arguments *arguments, const char *source,
                  const struct source_options *options)
{
    for (int i = 0; i < SETTINGS; i++) {
        bool used = *values_of(options, &settings[i]) == NULL;
        for (int j = 0; j < SETTINGS && !used; j++)
            used = settings[j].place == settings[i].place && applies(&settings[j], source);
        if (used) continue;
        const char *name = settings[i].option;
        options_wrong(arguments, "--%.*s is not for %s", (int)strcspn(name, "."), name, source);
        return -1;
    }
    return 0;
}

/* What --config says; the other options come on top. NULL after saying what is wrong. */
static json_t *begin_config(const struct arguments *arguments, const char *text)
{
    json_error_t fault;
    if (text == NULL) return json_object();
    json_t *config = json_loads(text, JSON_REJECT_DUPLICATES, &fault);
    if (json_is_object(config)) return config;
    options_wrong(arguments, "--config takes a JSON object: %s",
                  config != NULL ? "this is another value" : fault.text);
    json_decref(config);
    return NULL;
}

static json_t *make_config(const struct arguments *arguments, const char *source,
                           const char *repository, const struct source_options *options)
{
    if (refuse(arguments, source, options) != 0) return NULL;
    json_t *config = begin_config(arguments, options->config);
    for (int i = 0; i < SETTINGS && config != NULL; i++) {
        const char **values = values_of(options, &settings[i]);
        /* A local repository that is named by its directory needs no --path. */
        if (i == 0 && *values == NULL && strcmp(source, "local") == 0 && *repository == '/' &&
            json_object_get(config, "path") == NULL)
            values = &repository;
        if (*values == NULL || !applies(&settings[i], source)) continue;
        json_t *value = value_of(arguments, &settings[i], values);
        if (value == NULL || json_object_set_new(config, settings[i].key, value) != 0) {
            json_decref(config);
            config = NULL;
        }
    }
    return config;
}

json_t *source_body_make(const struct arguments *arguments, const char *source,
                         const char *repository, const struct source_options *options,
                         int interval_s)
{
    json_t *config = make_config(arguments, source, repository, options);
    if (config == NULL) return NULL;
    json_t *body = json_pack("{s:s, s:s, s:o, s:i}", "source", source, "repository", repository,
                             "config", config, "intervalSeconds", interval_s);
    if (body == NULL) options_wrong(arguments, "SOURCE or REPOSITORY is not valid UTF-8");
    return body;
}

const char *source_option_of_field(const char *field, char out[SOURCE_OPTION_SIZE])
{
    static const char prefix[] = "config.";
    if (strncmp(field, prefix, sizeof(prefix) - 1) != 0) return NULL;
    const char *key = field + sizeof(prefix) - 1;
    const size_t length = strcspn(key, "["); /* of a list one value may be at fault */
    for (int i = 0; i < SETTINGS; i++) {
        if (strlen(settings[i].key) != length || strncmp(settings[i].key, key, length) != 0)
            continue;
        const char *name = settings[i].option;
        snprintf(out, SOURCE_OPTION_SIZE, "--%.*s", (int)strcspn(name, "."), name);
        return out;
    }
    return NULL;
}

json_t *source_body_of(const json_t *item)
{
    return json_pack("{s:O, s:O, s:O, s:O}", "source", json_object_get(item, "source"),
                     "repository", json_object_get(item, "repository"), "config",
                     json_object_get(item, "config"), "intervalSeconds",
                     json_object_get(item, "intervalSeconds"));
}
