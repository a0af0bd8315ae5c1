#include "tools/tekup/progress.h"

#include "tools/tekup/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS_SHOWN = 10, BAR = 24, BAR_LEAST = 4, PERCENT = 8, TEXT_LEAST = 24, LABEL_MOST = 36 };
#define FULL "\xe2\x96\x88"
#define EMPTY "\xe2\x96\x91"
#define ELLIPSIS "\xe2\x80\xa6"

struct progress {
    FILE *out;
    struct terminal terminal;
    double seconds;
    struct timespec plain; /* when plain lines were written last */
    int drawn;             /* lines of bars that stand on the terminal */
};

struct progress *progress_create(FILE *out, const struct terminal *terminal, double seconds)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    if (progress == NULL) return NULL;
    progress->out = out;
    progress->terminal = *terminal;
    progress->seconds = seconds;
    clock_gettime(CLOCK_MONOTONIC, &progress->plain);
    return progress;
}

void progress_free(struct progress *progress)
{
    if (progress == NULL) return;
    progress_clear(progress);
    free(progress);
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn > 0) fprintf(progress->out, "\033[%dA\033[J", progress->drawn);
    progress->drawn = 0;
    fflush(progress->out);
}

/* Appends text in at most so many columns, cut with an ellipsis, and returns its width. */
static int append_cut(struct buffer *line, const char *text, int columns)
{
    struct buffer clean = {0};
    text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
    const char *data = clean.data != NULL ? clean.data : "";
    int width = text_width(data, clean.length);
    if (width <= columns) {
        buffer_append(line, data, clean.length);
    } else if (columns > 0) {
        const size_t fit = text_fit(data, clean.length, columns - 1);
        buffer_append(line, data, fit);
        buffer_text(line, ELLIPSIS);
        width = text_width(data, fit) + 1;
    } else {
        width = 0;
    }
    buffer_free(&clean);
    return width;
}

void progress_bar(struct buffer *line, const struct progress_row *row, int label_width,
                  const struct terminal *terminal)
{
    const int width = append_cut(line, row->label, label_width);
    buffer_format(line, "%*s  %s", label_width - width, "", terminal_style(terminal, STYLE_GREEN));
    double fraction = row->fraction;
    if (!(fraction >= 0)) fraction = 0;
    if (fraction > 1) fraction = 1;
    /* label, bar, " 100 %  " and a word or two; a narrow terminal has a shorter bar. The last
     * column stays free: some terminals wrap when it is written. */
    const int rest = terminal->width - 1 - label_width - 2 - PERCENT;
    const int bar = rest - TEXT_LEAST > BAR         ? BAR
                    : rest - TEXT_LEAST > BAR_LEAST ? rest - TEXT_LEAST
                                                    : BAR_LEAST;
    const int full = (int)(fraction * bar);
    for (int i = 0; i < bar; i++) buffer_text(line, i < full ? FULL : EMPTY);
    buffer_text(line, terminal_style(terminal, STYLE_NONE));
    if (row->fraction >= 0)
        buffer_format(line, " %3d %%  ", (int)(fraction * 100));
    else
        buffer_text(line, "        ");
    append_cut(line, row->text, rest - bar);
}

static void show_bars(struct progress *progress, const struct progress_row *rows, int count)
{
    const int shown = count < ROWS_SHOWN ? count : ROWS_SHOWN;
    int label_width = 0;
    for (int i = 0; i < shown; i++) {
        const int width = text_width(rows[i].label, strlen(rows[i].label));
        if (width > label_width) label_width = width;
    }
    const int most = progress->terminal.width / 3;
    if (label_width > LABEL_MOST) label_width = LABEL_MOST;
    if (label_width > most) label_width = most;

    struct buffer frame = {0};
    if (progress->drawn > 0) buffer_format(&frame, "\033[%dA", progress->drawn);
    for (int i = 0; i < shown; i++) {
        progress_bar(&frame, &rows[i], label_width, &progress->terminal);
        buffer_text(&frame, "\033[K\n");
    }
    if (count > shown) buffer_format(&frame, "and %d more\033[K\n", count - shown);
    buffer_text(&frame, "\033[J");
    fwrite(frame.data != NULL ? frame.data : "", 1, frame.length, progress->out);
    fflush(progress->out);
    progress->drawn = shown + (count > shown ? 1 : 0);
    buffer_free(&frame);
}

static void show_lines(struct progress *progress, const struct progress_row *rows, int count)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double passed = (double)(now.tv_sec - progress->plain.tv_sec) +
                          1e-9 * (double)(now.tv_nsec - progress->plain.tv_nsec);
    if (passed < progress->seconds) return;
    progress->plain = now;
    for (int i = 0; i < count; i++) {
        struct buffer line = {0};
        append_cut(&line, rows[i].label, 200);
        buffer_text(&line, ": ");
        if (rows[i].fraction >= 0)
            buffer_format(&line, "%d %%, ",
                          (int)(100 * (rows[i].fraction > 1 ? 1 : rows[i].fraction)));
        append_cut(&line, rows[i].text, 200);
        fprintf(progress->out, "%s\n", line.data != NULL ? line.data : "");
        buffer_free(&line);
    }
    fflush(progress->out);
}

void progress_show(struct progress *progress, const struct progress_row *rows, int count)
{
    if (progress->terminal.live)
        show_bars(progress, rows, count);
    else
        show_lines(progress, rows, count);
}
