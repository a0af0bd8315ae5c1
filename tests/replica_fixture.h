/* replica_fixture.h: replicas of made vectors, for tests of what looks at a whole one. */
#ifndef TESTS_REPLICA_FIXTURE_H
#define TESTS_REPLICA_FIXTURE_H

#include "tools/tekupd/mirror/replica.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>

struct fixture_row {
    unsigned document, repository, seed;
    float from_seed; /* how far it is from the vector of the seed */
};

static inline void fixture_fill(float *vector, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        state = state * 1664525u + 1013904223u;
        vector[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
    }
}

/* A replica of these rows; their ids are 1, 2, ... */
static inline struct replica *fixture_replica(const struct fixture_row *rows, size_t count)
{
    struct error err = {0};
    tk_index_options options;
    tk_index_options_init(&options);
    options.dim = EMBEDDING_DIM;
    struct replica *replica = replica_create(&options, "model", &err);
    cr_assert_not_null(replica, "%s", err.message);
    struct intake *intake = intake_create(replica, false, NULL, &err);
    cr_assert_not_null(intake, "%s", err.message);
    const struct vault_reader reader = intake_reader(intake);
    for (size_t i = 0; i < count; i++) {
        float vector[EMBEDDING_DIM], other[EMBEDDING_DIM];
        char id[DOCUMENT_ID_SIZE], repository[16];
        snprintf(id, sizeof(id), "document %u", rows[i].document);
        snprintf(repository, sizeof(repository), "%u", rows[i].repository);
        fixture_fill(vector, rows[i].seed);
        fixture_fill(other, 1000000 + (unsigned)i);
        for (size_t j = 0; j < EMBEDDING_DIM; j++) vector[j] += rows[i].from_seed * other[j];
        cr_assert_eq(reader.document(reader.arg, id, "local", repository, id), 0);
        cr_assert_eq(reader.embedding(reader.arg, (int64_t)i + 1, id, vector), 0);
    }
    cr_assert_eq(intake_flush(intake, &err), 0, "%s", err.message);
    intake_free(intake);
    return replica;
}

#endif
