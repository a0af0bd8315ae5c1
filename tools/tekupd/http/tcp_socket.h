/* tcp_socket.h: the TCP sockets that the daemon listens on. */
#ifndef TEKUPD_TCP_SOCKET_H
#define TEKUPD_TCP_SOCKET_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Opens a listening, non-blocking socket on "ADDRESS:PORT" (an IPv6 address in brackets, a port of
 * 0 for one that is free) and returns it; the caller closes it. bound, where it is not NULL, gets
 * the address and the port in the same form, "127.0.0.1:40125". Errors: ERR_INVALID with `field`
 * (not of that form, no address of this machine, a name), ERR_CONFLICT (the port is taken), ERR_IO.
 * Returns -1 then. */
int tcp_socket_open(const char *address, const char *field, char *bound, size_t room,
                    struct error *err);

/* Whether an address of that form is one that only this machine can reach. */
bool tcp_socket_is_loopback(const char *address);

/* Whether a name, as in a header Host with or without its port, is an IP address or "localhost". */
bool tcp_host_is_address(const char *host);

#endif
