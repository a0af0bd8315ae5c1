#include "tools/tekupd/mirror/follow.h"

#include "storage/base/log.h"
#include "storage/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changes that are applied together. While they are, somebody who waits for a document of his own
 * has to wait as well. */
enum { PAGE = 256 };

/* Keys that are kept between two fences; half of them is reason enough for one. */
enum { RECENT = 16384 };

struct recent {
    size_t document_count, embedding_count;
    bool overflown; /* something is not in it */
    int64_t embeddings[RECENT];
    char documents[RECENT][DOCUMENT_ID_SIZE];
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* ---- Fences ---------------------------------------------------------------------------------- */

static void forget_recent(struct follow *follow)
{
    if (follow->recent == NULL) return;
    follow->recent->document_count = follow->recent->embedding_count = 0;
    follow->recent->overflown = false;
}

static int make_recent(struct follow *follow, struct error *err)
{
    if (follow->recent == NULL) follow->recent = calloc(1, sizeof(*follow->recent));
    return follow->recent != NULL ? 0 : out_of_memory(err);
}

static void remember_document(struct recent *recent, const char *id)
{
    if (strlen(id) >= DOCUMENT_ID_SIZE) return; /* no replica has it */
    if (recent->document_count == RECENT)
        recent->overflown = true;
    else
        strcpy(recent->documents[recent->document_count++], id);
}

static void remember_embedding(struct recent *recent, int64_t id)
{
    if (recent->embedding_count == RECENT)
        recent->overflown = true;
    else
        recent->embeddings[recent->embedding_count++] = id;
}

static int set_text(char **to, const char *from, struct error *err)
{
    char *copy = from != NULL ? strdup(from) : NULL;
    if (from != NULL && copy == NULL) return out_of_memory(err);
    free(*to);
    *to = copy;
    return 0;
}

/* Nothing that has been read can be trusted. */
static void forget_position(struct follow *follow)
{
    free(follow->position);
    free(follow->fenced);
    follow->position = follow->fenced = NULL;
    forget_recent(follow);
}

int follow_step_back(struct follow *follow, struct error *err)
{
    if (follow->recent != NULL && follow->recent->overflown) forget_position(follow);
    return set_text(&follow->position, follow->fenced, err);
}

int follow_fenced(struct follow *follow, bool complete, struct error *err)
{
    if (complete) {
        if (set_text(&follow->fenced, follow->position, err) != 0) return -1;
        follow->fenced_touched = follow->touched;
    }
    forget_recent(follow);
    return 0;
}

bool follow_wants_fence(const struct follow *follow)
{
    const struct recent *recent = follow->recent;
    return follow->touched != follow->fenced_touched ||
           (recent != NULL && (recent->document_count > 0 || recent->embedding_count > 0));
}

bool follow_needs_fence(const struct follow *follow)
{
    const struct recent *recent = follow->recent;
    return recent != NULL &&
           (recent->document_count > RECENT / 2 || recent->embedding_count > RECENT / 2);
}

/* ---- Connections ----------------------------------------------------------------------------- */

void follow_init(struct follow *follow, const atomic_bool *stop)
{
    *follow = (struct follow){.stop = stop};
}

void follow_free(struct follow *follow)
{
    follow_disconnect(follow);
    replica_release(follow->replica);
    free(follow->position);
    free(follow->fenced);
    free(follow->recent);
    *follow = (struct follow){0};
}

void follow_disconnect(struct follow *follow)
{
    PQfinish(follow->feed);
    PQfinish(follow->rows);
    follow->feed = follow->rows = NULL;
}

int follow_connect(struct follow *follow, struct pool *pool, struct error *err)
{
    follow_disconnect(follow);
    follow->feed = pool_connect(pool, err);
    if (follow->feed != NULL) follow->rows = pool_connect(pool, err);
    if (follow->rows != NULL && sql_run(follow->feed, "LISTEN " FEED_CHANNEL, err) == 0 &&
        feed_identify(follow->feed, follow->identity, err) == 0)
        return 0;
    follow_disconnect(follow);
    return -1;
}

int follow_can_go_on(struct follow *follow, char *reason, size_t reason_size, struct error *err)
{
    if (follow->replica == NULL || follow->position == NULL) {
        snprintf(reason, reason_size, "nothing has been read yet");
        return 0;
    }
    if (strcmp(follow->identity, follow->followed) != 0) {
        snprintf(reason, reason_size, "it is of another database (%s, not %s)", follow->followed,
                 follow->identity);
        return 0;
    }
    const int reaches = feed_reaches_back(follow->feed, follow->position, err);
    if (reaches == 0)
        snprintf(reason, reason_size,
                 "the change feed does not reach back to it, or the database was set back");
    return reaches;
}

int follow_heard(struct follow *follow, struct error *err)
{
    int heard = 0;
    PGnotify *notification;
    if (!PQconsumeInput(follow->feed)) return pool_error(follow->feed, NULL, err);
    while ((notification = PQnotifies(follow->feed)) != NULL) {
        heard = 1;
        PQfreemem(notification);
    }
    return heard;
}

/* ---- Everything ------------------------------------------------------------------------------ */

/* An intake that says how far it has come. */
struct watched {
    struct vault_reader to;
    struct follow_progress *progress;
};

static int watch_document(void *arg, const char *id, const char *source, const char *repository,
                          const char *path)
{
    struct watched *watched = arg;
    atomic_fetch_add(&watched->progress->documents, 1);
    return watched->to.document(watched->to.arg, id, source, repository, path);
}

static int watch_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct watched *watched = arg;
    atomic_fetch_add(&watched->progress->embeddings, 1);
    return watched->to.embedding(watched->to.arg, id, document_id, vector);
}

