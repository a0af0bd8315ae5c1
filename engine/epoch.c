/*
 * epoch.c: see epoch.h for the rules.
 */
#include "engine/epoch.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

/* How often a writer pauses for readers at most: half a second and the scheduler's part in it, or
 * 20 milliseconds where somebody stays. */
#define PAUSES 10000
#define PAUSES_FOR_STAYING 400

/* ThreadSanitizer does not model fences; a read-modify-write of one location that everybody uses
 * orders the same things. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ENGINE_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define ENGINE_TSAN 1
#endif

static void full_fence(struct epoch *epoch)
{
#ifdef ENGINE_TSAN
    atomic_fetch_add_explicit(&epoch->now, 0, memory_order_seq_cst);
#else
    (void)epoch;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

void tk_epoch_init(struct epoch *epoch, struct memory *memory, size_t seat_size, void *owner)
{
    epoch->memory = memory;
    epoch->seat_size = seat_size;
    epoch->owner = owner;
    for (size_t row = 0; row < EPOCH_ROWS; row++) atomic_init(&epoch->rows[row], NULL);
    atomic_init(&epoch->now, 3); /* so that the bin before last has a number, and 0 is nobody */
    atomic_init(&epoch->waiting, 0);
    pthread_mutex_init(&epoch->lock, NULL);
    for (size_t bin = 0; bin < 3; bin++) epoch->bins[bin] = NULL;
}

static void release_all(struct epoch *epoch, struct garbage *garbage)
{
    size_t count = 0;
    for (; garbage; count++) {
        struct garbage *next = garbage->next;
        garbage->release(garbage, epoch->owner);
        garbage = next;
    }
    atomic_fetch_sub_explicit(&epoch->waiting, count, memory_order_relaxed);
}

void tk_epoch_destroy(struct epoch *epoch, void (*finish)(struct seat *, struct memory *))
{
    for (size_t bin = 0; bin < 3; bin++) release_all(epoch, epoch->bins[bin]);
    for (size_t row = 0; row < EPOCH_ROWS; row++) {
        struct seat *seat = atomic_load(&epoch->rows[row]);
        while (seat) {
            struct seat *next = seat->next;
            finish(seat, epoch->memory);
            tk_memory_free(epoch->memory, seat, epoch->seat_size);
            seat = next;
        }
    }
    pthread_mutex_destroy(&epoch->lock);
}

/* Threads start in rows of their own where they can. The address of errno differs between threads
 * and costs nothing to find. */
static size_t own_row(void)
{
    uint64_t mixed = (uint64_t)(uintptr_t)&errno * UINT64_C(0x9e3779b97f4a7c15);
    return mixed >> 58;
}

static struct seat *find_seat(struct epoch *epoch, _Atomic(struct seat *) *row)
{
    struct seat *seat = atomic_load_explicit(row, memory_order_acquire);
    for (; seat; seat = seat->next)
        if (!atomic_load_explicit(&seat->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&seat->taken, true, memory_order_acquire))
            return seat;

    seat = tk_memory_lines(epoch->memory, epoch->seat_size);
    if (!seat) return NULL;
    for (size_t i = 0; i < epoch->seat_size; i++) ((char *)seat)[i] = 0;
    atomic_init(&seat->epoch, 0);
    atomic_init(&seat->taken, true);
    seat->next = atomic_load_explicit(row, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(row, &seat->next, seat, memory_order_release,
                                                  memory_order_relaxed)) {
    }
    return seat;
}

struct seat *tk_epoch_enter(struct epoch *epoch)
{
    struct seat *seat = find_seat(epoch, &epoch->rows[own_row()]);
    if (!seat) return NULL;
    atomic_store_explicit(&seat->stays, false, memory_order_relaxed);
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_acquire);
    atomic_store_explicit(&seat->epoch, now, memory_order_seq_cst);
    full_fence(epoch);
    return seat;
}

/* *stays: one of those who are not is at something long. */
static bool everybody_is_in(struct epoch *epoch, uint64_t now, bool *stays)
{
    bool in = true;
    *stays = false;
    for (size_t row = 0; row < EPOCH_ROWS; row++) {
        struct seat *seat = atomic_load_explicit(&epoch->rows[row], memory_order_acquire);
        for (; seat; seat = seat->next) {
            uint64_t shown = atomic_load_explicit(&seat->epoch, memory_order_seq_cst);
            if (!shown || shown == now) continue;
            in = false;
            *stays = *stays || atomic_load_explicit(&seat->stays, memory_order_relaxed);
        }
    }
    return in;
}

/* Puts what was retired into the present bin and moves the epoch on if it can; returns what became
 * free by that. */
static struct garbage *turn(struct epoch *epoch, struct garbage *retired, bool *moved, bool *stays)
{
    struct garbage *free_now = NULL;
    size_t count = 0;
    full_fence(epoch);
    pthread_mutex_lock(&epoch->lock);
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_seq_cst);
    while (retired) {
        struct garbage *next = retired->next;
        retired->next = epoch->bins[now % 3];
        epoch->bins[now % 3] = retired;
        retired = next;
        count++;
    }
    atomic_fetch_add_explicit(&epoch->waiting, count, memory_order_relaxed);
    *moved = everybody_is_in(epoch, now, stays);
    if (*moved) {
        free_now = epoch->bins[(now + 1) % 3];
        epoch->bins[(now + 1) % 3] = NULL;
        atomic_store_explicit(&epoch->now, now + 1, memory_order_seq_cst);
    }
    pthread_mutex_unlock(&epoch->lock);
    return free_now;
}

void tk_epoch_leave(struct epoch *epoch, struct seat *seat)
{
    struct garbage *retired = seat->retired;
    seat->retired = NULL;
    atomic_store_explicit(&seat->epoch, 0, memory_order_release);
    atomic_store_explicit(&seat->taken, false, memory_order_release);
    if (retired) {
        bool moved, stays;
        release_all(epoch, turn(epoch, retired, &moved, &stays));
    }
}

void tk_epoch_relieve(struct epoch *epoch, size_t most)
{
    static const struct timespec pause = {.tv_nsec = 50000};
    bool moved, stays = false;
    for (int pauses = 0; pauses < (stays ? PAUSES_FOR_STAYING : PAUSES); pauses++) {
        if (atomic_load_explicit(&epoch->waiting, memory_order_relaxed) <= most) return;
        release_all(epoch, turn(epoch, NULL, &moved, &stays));
        if (!moved) nanosleep(&pause, NULL);
    }
}

void tk_epoch_quiesce(struct epoch *epoch)
{
    bool moved, stays;
    for (int turns = 0; turns < 3;) {
        release_all(epoch, turn(epoch, NULL, &moved, &stays));
        if (moved)
            turns++;
        else
            sched_yield();
    }
}
