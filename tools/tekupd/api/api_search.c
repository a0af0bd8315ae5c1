/*
 * api_search.c: searches, one or many in a request.
 *
 * A request goes through steps: its searches are read; their texts are embedded, by the askers
 * where that means to ask a server; those with a metadata filter ask PostgreSQL which documents
 * match; the mirror is searched, and PostgreSQL's full-text index (search.c); the texts of the hits
 * are fetched; the answer is written. The steps that need PostgreSQL run on the clerks, the others
 * on the searchers, but for short searches, which the event loop answers itself: to wake another
 * thread, and then the loop again, would take as long as the search does. When PostgreSQL is away,
 * or all clerks are busy, the texts are left out, hybrid searches go by the vectors alone, and the
 * answer says so.
 *
 * With search.backend = postgres a clerk does all of it but the reading.
 */
#include "tools/tekupd/api/api.h"

#include "storage/base/log.h"
#include "storage/model.h"
#include "storage/vault/vault_text.h"
#include "tools/tekupd/http/http_error.h"
#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/keeper.h"
#include "tools/tekupd/models.h"
#include "tools/tekupd/search/search.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH_MOST = 256 };

enum { ANSWER_ROOM = 256, RESULT_ROOM = 256 }; /* bytes, without texts; most need no more */

struct job {
    struct daemon *daemon;
    struct http_request *request;
    struct replica *replica;   /* that is searched: the names of the hits are its own */
    struct embedder *embedder; /* of the texts; where there is a replica, of its model */
    bool batch;
    size_t count;
    struct search *searches;
    search_done done; /* takes the answer instead of the client; NULL: it is the client's */
    void *arg;
};

static void job_free(struct job *job)
{
    if (job == NULL) return;
    for (size_t i = 0; i < job->count; i++) search_free(&job->searches[i]);
    replica_release(job->replica);
    free(job->searches);
    free(job);
}

/* ---- The answer ------------------------------------------------------------------------------ */

static void put_response(struct buffer *body, const struct job *job, const struct search *search)
{
    const char *model = job->replica != NULL    ? replica_model(job->replica)
                        : job->embedder != NULL ? embedder_model(job->embedder)
                                                : models_serving(job->daemon->models);
    api_put_search(body, search, model, http_elapsed_ms(job->request));
}

/* Of a single search that failed. */
static void answer_failed(struct job *job)
{
    struct buffer none = {0};
    if (job->done != NULL)
        job->done(job->arg, &job->searches[0].err, &none);
    else
        api_fail(job->daemon, job->request, &job->searches[0].err);
    job_free(job);
}

/* A search of many counts with its share of the time that all of them took. */
static void note_time(const struct job *job)
{
    struct search_figures *figures = &job->daemon->searched;
    const double share = http_elapsed_ms(job->request) / 1e3 / (double)job->count;
    for (size_t i = 0; i < job->count; i++) {
        const struct search *search = &job->searches[i];
        if (search->err.code == ERR_NONE)
            search_figures_add(figures, search_mode_name(search->wanted.mode), share);
        else
            search_figures_fail(figures, search->err.code);
    }
}

/* The last step. */
static void answer(struct job *job)
{
    struct buffer body = {0};
    note_time(job);
    if (!job->batch && job->searches[0].err.code != ERR_NONE) {
        answer_failed(job);
        return;
    }
    if (!job->batch) {
        buffer_reserve(&body, ANSWER_ROOM + job->searches[0].found.count * RESULT_ROOM);
        put_response(&body, job, &job->searches[0]);
    } else {
        json_put_open(&body, '{');
        json_put_key(&body, "responses");
        json_put_open(&body, '[');
        for (size_t i = 0; i < job->count; i++) {
            const struct search *search = &job->searches[i];
            if (search->err.code == ERR_NONE) {
                put_response(&body, job, search);
                continue;
            }
            json_put_open(&body, '{');
            json_put_key(&body, "error");
            http_write_error(&body, &search->err);
            json_put_close(&body, '}');
        }
        json_put_close(&body, ']');
        json_put_close(&body, '}');
    }
    if (job->done != NULL) {
        job->done(job->arg, NULL, &body);
        buffer_free(&body);
    } else {
        http_respond(job->request, 200, &body);
    }
    job_free(job);
}

