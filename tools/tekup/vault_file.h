/*
 * vault_file.h: the running vault's vectors in a temporary file.
 *
 * The file is of the form .fbin (the count and the dimension as uint32, then float32, all
 * little-endian). It never has a name, or loses it at once, so that nothing of it is left however
 * this process and those that read it end.
 */
#ifndef TEKUP_VAULT_FILE_H
#define TEKUP_VAULT_FILE_H

#include "tools/tekup/client.h"
#include "tools/tekup/progress.h"

/* Fetches every embedding of the daemon's model (GET /v1/embeddings) into a file in TMPDIR. `most`
 * is how many there are about, for the progress, which may be NULL. Returns a descriptor that is
 * closed on exec, the caller's, or -1. */
int vault_file_make(struct client *client, size_t most, struct progress *progress, size_t *count,
                    struct error *err);

#endif
