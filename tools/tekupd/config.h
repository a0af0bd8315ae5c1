/*
 * config.h: the daemon's settings, from tekupd.conf and the environment.
 *
 * The file is looked for at --config, else DATA/tekupd.conf, else /etc/tekupdb/tekupd.conf; having
 * none is fine. Every setting is described in the shipped tekupd.conf. Secrets come from the
 * environment: DATABASE_URL goes before what the file says.
 */
#ifndef TEKUPD_CONFIG_H
#define TEKUPD_CONFIG_H

#include "storage/base/buffer.h"
#include "storage/base/error.h"
#include "storage/base/log.h"
#include "storage/base/paths.h"

#include <stdbool.h>

#define CONFIG_SYSTEM_FILE "/etc/tekupdb/tekupd.conf"

struct config {
    char file[PATHS_SIZE]; /* the file that was read, empty where there was none */
    char run[PATHS_SIZE];  /* RUN and DATA as paths.h resolves them */
    char data[PATHS_SIZE];
    char configured_run[PATHS_SIZE]; /* what the file says of them */
    char configured_data[PATHS_SIZE];

    int socket_mode;
    char socket_group[64]; /* empty: the daemon's own group */
    long max_body;         /* bytes */
    int http_threads;      /* 0: one per processor, at most 64 */
    int idle_timeout;      /* seconds */
    int wake_latency;      /* microseconds; -1: nothing is asked of the kernel */
    char http_listen[64];  /* address and port of TCP; empty: none */
    char http_host[256];
    char http_open_loopback[8]; /* on or off */
    char http_key_env[128];
    char http_key_file[PATHS_SIZE];

    char database_url[4096]; /* empty: the private cluster */
    int pool_size;

    char embedding_provider[32]; /* hash or openai */
    char embedding_model[128];   /* of openai; so is what follows */
    char embedding_base_url[1024];
    char embedding_api_version[64];
    char embedding_key_env[128];
    char embedding_key_file[PATHS_SIZE];
    char embedding_dimensions[8]; /* auto, on or off */
    int embedding_batch;          /* texts */
    int embedding_parallel;

    int index_ef; /* 0 in these three: the index's own default */
    int index_max_neighbours;
    int index_ef_construction;

    char search_backend[16]; /* index or postgres */

    long snapshot_changes; /* 0: only when asked for and at the end */
    int snapshot_minutes;  /* 0: the same */

    int sync_threads;

    char outgoing_ca_file[PATHS_SIZE]; /* empty: the system's certificates */
    char outgoing_proxy[1024];         /* empty: what the environment says */
    int outgoing_per_host;

    char github_webhook_secret_file[PATHS_SIZE]; /* empty: none */

    int event_clients;
    long event_buffer; /* bytes */
    int event_keep;    /* seconds */

    char passthrough[8]; /* on or off */
    int connection_limit;
    int passthrough_clients;
    int wait_timeout; /* seconds */
    int passthrough_mode;
    char passthrough_group[64];
    char allow_admin[512]; /* who may be the roles: "user, @group" */
    char allow_vault[512];
    char allow_billy[512];
    char allow_renos[512];
    char allow_crm[512];
    char allow_flow[512];

    int log_level; /* enum log_level */
};

/* Reads the file (NULL: looks for it) and the environment. Errors: ERR_INVALID with field
 * "section.name" and "FILE:LINE: " before the message; ERR_IO where a file that is there, or that
 * was named, cannot be read. *config is complete on success and unchanged on failure. */
int config_load(const char *file, struct config *config, struct error *err);

/* Appends the names of the settings that differ, "http.threads, log.level", to names: those that
 * take effect while the daemon runs (live), or those that need a restart. Returns how many. */
int config_changes(const struct config *before, const struct config *after, bool live,
                   struct buffer *names);

#endif