/* ---- Fetching -------------------------------------------------------------------------------- */

static bool wants_texts(const struct search *search)
{
    return search->err.code == ERR_NONE && search->wanted.include != 0 && search->found.count > 0;
}

static int highlight(struct daemon *daemon, struct search *search, struct error *err)
{
    const size_t count = search->found.count;
    struct vault_wanted wanted = {0};
    if (search->wanted.query == NULL) return 0;
    if (text_query_look_up(&search->text, daemon->pool, err) != 0 ||
        text_query_wanted(&search->text, &wanted, err) != 0)
        return -1;
    search->highlights = calloc(count, sizeof(*search->highlights));
    const char **texts = calloc(count, sizeof(*texts));
    struct vault_words *words = calloc(count, sizeof(*words));
    int rc = search->highlights != NULL && texts != NULL && words != NULL
                 ? 0
                 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    for (size_t i = 0; i < count && rc == 0; i++)
        texts[i] = search->passages[i].found ? search->passages[i].text : "";
    if (rc == 0) rc = vault_list_words(daemon->pool, texts, count, &wanted, words, err);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = text_query_find(&search->text, &words[i], &search->highlights[i].ranges,
                             &search->highlights[i].count, err);
    for (size_t i = 0; i < count && words != NULL; i++) vault_words_free(&words[i]);
    free(words);
    free(texts);
    free((void *)wanted.stems);
    free((void *)wanted.prefixes);
    return rc;
}

static int fetch_passages(struct daemon *daemon, struct search *search, struct error *err)
{
    const int include = search->wanted.include;
    const int what = ((include & (INCLUDE_CHUNK | INCLUDE_HIGHLIGHTS)) != 0 ? FETCH_CHUNK : 0) |
                     ((include & INCLUDE_CONTENT) != 0 ? FETCH_CONTENT : 0);
    int64_t *ids = malloc(search->found.count * sizeof(*ids));
    search->passages = calloc(search->found.count, sizeof(*search->passages));
    int rc = ids != NULL && search->passages != NULL
                 ? 0
                 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    for (size_t i = 0; i < search->found.count && rc == 0; i++)
        ids[i] = search->found.hits[i].embedding;
    if (rc == 0)
        rc = vault_fetch_passages(daemon->pool, ids, search->found.count, what, search->passages,
                                  err);
    free(ids);
    if (rc == 0 && (include & INCLUDE_HIGHLIGHTS) != 0) rc = highlight(daemon, search, err);
    return rc;
}

static void fetch_one(struct daemon *daemon, struct search *search)
{
    if (fetch_passages(daemon, search, &search->missing) == 0) return;
    search_drop_passages(search);
    if (search->missing.code == ERR_UNAVAILABLE)
        keeper_wake(daemon->keeper);
    else
        search->err = search->missing;
}

static void fetch(void *arg)
{
    struct job *job = arg;
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (!wants_texts(search)) continue;
        if (i > 0 && job->searches[i - 1].missing.code == ERR_UNAVAILABLE)
            search->missing = job->searches[i - 1].missing; /* no use in waiting again */
        else
            fetch_one(job->daemon, search);
    }
    answer(job);
}

/* ---- Searching ------------------------------------------------------------------------------- */

/* Texts have been embedded for the replica that there was then; without any there is nothing yet
 * that they could be compared with. */
static void search_all(struct job *job)
{
    if (job->embedder == NULL) job->replica = mirror_use(&job->daemon->mirror);
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (i > 0 && search->wordless.code == ERR_NONE)
            search->wordless = job->searches[i - 1].wordless; /* no use in waiting again */
        search_run(job->daemon, job->replica, NULL, search);
    }
}

