/* Which entries of a dump are restored. */
#include "storage/backup/refill_list.h"

#include <criterion/criterion.h>

static const char contents[] =
    ";\n"
    "; Archive created at 2026-11-28 11:15:21 UTC\n"
    ";     dbname: tekup_db\n"
    "8; 2615 16390 SCHEMA - vault tekup_admin\n"
    "9; 2615 16391 SCHEMA - tekupdb tekup_admin\n"
    "10; 2615 16392 SCHEMA - tekupdb2 tekup_admin\n"
    "3; 3079 16500 EXTENSION - dblink \n"
    "3700; 0 0 COMMENT - EXTENSION dblink \n"
    "4; 3079 16501 EXTENSION - vector \n"
    "300; 1255 16600 FUNCTION tekupdb ask_index(bytea, integer) tekup_admin\n"
    "215; 1259 16386 TABLE vault VaultDocument tekup_admin\n"
    "3701; 0 0 ACL tekupdb FUNCTION ask_index(query bytea, wanted integer, OUT model text) "
    "tekup_admin\n"
    "3702; 0 0 ACL tekupdb FUNCTION dblink(text) postgres\n"
    "3703; 0 0 ACL - SCHEMA vault tekup_admin\n"
    "3704; 0 0 ACL - SCHEMA public pg_database_owner\n"
    "3705; 0 0 ACL vault TABLE \"VaultDocument\" tekup_admin\n"
    "3706; 0 0 ACL - SCHEMA tekupdb tekup_admin\n"
    "2001; 826 16700 DEFAULT ACL vault DEFAULT PRIVILEGES FOR TABLES tekup_admin\n";

Test(refill_list, leaves_out_what_stays)
{
    static const char *const kept_schemas[] = {"public", "tekupdb", NULL};
    static const char expected[] =
        "8; 2615 16390 SCHEMA - vault tekup_admin\n"
        "10; 2615 16392 SCHEMA - tekupdb2 tekup_admin\n"
        "300; 1255 16600 FUNCTION tekupdb ask_index(bytea, integer) tekup_admin\n"
        "215; 1259 16386 TABLE vault VaultDocument tekup_admin\n"
        "3701; 0 0 ACL tekupdb FUNCTION ask_index(query bytea, wanted integer, OUT model text)"
        " tekup_admin\n"
        "3703; 0 0 ACL - SCHEMA vault tekup_admin\n"
        "3705; 0 0 ACL vault TABLE \"VaultDocument\" tekup_admin\n"
        "3706; 0 0 ACL - SCHEMA tekupdb tekup_admin\n"
        "2001; 826 16700 DEFAULT ACL vault DEFAULT PRIVILEGES FOR TABLES tekup_admin\n";
    struct buffer kept = {0};
    refill_list_keep(contents, kept_schemas, &kept);
    cr_assert_str_eq(kept.data, expected);
    buffer_free(&kept);
}

Test(refill_list, names_the_extensions)
{
    struct buffer names = {0};
    refill_list_extensions(contents, &names);
    cr_assert_str_eq(names.data, "dblink\nvector\n");
    buffer_free(&names);
}

Test(refill_list, bears_lines_that_are_none)
{
    static const char *const none[] = {NULL};
    static const char *const odd[] = {"",
                                      "\n\n",
                                      "1",
                                      "1;",
                                      "1; 2",
                                      "1; 2 3",
                                      "1; 2 3 ",
                                      "1; 2 3 ACL ",
                                      "1; 2 3 ACL x",
                                      "1; 2 3 ACL x FUNCTION",
                                      "1; 2 3 ACL x FUNCTION ",
                                      "1; 2 3 ACL x FUNCTION f",
                                      "1; 2 3 SCHEMA - "};
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct buffer kept = {0};
        refill_list_keep(odd[i], none, &kept);
        refill_list_extensions(odd[i], &kept);
        cr_expect_not(kept.failed);
        buffer_free(&kept);
    }
}
