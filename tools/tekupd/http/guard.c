#include "tools/tekupd/http/guard.h"

#include "ingest/http/secret.h"
#include "storage/base/digest.h"
#include "storage/base/log.h"
#include "tools/tekupd/http/tcp_socket.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_KEY_ENV "TEKUP_HTTP_KEY"

enum { LISTENED, SESSIONS }; /* the doors */

struct session {
    char key[GUARD_KEY_SIZE]; /* "": none */
    time_t used;              /* of CLOCK_MONOTONIC, as everything here but `ends` */
};

struct guard {
    char listen[64]; /* "": nowhere */
    int fd;          /* of it, until the server has it; -1: none */
    char host[256];
    bool open; /* no key is asked for */
    char *key; /* NULL: only sessions have one */
    struct http_server *server;
    pthread_mutex_t lock; /* protects what follows */
    bool stopped;
    char address[64]; /* where sessions call, "": the door is closed */
    struct session sessions[GUARD_SESSIONS];
};

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ---- Keys ------------------------------------------------------------------------------------ */

/* Compared by their digests, so that the time tells nothing, the length included. */
static bool is_key(const char *given, const char *key)
{
    uint8_t one[SHA256_SIZE], other[SHA256_SIZE];
    digest_sha256(given, strlen(given), one);
    digest_sha256(key, strlen(key), other);
    return digest_equal(one, other, SHA256_SIZE);
}

/* Under the lock. */
static struct session *find_session(struct guard *guard, const char *key)
{
    for (size_t i = 0; i < GUARD_SESSIONS; i++) {
        struct session *session = &guard->sessions[i];
        if (session->key[0] != '\0' && is_key(key, session->key) &&
            seconds() - session->used <= GUARD_SESSION_S)
            return session;
    }
    return NULL;
}

static bool session_uses(struct guard *guard, const char *key)
{
    pthread_mutex_lock(&guard->lock);
    struct session *session = find_session(guard, key);
    if (session != NULL) session->used = seconds();
    pthread_mutex_unlock(&guard->lock);
    return session != NULL;
}

static const char *given_key(const struct http_caller *caller)
{
    static const char scheme[] = "Bearer ";
    const char *authorization = caller->authorization;
    if (caller->api_key != NULL) return caller->api_key;
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    return authorization + sizeof(scheme) - 1 + strspn(authorization + sizeof(scheme) - 1, " ");
}

/* ---- Who may come in ------------------------------------------------------------------------- */

/* An origin is "https://host:port", or "null" of a page that has none. */
static bool origin_is_ours(const char *origin, const char *host)
{
    const char *behind = strstr(origin, "://");
    return behind != NULL && host != NULL && strcasecmp(behind + 3, host) == 0;
}

static bool host_is_ours(const struct guard *guard, const char *host)
{
    if (host == NULL || tcp_host_is_address(host)) return true;
    const size_t length = strlen(guard->host);
    return length > 0 && strncasecmp(host, guard->host, length) == 0 &&
           (host[length] == '\0' || host[length] == ':');
}

const char *guard_admit(struct guard *guard, const struct http_caller *caller, int *status)
{
    const char *host = caller->host;
    const char *key = given_key(caller);
    *status = 403;
    if (caller->origin != NULL && !origin_is_ours(caller->origin, host))
        return "a page of another origin may not call tekupd";
    const bool known = key != NULL && ((guard->key != NULL && is_key(key, guard->key)) ||
                                       session_uses(guard, key));
    if (known) return NULL;
    *status = 401;
    if (key != NULL && !guard->open) return "the key is wrong, or its session is over";
    if (!guard->open) return "over TCP a key is asked for: X-API-Key, or Authorization: Bearer";
    *status = 403;
    return host_is_ours(guard, host) ? NULL : "the host is neither an address nor [http] host";
}

