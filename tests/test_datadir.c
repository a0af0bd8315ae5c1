#include "storage/base/paths.h"
#include "tools/tekupd/datadir.h"
#include "tools/tekupd/listener.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static void begin(void)
{
    snprintf(directory, sizeof(directory), "/tmp/tekup-datadir-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    cr_expect_eq(system(command), 0);
}

TestSuite(datadir, .init = begin, .fini = end);
TestSuite(listener, .init = begin, .fini = end);

static const char *in(const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

Test(datadir, makes_both_directories_and_refuses_a_second_daemon)
{
    struct datadir first, second;
    struct error err = {0};
    struct stat found;
    cr_assert_eq(datadir_open(in("a/run"), in("b/data"), &first, &err), 0, "%s", err.message);
    cr_expect_eq(stat(in("a/run"), &found), 0);
    cr_expect_eq(stat(in("b/data"), &found), 0);

    char expected[32];
    snprintf(expected, sizeof(expected), "(process %ld)", (long)getpid());
    cr_expect_eq(datadir_open(in("other"), in("b/data"), &second, &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    cr_expect_not_null(strstr(err.message, expected), "%s", err.message);
    cr_expect_not_null(strstr(err.message, in("b/data")), "%s", err.message);
    datadir_close(&second);

    datadir_close(&first);
    cr_expect_eq(datadir_open(in("a/run"), in("b/data"), &second, &err), 0);
    datadir_close(&second);
}

Test(datadir, the_lock_of_a_killed_daemon_is_gone)
{
    const pid_t child = fork();
    if (child == 0) {
        struct datadir held;
        _exit(datadir_open(in("run"), in("data"), &held, NULL) == 0 ? 7 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(WEXITSTATUS(status), 7);
    struct datadir datadir;
    struct error err = {0};
    cr_expect_eq(datadir_open(in("run"), in("data"), &datadir, &err), 0, "%s", err.message);
    datadir_close(&datadir);
}

Test(datadir, refuses_what_is_no_directory)
{
    struct datadir datadir;
    struct error err = {0};
    close(open(in("file"), O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(datadir_open(in("run"), in("file"), &datadir, &err), -1);
    cr_expect_eq(err.code, ERR_IO);
    cr_expect_not_null(strstr(err.message, in("file")), "%s", err.message);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const int rc = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    close(fd);
    return rc;
}

Test(listener, has_its_mode_answers_and_goes_away)
{
    struct listener listener;
    struct error err = {0};
    struct stat found;
    cr_assert_eq(listener_open(directory, "x.sock", 0660, "", &listener, &err), 0, "%s",
                 err.message);
    cr_expect_eq(stat(in("x.sock"), &found), 0);
    cr_expect(S_ISSOCK(found.st_mode));
    cr_expect_eq(found.st_mode & 0777, 0660);
    cr_expect_eq(connect_to(in("x.sock")), 0);
    listener_close(&listener);
    cr_expect_neq(stat(in("x.sock"), &found), 0);
}

Test(listener, replaces_the_socket_of_a_dead_daemon_and_refuses_a_live_one)
{
    struct listener dead, live, second;
    struct error err = {0};
    cr_assert_eq(listener_open(directory, "x.sock", 0660, "", &dead, &err), 0);
    close(dead.fd); /* as a killed process would: the file stays */
    cr_assert_neq(connect_to(in("x.sock")), 0);
    cr_expect_eq(listener_check(directory, "x.sock", &err), 0);
    cr_assert_eq(listener_open(directory, "x.sock", 0660, "", &live, &err), 0, "%s", err.message);
    cr_expect_eq(connect_to(in("x.sock")), 0);

    cr_expect_eq(listener_open(directory, "x.sock", 0660, "", &second, &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
    cr_expect_eq(listener_check(directory, "x.sock", &err), -1);
    cr_expect_eq(connect_to(in("x.sock")), 0, "the live one is left alone");
    listener_close(&live);
}

Test(listener, leaves_a_socket_that_is_not_its_own)
{
    struct listener first, second;
    struct stat found;
    cr_assert_eq(listener_open(directory, "x.sock", 0660, "", &first, NULL), 0);
    cr_assert_eq(unlink(in("x.sock")), 0);
    cr_assert_eq(listener_open(directory, "x.sock", 0660, "", &second, NULL), 0);
    listener_close(&first);
    cr_expect_eq(stat(in("x.sock"), &found), 0);
    listener_close(&second);
}

Test(listener, refuses_what_cannot_be)
{
    struct listener listener;
    struct error err = {0};
    cr_expect_eq(listener_open(directory, "x.sock", 0660, "no-such-group", &listener, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.field, "http.socket_group");

    char far[200];
    snprintf(far, sizeof(far), "%s/%0120d", directory, 0);
    cr_expect_eq(listener_open(far, "x.sock", 0660, "", &listener, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.message, "107 bytes"), "%s", err.message);

    close(open(in("y.sock"), O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(listener_open(directory, "y.sock", 0660, "", &listener, &err), -1);
    cr_expect_eq(err.code, ERR_CONFLICT);
}
