/*
 * api_webhook.c: GitHub says that something has changed.
 *
 * Nothing of a delivery is looked at before its signature is known to be right, and nothing of it
 * is written anywhere but its names. A sync takes no harm from being asked for twice, but a push
 * must not be lost: a delivery counts as one that was here when the sync has been asked for, so
 * that one which failed can be delivered again (GitHub keeps its X-GitHub-Delivery then).
 */
#include "tools/tekupd/api/api.h"

#include "ingest/http/secret.h"
#include "storage/base/log.h"
#include "storage/deliveries.h"
#include "storage/sources.h"
#include "tools/tekupd/api/github_event.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/json_write.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECRET_VARIABLE "TEKUP_GITHUB_WEBHOOK_SECRET"
#define KIND "github"

struct delivery {
    struct daemon *daemon;
    struct delivery_names names;
    struct github_event event;
    const char *result, *reason; /* what became of it, and why nothing did */
    struct buffer queued;        /* the sources whose sync was asked for, as JSON */
};

/* ---- Whether it is GitHub's ------------------------------------------------------------------ */

static void refuse(struct http_request *request, int status, const char *message)
{
    struct buffer body = {0};
    log_warn("webhook.refused", "service=" KIND " status=%d delivery=%s reason=%s", status,
             log_quote(http_header(request, "X-GitHub-Delivery")), log_quote(message));
    http_write_refusal(&body, false, status, NULL, message);
    http_respond(request, status, &body);
}

/* Returns whether it is; otherwise it has been answered. What is wrong with the secret here is not
 * the business of who asks. */
static bool is_signed(struct daemon *daemon, struct http_request *request)
{
    const char *file = daemon->config.github_webhook_secret_file;
    const char *variable = getenv(SECRET_VARIABLE) != NULL ? SECRET_VARIABLE : NULL;
    const char *signature = http_header(request, "X-Hub-Signature-256");
    struct error err = {0};
    char *secret = NULL;
    size_t length;
    const char *body = http_body(request, &length);
    if (secret_read(variable, *file != '\0' ? file : NULL, "github.webhook_secret_file", &secret,
                    &err) != 0) {
        log_error("webhook.secret", "service=" KIND " error=%s", log_quote(err.message));
        refuse(request, 503, "the webhook's secret cannot be read; the log of tekupd has more");
        return false;
    }
    if (secret == NULL) {
        refuse(request, 503,
               "no secret of the webhook is configured: set " SECRET_VARIABLE
               " in tekupd's environment, or webhook_secret_file in [github] of tekupd.conf");
        return false;
    }
    const bool right = github_signature_is_right(signature, secret, body, length);
    secret_forget(secret);
    if (!right)
        refuse(request, 401,
               signature == NULL ? "the delivery is not signed (X-Hub-Signature-256)"
                                 : "the signature of the delivery is wrong");
    return right;
}

/* ---- What it asks for ------------------------------------------------------------------------ */

/* Repositories have the same name in any case of letters. */
static bool is_about(const struct github_event *event, const struct source *source)
{
    return strcmp(source->source, KIND) == 0 &&
           ((event->repository != NULL && strcasecmp(event->repository, source->repository) == 0) ||
            (event->former != NULL && strcasecmp(event->former, source->repository) == 0));
}

static int ask_for_sync(struct delivery *delivery, const struct source *source, struct error *err)
{
    struct syncer *syncer = api_syncer(delivery->daemon, err);
    if (syncer == NULL) return -1;
    const int rc = syncer_request_again(syncer, KIND, source->repository, err);
    if (rc < 0) return err->code == ERR_NOT_FOUND ? 0 : -1; /* removed a moment ago */
    delivery->result = "queued";
    json_put_open(&delivery->queued, '{');
    json_field_text(&delivery->queued, "source", KIND);
    json_field_text(&delivery->queued, "repository", source->repository);
    json_field_boolean(&delivery->queued, "again", rc == 1);
    json_put_close(&delivery->queued, '}');
    return 0;
}

static int take(struct delivery *delivery, const struct source *source, struct error *err)
{
    const bool push = strcmp(delivery->event.name, "push") == 0;
    bool known;
    if (push && !github_event_is_wanted(&delivery->event, source->config)) {
        if (strcmp(delivery->result, "ignored") == 0)
            delivery->reason = "the source is not made of what was pushed to";
        return 0;
    }
    if (delivery_is_known(delivery->daemon->pool, KIND, &delivery->names, &known, err) != 0)
        return -1;
    if (!known) return ask_for_sync(delivery, source, err);
    delivery->result = "replayed";
    delivery->reason = "this delivery was here before";
    return 0;
}

static void enter(const struct delivery *delivery)
{
    struct error err = {0};
    if (delivery_enter(delivery->daemon->pool, KIND, &delivery->names, &err) != 0)
        log_warn("webhook.not_entered", "service=" KIND " delivery=%s error=%s",
                 log_quote(delivery->names.id), log_quote(err.message));
}

