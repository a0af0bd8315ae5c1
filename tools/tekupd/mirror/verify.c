/*
 * verify.c: a suspect is a row that differed. Suspects are judged in rounds. A round asks, in this
 * order, where the replica stands; what the replica has of each suspect; and then, in one
 * transaction, what has been committed since there, and the rows. A suspect that something was
 * committed about waits for the next round. Of any other the replica has seen all there is, so that
 * it must be the same.
 */
#include "tools/tekupd/mirror/verify.h"

#include "storage/sql.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE = 256, ROUNDS = 300, PAUSE_MS = 100 };

enum state { WAITING, SAME, DIFFERENT };

/* What the replica has of a row. */
struct view {
    bool there;
    uint64_t hash;
    char document[DOCUMENT_ID_SIZE];
    bool indexed;
    float *vector; /* normalised; NULL while nobody looks */
    struct buffer place;
};

struct suspect {
    enum verify_object object;
    int64_t embedding;
    char document[DOCUMENT_ID_SIZE];
    enum state state;
    bool in_flux; /* in this round */
    bool found;   /* in the database, in this round */
    const char *what;
    struct view view;
};

struct verification {
    const struct verify_subject *subject;
    struct follow_progress *progress;
    struct verify_result *result;
    PGconn *conn;
    tk_idset *seen; /* embeddings of the database */
    struct suspect *suspects;
    size_t count, room;
    struct suspect **order; /* for finding them, while they are judged */
    float *vector;          /* room for one */
    struct error err;
};

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

static bool is_stopped(const struct verification *verification)
{
    return atomic_load(verification->subject->stop);
}

static const struct catalog *catalog_of(const struct verification *verification)
{
    return replica_catalog(verification->subject->replica);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static bool is_same_vector(const float *vector, const float *stored)
{
    double length = 0;
    for (int i = 0; i < EMBEDDING_DIM; i++) length += (double)vector[i] * (double)vector[i];
    length = sqrt(length);
    for (int i = 0; i < EMBEDDING_DIM; i++)
        if (fabs((double)vector[i] / length - (double)stored[i]) > VERIFY_TOLERANCE) return false;
    return true;
}

/* Says what is different, or NULL. */
static const char *compare_embedding(const struct view *view, const char *document,
                                     const float *vector)
{
    if (!view->there) return "missing in the index";
    if (strcmp(view->document, document) != 0) return "of another document in the index";
    if (view->hash != replica_hash(vector)) return "other content in the index";
    if (!view->indexed) return "in the catalog, but missing in the graph";
    if (!is_same_vector(vector, view->vector)) return "another vector in the graph";
    return NULL;
}

static bool is_same_place(const struct view *view, const char *source, const char *repository,
                          const char *path)
{
    struct buffer place = {0};
    buffer_append(&place, source, strlen(source) + 1);
    buffer_append(&place, repository, strlen(repository) + 1);
    buffer_append(&place, path, strlen(path) + 1);
    const bool same = !place.failed && place.length == view->place.length &&
                      memcmp(place.data, view->place.data, place.length) == 0;
    buffer_free(&place);
    return same;
}

static void look_at_embedding(const struct verification *verification, int64_t embedding,
                              struct view *view)
{
    const tk_index *index = replica_index(verification->subject->replica);
    view->there = catalog_look_up(catalog_of(verification), embedding, &view->hash, view->document);
    view->indexed = tk_index_get(index, (tk_id)embedding, view->vector, NULL) == TK_OK;
}

static void look_at_document(const struct verification *verification, const char *id,
                             struct view *view)
{
    buffer_clear(&view->place);
    view->there = catalog_place(catalog_of(verification), id, &view->place);
}

/* ---- The first look -------------------------------------------------------------------------- */

static int suspect(struct verification *verification, enum verify_object object,
                   const char *document, int64_t embedding)
{
    if (verification->count == VERIFY_MOST) return 0;
    if (verification->count == verification->room) {
        const size_t room = verification->room > 0 ? verification->room * 2 : 64;
        struct suspect *grown = realloc(verification->suspects, room * sizeof(*grown));
        if (grown == NULL) return out_of_memory(&verification->err);
        verification->suspects = grown;
        verification->room = room;
    }
    struct suspect *one = &verification->suspects[verification->count++];
    *one = (struct suspect){.object = object, .embedding = embedding};
    snprintf(one->document, sizeof(one->document), "%s", document);
    return 0;
}

static int first_document(void *arg, const char *id, const char *source, const char *repository,
                          const char *path)
{
    struct verification *verification = arg;
    struct view view = {0};
    if (is_stopped(verification)) return 1;
    atomic_fetch_add(&verification->progress->documents, 1);
    verification->result->documents++;
    if (strlen(id) >= DOCUMENT_ID_SIZE) return 0; /* left out, with a line in the log */
    look_at_document(verification, id, &view);
    const bool same = view.there && is_same_place(&view, source, repository, path);
    buffer_free(&view.place);
    return same ? 0 : suspect(verification, VERIFY_DOCUMENT, id, 0);
}

static int first_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct verification *verification = arg;
    struct view view = {.vector = verification->vector};
    if (is_stopped(verification)) return 1;
    atomic_fetch_add(&verification->progress->embeddings, 1);
    verification->result->embeddings++;
    if (strlen(document_id) >= DOCUMENT_ID_SIZE) return 0;
    if (tk_idset_add(verification->seen, (tk_id)id) != TK_OK)
        return out_of_memory(&verification->err);
    look_at_embedding(verification, id, &view);
    return compare_embedding(&view, document_id, vector) == NULL
               ? 0
               : suspect(verification, VERIFY_EMBEDDING, document_id, id);
}

