/* github_event.c: see github_event.h. */
#include "tools/tekupd/api/github_event.h"

#include "ingest/wildmatch.h"
#include "storage/base/digest.h"
#include "tools/tekupd/http/json_body.h"
#include "tools/tekupd/http/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The signature --------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool github_signature_is_right(const char *signature, const char *secret, const void *body,
                               size_t length)
{
    static const char scheme[] = "sha256=";
    uint8_t said[SHA256_SIZE], right[SHA256_SIZE];
    if (signature == NULL || strncmp(signature, scheme, sizeof(scheme) - 1) != 0) return false;
    const char *digits = signature + sizeof(scheme) - 1;
    if (strlen(digits) != 2 * SHA256_SIZE) return false;
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        const int high = hex_digit(digits[2 * i]);
        const int low = hex_digit(digits[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        said[i] = (uint8_t)(high * 16 + low);
    }
    digest_hmac_sha256(secret, body, length, right);
    return digest_equal(said, right, SHA256_SIZE);
}

bool github_name_is_valid(const char *name)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~') return false;
    return length > 0 && length <= 100;
}

/* ---- The body -------------------------------------------------------------------------------- */

/* NULL where there is no such member, or what it holds is no text. */
static const char *text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* What is deep and long in a push is of no interest, and need not be read. */
static int parse(const char *text, size_t length, json_t **root, struct error *err)
{
    static const char *const cut[] = {"commits", "head_commit", NULL};
    struct json_slice slices[2] = {{NULL, 0}, {NULL, 0}};
    return json_body_parse(text, length, cut, slices, root, err);
}

static int parse_form(const char *body, size_t length, json_t **root, struct error *err)
{
    static const char *const known[] = {"payload", NULL};
    struct query form = {.text = NULL};
    char *copy = strndup(body, length);
    if (copy == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    int rc = query_parse(copy, known, &form, err);
    free(copy);
    const char *payload = rc == 0 ? query_get(&form, "payload") : NULL;
    if (rc == 0 && payload == NULL)
        rc = error_set(err, ERR_INVALID, "payload", "the form has no field payload");
    if (rc == 0) rc = parse(payload, strlen(payload), root, err);
    query_free(&form);
    return rc;
}

static char *join(const char *owner, size_t length, const char *name, bool *failed)
{
    char *joined = NULL;
    if (asprintf(&joined, "%.*s/%s", (int)length, owner, name) >= 0) return joined;
    *failed = true;
    return NULL;
}

/* What a repository that was renamed, or has gone to another owner, was called before. */
static char *former_name(const struct github_event *event, bool *failed)
{
    const char *slash = event->repository != NULL ? strchr(event->repository, '/') : NULL;
    const json_t *changes = json_object_get(event->root, "changes");
    if (slash == NULL || changes == NULL) return NULL;
    const json_t *renamed = json_object_get(json_object_get(changes, "repository"), "name");
    const char *name = text_of(renamed, "from");
    if (name != NULL)
        return join(event->repository, (size_t)(slash - event->repository), name, failed);
    const json_t *from = json_object_get(json_object_get(changes, "owner"), "from");
    const char *owner = text_of(json_object_get(from, "user"), "login");
    if (owner == NULL) owner = text_of(json_object_get(from, "organization"), "login");
    return owner != NULL ? join(owner, strlen(owner), slash + 1, failed) : NULL;
}

int github_event_read(const char *name, const char *body, size_t length, bool form,
                      struct github_event *event, struct error *err)
{
    static const char heads[] = "refs/heads/";
    bool failed = false;
    *event = (struct github_event){.name = name};
    if ((form ? parse_form : parse)(body, length, &event->root, err) != 0) return -1;
    const json_t *repository = json_object_get(event->root, "repository");
    event->action = text_of(event->root, "action");
    event->repository = text_of(repository, "full_name");
    event->default_branch = text_of(repository, "default_branch");
    event->former = former_name(event, &failed);
    const char *ref = text_of(event->root, "ref");
    if (strcmp(name, "push") == 0 && ref != NULL && strncmp(ref, heads, sizeof(heads) - 1) == 0)
        event->branch = ref + sizeof(heads) - 1;
    if (failed) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (strcmp(name, "push") == 0 && (ref == NULL || event->repository == NULL))
        return error_set(err, ERR_INVALID, ref == NULL ? "ref" : "repository.full_name",
                         "a push without %s", ref == NULL ? "ref" : "repository.full_name");
    return 0;
}

void github_event_free(struct github_event *event)
{
    json_decref(event->root);
    free(event->former);
    *event = (struct github_event){.root = NULL};
}

/* ---- Branches -------------------------------------------------------------------------------- */

static bool is_named(const char *branch, const char *pattern)
{
    return strcmp(branch, pattern) == 0 ||
           wildmatch(pattern, strlen(pattern), branch, strlen(branch));
}

bool github_event_is_wanted(const struct github_event *event, const char *config)
{
    bool wanted = false;
    size_t index;
    const json_t *value;
    if (event->branch == NULL) return false;
    if (event->default_branch != NULL && strcmp(event->branch, event->default_branch) == 0)
        return true;
    json_t *root = json_loads(config, 0, NULL);
    json_array_foreach(json_object_get(root, "branches"), index, value)
    {
        const char *pattern = json_string_value(value);
        wanted = wanted || (pattern != NULL && is_named(event->branch, pattern));
    }
    json_decref(root);
    return wanted;
}
