#include <tekup/index.h>

#include <criterion/criterion.h>
#include <stdlib.h>

Test(idset, holds_ids_from_the_whole_range)
{
    static const tk_id ids[] = {0,
                                1,
                                UINT32_MAX,
                                (tk_id)UINT32_MAX + 1,
                                UINT64_C(0x123456789abcdef0),
                                UINT64_MAX - 1,
                                UINT64_MAX};
    const size_t n = sizeof(ids) / sizeof(*ids);
    tk_idset *set = tk_idset_create();
    cr_assert_not_null(set);
    cr_expect_eq(tk_idset_count(set), 0);
    /* Backwards, so that the parts are not made in order. */
    for (size_t i = n; i-- > 0;) {
        cr_expect_not(tk_idset_contains(set, ids[i]));
        cr_expect_eq(tk_idset_add(set, ids[i]), TK_OK);
        cr_expect_eq(tk_idset_add(set, ids[i]), TK_OK, "adding twice is no error");
    }
    cr_expect_eq(tk_idset_count(set), n);
    for (size_t i = 0; i < n; i++) cr_expect(tk_idset_contains(set, ids[i]), "id %zu", i);
    cr_expect_not(tk_idset_contains(set, 2));
    cr_expect_not(tk_idset_contains(set, UINT64_C(0x1234567800000000)));
    tk_idset_free(set);
}

Test(idset, adds_many_at_once_as_one_by_one)
{
    enum { N = 5000 };
    tk_id *ids = malloc(N * sizeof(*ids));
    uint64_t x = 1;
    for (size_t i = 0; i < N; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ids[i] = (x >> 62) << 32 | (x >> 20 & 0xfff); /* four parts, with repeats */
    }
    tk_idset *many = tk_idset_create(), *single = tk_idset_create();
    cr_expect_eq(tk_idset_add_many(many, N, ids), TK_OK);
    for (size_t i = 0; i < N; i++) cr_expect_eq(tk_idset_add(single, ids[i]), TK_OK);
    cr_expect_eq(tk_idset_count(many), tk_idset_count(single));
    cr_expect_lt(tk_idset_count(many), N, "there must have been repeats");
    for (size_t i = 0; i < N; i++) cr_expect(tk_idset_contains(many, ids[i]));
    tk_idset_free(many);
    tk_idset_free(single);
    free(ids);
}

Test(idset, refuses_misuse)
{
    tk_id id = 1;
    tk_idset *set = tk_idset_create();
    cr_expect_eq(tk_idset_add(NULL, 1), TK_EINVAL);
    cr_expect_eq(tk_idset_add_many(NULL, 1, &id), TK_EINVAL);
    cr_expect_eq(tk_idset_add_many(set, 1, NULL), TK_EINVAL);
    cr_expect_eq(tk_idset_add_many(set, 0, NULL), TK_OK);
    cr_expect_not(tk_idset_contains(NULL, 1));
    cr_expect_eq(tk_idset_count(NULL), 0);
    tk_idset_free(set);
    tk_idset_free(NULL);
}
