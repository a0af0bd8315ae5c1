/* notion_config.c: see notion_config.h. */
#include "ingest/notion/notion_config.h"

#include "ingest/source_config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

int notion_id_read(const char *text, char id[NOTION_ID_SIZE])
{
    size_t length = text != NULL ? strcspn(text, "?#") : 0;
    size_t digits = 0;
    /* From the end: dashes may stand between digits, anything else ends the id. */
    while (length > 0 && digits < NOTION_ID_SIZE - 1) {
        const char c = text[--length];
        if (c == '-') continue;
        if (!isxdigit((unsigned char)c)) return -1;
        id[NOTION_ID_SIZE - 2 - digits++] = (char)tolower((unsigned char)c);
    }
    id[NOTION_ID_SIZE - 1] = '\0';
    return digits == NOTION_ID_SIZE - 1 ? 0 : -1;
}

static int read_roots(const json_t *list, struct notion_config *out, struct error *err)
{
    size_t i;
    const json_t *entry;
    if (list == NULL) return 0;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > NOTION_ROOTS_MOST)
        return error_set(err, ERR_INVALID, "config.roots",
                         "config.roots must be an array of 1 to %d ids or addresses of pages",
                         NOTION_ROOTS_MOST);
    out->roots = calloc(json_array_size(list), sizeof(*out->roots));
    if (out->roots == NULL) return out_of_memory(err);
    json_array_foreach(list, i, entry)
    {
        if (notion_id_read(json_string_value(entry), out->roots[out->root_count++]) != 0)
            return error_set(err, ERR_INVALID, "config.roots",
                             "config.roots[%zu] is neither the id nor the address of a page", i);
    }
    return 0;
}

static int read_rate(const json_t *value, struct notion_config *out, struct error *err)
{
    if (value == NULL) return 0;
    if (!json_is_number(value) || !(json_number_value(value) >= 0.1) ||
        !(json_number_value(value) <= 1000))
        return error_set(err, ERR_INVALID, "config.requestsPerSecond",
                         "config.requestsPerSecond must be a number from 0.1 to 1000");
    out->per_second = json_number_value(value);
    return 0;
}

int notion_config_read(const char *config, struct notion_config *out, struct error *err)
{
    static const char *const known[] = {"baseUrl",  "tokenEnv",          "tokenFile", "roots",
                                        "maxBytes", "requestsPerSecond", NULL};
    *out = (struct notion_config){.max_bytes = NOTION_MAX_BYTES_DEFAULT, .per_second = 3};
    json_t *object = source_config_parse(config, "notion", known, err);
    if (object == NULL) return -1;
    int status = -1;
    if (source_config_url(object, "baseUrl", &out->base_url, err) == 0 &&
        source_config_env(object, "tokenEnv", &out->token_env, err) == 0 &&
        source_config_path(object, "tokenFile", &out->token_file, err) == 0 &&
        read_roots(json_object_get(object, "roots"), out, err) == 0 &&
        read_rate(json_object_get(object, "requestsPerSecond"), out, err) == 0 &&
        source_config_size(object, "maxBytes", NOTION_MAX_BYTES_MOST, &out->max_bytes, err) == 0)
        status = 0;
    json_decref(object);
    if (status == 0 && (out->token_env == NULL) == (out->token_file == NULL))
        return error_set(err, ERR_INVALID, "config.tokenEnv",
                         "config.tokenEnv or config.tokenFile is needed: the secret of an "
                         "integration of Notion, with which pages are shared");
    if (status == 0 && out->base_url == NULL && (out->base_url = strdup(NOTION_BASE_URL)) == NULL)
        return out_of_memory(err);
    return status;
}

void notion_config_free(struct notion_config *config)
{
    free(config->base_url);
    free(config->token_env);
    free(config->token_file);
    free(config->roots);
    *config = (struct notion_config){0};
}
