#include "tools/tekupd/mirror/active.h"

#include <stdlib.h>
#include <string.h>

int active_get(struct syncer *syncer, struct active *active, struct error *err)
{
    *active = (struct active){NULL, 0};
    if (syncer == NULL) return 0;
    if (syncer_progress(syncer, &active->rows, &active->count, err) == 0) return 0;
    *active = (struct active){NULL, 0};
    return -1;
}

void active_free(struct active *active)
{
    for (size_t i = 0; i < active->count; i++) {
        free(active->rows[i].source);
        free(active->rows[i].repository);
    }
    free(active->rows);
    *active = (struct active){NULL, 0};
}

const struct sync_progress *active_find(const struct active *active, const char *source,
                                        const char *repository)
{
    for (size_t i = 0; i < active->count; i++) {
        const struct sync_progress *row = &active->rows[i];
        if (strcmp(row->source, source) == 0 && strcmp(row->repository, repository) == 0)
            return row;
    }
    return NULL;
}