bool guard_asks(const struct guard *guard)
{
    return !guard->open;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static int make_key(char key[GUARD_KEY_SIZE], struct error *err)
{
    uint8_t bytes[(GUARD_KEY_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return error_set(err, ERR_INTERNAL, NULL, "getrandom: %s", strerror(errno));
    digest_hex(bytes, sizeof(bytes), key);
    return 0;
}

/* Under the lock, as all that follows. */
static int open_door(struct guard *guard, struct error *err)
{
    if (guard->address[0] != '\0') return 0;
    char address[sizeof(guard->address)];
    const int fd = tcp_socket_open("127.0.0.1:0", "http.listen", address, sizeof(address), err);
    if (fd < 0 || http_door_open(guard->server, SESSIONS, fd, err) != 0) return -1;
    memcpy(guard->address, address, sizeof(address));
    log_info("console.listen", "address=%s", guard->address);
    return 0;
}

static void describe(const struct guard *guard, const struct session *session,
                     struct guard_session *out)
{
    memcpy(out->key, session->key, GUARD_KEY_SIZE);
    snprintf(out->url, sizeof(out->url), "http://%s/#key=%s", guard->address, session->key);
    out->ends = time(NULL) + GUARD_SESSION_S;
}

static void sweep(struct guard *guard)
{
    bool any = false;
    for (size_t i = 0; i < GUARD_SESSIONS; i++) {
        struct session *session = &guard->sessions[i];
        if (session->key[0] == '\0') continue;
        if (guard->stopped || seconds() - session->used > GUARD_SESSION_S)
            memset(session, 0, sizeof(*session));
        else
            any = true;
    }
    if (any || guard->address[0] == '\0') return;
    http_door_close(guard->server, SESSIONS);
    log_info("console.closed", "address=%s", guard->address);
    guard->address[0] = '\0';
}

void guard_sweep(struct guard *guard)
{
    pthread_mutex_lock(&guard->lock);
    if (guard->server != NULL) sweep(guard);
    pthread_mutex_unlock(&guard->lock);
}

static int begin_session(struct guard *guard, struct guard_session *out, struct error *err)
{
    struct session *free_one = NULL;
    if (guard->server != NULL) sweep(guard);
    for (size_t i = 0; i < GUARD_SESSIONS; i++) {
        if (guard->sessions[i].key[0] == '\0') free_one = &guard->sessions[i];
    }
    if (guard->stopped || guard->server == NULL)
        return error_set(err, ERR_UNAVAILABLE, NULL, "tekupd is starting or stopping");
    if (free_one == NULL)
        return error_set(err, ERR_UNAVAILABLE, NULL, "there are %d consoles already",
                         GUARD_SESSIONS);
    char key[GUARD_KEY_SIZE];
    if (make_key(key, err) != 0 || open_door(guard, err) != 0) return -1;
    memcpy(free_one->key, key, GUARD_KEY_SIZE);
    free_one->used = seconds();
    describe(guard, free_one, out);
    return 0;
}

int guard_session_begin(struct guard *guard, struct guard_session *session, struct error *err)
{
    pthread_mutex_lock(&guard->lock);
    const int rc = begin_session(guard, session, err);
    pthread_mutex_unlock(&guard->lock);
    return rc;
}

static int no_session(struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "key", "there is no session of a console with this key");
}

int guard_session_renew(struct guard *guard, const char *key, struct guard_session *out,
                        struct error *err)
{
    pthread_mutex_lock(&guard->lock);
    struct session *session = find_session(guard, key);
    if (session != NULL) {
        session->used = seconds();
        describe(guard, session, out);
    }
    pthread_mutex_unlock(&guard->lock);
    return session != NULL ? 0 : no_session(err);
}

int guard_session_end(struct guard *guard, const char *key, struct error *err)
{
    pthread_mutex_lock(&guard->lock);
    struct session *session = find_session(guard, key);
    if (session != NULL) memset(session, 0, sizeof(*session));
    sweep(guard);
    pthread_mutex_unlock(&guard->lock);
    return session != NULL ? 0 : no_session(err);
}

/* ---- Its life -------------------------------------------------------------------------------- */

static int read_key(struct guard *guard, const struct config *config, struct error *err)
{
    const char *named = config->http_key_env;
    const char *file = config->http_key_file;
    const bool by_default = *named == '\0' && *file == '\0';
    const char *variable = by_default ? DEFAULT_KEY_ENV : *named != '\0' ? named : NULL;
    if (by_default && getenv(variable) == NULL) return 0;
    return secret_read(variable, variable == NULL ? file : NULL,
                       variable != NULL ? "http.key_env" : "http.key_file", &guard->key, err);
}

static int check(const struct guard *guard, struct error *err)
{
    if (guard->listen[0] == '\0' || guard->key != NULL) return 0;
    if (!tcp_socket_is_loopback(guard->listen))
        return error_set(err, ERR_INVALID, "http.listen",
                         "http.listen is %s, which other machines may reach: set a key in "
                         "$" DEFAULT_KEY_ENV ", http.key_env or http.key_file",
                         guard->listen);
    if (!guard->open)
        return error_set(err, ERR_INVALID, "http.listen",
                         "http.listen needs a key ($" DEFAULT_KEY_ENV
                         ", http.key_env or http.key_file), or http.open_loopback = on, which "
                         "lets every user of this machine in");
    return 0;
}

struct guard *guard_create(const struct config *config, struct error *err)
{
    struct guard *guard = calloc(1, sizeof(*guard));
    char bound[sizeof(guard->listen)];
    if (guard == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        return NULL;
    }
    guard->fd = -1;
    pthread_mutex_init(&guard->lock, NULL);
    snprintf(guard->listen, sizeof(guard->listen), "%s", config->http_listen);
    snprintf(guard->host, sizeof(guard->host), "%s", config->http_host);
    if (read_key(guard, config, err) != 0) goto fail;
    guard->open = guard->key == NULL && guard->listen[0] != '\0' &&
                  strcmp(config->http_open_loopback, "on") == 0;
    if (check(guard, err) != 0) goto fail;
    if (guard->listen[0] == '\0') return guard;
    guard->fd = tcp_socket_open(guard->listen, "http.listen", bound, sizeof(bound), err);
    if (guard->fd < 0) goto fail;
    memcpy(guard->listen, bound, sizeof(bound));
    return guard;
fail:
    guard_free(guard);
    return NULL;
}

int guard_begin(struct guard *guard, struct http_server *server, struct error *err)
{
    const int fd = guard->fd;
    pthread_mutex_lock(&guard->lock);
    guard->server = server;
    pthread_mutex_unlock(&guard->lock);
    if (fd < 0) return 0;
    guard->fd = -1;
    if (http_door_open(server, LISTENED, fd, err) != 0) return -1;
    log_info("http.listen", "address=%s key=%s", guard->listen, guard->key != NULL ? "yes" : "no");
    return 0;
}

void guard_stop(struct guard *guard)
{
    if (guard == NULL) return;
    pthread_mutex_lock(&guard->lock);
    guard->stopped = true;
    if (guard->server != NULL) sweep(guard);
    pthread_mutex_unlock(&guard->lock);
}

void guard_free(struct guard *guard)
{
    if (guard == NULL) return;
    if (guard->fd >= 0) close(guard->fd);
    secret_forget(guard->key);
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}
