/* session.c: what a client's transactions leave in the session of a server connection.
 *
 * When a transaction is over and look() found nothing in its statements, the connection is as it
 * was and goes on to the next client. Otherwise the server is asked what there is. What belongs to
 * the client keeps the connection for it (a pin), until another such question finds it gone;
 * settings that PostgreSQL reports follow the client without one (profile.h). What a client that
 * has ended leaves is rolled back and discarded. */
#include "storage/passthrough/internal.h"

#include "storage/base/log.h"
#include "storage/passthrough/look.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>

/* One row: a boolean for each pin that can be asked for, in the order of asked[], then the settings
 * of the session as "name=value" with a line between them. */
static const char question[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_listening_channels()),"
    " pg_catalog.pg_my_temp_schema() <> 0 AND ("
    "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) "
    "OR "
    "EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()) "
    "OR "
    "EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema()) "
    "OR "
    "EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oprnamespace = "
    "pg_catalog.pg_my_temp_schema())),"
    " EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = "
    "pg_catalog.pg_backend_pid()),"
    " EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable),"
    " EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql OR name NOT LIKE "
    "'" STATEMENT_PREFIX "%'),"
    " (SELECT pg_catalog.string_agg(name || '=' || pg_catalog.current_setting(name), E'\\n') "
    "FROM pg_catalog.pg_settings WHERE source = 'session')";

/* Functions that somebody made, which triggers, views and defaults may call without a statement
 * that names them, and that may leave something behind. */
static const char survey[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc AS f"
    " JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace"
    " WHERE f.oid >= 16384 AND n.nspname <> 'tekupdb' AND f.proname <> 'match_documents'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d"
    " WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid"
    " AND d.deptype = 'e')"
    " AND (l.lanname NOT IN ('sql', 'plpgsql') OR f.prosqlbody IS NOT NULL OR f.prosrc ~* "
    "'(set_config|advisory|temp|hold|execute|[[:<:]](set|listen|prepare|setseed)[[:>:]])'))";

static const enum passthrough_pin asked[] = {PIN_LISTEN, PIN_TEMPORARY, PIN_ADVISORY, PIN_CURSOR,
                                             PIN_PREPARE};
enum { ASKED = sizeof(asked) / sizeof(*asked) };

/* ---- Settings ---- */

static void use_profile(struct backend *backend, struct profile *profile)
{
    profile_release(&backend->hub->profiles, backend->profile);
    backend->profile = profile != NULL ? profile_use(profile) : NULL;
}

/* What a tracked setting was for the client before. */
static const char *had_before(const struct client *client, const struct backend *backend,
                              const char *name)
{
    const char *had = profile_get(client->profile, name);
    return had != NULL ? had : parameters_get(&backend->defaults, name);
}

/* The settings that PostgreSQL reports have followed what the client did. One that was RESET is,
 * for the client, what it was at its start, which need not be what it is for the server. */
static void follow_settings(struct client *client, struct backend *backend)
{
    struct passthrough *hub = client->hub;
    const bool resets = (backend->look & LOOK_RESETS) != 0;
    struct profile_draft draft = {0};
    bool changed = false;
    if (!backend->reported && !resets) return;
    profile_copy(client->profile, &draft);
    for (size_t i = 0; i < backend->parameters.count; i++) {
        const char *name = backend->parameters.list[i].name;
        const char *value = backend->parameters.list[i].value;
        if (!profile_tracks(name, strlen(name))) continue;
        const char *had = had_before(client, backend, name);
        if (had != NULL && strcmp(had, value) == 0) continue;
        const char *initial = profile_get(client->initial, name);
        const char *plain = parameters_get(&backend->defaults, name);
        if (resets && initial != NULL && plain != NULL && strcmp(plain, value) == 0)
            value = initial;
        profile_draft_set(&draft, name, value);
        changed = true;
    }
    backend->reported = false;
    backend->look &= ~LOOK_RESETS;
    if (resets) backend->look |= LOOK_SUSPECT;
    struct profile *profile = changed ? profile_of(&hub->profiles, &draft) : NULL;
    profile_draft_free(&draft);
    if (changed && profile == NULL) {
        client_fail(client, "53200", "out of memory");
        return;
    }
    if (changed) {
        profile_release(&hub->profiles, client->profile);
        client->profile = profile;
    }
    if (changed || resets) use_profile(backend, resets ? NULL : client->profile);
}

/* Whether a setting of the session, "name=value", is one that the client's profile accounts for. */
static bool accounts_for(const struct profile *profile, const char *line, size_t length)
{
    const char *equals = memchr(line, '=', length);
    if (equals == NULL) return false;
    const size_t name_length = (size_t)(equals - line);
    if (profile_tracks(line, name_length)) return true;
    return profile_shows(profile, line, name_length, equals + 1, length - name_length - 1);
}

static bool has_settings(const struct profile *profile, const char *text, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(text, '\n', length);
        const size_t line = newline != NULL ? (size_t)(newline - text) : length;
        if (line > 0 && !accounts_for(profile, text, line)) return true;
        const size_t used = newline != NULL ? line + 1 : line;
        text += used;
        length -= used;
    }
    return false;
}

