/* cmd_backup.c: tekup backup: everything that a daemon keeps, as of one moment, in one file. */
#include "storage/backup/dump.h"
#include "tools/tekup/backup_file.h"
#include "tools/tekup/backup_files.h"
#include "tools/tekup/backup_manifest.h"
#include "tools/tekup/backup_place.h"
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/progress.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PLAIN_SECONDS = 30, COMPRESSION = 1 };

static const char help[] =
    "Usage: tekup backup FILE [--secrets] [--compress 0-9] [--url-env NAME] [--quiet] [--json]\n"
    "\n"
    "Writes everything that tekupdb keeps into one file: all schemas of the database, documents,\n"
    "embeddings, sources and their settings, roles and rights, and tekupd's configuration file. It "
    "is\n"
    "as of one moment, while the daemon serves and everybody writes. FILE appears when it is "
    "complete,\n"
    "in the place of one that was there; - is stdout. It is a tar archive with a dump of pg_dump "
    "in it.\n"
    "\n"
    "Root and the user that tekupd runs as may do it. The index is built again from the database.\n"
    "\n"
    "Options:\n"
    "  --secrets        also the files with tokens and keys that the configuration and the sources "
    "name;\n"
    "                   without it they are listed only, since the file may go where they should "
    "not\n"
    "  --compress 0-9   how hard to compress; 1 without it, 0 is not at all\n"
    "  --url-env NAME   back up the database of the connection string in this environment "
    "variable,\n"
    "                   rather than that of the daemon in RUN\n"
    "  --quiet          say nothing unless it fails\n"
    "  --json           what is in it as JSON\n"
    "\n"
    "Exit status: 0 the backup is complete and on the disk, 1 it failed and FILE is as it was,\n"
    "2 wrong usage.\n"
    "\n"
    "Examples:\n"
    "  tekup backup /var/backups/tekupdb.tar\n"
    "  tekup backup --quiet /var/backups/tekupdb-$(date +%u).tar     # in a crontab write \\% for "
    "%\n"
    "  tekup backup - | ssh store 'cat > tekupdb.tar'\n"
    "  DATABASE_URL=postgresql://... tekup backup tekupdb.tar --url-env DATABASE_URL\n";

