/*
 * api.h: the calls of the HTTP interface (API.md), a file for each group of them.
 *
 * A call runs on a worker and answers its request exactly once. Which pool of workers it runs on
 * says whether it waits for PostgreSQL.
 */
#ifndef TEKUPD_API_H
#define TEKUPD_API_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/http/http.h"
#include "tools/tekupd/http/json_body.h"

extern const struct http_route api_routes[];
extern const size_t api_route_count;

typedef void (*api_call)(struct daemon *daemon, struct http_request *request);

/* ---- Calls ---- */

/* api_search.c; on the searchers */
void api_search(struct daemon *daemon, struct http_request *request);
void api_search_batch(struct daemon *daemon, struct http_request *request);

/* For calls whose answer has a form of its own: searches as POST /v1/search with this body would,
 * and has done() called with its answer, once, by any thread, perhaps before this returns. err is
 * NULL where the search succeeded. The body is the caller's for the call of done(), which may take
 * it over. The request stays the caller's, who answers it; the search is timed by it. */
typedef void (*search_done)(void *arg, const struct error *err, struct buffer *body);
void api_search_ask(struct daemon *daemon, struct http_request *request, const char *json,
                    size_t length, search_done done, void *arg);

/* api_old.c; the first on the searchers, the second on the clerks */
void api_old_search(struct daemon *daemon, struct http_request *request);
void api_old_sync_status(struct daemon *daemon, struct http_request *request);

/* api_documents.c; on the clerks */
void api_documents_list(struct daemon *daemon, struct http_request *request);
void api_documents_get(struct daemon *daemon, struct http_request *request);
void api_documents_get_by_path(struct daemon *daemon, struct http_request *request);
void api_documents_put(struct daemon *daemon, struct http_request *request);
void api_documents_delete(struct daemon *daemon, struct http_request *request);
void api_documents_delete_by_path(struct daemon *daemon, struct http_request *request);

/* api_around.c; on the clerks */
void api_documents_around(struct daemon *daemon, struct http_request *request);

/* api_embeddings.c; on the clerks */
void api_embeddings(struct daemon *daemon, struct http_request *request);

/* api_database.c; on the clerks */
void api_database_pgvector(struct daemon *daemon, struct http_request *request);

/* api_sources.c; on the clerks */
void api_repositories(struct daemon *daemon, struct http_request *request);
void api_sources_list(struct daemon *daemon, struct http_request *request);
void api_sources_put(struct daemon *daemon, struct http_request *request);
void api_sources_delete(struct daemon *daemon, struct http_request *request);
void api_sources_test(struct daemon *daemon, struct http_request *request);

/* api_sync.c; on the clerks */
void api_sync_start(struct daemon *daemon, struct http_request *request);
void api_sync_cancel(struct daemon *daemon, struct http_request *request);
void api_sync_list(struct daemon *daemon, struct http_request *request);

/* What GET /v1/sync answers; source and repository may be NULL: all. */
int api_sync_items(struct daemon *daemon, const char *source, const char *repository,
                   struct buffer *body, struct error *err);

/* api_mcp.c; the first on the searchers, the second on the loops, since it waits for nothing */
void api_mcp(struct daemon *daemon, struct http_request *request);
void api_mcp_card(struct daemon *daemon, struct http_request *request);

/* api_webhook.c; on the clerks */
void api_webhook_github(struct daemon *daemon, struct http_request *request);

/* api_events.c; on the loops, since it waits for nothing */
void api_events(struct daemon *daemon, struct http_request *request);

/* api_metrics.c; on the searchers: it waits for nothing, and walks through the index */
void api_metrics(struct daemon *daemon, struct http_request *request);

/* api_status.c; the first two on the loops, since they wait for nothing */
void api_console_begin(struct daemon *daemon, struct http_request *request);
void api_console_end(struct daemon *daemon, struct http_request *request);
void api_healthz(struct daemon *daemon, struct http_request *request);
void api_readyz(struct daemon *daemon, struct http_request *request);
void api_status(struct daemon *daemon, struct http_request *request);

/* api_index.c; on the clerks, but that they do not wait */
void api_index_snapshot(struct daemon *daemon, struct http_request *request);
void api_index_verify(struct daemon *daemon, struct http_request *request);
void api_index_rebuild(struct daemon *daemon, struct http_request *request);
void api_index_chore(struct daemon *daemon, struct http_request *request);

/* api_page.c; on the loops, since they wait for nothing */
void api_page_html(struct daemon *daemon, struct http_request *request);
void api_page_css(struct daemon *daemon, struct http_request *request);
void api_page_js(struct daemon *daemon, struct http_request *request);
void api_openapi(struct daemon *daemon, struct http_request *request);

/* api_map.c; on the clerks */
void api_map(struct daemon *daemon, struct http_request *request);
void api_map_point(struct daemon *daemon, struct http_request *request);

/* api_figures.c; on the clerks, but that the second one does not wait */
void api_index_figures(struct daemon *daemon, struct http_request *request);
void api_index_recall(struct daemon *daemon, struct http_request *request);
void api_index_speed(struct daemon *daemon, struct http_request *request);

/* ---- For the calls ---- */

struct passage;

/* The member "chunk" of a result: the passage with its range. */
void api_put_chunk(struct buffer *body, const struct passage *passage);

struct search;

/* The answer to a search that did not fail: its results, and by what and how it was searched. */
void api_put_search(struct buffer *body, const struct search *search, const char *model,
                    double took_ms);

/* Answers with the error. Tells the keeper where PostgreSQL was away, and the log what is a defect.
 */
void api_fail(struct daemon *daemon, struct http_request *request, const struct error *err);

/* Answers a write that has been committed, as soon as searches find what it wrote: this document,
 * or with NULL all of it. Does not wait for that. The body is taken over. */
void api_respond_written(struct daemon *daemon, struct http_request *request, const char *document,
                         int status, struct buffer *body);

/* The body of a request that takes no parameters, as json_body_parse has it. */
int api_read_body(struct http_request *request, const char *const *known, const char *const *cut,
                  struct json_slice *slices, json_t **root, struct error *err);

/* Refuses any parameter, for calls that have none. */
int api_no_query(struct http_request *request, struct error *err);

/* Refuses where there is no index in memory, and never will be: ERR_NOT_FOUND. */
int api_need_index(struct daemon *daemon, struct error *err);

/* The replica that is searched, to be released; NULL with ERR_UNAVAILABLE as long as there is none.
 */
struct replica *api_replica(struct daemon *daemon, struct error *err);

/* The syncer, or NULL with ERR_UNAVAILABLE as long as the database has not been there. */
struct syncer *api_syncer(struct daemon *daemon, struct error *err);

#endif
