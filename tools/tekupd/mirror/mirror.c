#include "tools/tekupd/mirror/mirror.h"

void mirror_init(struct mirror *mirror)
{
    pthread_mutex_init(&mirror->lock, NULL);
    mirror->current = NULL;
}

void mirror_destroy(struct mirror *mirror)
{
    replica_release(mirror->current);
    mirror->current = NULL;
    pthread_mutex_destroy(&mirror->lock);
}

struct replica *mirror_use(struct mirror *mirror)
{
    pthread_mutex_lock(&mirror->lock);
    struct replica *replica = mirror->current != NULL ? replica_keep(mirror->current) : NULL;
    pthread_mutex_unlock(&mirror->lock);
    return replica;
}

void mirror_switch(struct mirror *mirror, struct replica *replica)
{
    struct replica *next = replica != NULL ? replica_keep(replica) : NULL;
    pthread_mutex_lock(&mirror->lock);
    struct replica *before = mirror->current;
    mirror->current = next;
    pthread_mutex_unlock(&mirror->lock);
    replica_release(before);
}
