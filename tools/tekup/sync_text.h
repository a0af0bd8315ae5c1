/* sync_text.h: how a sync stands, in words: from the items of GET /v1/sync. */
#ifndef TEKUP_SYNC_TEXT_H
#define TEKUP_SYNC_TEXT_H

#include "tools/tekup/terminal.h"

#include "storage/base/buffer.h"

#include <jansson.h>

/* Whether the item's sync is neither queued nor running. */
bool sync_ended(const json_t *item);

/* How much of its work is done, 0 to 1; negative where that is not known (queued, listing). */
double sync_fraction(const json_t *progress);

/* "512 of 840 files, 3,210 passages, 2.1 s left, 4.2 s", or with what it waits for. progress may be
 * null. */
void sync_progress_text(struct buffer *out, const json_t *progress);

/* "12 written, 2 deleted, 826 unchanged, 3 skipped (binary 3), 4.2 s". */
void sync_counts_text(struct buffer *out, const json_t *counts);

/* The line that stays when a sync has ended. */
void sync_print_ended(const json_t *item, FILE *out, const struct terminal *terminal);

#endif
