/*
 * cmd_console.c: tekup console: the console in a browser, for as long as this command runs.
 *
 * The daemon listens on the loopback for it and wants a key that is made for this session. Whoever
 * knows the key may do what this user may, so it is in no program's arguments, which everybody on
 * the machine can read: a browser is started with a file that only this user can read and that
 * leads to the address.
 */
#include "tools/tekup/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The daemon ends a session that nobody has renewed for a minute. */
enum { RENEW_SECONDS = 20 };

static const char help[] =
    "Usage: tekup console [--no-open] [--json]\n"
    "\n"
    "Opens the console in a browser: search, repositories and their syncs, the index, and a map "
    "of\n"
    "the documents. The daemon listens on a port of the loopback for as long as this command runs\n"
    "(Ctrl-C ends it), and asks for a key that the address carries. Whoever has the address may "
    "do\n"
    "in the console what you may.\n"
    "\n"
    "Options:\n"
    "  --no-open   only print the address; so it is where there is no display\n"
    "  --json      print {\"url\", \"key\", \"expires\"} and leave: the session ends a minute "
    "after its\n"
    "              last request\n"
    "\n"
    "Examples:\n"
    "  tekup console\n"
    "  ssh -L 8420:127.0.0.1:PORT server     # a console of another machine: its port, brought "
    "here\n";

/* ---- The browser ---- */

/* Writes a page that leads to the address, for this user alone. The path is "" where there is none.
 */
static int write_page(const char *url, char *path, size_t size)
{
    const char *directory = getenv("XDG_RUNTIME_DIR");
    if (directory == NULL || *directory != '/') directory = "/tmp";
    snprintf(path, size, "%s/tekup-console-XXXXXX.html", directory);
    const int fd = mkostemps(path, 5, O_CLOEXEC); /* with mode 0600 */
    if (fd < 0) {
        *path = '\0';
        return -1;
    }
    FILE *page = fdopen(fd, "w");
    if (page == NULL) {
        close(fd);
        return -1;
    }
    /* The address is of digits, letters and the few signs that an address has. */
    fprintf(page,
            "<!doctype html><title>tekupdb</title>"
            "<meta name=\"referrer\" content=\"no-referrer\">"
            "<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n",
            url);
    return fclose(page);
}

/* Starts the user's browser, and does not wait for it to end. */
static int open_browser(const char *path)
{
    const pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        const int null = open("/dev/null", O_RDWR);
        if (null >= 0) {
            dup2(null, STDIN_FILENO);
            dup2(null, STDOUT_FILENO);
            dup2(null, STDERR_FILENO);
        }
        setsid(); /* Ctrl-C is for this command */
        /* xdg-open may stay as long as the browser does: its child's child is nobody's to wait for.
         */
        const pid_t browser = fork();
        if (browser == 0) {
            execlp("xdg-open", "xdg-open", path, (char *)NULL);
            _exit(127);
        }
        _exit(browser < 0 ? 127 : 0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static bool has_display(void)
{
    static const char *const names[] = {"WAYLAND_DISPLAY", "DISPLAY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') return true;
    }
    return false;
}

/* ---- The session ---- */

/* One call about the session of this key. */
static int call_session(const char *method, const char *key, struct response *response,
                        struct error *err)
{
    struct buffer target = {0};
    int rc = -1;
    buffer_text(&target, "/v1/console");
    target_add(&target, "key", key);
    *response = (struct response){0};
    if (target.failed)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else
        rc = command_call(method, target.data, NULL, response, err);
    buffer_free(&target);
    return rc;
}

/* Renews the session until a signal comes. */
static int hold(const char *key)
{
    const struct timespec pause = {.tv_sec = RENEW_SECONDS};
    struct error err = {0};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    for (;;) {
        struct response response;
        if (sigtimedwait(&ends, NULL, &pause) >= 0) break;
        if (errno == EINTR) continue; /* stopped and going on */
        const int rc = call_session("POST", key, &response, &err);
        const int result = rc == 0 ? EXIT_DONE : command_failed(&err, &response, false);
        response_free(&response);
        if (rc != 0) return result;
    }
    struct response response;
    /* A daemon that is gone by now has ended it as well. */
    call_session("DELETE", key, &response, &err);
    response_free(&response);
    return EXIT_DONE;
}

static int show(const char *url, const char *key, bool opens)
{
    const struct terminal terminal = terminal_of(stdout);
    char page[256] = "";
    printf("The console is open until Ctrl-C:\n\n  %s%s%s\n\n",
           terminal_style(&terminal, STYLE_BOLD), url, terminal_style(&terminal, STYLE_NONE));
    int result = command_finish();
    if (result != EXIT_DONE) return result;
    if (opens && (write_page(url, page, sizeof(page)) != 0 || open_browser(page) != 0))
        command_note("no browser could be started: open the address by hand");
    result = hold(key);
    if (*page != '\0') unlink(page);
    return result;
}

static int run(const struct arguments *arguments)
{
    bool no_open = false, json = false;
    const struct option_spec specs[] = {{"no-open", NULL, &no_open}, {"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;

    /* Taken in hold(), where the session is ended; the calls are short. */
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);

    int result;
    struct error err = {0};
    struct response response = {0};
    if (!json) sigprocmask(SIG_BLOCK, &ends, NULL);
    if (command_call("POST", "/v1/console", NULL, &response, &err) != 0) {
        result = command_failed(&err, &response, json);
    } else if (json) {
        result = command_print_body(&response);
    } else {
        const char *url = field_text(response.json, "url");
        const char *key = field_text(response.json, "key");
        result = show(url, key, !no_open && has_display());
    }
    response_free(&response);
    return result;
}

const struct command command_console = {
    .name = "console",
    .summary = "the console in a browser: search, syncs, index, map",
    .help = help,
    .run = run,
};
