/*
 * source_config.h: reading the settings of a source, which are a JSON object.
 *
 * Each function leaves *out as it is where the setting is not given. Errors: ERR_INVALID, whose
 * field is "config.NAME"; ERR_INTERNAL when memory ran out.
 */
#ifndef INGEST_SOURCE_CONFIG_H
#define INGEST_SOURCE_CONFIG_H

#include "ingest/gitignore.h"
#include "storage/base/error.h"

#include <jansson.h>
#include <stddef.h>

/* Parses the text (NULL and "" are taken for {}) and refuses settings that are not among `known`,
 * which NULL ends. The caller calls json_decref. NULL on failure. */
json_t *source_config_parse(const char *text, const char *kind, const char *const *known,
                            struct error *err);

/* A string that is not empty and has no control characters; the caller frees it. */
int source_config_text(const json_t *object, const char *name, char **out, struct error *err);
/* The name of an environment variable, an absolute path, a URL of http or https without user and
 * query, from whose end '/' is taken. */
int source_config_env(const json_t *object, const char *name, char **out, struct error *err);
int source_config_path(const json_t *object, const char *name, char **out, struct error *err);
int source_config_url(const json_t *object, const char *name, char **out, struct error *err);

/* An array of patterns as in .gitignore. */
int source_config_patterns(const json_t *object, const char *name, struct gitignore **out,
                           struct error *err);

/* A whole number from 1 to `most`. */
int source_config_size(const json_t *object, const char *name, size_t most, size_t *out,
                       struct error *err);

#endif