/* ---- Pins ---- */

void session_set_pins(struct client *client, int pins)
{
    if (client->pins == pins) return;
    struct role *role = client->role;
    if ((client->pins == 0) != (pins == 0)) COUNT(role, pinned, pins != 0 ? 1 : -1);
    for (int i = 0; i < PINS; i++) {
        const int had = client->pins >> i & 1, has = pins >> i & 1;
        if (had == has) continue;
        COUNT(role, pins[i], has - had);
        if (has) COUNT(role, pinned_total[i], 1);
    }
    client->pins = pins;
}

/* The pins that the answer to the question asks for; any where there is none to be had, as under a
 * statement_timeout that is too short for it. */
static int read_pins(const struct backend *backend, const struct client *client)
{
    const struct buffer *row = &backend->errand_row;
    struct wire_reader reader = {.at = row->data, .end = row->data + row->length};
    int pins = client->custom ? 1 << PIN_SETTING : 0;
    if (row->length == 0 || backend->errand_error.length > 0 || wire_read16(&reader) != ASKED + 1)
        return pins | 1 << PIN_SETTING;
    for (size_t i = 0; i < ASKED; i++) {
        const uint32_t length = wire_read32(&reader);
        if (reader.failed || length != 1 || reader.at == reader.end) return pins | 1 << PIN_SETTING;
        if (*reader.at++ == 't') pins |= 1 << asked[i];
    }
    const uint32_t length = wire_read32(&reader);
    if (reader.failed) return pins | 1 << PIN_SETTING;
    if (length != UINT32_MAX && length == (size_t)(reader.end - reader.at) &&
        has_settings(client->profile, reader.at, length))
        pins |= 1 << PIN_SETTING;
    return pins;
}

/* What is set, for the session, under a name that the server does not list. */
static void follow_custom(struct client *client, const struct backend *backend)
{
    const bool sure = !backend->transacted && !backend->failed;
    const bool undone = !backend->transacted && backend->failed && backend->readies == 1;
    if (backend->look & LOOK_CUSTOM && !undone)
        client->custom = true;
    else if (backend->discarded || (sure && backend->look & LOOK_RESETS_ALL))
        client->custom = false;
}

/* ---- The end of a transaction ---- */

static void settle(struct backend *backend, struct client *client)
{
    backend->answered = false;
    if (client->pins == 0) {
        backend->client = NULL;
        client->backend = NULL;
        lease_rest(backend);
    } else if (backend->state != BACKEND_LEASED) {
        backend_set(backend, BACKEND_LEASED);
    }
    client_go_on(client);
}

void session_ended(struct backend *backend)
{
    struct client *client = backend->client;
    follow_settings(client, backend);
    if (client->closed) return;
    follow_custom(client, backend);
    /* A question would do away with the unnamed statement. */
    const bool ask =
        !client->unnamed_long &&
        (client->hub->strict || (backend->look & (LOOK_SUSPECT | LOOK_CUSTOM | LOOK_OPAQUE)) != 0 ||
         backend->discarded);
    backend->transacted = backend->failed = backend->discarded = false;
    backend->readies = 0;
    if (ask) {
        backend_run(backend, ERRAND_QUESTION, question);
        return;
    }
    int pins = client->pins & ~(1 << PIN_STATEMENT);
    if (client->unnamed_long) pins |= 1 << PIN_STATEMENT;
    session_set_pins(client, pins);
    settle(backend, client);
}

static void question_answered(struct backend *backend)
{
    struct client *client = backend->client;
    if (client == NULL) {
        session_drained(backend);
        return;
    }
    const int pins = read_pins(backend, client);
    client->unnamed_here = false;
    session_set_pins(client, pins);
    if (pins == 0 && client->direct) {
        client->direct = false;
        names_free(&client->names, &client->hub->statements);
        prepared_clear(&backend->prepared, &client->hub->statements);
    }
    /* Code that was not seen may have set what the server does not list. */
    if (client->hub->strict || backend->look & LOOK_OPAQUE) use_profile(backend, NULL);
    backend->look = 0;
    settle(backend, client);
}

