/* cmd_restore.c: tekup restore: what was backed up into a database, whole or not at all. */
#include "storage/backup/refill.h"
#include "tools/tekup/backup_file.h"
#include "tools/tekup/backup_manifest.h"
#include "tools/tekup/backup_place.h"
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/progress.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PLAIN_SECONDS = 30, POLL_MS = 200, AWAY_SECONDS = 60, IDLE_SECONDS = 180 };

static const char help[] =
    "Usage: tekup restore FILE [--force] [--check] [--url-env NAME] [--quiet] [--json]\n"
    "\n"
    "Puts a backup of 'tekup backup' into the database of a running tekupd: everything or, where\n"
    "anything fails, nothing. The file is checked first; - is stdin, which is kept in DATA for\n"
    "that. A database in which there are rows already is refused. Whoever is connected is\n"
    "disconnected at the end; tekupd reads the database anew, and the command ends when searches\n"
    "answer from it. A backup of an older tekupdb or PostgreSQL will do.\n"
    "\n"
    "The configuration file and secrets that may be in FILE stay there: 'tar xf FILE config' "
    "unpacks\n"
    "them.\n"
    "\n"
    "Options:\n"
    "  --force          replace what is in the database; services wait meanwhile\n"
    "  --check          only check the file, and say what is in it\n"
    "  --url-env NAME   restore into the database of the connection string in this environment "
    "variable,\n"
    "                   rather than that of the daemon in RUN\n"
    "  --quiet          say nothing unless it fails\n"
    "  --json           what is in it as JSON\n"
    "\n"
    "Exit status: 0 everything is restored (or the file is right), 1 failed and nothing is "
    "changed,\n"
    "2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  tekup restore --check /var/backups/tekupdb.tar\n"
    "  tekup restore /var/backups/tekupdb.tar && tekup db verify\n"
    "  ssh store 'cat tekupdb.tar' | tekup restore -\n";

