/*
 * plane.h: the plane on which many vectors lie furthest apart: that of their two principal
 * components.
 *
 * Vectors are added a block at a time and are not kept: what is kept is their covariance, dim x dim
 * floats. A fit belongs to one thread.
 */
#ifndef TEKUPD_PLANE_H
#define TEKUPD_PLANE_H

#include "storage/base/error.h"

#include <stddef.h>

struct plane_fit;

struct plane_fit *plane_fit_create(size_t dim, struct error *err); /* dim: 2 or more */
void plane_fit_free(struct plane_fit *fit);                        /* NULL is allowed */

void plane_fit_add(struct plane_fit *fit, const float *vectors, size_t count);

struct plane {
    size_t dim;
    double explained[2]; /* shares of the variance; 0 where there is none */
    float offset[2];     /* where the mean of the vectors lies along the axes */
    float axes[];        /* two of length 1, dim floats each */
};

/* The plane of what was added, for the caller to free; 9 n^3 operations. Where there was a plane
 * before (may be NULL) the axes point the way that its own did, so that a picture does not turn
 * over; otherwise their largest components are positive. */
struct plane *plane_fit_finish(const struct plane_fit *fit, const struct plane *before,
                               struct error *err);

/* Where vectors lie on the plane, the mean of those that it was made of at (0, 0): x and y of each
 * in turn. */
void plane_project(const struct plane *plane, const float *vectors, size_t count, float *xy);

#endif
