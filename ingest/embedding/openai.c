/*
 * openai.c: the provider: who sends what.
 *
 * There are no threads here. Whoever calls puts its texts into the queue; then, as long as texts of
 * its own are not done, it takes what is at the head of the queue, its own or others', and sends
 * it, if there is room for one more request, or else waits. While requests are on their way the
 * queue grows, so that batches are the larger the more there is to do.
 */
#include "ingest/embedding/openai.h"

#include "ingest/clock.h"
#include "ingest/embedding/openai_cache.h"
#include "ingest/embedding/openai_send.h"
#include "ingest/http/secret.h"
#include "storage/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LOOK_EACH_S 0.2
#define GATHER_S 0.05

/* A call that waits for its texts. */
struct caller {
    const struct embed_call *call;
    size_t left; /* texts that are queued or on their way */
    bool failed;
    struct error err;
};

struct item {
    TAILQ_ENTRY(item) link;
    const struct embed_text *text;
    float *vector;
    bool *refused; /* NULL: may not be */
    struct caller *caller;
};

TAILQ_HEAD(items, item);

struct openai {
    struct openai_server server;
    struct openai_cache *cache;
    int batch_texts, batch_bytes, parallel;
    pthread_mutex_t lock; /* protects what follows, and the callers */
    pthread_cond_t changed;
    struct items queue;
    size_t queued_bytes;
    int queued;
    double since; /* when the queue began to wait, by the monotonic clock */
    int on_way;
};

/* ---- A batch ---- */

struct batch {
    struct item **items;
    const struct embed_text **texts;
    float **vectors;
    size_t count;
};

static void batch_free(struct batch *batch)
{
    free(batch->items);
    free(batch->texts);
    free(batch->vectors);
}

static int batch_create(struct batch *batch, size_t room)
{
    *batch = (struct batch){.items = calloc(room, sizeof(*batch->items)),
                            .texts = calloc(room, sizeof(*batch->texts)),
                            .vectors = calloc(room, sizeof(*batch->vectors))};
    if (batch->items != NULL && batch->texts != NULL && batch->vectors != NULL) return 0;
    batch_free(batch);
    return -1;
}

/* These two under the lock. */
static void enter_queue(struct openai *openai, struct item *item, bool first)
{
    if (openai->queued++ == 0) openai->since = clock_now();
    openai->queued_bytes += item->text->length;
    if (first)
        TAILQ_INSERT_HEAD(&openai->queue, item, link);
    else
        TAILQ_INSERT_TAIL(&openai->queue, item, link);
}

static void leave_queue(struct openai *openai, struct item *item)
{
    TAILQ_REMOVE(&openai->queue, item, link);
    openai->queued_bytes -= item->text->length;
    openai->queued--;
    openai->since = clock_now(); /* what is left waits from now on */
}

/* Takes from the head of the queue what fits into a request. Under the lock. */
static void take(struct openai *openai, struct batch *batch)
{
    size_t bytes = 0;
    struct item *item;
    while ((item = TAILQ_FIRST(&openai->queue)) != NULL) {
        const size_t length = item->text->length;
        if (batch->count == (size_t)openai->batch_texts ||
            (batch->count > 0 && bytes + length > (size_t)openai->batch_bytes))
            break;
        leave_queue(openai, item);
        bytes += length;
        batch->items[batch->count] = item;
        batch->texts[batch->count] = item->text;
        batch->vectors[batch->count++] = item->vector;
    }
}

/* Takes a caller's texts out of the queue. Under the lock. */
static void withdraw(struct openai *openai, struct caller *caller)
{
    struct item *item, *next;
    for (item = TAILQ_FIRST(&openai->queue); item != NULL; item = next) {
        next = TAILQ_NEXT(item, link);
        if (item->caller != caller) continue;
        leave_queue(openai, item);
        caller->left--;
    }
}

/* How the texts from `begin` on end: err NULL where they have their vectors. Those of others go
 * back into the queue where it was only the sender who was stopped. */
static void settle(struct openai *openai, const struct batch *batch, size_t begin, size_t count,
                   const struct caller *sender, const struct error *err)
{
    pthread_mutex_lock(&openai->lock);
    for (size_t i = begin + count; i-- > begin;) {
        struct item *item = batch->items[i];
        struct caller *caller = item->caller;
        if (err != NULL && err->code == ERR_CANCELLED && caller != sender && !caller->failed) {
            enter_queue(openai, item, true);
            continue;
        }
        caller->left--;
        if (err == NULL || caller->failed) continue;
        caller->failed = true;
        caller->err = *err;
        withdraw(openai, caller);
    }
    pthread_cond_broadcast(&openai->changed);
    pthread_mutex_unlock(&openai->lock);
}