static int tell_sources(struct delivery *delivery, struct error *err)
{
    struct source *sources = NULL;
    size_t count = 0;
    delivery->reason = "there is no such source";
    if (sources_list(delivery->daemon->pool, &sources, &count, err) != 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        if (rc == 0 && is_about(&delivery->event, &sources[i]))
            rc = take(delivery, &sources[i], err);
        source_free(&sources[i]);
    }
    free(sources);
    if (rc != 0 || strcmp(delivery->result, "queued") != 0) return rc;
    delivery->reason = NULL;
    enter(delivery);
    return 0;
}

/* What happened to a repository as a whole; a sync then says in its status what that means. */
static bool changes_repository(const struct github_event *event)
{
    static const char *const actions[] = {"renamed",    "transferred", "deleted",    "archived",
                                          "unarchived", "publicized",  "privatized", NULL};
    if (strcmp(event->name, "repository") != 0 || event->action == NULL) return false;
    for (size_t i = 0; actions[i] != NULL; i++)
        if (strcmp(actions[i], event->action) == 0) return true;
    return false;
}

static int act(struct delivery *delivery, struct error *err)
{
    const struct github_event *event = &delivery->event;
    if (strcmp(event->name, "push") == 0 && event->branch == NULL) {
        delivery->reason = "not a push to a branch";
        return 0;
    }
    if (strcmp(event->name, "push") != 0 && !changes_repository(event)) {
        delivery->reason = "nothing is to be done about this event";
        return 0;
    }
    return tell_sources(delivery, err);
}

/* ---- The call -------------------------------------------------------------------------------- */

static int read_delivery(struct http_request *request, struct delivery *delivery, struct error *err)
{
    const char *name = http_header(request, "X-GitHub-Event");
    const bool form = http_body_kind(request) == HTTP_FORM;
    size_t length;
    const char *body = http_body(request, &length);
    delivery->names.id = http_header(request, "X-GitHub-Delivery");
    if (name == NULL || !github_name_is_valid(name))
        return error_set(err, ERR_INVALID, "X-GitHub-Event", "the header X-GitHub-Event %s",
                         name == NULL ? "is missing" : "is none");
    if (delivery->names.id == NULL || !github_name_is_valid(delivery->names.id))
        return error_set(err, ERR_INVALID, "X-GitHub-Delivery", "the header X-GitHub-Delivery %s",
                         delivery->names.id == NULL ? "is missing" : "is none");
    delivery_name_body(&delivery->names, body, length);
    return github_event_read(name, body, length, form, &delivery->event, err);
}

static void log_delivery(const struct delivery *delivery)
{
    const struct github_event *event = &delivery->event;
    log_info("webhook.delivery",
             "service=" KIND " event=%s action=%s repository=%s former=%s branch=%s delivery=%s "
             "result=%s",
             log_quote(event->name), log_quote(event->action), log_quote(event->repository),
             log_quote(event->former), log_quote(event->branch), log_quote(delivery->names.id),
             delivery->result);
    if (event->former != NULL && strcmp(delivery->result, "queued") == 0)
        log_warn("webhook.renamed", "service=" KIND " repository=%s now=%s advice=%s",
                 log_quote(event->former), log_quote(event->repository),
                 log_quote("add the source under its new name: pushes are told under that"));
}

static void respond(struct http_request *request, struct delivery *delivery)
{
    struct buffer body = {0};
    json_put_open(&body, '{');
    json_field_text(&body, "event", delivery->event.name);
    json_field_text(&body, "delivery", delivery->names.id);
    json_field_text(&body, "result", delivery->result);
    json_field_text(&body, "reason", delivery->reason);
    json_put_key(&body, "queued");
    json_put_open(&body, '[');
    if (delivery->queued.length > 0)
        buffer_append(&body, delivery->queued.data, delivery->queued.length);
    json_put_close(&body, ']');
    json_put_close(&body, '}');
    http_respond(request, 202, &body);
}

void api_webhook_github(struct daemon *daemon, struct http_request *request)
{
    struct delivery delivery = {.daemon = daemon, .result = "ignored"};
    struct error err = {0};
    if (!is_signed(daemon, request)) return;
    if (api_no_query(request, &err) != 0 || read_delivery(request, &delivery, &err) != 0) {
        api_fail(daemon, request, &err);
    } else if (strcmp(delivery.event.name, "ping") == 0) {
        delivery.result = "pong";
        log_delivery(&delivery);
        respond(request, &delivery);
    } else if (act(&delivery, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        log_delivery(&delivery);
        respond(request, &delivery);
    }
    github_event_free(&delivery.event);
    buffer_free(&delivery.queued);
}
