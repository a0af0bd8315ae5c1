#include "storage/passthrough/prepared.h"
#include "storage/passthrough/profile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct role;

Test(passthrough_prepared, what_is_the_same_is_one_statement)
{
    struct statements statements = {0};
    struct statement *one = statement_of(&statements, NULL, 1, "SELECT 1\0\0\0", 11);
    struct statement *same = statement_of(&statements, NULL, 1, "SELECT 1\0\0\0", 11);
    struct statement *types = statement_of(&statements, NULL, 1, "SELECT 1\0\0\1", 11);
    struct statement *profile = statement_of(&statements, NULL, 2, "SELECT 1\0\0\0", 11);
    struct statement *role =
        statement_of(&statements, (const struct role *)&statements, 1, "SELECT 1\0\0\0", 11);
    cr_expect_eq(one, same);
    cr_expect(one != types && one != profile && one != role && types != profile);
    cr_expect_eq(statement_find(&statements, NULL, 1, "SELECT 1\0\0\0", 11), one);
    cr_expect_null(statement_find(&statements, NULL, 1, "SELECT 2\0\0\0", 11));
    char a[STATEMENT_NAME], b[STATEMENT_NAME];
    statement_name(one, a);
    statement_name(types, b);
    cr_expect_str_neq(a, b);
    /* Its result has changed: who prepares it from now on has another one. */
    statement_retire(one);
    struct statement *after = statement_of(&statements, NULL, 1, "SELECT 1\0\0\0", 11);
    cr_expect_neq(after, one);
    cr_expect_eq(statements.count, 5);
    struct statement *all[] = {one, same, types, profile, role, after};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) statement_release(&statements, all[i]);
    cr_expect_eq(statements.count, 0);
    statements_free(&statements);
}

Test(passthrough_prepared, names_come_and_go)
{
    struct statements statements = {0};
    struct names names = {0};
    char name[32];
    for (int i = 0; i < 1000; i++) {
        const int length = snprintf(name, sizeof(name), "s%d", i);
        struct statement *statement = statement_of(&statements, NULL, 1, name, (size_t)length);
        cr_assert(names_add(&names, &statements, name, (size_t)length, statement));
        names_confirm(&names, statement);
    }
    cr_expect_eq(names.count, 1000);
    cr_assert_not_null(names_get(&names, "s77", 3));
    cr_expect_null(names_get(&names, "s1000", 5));
    cr_expect_null(names_get(&names, "s7", 1));

    /* A Close that the server does not get to see is undone. */
    struct name *closing = names_get(&names, "s77", 3);
    closing->closing = true;
    cr_expect_null(names_get(&names, "s77", 3));
    names_keep(&names, closing->statement);
    cr_expect_eq(names_get(&names, "s77", 3), closing);
    closing->closing = true;
    names_drop(&names, &statements, closing->statement, true);
    cr_expect_null(names_get(&names, "s77", 3));
    cr_expect_eq(names.count, 999);
    cr_expect_eq(statements.count, 999);

    /* A Parse that fails leaves no name. */
    struct statement *failed = statement_of(&statements, NULL, 1, "wrong", 5);
    cr_assert(names_add(&names, &statements, "new", 3, failed));
    cr_expect_not_null(names_get(&names, "new", 3));
    names_drop(&names, &statements, failed, false);
    cr_expect_null(names_get(&names, "new", 3));
    names_free(&names, &statements);
    cr_expect_eq(statements.count, 0);
    statements_free(&statements);
}

Test(passthrough_prepared, names_are_compared_as_postgresql_does)
{
    struct statements statements = {0};
    struct names names = {0};
    char name[101];
    memset(name, 'n', sizeof(name));
    cr_assert(
        names_add(&names, &statements, name, 100, statement_of(&statements, NULL, 1, "x", 1)));
    cr_expect_not_null(names_get(&names, name, 63));
    cr_expect_not_null(names_get(&names, name, 101));
    cr_expect_null(names_get(&names, name, 62));
    names_free(&names, &statements);
    statements_free(&statements);
}

