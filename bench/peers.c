/* peers.c: the engines by name, and what to say of those that were left out. */
#include "bench/peer.h"

#include <string.h>

static const struct {
    const char *name;
    const struct peer *peer;
    const char *package;
} peers[] = {
    {"tekup", &peer_tekup, NULL},
#ifdef BENCH_HNSWLIB
    {"hnswlib", &peer_hnswlib, NULL},
#else
    {"hnswlib", NULL, "a C++ compiler and libhnswlib-dev"},
#endif
#ifdef BENCH_FAISS
    {"faiss", &peer_faiss, NULL},
#else
    {"faiss", NULL, "a C++ compiler with OpenMP and libfaiss-dev"},
#endif
#ifdef BENCH_PGVECTOR
    {"pgvector", &peer_pgvector, NULL},
#else
    {"pgvector", NULL, "libpq-dev"},
#endif
};

const struct peer *peer_find(const char *name, const char **missing)
{
    *missing = NULL;
    for (size_t i = 0; i < sizeof(peers) / sizeof(*peers); i++) {
        if (strcmp(name, peers[i].name) != 0) continue;
        *missing = peers[i].package;
        return peers[i].peer;
    }
    return NULL;
}
