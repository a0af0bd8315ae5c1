/*
 * notion_pages.h: the pages that an integration sees, and what their documents are called.
 *
 * A document's path is made of the titles of its parents and its own: "Handbook/First day". Rows of
 * a database are below the database's title. Of pages that would be called the same the oldest is,
 * and each other has eight digits of the hash of its id behind its title (the ids themselves begin
 * alike). Parents that the integration cannot see are left out of the path.
 */
#ifndef INGEST_NOTION_PAGES_H
#define INGEST_NOTION_PAGES_H

#include "ingest/notion/notion_api.h"

#include <stdbool.h>
#include <time.h>

struct notion_page {
    char id[NOTION_ID_SIZE];
    char parent[NOTION_ID_SIZE]; /* "": the workspace */
    bool parent_is_block;        /* which has to be asked where it is */
    bool is_database;            /* a database or data source: no document, but part of paths */
    char *title;                 /* fit for a path */
    char *path;                  /* NULL until notion_pages_name */
    char edited[40];             /* last_edited_time */
    json_t *about;               /* what search says of it */
};

/* Starts as {0}. */
struct notion_pages {
    struct notion_page *list; /* by id */
    size_t count, room;
    size_t *by_path; /* places of those that are documents, by path */
    size_t document_count;
    /* Where blocks are that pages are in: {block: [page or database, its last edit]}. Of the last
     * sync, where that still holds, and of this one. Or NULL. */
    json_t *blocks_before, *blocks;
};

/* Asks for all of them. A listing that Notion says is not complete fails. Since search may leave
 * out for a while what is there, what `cursor` (of notion_pages_save, or NULL) holds and search
 * does not is asked for by itself. */
int notion_pages_list(struct notion_api *api, const char *cursor, struct notion_pages *pages,
                      struct error *err);

/* The ids of all, and where blocks are, for the next listing. The caller frees it. NULL when memory
 * ran out. */
char *notion_pages_save(const struct notion_pages *pages);

/* Gives the documents their paths; of those below the roots where there are any. */
int notion_pages_name(struct notion_api *api, struct notion_pages *pages, struct error *err);

/* Whether what was edited then, in whole minutes, cannot have been edited in that minute again
 * since it was listed. */
bool notion_is_settled(const char *edited, time_t listed);

const struct notion_page *notion_pages_find(const struct notion_pages *pages, const char *path);
void notion_pages_free(struct notion_pages *pages);

/* A title as one part of a path: without '/', control characters, and what has a meaning of its
 * own there; at most 200 bytes. The caller frees it. Separate for tests. */
char *notion_path_part(const char *title);

#endif