static bool any_wants_texts(const struct job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        if (wants_texts(&job->searches[i])) return true;
    }
    return false;
}

static void search_in_memory(struct job *job)
{
    search_all(job);
    if (!any_wants_texts(job)) {
        answer(job);
    } else if (workers_submit(job->daemon->clerks, fetch, job) != 0) {
        for (size_t i = 0; i < job->count; i++) {
            if (wants_texts(&job->searches[i]))
                error_set(&job->searches[i].missing, ERR_UNAVAILABLE, NULL,
                          "too many requests are waiting for PostgreSQL");
        }
        answer(job);
    }
}

/* With metadata filters, or by words; on a clerk, who then does the rest as well. */
static void match_and_search(void *arg)
{
    struct job *job = arg;
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (search->err.code != ERR_NONE || search->wanted.metadata == NULL) continue;
        if (vault_match_metadata(job->daemon->pool, search->wanted.metadata, &search->matching,
                                 &search->match_count, &search->err) != 0) {
            search->matching = NULL;
            search->match_count = 0;
        } else if (search->matching == NULL) { /* no document, which is not no filter */
            search->matching = calloc(1, sizeof(char *));
            if (search->matching == NULL)
                error_set(&search->err, ERR_INTERNAL, NULL, "memory ran out");
        }
    }
    search_all(job);
    fetch(job);
}

/* ---- Searching in the database --------------------------------------------------------------- */

/* The vault serves another model since the job was begun: once more for that one. */
static void search_anew(struct job *job, struct search *search)
{
    struct models *models = job->daemon->models;
    search->err = (struct error){0};
    if (models_renew(models, &search->err) != 0) return;
    struct embedder *embedder = job->daemon->pipeline.embedder;
    if (job->embedder != NULL) job->embedder = embedder;
    if (search_request_embed(&search->wanted, embedder, &search->err) == 0)
        search_run(job->daemon, NULL, embedder_model(embedder), search);
    if (model_differs(&search->err)) search->err.code = ERR_UNAVAILABLE;
}

static void search_database(void *arg)
{
    struct job *job = arg;
    struct error away = {0}; /* the reason why it is no use to ask again */
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (search->err.code != ERR_NONE) continue;
        if (away.code != ERR_NONE)
            search->err = away;
        else
            search_run(job->daemon, NULL, embedder_model(job->embedder), search);
        if (model_differs(&search->err)) search_anew(job, search);
        if (search->err.code == ERR_UNAVAILABLE) away = search->err;
    }
    if (away.code != ERR_NONE) keeper_wake(job->daemon->keeper);
    fetch(job);
}

/* ---- The step after reading ------------------------------------------------------------------ */

static bool needs_clerk(const struct search *search)
{
    return search->wanted.metadata != NULL || search_has_words(search);
}

/* All clerks are busy, and their queue is full. What can be answered from memory is. */
static void begin_without_clerks(struct job *job, bool in_database)
{
    struct error busy = {0};
    error_set(&busy, ERR_UNAVAILABLE, NULL, "too many requests are waiting for PostgreSQL");
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (search->err.code != ERR_NONE || !(in_database || needs_clerk(search))) continue;
        if (!in_database && search->wanted.metadata == NULL && search->wanted.mode == MODE_HYBRID)
            search->wordless = busy;
        else
            search->err = busy;
    }
    if (in_database || (!job->batch && job->searches[0].err.code != ERR_NONE))
        answer(job);
    else
        search_in_memory(job);
}

static void begin(struct job *job)
{
    const bool in_database = job->daemon->follower == NULL;
    bool asks = in_database;
    for (size_t i = 0; i < job->count; i++) asks = asks || needs_clerk(&job->searches[i]);
    if (!asks)
        search_in_memory(job);
    else if (workers_submit(job->daemon->clerks, in_database ? search_database : match_and_search,
                            job) != 0)
        begin_without_clerks(job, in_database);
}

/* ---- Embedding ------------------------------------------------------------------------------- */

