/* cmd_documents.c: tekup documents: list, read, write and remove single documents. */
#include "tools/tekup/command.h"
#include "tools/tekup/figures.h"
#include "tools/tekup/table.h"
#include "tools/tekup/text.h"

#include "storage/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 1000, LIST_DEFAULT = 100, READ_LIMIT = 1 << 30 };

/* ---- list ---- */

static const char list_help[] =
    "Usage: tekup documents list [--source S] [--repository R] [--prefix P] [--limit N] [--json]\n"
    "\n"
    "Lists documents in order of source, repository and path.\n"
    "\n"
    "Options:\n"
    "  --source S       only documents of this kind of source\n"
    "  --repository R   only documents of this repository\n"
    "  --prefix P       only documents whose path starts with P\n"
    "  --limit N        at most N documents (100); 0: all of them\n"
    "  --json           {\"documents\": [...], \"next\": ID to go on after, or null}\n"
    "\n"
    "Examples:\n"
    "  tekup documents list --repository /usr/share/doc --prefix bash/\n"
    "  tekup documents list --limit 0 --json | jq '.documents | length'\n";

/* Reads pages until `limit` documents (0: all) are in *documents. *next is the id to go on after,
 * or NULL. */
static int read_pages(struct client *client, const char *const filters[3], long long limit,
                      json_t *documents, json_t **next, struct response *response,
                      struct error *err)
{
    static const char *const names[3] = {"source", "repository", "pathPrefix"};
    int result = -1;
    char *after = NULL;
    for (;;) {
        struct buffer target = {0};
        char page[32];
        const long long left = limit > 0 ? limit - (long long)json_array_size(documents) : PAGE;
        snprintf(page, sizeof(page), "%lld", left < PAGE ? left : PAGE);
        buffer_text(&target, "/v1/documents");
        for (int i = 0; i < 3; i++) target_add(&target, names[i], filters[i]);
        target_add(&target, "after", after);
        target_add(&target, "limit", page);
        free(after);
        after = NULL;
        response_free(response);
        const int called = target.failed
                               ? error_set(err, ERR_INTERNAL, NULL, "out of memory")
                               : client_call(client, "GET", target.data, NULL, response, err);
        buffer_free(&target);
        if (called != 0) goto out;

        json_t *found = json_object_get(response->json, "documents");
        json_array_extend(documents, found);
        json_t *more = json_object_get(response->json, "next");
        *next = more;
        const bool enough = limit > 0 && (long long)json_array_size(documents) >= limit;
        if (!json_is_string(more) || json_array_size(found) == 0 || enough) break;
        after = strdup(json_string_value(more));
        if (after == NULL) {
            error_set(err, ERR_INTERNAL, NULL, "out of memory");
            goto out;
        }
    }
    result = 0;
out:
    free(after);
    return result;
}