static int count_rows(PGconn *conn, struct follow_progress *progress, struct error *err)
{
    struct vault_counts counts;
    PGresult *row = sql_execute(conn,
                                "SELECT (SELECT count(*) FROM vault.\"VaultDocument\"),"
                                " (SELECT count(*) FROM vault.\"VaultEmbedding\")",
                                NULL, err);
    if (row == NULL) return -1;
    counts.documents = sql_get_int8(row, 0, 0);
    counts.embeddings = sql_get_int8(row, 0, 1);
    PQclear(row);
    atomic_store(&progress->documents, 0);
    atomic_store(&progress->embeddings, 0);
    atomic_store(&progress->all_documents, (size_t)counts.documents);
    atomic_store(&progress->all_embeddings, (size_t)counts.embeddings);
    return 0;
}

static int look_at_database(struct verification *verification, struct error *err)
{
    const struct vault_reader reader = {first_document, first_embedding, verification};
    char *position;
    if (count_rows(verification->conn, verification->progress, err) != 0) return -1;
    const int rc = vault_read_all(verification->conn, replica_model(verification->subject->replica),
                                  &reader, &position, err);
    free(position);
    if (rc != 0 && verification->err.code != ERR_NONE) *err = verification->err;
    return rc;
}

/* What the replica has and the database has not been seen to have. That a document is there is
 * asked of the database when it is judged. */
static int look_at_one_document(struct verification *verification, const char *id,
                                struct error *err)
{
    int64_t *embeddings;
    size_t count;
    int rc = 0;
    if (catalog_embeddings_of(catalog_of(verification), id, &embeddings, &count, err) != 0)
        return -1;
    for (size_t i = 0; i < count && rc == 0; i++)
        if (!tk_idset_contains(verification->seen, (tk_id)embeddings[i]))
            rc = suspect(verification, VERIFY_EMBEDDING, id, embeddings[i]);
    free(embeddings);
    return rc;
}

struct presence {
    const char *const *ids;
    bool found[PAGE];
    size_t count;
};

