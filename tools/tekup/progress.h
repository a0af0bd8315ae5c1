/*
 * progress.h: how far several things have come, on stderr.
 *
 * On a terminal a bar for each, drawn again in place; elsewhere a plain line for each every few
 * seconds, so that a log tells how it went without being flooded.
 */
#ifndef TEKUP_PROGRESS_H
#define TEKUP_PROGRESS_H

#include "tools/tekup/terminal.h"

#include "storage/base/buffer.h"

struct progress;

struct progress_row {
    const char *label; /* cleaned by the callee, as is text */
    double fraction;   /* 0 to 1; negative where it is not known yet */
    const char *text;  /* "512 of 840, 3,210 passages" */
};

/* NULL when memory ran out. seconds is the time between plain lines. */
struct progress *progress_create(FILE *out, const struct terminal *terminal, double seconds);

/* Takes the bars away and releases. NULL is allowed. */
void progress_free(struct progress *progress);

/* Shows the rows as they are now. */
void progress_show(struct progress *progress, const struct progress_row *rows, int count);

/* Takes the bars away, for lines that are to stay; the next progress_show draws them below. */
void progress_clear(struct progress *progress);

/* One row as a bar of so many columns; what progress_show writes on a terminal. */
void progress_bar(struct buffer *line, const struct progress_row *row, int label_width,
                  const struct terminal *terminal);

#endif