Test(passthrough_prepared, a_client_has_so_many_and_no_more)
{
    struct statements statements = {0};
    struct names names = {0};
    char name[32];
    int added = 0;
    for (; added < 2 * NAMES_MOST; added++) {
        const int length = snprintf(name, sizeof(name), "s%d", added);
        struct statement *statement = statement_of(&statements, NULL, 1, "x", 1);
        if (!names_add(&names, &statements, name, (size_t)length, statement)) break;
    }
    cr_expect_eq(added, NAMES_MOST);
    names_free(&names, &statements);
    cr_expect_eq(statements.count, 0);
    statements_free(&statements);
}

Test(passthrough_prepared, the_least_lately_used_gives_way)
{
    struct statements statements = {0};
    struct prepared prepared;
    struct statement *all[PREPARED_MOST];
    char text[32];
    prepared_init(&prepared);
    for (int i = 0; i < PREPARED_MOST; i++) {
        const int length = snprintf(text, sizeof(text), "SELECT %d", i);
        cr_expect_null(prepared_oldest(&prepared), "there is room");
        all[i] = statement_of(&statements, NULL, 1, text, (size_t)length);
        cr_expect_not(prepared_has(&prepared, all[i]));
        cr_assert(prepared_add(&prepared, all[i]));
    }
    cr_expect_eq(prepared_oldest(&prepared), all[0]);
    cr_expect(prepared_has(&prepared, all[0]));
    cr_expect_eq(prepared_oldest(&prepared), all[1], "looking is using");
    prepared_remove(&prepared, &statements, all[1]);
    cr_expect_not(prepared_has(&prepared, all[1]));
    cr_expect_null(prepared_oldest(&prepared));
    prepared_clear(&prepared, &statements);
    for (int i = 0; i < PREPARED_MOST; i++) statement_release(&statements, all[i]);
    cr_expect_eq(statements.count, 0);
    statements_free(&statements);
}

static struct profile *make(struct profiles *profiles, const char *options)
{
    struct profile_draft draft = {0};
    const char *wrong = "";
    cr_assert(profile_options(&draft, options, &wrong), "%s", wrong);
    return profile_of(profiles, &draft);
}

Test(passthrough_profile, equal_ones_are_one)
{
    struct profiles profiles = {0};
    struct profile *one = make(&profiles, "-c a=1 --b-c=two\\ words -cD=x\\\\y");
    struct profile *same = make(&profiles, "-c D=x\\\\y  -c a=0 -c b_c=two\\ words -c A=1");
    struct profile *other = make(&profiles, "-c a=1");
    cr_expect_eq(one, same);
    cr_expect_neq(one, other);
    cr_expect_str_eq(profile_get(one, "b_c"), "two words");
    cr_expect_str_eq(profile_get(one, "d"), "x\\y");
    cr_expect_null(profile_get(other, "d"));
    struct buffer sql = {0};
    profile_sql(one, &sql);
    cr_expect_not_null(strstr(sql.data, "set_config(E'D', E'x\\\\y', false)"), "%s", sql.data);
    buffer_free(&sql);
    profile_release(&profiles, one);
    profile_release(&profiles, same);
    profile_release(&profiles, other);
    cr_expect_null(profiles.first);
}

Test(passthrough_profile, options_that_are_none_are_refused)
{
    static const char *const wrong[] = {"-d 5", "-c", "-c a", "a=1", "--", "--=1", "-c =1", "-B 5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct profile_draft draft = {0};
        const char *at;
        cr_expect_not(profile_options(&draft, wrong[i], &at), "%s", wrong[i]);
        profile_draft_free(&draft);
    }
}

Test(passthrough_profile, what_the_server_shows_is_known_again)
{
    struct profiles profiles = {0};
    struct profile *profile = make(&profiles, "-c statement_timeout=77000");
    static const char row[] = "\0\1\0\0\0\3"
                              "77s";
    cr_expect_not(profile_shows(profile, "statement_timeout", 17, "77s", 3));
    profile_note_shown(profile, row, sizeof(row) - 1);
    cr_expect(profile_shows(profile, "Statement_Timeout", 17, "77s", 3));
    cr_expect_not(profile_shows(profile, "statement_timeout", 17, "78s", 3));
    cr_expect_not(profile_shows(profile, "lock_timeout", 12, "77s", 3));
    profile_release(&profiles, profile);
}
