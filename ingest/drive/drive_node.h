/*
 * drive_node.h: one file, folder or shortcut of Drive, as far as we know it, and the table of those
 * that a source sees. The table is kept in the source's cursor, so that a later sync need only ask
 * what has changed. Nothing here is safe for several threads that write.
 */
#ifndef INGEST_DRIVE_NODE_H
#define INGEST_DRIVE_NODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DRIVE_FOLDER "application/vnd.google-apps.folder"
#define DRIVE_SHORTCUT "application/vnd.google-apps.shortcut"

/* What is asked for of each file. */
#define DRIVE_FILE_FIELDS                                                                          \
    "id,name,mimeType,parents,driveId,trashed,md5Checksum,modifiedTime,createdTime,size,"          \
    "webViewLink,owners(emailAddress),shortcutDetails(targetId,targetMimeType),"                   \
    "capabilities(canDownload)"

struct drive_node {
    char *id, *name, *mime;
    char *drive;    /* the shared drive that it is in, or NULL */
    char **parents; /* in the order of their bytes; most have one */
    size_t parent_count;
    char *md5; /* NULL for what Google keeps in its own formats, folders, shortcuts */
    char *modified, *created; /* RFC 3339, "" where not said */
    char *url;                /* for a browser, or NULL */
    char *owners;             /* a JSON array of addresses, or NULL */
    char *target;             /* of a shortcut, or NULL */
    size_t size;
    bool no_download; /* its owner does not allow it */

    /* Our own. */
    bool root;    /* chosen: a shared drive, or a folder of config.folders */
    bool outside; /* here only because a shortcut leads to it */
    bool marked;  /* its name in paths has a suffix, since another had the name before it */
    bool broken;  /* a shortcut that leads nowhere */
    bool gone;    /* removed, and not yet released */
};

/* Whether it is a plausible id: it goes into URLs and queries as it is. */
bool drive_is_id(const char *id);

/* From a resource of the API. NULL: no valid one, or out of memory. */
struct drive_node *drive_node_read(const json_t *file);
void drive_node_free(struct drive_node *node);
bool drive_node_is_folder(const struct drive_node *node);

/* What identifies the content: the MD5 that Drive has of it, or where it has none a hash of the id,
 * type and time of the last change. */
void drive_node_sha(const struct drive_node *node, char out[65]);

/* Starts as {0}. */
struct drive_nodes {
    struct drive_node **list; /* also those that are gone, until drive_nodes_sweep */
    size_t count, room;
    size_t *slots; /* places in list + 1, by the hash of the id; 0: free */
    size_t slot_count;
};

struct drive_node *drive_nodes_find(const struct drive_nodes *nodes, const char *id);

/* Takes node over, in the place of one of the same id, whose own flags it gets: `marked` if it has
 * the same name and parents still, the others always. Returns -1 when memory ran out, 0 where it is
 * as it was, 1 where it is new or different. */
int drive_nodes_put(struct drive_nodes *nodes, struct drive_node *node);

/* Releases what is gone. Returns -1 when memory ran out. */
int drive_nodes_sweep(struct drive_nodes *nodes);
void drive_nodes_free(struct drive_nodes *nodes);

/* As an array of the cursor. NULL: out of memory. */
json_t *drive_nodes_write(const struct drive_nodes *nodes);
/* -1: it is not what drive_nodes_write made. */
int drive_nodes_read(struct drive_nodes *nodes, const json_t *array);

#endif
