/*
 * search.h: one search, as tk_index_search and its batch do it.
 */
#ifndef ENGINE_SEARCH_H
#define ENGINE_SEARCH_H

#include "engine/exact.h"

/* Whether the fields of a search are within their ranges. */
tk_status tk_search_check(const tk_search *search, tk_error *error);

/* Whether a search compares with every vector, by wish or because that is faster. */
bool tk_search_scans(const struct tk_index *index, const tk_search *search);

/* Searches for session->query, which is normalised. hits has room for search->k. Errors:
 * TK_ENOMEM. */
tk_status tk_search_one(const struct tk_index *index, struct session *session,
                        const tk_search *search, tk_hit *hits, size_t *found);

#endif
