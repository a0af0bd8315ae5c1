/*
 * doctor.h: the checks of `tekup doctor`: each is a part, how it is, and what to do about it.
 *
 * What can be seen without the daemon (directories, socket, disk, PostgreSQL's programs) is in
 * doctor_machine.c; what the daemon says about itself in doctor_daemon.c.
 */
#ifndef TEKUP_DOCTOR_H
#define TEKUP_DOCTOR_H

#include "tools/tekup/client.h"

#include <stdbool.h>
#include <stddef.h>

enum check_state { CHECK_OK, CHECK_WARN, CHECK_FAIL };

struct check {
    enum check_state state;
    char *part;    /* "socket" */
    char *finding; /* "/run/tekupdb/tekupd.sock answers" */
    char *advice;  /* what to do; "" where there is nothing to do */
};

struct checks {
    struct check *rows;
    size_t count;
    bool failed; /* memory ran out while adding */
};

/* Adds a check; the format gives the finding. */
void check_add(struct checks *checks, enum check_state state, const char *part, const char *advice,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
void checks_free(struct checks *checks);

/* The worst state among them. */
enum check_state checks_worst(const struct checks *checks);

/* ---- doctor_machine.c ---- */

/* RUN and its socket. Returns whether the daemon can be asked. */
bool doctor_check_run(struct checks *checks, const char *run);

/* DATA, and the room on its disk. daemon_runs: it is the daemon's and need not be writable for this
 * user. */
void doctor_check_data(struct checks *checks, const char *data, bool daemon_runs);

/* PostgreSQL's server programs, or DATABASE_URL: looked at where no daemon can be asked. */
void doctor_check_server_programs(struct checks *checks);

/* ---- doctor_daemon.c ---- */

/* Everything the daemon says: version, readiness, database, index, embedding, sources, syncs. */
void doctor_check_daemon(struct checks *checks, struct client *client, const json_t *status);

#endif
