/*
 * drive_config.h: the settings of a `gdrive` source.
 *
 *     {"keyFile": "/etc/tekupdb/drive-key.json", "subject": "ann@example.com"}
 *     {"clientId": "...", "clientSecretFile": "/etc/tekupdb/secret",
 *      "refreshTokenEnv": "DRIVE_REFRESH_TOKEN"}
 *
 * and with either of them:
 *
 *     "myDrive": true            My Drive and what is shared with the account
 *     "drives": ["0A..."]        shared drives by id, or "all" that the account is a member of
 *     "folders": ["1x..."]       folders by id, with everything below
 *     "maxBytes": 10485760       texts that are longer are skipped
 *     "baseUrl", "tokenUrl"      where the calls go instead of Google
 *
 * myDrive is true where neither drives nor folders are given, and else false. The secrets
 * themselves are read when a sync begins, not here.
 */
#ifndef INGEST_DRIVE_CONFIG_H
#define INGEST_DRIVE_CONFIG_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define DRIVE_BASE_URL "https://www.googleapis.com"
#define DRIVE_TOKEN_URL "https://oauth2.googleapis.com/token"

enum { DRIVE_IDS_MOST = 200, DRIVE_MAX_BYTES_DEFAULT = 10 << 20, DRIVE_MAX_BYTES_MOST = 16 << 20 };

struct drive_config {
    char *key_file, *subject; /* a service account; subject may be NULL */
    char *client_id;          /* a refresh token, where key_file is NULL */
    char *client_secret_env, *client_secret_file, *refresh_token_env, *refresh_token_file;
    bool my_drive, all_drives;
    char **drives;
    size_t drive_count;
    char **folders;
    size_t folder_count;
    size_t max_bytes;
    char *base_url;  /* without a final '/' */
    char *token_url; /* NULL: that of the key file, else Google's */
};

/* config is the text of a JSON object; NULL and "" are taken for {}. ERR_INVALID names the field.
 * The caller calls drive_config_free, also after an error. Looks at no file. */
int drive_config_read(const char *config, struct drive_config *out, struct error *err);
void drive_config_free(struct drive_config *config);

#endif
