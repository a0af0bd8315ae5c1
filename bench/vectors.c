#include "bench/vectors.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

void *shared_allocate(size_t bytes)
{
    void *memory =
        mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void shared_free(void *memory, size_t bytes)
{
    if (memory) munmap(memory, bytes ? bytes : 1);
}

int vectors_allocate(size_t count, size_t dim, struct vectors *vectors, tk_error *err)
{
    *vectors = (struct vectors){.count = count, .dim = dim};
    if (dim && count > SIZE_MAX / sizeof(float) / dim)
        return fail(err, "%zu vectors of dimension %zu are too many", count, dim);
    vectors->bytes = count * dim * sizeof(float);
    vectors->data = shared_allocate(vectors->bytes);
    if (!vectors->data)
        return fail(err, "there is no memory for %zu vectors of dimension %zu", count, dim);
    return 0;
}

void vectors_free(struct vectors *vectors)
{
    shared_free(vectors->data, vectors->bytes);
    *vectors = (struct vectors){0};
}

int vectors_hold_out(struct vectors *vectors, size_t count, uint64_t seed, struct vectors *held,
                     tk_error *err)
{
    const size_t row = vectors->dim * sizeof(float);
    if (vectors_allocate(count, vectors->dim, held, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        float *chosen = vectors_row(vectors, (size_t)((seed >> 33) % vectors->count));
        const float *last = vectors_row(vectors, --vectors->count);
        memcpy(vectors_row(held, i), chosen, row);
        if (chosen != last) memcpy(chosen, last, row);
    }
    return 0;
}

int vector_normalise(float *vector, size_t dim)
{
    double square = 0;
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(vector[i])) return -1;
        square += (double)vector[i] * vector[i];
    }
    double length = sqrt(square);
    if (!(length > 0) || !isfinite(length)) return -2;
    for (size_t i = 0; i < dim; i++) vector[i] = (float)(vector[i] / length);
    return 0;
}

double vector_dot(const float *a, const float *b, size_t dim)
{
    double sums[4] = {0};
    size_t i = 0;
    for (; i + 4 <= dim; i += 4)
        for (size_t lane = 0; lane < 4; lane++) sums[lane] += (double)a[i + lane] * b[i + lane];
    for (; i < dim; i++) sums[0] += (double)a[i] * b[i];
    return sums[0] + sums[1] + sums[2] + sums[3];
}
