/*
 * health.h: how the daemon and its database stand, as the last look found them.
 *
 * Written by the keeper, read by the calls that tell of it. All functions may be called from any
 * thread.
 */
#ifndef TEKUPD_HEALTH_H
#define TEKUPD_HEALTH_H

#include "storage/base/error.h"
#include "storage/feed.h"
#include "storage/migrate.h"

#include <pthread.h>
#include <stdbool.h>

struct health_report {
    bool connected;
    char reason[512]; /* why not; empty while connected */
    bool migrated;
    struct migration_result schema;    /* once migrated */
    char server_version[64];           /* empty until it is known */
    char identity[FEED_IDENTITY_SIZE]; /* of the database that was migrated, as feed_identify */
};

struct health {
    pthread_mutex_t lock; /* protects the report */
    struct health_report report;
};

void health_init(struct health *health);
void health_destroy(struct health *health);

/* These say in the log when something changed. */
void health_connected(struct health *health, const char *server_version);
void health_lost(struct health *health, const struct error *err);

void health_migrated(struct health *health, const struct migration_result *schema,
                     const char *identity);

/* Its embeddings have been converted to vectors. */
void health_has_pgvector(struct health *health);

struct health_report health_get(struct health *health);

#endif
