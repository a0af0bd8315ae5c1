/* startup.c: from the first byte of a connection to its login: the requests that come before it,
 * who may be whom, and what the client wants its session to be. */
#include "storage/passthrough/internal.h"
#include "storage/passthrough/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct startup {
    const char *user, *database, *options, *replication;
    struct profile_draft settings;
    size_t unknown; /* protocol options (_pq_.) */
};

/* ---- StartupMessage ---- */

/* Returns whether it is one. */
static bool read_parameters(const char *body, size_t length, struct startup *startup)
{
    struct wire_reader reader = {.at = body, .end = body + length};
    for (;;) {
        const char *name = wire_read_string(&reader, NULL);
        if (name == NULL) return false;
        if (*name == '\0') return reader.at == reader.end;
        const char *value = wire_read_string(&reader, NULL);
        if (value == NULL) return false;
        if (strcmp(name, "user") == 0)
            startup->user = value;
        else if (strcmp(name, "database") == 0)
            startup->database = value;
        else if (strcmp(name, "options") == 0)
            startup->options = value;
        else if (strcmp(name, "replication") == 0)
            startup->replication = value;
        else if (strncmp(name, "_pq_.", 5) == 0)
            startup->unknown++;
        else
            profile_draft_set(&startup->settings, name, value);
    }
}

/* What is in options comes first: the parameters beside it go before it. */
static bool read_options(struct client *client, struct startup *startup)
{
    struct profile_draft all = {0};
    const char *wrong = "";
    if (startup->options == NULL) return true;
    if (!profile_options(&all, startup->options, &wrong)) {
        profile_draft_free(&all);
        client_fail(client, "42601", "invalid command-line argument for server process: %.100s",
                    wrong);
        return false;
    }
    for (size_t i = 0; i < startup->settings.count; i++)
        profile_draft_set(&all, startup->settings.settings[i].name,
                          startup->settings.settings[i].value);
    all.failed = all.failed || startup->settings.failed;
    profile_draft_free(&startup->settings);
    startup->settings = all;
    return true;
}

/* Tells of what the client asked for beyond version 3.0. */
static void negotiate(struct client *client, uint32_t version, const char *body, size_t length,
                      const struct startup *startup)
{
    if ((version & 0xffff) == 0 && startup->unknown == 0) return;
    struct buffer out = {0};
    struct wire_reader reader = {.at = body, .end = body + length};
    const size_t at = wire_begin(&out, 'v');
    wire_put32(&out, WIRE_PROTOCOL_3);
    wire_put32(&out, (uint32_t)startup->unknown);
    for (;;) {
        const char *name = wire_read_string(&reader, NULL);
        if (name == NULL || *name == '\0') break;
        wire_read_string(&reader, NULL);
        if (strncmp(name, "_pq_.", 5) == 0) wire_put_string(&out, name);
    }
    wire_end(&out, at);
    client_send(client, &out);
    buffer_free(&out);
}

/* ---- Who may be whom ---- */

static struct role *find_role(struct passthrough *hub, const char *name)
{
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        if (strcmp(hub->roles[i].name, name) == 0) return &hub->roles[i];
    }
    return NULL;
}

static void refuse_peer(struct client *client, const char *user)
{
    COUNT_REFUSED(client->hub);
    client_fail(client, "28000", "Peer authentication failed for user \"%.63s\"", user);
}

static void give_key(struct client *client)
{
    struct passthrough *hub = client->hub;
    client->id = hub->next_id++;
    if (hub->next_id > INT32_MAX) hub->next_id = 1;
    while (getrandom(&client->secret, sizeof(client->secret), 0) != sizeof(client->secret)) {
    }
}

static void put_welcome(struct buffer *out, const struct client *client,
                        const struct parameters *parameters)
{
    size_t at = wire_begin(out, 'R');
    wire_put32(out, 0);
    wire_end(out, at);
    for (size_t i = 0; parameters != NULL && i < parameters->count; i++)
        wire_put_parameter(out, parameters->list[i].name, parameters->list[i].value);
    at = wire_begin(out, 'K');
    wire_put32(out, client->id);
    wire_put32(out, client->secret);
    wire_end(out, at);
    wire_put_ready(out, 'I');
}

void startup_welcome(struct client *client, const struct parameters *parameters)
{
    struct buffer out = {0};
    put_welcome(&out, client, parameters);
    TAILQ_REMOVE(&client->hub->starting, client, starts);
    client->state = CLIENT_READY;
    COUNT(client->role, clients, 1);
    client_send(client, &out);
    buffer_free(&out);
}

/* A connection of the role that is in the client's profile already tells as much as one that is
 * leased for it. */
static bool welcome_at_once(struct client *client)
{
    struct backend *backend;
    TAILQ_FOREACH(backend, &client->hub->backends, link)
    {
        if (backend->role != client->role || backend->profile != client->profile) continue;
        if (backend->state != BACKEND_IDLE &&
            (backend->state != BACKEND_LEASED || backend->reported))
            continue;
        startup_welcome(client, &backend->parameters);
        return true;
    }
    return false;
}

static void log_in(struct client *client, struct startup *startup)
{
    client->profile = profile_of(&client->hub->profiles, &startup->settings);
    if (client->profile == NULL) {
        client_fail(client, "53200", "out of memory");
        return;
    }
    client->initial = profile_use(client->profile);
    client->state = CLIENT_LOGIN;
    give_key(client);
    TAILQ_INSERT_TAIL(&client->hub->by_id[client->id % 1024], client, same);
    if (!welcome_at_once(client)) lease_request(client);
}

