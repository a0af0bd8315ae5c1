#include "tools/tekupd/listener.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int address_of(const char *directory, const char *name, struct sockaddr_un *address,
                      struct error *err)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    const int length =
        snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", directory, name);
    if (length < 0 || (size_t)length >= sizeof(address->sun_path))
        return error_set(err, ERR_INVALID, "tekupd.run",
                         "the socket's path %s/%s is longer than the %zu bytes that the system "
                         "allows: set TEKUP_RUN to a shorter directory",
                         directory, name, sizeof(address->sun_path) - 1);
    return 0;
}

/* Whether somebody answers on the socket at this address. */
static int check_dead(const struct sockaddr_un *address, struct error *err)
{
    struct stat found;
    if (lstat(address->sun_path, &found) != 0) {
        if (errno == ENOENT) return 0;
        return error_set(err, ERR_IO, NULL, "%s: %s", address->sun_path, strerror(errno));
    }
    if (!S_ISSOCK(found.st_mode))
        return error_set(err, ERR_CONFLICT, NULL, "%s is in the way and is not a socket",
                         address->sun_path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "socket: %s", strerror(errno));
    const int rc = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    const int why = errno;
    close(fd);
    if (rc != 0 && (why == ECONNREFUSED || why == ENOENT)) return 0;
    if (rc == 0 || why == EAGAIN)
        return error_set(err, ERR_CONFLICT, NULL, "another program answers on %s already",
                         address->sun_path);
    return error_set(err, ERR_IO, NULL, "%s: %s", address->sun_path, strerror(why));
}

int listener_check(const char *directory, const char *name, struct error *err)
{
    struct sockaddr_un address;
    if (address_of(directory, name, &address, err) != 0) return -1;
    return check_dead(&address, err);
}

static int give_to_group(const char *path, const char *group, struct error *err)
{
    if (*group == '\0') return 0;
    errno = 0;
    const struct group *entry = getgrnam(group);
    if (entry == NULL)
        return error_set(err, ERR_INVALID, "http.socket_group", "there is no group '%s'", group);
    if (chown(path, (uid_t)-1, entry->gr_gid) != 0)
        return error_set(err, ERR_IO, "http.socket_group", "cannot give %s to the group %s: %s",
                         path, group, strerror(errno));
    return 0;
}

int listener_open(const char *directory, const char *name, int mode, const char *group,
                  struct listener *listener, struct error *err)
{
    struct sockaddr_un address, beside;
    struct stat made;
    char hidden[64];
    *listener = (struct listener){.fd = -1};
    /* The name to begin with is no longer than the final one, which has to fit as well. */
    snprintf(hidden, sizeof(hidden), ".%.*s", (int)strlen(name) - 1, name);
    if (address_of(directory, name, &address, err) != 0) return -1;
    if (address_of(directory, hidden, &beside, err) != 0) return -1;
    if (check_dead(&address, err) != 0) return -1;

    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return error_set(err, ERR_IO, NULL, "socket: %s", strerror(errno));
    int rc = -1;
    unlink(beside.sun_path);
    const mode_t mask = umask(0177);
    const int bound = bind(fd, (const struct sockaddr *)&beside, sizeof(beside));
    umask(mask);
    if (bound != 0) {
        error_set(err, ERR_IO, NULL, "cannot make the socket %s: %s", beside.sun_path,
                  strerror(errno));
        goto out;
    }
    if (give_to_group(beside.sun_path, group, err) != 0) goto out;
    if (chmod(beside.sun_path, (mode_t)mode) != 0 || listen(fd, BACKLOG) != 0 ||
        lstat(beside.sun_path, &made) != 0 || rename(beside.sun_path, address.sun_path) != 0) {
        error_set(err, ERR_IO, NULL, "%s: %s", address.sun_path, strerror(errno));
        goto out;
    }
    snprintf(listener->path, sizeof(listener->path), "%s", address.sun_path);
    listener->device = made.st_dev;
    listener->inode = made.st_ino;
    listener->fd = fd;
    rc = 0;
out:
    if (rc != 0) {
        unlink(beside.sun_path);
        close(fd);
    }
    return rc;
}

void listener_take(int fd, struct listener *listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    *listener = (struct listener){.fd = fd, .given = true};
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        snprintf(listener->path, sizeof(listener->path), "%.*s", (int)sizeof(address.sun_path),
                 address.sun_path);
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0) return;
    struct stat found;
    if (!listener->given && lstat(listener->path, &found) == 0 &&
        found.st_dev == listener->device && found.st_ino == listener->inode)
        unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}
