/*
 * follower_name.h: the name under which this DATA is registered with the change feed, kept in
 * DATA/follower. A copy of DATA, which may run beside the original, gets a name of its own.
 */
#ifndef TEKUPD_FOLLOWER_NAME_H
#define TEKUPD_FOLLOWER_NAME_H

#include "storage/base/error.h"
#include "storage/feed.h"

int follower_name(const char *data, char name[FEED_FOLLOWER_SIZE], struct error *err);

#endif
