/* drive_auth.c: see drive_auth.h. */
#include "ingest/drive/drive_auth.h"

#include "ingest/drive/drive_key.h"
#include "ingest/http/http_client.h"
#include "ingest/http/secret.h"
#include "storage/base/buffer.h"

#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SCOPE "https://www.googleapis.com/auth/drive.readonly"
#define GRANT_JWT "urn:ietf:params:oauth:grant-type:jwt-bearer"

enum { EARLY_S = 60, ANSWER_MOST = 1 << 20, SECONDS_DEFAULT = 3600, SECONDS_MOST = 86400 };

struct drive_auth {
    const struct drive_config *config;
    const struct source_context *context;
    struct drive_key key; /* where config->key_file is given */
    char *client_secret, *refresh_token;
    const char *token_url;

    pthread_mutex_t lock; /* protects what follows, also while a token is asked for */
    char *value;          /* "Bearer ..." or NULL */
    int64_t good_until;   /* by the clock that does not jump */
    time_t skew;          /* how far the server's clock is ahead of ours */
};

/* ---- Opening ---- */

static int read_key(struct drive_auth *auth, struct error *err)
{
    static const char field[] = "config.keyFile";
    char *text = NULL;
    if (secret_read(NULL, auth->config->key_file, field, &text, err) != 0) return -1;
    const int status = drive_key_read(text, field, &auth->key, err);
    secret_forget(text);
    return status;
}

static int read_secrets(struct drive_auth *auth, struct error *err)
{
    const struct drive_config *config = auth->config;
    if (config->key_file != NULL) return read_key(auth, err);
    if (secret_read(config->client_secret_env, config->client_secret_file,
                    config->client_secret_env != NULL ? "config.clientSecretEnv"
                                                      : "config.clientSecretFile",
                    &auth->client_secret, err) != 0)
        return -1;
    return secret_read(config->refresh_token_env, config->refresh_token_file,
                       config->refresh_token_env != NULL ? "config.refreshTokenEnv"
                                                         : "config.refreshTokenFile",
                       &auth->refresh_token, err);
}

struct drive_auth *drive_auth_open(const struct drive_config *config,
                                   const struct source_context *context, struct error *err)
{
    struct drive_auth *auth = calloc(1, sizeof(*auth));
    if (auth == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    auth->config = config;
    auth->context = context;
    pthread_mutex_init(&auth->lock, NULL);
    if (read_secrets(auth, err) != 0) {
        drive_auth_close(auth);
        return NULL;
    }
    auth->token_url = config->token_url != NULL     ? config->token_url
                      : auth->key.token_url != NULL ? auth->key.token_url
                                                    : DRIVE_TOKEN_URL;
    return auth;
}

void drive_auth_close(struct drive_auth *auth)
{
    if (auth == NULL) return;
    drive_key_free(&auth->key);
    secret_forget(auth->client_secret);
    secret_forget(auth->refresh_token);
    secret_forget(auth->value);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}

const char *drive_auth_email(const struct drive_auth *auth)
{
    return auth->key.email;
}

/* ---- Asking ---- */

static void add_field(struct buffer *form, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, 0);
    if (escaped == NULL) {
        form->failed = true;
        return;
    }
    buffer_format(form, "%s%s=%s", form->length > 0 ? "&" : "", name, escaped);
    explicit_bzero(escaped, strlen(escaped));
    curl_free(escaped);
}

static int make_form(const struct drive_auth *auth, struct buffer *form, struct error *err)
{
    if (auth->config->key_file != NULL) {
        /* The audience is the endpoint as the key file spells it, wherever the call goes. */
        const char *audience = auth->key.token_url != NULL ? auth->key.token_url : auth->token_url;
        char *token = drive_key_sign(&auth->key, SCOPE, audience, auth->config->subject,
                                     time(NULL) + auth->skew, err);
        if (token == NULL) return -1;
        add_field(form, "grant_type", GRANT_JWT);
        add_field(form, "assertion", token);
        secret_forget(token);
    } else {
        add_field(form, "grant_type", "refresh_token");
        add_field(form, "client_id", auth->config->client_id);
        add_field(form, "client_secret", auth->client_secret);
        add_field(form, "refresh_token", auth->refresh_token);
    }
    return form->failed ? error_set(err, ERR_INTERNAL, NULL, "out of memory") : 0;
}

static void forget_form(struct buffer *form)
{
    if (form->data != NULL) explicit_bzero(form->data, form->length);
    buffer_free(form);
}

static int post(struct drive_auth *auth, struct http_response *response, struct error *err)
{
    const struct source_context *context = auth->context;
    struct buffer form = {0};
    int status = make_form(auth, &form, err);
    if (status == 0) {
        const struct http_request request = {
            .method = "POST",
            .url = auth->token_url,
            .body = form.data,
            .body_length = form.length,
            .content_type = "application/x-www-form-urlencoded",
            .repeatable = true,
            .response_most = ANSWER_MOST,
            .stop = context->stop,
            .waiting = context->waiting,
            .arg = context->arg,
        };
        status = http_perform(context->http, &request, response, err);
    }
    forget_form(&form);
    return status;
}

