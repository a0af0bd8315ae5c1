#include "tools/tekupd/http/tcp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_SIZE = 256 };

/* The host of "HOST", "HOST:PORT", "[HOST]" or "[HOST]:PORT", without brackets. Returns the port,
 * NULL where none is named; host is "" where the text is not of these forms. */
static const char *split(const char *text, char host[HOST_SIZE])
{
    const bool bracketed = *text == '[';
    const char *begin = text + bracketed;
    const size_t length = strcspn(begin, bracketed ? "]" : ":");
    const char *rest = begin + length + bracketed;
    host[0] = '\0';
    if (length >= HOST_SIZE || (bracketed && begin[length] != ']')) return NULL;
    if (*rest != '\0' && *rest != ':') return NULL;
    snprintf(host, HOST_SIZE, "%.*s", (int)length, begin);
    return *rest == ':' ? rest + 1 : NULL;
}

static struct addrinfo *look_up(const char *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[HOST_SIZE];
    const char *port = split(address, host);
    if (host[0] == '\0' || port == NULL || *port == '\0' || strlen(port) > 5 || atoi(port) > 65535)
        return NULL;
    return getaddrinfo(host, port, &hints, &found) == 0 ? found : NULL;
}

static void describe(int fd, char *bound, size_t room)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[HOST_SIZE], port[16];
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(bound, room, "?");
    else
        snprintf(bound, room, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int tcp_socket_open(const char *address, const char *field, char *bound, size_t room,
                    struct error *err)
{
    struct addrinfo *found = look_up(address);
    if (found == NULL)
        return error_set(err, ERR_INVALID, field,
                         "%s must be an IP address and a port, such as 127.0.0.1:8420 or "
                         "[::1]:8420, not '%s'",
                         field, address);
    const int yes = 1;
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    /* Connections have what their listener has. */
    if (rc == 0) rc = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (rc == 0 && found->ai_family == AF_INET6)
        rc = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    if (rc == 0) rc = bind(fd, found->ai_addr, found->ai_addrlen);
    if (rc == 0) rc = listen(fd, BACKLOG);
    const int why = errno;
    freeaddrinfo(found);
    if (rc == 0) {
        if (bound != NULL) describe(fd, bound, room);
        return fd;
    }
    if (fd >= 0) close(fd);
    return error_set(err,
                     why == EADDRINUSE      ? ERR_CONFLICT
                     : why == EADDRNOTAVAIL ? ERR_INVALID
                                            : ERR_IO,
                     field, "cannot listen on %s: %s", address, strerror(why));
}

bool tcp_socket_is_loopback(const char *address)
{
    struct addrinfo *found = look_up(address);
    bool loopback = false;
    if (found != NULL && found->ai_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)found->ai_addr;
        loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (found != NULL && found->ai_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)found->ai_addr;
        loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    if (found != NULL) freeaddrinfo(found);
    return loopback;
}

bool tcp_host_is_address(const char *text)
{
    char host[HOST_SIZE];
    unsigned char bytes[sizeof(struct in6_addr)];
    split(text, host);
    return strcasecmp(host, "localhost") == 0 || inet_pton(AF_INET, host, bytes) == 1 ||
           inet_pton(AF_INET6, host, bytes) == 1;
}
