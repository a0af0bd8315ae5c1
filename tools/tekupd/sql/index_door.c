#include "tools/tekupd/sql/index_door.h"

#include "storage/base/log.h"
#include "tools/tekupd/daemon.h"
#include "tools/tekupd/models.h"

#include <string.h>
#include <time.h>

enum { AGAIN_S = 3600 };

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void index_door_init(struct index_door *door)
{
    memset(door, 0, sizeof(*door));
    pthread_mutex_init(&door->lock, NULL);
}

void index_door_destroy(struct index_door *door)
{
    pthread_mutex_destroy(&door->lock);
}

static int change_secret(struct index_door *door, const char *identity, struct error *err)
{
    char secret[DOOR_SECRET_SIZE];
    if (door_make_secret(secret, err) != 0) return -1;
    pthread_mutex_lock(&door->lock);
    memcpy(door->secret, secret, sizeof(secret));
    pthread_mutex_unlock(&door->lock);
    strcpy(door->identity, identity);
    return 0;
}

static int write_row(struct daemon *daemon, struct error *err)
{
    struct index_door *door = &daemon->index_door;
    char identity[FEED_IDENTITY_SIZE];
    if (door_identify(daemon->pool, identity, err) != 0) return -1;
    if (strcmp(identity, door->identity) != 0 && change_secret(door, identity, err) != 0) return -1;
    const struct door row = {.run = daemon->config.run,
                             .secret = door->secret,
                             .model = models_serving(daemon->models),
                             .answers = daemon->follower != NULL && daemon->passthrough != NULL};
    return door_open(daemon->pool, &row, err);
}

void index_door_keep(struct daemon *daemon, bool doubtful)
{
    struct index_door *door = &daemon->index_door;
    struct error err = {0};
    if (!doubtful && door->written_s > 0 && now_s() - door->written_s < AGAIN_S) return;
    door->written_s = 0;
    if (write_row(daemon, &err) == 0)
        door->written_s = now_s();
    else
        log_warn("index.door", "error=%s effect=%s", log_quote(err.message),
                 log_quote("vault.match_documents does not find this daemon for now"));
}

void index_door_leave(struct daemon *daemon)
{
    struct error err = {0};
    if (daemon->index_door.written_s > 0 && door_close(daemon->pool, daemon->config.run, &err) != 0)
        log_info("index.door", "error=%s", log_quote(err.message));
}

bool index_door_knows(struct index_door *door, const char *secret)
{
    unsigned char differs = strlen(secret) != DOOR_SECRET_SIZE - 1;
    pthread_mutex_lock(&door->lock);
    if (door->secret[0] == '\0') differs = 1;
    for (size_t i = 0; i < DOOR_SECRET_SIZE - 1 && secret[i] != '\0'; i++)
        differs |= (unsigned char)(secret[i] ^ door->secret[i]);
    pthread_mutex_unlock(&door->lock);
    return differs == 0;
}
