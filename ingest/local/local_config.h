/*
 * local_config.h: the settings of a `local` source.
 *
 *     {"path": "/srv/docs", "maxBytes": 1048576, "include": ["*.md"], "exclude": ["drafts/"]}
 *
 * path: an absolute directory; the repository's name where it is left out. maxBytes: larger files
 * are skipped. include, exclude: patterns as in .gitignore, relative to path; a file is taken in
 * when it or a directory above it matches one of `include` (if there is one) and neither matches
 * one of `exclude`.
 */
#ifndef INGEST_LOCAL_CONFIG_H
#define INGEST_LOCAL_CONFIG_H

#include "ingest/gitignore.h"
#include "storage/base/error.h"

#include <stddef.h>

enum { LOCAL_MAX_BYTES_DEFAULT = 1 << 20, LOCAL_MAX_BYTES_MOST = 16 << 20 };

struct local_config {
    char *path;
    size_t max_bytes;
    struct gitignore *include, *exclude; /* NULL where they are not given */
};

/* config is the text of a JSON object; NULL and "" are taken for {}. ERR_INVALID names the field.
 * Does not look at the file system. */
int local_config_read(const char *repository, const char *config, struct local_config *out,
                      struct error *err);
void local_config_free(struct local_config *config);

#endif
