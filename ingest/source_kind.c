/* source_kind.c: the kinds of source that there are. */
#include "ingest/source_kind.h"

#include <string.h>

static const struct source_kind *const kinds[] = {&source_local};

const struct source_kind *source_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

const char *skip_reason_name(enum skip_reason reason)
{
    switch (reason) {
    case SKIP_IGNORED:
        return "ignored";
    case SKIP_BINARY:
        return "binary";
    case SKIP_TOO_LARGE:
        return "too_large";
    case SKIP_EMPTY:
        return "empty";
    case SKIP_NOT_FILE:
        return "not_file";
    case SKIP_UNREADABLE:
        return "unreadable";
    case SKIP_NONE:
    case SKIP_REASONS:
        break;
    }
    return "none";
}
