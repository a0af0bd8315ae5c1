#include "tools/tekupd/sql/index_session.h"

#include "tools/tekupd/daemon.h"
#include "tools/tekupd/mirror/follower.h"
#include "tools/tekupd/sql/index_request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct session_search {
    struct daemon *daemon;
    struct passthrough_answer *answer;
    const char *text;
    struct index_request wanted;
};

bool index_session_password(void *arg, const char *password)
{
    return index_door_knows(&((struct daemon *)arg)->index_door, password);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void put_row(struct passthrough_answer *answer, const char *state, const char *document,
                    const char *similarity, const char *embedding)
{
    const char *const values[] = {state, document, similarity, embedding};
    passthrough_answer_row(answer, values, 4);
}

static void begin(struct passthrough_answer *answer)
{
    static const struct passthrough_column columns[] = {
        {"state", 25}, {"document", 25}, {"similarity", 701}, {"embedding", 20}};
    passthrough_answer_columns(answer, columns, 4);
}

static void end(struct passthrough_answer *answer, size_t rows)
{
    char tag[32];
    snprintf(tag, sizeof(tag), "SELECT %zu", rows);
    passthrough_answer_complete(answer, tag);
}

static void say(struct passthrough_answer *answer, const char *state, const char *reason)
{
    begin(answer);
    put_row(answer, state, reason, NULL, NULL);
    end(answer, 1);
}

static void put_hits(struct passthrough_answer *answer, const char *position,
                     const struct catalog_hits *hits)
{
    begin(answer);
    put_row(answer, "FOUND", position, NULL, NULL);
    for (size_t i = 0; i < hits->count; i++) {
        const struct catalog_hit *hit = &hits->hits[i];
        char similarity[32], embedding[32];
        float value = hit->similarity;
        if (value > 1) value = 1; /* rounding */
        if (value < -1) value = -1;
        snprintf(similarity, sizeof(similarity), "%.9g", (double)value);
        snprintf(embedding, sizeof(embedding), "%" PRId64, hit->embedding);
        put_row(answer, NULL, hit->document, similarity, embedding);
    }
    end(answer, hits->count + 1);
}

/* ---- Searching ------------------------------------------------------------------------------- */

static int search(struct daemon *daemon, struct replica *replica,
                  const struct index_request *wanted, struct catalog_hits *hits, struct error *err)
{
    struct catalog_filter filter;
    if (catalog_narrow(replica_catalog(replica), wanted->source, wanted->repository, NULL, NULL, 0,
                       &filter, err) != 0)
        return -1;
    const struct replica_query query = {.vector = wanted->vector,
                                        .limit = wanted->limit,
                                        .ef = atomic_load(&daemon->ef),
                                        .threshold = wanted->threshold,
                                        .filter = &filter,
                                        .speed = daemon->speed};
    const int rc = replica_search(replica, &query, hits, err);
    catalog_filter_free(&filter);
    return rc;
}

/* The position is taken first: the replica that is searched is as new as that, or newer. */
static void answer_search(struct session_search *job)
{
    struct daemon *daemon = job->daemon;
    struct error err = {0};
    struct catalog_hits hits = {0};
    char *position = daemon->follower != NULL ? follower_applied(daemon->follower) : NULL;
    struct replica *replica = position != NULL ? mirror_use(&daemon->mirror) : NULL;
    if (replica == NULL) {
        say(job->answer, "UNREADY", "the index does not follow the database now");
    } else if (search(daemon, replica, &job->wanted, &hits, &err) != 0) {
        say(job->answer, err.code == ERR_INVALID ? "INVALID" : "UNREADY", err.message);
    } else {
        put_hits(job->answer, position, &hits);
    }
    catalog_hits_free(&hits);
    replica_release(replica);
    free(position);
}

static void run(void *arg)
{
    struct session_search *job = arg;
    struct error err = {0};
    const int rc = index_request_read(job->text, &job->wanted, &err);
    if (rc != 0 && err.field[0] == '\0')
        passthrough_answer_error(job->answer, "42601", err.message);
    else if (!index_door_knows(&job->daemon->index_door, job->wanted.secret))
        passthrough_answer_error(job->answer, "28P01", "this is not the secret of this daemon");
    else if (rc != 0)
        say(job->answer, "INVALID", err.message);
    else
        answer_search(job);
    index_request_free(&job->wanted);
    passthrough_answer_end(job->answer);
    free(job);
}

/* On the pass-through's thread, which goes on with its clients meanwhile. */
void index_session_query(void *arg, struct passthrough_answer *answer, const char *text)
{
    struct daemon *daemon = arg;
    struct session_search *job = malloc(sizeof(*job));
    if (job != NULL) {
        job->daemon = daemon;
        job->answer = answer;
        job->text = text;
        if (workers_submit(daemon->searchers, run, job) == 0) return;
        free(job);
    }
    say(answer, "UNREADY", "the daemon is busy");
    passthrough_answer_end(answer);
}
