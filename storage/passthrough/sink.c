#include "storage/passthrough/sink.h"

enum { KEPT_MOST = 256 << 10 }; /* of a buffer that has grown */

void sink_settle(struct sink *sink)
{
    if (sink->run_length > 0) buffer_append(sink->out, sink->run, sink->run_length);
    sink->run_length = 0;
}

void sink_pass(struct sink *sink, const char *data, size_t length)
{
    if (length == 0) return;
    if (sink->run_length > 0 && sink->run + sink->run_length == data) {
        sink->run_length += length;
        return;
    }
    sink_settle(sink);
    sink->run = data;
    sink->run_length = length;
}

void sink_write(struct sink *sink, struct channel *channel)
{
    if (sink->out->length > 0) sink_settle(sink);
    if (sink->out->failed)
        channel_give_up(channel);
    else if (sink->out->length > 0)
        channel_write(channel, sink->out->data, sink->out->length);
    else if (sink->run_length > 0)
        channel_write(channel, sink->run, sink->run_length);
    sink->run_length = 0;
    if (sink->out->capacity > KEPT_MOST)
        buffer_free(sink->out);
    else
        buffer_clear(sink->out);
}