struct backup {
    const char *path;
    struct backup_place place;
    struct backup_inventory inventory;
    struct backup_files files;
    struct dump dump;
    struct backup_writer *writer;
    struct progress *progress;
    json_t *manifest;
    double began_s;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void show(const struct backup *backup)
{
    char bytes[FIGURE_SIZE], rate[FIGURE_SIZE], text[128];
    const double written = (double)backup_writer_bytes(backup->writer);
    const double seconds = now_s() - backup->began_s;
    if (backup->progress == NULL) return;
    snprintf(text, sizeof(text), "%s written, %s/s", figure_bytes(written, bytes),
             figure_bytes(seconds > 0 ? written / seconds : 0, rate));
    const struct progress_row row = {"backup", -1, text};
    progress_show(backup->progress, &row, 1);
}

static int add_dump(struct backup *backup, struct error *err)
{
    char *part = malloc(BACKUP_PART);
    char name[64];
    size_t length = BACKUP_PART;
    int rc = part != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
    for (unsigned i = 0; rc == 0 && length == BACKUP_PART; i++) {
        rc = dump_read(&backup->dump, part, BACKUP_PART, &length, err);
        snprintf(name, sizeof(name), BACKUP_DUMP "%08u", i);
        if (rc == 0 && length > 0) rc = backup_writer_add(backup->writer, name, part, length, err);
        show(backup);
    }
    free(part);
    if (rc == 0) return dump_end(&backup->dump, err);
    dump_drop(&backup->dump);
    return rc;
}

static int add_manifest(struct backup *backup, struct error *err)
{
    backup->manifest = backup_manifest_make(&backup->inventory, backup->dump.major,
                                            backup_files_list(&backup->files));
    char *text = backup->manifest != NULL ? json_dumps(backup->manifest, JSON_INDENT(2)) : NULL;
    if (text == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    const int rc = backup_writer_add(backup->writer, BACKUP_MANIFEST, text, strlen(text), err);
    free(text);
    return rc;
}

static int prepare(struct backup *backup, const char *url_env, bool secrets, struct error *err)
{
    if (backup_place_open(url_env, &backup->place, err) != 0) return -1;
    if (backup_inventory_take(backup->place.conn, &backup->inventory, err) != 0) return -1;
    if (backup->inventory.migration == 0)
        return error_set(err, ERR_INVALID, NULL,
                         "tekupdb has never been in the database %s: there is nothing of it to "
                         "back up",
                         PQdb(backup->place.conn));
    const char *config = json_string_value(json_object_get(backup->place.status, "config"));
    return backup_files_read(&backup->files,
                             backup->place.status == NULL ? NULL
                             : config != NULL             ? config
                                                          : "",
                             backup->inventory.sources, secrets, err);
}

static int write_backup(struct backup *backup, int compression, struct error *err)
{
    const char *roles = backup->inventory.roles;
    backup->writer = backup_writer_create(backup->path, err);
    if (backup->writer == NULL) return -1;
    if (dump_start(&backup->dump, backup->place.conn, &backup->inventory, compression, err) != 0)
        return -1;
    int rc = add_manifest(backup, err);
    if (rc == 0) rc = backup_writer_add(backup->writer, BACKUP_ROLES, roles, strlen(roles), err);
    if (rc == 0) rc = backup_files_add(&backup->files, backup->writer, err);
    if (rc != 0) {
        dump_drop(&backup->dump);
        return -1;
    }
    if (add_dump(backup, err) != 0) return -1;
    return backup_writer_finish(backup->writer, err);
}

/* ---- What it says ---------------------------------------------------------------------------- */

static void note_left_out(const struct backup *backup)
{
    for (size_t i = 0; i < backup->files.count; i++) {
        const struct backup_extra *extra = &backup->files.extras[i];
        if (extra->why != NULL) command_note("%s is not in it: %s", extra->path, extra->why);
    }
}

static int print_json(const struct backup *backup)
{
    json_object_set_new(backup->manifest, "file", json_string(backup->path));
    json_object_set_new(backup->manifest, "bytes",
                        json_integer((json_int_t)backup_writer_bytes(backup->writer)));
    json_object_set_new(backup->manifest, "seconds", json_real(now_s() - backup->began_s));
    return command_print_json(backup->manifest);
}

/* With the file on stdout there is no room there for anything else. */
static int print_text(const struct backup *backup)
{
    char documents[FIGURE_SIZE], embeddings[FIGURE_SIZE], bytes[FIGURE_SIZE], took[FIGURE_SIZE];
    FILE *out = strcmp(backup->path, "-") == 0 ? stderr : stdout;
    fprintf(
        out, "%s: %s documents, %s embeddings, %zu tables; %s in %s\n", backup->path,
        figure_count(backup_manifest_rows(backup->manifest, "vault", "VaultDocument"), documents),
        figure_count(backup_manifest_rows(backup->manifest, "vault", "VaultEmbedding"), embeddings),
        backup->inventory.table_count,
        figure_bytes((double)backup_writer_bytes(backup->writer), bytes),
        figure_seconds(now_s() - backup->began_s, took));
    return command_finish();
}

static void release(struct backup *backup)
{
    progress_free(backup->progress);
    backup_writer_free(backup->writer);
    backup_files_free(&backup->files);
    backup_inventory_free(&backup->inventory);
    backup_place_close(&backup->place);
    json_decref(backup->manifest);
}

static int run(const struct arguments *arguments)
{
    bool json = false, quiet = false, secrets = false;
    const char *url_env = NULL, *compress = NULL;
    const struct option_spec specs[] = {{"secrets", NULL, &secrets}, {"compress", &compress, NULL},
                                        {"url-env", &url_env, NULL}, {"quiet", NULL, &quiet},
                                        {"json", NULL, &json},       {0}};
    char **words;
    long long level = COMPRESSION;
    if (options_parse(arguments, specs, 1, 1, "FILE", &words) < 0) return EXIT_USAGE;
    if (compress != NULL && (figure_parse_integer(compress, &level) != 0 || level < 0 || level > 9))
        return options_wrong(arguments, "--compress takes 0 to 9, not '%s'", compress);
    if (json && strcmp(words[0], "-") == 0)
        return options_wrong(arguments, "--json and a backup on stdout do not go together");
    struct backup backup = {.path = words[0], .began_s = now_s()};
    struct error err = {0};
    const struct terminal terminal = terminal_of(stderr);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (!json && !quiet) backup.progress = progress_create(stderr, &terminal, PLAIN_SECONDS);
    int result = EXIT_FAILED;
    if (prepare(&backup, url_env, secrets, &err) == 0 &&
        write_backup(&backup, (int)level, &err) == 0)
        result = EXIT_DONE;
    if (backup.progress != NULL) progress_clear(backup.progress);
    if (result != EXIT_DONE) {
        command_failed(&err, NULL, json);
    } else if (!quiet) {
        if (!json) note_left_out(&backup);
        result = json ? print_json(&backup) : print_text(&backup);
    }
    release(&backup);
    return result;
}

const struct command command_backup = {
    .name = "backup",
    .summary = "everything that tekupdb keeps into one file, while it serves",
    .help = help,
    .run = run,
};
