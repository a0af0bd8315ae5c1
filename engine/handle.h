/*
 * handle.h: what a tk_index is, and how its functions begin and end.
 *
 * Everything a caller may do is seated (epoch.h). Writers also hold `gate` shared; saving holds it
 * alone, so that it sees no write half done. Searches do not touch it.
 *
 * An id that is replaced stays a member of its old node until every search has left that was under
 * way when the id map switched over. A search that began before the switch therefore still comes
 * upon the old node if it misses the new one, and one that began after it can come upon the new
 * one; which of the two vectors counts is decided once per id, by the id map. What is left to do at
 * the old node, an `errand`, is retired like memory is; when its time comes it goes to `errands`,
 * and the next writer does it. `errand_lock` protects that list.
 */
#ifndef ENGINE_HANDLE_H
#define ENGINE_HANDLE_H

#include "engine/graph.h"
#include "engine/idmap.h"

struct errand {
    struct garbage garbage;
    struct tk_index *index;
    uint32_t slot;
    tk_id id;
};

struct tk_index {
    tk_index_options options;
    struct memory memory;
    struct epoch epoch;
    struct store store;
    struct idmap map;
    struct graph graph;
    pthread_rwlock_t gate;
    pthread_mutex_t errand_lock;
    struct errand *errands;
    _Atomic size_t count;
    _Atomic uint64_t adds, replaces, removes, searches;
    void *note;
    size_t note_size;
};

/* Whether the options are within their ranges; the message names the one that is not. */
tk_status tk_options_check(const tk_index_options *options, tk_error *error);

/* Begins a search, or any other reading. Errors: TK_ENOMEM. */
tk_status tk_read_begin(const struct tk_index *index, struct session **session, tk_error *error);
void tk_read_end(const struct tk_index *index, struct session *session);

/* Begins a write, and does the errands that are due. Errors: TK_ENOMEM. */
tk_status tk_write_begin(struct tk_index *index, struct session **session, tk_error *error);
void tk_write_end(struct tk_index *index, struct session *session);

/* Checks and normalises a vector of the caller's and puts it into session->query, in all its forms.
 * Errors: TK_ENONFINITE, TK_EZERO; the message begins with `what`. */
tk_status tk_take_vector(const struct tk_index *index, struct session *session, const float *vector,
                         const char *what, tk_error *error);

/* Does all errands there are, so that every member of a node belongs to it. For those who hold the
 * gate alone. */
tk_status tk_settle(struct tk_index *index, tk_error *error);

/* Adds a vector under an id that has been reserved, which it publishes or cancels. The
 * vector is in session->query. */
tk_status tk_add_reserved(struct tk_index *index, struct session *session, tk_id id,
                          tk_error *error);

#endif
