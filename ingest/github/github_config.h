/*
 * github_config.h: the settings of a `github` source, whose repository is called OWNER/NAME.
 *
 *     {"tokenEnv": "GITHUB_TOKEN"}           or "tokenFile"; neither: public repositories
 *     "branches": ["main", "release/2"]      instead of the default branch; with more than one the
 *                                            paths begin with the branch: "release/2/README.md"
 *     "include", "exclude": ["docs/"]        patterns as in .gitignore
 *     "maxBytes": 1048576                    larger files are skipped
 *     "baseUrl": "https://github.example.com/api/v3"    GitHub Enterprise Server
 */
#ifndef INGEST_GITHUB_CONFIG_H
#define INGEST_GITHUB_CONFIG_H

#include "ingest/gitignore.h"
#include "storage/base/error.h"

#include <stddef.h>

#define GITHUB_BASE_URL "https://api.github.com"

enum {
    GITHUB_BRANCHES_MOST = 50,
    GITHUB_MAX_BYTES_DEFAULT = 1 << 20,
    GITHUB_MAX_BYTES_MOST = 16 << 20
};

struct github_config {
    char *base_url;
    char *token_env, *token_file;
    char **branches;
    size_t branch_count; /* 0: the default branch */
    struct gitignore *include, *exclude;
    size_t max_bytes;
};

/* Errors: ERR_INVALID with the field. github_config_free is called in any case. */
int github_config_read(const char *repository, const char *config, struct github_config *out,
                       struct error *err);
void github_config_free(struct github_config *config);

#endif
