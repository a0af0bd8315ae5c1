#include "storage/passthrough/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* ---- Who may ---- */

int identity_allow_user(struct allowed *allowed, uid_t uid)
{
    uid_t *grown = realloc(allowed->users, (allowed->user_count + 1) * sizeof(*grown));
    if (grown == NULL) return -1;
    allowed->users = grown;
    allowed->users[allowed->user_count++] = uid;
    return 0;
}

static int allow_group(struct allowed *allowed, gid_t gid)
{
    gid_t *grown = realloc(allowed->groups, (allowed->group_count + 1) * sizeof(*grown));
    if (grown == NULL) return -1;
    allowed->groups = grown;
    allowed->groups[allowed->group_count++] = gid;
    return 0;
}

/* One name of the list; 0, 1 for one that does not exist, or -1. */
static int allow_name(struct allowed *allowed, const char *name)
{
    char text[16384];
    if (*name == '@') {
        struct group entry, *found = NULL;
        if (getgrnam_r(name + 1, &entry, text, sizeof(text), &found) != 0 || found == NULL)
            return 1;
        return allow_group(allowed, found->gr_gid);
    }
    struct passwd entry, *found = NULL;
    if (getpwnam_r(name, &entry, text, sizeof(text), &found) != 0 || found == NULL) return 1;
    return identity_allow_user(allowed, found->pw_uid);
}

int identity_allow(struct allowed *allowed, const char *list, struct error *err)
{
    if (identity_allow_user(allowed, 0) != 0 || identity_allow_user(allowed, geteuid()) != 0)
        return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    while (list != NULL && *list != '\0') {
        char name[256];
        list += strspn(list, ", \t");
        const size_t length = strcspn(list, ", \t");
        if (length == 0) break;
        if (length >= sizeof(name))
            return error_set(err, ERR_INVALID, NULL, "a name of a user or group is too long");
        memcpy(name, list, length);
        name[length] = '\0';
        list += length;
        const int rc = allow_name(allowed, name);
        if (rc > 0)
            return error_set(err, ERR_INVALID, NULL, "there is no %s '%s'",
                             *name == '@' ? "group" : "user", *name == '@' ? name + 1 : name);
        if (rc < 0) return error_set(err, ERR_INTERNAL, NULL, "memory ran out");
    }
    return 0;
}

void identity_free(struct allowed *allowed)
{
    free(allowed->users);
    free(allowed->groups);
    *allowed = (struct allowed){0};
}

/* ---- Who is there ---- */

int identity_peer(int fd, struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return -1;
    *peer = (struct peer){credentials.pid, credentials.uid, credentials.gid};
    return 0;
}

static bool has_group(const struct allowed *allowed, gid_t gid)
{
    for (size_t i = 0; i < allowed->group_count; i++) {
        if (allowed->groups[i] == gid) return true;
    }
    return false;
}

bool identity_may(const struct allowed *allowed, const struct peer *peer, int fd)
{
    for (size_t i = 0; i < allowed->user_count; i++) {
        if (allowed->users[i] == peer->uid) return true;
    }
    if (allowed->group_count == 0) return false;
    if (has_group(allowed, peer->gid)) return true;
    /* A process may be in more groups than fit here: the kernel then says how many (ERANGE). */
    gid_t few[PEER_GROUPS], *groups = few;
    socklen_t size = sizeof(few);
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    if (rc != 0 && errno == ERANGE) {
        groups = malloc(size);
        if (groups == NULL) return false;
        rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    }
    bool may = false;
    for (size_t i = 0; rc == 0 && !may && i < size / sizeof(*groups); i++)
        may = has_group(allowed, groups[i]);
    if (groups != few) free(groups);
    return may;
}
