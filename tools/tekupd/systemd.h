/*
 * systemd.h: what systemd and tekupd tell each other: sockets that it opened (sd_listen_fds(3)),
 * how the daemon stands (sd_notify(3)), and how often it wants to hear that the daemon lives.
 *
 * Everything comes by environment variables, which are removed when they have been read, so that no
 * program that tekupd starts takes them for its own. Without them every function does nothing. The
 * protocols are promised to stay; libsystemd is not needed for them.
 */
#ifndef TEKUPD_SYSTEMD_H
#define TEKUPD_SYSTEMD_H

#include "storage/base/error.h"

/* The names of the sockets (FileDescriptorName=). */
#define SYSTEMD_HTTP "http"
#define SYSTEMD_POSTGRESQL "postgresql"

struct systemd_sockets {
    int http; /* listening, non-blocking, and the caller's from now on; -1: there is none */
    int postgresql;
};

/* Reads what there is for this process. Before any other thread is there; *sockets is set whatever
 * is returned. Errors: ERR_INVALID: a socket of another name, two of one name, or one that is not a
 * listening UNIX stream socket; all of them are closed then. */
int systemd_open(struct systemd_sockets *sockets, struct error *err);

/* Sends lines of NAME=VALUE, as printf puts them together. Any thread. What cannot be sent is lost:
 * nobody waits for systemd. */
void systemd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* RELOADING=1, with the time that systemd wants to know; READY=1 ends it. */
void systemd_reloading(void);

/* Milliseconds after which a WATCHDOG=1 is to be sent: half of what systemd waits. 0: never. */
int systemd_watchdog_ms(void);

#endif