static bool asks_embedder(const struct search *search)
{
    return !search->wanted.has_vector && search_has_vector(search);
}

static void embed(void *arg)
{
    struct job *job = arg;
    struct error away = {0}; /* the reason why it is no use to ask again */
    for (size_t i = 0; i < job->count; i++) {
        struct search *search = &job->searches[i];
        if (search->err.code != ERR_NONE || !asks_embedder(search)) continue;
        if (away.code != ERR_NONE)
            search->err = away;
        else
            search_request_embed(&search->wanted, job->embedder, &search->err);
        if (search->err.code == ERR_UNAVAILABLE) away = search->err;
    }
    if (!job->batch && job->searches[0].err.code != ERR_NONE)
        answer(job);
    else
        begin(job);
}

/* An index is asked by its own model, whichever serves by now; the database by the one that serves.
 */
static int choose_embedder(struct job *job, bool asks, struct error *err)
{
    struct daemon *daemon = job->daemon;
    if (daemon->follower == NULL) {
        job->embedder = daemon->pipeline.embedder;
        return 0;
    }
    if (!asks) return 0;
    job->replica = mirror_use(&daemon->mirror);
    job->embedder = job->replica != NULL
                        ? models_embedder(daemon->models, replica_model(job->replica), err)
                        : daemon->pipeline.embedder;
    return job->embedder != NULL ? 0 : -1;
}

/* A server that is asked for embeddings must not keep searches waiting that need none. */
static void embed_first(struct job *job)
{
    struct error err = {0};
    bool asks = false;
    for (size_t i = 0; i < job->count; i++) asks = asks || asks_embedder(&job->searches[i]);
    if (choose_embedder(job, asks, &err) != 0) {
        for (size_t i = 0; i < job->count; i++) job->searches[i].err = err;
        answer(job);
        return;
    }
    /* What a text without a mode is searched by depends on who embeds it. */
    const bool by_hash =
        job->embedder != NULL && strcmp(embedder_provider(job->embedder), "hash") == 0;
    for (size_t i = 0; i < job->count; i++)
        if (job->searches[i].err.code == ERR_NONE) search_prepare(&job->searches[i], by_hash);
    if (!asks || !embedder_asks(job->embedder)) {
        embed(job);
    } else if (workers_submit(job->daemon->askers, embed, job) != 0) {
        for (size_t i = 0; i < job->count; i++)
            error_set(&job->searches[i].err, ERR_UNAVAILABLE, NULL,
                      "too many searches are waiting for their embeddings");
        answer(job);
    }
}

/* ---- Reading --------------------------------------------------------------------------------- */

static struct job *job_create(struct daemon *daemon, struct http_request *request, bool batch,
                              size_t count, struct error *err)
{
    struct job *job = calloc(1, sizeof(*job));
    struct search *searches = calloc(count > 0 ? count : 1, sizeof(*searches));
    if (job == NULL || searches == NULL) {
        error_set(err, ERR_INTERNAL, NULL, "memory ran out");
        free(job);
        free(searches);
        return NULL;
    }
    *job = (struct job){
        .daemon = daemon, .request = request, .batch = batch, .count = count, .searches = searches};
    return job;
}

/* Whether what the loop does of it takes so little time that handing it to another thread would
 * cost as much: the others of the loop can wait for it. What asks PostgreSQL or a server goes to
 * other threads anyway; a short text is embedded in less time than they take to wake. Not so
 * filters, with which a search may look at ten times as much, or at every document. */
static bool is_short(const struct daemon *daemon, const struct search *search)
{
    enum { SHORT_LIMIT = 50, SHORT_EF = 200, SHORT_TEXT = 1000 };
    const struct search_request *wanted = &search->wanted;
    const size_t ef = wanted->ef > 0 ? wanted->ef : atomic_load(&daemon->ef);
    return daemon->follower != NULL &&
           (wanted->has_vector || strnlen(wanted->query, SHORT_TEXT + 1) <= SHORT_TEXT) &&
           wanted->limit <= SHORT_LIMIT && ef <= SHORT_EF && wanted->diversity <= 0 &&
           wanted->source == NULL && wanted->repository == NULL && wanted->path_prefix == NULL;
}

