/*
 * http_look.c: looking for the next question instead of sleeping until it comes.
 *
 * A client that asks one thing after the other has its next question ready in less time than a
 * processor takes to go to sleep and to wake up again, on a virtual machine above all. So where one
 * client alone asks, and has done so soon after each of its last answers, its loop looks for what
 * comes, for about as long as that takes, before it sleeps. It looks at that client's connection
 * itself, and every few times at all that may have happened, as libevent takes longer to say that
 * nothing has. One question that does not come in time ends it, and so does any other client's, as
 * the processors then have something better to do.
 */
#include "tools/tekupd/http/http_internal.h"

#include <sched.h>

enum {
    SOON_NS = 100000, /* after an answer */
    ENOUGH = 16,      /* such questions in a row, before it looks for the next one */
    TIMES = 8         /* that it looks at the connection and at nothing else */
};

static bool is_soon(const struct timespec *since, const struct timespec *now)
{
    return (now->tv_sec - since->tv_sec) * 1000000000L + now->tv_nsec - since->tv_nsec < SOON_NS;
}

void http_look_asked(struct connection *connection)
{
    struct loop *loop = connection->loop;
    struct look *look = &loop->look;
    struct loop *alone = atomic_load_explicit(&loop->server->alone, memory_order_relaxed);
    const bool goes_on =
        look->last == connection && is_soon(&look->answered, &connection->request.began);
    look->last = connection;
    look->in_a_row = goes_on ? look->in_a_row + 1 : 0;
    /* Written where it changes only, as all loops read it. */
    if (look->in_a_row == ENOUGH && alone == NULL)
        atomic_store_explicit(&loop->server->alone, loop, memory_order_relaxed);
    else if (alone != NULL && (alone != loop || !goes_on))
        atomic_store_explicit(&loop->server->alone, NULL, memory_order_relaxed);
}

void http_look_answered(struct loop *loop)
{
    clock_gettime(CLOCK_MONOTONIC, &loop->look.answered);
}

static bool is_worth_it(struct loop *loop)
{
    struct timespec now;
    if (atomic_load_explicit(&loop->server->alone, memory_order_relaxed) != loop) return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return is_soon(&loop->look.answered, &now);
}

void http_look_forget(const struct connection *connection)
{
    struct look *look = &connection->loop->look;
    if (look->last == connection) look->last = NULL;
}

/* Whether the connection's next question has come, and was taken. libevent, which has not seen it,
 * is told that the client is not silent. */
static bool look_once(struct look *look)
{
    struct connection *connection = look->last;
    if (connection == NULL || !connection_look(connection)) return false;
    if (look->last == connection && !connection->paused) connection_await(connection);
    return true;
}

void http_look_on(struct loop *loop)
{
    struct look *look = &loop->look;
    unsigned times = 0;
    if (look->in_a_row < ENOUGH) return;
    while (is_worth_it(loop) && !event_base_got_break(loop->base)) {
        if (times++ % TIMES > 0) {
            if (look_once(look)) times = 0;
            continue;
        }
        sched_yield(); /* to whoever has something to do on this processor */
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
    }
}
