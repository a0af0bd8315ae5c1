/* api_map.c: the passages as points on a plane, and what is behind one of them. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/map/duplicates.h"
#include "tools/tekupd/map/mapper.h"
#include "tools/tekupd/map/plane.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* ---- The map --------------------------------------------------------------------------------- */

enum { LIMIT_DEFAULT = 100000, RECORD = 16 };

struct view {
    long limit;
    const char *source, *repository; /* NULL: any */
    size_t matching;                 /* points that there are */
    size_t shown;
};

static bool is_shown(const struct view *view, const struct map *map, const struct map_point *point)
{
    if (view->source == NULL && view->repository == NULL) return true;
    if (point->repository == MAP_OTHER_REPOSITORY) return false;
    const struct map_repository *repository = &map->repositories[point->repository];
    return (view->source == NULL || strcmp(view->source, repository->source) == 0) &&
           (view->repository == NULL || strcmp(view->repository, repository->name) == 0);
}

static void put_little(unsigned char **at, uint32_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) *(*at)++ = (unsigned char)(value >> 8 * i);
}

static void put_float(unsigned char **at, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_little(at, bits, 4);
}

static void put_record(unsigned char **at, const struct map_point *point)
{
    put_float(at, point->x);
    put_float(at, point->y);
    put_little(at, point->embedding, 4);
    put_little(at, point->repository, 2);
    put_little(at, point->flags, 2);
}

/* A run of records that is whole in base64. */
enum { RUN = 3 * 64 };

static void put_records(struct buffer *body, const unsigned char *records, size_t length)
{
    unsigned char text[RUN * RECORD / 3 * 4 + 1];
    const int written = EVP_EncodeBlock(text, records, (int)length);
    buffer_append(body, text, (size_t)written);
}

/* The points that are shown: of more than the limit, evenly spread over their ids. */
static void put_points(struct buffer *body, const struct map *map, struct view *view)
{
    unsigned char records[RUN * RECORD], *at = records;
    size_t passed = 0;
    buffer_text(body, "\"");
    for (size_t i = 0; i < map->count; i++) {
        if (!is_shown(view, map, &map->points[i])) continue;
        const size_t before = passed++ * view->shown / view->matching;
        if (passed * view->shown / view->matching == before) continue;
        put_record(&at, &map->points[i]);
        if (at < records + sizeof(records)) continue;
        put_records(body, records, sizeof(records));
        at = records;
    }
    put_records(body, records, (size_t)(at - records));
    buffer_text(body, "\"");
}

static void put_repositories(struct buffer *body, const struct map *map)
{
    json_put_key(body, "repositories");
    json_put_open(body, '[');
    for (size_t i = 0; i < map->repository_count; i++) {
        json_put_open(body, '{');
        json_field_text(body, "source", map->repositories[i].source);
        json_field_text(body, "repository", map->repositories[i].name);
        json_field_integer(body, "count", (int64_t)map->repositories[i].count);
        json_put_close(body, '}');
    }
    json_put_close(body, ']');
}

static void put_map(struct buffer *body, const struct map *map, struct view *view)
{
    for (size_t i = 0; i < map->count; i++) view->matching += is_shown(view, map, &map->points[i]);
    view->shown = view->matching < (size_t)view->limit ? view->matching : (size_t)view->limit;
    json_put_open(body, '{');
    json_field_text(body, "state", map->count > 0 ? "ready" : "none");
    json_field_time(body, "computedAt", map->made_at);
    json_field_integer(body, "count", (int64_t)view->shown);
    json_field_integer(body, "total", (int64_t)view->matching);
    json_field_boolean(body, "sampled", map->sampled || view->shown < view->matching);
    json_put_key(body, "explained");
    json_put_open(body, '[');
    for (size_t i = 0; i < 2; i++)
        json_put_number(body, map->plane != NULL ? map->plane->explained[i] : 0, 6);
    json_put_close(body, ']');
    put_repositories(body, map);
    json_put_key(body, "points");
    put_points(body, map, view);
    json_put_close(body, '}');
}

/* The first one is being made. */
static void put_no_map(struct buffer *body)
{
    json_put_open(body, '{');
    json_field_text(body, "state", "computing");
    json_field_text(body, "computedAt", NULL);
    json_field_integer(body, "count", 0);
    json_field_integer(body, "total", 0);
    json_field_boolean(body, "sampled", false);
    json_field_raw(body, "explained", "[0,0]");
    json_field_raw(body, "repositories", "[]");
    json_field_text(body, "points", "");
    json_put_close(body, '}');
}

