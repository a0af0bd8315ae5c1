/* api_metrics.c: GET /metrics, the pass-through's figures in the text form of Prometheus. */
#include "tools/tekupd/api.h"

#include "storage/passthrough/passthrough.h"

#include <inttypes.h>
#include <stddef.h>

/* One figure of every role. */
struct metric {
    const char *name, *type, *help;
    size_t offset; /* in struct passthrough_role_figures */
    double unit;   /* what a count is multiplied with; 0 for an int that is a gauge */
};

#define GAUGE(name, member, help)                                                                  \
    {                                                                                              \
        name, "gauge", help, offsetof(struct passthrough_role_figures, member), 0                  \
    }
#define COUNTER(name, member, unit, help)                                                          \
    {                                                                                              \
        name, "counter", help, offsetof(struct passthrough_role_figures, member), unit             \
    }

static const struct metric metrics[] = {
    GAUGE("clients", clients, "Clients that are logged in"),
    GAUGE("server_connections", connections, "Connections to PostgreSQL, open or being opened"),
    GAUGE("server_connections_leased", leased, "Connections that a client has"),
    GAUGE("clients_waiting", waiting, "Clients that wait for a connection"),
    GAUGE("clients_pinned", pinned, "Clients that keep their connection between transactions"),
    COUNTER("leases_total", leases, 1, "Connections given to a client"),
    COUNTER("transactions_total", transactions, 1, "Transactions that came to an end"),
    COUNTER("waits_total", waits, 1, "Leases that had to be waited for"),
    COUNTER("wait_seconds_total", wait_us, 1e-6, "How long was waited for leases"),
    COUNTER("wait_timeouts_total", timeouts, 1, "Clients that waited for a connection in vain"),
    COUNTER("server_connections_opened_total", opened, 1, "Connections opened to PostgreSQL"),
    COUNTER("server_connections_lost_total", lost, 1, "Connections lost while a client had them"),
    COUNTER("received_bytes_total", received, 1, "Bytes from clients"),
    COUNTER("sent_bytes_total", sent, 1, "Bytes to clients"),
};

#define PREFIX "tekupdb_passthrough_"

static void put_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_format(out, "# HELP " PREFIX "%s %s.\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void put_value(struct buffer *out, const struct metric *metric,
                      const struct passthrough_role_figures *role)
{
    const char *at = (const char *)role + metric->offset;
    buffer_format(out, PREFIX "%s{role=\"%s\"} ", metric->name, role->name);
    if (metric->unit == 0)
        buffer_format(out, "%d\n", *(const int *)at);
    else if (metric->unit == 1)
        buffer_format(out, "%" PRIu64 "\n", *(const uint64_t *)at);
    else
        buffer_format(out, "%.6f\n", (double)*(const uint64_t *)at * metric->unit);
}

static void put_pins(struct buffer *out, const struct passthrough_figures *figures)
{
    put_head(out, "pins", "gauge", "Clients that keep their connection, by the reason");
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        for (int pin = 0; pin < PINS; pin++)
            buffer_format(out, PREFIX "pins{role=\"%s\",reason=\"%s\"} %d\n",
                          figures->roles[i].name, passthrough_pin_names[pin],
                          figures->roles[i].pins[pin]);
    }
    put_head(out, "pins_total", "counter", "Times that a client was pinned, by the reason");
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        for (int pin = 0; pin < PINS; pin++)
            buffer_format(out, PREFIX "pins_total{role=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                          figures->roles[i].name, passthrough_pin_names[pin],
                          figures->roles[i].pinned_total[pin]);
    }
}

static void put_whole(struct buffer *out, const struct passthrough_figures *figures)
{
    put_head(out, "client_limit", "gauge", "Clients that there may be");
    buffer_format(out, PREFIX "client_limit %d\n", figures->client_limit);
    put_head(out, "client_connections", "gauge", "Clients, logged in or not");
    buffer_format(out, PREFIX "client_connections %d\n", figures->clients);
    put_head(out, "server_connection_limit", "gauge", "Connections to PostgreSQL that may be open");
    buffer_format(out, PREFIX "server_connection_limit %d\n", figures->connection_limit);
    put_head(out, "refused_total", "counter", "Clients that were turned away");
    buffer_format(out, PREFIX "refused_total %" PRIu64 "\n", figures->refused);
}

void api_metrics(struct daemon *daemon, struct http_request *request)
{
    struct buffer body = {0};
    struct error err = {0};
    if (api_no_query(request, &err) != 0) {
        api_fail(daemon, request, &err);
        return;
    }
    if (daemon->passthrough != NULL) {
        struct passthrough_figures figures;
        passthrough_get_figures(daemon->passthrough, &figures);
        put_whole(&body, &figures);
        for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++) {
            put_head(&body, metrics[i].name, metrics[i].type, metrics[i].help);
            for (size_t role = 0; role < PASSTHROUGH_ROLES; role++)
                put_value(&body, &metrics[i], &figures.roles[role]);
        }
        put_pins(&body, &figures);
    }
    http_respond_metrics(request, &body);
}
