/* terminal.h: what the output goes to: a terminal with colours and a width, or a file or pipe. */
#ifndef TEKUP_TERMINAL_H
#define TEKUP_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

enum style {
    STYLE_NONE,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_RED,
    STYLE_GREEN,
    STYLE_YELLOW,
    STYLE_CYAN,
    STYLES
};

struct terminal {
    bool live;   /* a terminal whose lines can be drawn again */
    bool colour; /* live, and neither NO_COLOR nor TERM=dumb says otherwise */
    int width;   /* columns; 0 where there is no limit (a file or a pipe) */
};

struct terminal terminal_of(FILE *stream);

/* The sequence that begins a style (STYLE_NONE ends all), or "" where there are no colours. */
const char *terminal_style(const struct terminal *terminal, enum style style);

#endif
