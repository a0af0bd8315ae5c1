/*
 * http_flow.h: bytes between a connection's socket and its buffers, with as few calls of the kernel
 * as they take.
 *
 * A bufferevent of libevent 2.1 reads 4 KiB at a time and asks for events before it reads on, and
 * writes only after it has been told that it can. A search's question is 6 to 40 KB and its answer
 * fits into the socket, so both cost more than the bytes themselves. On the loop's thread.
 */
#ifndef TEKUPD_HTTP_FLOW_H
#define TEKUPD_HTTP_FLOW_H

struct bufferevent;

/* Once for a connection: what has come in is read to its end, within bounds. */
void http_flow_read_on(struct bufferevent *connection);

/* An answer lies whole in the connection's output: writes it now, where it fits into the socket,
 * and has the connection's write callback run soon. What does not fit goes out as it can. */
void http_flow_write(struct bufferevent *connection);

#endif
