/* Where RUN and DATA are: the variables, the configuration, the defaults of root and of a person.
 */
#include "storage/base/paths.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void clear_environment(void)
{
    static const char *const names[] = {"TEKUP_RUN", "TEKUP_DATA", "XDG_RUNTIME_DIR",
                                        "XDG_DATA_HOME"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) unsetenv(names[i]);
}

TestSuite(paths, .init = clear_environment);

Test(paths, the_variable_wins_over_the_configuration)
{
    char path[PATHS_SIZE];
    setenv("TEKUP_RUN", "/srv/run//", 1);
    cr_assert_eq(paths_run("/from/configuration", "run", path, NULL), 0);
    cr_expect_str_eq(path, "/srv/run");
    setenv("TEKUP_DATA", "", 1);
    cr_assert_eq(paths_data("/from/configuration/", "data", path, NULL), 0);
    cr_expect_str_eq(path, "/from/configuration");
}

Test(paths, a_relative_or_endless_path_is_refused_by_name)
{
    char path[PATHS_SIZE];
    struct error err = {0};
    setenv("TEKUP_RUN", "here", 1);
    cr_assert_eq(paths_run(NULL, NULL, path, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "TEKUP_RUN");
    cr_assert_eq(paths_data("data", "daemon.data", path, &err), -1);
    cr_expect_str_eq(err.field, "daemon.data");

    char endless[PATHS_SIZE + 1];
    memset(endless, 'x', sizeof(endless) - 1);
    endless[0] = '/';
    endless[PATHS_SIZE] = '\0';
    cr_assert_eq(paths_data(endless, "daemon.data", path, &err), -1);
    cr_expect_str_eq(err.field, "daemon.data");
}

Test(paths, defaults_of_root_and_of_a_person)
{
    char path[PATHS_SIZE];
    if (geteuid() == 0) {
        setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
        cr_assert_eq(paths_run(NULL, NULL, path, NULL), 0);
        cr_expect_str_eq(path, "/run/tekupdb");
        cr_assert_eq(paths_data(NULL, NULL, path, NULL), 0);
        cr_expect_str_eq(path, "/var/lib/tekupdb");
        cr_assert_eq(seteuid(12345), 0);
    }
    char expected[64];
    snprintf(expected, sizeof(expected), "/tmp/tekupdb-%lu", (unsigned long)geteuid());
    setenv("XDG_RUNTIME_DIR", "relative/is/ignored", 1);
    cr_assert_eq(paths_run(NULL, NULL, path, NULL), 0);
    cr_expect_str_eq(path, expected);
    setenv("XDG_RUNTIME_DIR", "/run/user/12345", 1);
    cr_assert_eq(paths_run("", "run", path, NULL), 0);
    cr_expect_str_eq(path, "/run/user/12345/tekupdb");

    setenv("HOME", "/home/anna", 1);
    cr_assert_eq(paths_data(NULL, NULL, path, NULL), 0);
    cr_expect_str_eq(path, "/home/anna/.local/share/tekupdb");
    setenv("XDG_DATA_HOME", "/data/anna", 1);
    cr_assert_eq(paths_data(NULL, NULL, path, NULL), 0);
    cr_expect_str_eq(path, "/data/anna/tekupdb");
}

Test(paths, makes_a_directory_and_its_parents_and_refuses_what_is_none)
{
    char root[] = "/tmp/tekup-paths-XXXXXX";
    cr_assert_not_null(mkdtemp(root));
    char nested[128], file[128], below[160];
    snprintf(nested, sizeof(nested), "%s/a/b", root);
    snprintf(file, sizeof(file), "%s/a/file", root);
    snprintf(below, sizeof(below), "%s/c", file);

    struct error err = {0};
    cr_assert_eq(paths_make(nested, 0700, &err), 0, "%s", err.message);
    cr_expect_eq(paths_make(nested, 0700, &err), 0, "%s", err.message);
    struct stat found;
    cr_assert_eq(stat(nested, &found), 0);
    cr_expect_eq(found.st_mode & 0777, 0700);

    FILE *stream = fopen(file, "w");
    cr_assert_not_null(stream);
    fclose(stream);
    cr_expect_eq(paths_make(file, 0700, &err), -1);
    cr_expect_eq(err.code, ERR_IO);
    cr_expect_eq(paths_make(below, 0700, &err), -1);
    cr_expect_eq(err.code, ERR_IO);

    if (geteuid() == 0) { /* a directory that a third party made is not trusted */
        cr_assert_eq(chmod(root, 0755), 0);
        cr_assert_eq(chown(nested, 54321, 54321), 0);
        cr_expect_eq(paths_make(nested, 0700, &err), 0, "root takes what it is told");
        cr_assert_eq(seteuid(12345), 0);
        cr_expect_eq(paths_make(nested, 0700, &err), -1);
        cr_assert_not_null(strstr(err.message, "another user"));
        cr_assert_eq(seteuid(0), 0);
    }
    unlink(file);
    rmdir(nested);
    nested[strlen(nested) - 2] = '\0';
    rmdir(nested);
    rmdir(root);
}
