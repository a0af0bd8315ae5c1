/*
 * mapper.h: keeps a map of the vault for those who look at it.
 *
 * A map is made when somebody asks for one, on a thread of its own and at the lowest priority
 * beside searches and writes; made anew when somebody asks and the index has changed since, but at
 * most a fifth of the time. All functions may be called from any thread.
 */
#ifndef TEKUPD_MAPPER_H
#define TEKUPD_MAPPER_H

#include "tools/tekupd/map/map.h"
#include "tools/tekupd/mirror/mirror.h"

struct mapper;

/* The mirror outlives it. */
struct mapper *mapper_create(struct mirror *mirror, struct error *err);

/* The newest map, for the caller to release; NULL while the first one is made. Does not wait.
 * Errors: ERR_UNAVAILABLE as long as there is no index or when the daemon stops, ERR_INTERNAL where
 * the first one could not be made; asking again tries again. */
int mapper_get(struct mapper *mapper, struct map **map, struct error *err);

/* Ends what is made, and waits for it. */
void mapper_stop(struct mapper *mapper);
void mapper_free(struct mapper *mapper); /* NULL is allowed for both */

#endif
