/*
 * pipeline.c: one document's way into the vault.
 *
 * The chunks are grouped by the hash of their bytes, so that each text is looked up and embedded
 * once however often the document repeats it; the chunks that are written point into the embeddings
 * of these texts. Several documents may be embedded together; each is written by itself. Nothing
 * here is shared between calls, so that any number of threads may put documents at once.
 */
#include "ingest/pipeline.h"

#include "ingest/chunk.h"
#include "ingest/passages.h"
#include "ingest/source_kind.h"
#include "storage/base/utf8.h"
#include "storage/model.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* How often the model that the vault serves may have become another one under a document. */
enum { WRITE_TRIES = 3 };

/* ---- Checks ---- */

static int check_name(const char *field, const char *name, struct error *err)
{
    const size_t length = strlen(name);
    if (length == 0) return error_set(err, ERR_INVALID, field, "%s must not be empty", field);
    if (length > SOURCE_PATH_MAX)
        return error_set(err, ERR_INVALID, field, "%s has %zu bytes; at most %d are allowed", field,
                         length, SOURCE_PATH_MAX);
    if (utf8_valid_prefix(name, length) != length)
        return error_set(err, ERR_INVALID, field, "%s must be valid UTF-8", field);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return error_set(err, ERR_INVALID, field, "%s must not have control characters", field);
    return 0;
}

static int check_path(const char *path, struct error *err)
{
    if (check_name("path", path, err) != 0) return -1;
    if (path[0] == '/')
        return error_set(err, ERR_INVALID, "path",
                         "path must be relative to the repository: it begins with \"/\"");
    while (path != NULL) {
        const char *slash = strchr(path, '/');
        const size_t length = slash != NULL ? (size_t)(slash - path) : strlen(path);
        if (length == 0)
            return error_set(err, ERR_INVALID, "path", "path must not have an empty part");
        if (path[0] == '.' && (length == 1 || (length == 2 && path[1] == '.')))
            return error_set(err, ERR_INVALID, "path", "path must not have a part \"%.*s\"",
                             (int)length, path);
        path = slash != NULL ? slash + 1 : NULL;
    }
    return 0;
}

static int check_content(const struct document_input *input, struct error *err)
{
    const char *content = input->content;
    const size_t length = input->content_length;
    if (content == NULL || text_is_blank(content, length))
        return error_set(err, ERR_INVALID, "content", "content must not be empty");
    const char *nul = memchr(content, '\0', length);
    if (nul != NULL)
        return error_set(err, ERR_INVALID, "content", "content has a NUL at byte %zu",
                         (size_t)(nul - content));
    const size_t valid = utf8_valid_prefix(content, length);
    if (valid != length)
        return error_set(err, ERR_INVALID, "content", "content is not valid UTF-8 at byte %zu",
                         valid);
    return 0;
}

static int check_embedding(const float *embedding, struct error *err)
{
    double length = 0;
    for (size_t i = 0; i < EMBEDDING_DIM; i++) {
        if (!isfinite(embedding[i]))
            return error_set(err, ERR_INVALID, "embedding", "embedding[%zu] is not a finite number",
                             i);
        length += (double)embedding[i] * (double)embedding[i];
    }
    if (length == 0)
        return error_set(err, ERR_INVALID, "embedding", "embedding must not be all zero");
    return 0;
}

static int check(const struct document_input *input, struct error *err)
{
    if (check_name("source", input->source, err) != 0) return -1;
    if (check_name("repository", input->repository, err) != 0) return -1;
    if (check_path(input->path, err) != 0) return -1;
    if (check_content(input, err) != 0) return -1;
    return input->embedding != NULL ? check_embedding(input->embedding, err) : 0;
}

/* ---- Steps ---- */

struct draft {
    struct document_input input;
    struct embedder *embedder; /* that it was looked up for */
    struct passages passages;
};

