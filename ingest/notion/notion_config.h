/*
 * notion_config.h: the settings of a `notion` source, whose repository is a name of the user's own.
 *
 *     {"tokenEnv": "NOTION_TOKEN"}           or "tokenFile": an integration's secret
 *     "roots": ["https://www.notion.so/Handbook-8f4b..."]    ids or addresses: only these pages and
 *                                            databases, and what is below
 *     "maxBytes": 4194304                    longer pages are skipped
 *     "requestsPerSecond": 3                 what Notion asks integrations to keep to
 *     "baseUrl": "https://api.notion.com"
 */
#ifndef INGEST_NOTION_CONFIG_H
#define INGEST_NOTION_CONFIG_H

#include "storage/base/error.h"

#include <stddef.h>

#define NOTION_BASE_URL "https://api.notion.com"

enum {
    NOTION_ID_SIZE = 33, /* 32 hexadecimal digits, without dashes */
    NOTION_ROOTS_MOST = 200,
    NOTION_MAX_BYTES_DEFAULT = 4 << 20,
    NOTION_MAX_BYTES_MOST = 16 << 20
};

struct notion_config {
    char *base_url;
    char *token_env, *token_file;
    char (*roots)[NOTION_ID_SIZE];
    size_t root_count; /* 0: everything that the integration sees */
    size_t max_bytes;
    double per_second;
};

/* Errors: ERR_INVALID with the field. notion_config_free is called in any case. */
int notion_config_read(const char *config, struct notion_config *out, struct error *err);
void notion_config_free(struct notion_config *config);

/* The id of a page or database, with or without dashes, by itself or at the end of an address, in
 * lower case without dashes. Returns -1 where there is none. */
int notion_id_read(const char *text, char id[NOTION_ID_SIZE]);

#endif
