#include "tools/tekup/command.h"

#include "tools/tekup/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *text, const char *option)
{
    struct buffer clean = {0};
    text_clean(&clean, text, strlen(text), TEXT_ONE_LINE);
    if (option != NULL) {
        buffer_text(&clean, " (");
        text_clean(&clean, option, strlen(option), TEXT_ONE_LINE);
        buffer_text(&clean, ")");
    }
    /* What is on stdout already comes first where both go to one place. */
    fflush(stdout);
    fprintf(stderr, "tekup: %s\n", clean.data != NULL && !clean.failed ? clean.data : text);
    buffer_free(&clean);
}

void command_note(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    say(text, NULL);
}

int command_failed(const struct error *err, const struct response *response, bool json)
{
    return command_failed_option(err, response, json, NULL);
}

int command_failed_option(const struct error *err, const struct response *response, bool json,
                          const char *option)
{
    if (json && response != NULL && json_is_object(response->json)) {
        command_print_body(response);
    } else if (json) {
        json_t *field = *err->field != '\0' ? json_string(err->field) : json_null();
        json_t *object =
            json_pack("{s:{s:s, s:s, s:o}}", "error", "code", error_code_name(err->code), "message",
                      err->message, "field", field);
        if (object != NULL) command_print_json(object);
        json_decref(object);
    }
    say(err->message, option);
    return EXIT_FAILED;
}

int command_finish(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) return EXIT_DONE;
    fprintf(stderr, "tekup: the output could not be written: %s\n", strerror(errno));
    return EXIT_FAILED;
}

static int print_json(const char *text, size_t length)
{
    const struct terminal terminal = terminal_of(stdout);
    if (terminal.width > 0) {
        struct buffer escaped = {0};
        text_json(&escaped, text, length);
        fwrite(escaped.data != NULL ? escaped.data : "", 1, escaped.length, stdout);
        buffer_free(&escaped);
    } else {
        fwrite(text, 1, length, stdout);
    }
    if (length == 0 || text[length - 1] != '\n') fputc('\n', stdout);
    return command_finish();
}

int command_print_body(const struct response *response)
{
    return print_json(response->body, response->length);
}

int command_print_json(const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    if (text == NULL) {
        command_note("out of memory");
        return EXIT_FAILED;
    }
    const int result = print_json(text, strlen(text));
    free(text);
    return result;
}

int command_call(const char *method, const char *target, const json_t *body,
                 struct response *response, struct error *err)
{
    *response = (struct response){0};
    struct client *client = client_create(err);
    if (client == NULL) return -1;
    const int result = client_call(client, method, target, body, response, err);
    client_free(client);
    return result;
}

int command_ask(const struct arguments *arguments, const char *method, const char *target,
                int (*print)(const json_t *answer))
{
    bool json = false;
    const struct option_spec specs[] = {{"json", NULL, &json}, {0}};
    char **words;
    if (options_parse(arguments, specs, 0, 0, "", &words) < 0) return EXIT_USAGE;
    struct error err = {0};
    struct response response;
    int result;
    if (command_call(method, target, NULL, &response, &err) != 0)
        result = command_failed(&err, &response, json);
    else
        result = json ? command_print_body(&response) : print(response.json);
    response_free(&response);
    return result;
}

const char *field_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

long long field_integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

double field_number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

bool field_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}
