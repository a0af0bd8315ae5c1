#include "tools/tekupd/health.h"

#include "storage/base/log.h"

#include <stdio.h>
#include <string.h>

void health_init(struct health *health)
{
    memset(&health->report, 0, sizeof(health->report));
    snprintf(health->report.reason, sizeof(health->report.reason), "not connected yet");
    pthread_mutex_init(&health->lock, NULL);
}

void health_destroy(struct health *health)
{
    pthread_mutex_destroy(&health->lock);
}

void health_connected(struct health *health, const char *server_version)
{
    pthread_mutex_lock(&health->lock);
    struct health_report *report = &health->report;
    const bool changed = !report->connected;
    report->connected = true;
    report->reason[0] = '\0';
    snprintf(report->server_version, sizeof(report->server_version), "%s", server_version);
    pthread_mutex_unlock(&health->lock);
    if (changed) log_info("database.connected", "version=%s", log_quote(server_version));
}

void health_lost(struct health *health, const struct error *err)
{
    pthread_mutex_lock(&health->lock);
    struct health_report *report = &health->report;
    const bool changed = report->connected || strcmp(report->reason, err->message) != 0;
    report->connected = false;
    snprintf(report->reason, sizeof(report->reason), "%s", err->message);
    pthread_mutex_unlock(&health->lock);
    if (changed) log_warn("database.lost", "error=%s", log_quote(err->message));
}

void health_migrated(struct health *health, const struct migration_result *schema,
                     const char *identity)
{
    pthread_mutex_lock(&health->lock);
    health->report.migrated = true;
    health->report.schema = *schema;
    snprintf(health->report.identity, sizeof(health->report.identity), "%s", identity);
    pthread_mutex_unlock(&health->lock);
}

void health_has_pgvector(struct health *health)
{
    pthread_mutex_lock(&health->lock);
    health->report.schema.pgvector = true;
    pthread_mutex_unlock(&health->lock);
}

struct health_report health_get(struct health *health)
{
    pthread_mutex_lock(&health->lock);
    const struct health_report report = health->report;
    pthread_mutex_unlock(&health->lock);
    return report;
}