static int count_rows(PGconn *conn, struct follow_progress *progress, struct error *err)
{
    PGresult *row = sql_execute(conn,
                                "SELECT (SELECT count(*) FROM vault.\"VaultDocument\"),"
                                " (SELECT count(*) FROM vault.\"VaultEmbedding\")",
                                NULL, err);
    if (row == NULL) return -1;
    atomic_store(&progress->all_documents, (size_t)sql_get_int8(row, 0, 0));
    atomic_store(&progress->all_embeddings, (size_t)sql_get_int8(row, 0, 1));
    atomic_store(&progress->documents, 0);
    atomic_store(&progress->embeddings, 0);
    PQclear(row);
    return 0;
}

static int register_now(PGconn *conn, const char *name, struct error *err)
{
    char *position;
    if (feed_now(conn, &position, err) != 0) return -1;
    const int registered = feed_register(conn, name, position, err);
    free(position);
    if (registered == 0)
        return error_set(err, ERR_INTERNAL, NULL, "the feed has been trimmed past its own end");
    return registered < 0 ? -1 : 0;
}

int follow_read_all(struct follow *follow, const char *name, struct replica *replica,
                    struct follow_progress *progress, struct error *err)
{
    struct intake *intake = intake_create(replica, false, follow->stop, err);
    char *position = NULL;
    struct error full = {0};
    if (intake == NULL) return -1;
    struct watched watched = {intake_reader(intake), progress};
    const struct vault_reader reader = {watch_document, watch_embedding, &watched};
    int rc = register_now(follow->feed, name, err);
    if (rc == 0) rc = count_rows(follow->rows, progress, err);
    if (rc == 0) rc = vault_read_all(follow->rows, replica_model(replica), &reader, &position, err);
    if (intake_flush(intake, &full) != 0) { /* the reason, where it was this that ended it */
        if (err != NULL) *err = full;
        rc = -1;
    }
    intake_free(intake);
    if (rc != 0) {
        free(position);
        return -1;
    }
    replica_release(follow->replica);
    follow->replica = replica_keep(replica);
    forget_position(follow);
    follow->position = position;
    follow->distrust = false;
    strcpy(follow->followed, follow->identity);
    return 0;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* What is to be looked at: ascending and each once. */
struct keys {
    const char *documents[PAGE];
    int64_t embeddings[PAGE];
    size_t document_count, embedding_count;
};

static bool is_among(const int64_t *ids, size_t count, int64_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ids[middle] == id) return true;
        if (ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Takes those out of `ids` that were not seen. */
static int remove_unseen(struct follow *follow, const int64_t *ids, size_t count,
                         const int64_t *seen, size_t seen_count, struct error *err)
{
    int64_t *gone = malloc((count > 0 ? count : 1) * sizeof(*gone));
    size_t gone_count = 0;
    if (gone == NULL) return out_of_memory(err);
    for (size_t i = 0; i < count; i++)
        if (!is_among(seen, seen_count, ids[i])) gone[gone_count++] = ids[i];
    replica_remove_embeddings(follow->replica, gone, gone_count);
    free(gone);
    return 0;
}

/* Which of the documents came by. */
struct sighting {
    struct vault_reader to;
    const char *const *ids;
    bool *found;
    size_t count;
};

static int sight_document(void *arg, const char *id, const char *source, const char *repository,
                          const char *path)
{
    struct sighting *sighting = arg;
    for (size_t i = 0; i < sighting->count; i++)
        if (strcmp(sighting->ids[i], id) == 0) sighting->found[i] = true;
    return sighting->to.document(sighting->to.arg, id, source, repository, path);
}

static int sight_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct sighting *sighting = arg;
    return sighting->to.embedding(sighting->to.arg, id, document_id, vector);
}

/* What the replica has of a document beyond what was seen of it; all of it where the document is
 * gone. */
static int drop_rest(struct follow *follow, const char *id, bool found, const int64_t *seen,
                     size_t seen_count, struct error *err)
{
    int64_t *had;
    size_t count;
    if (!found) return replica_remove_document(follow->replica, id, err);
    if (catalog_embeddings_of(replica_catalog(follow->replica), id, &had, &count, err) != 0)
        return -1;
    const int rc = remove_unseen(follow, had, count, seen, seen_count, err);
    free(had);
    return rc;
}

/* Reads rows and makes the replica the same. With `whole`, documents with all their embeddings. */
static int look_at(struct follow *follow, struct intake *intake, const char *const *documents,
                   size_t document_count, bool whole, const int64_t *embeddings,
                   size_t embedding_count, struct error *err)
{
    bool found[PAGE] = {false};
    struct sighting sighting = {intake_reader(intake), documents, found, document_count};
    const struct vault_reader reader = {sight_document, sight_embedding, &sighting};
    struct error full = {0};
    size_t seen_count;
    int rc = vault_read_some(follow->rows, replica_model(follow->replica), documents,
                             document_count, whole, embeddings, embedding_count, &reader, err);
    /* What has been read is right, even where the rest could not be. */
    if (intake_flush(intake, &full) != 0) {
        if (err != NULL) *err = full;
        rc = -1;
    }
    const int64_t *seen = intake_seen(intake, &seen_count);
    if (rc == 0) rc = remove_unseen(follow, embeddings, embedding_count, seen, seen_count, err);
    for (size_t i = 0; i < document_count && rc == 0; i++)
        if (whole || !found[i])
            rc = drop_rest(follow, documents[i], found[i], seen, seen_count, err);
    return rc;
}

int follow_documents(struct follow *follow, const char *const *ids, size_t count, struct error *err)
{
    if (make_recent(follow, err) != 0) return -1;
    struct intake *intake = intake_create(follow->replica, follow->distrust, follow->stop, err);
    if (intake == NULL) return -1;
    for (size_t i = 0; i < count; i++) remember_document(follow->recent, ids[i]);
    const int rc = look_at(follow, intake, ids, count, true, NULL, 0, err);
    intake_free(intake);
    return rc;
}

static int look_at_recent(struct follow *follow, struct intake *intake, struct error *err)
{
    const struct recent *recent = follow->recent;
    const char *documents[PAGE];
    int rc = 0;
    for (size_t at = 0; at < recent->document_count && rc == 0; at += PAGE) {
        size_t count = 0;
        for (; count < PAGE && at + count < recent->document_count; count++)
            documents[count] = recent->documents[at + count];
        rc = look_at(follow, intake, documents, count, true, NULL, 0, err);
    }
    for (size_t at = 0; at < recent->embedding_count && rc == 0; at += PAGE) {
        const size_t left = recent->embedding_count - at;
        rc = look_at(follow, intake, NULL, 0, false, recent->embeddings + at,
                     left < PAGE ? left : PAGE, err);
    }
    return rc;
}

int follow_look_again(struct follow *follow, struct error *err)
{
    if (follow->recent == NULL) return 0;
    struct intake *intake = intake_create(follow->replica, follow->distrust, follow->stop, err);
    if (intake == NULL) return -1;
    const int rc = look_at_recent(follow, intake, err);
    intake_free(intake);
    return rc;
}

/* After a TRUNCATE: every document that the replica has is looked at. Most of them are gone, and
 * the feed tells of what has come since. */
static int look_at_all(struct follow *follow, struct intake *intake, struct error *err)
{
    char(*ids)[DOCUMENT_ID_SIZE] = malloc(sizeof(*ids) * PAGE);
    const char *pointers[PAGE];
    size_t from = 0, count;
    int rc = 0;
    if (ids == NULL) return out_of_memory(err);
    while (rc == 0 &&
           (count = catalog_walk(replica_catalog(follow->replica), &from, ids, PAGE)) > 0) {
        if (follow->stop != NULL && atomic_load(follow->stop))
            rc = error_set(err, ERR_CANCELLED, NULL, "told to stop");
        for (size_t i = 0; i < count; i++) pointers[i] = ids[i];
        if (rc == 0) rc = look_at(follow, intake, pointers, count, true, NULL, 0, err);
    }
    free(ids);
    return rc;
}

/* ---- Changes --------------------------------------------------------------------------------- */

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

struct touched {
    int64_t id;
    bool only_inserted;
};

static int by_id(const void *left, const void *right)
{
    const struct touched *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static void sort_documents(struct keys *keys)
{
    size_t kept = 0;
    qsort(keys->documents, keys->document_count, sizeof(*keys->documents), by_text);
    for (size_t i = 0; i < keys->document_count; i++)
        if (kept == 0 || strcmp(keys->documents[kept - 1], keys->documents[i]) != 0)
            keys->documents[kept++] = keys->documents[i];
    keys->document_count = kept;
}

/* One that the replica has and that was only inserted has been read since, for somebody who waited
 * for it. */
static void sort_embeddings(struct follow *follow, struct touched *touched, size_t count,
                            struct keys *keys)
{
    qsort(touched, count, sizeof(*touched), by_id);
    for (size_t i = 0; i < count;) {
        bool only_inserted = true;
        const int64_t id = touched[i].id;
        size_t same = 0;
        for (; i < count && touched[i].id == id; i++, same++)
            only_inserted = only_inserted && touched[i].only_inserted;
        if (only_inserted && same == 1 && !follow->distrust &&
            catalog_knows(replica_catalog(follow->replica), id))
            continue;
        keys->embeddings[keys->embedding_count++] = id;
    }
}

static void collect(struct follow *follow, const struct feed_change *changes, size_t count,
                    struct keys *keys)
{
    struct touched touched[PAGE];
    size_t touched_count = 0;
    *keys = (struct keys){0};
    for (size_t i = 0; i < count; i++) {
        const struct feed_change *change = &changes[i];
        if (change->object == FEED_SYNC_STATUS || change->action == FEED_TRUNCATE) continue;
        if (change->object == FEED_DOCUMENT)
            keys->documents[keys->document_count++] = change->id;
        else
            touched[touched_count++] =
                (struct touched){change->embedding, change->action == FEED_INSERT};
    }
    sort_documents(keys);
    sort_embeddings(follow, touched, touched_count, keys);
}

static int apply(struct follow *follow, struct intake *intake, const struct feed_change *changes,
                 size_t count, struct error *err)
{
    struct keys keys;
    bool truncated = false;
    for (size_t i = 0; i < count; i++) {
        const struct feed_change *change = &changes[i];
        if (change->object == FEED_SYNC_STATUS) continue;
        follow->touched++;
        if (change->action == FEED_TRUNCATE)
            truncated = follow->recent->overflown = true; /* of what is gone there is no list */
        else if (change->object == FEED_DOCUMENT)
            remember_document(follow->recent, change->id);
        else
            remember_embedding(follow->recent, change->embedding);
    }
    if (truncated && look_at_all(follow, intake, err) != 0) return -1;
    collect(follow, changes, count, &keys);
    if (keys.document_count == 0 && keys.embedding_count == 0) return 0;
    return look_at(follow, intake, keys.documents, keys.document_count, follow->distrust,
                   keys.embeddings, keys.embedding_count, err);
}

static int apply_pages(struct follow *follow, struct intake *intake, void (*between)(void *),
                       void *arg, atomic_ullong *applied, struct error *err)
{
    struct feed_change changes[PAGE];
    size_t count;
    int rc;
    do {
        PGresult *rows;
        if (between != NULL) between(arg);
        if (follow->stop != NULL && atomic_load(follow->stop))
            return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        if (feed_next(follow->feed, PAGE, changes, &count, &rows, err) != 0) return -1;
        rc = count > 0 ? apply(follow, intake, changes, count, err) : 0;
        PQclear(rows);
        if (rc == 0) atomic_fetch_add(applied, count);
    } while (rc == 0 && count > 0);
    return rc;
}

int follow_changes(struct follow *follow, void (*between)(void *arg), void *arg,
                   atomic_ullong *applied, struct error *err)
{
    char *until;
    if (make_recent(follow, err) != 0) return -1;
    struct intake *intake = intake_create(follow->replica, follow->distrust, follow->stop, err);
    if (intake == NULL) return -1;
    int rc = feed_begin(follow->feed, follow->position, NULL, 0, &until, err);
    if (rc == 0) {
        rc = apply_pages(follow, intake, between, arg, applied, err);
        if (feed_end(follow->feed, rc == 0 ? err : NULL) != 0) rc = -1;
        if (rc == 0) {
            free(follow->position);
            follow->position = until;
            follow->distrust = false;
        } else {
            free(until);
        }
    }
    intake_free(intake);
    return rc;
}
