#include "storage/base/paths.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The value of a variable, NULL where it is unset or empty. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* A directory of the XDG specification: a relative one is ignored. */
static const char *xdg_variable(const char *name)
{
    const char *value = variable(name);
    return value != NULL && *value == '/' ? value : NULL;
}

static int take(const char *path, const char *suffix, const char *field, char out[PATHS_SIZE],
                struct error *err)
{
    if (*path != '/')
        return error_set(err, ERR_INVALID, field, "%s must be an absolute path, not '%s'", field,
                         path);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    if (length + strlen(suffix) >= PATHS_SIZE)
        return error_set(err, ERR_INVALID, field, "%s is too long (over %d bytes)", field,
                         PATHS_SIZE - 1);
    snprintf(out, PATHS_SIZE, "%.*s%s", (int)length, path, suffix);
    return 0;
}

/* The variable and the configuration, in this order. Returns 1 when neither says anything. */
static int named(const char *name, const char *configured, const char *setting,
                 char out[PATHS_SIZE], struct error *err)
{
    const char *value = variable(name);
    if (value != NULL) return take(value, "", name, out, err);
    if (configured != NULL && *configured != '\0') return take(configured, "", setting, out, err);
    return 1;
}

static const char *home_directory(void)
{
    const char *home = xdg_variable("HOME");
    if (home != NULL) return home;
    const struct passwd *user = getpwuid(geteuid());
    return user != NULL && user->pw_dir != NULL && *user->pw_dir == '/' ? user->pw_dir : NULL;
}

int paths_run(const char *configured, const char *setting, char out[PATHS_SIZE], struct error *err)
{
    const int said = named("TEKUP_RUN", configured, setting, out, err);
    if (said != 1) return said;
    if (geteuid() == 0) return take(PATHS_SYSTEM_RUN, "", "TEKUP_RUN", out, err);
    const char *runtime = xdg_variable("XDG_RUNTIME_DIR");
    if (runtime != NULL) return take(runtime, "/tekupdb", "XDG_RUNTIME_DIR", out, err);
    snprintf(out, PATHS_SIZE, "/tmp/tekupdb-%lu", (unsigned long)geteuid());
    return 0;
}

int paths_data(const char *configured, const char *setting, char out[PATHS_SIZE], struct error *err)
{
    const int said = named("TEKUP_DATA", configured, setting, out, err);
    if (said != 1) return said;
    if (geteuid() == 0) return take(PATHS_SYSTEM_DATA, "", "TEKUP_DATA", out, err);
    const char *data = xdg_variable("XDG_DATA_HOME");
    if (data != NULL) return take(data, "/tekupdb", "XDG_DATA_HOME", out, err);
    const char *home = home_directory();
    if (home == NULL)
        return error_set(err, ERR_INVALID, "TEKUP_DATA",
                         "this user has no home directory: set TEKUP_DATA");
    return take(home, "/.local/share/tekupdb", "HOME", out, err);
}

int paths_make(const char *directory, mode_t mode, struct error *err)
{
    char path[PATHS_SIZE];
    if (strlen(directory) >= sizeof(path))
        return error_set(err, ERR_IO, NULL, "%s: %s", directory, strerror(ENAMETOOLONG));
    snprintf(path, sizeof(path), "%s", directory);

    /* Parents get the usual mode; only the last one is ours to restrict. */
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return error_set(err, ERR_IO, NULL, "cannot make the directory %s: %s", path,
                             strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return error_set(err, ERR_IO, NULL, "cannot make the directory %s: %s", path,
                         strerror(errno));

    struct stat found;
    if (stat(path, &found) != 0)
        return error_set(err, ERR_IO, NULL, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(found.st_mode)) return error_set(err, ERR_IO, NULL, "%s is not a directory", path);
    if (geteuid() != 0 && found.st_uid != geteuid() && found.st_uid != 0)
        return error_set(err, ERR_IO, NULL,
                         "%s belongs to another user (%lu): remove it, or set TEKUP_RUN and "
                         "TEKUP_DATA to directories of your own",
                         path, (unsigned long)found.st_uid);
    return 0;
}
