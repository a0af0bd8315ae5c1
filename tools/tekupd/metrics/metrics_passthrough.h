/* metrics_passthrough.h: the figures of the PostgreSQL socket for GET /metrics. */
#ifndef TEKUPD_METRICS_PASSTHROUGH_H
#define TEKUPD_METRICS_PASSTHROUGH_H

#include "storage/base/buffer.h"
#include "storage/passthrough/passthrough.h"

void metrics_put_passthrough(struct buffer *out, struct passthrough *passthrough);

#endif