static int64_t now_steady(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

/* Takes the token over from an answer. */
static int keep_token(struct drive_auth *auth, const json_t *answer, struct error *err)
{
    const char *token = json_string_value(json_object_get(answer, "access_token"));
    const json_t *expires = json_object_get(answer, "expires_in");
    struct buffer value = {0};
    if (token == NULL || token[0] == '\0' || strpbrk(token, " \r\n\t") != NULL)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "Google's token endpoint gave an answer without a token");
    buffer_format(&value, "Bearer %s", token);
    char *made = buffer_take(&value);
    if (made == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    int64_t seconds = json_is_integer(expires) ? json_integer_value(expires) : SECONDS_DEFAULT;
    if (seconds > SECONDS_MOST) seconds = SECONDS_MOST;
    secret_forget(auth->value);
    auth->value = made;
    /* One that lives for less than twice that is used for half of its life. */
    auth->good_until = now_steady() + (seconds > 2 * EARLY_S ? seconds - EARLY_S : seconds / 2);
    return 0;
}

/* ---- What is wrong, in words ---- */

/* Whether a description from outside may be repeated: short, printable, and not our secret. */
static bool is_repeatable(const struct drive_auth *auth, const char *text)
{
    if (text == NULL || text[0] == '\0' || strlen(text) > 200) return false;
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) return false;
    return (auth->client_secret == NULL || strstr(text, auth->client_secret) == NULL) &&
           (auth->refresh_token == NULL || strstr(text, auth->refresh_token) == NULL) &&
           strstr(text, "eyJ") == NULL;
}

static bool is_about_clock(const char *description)
{
    return description != NULL &&
           (strstr(description, "timeframe") != NULL || strstr(description, "short-lived") != NULL);
}

static const char *advise(const struct drive_auth *auth, const char *code, const char *description)
{
    const bool account = auth->config->key_file != NULL;
    if (strcmp(code, "invalid_grant") == 0 && is_about_clock(description))
        return "this machine's clock is wrong: set it by NTP";
    if (strcmp(code, "invalid_grant") == 0 && account)
        return "the service account's key is not valid any more (deleted, disabled, or of an "
               "account that is gone), or config.subject is not a user of the domain: make a new "
               "key in the Google Cloud console";
    if (strcmp(code, "invalid_grant") == 0)
        return "the refresh token has expired or was revoked (one of an app in testing lives for 7 "
               "days): sign in again for a new one";
    if (strcmp(code, "invalid_client") == 0 || strcmp(code, "deleted_client") == 0)
        return "config.clientId and the client secret do not belong together, or the client was "
               "deleted";
    if (strcmp(code, "unauthorized_client") == 0 && account)
        return "the service account may not act for config.subject: an administrator grants it "
               "domain-wide delegation for the scope " SCOPE;
    if (strcmp(code, "unauthorized_client") == 0)
        return "the refresh token was given to another client than config.clientId";
    if (strcmp(code, "invalid_scope") == 0) return "the scope " SCOPE " is not granted";
    if (strcmp(code, "admin_policy_enforced") == 0)
        return "the domain's administrator does not allow this client to read Drive";
    return "the credentials were refused";
}

static int explain(const struct drive_auth *auth, long status, const json_t *answer,
                   struct error *err)
{
    const char *code = json_string_value(json_object_get(answer, "error"));
    const char *description = json_string_value(json_object_get(answer, "error_description"));
    if (code == NULL || status >= 500 || status == 429)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "Google's token endpoint answers with status %ld", status);
    const bool both = is_repeatable(auth, description);
    return error_set(err, ERR_UNAVAILABLE, NULL, "Google gives no access: %s (%s%s%s)",
                     advise(auth, code, description), is_repeatable(auth, code) ? code : "refused",
                     both ? ": " : "", both ? description : "");
}

/* Where the answer says that our clock is wrong: sets it right by the server's. */
static bool correct_clock(struct drive_auth *auth, const json_t *answer,
                          const struct http_response *response)
{
    const char *date = http_response_header(response, "Date");
    const char *description = json_string_value(json_object_get(answer, "error_description"));
    const time_t there = date != NULL ? curl_getdate(date, NULL) : -1;
    if (there == -1 || auth->config->key_file == NULL || !is_about_clock(description)) return false;
    auth->skew = there - time(NULL);
    return true;
}

static int ask(struct drive_auth *auth, bool again, bool *clock_corrected, struct error *err)
{
    struct http_response response = {0};
    *clock_corrected = false;
    if (post(auth, &response, err) != 0) return error_prefix(err, "Google's token endpoint");
    json_t *answer = json_loadb(response.body, response.length, 0, NULL);
    int status;
    if (response.status == 200) {
        status = keep_token(auth, answer, err);
    } else {
        *clock_corrected = again && correct_clock(auth, answer, &response);
        status = explain(auth, response.status, answer, err);
    }
    json_decref(answer);
    explicit_bzero(response.body, response.length);
    http_response_free(&response);
    return status;
}

static int renew(struct drive_auth *auth, struct error *err)
{
    bool clock_corrected;
    const int status = ask(auth, true, &clock_corrected, err);
    return clock_corrected ? ask(auth, false, &clock_corrected, err) : status;
}

int drive_auth_get(struct drive_auth *auth, const char *rejected, char **value, struct error *err)
{
    int status = 0;
    *value = NULL;
    pthread_mutex_lock(&auth->lock);
    const bool usable = auth->value != NULL && now_steady() < auth->good_until &&
                        (rejected == NULL || strcmp(auth->value, rejected) != 0);
    if (!usable) status = renew(auth, err);
    if (status == 0 && (*value = strdup(auth->value)) == NULL)
        status = error_set(err, ERR_INTERNAL, NULL, "out of memory");
    pthread_mutex_unlock(&auth->lock);
    return status;
}
