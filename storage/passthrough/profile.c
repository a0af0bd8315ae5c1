#include "storage/passthrough/profile.h"

#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Drafts ---- */

void profile_draft_set(struct profile_draft *draft, const char *name, const char *value)
{
    for (size_t i = 0; i < draft->count; i++) {
        struct profile_setting *setting = &draft->settings[i];
        if (strcasecmp(setting->name, name) != 0) continue;
        char *copy = strdup(value);
        if (copy == NULL) {
            draft->failed = true;
            return;
        }
        free(setting->value);
        setting->value = copy;
        return;
    }
    if (draft->count == draft->room) {
        const size_t room = draft->room == 0 ? 4 : draft->room * 2;
        struct profile_setting *grown = realloc(draft->settings, room * sizeof(*grown));
        if (grown == NULL) {
            draft->failed = true;
            return;
        }
        draft->settings = grown;
        draft->room = room;
    }
    struct profile_setting *setting = &draft->settings[draft->count];
    setting->shown = NULL;
    setting->name = strdup(name);
    setting->value = strdup(value);
    if (setting->name == NULL || setting->value == NULL) {
        free(setting->name);
        free(setting->value);
        draft->failed = true;
        return;
    }
    draft->count++;
}

static void free_settings(struct profile_setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(settings[i].name);
        free(settings[i].value);
        free(settings[i].shown);
    }
    free(settings);
}

void profile_draft_free(struct profile_draft *draft)
{
    free_settings(draft->settings, draft->count);
    *draft = (struct profile_draft){0};
}

void profile_copy(const struct profile *profile, struct profile_draft *draft)
{
    for (size_t i = 0; i < profile->count; i++)
        profile_draft_set(draft, profile->settings[i].name, profile->settings[i].value);
}

/* ---- Profiles ---- */

static int by_name(const void *left, const void *right)
{
    const struct profile_setting *a = left, *b = right;
    return strcasecmp(a->name, b->name);
}

static bool is_same(const struct profile *profile, const struct profile_draft *draft)
{
    if (profile->count != draft->count) return false;
    for (size_t i = 0; i < draft->count; i++) {
        if (strcasecmp(profile->settings[i].name, draft->settings[i].name) != 0 ||
            strcmp(profile->settings[i].value, draft->settings[i].value) != 0)
            return false;
    }
    return true;
}

struct profile *profile_of(struct profiles *profiles, struct profile_draft *draft)
{
    if (draft->failed) {
        profile_draft_free(draft);
        return NULL;
    }
    if (draft->count > 1) qsort(draft->settings, draft->count, sizeof(*draft->settings), by_name);
    for (struct profile *profile = profiles->first; profile != NULL; profile = profile->next) {
        if (!is_same(profile, draft)) continue;
        profile_draft_free(draft);
        return profile_use(profile);
    }
    struct profile *profile = calloc(1, sizeof(*profile));
    if (profile == NULL) {
        profile_draft_free(draft);
        return NULL;
    }
    *profile = (struct profile){
        .next = profiles->first,
        .uses = 1,
        .serial = ++profiles->last_serial,
        .count = draft->count,
        .settings = draft->settings,
    };
    profiles->first = profile;
    *draft = (struct profile_draft){0};
    return profile;
}

struct profile *profile_use(struct profile *profile)
{
    profile->uses++;
    return profile;
}

void profile_release(struct profiles *profiles, struct profile *profile)
{
    if (profile == NULL || --profile->uses > 0) return;
    struct profile **at = &profiles->first;
    while (*at != profile) at = &(*at)->next;
    *at = profile->next;
    free_settings(profile->settings, profile->count);
    free(profile);
}

const char *profile_get(const struct profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->count; i++) {
        if (strcasecmp(profile->settings[i].name, name) == 0) return profile->settings[i].value;
    }
    return NULL;
}

void profile_note_shown(struct profile *profile, const char *row, size_t length)
{
    struct wire_reader reader = {.at = row, .end = row + length};
    if (profile->count == 0 || length == 0 || wire_read16(&reader) != profile->count) return;
    for (size_t i = 0; i < profile->count; i++) {
        const size_t size = wire_read32(&reader);
        if (reader.failed || size > (size_t)(reader.end - reader.at)) return;
        if (profile->settings[i].shown == NULL)
            profile->settings[i].shown = strndup(reader.at, size);
        reader.at += size;
    }
}

bool profile_shows(const struct profile *profile, const char *name, size_t name_length,
                   const char *value, size_t length)
{
    for (size_t i = 0; i < profile->count; i++) {
        const struct profile_setting *setting = &profile->settings[i];
        if (strlen(setting->name) == name_length &&
            strncasecmp(setting->name, name, name_length) == 0)
            return setting->shown != NULL && strlen(setting->shown) == length &&
                   memcmp(setting->shown, value, length) == 0;
    }
    return false;
}

bool profile_tracks(const char *name, size_t length)
{
    static const char *const tracked[] = {"application_name", "client_encoding",
                                          "datestyle",        "intervalstyle",
                                          "timezone",         "standard_conforming_strings"};
    for (size_t i = 0; i < sizeof(tracked) / sizeof(*tracked); i++) {
        if (strlen(tracked[i]) == length && strncasecmp(tracked[i], name, length) == 0) return true;
    }
    return false;
}

/* ---- Reading and writing ---- */

/* The next word of options, where a backslash takes the special meaning of a blank or a backslash.
 * Returns false where there is none. */
static bool next_word(const char **at, struct buffer *word)
{
    const char *text = *at + strspn(*at, " \t\n\r\f\v");
    buffer_clear(word);
    if (*text == '\0') return false;
    for (; *text != '\0' && strchr(" \t\n\r\f\v", *text) == NULL; text++) {
        if (*text == '\\' && text[1] != '\0') text++;
        buffer_append(word, text, 1);
    }
    *at = text;
    return !word->failed;
}

static bool set_option(struct profile_draft *draft, char *assignment)
{
    char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment) return false;
    *equals = '\0';
    for (char *c = assignment; *c != '\0'; c++)
        if (*c == '-') *c = '_';
    profile_draft_set(draft, assignment, equals + 1);
    return true;
}

bool profile_options(struct profile_draft *draft, const char *options, const char **wrong)
{
    struct buffer word = {0};
    bool right = true;
    while (right) {
        *wrong = options + strspn(options, " \t\n\r\f\v");
        if (!next_word(&options, &word)) break;
        if (strcmp(word.data, "-c") == 0)
            right = next_word(&options, &word) && set_option(draft, word.data);
        else if (strncmp(word.data, "-c", 2) == 0 || strncmp(word.data, "--", 2) == 0)
            right = set_option(draft, word.data + 2);
        else
            right = false;
    }
    if (word.failed) draft->failed = true;
    buffer_free(&word);
    return right;
}

/* A string constant that means the same whatever standard_conforming_strings says. */
static void put_literal(struct buffer *sql, const char *text)
{
    buffer_text(sql, "E'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\') buffer_append(sql, text, 1);
        buffer_append(sql, text, 1);
    }
    buffer_text(sql, "'");
}

void profile_sql(const struct profile *profile, struct buffer *sql)
{
    buffer_text(sql, "RESET SESSION AUTHORIZATION; RESET ALL");
    for (size_t i = 0; i < profile->count; i++) {
        buffer_text(sql, i == 0 ? "; SELECT " : ", ");
        buffer_text(sql, "pg_catalog.set_config(");
        put_literal(sql, profile->settings[i].name);
        buffer_text(sql, ", ");
        put_literal(sql, profile->settings[i].value);
        buffer_text(sql, ", false)");
    }
}