static int mark_present(void *arg, const char *id, const char *source, const char *repository,
                        const char *path)
{
    struct presence *presence = arg;
    (void)source, (void)repository, (void)path;
    for (size_t i = 0; i < presence->count; i++)
        if (strcmp(presence->ids[i], id) == 0) presence->found[i] = true;
    return 0;
}

static int pass_over(void *arg, int64_t id, const char *document_id, const float *vector)
{
    (void)arg, (void)id, (void)document_id, (void)vector;
    return 0;
}

static int look_at_page(struct verification *verification, const char *const *ids, size_t count,
                        struct error *err)
{
    struct presence presence = {.ids = ids, .count = count};
    const struct vault_reader reader = {mark_present, pass_over, &presence};
    int rc = vault_read_some(verification->conn, replica_model(verification->subject->replica), ids,
                             count, false, NULL, 0, &reader, err);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (!presence.found[i]) rc = suspect(verification, VERIFY_DOCUMENT, ids[i], 0);
        if (rc == 0) rc = look_at_one_document(verification, ids[i], err);
    }
    return rc;
}

static int look_at_replica(struct verification *verification, struct error *err)
{
    char(*ids)[DOCUMENT_ID_SIZE] = malloc(sizeof(*ids) * PAGE);
    const char *pointers[PAGE];
    size_t from = 0, count;
    int rc = 0;
    if (ids == NULL) return out_of_memory(err);
    while (rc == 0 && (count = catalog_walk(catalog_of(verification), &from, ids, PAGE)) > 0) {
        if (is_stopped(verification)) rc = error_set(err, ERR_CANCELLED, NULL, "told to stop");
        for (size_t i = 0; i < count; i++) pointers[i] = ids[i];
        if (rc == 0) rc = look_at_page(verification, pointers, count, err);
    }
    free(ids);
    return rc;
}

/* ---- Judging --------------------------------------------------------------------------------- */

/* Documents by id, embeddings by number. */
static int compare_keys(const struct suspect *a, const struct suspect *b)
{
    if (a->object != b->object) return (int)a->object - (int)b->object;
    if (a->object == VERIFY_DOCUMENT) return strcmp(a->document, b->document);
    return (a->embedding > b->embedding) - (a->embedding < b->embedding);
}

static int by_key(const void *left, const void *right)
{
    return compare_keys(*(struct suspect *const *)left, *(struct suspect *const *)right);
}

static struct suspect *find(struct verification *verification, enum verify_object object,
                            const char *document, int64_t embedding)
{
    struct suspect key = {.object = object, .embedding = embedding};
    const struct suspect *pointer = &key;
    snprintf(key.document, sizeof(key.document), "%s", document != NULL ? document : "");
    struct suspect **found = bsearch(&pointer, verification->order, verification->count,
                                     sizeof(struct suspect *), by_key);
    return found != NULL ? *found : NULL;
}

/* The same row may have become suspect twice. */
static int put_in_order(struct verification *verification, struct error *err)
{
    size_t kept = 0;
    verification->order = malloc((verification->count + 1) * sizeof(struct suspect *));
    if (verification->order == NULL) return out_of_memory(err);
    for (size_t i = 0; i < verification->count; i++)
        verification->order[i] = &verification->suspects[i];
    qsort(verification->order, verification->count, sizeof(struct suspect *), by_key);
    for (size_t i = 0; i < verification->count; i++)
        if (kept == 0 || compare_keys(verification->order[kept - 1], verification->order[i]) != 0)
            verification->order[kept++] = verification->order[i];
    verification->count = kept;
    return 0;
}

/* What the replica has of a page of suspects. */
static int view_page(struct verification *verification, struct suspect **page, size_t count,
                     struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct suspect *one = page[i];
        one->in_flux = one->found = false;
        if (one->object == VERIFY_DOCUMENT) {
            look_at_document(verification, one->document, &one->view);
            continue;
        }
        one->view.vector = malloc(EMBEDDING_DIM * sizeof(float));
        if (one->view.vector == NULL) return out_of_memory(err);
        look_at_embedding(verification, one->embedding, &one->view);
    }
    return 0;
}

