/*
 * command.h: what a command of tekup is, and what all of them share.
 *
 * A command is a row in a table: its name, a line that says what it does, its help and its
 * function; or a table of commands of its own (`tekup documents get`).
 */
#ifndef TEKUP_COMMAND_H
#define TEKUP_COMMAND_H

#include "tools/tekup/client.h"
#include "tools/tekup/options.h"
#include "tools/tekup/terminal.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name; /* a table ends with a NULL name */
    const char *summary;
    const char *help; /* from "Usage:" to the examples */
    int (*run)(const struct arguments *arguments);
    const struct command *commands; /* instead of run */
};

extern const struct command command_search;
extern const struct command command_sources;
extern const struct command command_sync;
extern const struct command command_documents;
extern const struct command command_events;
extern const struct command command_status;
extern const struct command command_console;
extern const struct command command_db;
extern const struct command command_doctor;
extern const struct command command_bench;
extern const struct command command_backup;
extern const struct command command_restore;
extern const struct command command_mcp;

/* ---- What a command says ---- */

/* "tekup: message" on stderr. With json also {"error": {...}} on stdout: the daemon's own where it
 * answered (response may be NULL). Returns EXIT_FAILED. The field at fault is one of the
 * interface's, which nobody has typed: people read it in the message, and machines in the JSON. */
int command_failed(const struct error *err, const struct response *response, bool json);

/* The same, "tekup: message (--option)", where an option is at fault; NULL: none is. */
int command_failed_option(const struct error *err, const struct response *response, bool json,
                          const char *option);

/* A line of advice or warning on stderr, "tekup: ...". */
void command_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The daemon's answer on stdout as it is, with a final newline; on a terminal with the control
 * characters in its strings escaped. Both return EXIT_DONE, or EXIT_FAILED when stdout is full or
 * gone. */
int command_print_body(const struct response *response);
int command_print_json(const json_t *json);

/* Flushes stdout and says so when it cannot be written (disk full). Returns EXIT_DONE or
 * EXIT_FAILED. */
int command_finish(void);

/* ---- Calling the daemon ---- */

/* One call with a client of its own: client_create, client_call, client_free. */
int command_call(const char *method, const char *target, const json_t *body,
                 struct response *response, struct error *err);

/* All of a command that takes nothing but --json: calls, and prints the answer as it is or by
 * print. Returns its exit status. */
int command_ask(const struct arguments *arguments, const char *method, const char *target,
                int (*print)(const json_t *answer));

/* The string or number of a field of a JSON object; "" and 0 where it is missing or another type.
 * The string lives as long as the object. */
const char *field_text(const json_t *object, const char *name);
long long field_integer(const json_t *object, const char *name);
double field_number(const json_t *object, const char *name);
bool field_true(const json_t *object, const char *name);

#endif