static void enter_index(struct client *client)
{
    static const struct {
        const char *name, *value;
    } said[] = {{"server_version", "15.0 (tekupdb)"}, {"server_encoding", "UTF8"},
                {"client_encoding", "UTF8"},          {"DateStyle", "ISO, MDY"},
                {"integer_datetimes", "on"},          {"standard_conforming_strings", "on"}};
    struct parameters parameters = {0};
    struct buffer out = {0};
    for (size_t i = 0; i < sizeof(said) / sizeof(*said); i++)
        parameters_set(&parameters, said[i].name, said[i].value);
    give_key(client);
    put_welcome(&out, client, &parameters);
    TAILQ_REMOVE(&client->hub->starting, client, starts);
    client->state = CLIENT_INDEX;
    client_send(client, &out);
    buffer_free(&out);
    parameters_free(&parameters);
}

static void ask_password(struct client *client)
{
    struct buffer out = {0};
    const size_t at = wire_begin(&out, 'R');
    wire_put32(&out, 3); /* in clear text: the socket is the system's own */
    wire_end(&out, at);
    client->password_wanted = true;
    client_send(client, &out);
    buffer_free(&out);
}

static void start_index(struct client *client, const char *user)
{
    struct passthrough *hub = client->hub;
    if (hub->options.password != NULL)
        ask_password(client);
    else if (identity_may(&hub->index_allowed, &client->peer, client->channel.fd))
        enter_index(client);
    else
        refuse_peer(client, user);
}

/* Returns how much was used: nothing as long as the message is not whole. */
static size_t read_password(struct client *client, const char *data, size_t length)
{
    enum { PASSWORD_MOST = 1000 };
    struct passthrough *hub = client->hub;
    struct wire_message message;
    const enum wire_result result = wire_peek(data, length, false, &message);
    if (result == WIRE_INCOMPLETE) return 0;
    if (result == WIRE_WRONG || message.type != 'p' || message.size > PASSWORD_MOST) {
        COUNT_REFUSED(hub);
        client_fail(client, "08P01", "expected password response");
        return 0;
    }
    if (message.have < message.size - WIRE_HEADER) return 0;
    if (message.have == 0 ||
        memchr(message.body, '\0', message.have) != message.body + message.have - 1 ||
        !hub->options.password(hub->options.arg, message.body)) {
        COUNT_REFUSED(hub);
        client_fail(client, "28P01", "password authentication failed for \"%s\"",
                    PASSTHROUGH_INDEX);
        return 0;
    }
    client->password_wanted = false;
    enter_index(client);
    return message.size;
}

static void start(struct client *client, uint32_t version, const char *body, size_t length)
{
    struct passthrough *hub = client->hub;
    struct startup startup = {0};
    if (!read_parameters(body, length, &startup)) {
        client_fail(client, "08P01",
                    "invalid startup packet layout: expected terminator as last byte");
    } else if (startup.user == NULL || *startup.user == '\0') {
        client_fail(client, "28000", "no PostgreSQL user name specified in startup packet");
    } else {
        const char *database = startup.database;
        if (database == NULL || *database == '\0') database = startup.user;
        struct role *role = find_role(hub, startup.user);
        negotiate(client, version, body, length, &startup);
        if (strcmp(database, PASSTHROUGH_INDEX) == 0 && hub->options.query != NULL) {
            start_index(client, startup.user);
        } else if (role == NULL ||
                   !identity_may(&role->allowed, &client->peer, client->channel.fd)) {
            refuse_peer(client, startup.user);
        } else if (!atomic_load(&hub->begun)) {
            client_fail(client, "57P03", "the database system is starting up");
        } else if (hub->client_count > hub->options.clients) {
            COUNT_REFUSED(hub);
            client_fail(client, "53300", "sorry, too many clients already");
        } else if (startup.replication != NULL && strcmp(startup.replication, "false") != 0 &&
                   strcmp(startup.replication, "off") != 0) {
            client_fail(client, "0A000", "replication does not pass through tekupd");
        } else if (strcmp(database, hub->database) != 0) {
            client_fail(client, "3D000", "database \"%.63s\" does not exist", database);
        } else if (read_options(client, &startup)) {
            client->role = role;
            log_in(client, &startup);
        }
    }
    profile_draft_free(&startup.settings);
}

/* ---- Packets ---- */

static void one_packet(struct client *client, const char *data, size_t size, uint32_t code)
{
    struct wire_reader reader = {.at = data + 8, .end = data + size};
    struct buffer no = {0};
    switch (code) {
    case WIRE_SSL:
    case WIRE_GSSENC:
        buffer_text(&no, "N");
        client_send(client, &no);
        buffer_free(&no);
        return;
    case WIRE_CANCEL: {
        const uint32_t id = wire_read32(&reader);
        const uint32_t secret = wire_read32(&reader);
        if (!reader.failed) cancel_request(client->hub, id, secret);
        client_close(client);
        return;
    }
    default:
        if (code >> 16 == 3) {
            start(client, code, data + 8, size - 8);
            return;
        }
        client_fail(client, "0A000",
                    "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", code >> 16,
                    code & 0xffff);
    }
}

size_t startup_read(struct client *client, const char *data, size_t length)
{
    size_t used = 0;
    while (client->state == CLIENT_STARTING && !client->closed) {
        size_t size;
        uint32_t code;
        if (client->password_wanted) {
            size = read_password(client, data + used, length - used);
            used += size;
            if (size == 0) break;
            continue;
        }
        const enum wire_result result = wire_peek_startup(data + used, length - used, &size, &code);
        if (result == WIRE_INCOMPLETE) break;
        if (result == WIRE_WRONG) {
            COUNT_REFUSED(client->hub);
            client_fail(client, "08P01", "invalid length of startup packet");
            break;
        }
        one_packet(client, data + used, size, code);
        used += size;
    }
    return used;
}