static void close_views(struct suspect **page, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(page[i]->view.vector);
        page[i]->view.vector = NULL;
        buffer_free(&page[i]->view.place);
    }
}

static void mark_in_flux(struct verification *verification, const struct feed_change *change)
{
    struct suspect *found = NULL;
    if (change->object == FEED_SYNC_STATUS) return;
    if (change->action == FEED_TRUNCATE) {
        for (size_t i = 0; i < verification->count; i++) verification->order[i]->in_flux = true;
        return;
    }
    if (change->object == FEED_EMBEDDING)
        found = find(verification, VERIFY_EMBEDDING, NULL, change->embedding);
    else if (strlen(change->id) < DOCUMENT_ID_SIZE)
        found = find(verification, VERIFY_DOCUMENT, change->id, 0);
    if (found != NULL) found->in_flux = true;
}

static int read_changes(struct verification *verification, struct error *err)
{
    struct feed_change changes[PAGE];
    size_t count;
    do {
        PGresult *rows;
        if (is_stopped(verification)) return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        if (feed_next(verification->conn, PAGE, changes, &count, &rows, err) != 0) return -1;
        for (size_t i = 0; i < count; i++) mark_in_flux(verification, &changes[i]);
        PQclear(rows);
    } while (count > 0);
    return 0;
}

static void judge(struct suspect *suspect, const char *what)
{
    suspect->found = true;
    if (suspect->in_flux) return;
    suspect->state = what != NULL ? DIFFERENT : SAME;
    suspect->what = what;
}

static int judge_document(void *arg, const char *id, const char *source, const char *repository,
                          const char *path)
{
    struct suspect *found = find(arg, VERIFY_DOCUMENT, id, 0);
    if (found == NULL || found->state != WAITING) return 0;
    if (!found->view.there)
        judge(found, "missing in the index");
    else
        judge(found, is_same_place(&found->view, source, repository, path)
                         ? NULL
                         : "at another place in the index");
    return 0;
}

static int judge_embedding(void *arg, int64_t id, const char *document_id, const float *vector)
{
    struct suspect *found = find(arg, VERIFY_EMBEDDING, NULL, id);
    if (found == NULL || found->state != WAITING || found->view.vector == NULL) return 0;
    judge(found, compare_embedding(&found->view, document_id, vector));
    return 0;
}

/* Reads the rows of a page, in the transaction that the changes were read in. */
static int read_page(struct verification *verification, struct suspect **page, size_t count,
                     struct error *err)
{
    const struct vault_reader reader = {judge_document, judge_embedding, verification};
    const char *documents[PAGE];
    int64_t embeddings[PAGE];
    size_t document_count = 0, embedding_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (page[i]->object == VERIFY_DOCUMENT)
            documents[document_count++] = page[i]->document;
        else
            embeddings[embedding_count++] = page[i]->embedding;
    }
    if (vault_read_some(verification->conn, replica_model(verification->subject->replica),
                        documents, document_count, false, embeddings, embedding_count, &reader,
                        err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct suspect *one = page[i];
        const bool has = one->view.there || one->view.indexed;
        if (!one->found) judge(one, has ? "not in the database" : NULL);
    }
    return 0;
}

static int judge_page(struct verification *verification, struct suspect **page, size_t count,
                      struct error *err)
{
    const struct verify_subject *subject = verification->subject;
    char *position = subject->position(subject->arg), *until = NULL;
    if (position == NULL) return out_of_memory(err);
    int rc = view_page(verification, page, count, err);
    if (rc == 0) rc = feed_begin_with_rows(verification->conn, position, &until, err);
    if (rc == 0) {
        rc = read_changes(verification, err);
        if (rc == 0) rc = read_page(verification, page, count, err);
        if (feed_end(verification->conn, rc == 0 ? err : NULL) != 0) rc = -1;
    }
    close_views(page, count);
    free(until);
    free(position);
    return rc;
}

