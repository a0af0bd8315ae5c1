/* source_kind.c: the kinds of source that there are. */
#include "ingest/source_kind.h"

#include "ingest/chunk.h"
#include "storage/base/utf8.h"

#include <string.h>

static const struct source_kind *const kinds[SOURCE_KINDS] = {&source_local, &source_github,
                                                              &source_notion, &source_gdrive};

const struct source_kind *source_kind_at(size_t number)
{
    return kinds[number];
}

const struct source_kind *source_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

static const char *const reasons[SKIP_REASONS] = {
    [SKIP_NONE] = "none",
    [SKIP_IGNORED] = "ignored",
    [SKIP_BINARY] = "binary",
    [SKIP_TOO_LARGE] = "too_large",
    [SKIP_EMPTY] = "empty",
    [SKIP_NOT_FILE] = "not_file",
    [SKIP_UNREADABLE] = "unreadable",
    [SKIP_SUBMODULE] = "submodule",
    [SKIP_LFS] = "lfs",
    [SKIP_UNSUPPORTED] = "unsupported",
};

const char *skip_reason_name(enum skip_reason reason)
{
    return reasons[reason < SKIP_REASONS ? reason : SKIP_NONE];
}

enum skip_reason skip_reason_find(const char *name)
{
    enum skip_reason reason = SKIP_NONE;
    while (reason < SKIP_REASONS && strcmp(reasons[reason], name) != 0) reason++;
    return reason;
}

enum skip_reason skip_reason_of_text(const char *text, size_t length)
{
    if (text_is_blank(text, length)) return SKIP_EMPTY;
    if (memchr(text, '\0', length) != NULL || utf8_valid_prefix(text, length) != length)
        return SKIP_BINARY;
    return SKIP_NONE;
}
