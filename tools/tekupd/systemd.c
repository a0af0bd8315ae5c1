#include "tools/tekupd/systemd.h"

#include "storage/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_SOCKET = 3, /* by sd_listen_fds(3) */
    MOST_SOCKETS = 64,
    LONGEST_NAME = 255,
};

/* Written by systemd_open() before there are threads. */
static struct sockaddr_un notify_address;
static socklen_t notify_length; /* 0: nobody is to be told */
static int watchdog_ms;

/* ---- What the environment says ---- */

/* The number that a variable holds, 0 where it holds none. */
static long long number_of(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL) return 0;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && number > 0 ? number : 0;
}

/* A path, or with '@' before it a name in the abstract space. */
static void read_notify(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    notify_length = 0;
    if (path == NULL || (*path != '/' && *path != '@')) return;
    const size_t length = strlen(path);
    if (length < 2 || length >= sizeof(notify_address.sun_path)) {
        log_warn("systemd.notify", "socket=%s error=\"not a socket's name\"", log_quote(path));
        return;
    }
    memset(&notify_address, 0, sizeof(notify_address));
    notify_address.sun_family = AF_UNIX;
    memcpy(notify_address.sun_path, path, length);
    if (*path == '@') notify_address.sun_path[0] = '\0';
    notify_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void read_watchdog(void)
{
    const long long for_pid = number_of("WATCHDOG_PID");
    long long ms = 0;
    if (getenv("WATCHDOG_PID") == NULL || for_pid == getpid())
        ms = number_of("WATCHDOG_USEC") / 2000;
    watchdog_ms = ms > 3600000 ? 3600000 : (int)ms;
}

/* ---- Sockets ---- */

static int check(int fd, const char *name, struct error *err)
{
    int domain = 0, type = 0, listening = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0)
        return error_set(err, ERR_INVALID, NULL, "what systemd passes as '%s': %s", name,
                         strerror(errno));
    if (domain != AF_UNIX || type != SOCK_STREAM || !listening)
        return error_set(err, ERR_INVALID, NULL,
                         "what systemd passes as '%s' is not a listening UNIX stream socket "
                         "(ListenStream=/path, Accept=no)",
                         name);
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return error_set(err, ERR_INVALID, NULL, "the socket '%s': %s", name, strerror(errno));
    return 0;
}

static int take(struct systemd_sockets *sockets, int fd, const char *name, struct error *err)
{
    int *place = strcmp(name, SYSTEMD_HTTP) == 0         ? &sockets->http
                 : strcmp(name, SYSTEMD_POSTGRESQL) == 0 ? &sockets->postgresql
                                                         : NULL;
    if (place == NULL)
        return error_set(err, ERR_INVALID, NULL,
                         "systemd passes a socket named '%s'; tekupd takes '" SYSTEMD_HTTP
                         "' and '" SYSTEMD_POSTGRESQL "' (FileDescriptorName=)",
                         name);
    if (*place >= 0)
        return error_set(err, ERR_INVALID, NULL, "systemd passes two sockets named '%s'", name);
    if (check(fd, name, err) != 0) return -1;
    *place = fd;
    return 0;
}

static int take_all(struct systemd_sockets *sockets, int count, struct error *err)
{
    const char *names = getenv("LISTEN_FDNAMES");
    for (int i = 0; i < count; i++) {
        char name[LONGEST_NAME + 1] = "unknown"; /* as systemd calls what has no name */
        if (names != NULL) {
            const size_t length = strcspn(names, ":");
            snprintf(name, sizeof(name), "%.*s", (int)(length <= LONGEST_NAME ? length : 0), names);
            names = names[length] == ':' ? names + length + 1 : NULL;
        }
        if (take(sockets, FIRST_SOCKET + i, name, err) != 0) return -1;
    }
    return 0;
}

int systemd_open(struct systemd_sockets *sockets, struct error *err)
{
    static const char *const variables[] = {"LISTEN_PID",    "LISTEN_FDS",   "LISTEN_FDNAMES",
                                            "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"};
    int rc = 0;
    *sockets = (struct systemd_sockets){-1, -1};
    read_notify();
    read_watchdog();
    const long long count = number_of("LISTEN_PID") == getpid() ? number_of("LISTEN_FDS") : 0;
    if (count > MOST_SOCKETS) {
        rc = error_set(err, ERR_INVALID, NULL, "systemd passes %lld sockets; tekupd takes two",
                       count);
    } else if (count > 0) {
        for (int i = 0; i < count; i++) fcntl(FIRST_SOCKET + i, F_SETFD, FD_CLOEXEC);
        rc = take_all(sockets, (int)count, err);
        for (int i = 0; rc != 0 && i < count; i++) close(FIRST_SOCKET + i);
        if (rc != 0) *sockets = (struct systemd_sockets){-1, -1};
    }
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) unsetenv(variables[i]);
    return rc;
}

/* ---- Telling ---- */

void systemd_notify(const char *format, ...)
{
    char text[1024];
    va_list values;
    if (notify_length == 0) return;
    va_start(values, format);
    const int length = vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    if (length <= 0) return;
    const size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&notify_address,
                         notify_length) < 0)
        log_warn("systemd.notify", "error=%s", log_quote(strerror(errno)));
    if (fd >= 0) close(fd);
}

void systemd_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    systemd_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

int systemd_watchdog_ms(void)
{
    return watchdog_ms;
}
