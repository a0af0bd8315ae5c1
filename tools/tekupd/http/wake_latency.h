/*
 * wake_latency.h: keeps the processors from sleeping while clients ask one thing after the other.
 *
 * A client that waits for its answer, and a loop that waits for the next question, let their
 * processors go idle. To wake one takes microseconds on bare metal and some 30 of them on a virtual
 * machine, which has to be scheduled again: twice that is longer than a search. Linux lets a process
 * say what it can bear, for as long as it holds /dev/cpu_dma_latency open (PM QoS, in the kernel's
 * Documentation/power/pm_qos_interface.rst). It costs power, for all processors, and takes nothing
 * from other processes; so it is held only while requests follow each other within a millisecond,
 * which leaves the processors little time to sleep anyway, and for a moment after.
 */
#ifndef TEKUPD_HTTP_WAKE_LATENCY_H
#define TEKUPD_HTTP_WAKE_LATENCY_H

#include <time.h>

struct event_base;
struct wake_latency;

/* The latency is in microseconds; 0 asks that idle processors look for work without a rest. Lets go
 * on base, whose loop has to run. NULL, and a line in the log, where this process may not ask for
 * it, the kernel has no such device, or memory ran out: nothing depends on it. */
struct wake_latency *wake_latency_create(struct event_base *base, int microseconds);

/* A request has come, now by CLOCK_MONOTONIC. From any thread; wake may be NULL. */
void wake_latency_hold(struct wake_latency *wake, const struct timespec *now);

/* After the loop has ended. NULL is allowed. */
void wake_latency_free(struct wake_latency *wake);

#endif
