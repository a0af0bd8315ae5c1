/*
 * http_line.h: what there is to know of the request on a connection where evhttp refuses it:
 * whether it is one of TekupVault's old calls, and what else than its size is wrong with it.
 *
 * evhttp 2.1 refuses some requests before it shows them to a program, and has forgotten their path
 * by then. So the beginning of each request line is looked at here as it comes in, and what it was
 * is remembered for the connection's descriptor. What is kept is the calling thread's own: an event
 * loop's.
 */
#ifndef TEKUPD_HTTP_LINE_H
#define TEKUPD_HTTP_LINE_H

#include <stdbool.h>

struct bufferevent;

/* The next byte that comes in on this connection, or that is there already, begins a request. */
void http_line_await(struct bufferevent *connection);

/* Whether the last request that began on it is one of the old calls. */
bool http_line_is_old(struct bufferevent *connection);

/* Where the body of the request is refused as too large: why so little was read of it. message is a
 * static string; status 0 and NULL: no other reason than its size. */
void http_line_refuse(struct bufferevent *connection, int status, const char *message);
const char *http_line_refusal(struct bufferevent *connection, int *status);

/* Sets whether it counts among those that may send much. Returns whether that is a change; false,
 * too, where memory ran out. */
bool http_line_count(struct bufferevent *connection, bool counts);

/* Forgets everything, at the end of the thread. */
void http_line_forget(void);

#endif
