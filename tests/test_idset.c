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

Test(idset, is_copied_joined_and_loses_ids)
{
    static const tk_id high = UINT64_C(7) << 32;
    tk_idset *set = tk_idset_create(), *other = tk_idset_create(), *empty = tk_idset_create();
    for (tk_id id = 0; id < 10000; id += 2) {
        tk_idset_add(set, id);
        tk_idset_add(other, high + id);
        tk_idset_add(other, id + 1);
    }
    tk_idset *copy = tk_idset_copy(set);
    cr_assert_not_null(copy);
    cr_expect_eq(tk_idset_add_set(copy, other), TK_OK);
    cr_expect_eq(tk_idset_add_set(copy, copy), TK_OK);
    cr_expect_eq(tk_idset_add_set(copy, empty), TK_OK);
    cr_expect_eq(tk_idset_count(copy), 15000);
    cr_expect_eq(tk_idset_count(set), 5000, "a copy has ids of its own");
    cr_expect_eq(tk_idset_count(other), 10000);
    for (tk_id id = 0; id < 10000; id++) {
        cr_expect(tk_idset_contains(copy, id));
        cr_expect_eq(tk_idset_contains(copy, high + id), id % 2 == 0);
        tk_idset_remove(copy, high + id);
    }
    cr_expect_eq(tk_idset_count(copy), 10000);
    cr_expect_not(tk_idset_contains(copy, high));
    tk_idset_remove(copy, UINT64_MAX);
    tk_idset_remove(copy, 3);
    cr_expect_eq(tk_idset_count(copy), 9999);
    cr_expect_eq(tk_idset_add(copy, 3), TK_OK);
    cr_expect(tk_idset_contains(copy, 3));
    tk_idset_free(copy);
    copy = tk_idset_copy(empty);
    cr_assert_not_null(copy);
    cr_expect_eq(tk_idset_count(copy), 0);
    cr_expect_eq(tk_idset_add_set(copy, other), TK_OK);
    cr_expect_eq(tk_idset_count(copy), 10000);
    tk_idset_free(copy);
    tk_idset_free(empty);
    tk_idset_free(other);
    tk_idset_free(set);
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
    cr_expect_eq(tk_idset_add_set(NULL, set), TK_EINVAL);
    cr_expect_eq(tk_idset_add_set(set, NULL), TK_EINVAL);
    cr_expect_null(tk_idset_copy(NULL));
    tk_idset_remove(NULL, 1);
    tk_idset_free(set);
    tk_idset_free(NULL);
}