/* One text that the server does not take. */
static void refuse(struct openai *openai, const struct batch *batch, size_t at,
                   const struct caller *sender, const struct error *why)
{
    struct item *item = batch->items[at];
    if (item->refused == NULL) {
        settle(openai, batch, at, 1, sender, why);
        return;
    }
    log_warn("embedding.refused", "bytes=%zu error=%s", item->text->length,
             log_quote(why->message));
    *item->refused = true;
    settle(openai, batch, at, 1, sender, NULL);
}

/* Sends a part of a batch; where the server refuses it, each half by itself. */
static void send_part(struct openai *openai, const struct batch *batch, size_t begin, size_t count,
                      const struct caller *sender)
{
    struct error err = {0};
    const enum openai_verdict verdict = openai_send(
        &openai->server, sender->call, batch->texts + begin, count, batch->vectors + begin, &err);
    if (verdict == OPENAI_DONE) {
        settle(openai, batch, begin, count, sender, NULL);
    } else if (verdict == OPENAI_FAILED) {
        settle(openai, batch, begin, count, sender, &err);
    } else if (count > 1) {
        send_part(openai, batch, begin, count / 2, sender);
        send_part(openai, batch, begin + count / 2, count - count / 2, sender);
    } else {
        /* A server that takes nothing at all does not mean the text. */
        struct error why = err;
        if (openai_is_proven(&openai->server, sender->call, &err)) {
            refuse(openai, batch, begin, sender, &why);
        } else {
            if (err.code == ERR_INVALID) err.code = ERR_UNAVAILABLE;
            settle(openai, batch, begin, count, sender, &err);
        }
    }
}

/* Takes what is in the queue and sends it. Under the lock, which is let go meanwhile. */
static void send_next(struct openai *openai, const struct caller *sender)
{
    struct batch batch;
    if (batch_create(&batch, (size_t)openai->batch_texts) != 0) {
        struct caller *own = (struct caller *)sender;
        error_set(&own->err, ERR_INTERNAL, NULL, "out of memory");
        own->failed = true;
        withdraw(openai, own);
        return;
    }
    take(openai, &batch);
    openai->on_way++;
    pthread_mutex_unlock(&openai->lock);
    send_part(openai, &batch, 0, batch.count, sender);
    batch_free(&batch);
    pthread_mutex_lock(&openai->lock);
    openai->on_way--;
    pthread_cond_broadcast(&openai->changed);
}

/* ---- Callers ---- */

/* Whether what is in the queue is to be sent now. Under the lock. */
static bool is_ripe(const struct openai *openai)
{
    if (openai->queued == 0 || openai->on_way >= openai->parallel) return false;
    return openai->on_way == 0 || openai->queued >= openai->batch_texts ||
           openai->queued_bytes >= (size_t)openai->batch_bytes ||
           clock_now() - openai->since >= GATHER_S;
}

/* Returns when no text of the caller is queued or on its way. Under the lock. */
static void work_until_done(struct openai *openai, struct caller *caller)
{
    const atomic_bool *stop = caller->call->stop;
    while (caller->left > 0) {
        if (stop != NULL && atomic_load(stop) && !caller->failed) {
            caller->failed = true;
            error_set(&caller->err, ERR_CANCELLED, NULL, "interrupted");
            withdraw(openai, caller);
        } else if (!caller->failed && is_ripe(openai)) {
            send_next(openai, caller);
        } else {
            const struct timespec until = clock_after(openai->queued > 0 ? GATHER_S : LOOK_EACH_S);
            pthread_cond_timedwait(&openai->changed, &openai->lock, &until);
        }
    }
}