int pipeline_cut(const struct document_input *input, struct draft **draft, struct error *err)
{
    *draft = NULL;
    if (check(input, err) != 0) return -1;
    struct draft *made = calloc(1, sizeof(*made));
    if (made == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    made->input = *input;
    const int status = input->embedding != NULL ? passages_given(&made->passages, input, err)
                                                : passages_cut(&made->passages, input, err);
    if (status != 0) {
        draft_free(made);
        return -1;
    }
    *draft = made;
    return 0;
}

void draft_free(struct draft *draft)
{
    if (draft == NULL) return;
    passages_free(&draft->passages);
    free(draft);
}

size_t draft_texts(const struct draft *draft)
{
    return draft->passages.text_count;
}

size_t draft_missing(const struct draft *draft)
{
    return draft->passages.missing;
}

size_t draft_missing_bytes(const struct draft *draft)
{
    return draft->passages.missing_bytes;
}

/* Those whose embeddings were not given; NULL where memory ran out. */
static struct passages **list_passages(struct draft *const *drafts, size_t count, size_t *listed)
{
    struct passages **list = calloc(count + 1, sizeof(*list));
    *listed = 0;
    for (size_t i = 0; list != NULL && i < count; i++)
        if (drafts[i]->input.embedding == NULL) list[(*listed)++] = &drafts[i]->passages;
    return list;
}

int pipeline_find(struct pipeline *pipeline, struct draft *const *drafts, size_t count,
                  struct error *err)
{
    size_t listed;
    struct embedder *embedder = pipeline->embedder;
    struct passages **list = list_passages(drafts, count, &listed);
    if (list == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    for (size_t i = 0; i < count; i++) drafts[i]->embedder = embedder;
    const int status = listed > 0 ? passages_find(list, listed, pipeline->pool, embedder, err) : 0;
    free(list);
    return status;
}

/* How many of the first were looked up for the same model. */
static size_t count_alike(struct draft *const *drafts, size_t count)
{
    size_t alike = 1;
    while (alike < count && drafts[alike]->embedder == drafts[0]->embedder) alike++;
    return alike;
}

static int embed_alike(struct pipeline *pipeline, struct draft *const *drafts, size_t count,
                       const struct embed_call *how, struct error *err)
{
    size_t listed;
    struct passages **list = list_passages(drafts, count, &listed);
    if (list == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    const int status =
        listed > 0 ? passages_embed(list, listed, pipeline->pool, drafts[0]->embedder, how, err)
                   : 0;
    free(list);
    return status;
}

int pipeline_embed(struct pipeline *pipeline, struct draft *const *drafts, size_t count,
                   const struct embed_call *how, struct error *err)
{
    int status = 0;
    for (size_t at = 0; status == 0 && at < count;) {
        const size_t alike = count_alike(drafts + at, count - at);
        status = embed_alike(pipeline, drafts + at, alike, how, err);
        at += alike;
    }
    return status;
}

static int write_draft(struct pipeline *pipeline, struct draft *draft, struct write_result *result,
                       struct ingest_counts *counts, struct error *err)
{
    const struct document_input *input = &draft->input;
    const struct passages *passages = &draft->passages;
    char sha[GIT_SHA_HEX];
    *result = (struct write_result){0};
    if (input->sha == NULL) digest_git_blob(input->content, input->content_length, sha);
    struct document_write write = {
        .source = input->source,
        .repository = input->repository,
        .path = input->path,
        .content = input->content,
        .content_length = input->content_length,
        .sha = input->sha != NULL ? input->sha : sha,
        .metadata = input->metadata,
        .model = embedder_model(draft->embedder),
        .chunks = passages->chunks,
        .chunk_count = passages->count,
        .rejected = passages->rejects,
        .rejected_count = passages->rejected,
    };
    if (vault_put_document(pipeline->pool, &write, result, err) != 0) return -1;
    if (pipeline->listener.written != NULL)
        pipeline->listener.written(pipeline->listener.arg, &write, result);
    if (counts != NULL)
        *counts = (struct ingest_counts){
            .chunks = passages->count,
            .embedded = passages->embedded,
            .reused = input->embedding == NULL ? passages->count - passages->embedded : 0,
            .rejected = passages->rejected};
    return 0;
}

/* The draft stays as it is: others count on what it says. */
static int write_anew(struct pipeline *pipeline, const struct draft *draft,
                      struct write_result *result, struct ingest_counts *counts, struct error *err)
{
    const struct document_input *input = &draft->input;
    const struct embed_call how = {
        .stop = input->stop, .waiting = input->waiting, .arg = input->arg};
    struct draft *fresh;
    int status = -1;
    if (pipeline_cut(input, &fresh, err) != 0) return -1;
    if (pipeline_find(pipeline, &fresh, 1, err) == 0 &&
        pipeline_embed(pipeline, &fresh, 1, &how, err) == 0)
        status = write_draft(pipeline, fresh, result, counts, err);
    draft_free(fresh);
    return status;
}

int pipeline_write(struct pipeline *pipeline, struct draft *draft, struct write_result *result,
                   struct ingest_counts *counts, struct error *err)
{
    struct error why = {0};
    int status = write_draft(pipeline, draft, result, counts, &why);
    for (int tries = 1; status != 0 && model_differs(&why) && tries < WRITE_TRIES; tries++) {
        if (pipeline->renew != NULL) pipeline->renew(pipeline->renew_arg);
        status = write_anew(pipeline, draft, result, counts, &why);
    }
    if (status != 0 && model_differs(&why)) why.code = ERR_UNAVAILABLE;
    if (status != 0 && err != NULL) *err = why;
    return status;
}

/* ---- The whole ---- */

int pipeline_put(struct pipeline *pipeline, const struct document_input *input,
                 struct write_result *result, struct ingest_counts *counts, struct error *err)
{
    const struct embed_call how = {
        .stop = input->stop, .waiting = input->waiting, .arg = input->arg};
    struct draft *draft;
    int status = -1;
    *result = (struct write_result){0};
    if (pipeline_cut(input, &draft, err) != 0) return -1;
    if (pipeline_find(pipeline, &draft, 1, err) == 0 &&
        pipeline_embed(pipeline, &draft, 1, &how, err) == 0)
        status = pipeline_write(pipeline, draft, result, counts, err);
    draft_free(draft);
    return status;
}

int pipeline_delete(struct pipeline *pipeline, const char *document_id, struct error *err)
{
    struct write_result result = {0};
    if (vault_delete_document(pipeline->pool, document_id, &result, err) != 0) return -1;
    if (pipeline->listener.deleted != NULL)
        pipeline->listener.deleted(pipeline->listener.arg, &result);
    write_result_free(&result);
    return 0;
}