static void hand_over(struct job *job, work_fn fn)
{
    if (workers_submit(job->daemon->searchers, fn, job) == 0) return;
    error_set(&job->searches[0].err, ERR_UNAVAILABLE, NULL,
              "too many requests are waiting already");
    answer(job);
}

static void go_on(void *arg)
{
    embed_first(arg);
}

static void read_search(struct job *job, bool on_loop)
{
    struct http_request *request = job->request;
    struct search *search = &job->searches[0];
    size_t length;
    const char *body = http_body(request, &length);
    if (http_body_kind(request) == HTTP_OCTETS) {
        search_request_from_octets(body, length, http_query(request), &search->wanted,
                                   &search->err);
    } else if (api_no_query(request, &search->err) == 0) {
        search_request_from_json(body, length, &search->wanted, &search->err);
    }
    if (search->err.code != ERR_NONE)
        answer(job);
    else if (on_loop && !is_short(job->daemon, search))
        hand_over(job, go_on);
    else
        embed_first(job);
}

static void read_elsewhere(void *arg)
{
    read_search(arg, false);
}

/* On the loop's thread, where short searches are answered. */
void api_search(struct daemon *daemon, struct http_request *request)
{
    enum { SHORT_BODY = 128 << 10 }; /* an embedding in JSON, with room for a filter */
    size_t length;
    struct error err = {0};
    struct job *job = job_create(daemon, request, false, 1, &err);
    http_body(request, &length);
    if (job == NULL)
        api_fail(daemon, request, &err);
    else if (length > SHORT_BODY)
        hand_over(job, read_elsewhere);
    else
        read_search(job, true);
}

void api_search_ask(struct daemon *daemon, struct http_request *request, const char *json,
                    size_t length, search_done done, void *arg)
{
    struct error err = {0};
    struct buffer none = {0};
    struct job *job = job_create(daemon, request, false, 1, &err);
    if (job == NULL) {
        done(arg, &err, &none);
        return;
    }
    job->done = done;
    job->arg = arg;
    struct search *search = &job->searches[0];
    if (search_request_from_json(json, length, &search->wanted, &search->err) != 0)
        answer(job);
    else
        embed_first(job);
}

static int count_searches(struct json_slice array, size_t *count, struct error *err)
{
    struct json_slice element;
    size_t at = 0;
    int rc;
    *count = 0;
    if (array.text == NULL) return error_set(err, ERR_INVALID, "searches", "searches is missing");
    while ((rc = json_next_element(array, &at, &element)) == 1) (*count)++;
    if (rc < 0) return error_set(err, ERR_INVALID, "searches", "searches must be an array");
    if (*count == 0 || *count > BATCH_MOST)
        return error_set(err, ERR_INVALID, "searches",
                         "searches must have 1 to %d elements, not %zu", BATCH_MOST, *count);
    return 0;
}

/* What is wrong with one of the searches is that one's answer; what is not JSON at all cannot be
 * told apart from the rest. */
static void read_searches(struct job *job, struct json_slice array)
{
    struct json_slice element;
    size_t at = 0;
    for (size_t i = 0; i < job->count && json_next_element(array, &at, &element) == 1; i++) {
        struct search *search = &job->searches[i];
        search_request_from_json(element.text, element.length, &search->wanted, &search->err);
    }
}

void api_search_batch(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"searches", NULL};
    static const char *const cut[] = {"searches", NULL};
    struct json_slice array;
    struct error err = {0};
    json_t *root = NULL;
    size_t count;
    if (api_read_body(request, known, cut, &array, &root, &err) != 0 ||
        count_searches(array, &count, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        struct job *job = job_create(daemon, request, true, count, &err);
        if (job != NULL) {
            read_searches(job, array);
            embed_first(job);
        } else {
            api_fail(daemon, request, &err);
        }
    }
    json_decref(root);
}