struct restore {
    const char *path; /* "-": stdin */
    struct backup_input input;
    struct backup_place place;
    struct backup_inventory inventory;
    int major;
    json_t *manifest;
    struct progress *progress;
    const char *label;
    double kept, checked; /* of the input, in bytes */
    char *identity;       /* of the feed, once it is restored */
    bool of_the_daemon;   /* the database is that of the daemon in RUN */
    bool restored;
    double began_s;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* what: instead of bytes; NULL: how many they are. */
static void show(struct restore *restore, const char *label, double done, double all,
                 const char *what)
{
    char some[FIGURE_SIZE], whole[FIGURE_SIZE], text[128];
    if (restore->progress == NULL) return;
    if (all > 0)
        snprintf(text, sizeof(text), "%s of %s", figure_bytes(done, some),
                 figure_bytes(all, whole));
    else
        snprintf(text, sizeof(text), "%s", what != NULL ? what : figure_bytes(done, some));
    const struct progress_row row = {label, all > 0 ? done / all : -1, text};
    progress_show(restore->progress, &row, 1);
}

/* ---- The file -------------------------------------------------------------------------------- */

static int take_manifest(struct restore *restore, const char *bytes, size_t length,
                         struct error *err)
{
    restore->manifest = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
    if (restore->manifest == NULL)
        return error_set(err, ERR_INVALID, NULL, "%s is damaged: what it says of itself is no JSON",
                         restore->input.name);
    if (backup_manifest_read(restore->manifest, &restore->inventory, &restore->major, err) != 0)
        return error_prefix(err, "%s", restore->input.name);
    return 0;
}

static int take_entry(void *arg, const char *name, const char *bytes, size_t length,
                      struct error *err)
{
    struct restore *restore = arg;
    if (strcmp(name, BACKUP_MANIFEST) == 0) return take_manifest(restore, bytes, length, err);
    if (strcmp(name, BACKUP_ROLES) == 0) {
        free(restore->inventory.roles);
        restore->inventory.roles = strndup(bytes, length);
        if (restore->inventory.roles == NULL)
            return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    return 0;
}

static void say_kept(void *arg, size_t bytes)
{
    struct restore *restore = arg;
    restore->kept += (double)bytes;
    show(restore, "read", restore->kept, 0, NULL);
}

static void say_checked(void *arg, size_t bytes)
{
    struct restore *restore = arg;
    restore->checked += (double)bytes;
    show(restore, "check", restore->checked, restore->input.size, NULL);
}

/* Only to check it, a backup need not be kept. */
static int check(struct restore *restore, bool only_check, struct error *err)
{
    if (backup_input_open(restore->path, &restore->input, err) != 0) return -1;
    if (!only_check && backup_input_keep(&restore->input, say_kept, restore, err) != 0) return -1;
    if (backup_check(&restore->input, take_entry, say_checked, restore, err) != 0) return -1;
    if (restore->inventory.roles == NULL)
        return error_set(err, ERR_INVALID, NULL, "%s is damaged: it has no %s", restore->input.name,
                         BACKUP_ROLES);
    return 0;
}

/* ---- The database ---------------------------------------------------------------------------- */

static int feed(void *arg, int fd, atomic_ullong *fed, struct error *err)
{
    const struct restore *restore = arg;
    return backup_feed(&restore->input, fd, fed, err);
}

static void say_restored(void *arg, unsigned long long fed, const char *doing)
{
    struct restore *restore = arg;
    const bool rows = strcmp(doing, "rows") == 0;
    show(restore, "restore", (double)fed, rows ? restore->input.size : 0, doing);
}

static void say_warning(void *arg, const char *message)
{
    const struct restore *restore = arg;
    if (restore->progress != NULL) progress_clear(restore->progress);
    command_note("warning: %s", message);
}

static const char *identity_of(const json_t *status, const char *part)
{
    return field_text(json_object_get(status, part), "identity");
}

static int put_back(struct restore *restore, const char *url_env, bool force, struct error *err)
{
    if (backup_place_open(url_env, &restore->place, err) != 0) return -1;
    char *before = backup_identity(restore->place.conn, err);
    if (before == NULL) return -1;
    restore->of_the_daemon =
        *before != '\0' && strcmp(identity_of(restore->place.status, "database"), before) == 0;
    free(before);
    const struct refill refill = {.feed = feed,
                                  .arg = restore,
                                  .major = restore->major,
                                  .inventory = &restore->inventory,
                                  .replace = force,
                                  .progress = say_restored,
                                  .note = say_warning,
                                  .watcher = restore};
    return refill_run(restore->place.conn, &refill, &restore->identity, err);
}

/* ---- The daemon ------------------------------------------------------------------------------ */

static void pause_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Whether it has the database that was restored, and searches answer from that. */
static bool has_read(const struct restore *restore, const json_t *status)
{
    const json_t *follower = json_object_get(status, "follower");
    return strcmp(identity_of(status, "database"), restore->identity) == 0 &&
           field_true(status, "ready") &&
           (!json_is_object(follower) ||
            (strcmp(field_text(follower, "identity"), restore->identity) == 0 &&
             strcmp(field_text(follower, "state"), "following") == 0));
}

static void show_reading(struct restore *restore, const json_t *status)
{
    char done[FIGURE_SIZE], all[FIGURE_SIZE], text[128];
    const json_t *loading = json_object_get(json_object_get(status, "follower"), "loading");
    const double of = field_number(loading, "ofEmbeddings");
    snprintf(text, sizeof(text), "%s of %s embeddings",
             figure_count(field_integer(loading, "embeddings"), done),
             figure_count(field_integer(loading, "ofEmbeddings"), all));
    const struct progress_row row = {
        "index", of > 0 ? field_number(loading, "embeddings") / of : -1, of > 0 ? text : "waiting"};
    if (restore->progress != NULL) progress_show(restore->progress, &row, 1);
}

static int wait_for_daemon(struct restore *restore, struct error *err)
{
    double heard_s = now_s(), moved_s = now_s();
    long long before = -1;
    for (;;) {
        json_t *status = backup_place_ask();
        const bool done = status != NULL && has_read(restore, status);
        if (status != NULL) {
            const long long read = field_integer(
                json_object_get(json_object_get(status, "follower"), "loading"), "embeddings");
            heard_s = now_s();
            if (read != before) moved_s = heard_s;
            before = read;
            show_reading(restore, status);
        }
        json_decref(status);
        if (done) return 0;
        if (now_s() - heard_s > AWAY_SECONDS)
            return error_set(err, ERR_UNAVAILABLE, NULL,
                             "everything is restored, but tekupd does not answer");
        if (now_s() - moved_s > IDLE_SECONDS)
            return error_set(err, ERR_UNAVAILABLE, NULL,
                             "everything is restored, but tekupd does not go on with it: its log "
                             "says why");
        pause_ms(POLL_MS);
    }
}

/* ---- What it says ---------------------------------------------------------------------------- */

static void note_files(const struct restore *restore)
{
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(restore->manifest, "files"), i, file)
    {
        if (field_true(file, "saved"))
            command_note("it has %s, which was %s; 'tar xf %s %s' unpacks it",
                         field_text(file, "name"), field_text(file, "path"), restore->path,
                         field_text(file, "name"));
        else
            command_note("%s is not in it: %s", field_text(file, "path"), field_text(file, "why"));
    }
}

static int print_json(const struct restore *restore)
{
    json_object_set_new(restore->manifest, "file", json_string(restore->path));
    json_object_set_new(restore->manifest, "restored", json_boolean(restore->restored));
    json_object_set_new(restore->manifest, "seconds", json_real(now_s() - restore->began_s));
    return command_print_json(restore->manifest);
}

static int print_text(const struct restore *restore)
{
    char documents[FIGURE_SIZE], embeddings[FIGURE_SIZE], took[FIGURE_SIZE];
    const json_t *manifest = restore->manifest;
    printf("%s%s of %s, tekupdb %s: %s documents, %s embeddings, %zu tables; %s in %s\n",
           restore->restored ? "restored " : "", restore->input.name,
           field_text(manifest, "createdAt"), field_text(manifest, "tekupdb"),
           figure_count(backup_manifest_rows(manifest, "vault", "VaultDocument"), documents),
           figure_count(backup_manifest_rows(manifest, "vault", "VaultEmbedding"), embeddings),
           restore->inventory.table_count, restore->restored ? "done" : "checked",
           figure_seconds(now_s() - restore->began_s, took));
    return command_finish();
}

static int perform(struct restore *restore, const char *url_env, bool force, bool only_check,
                   struct error *err)
{
    if (check(restore, only_check, err) != 0) return -1;
    if (only_check) return 0;
    if (put_back(restore, url_env, force, err) != 0) return -1;
    restore->restored = true;
    return restore->of_the_daemon ? wait_for_daemon(restore, err) : 0;
}

static void release(struct restore *restore)
{
    progress_free(restore->progress);
    backup_input_close(&restore->input);
    backup_inventory_free(&restore->inventory);
    backup_place_close(&restore->place);
    json_decref(restore->manifest);
    free(restore->identity);
}

static int run(const struct arguments *arguments)
{
    bool json = false, quiet = false, force = false, only_check = false;
    const char *url_env = NULL;
    const struct option_spec specs[] = {{"force", NULL, &force},     {"check", NULL, &only_check},
                                        {"url-env", &url_env, NULL}, {"quiet", NULL, &quiet},
                                        {"json", NULL, &json},       {0}};
    char **words;
    if (options_parse(arguments, specs, 1, 1, "FILE", &words) < 0) return EXIT_USAGE;
    if (strcmp(words[0], "-") == 0 && isatty(STDIN_FILENO))
        return options_wrong(arguments, "a backup is not typed: send it to the standard input");
    struct restore restore = {.path = words[0], .input.fd = -1, .began_s = now_s()};
    struct error err = {0};
    const struct terminal terminal = terminal_of(stderr);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (!json && !quiet) restore.progress = progress_create(stderr, &terminal, PLAIN_SECONDS);
    int result = perform(&restore, url_env, force, only_check, &err) == 0 ? EXIT_DONE : EXIT_FAILED;
    if (restore.progress != NULL) progress_clear(restore.progress);
    if (result != EXIT_DONE) {
        command_failed(&err, NULL, json);
    } else if (!quiet) {
        if (!json) note_files(&restore);
        result = json ? print_json(&restore) : print_text(&restore);
        if (result == EXIT_DONE && restore.restored && !restore.of_the_daemon && !json)
            command_note("the daemon in RUN is not one of this database; those that are read it "
                         "anew by themselves");
    }
    release(&restore);
    return result;
}

const struct command command_restore = {
    .name = "restore",
    .summary = "puts a backup back, whole or not at all",
    .help = help,
    .run = run,
};
