#include "tools/tekupd/metrics/search_figures.h"

#include <string.h>

const char *const search_mode_names[SEARCH_MODES] = {"vector", "text", "hybrid"};

void search_figures_init(struct search_figures *figures)
{
    for (size_t i = 0; i < SEARCH_MODES; i++)
        histogram_init(&figures->seconds[i], &histogram_calls);
}

void search_figures_add(struct search_figures *figures, const char *mode, double seconds)
{
    for (size_t i = 0; i < SEARCH_MODES; i++)
        if (strcmp(search_mode_names[i], mode) == 0)
            histogram_observe(&figures->seconds[i], seconds);
}

void search_figures_fail(struct search_figures *figures, enum error_code why)
{
    atomic_fetch_add_explicit(&figures->failed[why], 1, memory_order_relaxed);
}