void api_map(struct daemon *daemon, struct http_request *request)
{
    static const char *const known[] = {"limit", "source", "repository", NULL};
    struct query query;
    struct view view = {.limit = LIMIT_DEFAULT};
    struct error err = {0};
    struct buffer body = {0};
    struct map *map;
    if (query_parse(http_query(request), known, &query, &err) != 0 ||
        query_integer(&query, "limit", 1, MAP_MOST, &view.limit, &err) != 0 ||
        api_need_index(daemon, &err) != 0 || mapper_get(daemon->mapper, &map, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        view.source = query_get(&query, "source");
        view.repository = query_get(&query, "repository");
        if (map != NULL)
            put_map(&body, map, &view);
        else
            put_no_map(&body);
        http_respond(request, map != NULL ? 200 : 202, &body);
        map_release(map);
    }
    query_free(&query);
}

/* ---- A point --------------------------------------------------------------------------------- */

enum { DUPLICATES_SHOWN = 20, DUPLICATES_FETCHED = 64 };

/* The best of each document. */
static int find_near(struct replica *replica, int64_t embedding, struct catalog_hits *near,
                     struct error *err)
{
    float vector[EMBEDDING_DIM];
    tk_hit hits[DUPLICATES_FETCHED];
    size_t found;
    /* One that the index does not have yet, or cannot have, has none. */
    if (tk_index_get(replica_index(replica), (tk_id)embedding, vector, NULL) != TK_OK) return 0;
    if (duplicates_find(replica, embedding, vector, DUPLICATES_FETCHED, hits, &found, err) != 0)
        return -1;
    return catalog_best(replica_catalog(replica), NULL, hits, found, DUPLICATES_SHOWN, false, near,
                        err);
}

static void put_near(struct buffer *body, const struct catalog_hits *near)
{
    json_put_key(body, "duplicates");
    json_put_open(body, '[');
    for (size_t i = 0; i < near->count; i++) {
        const struct catalog_hit *hit = &near->hits[i];
        json_put_open(body, '{');
        json_field_integer(body, "embeddingId", hit->embedding);
        json_field_text(body, "id", hit->document);
        json_field_text(body, "source", hit->source);
        json_field_text(body, "repository", hit->repository);
        json_field_text(body, "path", hit->path);
        json_field_number(body, "similarity", hit->similarity < 1 ? (double)hit->similarity : 1, 6);
        json_put_close(body, '}');
    }
    json_put_close(body, ']');
}

static void put_point(struct buffer *body, const struct passage *passage,
                      const struct catalog_hits *near)
{
    json_put_open(body, '{');
    json_field_text(body, "id", passage->document.id);
    json_field_text(body, "source", passage->document.source);
    json_field_text(body, "repository", passage->document.repository);
    json_field_text(body, "path", passage->document.path);
    api_put_chunk(body, passage);
    put_near(body, near);
    json_put_close(body, '}');
}

static int read_id(struct http_request *request, int64_t *embedding, struct error *err)
{
    static const char *const known[] = {"embeddingId", NULL};
    struct query query;
    long id = 0;
    int rc = query_parse(http_query(request), known, &query, err);
    if (rc == 0 && query_get(&query, "embeddingId") == NULL)
        rc = error_set(err, ERR_INVALID, "embeddingId", "embeddingId is missing");
    if (rc == 0) rc = query_integer(&query, "embeddingId", INT32_MIN, INT32_MAX, &id, err);
    query_free(&query);
    *embedding = id;
    return rc;
}

static int fetch_point(struct daemon *daemon, int64_t embedding, struct passage *passage,
                       struct error *err)
{
    if (vault_fetch_passages(daemon->pool, &embedding, 1, FETCH_CHUNK, passage, err) != 0)
        return -1;
    if (passage->found) return 0;
    return error_set(err, ERR_NOT_FOUND, "embeddingId", "there is no such embedding");
}

void api_map_point(struct daemon *daemon, struct http_request *request)
{
    struct error err = {0};
    struct buffer body = {0};
    struct passage passage = {0};
    struct catalog_hits near = {0};
    struct replica *replica = NULL;
    int64_t embedding;
    if (read_id(request, &embedding, &err) != 0 || api_need_index(daemon, &err) != 0 ||
        (replica = api_replica(daemon, &err)) == NULL ||
        fetch_point(daemon, embedding, &passage, &err) != 0 ||
        find_near(replica, embedding, &near, &err) != 0) {
        api_fail(daemon, request, &err);
    } else {
        put_point(&body, &passage, &near);
        http_respond(request, 200, &body);
    }
    catalog_hits_free(&near);
    passage_free(&passage);
    replica_release(replica);
}
