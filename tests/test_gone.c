#include "tools/tekupd/gone.h"

#include <criterion/criterion.h>

Test(gone, keeps_ids_long_enough_and_not_for_ever)
{
    struct gone *gone = gone_create();
    cr_assert_not_null(gone);
    cr_assert_eq(gone_add(gone, 1, false, 1000), 0);
    cr_expect(gone_has(gone, 1));
    cr_expect_not(gone_has(gone, 2));
    gone_add(gone, 2, false, 1601);
    cr_expect(gone_has(gone, 1), "older than ten minutes, but the next generation only begins");
    gone_add(gone, 3, false, 2200);
    cr_expect(gone_has(gone, 1));
    gone_add(gone, 4, false, 2202);
    cr_expect_not(gone_has(gone, 1));
    cr_expect(gone_has(gone, 2) && gone_has(gone, 3) && gone_has(gone, 4));
    gone_free(gone);
    gone_free(NULL);
}

Test(gone, keeps_everything_while_a_load_goes_on)
{
    struct gone *gone = gone_create();
    for (int64_t id = 0; id < 100; id++) gone_add(gone, id, true, 1000.0 * (double)id);
    for (int64_t id = 0; id < 100; id++) cr_expect(gone_has(gone, id));
    gone_free(gone);
}
