/*
 * daemon.h: everything a running tekupd consists of, in the order in which it comes up.
 *
 * One struct daemon is made by main.c and handed to every call. Its parts have locks of their own;
 * what is written here is written before the event loops start, but for the atomic members.
 */
#ifndef TEKUPD_DAEMON_H
#define TEKUPD_DAEMON_H

#include "ingest/pipeline.h"
#include "ingest/sync.h"
#include "storage/cluster/cluster.h"
#include "storage/pool.h"
#include "tools/tekupd/config.h"
#include "tools/tekupd/datadir.h"
#include "tools/tekupd/events/events.h"
#include "tools/tekupd/health.h"
#include "tools/tekupd/http/http.h"
#include "tools/tekupd/listener.h"
#include "tools/tekupd/metrics/search_figures.h"
#include "tools/tekupd/mirror/mirror.h"
#include "tools/tekupd/sql/index_door.h"
#include "tools/tekupd/systemd.h"
#include "tools/tekupd/workers.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct chores;
struct follower;
struct guard;
struct keeper;
struct mapper;
struct model_keeper;
struct models;
struct passthrough;
struct pool_watch;
struct words_keeper;
struct recall_meter;
struct speed;

struct daemon {
    struct config config; /* as it was at the start, but for what a reload changed (main thread) */
    struct systemd_sockets sockets; /* those that were given; -1 once they are a listener's */
    struct timespec began;          /* by the monotonic clock */
    time_t started;                 /* the same by the calendar */
    struct datadir datadir;
    struct cluster *cluster; /* NULL with DATABASE_URL */
    struct pool *pool;
    struct pool_watch *pool_watch;
    struct http_client *outgoing; /* calls to other services */
    struct models *models;        /* that turn texts into embeddings */
    struct mirror mirror;
    /* NULL with search.backend = postgres, these five. */
    struct follower *follower; /* of the mirror */
    struct chores *chores;
    struct speed *speed; /* of the searches in the mirror */
    struct recall_meter *recall_meter;
    struct mapper *mapper;
    struct pipeline pipeline;
    struct workers *searchers; /* work in memory */
    struct workers *askers;    /* queries that wait for their embeddings from a server */
    struct workers *clerks;    /* work with PostgreSQL; a stuck database must not stop searches */
    struct search_figures searched;
    struct http_tally answered;
    struct listener listener;
    struct http_server *http;
    struct guard *guard; /* of TCP */
    struct health health;
    struct index_door index_door;
    struct keeper *keeper;
    struct events *events;
    struct listener passthrough_listener;
    struct passthrough *passthrough; /* NULL with passthrough.listen = off */
    /* NULL until the database is there and migrated, these three. */
    _Atomic(struct syncer *) syncer;
    _Atomic(struct model_keeper *) model_keeper;
    _Atomic(struct words_keeper *) words_keeper;
    _Atomic size_t ef;         /* of searches that name none; 0: the index's own */
    void (*failed)(void *arg); /* called once when it cannot go on */
    void *failed_arg;
};

/* Brings everything up; *daemon is zeroed but for config, sockets, failed and failed_arg. stopping
 * is looked at between the steps. On failure, what is up has to be brought down by daemon_stop all
 * the same.
 */
int daemon_start(struct daemon *daemon, const atomic_bool *stopping, struct error *err);

/* Ends what is under way and brings everything down. */
void daemon_stop(struct daemon *daemon);

/* What is to be done now and then, every few seconds. By the main thread. */
void daemon_tick(struct daemon *daemon);

/* Takes over what may change while it runs, and says in the log what was changed. */
void daemon_reconfigure(struct daemon *daemon, const struct config *config);

/* Whether every event loop has come round since this was asked last. By one thread. */
bool daemon_is_alive(struct daemon *daemon);

/* Whether searches and writes are taken; otherwise why not. */
bool daemon_is_ready(struct daemon *daemon, bool *loading, char *reason, size_t reason_size);

#endif
