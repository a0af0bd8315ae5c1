/*
 * github_spool.h: the files of a repository from its tarball, in one call, on the disk and not in
 * memory.
 *
 * The archive streams through libarchive. Each file that is wanted is written to a file without a
 * name, and found again by the sha of its content: what the archive calls it does not matter, and
 * what the archive leaves out (export-ignore) or changes (export-subst) is simply not there.
 */
#ifndef INGEST_GITHUB_SPOOL_H
#define INGEST_GITHUB_SPOOL_H

#include "ingest/github/github_tree.h"

struct github_spooled {
    char sha[GITHUB_SHA_SIZE];
    off_t offset;
    size_t length;
};

/* Starts as {.fd = -1}. */
struct github_spool {
    int fd;
    off_t end;
    struct github_spooled *list; /* by sha, once it is sorted */
    size_t count, room;
};

/* Adds what the tarball of a commit has of the files that are not known. A download that breaks off
 * is begun again a few times. Errors: those of github_get; ERR_UNAVAILABLE where the archive is
 * damaged; ERR_IO where the disk is full; ERR_TOO_LARGE. */
int github_spool_fill(struct github_spool *spool, const struct github_api *api, const char *commit,
                      const struct github_files *files, struct error *err);

/* The same from an archive that is read from a file descriptor. Separate for tests. */
int github_spool_read(struct github_spool *spool, int archive, const struct github_files *files,
                      size_t max_bytes, struct error *err);

bool github_spool_has(const struct github_spool *spool, const char *sha);

/* Copies a content; NULL where the spool does not have it, or memory ran out, or it cannot be read.
 * The caller frees it. It is NUL-terminated. May be called from several threads. */
char *github_spool_get(const struct github_spool *spool, const char *sha, size_t *length);

void github_spool_free(struct github_spool *spool);

#endif
