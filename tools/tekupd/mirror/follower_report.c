/*
 * follower_report.c: what others ask a follower, from their own threads.
 */
#include "tools/tekupd/mirror/follower_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void follower_get(struct follower *follower, struct follower_report *report)
{
    pthread_mutex_lock(&follower->lock);
    *report = follower->report;
    pthread_mutex_unlock(&follower->lock);
    report->applied = atomic_load(&follower->applied);
    report->documents = atomic_load(&follower->progress.documents);
    report->embeddings = atomic_load(&follower->progress.embeddings);
    report->all_documents = atomic_load(&follower->progress.all_documents);
    report->all_embeddings = atomic_load(&follower->progress.all_embeddings);
}

const char *follower_state_name(enum follower_state state)
{
    static const char *const names[] = {
        [FOLLOWER_WAITING] = "waiting",     [FOLLOWER_LOADING] = "loading",
        [FOLLOWER_CATCHING] = "catchingUp", [FOLLOWER_FOLLOWING] = "following",
        [FOLLOWER_AWAY] = "away",
    };
    return names[state];
}

char *follower_position(struct follower *follower)
{
    enum { PATIENCE = 2 };
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    pthread_mutex_lock(&follower->lock);
    const unsigned long long before = follower->fences;
    follower->fence_wanted = true;
    follower_kick(follower);
    while (follower->fences == before &&
           pthread_cond_timedwait(&follower->changed, &follower->lock, &end) == 0) {
    }
    char *copy = follower->position != NULL ? strdup(follower->position) : NULL;
    pthread_mutex_unlock(&follower->lock);
    return copy;
}

char *follower_applied(struct follower *follower)
{
    pthread_mutex_lock(&follower->lock);
    char *copy = follower->report.state == FOLLOWER_FOLLOWING && follower->applied_position != NULL
                     ? strdup(follower->applied_position)
                     : NULL;
    pthread_mutex_unlock(&follower->lock);
    return copy;
}

const char *follower_own_name(const struct follower *follower)
{
    return follower->name;
}

void follower_get_snapshots(struct follower *follower, struct saver_report *report)
{
    saver_get(follower->saver, report);
}

bool follower_is_ready(struct follower *follower, bool *loading, char *reason, size_t reason_size)
{
    struct follower_report report;
    follower_get(follower, &report);
    *loading = !report.answering;
    if (report.changing && report.answering && report.state != FOLLOWER_AWAY) return true;
    switch (report.state) {
    case FOLLOWER_WAITING:
        snprintf(reason, reason_size, "the index is still loading");
        break;
    case FOLLOWER_LOADING:
        snprintf(reason, reason_size,
                 "the index is being read from PostgreSQL: %zu of %zu embeddings",
                 report.embeddings, report.all_embeddings);
        break;
    case FOLLOWER_CATCHING:
        snprintf(reason, reason_size, "the index is catching up with the change feed");
        break;
    case FOLLOWER_AWAY:
        snprintf(reason, reason_size, "%s", report.reason);
        break;
    case FOLLOWER_FOLLOWING:
        return true;
    }
    return false;
}
