/*
 * search_figures.h: how long searches took, for GET /metrics. Counted without a lock, from any
 * thread.
 */
#ifndef TEKUPD_SEARCH_FIGURES_H
#define TEKUPD_SEARCH_FIGURES_H

#include "storage/base/error.h"
#include "storage/base/histogram.h"

#include <stdatomic.h>

enum { SEARCH_MODES = 3, ERROR_CODES = ERR_INTERNAL + 1 };
extern const char *const search_mode_names[SEARCH_MODES];

struct search_figures {
    struct histogram
        seconds[SEARCH_MODES]; /* from the request to its answer, of those that succeed */
    _Atomic uint64_t failed[ERROR_CODES];
};

void search_figures_init(struct search_figures *figures);

/* A search has been answered in this mode, one of the names. */
void search_figures_add(struct search_figures *figures, const char *mode, double seconds);

void search_figures_fail(struct search_figures *figures, enum error_code why);

#endif
