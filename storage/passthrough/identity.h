/*
 * identity.h: who is at the other end of a UNIX socket, by the kernel's word, and who may be what.
 */
#ifndef STORAGE_PASSTHROUGH_IDENTITY_H
#define STORAGE_PASSTHROUGH_IDENTITY_H

#include "storage/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { PEER_GROUPS = 256 };

struct peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* Users and groups. root and this process's user are always among them. */
struct allowed {
    size_t user_count, group_count;
    uid_t *users;
    gid_t *groups;
};

/* list: names with commas between them, a group's with '@' before it; NULL and "" are nobody more.
 * Errors: ERR_INVALID. */
int identity_allow(struct allowed *allowed, const char *list, struct error *err);
int identity_allow_user(struct allowed *allowed, uid_t uid);
void identity_free(struct allowed *allowed);

int identity_peer(int fd, struct peer *peer);

/* fd is asked for the groups of its peer, as they were when it connected. */
bool identity_may(const struct allowed *allowed, const struct peer *peer, int fd);

#endif