static int print_list(const json_t *documents, bool more)
{
    static const struct column columns[] = {{"ID", COLUMN_TEXT},
                                            {"SOURCE", COLUMN_TEXT},
                                            {"REPOSITORY", COLUMN_SHRINK},
                                            {"PATH", COLUMN_SHRINK},
                                            {"UPDATED", COLUMN_TEXT}};
    const struct terminal terminal = terminal_of(stdout);
    struct table *table = table_create(columns, 5);
    if (table == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    size_t i;
    json_t *document;
    json_array_foreach(documents, i, document)
    {
        table_cell(table, field_text(document, "id"), STYLE_NONE);
        table_cell(table, field_text(document, "source"), STYLE_NONE);
        table_cell(table, field_text(document, "repository"), STYLE_NONE);
        table_cell(table, field_text(document, "path"), STYLE_BOLD);
        char age[FIGURE_SIZE];
        table_cell(table, figure_age(field_text(document, "updatedAt"), time(NULL), age),
                   STYLE_NONE);
    }
    const int printed = table_print(table, stdout, &terminal);
    table_free(table);
    if (printed != 0) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    const int result = command_finish();
    if (json_array_size(documents) == 0) command_note("there are no such documents");
    if (more) command_note("there are more: '--limit 0' lists all of them");
    return result;
}

static int run_list(const struct arguments *arguments)
{
    const char *filters[3] = {NULL}, *limit_text = NULL;
    bool json = false;
    const struct option_spec specs[] = {
        {"source", &filters[0], NULL}, {"repository", &filters[1], NULL},
        {"prefix", &filters[2], NULL}, {"limit", &limit_text, NULL},
        {"json", NULL, &json},         {0}};
    char **words;
    long long limit = LIST_DEFAULT;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;
    if (limit_text != NULL && (figure_parse_integer(limit_text, &limit) != 0 || limit < 0))
        return options_wrong(arguments, "--limit takes a whole number from 0, not '%s'",
                             limit_text);

    int result;
    struct error err = {0};
    struct response response = {0};
    json_t *documents = json_array(), *next = NULL;
    struct client *client = client_create(&err);
    if (client == NULL ||
        read_pages(client, filters, limit, documents, &next, &response, &err) != 0) {
        result = command_failed(&err, &response, json);
        goto out;
    }
    if (!json) {
        result = print_list(documents, json_is_string(next));
        goto out;
    }
    json_t *whole = json_pack("{s:O, s:O?}", "documents", documents, "next", next);
    result = command_print_json(whole);
    json_decref(whole);
out:
    response_free(&response);
    json_decref(documents);
    client_free(client);
    return result;
}

/* ---- get ---- */

static const char get_help[] =
    "Usage: tekup documents get ID [--json]\n"
    "       tekup documents get SOURCE REPOSITORY PATH [--json]\n"
    "\n"
    "Prints one document, found by its id or by its place. Into a file or a pipe goes the content\n"
    "alone, byte for byte; on a terminal a few lines about the document stand before it.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is, with id, sha, metadata and times\n"
    "\n"
    "Examples:\n"
    "  tekup documents get local /usr/share/doc bash/README\n"
    "  tekup documents get cmb2k3x9d0000v8l4h2j5q7aa > README\n";

/* The target of one document: /v1/documents/ID, or by its place. */
static int document_target(struct buffer *target, char **words, int count, struct error *err)
{
    if (count == 1) {
        buffer_text(target, "/v1/documents");
        target_segment(target, words[0]);
    } else {
        buffer_text(target, "/v1/documents/by-path");
        target_add(target, "source", words[0]);
        target_add(target, "repository", words[1]);
        target_add(target, "path", words[2]);
    }
    return target->failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory") : 0;
}

/* ID, or SOURCE REPOSITORY PATH. Returns the number of words, or -1 after saying what is wrong. */
static int parse_place(const struct arguments *arguments, bool *json, char ***words)
{
    const struct option_spec specs[] = {{"json", NULL, json}, {0}};
    const char *names = "ID, or SOURCE REPOSITORY PATH,";
    const int count = options_parse(arguments, specs, 1, 3, names, words);
    if (count != 2) return count;
    options_wrong(arguments, "PATH is missing: it takes an ID, or SOURCE REPOSITORY PATH");
    return -1;
}

/* Calls the daemon about one document; the method is GET or DELETE. */
static int call_document(const char *method, char **words, int count, struct response *response,
                         struct error *err)
{
    struct buffer target = {0};
    *response = (struct response){0};
    int result = document_target(&target, words, count, err);
    if (result == 0) result = command_call(method, target.data, NULL, response, err);
    buffer_free(&target);
    return result;
}

static void print_about(const json_t *document, const struct terminal *terminal)
{
    static const char *const names[] = {"id", "source", "repository", "path", "sha", "updatedAt"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *value = field_text(document, names[i]);
        struct buffer clean = {0};
        text_clean(&clean, value, strlen(value), TEXT_ONE_LINE);
        printf("%s%-11s%s%s\n", terminal_style(terminal, STYLE_DIM), names[i],
               terminal_style(terminal, STYLE_NONE), clean.data != NULL ? clean.data : "-");
        buffer_free(&clean);
    }
    const json_t *metadata = json_object_get(document, "metadata");
    char *text = json_is_null(metadata) ? NULL : json_dumps(metadata, JSON_ENCODE_ANY);
    if (text != NULL) {
        struct buffer clean = {0};
        text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
        printf("%s%-11s%s%s\n", terminal_style(terminal, STYLE_DIM), "metadata",
               terminal_style(terminal, STYLE_NONE), clean.data != NULL ? clean.data : "");
        buffer_free(&clean);
    }
    free(text);
    putchar('\n');
}

static int print_document(const json_t *document)
{
    const struct terminal terminal = terminal_of(stdout);
    const json_t *content = json_object_get(document, "content");
    const char *text = json_is_string(content) ? json_string_value(content) : "";
    const size_t length = json_is_string(content) ? json_string_length(content) : 0;
    if (terminal.width == 0) {
        fwrite(text, 1, length, stdout);
        return command_finish();
    }
    print_about(document, &terminal);
    struct buffer clean = {0};
    text_clean(&clean, text, length, TEXT_LINES);
    if (clean.length > 0 && clean.data[clean.length - 1] != '\n') buffer_text(&clean, "\n");
    fwrite(clean.data != NULL ? clean.data : "", 1, clean.length, stdout);
    buffer_free(&clean);
    return command_finish();
}

static int run_get(const struct arguments *arguments)
{
    bool json = false;
    char **words;
    const int count = parse_place(arguments, &json, &words);
    if (count < 0) return EXIT_USAGE;
    struct error err = {0};
    struct response response;
    int result;
    if (call_document("GET", words, count, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_document(response.json);
    response_free(&response);
    return result;
}

/* ---- rm ---- */

static const char rm_help[] =
    "Usage: tekup documents rm ID [--json]\n"
    "       tekup documents rm SOURCE REPOSITORY PATH [--json]\n"
    "\n"
    "Removes one document with its passages and embeddings. A document that a sync brought in\n"
    "comes back with the next sync, unless it is gone at its source too.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is\n"
    "\n"
    "Example:\n"
    "  tekup documents rm notes me todo.txt\n";

static int run_rm(const struct arguments *arguments)
{
    bool json = false;
    char **words;
    const int count = parse_place(arguments, &json, &words);
    if (count < 0) return EXIT_USAGE;
    struct error err = {0};
    struct response response;
    int result;
    if (call_document("DELETE", words, count, &response, &err) != 0) {
        result = command_failed(&err, &response, json);
    } else if (json) {
        result = command_print_body(&response);
    } else {
        printf("removed %s\n", field_text(response.json, "id"));
        result = command_finish();
    }
    response_free(&response);
    return result;
}

/* ---- put ---- */

static const char put_help[] =
    "Usage: tekup documents put SOURCE REPOSITORY PATH [FILE] [--json]\n"
    "\n"
    "Writes one document: the text of FILE, or of the standard input without it. The document "
    "with\n"
    "the same source, repository and path is replaced. It can be found as soon as the command\n"
    "ends. SOURCE and REPOSITORY are names of your choosing; a sync of a repository with the same\n"
    "names removes what is not at its source.\n"
    "\n"
    "Options:\n"
    "  --json   the daemon's answer as it is\n"
    "\n"
    "Examples:\n"
    "  tekup documents put notes me meeting.md ~/meeting.md\n"
    "  git log -5 | tekup documents put notes me log.txt\n";

/* Reads a whole file into *content. */
static int read_all(int fd, const char *name, struct buffer *content, struct error *err)
{
    enum { BLOCK = 1 << 16 };
    char *block = malloc(BLOCK);
    if (block == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    int result = 0;
    for (;;) {
        const ssize_t got = read(fd, block, BLOCK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) result = error_set(err, ERR_IO, "FILE", "%s: %s", name, strerror(errno));
        if (got <= 0) break;
        buffer_append(content, block, (size_t)got);
        if (content->failed || content->length > READ_LIMIT) {
            result = error_set(err, ERR_TOO_LARGE, "FILE", "%s is larger than 1 GiB", name);
            break;
        }
    }
    free(block);
    return result;
}

static int read_content(const char *file, struct buffer *content, struct error *err)
{
    const bool standard_input = file == NULL || strcmp(file, "-") == 0;
    const char *name = standard_input ? "the standard input" : file;
    if (standard_input && isatty(STDIN_FILENO))
        command_note("type the text and end it with Ctrl-D, or name a FILE");
    const int fd = standard_input ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_set(err, ERR_IO, "FILE", "%s: %s", name, strerror(errno));
    const int result = read_all(fd, name, content, err);
    if (!standard_input) close(fd);
    if (result != 0) return result;
    if (content->length == 0) return error_set(err, ERR_INVALID, "content", "%s is empty", name);
    const size_t valid = utf8_valid_prefix(content->data, content->length);
    if (valid < content->length)
        return error_set(err, ERR_INVALID, "content", "%s is not UTF-8 text (byte %zu)", name,
                         valid);
    return 0;
}

static int print_put(const json_t *answer)
{
    char chunks[FIGURE_SIZE];
    const long long reused = field_integer(answer, "reused");
    printf("%s %s, %s %s", field_true(answer, "created") ? "added" : "replaced",
           field_text(answer, "id"), figure_count(field_integer(answer, "chunks"), chunks),
           field_integer(answer, "chunks") == 1 ? "passage" : "passages");
    if (reused > 0) printf(" (%s embedded before)", figure_count(reused, chunks));
    putchar('\n');
    return command_finish();
}

static int run_put(const struct arguments *arguments)
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    const int count = options_parse(arguments, specs, 3, 4, "SOURCE REPOSITORY PATH", &words);
    if (count < 0) return EXIT_USAGE;

    int result;
    struct error err = {0};
    struct response response = {0};
    struct buffer content = {0};
    json_t *body = NULL;
    if (read_content(count == 4 ? words[3] : NULL, &content, &err) == 0) {
        body = json_pack("{s:s, s:s, s:s, s:s%}", "source", words[0], "repository", words[1],
                         "path", words[2], "content", content.data, content.length);
        if (body == NULL)
            error_set(&err, ERR_INVALID, NULL, "SOURCE, REPOSITORY or PATH is not valid UTF-8");
    }
    buffer_free(&content);
    if (body == NULL || command_call("PUT", "/v1/documents", body, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print_put(response.json);
    response_free(&response);
    json_decref(body);
    return result;
}

/* ---- The table ---- */

static const struct command subcommands[] = {
    {.name = "list", .summary = "list documents", .help = list_help, .run = run_list},
    {.name = "get", .summary = "print one", .help = get_help, .run = run_get},
    {.name = "put", .summary = "write one", .help = put_help, .run = run_put},
    {.name = "rm", .summary = "remove one", .help = rm_help, .run = run_rm},
    {0},
};

const struct command command_documents = {
    .name = "documents",
    .summary = "list, read, write and remove single documents",
    .help = "Usage: tekup documents list|get|put|rm ...\n"
            "\n"
            "The documents that are searched. A document is known by its id, or by its source,\n"
            "repository and path together.\n",
    .commands = subcommands,
};