/* Judges all that still wait. *left is how many do after it. */
static int judge_round(struct verification *verification, size_t *left, struct error *err)
{
    struct suspect *page[PAGE];
    size_t count = 0;
    int rc = 0;
    for (size_t i = 0; i < verification->count && rc == 0; i++) {
        if (verification->order[i]->state == WAITING) page[count++] = verification->order[i];
        if (count == PAGE || (count > 0 && i + 1 == verification->count)) {
            rc = judge_page(verification, page, count, err);
            count = 0;
        }
    }
    *left = 0;
    for (size_t i = 0; i < verification->count; i++)
        *left += verification->order[i]->state == WAITING;
    return rc;
}

static void pause_a_moment(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    nanosleep(&pause, NULL);
}

static int judge_all(struct verification *verification, struct error *err)
{
    size_t left = verification->count;
    if (put_in_order(verification, err) != 0) return -1;
    for (int round = 0; round < ROUNDS && left > 0; round++) {
        if (round > 0) pause_a_moment();
        if (is_stopped(verification)) return error_set(err, ERR_CANCELLED, NULL, "told to stop");
        if (judge_round(verification, &left, err) != 0) return -1;
    }
    if (left > 0)
        return error_set(err, ERR_UNAVAILABLE, NULL,
                         "%zu rows are changed faster than the index follows: try again", left);
    return 0;
}

/* Vectors that no catalog knows are no row's. While rows are on their way the two differ for a
 * moment. */
static bool counts_agree(const struct verification *verification)
{
    struct replica *replica = verification->subject->replica;
    struct catalog_counts counts;
    bool agree = false;
    for (int round = 0; round < ROUNDS && !agree && !is_stopped(verification); round++) {
        if (round > 0) pause_a_moment();
        replica_hold(replica);
        catalog_count(replica_catalog(replica), &counts);
        agree = counts.embeddings == tk_index_count(replica_index(replica));
        replica_go_on(replica);
    }
    return agree;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void show(struct verify_result *result, const struct difference *difference)
{
    if (result->shown < VERIFY_SHOWN) result->shown_ones[result->shown++] = *difference;
    result->differences++;
}

static void report(const struct verification *verification)
{
    for (size_t i = 0; i < verification->count; i++) {
        const struct suspect *one = verification->order[i];
        struct difference difference = {
            .object = one->object, .embedding = one->embedding, .what = one->what};
        if (one->state != DIFFERENT) continue;
        memcpy(difference.document, one->document, sizeof(difference.document));
        show(verification->result, &difference);
    }
    if (!counts_agree(verification)) {
        const struct difference difference = {
            .object = VERIFY_INDEX, .what = "vectors in the graph that no row has brought there"};
        show(verification->result, &difference);
    }
}

int verify(const struct verify_subject *subject, struct follow_progress *progress,
           struct verify_result *result, struct error *err)
{
    struct verification verification = {.subject = subject, .progress = progress, .result = result};
    int rc = -1;
    *result = (struct verify_result){0};
    verification.seen = tk_idset_create();
    verification.vector = malloc(EMBEDDING_DIM * sizeof(float));
    if (verification.seen == NULL || verification.vector == NULL) {
        out_of_memory(err);
        goto out;
    }
    verification.conn = pool_connect(subject->pool, err);
    if (verification.conn == NULL) goto out;
    rc = look_at_database(&verification, err);
    if (rc == 0) rc = look_at_replica(&verification, err);
    if (rc == 0) rc = judge_all(&verification, err);
    if (rc == 0) report(&verification);
out:
    PQfinish(verification.conn);
    tk_idset_free(verification.seen);
    free(verification.vector);
    free(verification.order);
    free(verification.suspects);
    return rc;
}