/* ---- After a client that is gone ---- */

static void clean(struct backend *backend)
{
    if (backend->status != 'I')
        backend_run(backend, ERRAND_ROLLBACK, "ROLLBACK");
    else if (backend->look != 0 || backend->left_pinned || backend->hub->strict)
        backend_run(backend, ERRAND_CLEAN, "DISCARD ALL");
    else
        lease_rest(backend);
}

void session_drained(struct backend *backend)
{
    if (backend->cancels > 0) {
        backend_set(backend, BACKEND_DRAINING);
        backend->answered = true;
        return;
    }
    clean(backend);
}

/* Brings what the client had begun to an end: a COPY, an extended query. */
static void put_end(struct backend *backend, struct buffer *out)
{
    if (backend->copying) {
        const size_t at = wire_begin(out, 'f');
        wire_put_string(out, "the client is gone");
        wire_end(out, at);
        backend->copying = false;
    }
    if (backend->unsynced) {
        const struct expectation sync = {.kind = EXPECT_SYNC};
        backend_expect(backend, &sync);
        wire_end(out, wire_begin(out, 'S'));
        backend->unsynced = false;
    }
}

void session_abandoned(struct backend *backend, bool pinned)
{
    backend->client = NULL;
    backend->left_pinned = pinned;
    if (backend->closed || backend->state == BACKEND_ERRAND) return;
    if (backend->expected_count > 0) cancel_backend(backend);
    if (backend->writing || backend->sending > 0 || channel_backlog(&backend->channel) > 0) {
        backend_close(backend, "its client left in the middle of a message");
        return;
    }
    struct buffer out = {0};
    put_end(backend, &out);
    if (out.failed) {
        buffer_free(&out);
        backend_close(backend, "memory ran out");
        return;
    }
    backend_set(backend, BACKEND_DRAINING);
    if (out.length > 0) channel_write(&backend->channel, out.data, out.length);
    buffer_free(&out);
    if (backend->reported) use_profile(backend, NULL);
    backend_update_reading(backend);
    if (backend->expected_count == 0) session_drained(backend);
}

/* ---- Errands ---- */

void session_survey(struct backend *backend)
{
    backend->hub->surveyed_at = hub_now();
    backend->hub->leased_since = false;
    backend_run(backend, ERRAND_SURVEY, survey);
}

/* Where there is no answer, there may be such code. */
static void surveyed(struct backend *backend)
{
    const struct buffer *row = &backend->errand_row;
    const bool none = backend->errand_error.length == 0 && row->length == 7 && row->data[6] == 'f';
    if (backend->hub->strict == none)
        log_info("passthrough.survey", "hidden_code=%s", none ? "no" : "yes");
    backend->hub->strict = !none;
    lease_fresh(backend);
}

static void profile_reached(struct backend *backend)
{
    struct client *client = backend->errand_for;
    backend->errand_for = NULL;
    backend->reported = false;
    if (backend->errand_error.length > 0) {
        lease_rest(backend);
        if (client == NULL) return;
        client->preparing = NULL;
        client->waiting = false;
        client_fail_with(client, &backend->errand_error);
        return;
    }
    profile_release(&backend->hub->profiles, backend->profile);
    backend->profile = backend->next_profile;
    backend->next_profile = NULL;
    profile_note_shown(backend->profile, backend->errand_row.data, backend->errand_row.length);
    if (client != NULL && client->profile == backend->profile && backend->cancels == 0) {
        lease_give(backend, client, true);
        return;
    }
    if (client != NULL) {
        client->waiting = false;
        lease_again(client);
    }
    lease_rest(backend);
}

void session_errand_done(struct backend *backend)
{
    const enum errand errand = backend->errand;
    backend->errand = ERRAND_NONE;
    switch (errand) {
    case ERRAND_PROFILE:
        profile_reached(backend);
        return;
    case ERRAND_SURVEY:
        surveyed(backend);
        return;
    case ERRAND_QUESTION:
        question_answered(backend);
        return;
    case ERRAND_CLEAN:
        if (backend->errand_error.length > 0) {
            backend_close(backend, "it could not be cleaned");
            return;
        }
        backend->look = 0;
        backend->left_pinned = false;
        use_profile(backend, backend->hub->plain);
        lease_rest(backend);
        return;
    case ERRAND_ROLLBACK:
        if (backend->status != 'I') {
            backend_close(backend, "it could not be rolled back");
            return;
        }
        clean(backend);
        return;
    case ERRAND_NONE:
        return;
    }
}