static int embed_documents(struct openai *openai, const struct embed_call *call, struct error *err)
{
    struct caller caller = {.call = call, .left = call->count};
    struct item *items = calloc(call->count + 1, sizeof(*items));
    if (items == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    pthread_mutex_lock(&openai->lock);
    for (size_t i = 0; i < call->count; i++) {
        items[i] = (struct item){.text = &call->texts[i],
                                 .vector = call->out + i * EMBEDDING_DIM,
                                 .refused = call->refused != NULL ? &call->refused[i] : NULL,
                                 .caller = &caller};
        enter_queue(openai, &items[i], false);
    }
    work_until_done(openai, &caller);
    pthread_mutex_unlock(&openai->lock);
    free(items);
    if (!caller.failed) return 0;
    if (err != NULL) *err = caller.err;
    return -1;
}

/* Queries are few and waited for: each goes by itself and at once. */
static int embed_query(struct openai *openai, const struct embed_call *call, struct error *err)
{
    for (size_t i = 0; i < call->count; i++) {
        const struct embed_text *text = &call->texts[i];
        float *vector = call->out + i * EMBEDDING_DIM;
        if (openai_cache_get(openai->cache, text, vector)) continue;
        if (openai_send(&openai->server, call, &text, 1, &vector, err) != OPENAI_DONE) return -1;
        openai_cache_put(openai->cache, text, vector);
    }
    return 0;
}

static int embed(void *state, const struct embed_call *call, struct error *err)
{
    return call->is_query ? embed_query(state, call, err) : embed_documents(state, call, err);
}

/* ---- Making one ---- */

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

bool openai_takes_dimensions(const char *model)
{
    return strncmp(model, "text-embedding-3", 16) == 0;
}

/* The key's header, whose name depends on who it is for. */
static int read_key(struct openai_server *server, const struct openai_options *options,
                    struct error *err)
{
    char *key = NULL;
    const bool needed = is_given(options->key_env) || is_given(options->key_file) ||
                        !is_given(options->base_url) || server->azure ||
                        getenv("OPENAI_API_KEY") != NULL;
    const char *env = is_given(options->key_env) ? options->key_env : "OPENAI_API_KEY";
    const bool from_file = is_given(options->key_file);
    if (!needed) return 0;
    if (secret_read(from_file ? NULL : env, from_file ? options->key_file : NULL,
                    from_file ? "embedding.api_key_file" : "embedding.api_key_env", &key, err) != 0)
        return -1;
    if (server->azure) {
        server->key = key;
        return 0;
    }
    const int length = asprintf(&server->key, "Bearer %s", key);
    if (length < 0) server->key = NULL;
    secret_forget(key);
    return length >= 0 ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static int make_url(struct openai_server *server, const struct openai_options *options,
                    struct error *err)
{
    const char *base = is_given(options->base_url) ? options->base_url : OPENAI_BASE_URL;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/') length--;
    if (strncmp(base, "http://", 7) != 0 && strncmp(base, "https://", 8) != 0)
        return error_set(err, ERR_INVALID, "embedding.base_url",
                         "embedding.base_url must begin with http:// or https://");
    const char *version = is_given(options->api_version) ? options->api_version : "";
    if (asprintf(&server->url, "%.*s/embeddings%s%s", (int)length, base,
                 *version != '\0' ? "?api-version=" : "", version) >= 0)
        return 0;
    server->url = NULL;
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void close_openai(void *state)
{
    struct openai *openai = state;
    openai_cache_free(openai->cache);
    pthread_mutex_destroy(&openai->server.lock);
    pthread_mutex_destroy(&openai->lock);
    pthread_cond_destroy(&openai->changed);
    secret_forget(openai->server.key);
    free(openai->server.url);
    free(openai->server.model);
    free(openai);
}

struct openai *openai_create(const struct openai_options *options, struct error *err)
{
    struct openai *openai = calloc(1, sizeof(*openai));
    if (openai == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
        return NULL;
    }
    clock_condition(&openai->changed);
    pthread_mutex_init(&openai->lock, NULL);
    pthread_mutex_init(&openai->server.lock, NULL);
    TAILQ_INIT(&openai->queue);
    openai->batch_texts = options->batch_texts;
    openai->batch_bytes = options->batch_bytes;
    openai->parallel = options->parallel;
    openai->server.http = options->http;
    openai->server.azure = is_given(options->api_version);
    openai->server.dimensions = options->ask_dimensions ? EMBEDDING_DIM : 0;
    openai->server.model = strdup(options->model);
    openai->cache = openai_cache_create();
    if (openai->server.model == NULL || openai->cache == NULL)
        error_set(err, ERR_INTERNAL, NULL, "out of memory");
    else if (make_url(&openai->server, options, err) == 0 &&
             read_key(&openai->server, options, err) == 0)
        return openai;
    close_openai(openai);
    return NULL;
}

const struct embed_provider embed_openai = {
    .name = "openai", .embed = embed, .close = close_openai};
