/*
 * profile.h: the settings that a client's session has where the server's defaults are others.
 *
 * They begin as what the client sends at its start, and follow what it SETs of the few settings
 * that PostgreSQL reports (profile_tracks). A server connection that is leased is brought to the
 * client's profile first. Equal profiles are one object, so that comparing pointers is enough; the
 * prepared statements of two profiles are never shared, since what a statement means may depend on
 * them.
 */
#ifndef STORAGE_PASSTHROUGH_PROFILE_H
#define STORAGE_PASSTHROUGH_PROFILE_H

#include "storage/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profiles; /* all that are in use */

struct profile_setting {
    char *name, *value;
    char *shown; /* NULL until the server has shown it */
};

struct profile {
    struct profile *next;
    size_t uses;
    uint64_t serial; /* no two have had the same */
    size_t count;
    struct profile_setting *settings;
};

struct profiles {
    struct profile *first;
    uint64_t last_serial;
};

/* A list to make a profile of; a later value of a name goes before an earlier one. */
struct profile_draft {
    size_t count, room;
    struct profile_setting *settings;
    bool failed;
};
void profile_draft_set(struct profile_draft *draft, const char *name, const char *value);
void profile_draft_free(struct profile_draft *draft);

/* The profile with these settings, used once more. Empties the draft. NULL when memory runs out. */
struct profile *profile_of(struct profiles *profiles, struct profile_draft *draft);
struct profile *profile_use(struct profile *profile);
void profile_release(struct profiles *profiles, struct profile *profile); /* NULL is allowed */

/* A draft of the same settings. */
void profile_copy(const struct profile *profile, struct profile_draft *draft);

/* NULL where the profile says nothing of it. */
const char *profile_get(const struct profile *profile, const char *name);

/* The values as the server shows them ("77s" for 77000): noted from the DataRow that profile_sql
 * brings, and compared with what it shows later. */
void profile_note_shown(struct profile *profile, const char *row, size_t length);
bool profile_shows(const struct profile *profile, const char *name, size_t name_length,
                   const char *value, size_t length);

/* The settings that follow a client without binding it to a connection. */
bool profile_tracks(const char *name, size_t length);

/* The settings in a StartupMessage's "options": -c name=value and --name=value. Returns false on
 * anything else, with *wrong at it. */
bool profile_options(struct profile_draft *draft, const char *options, const char **wrong);

/* The SQL that brings a connection from any profile to this one. */
void profile_sql(const struct profile *profile, struct buffer *sql);

#endif
