#include "tools/tekup/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_UNKNOWN = 80, WIDTH_LEAST = 24, WIDTH_MOST = 1000 };

struct terminal terminal_of(FILE *stream)
{
    struct terminal terminal = {0};
    const int fd = fileno(stream);
    if (fd < 0 || !isatty(fd)) return terminal;

    const char *type = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR"); /* https://no-color.org: set and not empty */
    terminal.live = type != NULL && strcmp(type, "dumb") != 0;
    terminal.colour = terminal.live && (no_colour == NULL || *no_colour == '\0');

    /* COLUMNS is only there when somebody exported it on purpose. */
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    terminal.width = columns != NULL ? atoi(columns) : 0;
    if (terminal.width <= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0) terminal.width = size.ws_col;
    if (terminal.width <= 0) terminal.width = WIDTH_UNKNOWN;
    if (terminal.width < WIDTH_LEAST) terminal.width = WIDTH_LEAST;
    if (terminal.width > WIDTH_MOST) terminal.width = WIDTH_MOST;
    return terminal;
}

const char *terminal_style(const struct terminal *terminal, enum style style)
{
    static const char *const sequences[STYLES] = {
        [STYLE_NONE] = "\033[0m",  [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_RED] = "\033[31m",  [STYLE_GREEN] = "\033[32m", [STYLE_YELLOW] = "\033[33m",
        [STYLE_CYAN] = "\033[36m",
    };
    return terminal->colour ? sequences[style] : "";
}
