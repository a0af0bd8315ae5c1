/*
 * http_line.h: which connections have a request of TekupVault's old calls on them.
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

/* Forgets everything, at the end of the thread. */
void http_line_forget(void);

#endif
