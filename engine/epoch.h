/*
 * epoch.h: when memory that readers may still be looking at can be used again.
 *
 * Readers take no lock. A writer first unlinks a block, so that nobody can come upon it any more,
 * and then retires it; it is released once every reader that was under way at that time has left
 * (epoch-based reclamation: Fraser, "Practical lock-freedom", UCAM-CL-TR-579, section 5.2.3).
 *
 * RULES
 * - Whoever reads or writes the index is seated (tk_epoch_enter to tk_epoch_leave) and keeps no
 *   pointer or slot number beyond that.
 * - tk_epoch_enter makes the seat's epoch visible before anything is read. The global epoch only
 *   moves on when every occupied seat shows the present one, so while a reader sits in epoch e the
 *   global epoch is e or e + 1.
 * - What is retired in epoch e goes into bin e % 3 and is released when the epoch becomes e + 3: a
 *   reader that could have seen it sat in e or before.
 * - `lock` protects the bins and moving the epoch on. Readers never take it.
 *
 * A seat is also where a reader keeps its working memory, since a seat has one owner at a time: the
 * caller says how large a seat is, and gets it zeroed the first time. Seats are never given back
 * before the end.
 */
#ifndef ENGINE_EPOCH_H
#define ENGINE_EPOCH_H

#include "engine/memory.h"

#include <pthread.h>
#include <stdbool.h>

/* The first member of every block that readers may hold. */
struct garbage {
    struct garbage *next;
    void (*release)(struct garbage *garbage, void *owner);
};

/* The first member of what sits: one reader or writer under way. */
struct seat {
    _Alignas(64) _Atomic uint64_t epoch; /* 0: nobody sits here */
    _Atomic bool taken;
    _Atomic bool stays;      /* the owner is at something long */
    struct seat *next;       /* in its row; fixed once the seat is in it */
    struct garbage *retired; /* by the present owner */
};

#define EPOCH_ROWS 64

struct epoch {
    struct memory *memory;
    size_t seat_size;
    void *owner;
    _Atomic(struct seat *) rows[EPOCH_ROWS];
    _Alignas(64) _Atomic uint64_t now;
    pthread_mutex_t lock;
    struct garbage *bins[3];
    _Atomic size_t waiting; /* blocks in the bins */
};

void tk_epoch_init(struct epoch *epoch, struct memory *memory, size_t seat_size, void *owner);

/* Releases everything retired, calls finish for every seat there ever was, and frees the seats.
 * Nobody may be seated. */
void tk_epoch_destroy(struct epoch *epoch, void (*finish)(struct seat *, struct memory *));

/* Takes a seat; never waits. NULL when there is no free one and memory ran out. */
struct seat *tk_epoch_enter(struct epoch *epoch);

/* Gives the seat back, and releases what has become free meanwhile. */
void tk_epoch_leave(struct epoch *epoch, struct seat *seat);

/* Hands over a block that has been unlinked. */
static inline void tk_epoch_retire(struct seat *seat, struct garbage *garbage)
{
    garbage->next = seat->retired;
    seat->retired = garbage;
}

/* The owner of the seat is at something that takes longer than a walk does. */
static inline void tk_epoch_stay(struct seat *seat)
{
    atomic_store_explicit(&seat->stays, true, memory_order_relaxed);
}

/* Waits for readers to leave while more than `most` blocks are retired and not released, so that a
 * writer who is faster than the epoch cannot fill the memory. Whoever is at nothing long has been
 * put aside by the scheduler, and is waited for up to half a second; not for long where somebody
 * stays. The caller must not be seated. */
void tk_epoch_relieve(struct epoch *epoch, size_t most);

/* Waits until everybody who is seated now has left, and releases what that makes free. The caller
 * must not be seated. */
void tk_epoch_quiesce(struct epoch *epoch);

#endif
