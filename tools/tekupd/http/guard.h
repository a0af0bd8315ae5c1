/*
 * guard.h: who may call over TCP.
 *
 * The UNIX socket is guarded by its mode, TCP by a key, in the header X-API-Key or as a bearer
 * token (RFC 6750). A browser that follows a hostile page must not become a caller: where it says
 * from which origin it calls, that has to be the one that it calls (DNS rebinding aside), and where
 * no key is asked for, the host has to be an address or the name that is configured.
 *
 * A console's session has a key of its own and keeps a port of the loopback open while it lasts,
 * GUARD_SESSION_S seconds beyond the last time that it was renewed or its key was used.
 *
 * Safe for any thread.
 */
#ifndef TEKUPD_GUARD_H
#define TEKUPD_GUARD_H

#include "storage/base/error.h"
#include "tools/tekupd/config.h"
#include "tools/tekupd/http/http.h"

#include <stdbool.h>
#include <time.h>

enum { GUARD_SESSION_S = 60, GUARD_SESSIONS = 16, GUARD_KEY_SIZE = 65, GUARD_URL_SIZE = 256 };

struct guard;

/* Reads the key and takes the port of http.listen. Errors: ERR_INVALID (a setting, or none that
 * would keep anybody out), ERR_CONFLICT (the port is taken), ERR_IO. */
struct guard *guard_create(const struct config *config, struct error *err);

/* Opens the doors of the server: the one of http.listen, and that of sessions from now on. */
int guard_begin(struct guard *guard, struct http_server *server, struct error *err);

/* No session begins any more; before the server is freed. NULL is allowed, as in guard_free. */
void guard_stop(struct guard *guard);
void guard_free(struct guard *guard);

/* For http_options: NULL where the request may come in. */
const char *guard_admit(struct guard *guard, const struct http_caller *caller, int *status);

/* Whether a key is asked for at the port of http.listen. */
bool guard_asks(const struct guard *guard);

struct guard_session {
    char key[GUARD_KEY_SIZE];
    char url[GUARD_URL_SIZE]; /* where the console is, with the key behind '#' */
    time_t ends;
};

/* Begins a session; with a key, renews the one that has it. Errors: ERR_NOT_FOUND (it is over),
 * ERR_UNAVAILABLE (too many, or no port), ERR_INTERNAL. */
int guard_session_begin(struct guard *guard, struct guard_session *session, struct error *err);
int guard_session_renew(struct guard *guard, const char *key, struct guard_session *session,
                        struct error *err);
int guard_session_end(struct guard *guard, const char *key, struct error *err);

/* Ends what nobody has asked for lately; to be called now and then. */
void guard_sweep(struct guard *guard);

#endif
