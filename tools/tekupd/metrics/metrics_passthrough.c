#include "tools/tekupd/metrics/metrics_passthrough.h"

#include "tools/tekupd/metrics/prometheus.h"

#include <stddef.h>
#include <stdint.h>

#define PREFIX "tekupdb_passthrough_"

/* One figure of every role. */
struct metric {
    const char *name, *type, *help;
    size_t offset; /* in struct passthrough_role_figures */
    double unit;   /* what a count is multiplied with; 0 for an int that is a gauge */
};

#define GAUGE(name, member, help)                                                                  \
    {                                                                                              \
        PREFIX name, "gauge", help, offsetof(struct passthrough_role_figures, member), 0           \
    }
#define COUNTER(name, member, unit, help)                                                          \
    {                                                                                              \
        PREFIX name, "counter", help, offsetof(struct passthrough_role_figures, member), unit      \
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

static void put_value(struct buffer *out, const struct metric *metric,
                      const struct passthrough_role_figures *role)
{
    const char *at = (const char *)role + metric->offset;
    const struct prometheus_label labels[] = {{"role", role->name}, {NULL, NULL}};
    if (metric->unit == 0)
        prometheus_count(out, metric->name, labels, (uint64_t) * (const int *)at);
    else if (metric->unit == 1)
        prometheus_count(out, metric->name, labels, *(const uint64_t *)at);
    else
        prometheus_number(out, metric->name, labels, (double)*(const uint64_t *)at * metric->unit);
}

static void put_pin(struct buffer *out, const char *name, const char *role, int pin, uint64_t value)
{
    const struct prometheus_label labels[] = {
        {"role", role}, {"reason", passthrough_pin_names[pin]}, {NULL, NULL}};
    prometheus_count(out, name, labels, value);
}

static void put_pins(struct buffer *out, const struct passthrough_figures *figures)
{
    prometheus_family(out, PREFIX "pins", "gauge",
                      "Clients that keep their connection, by the reason");
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        const struct passthrough_role_figures *role = &figures->roles[i];
        for (int pin = 0; pin < PINS; pin++)
            put_pin(out, PREFIX "pins", role->name, pin, (uint64_t)role->pins[pin]);
    }
    prometheus_family(out, PREFIX "pins_total", "counter",
                      "Times that a client was pinned, by the reason");
    for (size_t i = 0; i < PASSTHROUGH_ROLES; i++) {
        const struct passthrough_role_figures *role = &figures->roles[i];
        for (int pin = 0; pin < PINS; pin++)
            put_pin(out, PREFIX "pins_total", role->name, pin, role->pinned_total[pin]);
    }
}

void metrics_put_passthrough(struct buffer *out, struct passthrough *passthrough)
{
    struct passthrough_figures figures;
    passthrough_get_figures(passthrough, &figures);
    prometheus_gauge(out, PREFIX "client_limit", "Clients that there may be", figures.client_limit);
    prometheus_gauge(out, PREFIX "client_connections", "Clients, logged in or not",
                     figures.clients);
    prometheus_gauge(out, PREFIX "server_connection_limit",
                     "Connections to PostgreSQL that may be open", figures.connection_limit);
    prometheus_counter(out, PREFIX "refused_total", "Clients that were turned away",
                       figures.refused);
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++) {
        prometheus_family(out, metrics[i].name, metrics[i].type, metrics[i].help);
        for (size_t role = 0; role < PASSTHROUGH_ROLES; role++)
            put_value(out, &metrics[i], &figures.roles[role]);
    }
    put_pins(out, &figures);
}
