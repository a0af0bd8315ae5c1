/*
 * api_embeddings.c: the vectors themselves, for programs that measure or compute with all of them.
 *
 * They come from PostgreSQL, exact to the bit, and a page at a time: a client that is slow, or goes
 * away, holds neither a connection to the database nor a worker.
 */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/query.h"
#include "tools/tekupd/models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_MOST = 1000 };

static void put_little32(struct buffer *body, uint32_t value)
{
    const unsigned char bytes[4] = {(unsigned char)value, (unsigned char)(value >> 8),
                                    (unsigned char)(value >> 16), (unsigned char)(value >> 24)};
    buffer_append(body, bytes, sizeof(bytes));
}

/* As a file of the form fbin. */
static void put_page(struct buffer *body, const float *vectors, size_t count)
{
    put_little32(body, (uint32_t)count);
    put_little32(body, EMBEDDING_DIM);
    for (size_t i = 0; i < count * EMBEDDING_DIM; i++) {
        uint32_t bits;
        memcpy(&bits, vectors + i, sizeof(bits));
        put_little32(body, bits);
    }
}

static int read_page(struct daemon *daemon, const struct query *query, float **vectors,
                     struct embedding_page *page, struct error *err)
{
    long after = INT32_MIN, limit = PAGE_MOST;
    if (query_integer(query, "after", INT32_MIN, INT32_MAX, &after, err) != 0) return -1;
    if (query_integer(query, "limit", 1, PAGE_MOST, &limit, err) != 0) return -1;
    *vectors = malloc((size_t)limit * EMBEDDING_DIM * sizeof(**vectors));
    if (*vectors == NULL) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    if (models_renew(daemon->models, err) != 0) return -1;
    return vault_page_embeddings(daemon->pool, models_serving(daemon->models), (int32_t)after,
                                 (size_t)limit, *vectors, page, err);
}

void api_embeddings(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"after", "limit", NULL};
    struct query query;
    struct error err = {0};
    struct embedding_page page;
    struct buffer body = {0};
    float *vectors = NULL;
    char next[16];
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        read_page(daemon, &query, &vectors, &page, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        put_page(&body, vectors, page.count);
        snprintf(next, sizeof(next), "%" PRId32, page.last);
        http_respond_octets(request, &body, page.more ? next : NULL);
    }
    free(vectors);
    query_free(&query);
}
