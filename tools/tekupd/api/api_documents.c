/* api_documents.c: reading, writing and deleting documents. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/search/embedding_input.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_DEFAULT = 100, LIST_MOST = 1000 };

/* ---- Reading --------------------------------------------------------------------------------- */

static void put_document(struct buffer *body, const struct document *document)
{
    json_put_open(body, '{');
    json_field_text(body, "id", document->id);
    json_field_text(body, "source", document->source);
    json_field_text(body, "repository", document->repository);
    json_field_text(body, "path", document->path);
    if (document->content != NULL) {
        json_put_key(body, "content");
        json_put_text_of(body, document->content, document->content_length);
    }
    json_field_text(body, "sha", document->sha);
    json_field_raw(body, "metadata", document->metadata);
    json_field_text(body, "createdAt", document->created_at);
    json_field_text(body, "updatedAt", document->updated_at);
    json_put_close(body, '}');
}

static void respond_list(struct http_request *request, const struct document *documents,
                         size_t count, size_t limit)
{
    struct buffer body = {0};
    const size_t shown = count < limit ? count : limit;
    json_put_open(&body, '{');
    json_put_key(&body, "documents");
    json_put_open(&body, '[');
    for (size_t i = 0; i < shown; i++) put_document(&body, &documents[i]);
    json_put_close(&body, ']');
    json_field_text(&body, "next", count > shown ? documents[shown - 1].id : NULL);
    json_put_close(&body, '}');
    http_respond(request, 200, &body);
}

void api_documents_list(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", "pathPrefix",
                                        "after",  "limit",      NULL};
    struct query query;
    struct error err = {0};
    struct document *documents = NULL;
    size_t count = 0;
    long limit = LIST_DEFAULT;
    /* One more than is shown tells whether there is a next page. */
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        query_integer(&query, "limit", 1, LIST_MOST, &limit, &err) != 0 ||
        vault_list_documents(daemon->pool, query_get(&query, "source"),
                             query_get(&query, "repository"), query_get(&query, "pathPrefix"),
                             query_get(&query, "after"), (size_t)limit + 1, &documents, &count,
                             &err) != 0)
        api_fail(daemon, request, &err);
    else
        respond_list(request, documents, count, (size_t)limit);
    for (size_t i = 0; i < count; i++) document_free(&documents[i]);
    free(documents);
    query_free(&query);
}

static void respond_document(struct http_request *request, struct document *document)
{
    struct buffer body = {0};
    put_document(&body, document);
    document_free(document);
    http_respond(request, 200, &body);
}

void api_documents_get(struct daemon *daemon, struct http_request *request)
{
    struct document document;
    struct error err = {0};
    if (api_no_query(request, &err) != 0 ||
        vault_get_document(daemon->pool, http_part(request), &document, &err) != 0)
        api_fail(daemon, request, &err);
    else
        respond_document(request, &document);
}

/* A document by its place, which takes all three parameters. */
static int find_by_path(struct daemon *daemon, struct http_request *request,
                        struct document *document, struct error *err)
{
    static const char *const known[] = {"source", "repository", "path", NULL};
    struct query query;
    int rc = query_parse(http_query(request), known, &query, err);
    for (size_t i = 0; known[i] != NULL && rc == 0; i++) {
        const char *value = query_get(&query, known[i]);
        if (value == NULL || *value == '\0')
            rc = error_set(err, ERR_INVALID, known[i], "%s is %s", known[i],
                           value == NULL ? "missing" : "empty");
    }
    if (rc == 0)
        rc = vault_find_document(daemon->pool, query_get(&query, "source"),
                                 query_get(&query, "repository"), query_get(&query, "path"),
                                 document, err);
    query_free(&query);
    return rc;
}

void api_documents_get_by_path(struct daemon *daemon, struct http_request *request)
{
    struct document document;
    struct error err = {0};
    if (find_by_path(daemon, request, &document, &err) != 0)
        api_fail(daemon, request, &err);
    else
        respond_document(request, &document);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void respond_written(struct daemon *daemon, struct http_request *request,
                            const struct write_result *result, const struct ingest_counts *counts)
{
    struct buffer body = {0};
    json_put_open(&body, '{');
    json_field_text(&body, "id", result->document_id);
    json_field_boolean(&body, "created", result->created);
    json_field_integer(&body, "chunks", (int64_t)counts->chunks);
    json_field_integer(&body, "embedded", (int64_t)counts->embedded);
    json_field_integer(&body, "reused", (int64_t)counts->reused);
    json_put_close(&body, '}');
    api_respond_written(daemon, request, result->document_id, result->created ? 201 : 200, &body);
}

enum { EMBEDDING, METADATA, CUTS };

/* Reads the body into *input, whose strings live in *root and *metadata. */
static int read_input(json_t *root, const struct json_slice slices[CUTS], char **metadata,
                      float embedding[EMBEDDING_DIM], struct document_input *input,
                      struct error *err)
{
    if (json_need_text(root, "source", &input->source, err) != 0 ||
        json_need_text(root, "repository", &input->repository, err) != 0 ||
        json_need_text(root, "path", &input->path, err) != 0 ||
        json_need_text(root, "content", &input->content, err) != 0 ||
        json_get_text(root, "sha", &input->sha, err) != 0 ||
        json_take_object(slices[METADATA], "metadata", metadata, err) != 0)
        return -1;
    input->content_length = strlen(input->content);
    input->metadata = *metadata;
    if (slices[EMBEDDING].text == NULL) return 0;
    input->embedding = embedding;
    return embedding_from_json(slices[EMBEDDING].text, slices[EMBEDDING].length, embedding, err);
}

void api_documents_put(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"source", "repository", "path",      "content",
                                        "sha",    "metadata",   "embedding", NULL};
    static const char *const cut[] = {"embedding", "metadata", NULL};
    struct json_slice slices[CUTS];
    float embedding[EMBEDDING_DIM];
    struct document_input input = {0};
    struct write_result result = {0};
    struct ingest_counts counts = {0};
    struct error err = {0};
    char *metadata = NULL;
    json_t *root = NULL;
    if (api_read_body(request, known, cut, slices, &root, &err) != 0 ||
        read_input(root, slices, &metadata, embedding, &input, &err) != 0 ||
        pipeline_put(&daemon->pipeline, &input, &result, &counts, &err) != 0)
        api_fail(daemon, request, &err);
    else
        respond_written(daemon, request, &result, &counts);
    write_result_free(&result);
    free(metadata);
    json_decref(root);
}

static void delete_document(struct daemon *daemon, struct http_request *request, const char *id)
{
    struct error err = {0};
    struct buffer body = {0};
    char copy[DOCUMENT_ID_SIZE];
    snprintf(copy, sizeof(copy), "%s", id); /* the request is gone once it is answered */
    if (pipeline_delete(&daemon->pipeline, id, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    json_put_open(&body, '{');
    json_field_text(&body, "id", copy);
    json_field_boolean(&body, "deleted", true);
    json_put_close(&body, '}');
    api_respond_written(daemon, request, copy, 200, &body);
}

void api_documents_delete(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    if (api_no_query(request, &err) != 0)
        api_fail(daemon, request, &err);
    else
        delete_document(daemon, request, http_part(request));
}

void api_documents_delete_by_path(struct daemon *daemon, struct http_request *request)
{
    struct document document;
    struct error err = {0};
    if (find_by_path(daemon, request, &document, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    delete_document(daemon, request, document.id);
    document_free(&document);
}
