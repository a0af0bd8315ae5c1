/*
 * main.c: options, signals, exit status.
 *
 * Signals are blocked in all threads of ours and taken by one of them, which wakes the main thread:
 * SIGTERM and SIGINT stop the daemon, a second one ends it at once, SIGHUP reads the configuration
 * again. OpenBLAS may start threads before main() in which they are not blocked; a handler sends on
 * what comes there.
 */
#include "storage/base/log.h"
#include "tools/tekupd/config.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/heap.h"
#include "tools/tekupd/systemd.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, STOP_WITHIN_S = 180, TICK_MS = 5000 };

static const char usage[] =
    "Usage: tekupd [--config FILE] [--check-config]\n"
    "\n"
    "The daemon of tekupdb, a vector search engine and document store. It runs in the foreground,\n"
    "logs to stderr and serves HTTP on RUN/tekupd.sock.\n"
    "\n"
    "      --config FILE   read this file instead of DATA/tekupd.conf or " CONFIG_SYSTEM_FILE "\n"
    "      --check-config  say whether the configuration is right, and stop\n"
    "      --foreground    run in the foreground, as it always does\n"
    "  -V, --version       print the version\n"
    "  -h, --help          print this\n"
    "\n"
    "RUN holds the sockets, DATA what is kept; TEKUP_RUN and TEKUP_DATA name them, else the\n"
    "configuration does. With DATABASE_URL set, PostgreSQL is there; without it tekupd makes and\n"
    "runs a private cluster in DATA/postgres.\n"
    "\n"
    "SIGTERM finishes what is under way and stops; SIGHUP reads the configuration again.\n"
    "Exit status: 0 stopped as told, 1 failed, 2 wrong usage.\n";

struct options {
    const char *config;
    bool check;
};

/* ---- Signals --------------------------------------------------------------------------------- */

struct signals {
    sigset_t set;
    pthread_t thread;
    int wake; /* an eventfd */
    atomic_bool stopping, reload, failed, over;
};

/* SIGUSR1 is from signals_close(). */
static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR1};
enum { TAKEN = sizeof(taken) / sizeof(*taken) };

/* The thread that takes signals; a handler has nothing else to find it by. */
static pthread_t taker;

static void send_on(int number)
{
    const int keep = errno;
    pthread_kill(taker, number);
    errno = keep;
}

static void wake(struct signals *signals)
{
    const uint64_t one = 1;
    (void)!write(signals->wake, &one, sizeof(one));
}

static void *take_signals(void *arg)
{
    struct signals *signals = arg;
    int number;
    while (sigwait(&signals->set, &number) == 0) {
        if (number == SIGHUP) {
            atomic_store(&signals->reload, true);
        } else if (number == SIGALRM) {
            log_error("daemon.stuck", "error=\"did not stop within %d s\"", STOP_WITHIN_S);
            _exit(EXIT_FAILURE);
        } else if (number == SIGUSR1) {
            if (atomic_load(&signals->over)) break;
            continue;
        } else if (atomic_exchange(&signals->stopping, true)) {
            log_warn("daemon.killed", "signal=%d", number);
            _exit(EXIT_FAILURE);
        } else {
            log_info("daemon.signal", "signal=%s", number == SIGINT ? "SIGINT" : "SIGTERM");
        }
        wake(signals);
    }
    return NULL;
}

/* Before any other thread of ours is there, so that all of them have the signals blocked. The
 * handlers come last, when there is a thread for them to send on to. */
static int signals_open(struct signals *signals, struct error *err)
{
    struct sigaction action = {.sa_handler = send_on, .sa_flags = SA_RESTART};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file over its limit is an error as a full disk is */
    sigemptyset(&signals->set);
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < TAKEN; i++) sigaddset(&signals->set, taken[i]);
    signals->wake = eventfd(0, EFD_CLOEXEC);
    if (signals->wake < 0 || pthread_sigmask(SIG_BLOCK, &signals->set, NULL) != 0 ||
        pthread_create(&signals->thread, NULL, take_signals, signals) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "cannot take signals");
    pthread_setname_np(signals->thread, "tekupd-signals");
    taker = signals->thread;
    for (int i = 0; i < TAKEN; i++) sigaction(taken[i], &action, NULL);
    return 0;
}

