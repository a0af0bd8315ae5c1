/*
 * gone.h: ids of rows that were removed lately.
 *
 * A row's id is never used again, but what tells of the row may come late: the thread that wrote it
 * after the thread that removed it, or a load that reads the vault as it stood before. An id is
 * kept for at least KEPT_S seconds, and for as long as a load goes on. Not locked.
 */
#ifndef TEKUPD_GONE_H
#define TEKUPD_GONE_H

#include <stdbool.h>
#include <stdint.h>

struct gone;

struct gone *gone_create(void); /* NULL when memory ran out */
void gone_free(struct gone *gone);

/* now_s is the caller's clock. Returns -1 when memory ran out. */
int gone_add(struct gone *gone, int64_t id, bool loading, double now_s);
bool gone_has(const struct gone *gone, int64_t id);

#endif
