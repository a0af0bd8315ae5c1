/* drive_fetch.h: the text of one file of Drive. Any thread. */
#ifndef INGEST_DRIVE_FETCH_H
#define INGEST_DRIVE_FETCH_H

#include "ingest/drive/drive_api.h"
#include "ingest/drive/drive_node.h"
#include "ingest/source_kind.h"

/* Why a file is skipped without asking for its content, by what the listing says of it; SKIP_NONE:
 * it is not. */
enum skip_reason drive_fetch_judge(const struct drive_api *api, const struct drive_node *node);

/* As source_kind.fetch. */
int drive_fetch(const struct drive_api *api, const struct drive_node *node, const char *path,
                struct source_content *content, enum skip_reason *reason, struct error *err);

#endif
