/* drive_config.c: reads the settings of a `gdrive` source and refuses what it does not know. */
#include "ingest/drive/drive_config.h"

#include "ingest/source_config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static bool is_id(const char *text)
{
    if (text == NULL || text[0] == '\0' || strlen(text) > 128) return false;
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-') return false;
    return true;
}

static int read_ids(const char *field, const json_t *value, char ***out, size_t *count,
                    struct error *err)
{
    size_t i;
    const json_t *element;
    if (!json_is_array(value) || json_array_size(value) == 0 ||
        json_array_size(value) > DRIVE_IDS_MOST)
        return error_set(err, ERR_INVALID, field, "%s must be an array of 1 to %d ids", field,
                         DRIVE_IDS_MOST);
    *out = calloc(json_array_size(value), sizeof(**out));
    if (*out == NULL) return out_of_memory(err);
    json_array_foreach(value, i, element)
    {
        const char *id = json_string_value(element);
        if (!is_id(id))
            return error_set(err, ERR_INVALID, field,
                             "%s[%zu] must be an id, which is the last part of the address that "
                             "the browser shows for it",
                             field, i);
        bool repeated = false;
        for (size_t j = 0; j < *count; j++) repeated |= strcmp((*out)[j], id) == 0;
        if (repeated) continue;
        (*out)[*count] = strdup(id);
        if ((*out)[*count] == NULL) return out_of_memory(err);
        (*count)++;
    }
    return 0;
}

static int read_scope(const json_t *object, struct drive_config *out, struct error *err)
{
    const json_t *drives = json_object_get(object, "drives");
    const json_t *folders = json_object_get(object, "folders");
    const json_t *my_drive = json_object_get(object, "myDrive");
    if (my_drive != NULL && !json_is_boolean(my_drive))
        return error_set(err, ERR_INVALID, "config.myDrive",
                         "config.myDrive must be true or false");
    out->my_drive = my_drive != NULL ? json_is_true(my_drive) : drives == NULL && folders == NULL;
    if (json_is_string(drives)) {
        if (strcmp(json_string_value(drives), "all") != 0)
            return error_set(err, ERR_INVALID, "config.drives",
                             "config.drives must be \"all\" or an array of ids");
        out->all_drives = true;
    } else if (drives != NULL &&
               read_ids("config.drives", drives, &out->drives, &out->drive_count, err) != 0) {
        return -1;
    }
    if (folders != NULL &&
        read_ids("config.folders", folders, &out->folders, &out->folder_count, err) != 0)
        return -1;
    if (!out->my_drive && drives == NULL && folders == NULL)
        return error_set(err, ERR_INVALID, "config.myDrive",
                         "config.myDrive is false, and neither drives nor folders are given: that "
                         "is nothing");
    return 0;
}

static int check_credentials(const struct drive_config *config, struct error *err)
{
    const bool any = config->client_id != NULL || config->client_secret_env != NULL ||
                     config->client_secret_file != NULL || config->refresh_token_env != NULL ||
                     config->refresh_token_file != NULL;
    if (config->key_file != NULL) {
        if (!any) return 0;
        return error_set(err, ERR_INVALID, "config.keyFile",
                         "config.keyFile is for a service account, clientId and the refresh token "
                         "for a person's: give one of them");
    }
    if (!any)
        return error_set(err, ERR_INVALID, "config.keyFile",
                         "config.keyFile is missing: the path of a service account's key in JSON "
                         "(or clientId, clientSecretEnv and refreshTokenEnv)");
    if (config->subject != NULL)
        return error_set(err, ERR_INVALID, "config.subject",
                         "config.subject is for a service account: it goes with keyFile");
    if (config->client_id == NULL)
        return error_set(err, ERR_INVALID, "config.clientId", "config.clientId is missing");
    if ((config->client_secret_env != NULL) == (config->client_secret_file != NULL))
        return error_set(err, ERR_INVALID, "config.clientSecretEnv",
                         "give one of config.clientSecretEnv and config.clientSecretFile");
    if ((config->refresh_token_env != NULL) == (config->refresh_token_file != NULL))
        return error_set(err, ERR_INVALID, "config.refreshTokenEnv",
                         "give one of config.refreshTokenEnv and config.refreshTokenFile");
    return 0;
}

static int read_object(const json_t *object, struct drive_config *out, struct error *err)
{
    if (source_config_path(object, "keyFile", &out->key_file, err) != 0 ||
        source_config_text(object, "subject", &out->subject, err) != 0 ||
        source_config_text(object, "clientId", &out->client_id, err) != 0 ||
        source_config_env(object, "clientSecretEnv", &out->client_secret_env, err) != 0 ||
        source_config_path(object, "clientSecretFile", &out->client_secret_file, err) != 0 ||
        source_config_env(object, "refreshTokenEnv", &out->refresh_token_env, err) != 0 ||
        source_config_path(object, "refreshTokenFile", &out->refresh_token_file, err) != 0 ||
        source_config_url(object, "baseUrl", &out->base_url, err) != 0 ||
        source_config_url(object, "tokenUrl", &out->token_url, err) != 0 ||
        check_credentials(out, err) != 0 || read_scope(object, out, err) != 0 ||
        source_config_size(object, "maxBytes", DRIVE_MAX_BYTES_MOST, &out->max_bytes, err) != 0)
        return -1;
    if (out->base_url == NULL && (out->base_url = strdup(DRIVE_BASE_URL)) == NULL)
        return out_of_memory(err);
    return 0;
}

int drive_config_read(const char *config, struct drive_config *out, struct error *err)
{
    static const char *const known[] = {"keyFile",          "subject",
                                        "clientId",         "clientSecretEnv",
                                        "clientSecretFile", "refreshTokenEnv",
                                        "refreshTokenFile", "myDrive",
                                        "drives",           "folders",
                                        "maxBytes",         "baseUrl",
                                        "tokenUrl",         NULL};
    *out = (struct drive_config){.max_bytes = DRIVE_MAX_BYTES_DEFAULT};
    json_t *object = source_config_parse(config, "gdrive", known, err);
    const int result = object != NULL ? read_object(object, out, err) : -1;
    json_decref(object);
    return result;
}

void drive_config_free(struct drive_config *config)
{
    free(config->key_file);
    free(config->subject);
    free(config->client_id);
    free(config->client_secret_env);
    free(config->client_secret_file);
    free(config->refresh_token_env);
    free(config->refresh_token_file);
    for (size_t i = 0; i < config->drive_count; i++) free(config->drives[i]);
    for (size_t i = 0; i < config->folder_count; i++) free(config->folders[i]);
    free(config->drives);
    free(config->folders);
    free(config->base_url);
    free(config->token_url);
    *config = (struct drive_config){0};
}
