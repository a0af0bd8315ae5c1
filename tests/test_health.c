#include "tools/tekupd/health.h"

#include <criterion/criterion.h>

Test(health, tells_how_the_database_stands)
{
    struct health health;
    struct error err;
    health_init(&health);
    struct health_report report = health_get(&health);
    cr_expect_not(report.connected);
    cr_expect_not(report.migrated);
    cr_expect_str_neq(report.reason, "", "there is a reason from the beginning");

    health_connected(&health, "15.10");
    health_migrated(&health, &(const struct migration_result){3, 8, true, false}, "1/2/3");
    report = health_get(&health);
    cr_expect(report.connected && report.migrated && report.schema.pgvector);
    cr_expect_str_eq(report.reason, "");
    cr_expect_str_eq(report.server_version, "15.10");
    cr_expect_eq(report.schema.version, 8);

    error_set(&err, ERR_UNAVAILABLE, NULL, "the cable was cut");
    health_lost(&health, &err);
    report = health_get(&health);
    cr_expect_not(report.connected);
    cr_expect_str_eq(report.reason, "the cable was cut");
    cr_expect(report.migrated, "it is still what it was");
    cr_expect_str_eq(report.server_version, "15.10");
    health_destroy(&health);
}
