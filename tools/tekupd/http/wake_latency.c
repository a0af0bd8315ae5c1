#include "tools/tekupd/http/wake_latency.h"

#include "storage/base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char device[] = "/dev/cpu_dma_latency";
static const struct timeval rest = {.tv_usec = 20000}; /* without such requests, and it lets go */

enum {
    GAP_NS = 1000000, /* between one request and the next, at most */
    ENOUGH = 32       /* such requests in a row */
};

struct wake_latency {
    int32_t microseconds;
    _Atomic int64_t last; /* request, in nanoseconds */
    atomic_uint in_a_row; /* requests without a gap; of two at once one may not count */
    atomic_bool held;
    atomic_bool asked;    /* it was worth it since the timer looked last */
    pthread_mutex_t lock; /* of what follows, and of a change of held */
    int fd;
    struct event *timer;
};

static void look(evutil_socket_t fd, short what, void *arg)
{
    struct wake_latency *wake = arg;
    (void)fd;
    (void)what;
    if (atomic_exchange(&wake->asked, false)) {
        evtimer_add(wake->timer, &rest);
        return;
    }
    pthread_mutex_lock(&wake->lock);
    close(wake->fd);
    wake->fd = -1;
    atomic_store(&wake->held, false);
    pthread_mutex_unlock(&wake->lock);
}

struct wake_latency *wake_latency_create(struct event_base *base, int microseconds)
{
    struct wake_latency *wake = NULL;
    const int fd = open(device, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        wake = calloc(1, sizeof(*wake));
        if (wake != NULL) wake->timer = evtimer_new(base, look, wake);
    }
    if (wake == NULL || wake->timer == NULL) {
        log_info("http.wake_latency", "device=%s error=%s", device, log_quote(strerror(errno)));
        free(wake);
        return NULL;
    }
    wake->microseconds = microseconds;
    wake->fd = -1;
    pthread_mutex_init(&wake->lock, NULL);
    return wake;
}

static void take_hold(struct wake_latency *wake)
{
    pthread_mutex_lock(&wake->lock);
    if (!atomic_load(&wake->held)) {
        wake->fd = open(device, O_WRONLY | O_CLOEXEC);
        if (wake->fd >= 0 && write(wake->fd, &wake->microseconds, sizeof(wake->microseconds)) < 0) {
            close(wake->fd);
            wake->fd = -1;
        }
        /* Out of descriptors, perhaps: the next request tries again. */
        if (wake->fd >= 0) {
            evtimer_add(wake->timer, &rest);
            atomic_store(&wake->held, true);
        }
    }
    pthread_mutex_unlock(&wake->lock);
}

static bool is_worth_it(struct wake_latency *wake, const struct timespec *time)
{
    const int64_t now = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
    const int64_t last = atomic_exchange_explicit(&wake->last, now, memory_order_relaxed);
    unsigned in_a_row = atomic_load_explicit(&wake->in_a_row, memory_order_relaxed);
    if (now - last > GAP_NS)
        in_a_row = 0;
    else if (in_a_row < ENOUGH)
        in_a_row++;
    else
        return true; /* already known */
    atomic_store_explicit(&wake->in_a_row, in_a_row, memory_order_relaxed);
    return false;
}

void wake_latency_hold(struct wake_latency *wake, const struct timespec *now)
{
    if (wake == NULL || !is_worth_it(wake, now)) return;
    /* Looked at before it is written, so that many loops do not fight for its cache line. */
    if (!atomic_load_explicit(&wake->asked, memory_order_relaxed)) atomic_store(&wake->asked, true);
    if (!atomic_load_explicit(&wake->held, memory_order_relaxed)) take_hold(wake);
}

void wake_latency_free(struct wake_latency *wake)
{
    if (wake == NULL) return;
    event_free(wake->timer);
    if (wake->fd >= 0) close(wake->fd);
    pthread_mutex_destroy(&wake->lock);
    free(wake);
}
