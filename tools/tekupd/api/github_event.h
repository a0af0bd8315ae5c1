/*
 * github_event.h: what GitHub says in a delivery of a webhook, and whether GitHub it is that says
 * it.
 */
#ifndef TEKUPD_GITHUB_EVENT_H
#define TEKUPD_GITHUB_EVENT_H

#include "storage/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether this header X-Hub-Signature-256 (NULL: there is none) was made of this body by who knows
 * the secret. Takes a time that does not tell how much of it is right. */
bool github_signature_is_right(const char *signature, const char *secret, const void *body,
                               size_t length);

/* Whether an X-GitHub-Delivery or X-GitHub-Event may be one: up to 100 visible characters of ASCII.
 */
bool github_name_is_valid(const char *name);

/* The texts belong to the event; those that GitHub does not send are NULL. */
struct github_event {
    const char *name;       /* "push"; the caller's */
    const char *action;     /* "renamed" */
    const char *repository; /* "owner/name" */
    char *former;           /* what it was called before this event */
    const char *branch;     /* that was pushed to; of a push to a tag NULL */
    const char *default_branch;
    json_t *root;
};

/* Reads the body, JSON or (form) JSON as the field payload of a form. github_event_free is called
 * in any case. Errors: ERR_INVALID. */
int github_event_read(const char *name, const char *body, size_t length, bool form,
                      struct github_event *event, struct error *err);
void github_event_free(struct github_event *event);

/* Whether a push to this branch concerns a source with this config (a JSON object's text): it is
 * the default one, or among the config's `branches`, which may be patterns. */
bool github_event_is_wanted(const struct github_event *event, const char *config);

#endif
