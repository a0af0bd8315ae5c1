/* github_config.c: see github_config.h. */
#include "ingest/github/github_config.h"

#include "ingest/source_config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static bool is_name(const char *text, size_t length)
{
    if (length == 0 || length > 100 || text[0] == '.') return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL) return false;
    return true;
}

/* OWNER/NAME as GitHub allows them, so that nothing else gets into a URL. */
static int check_repository(const char *repository, struct error *err)
{
    const char *slash = strchr(repository, '/');
    if (slash != NULL && is_name(repository, (size_t)(slash - repository)) &&
        is_name(slash + 1, strlen(slash + 1)))
        return 0;
    return error_set(err, ERR_INVALID, "repository",
                     "a repository of GitHub is called OWNER/NAME, as in tekup/handbook");
}

/* What git-check-ref-format(1) lets through, more or less. */
static bool is_branch(const char *name)
{
    if (name == NULL || *name == '\0' || *name == '/' || *name == '-' || strlen(name) > 200)
        return false;
    if (strstr(name, "..") != NULL || strstr(name, "//") != NULL || strstr(name, "@{") != NULL)
        return false;
    if (name[strlen(name) - 1] == '/' || name[strlen(name) - 1] == '.') return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name <= ' ' || strchr("~^:?*[\\\x7f", *name) != NULL) return false;
    return true;
}

static int read_branches(const json_t *list, struct github_config *out, struct error *err)
{
    size_t i;
    const json_t *entry;
    if (list == NULL) return 0;
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > GITHUB_BRANCHES_MOST)
        return error_set(err, ERR_INVALID, "config.branches",
                         "config.branches must be an array of 1 to %d names", GITHUB_BRANCHES_MOST);
    out->branches = calloc(json_array_size(list), sizeof(*out->branches));
    if (out->branches == NULL) return out_of_memory(err);
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(entry);
        bool again = false;
        if (!is_branch(name))
            return error_set(err, ERR_INVALID, "config.branches",
                             "config.branches[%zu] is not the name of a branch", i);
        for (size_t j = 0; j < out->branch_count; j++)
            again = again || strcmp(out->branches[j], name) == 0;
        if (again) continue;
        out->branches[out->branch_count] = strdup(name);
        if (out->branches[out->branch_count] == NULL) return out_of_memory(err);
        out->branch_count++;
    }
    return 0;
}

int github_config_read(const char *repository, const char *config, struct github_config *out,
                       struct error *err)
{
    static const char *const known[] = {"baseUrl", "tokenEnv", "tokenFile", "branches",
                                        "include", "exclude",  "maxBytes",  NULL};
    *out = (struct github_config){.max_bytes = GITHUB_MAX_BYTES_DEFAULT};
    if (check_repository(repository, err) != 0) return -1;
    json_t *object = source_config_parse(config, "github", known, err);
    if (object == NULL) return -1;
    int status = -1;
    if (source_config_url(object, "baseUrl", &out->base_url, err) == 0 &&
        source_config_env(object, "tokenEnv", &out->token_env, err) == 0 &&
        source_config_path(object, "tokenFile", &out->token_file, err) == 0 &&
        read_branches(json_object_get(object, "branches"), out, err) == 0 &&
        source_config_patterns(object, "include", &out->include, err) == 0 &&
        source_config_patterns(object, "exclude", &out->exclude, err) == 0 &&
        source_config_size(object, "maxBytes", GITHUB_MAX_BYTES_MOST, &out->max_bytes, err) == 0)
        status = 0;
    json_decref(object);
    if (status == 0 && out->token_env != NULL && out->token_file != NULL)
        return error_set(err, ERR_INVALID, "config.tokenFile",
                         "give config.tokenEnv or config.tokenFile, not both");
    if (status == 0 && out->base_url == NULL && (out->base_url = strdup(GITHUB_BASE_URL)) == NULL)
        return out_of_memory(err);
    return status;
}

void github_config_free(struct github_config *config)
{
    for (size_t i = 0; i < config->branch_count; i++) free(config->branches[i]);
    free(config->branches);
    free(config->base_url);
    free(config->token_env);
    free(config->token_file);
    gitignore_free(config->include);
    gitignore_free(config->exclude);
    *config = (struct github_config){0};
}