static void signals_close(struct signals *signals)
{
    for (int i = 0; i < TAKEN; i++)
        if (taken[i] != SIGUSR1) signal(taken[i], SIG_IGN);
    atomic_store(&signals->over, true);
    pthread_kill(signals->thread, SIGUSR1);
    pthread_join(signals->thread, NULL);
    signal(SIGUSR1, SIG_IGN);
    close(signals->wake);
}

/* The keeper found that the daemon cannot go on. */
static void fail(void *arg)
{
    struct signals *signals = arg;
    atomic_store(&signals->failed, true);
    wake(signals);
}

/* ---- Running --------------------------------------------------------------------------------- */

static void reload(struct daemon *daemon, const char *file)
{
    struct config config;
    struct error err = {0};
    systemd_reloading();
    if (config_load(file, &config, &err) != 0)
        log_error("config.refused", "error=%s", log_quote(err.message));
    else
        daemon_reconfigure(daemon, &config);
    systemd_notify("READY=1");
}

/* Waits until there is something to do, for a few seconds, or for as long as the watchdog lets it.
 */
static void wait_for_wake(struct daemon *daemon, const struct signals *signals)
{
    struct pollfd wake = {.fd = signals->wake, .events = POLLIN};
    const int watchdog = systemd_watchdog_ms();
    uint64_t count;
    if (poll(&wake, 1, watchdog > 0 && watchdog < TICK_MS ? watchdog : TICK_MS) == 1) {
        (void)!read(signals->wake, &count, sizeof(count));
        return;
    }
    daemon_tick(daemon);
    if (watchdog <= 0) return;
    if (daemon_is_alive(daemon))
        systemd_notify("WATCHDOG=1");
    else
        log_warn("daemon.hangs", "hint=\"an event loop has not come round in time\"");
}

static void serve(struct daemon *daemon, struct signals *signals, const char *file)
{
    systemd_notify("READY=1");
    while (!atomic_load(&signals->stopping) && !atomic_load(&signals->failed)) {
        if (atomic_exchange(&signals->reload, false)) reload(daemon, file);
        wait_for_wake(daemon, signals);
    }
}

static int run(const struct config *config, const struct options *options)
{
    static struct daemon daemon;
    static struct signals signals;
    struct error err = {0};
    heap_begin();
    if (systemd_open(&daemon.sockets, &err) != 0 || signals_open(&signals, &err) != 0) {
        log_error("daemon.failed", "error=%s", log_quote(err.message));
        return EXIT_FAILURE;
    }
    daemon.config = *config;
    daemon.failed = fail;
    daemon.failed_arg = &signals;
    int status = EXIT_SUCCESS;
    if (daemon_start(&daemon, &signals.stopping, &err) == 0) {
        serve(&daemon, &signals, options->config);
        if (atomic_load(&signals.failed)) status = EXIT_FAILURE;
    } else if (!atomic_load(&signals.stopping)) {
        log_error("daemon.failed", "error=%s", log_quote(err.message));
        status = EXIT_FAILURE;
    }
    alarm(STOP_WITHIN_S);
    daemon_stop(&daemon);
    alarm(0);
    signals_close(&signals);
    return status;
}

/* ---- Options --------------------------------------------------------------------------------- */

/* Returns -1 to go on, else the exit status. */
static int read_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
        {"foreground", no_argument, NULL, 'f'},   {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "Vh", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->config = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'f':
            break;
        case 'V':
            printf("tekupd %s\n", TEKUP_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fprintf(stderr, "Try 'tekupd --help'.\n");
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "tekupd: '%s' is not an option\nTry 'tekupd --help'.\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static int check(const struct config *config)
{
    if (config->file[0] != '\0')
        printf("%s is right.\n", config->file);
    else
        printf("There is no configuration file; the defaults hold.\n");
    printf("RUN is %s, DATA is %s.\nPostgreSQL: %s.\n", config->run, config->data,
           config->database_url[0] != '\0' ? "the one that the URL names" : "a private cluster");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    static struct config config;
    struct error err = {0};
    const int done = read_options(argc, argv, &options);
    if (done >= 0) return done;
    if (config_load(options.config, &config, &err) != 0) {
        fprintf(stderr, "tekupd: %s\n", err.message);
        return EXIT_FAILURE;
    }
    if (options.check) return check(&config);
    log_set_level((enum log_level)config.log_level);
    return run(&config, &options);
}
