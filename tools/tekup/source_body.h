/*
 * source_body.h: a source as the daemon is given it (PUT /v1/sources, POST /v1/sources/test), from
 * the options of `tekup sources add`.
 */
#ifndef TEKUP_SOURCE_BODY_H
#define TEKUP_SOURCE_BODY_H

#include "tools/tekup/options.h"

#include <jansson.h>
#include <stdbool.h>

struct source_options {
    const char *path, *base_url, *token_env, *token_file, *key_file, *max_bytes, *config;
    /* Each may be given several times. */
    const char *branches[OPTION_VALUES_MAX + 1], *include[OPTION_VALUES_MAX + 1],
        *exclude[OPTION_VALUES_MAX + 1], *roots[OPTION_VALUES_MAX + 1],
        *folders[OPTION_VALUES_MAX + 1], *drives[OPTION_VALUES_MAX + 1];
};

enum { SOURCE_OPTIONS = 13, SOURCE_OPTION_SIZE = 32 };

/* The options of it: SOURCE_OPTIONS of them are written to specs. */
void source_options_specs(struct source_options *options, struct option_spec *specs);

/* Whether any of them was given. */
bool source_options_given(const struct source_options *options);

/* What they say as a body. NULL after saying on stderr what is wrong with them. */
json_t *source_body_make(const struct arguments *arguments, const char *source,
                         const char *repository, const struct source_options *options,
                         int interval_s);

/* The option of a setting that an error names ("config.tokenEnv" -> "--token-env") in out; NULL
 * where the field is no such setting. */
const char *source_option_of_field(const char *field, char out[SOURCE_OPTION_SIZE]);

/* What an item of GET /v1/sources would be registered as; a new reference, or NULL when memory ran
 * out. */
json_t *source_body_of(const json_t *item);

#endif
