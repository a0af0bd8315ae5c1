/* secret.c: see secret.h. */
#include "ingest/http/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_MOST = 64 << 10 };

bool secret_env_name_is_valid(const char *name)
{
    if (*name == '\0' || isdigit((unsigned char)*name)) return false;
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && *name != '_') return false;
    return true;
}

void secret_forget(char *secret)
{
    if (secret == NULL) return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

static int check_file(int fd, const char *path, const char *field, struct error *err)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return error_set(err, ERR_IO, field, "%s cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode))
        return error_set(err, ERR_INVALID, field, "%s is not a file", path);
    if (about.st_mode & 07)
        return error_set(err, ERR_INVALID, field,
                         "%s can be read by everybody: chmod 600 it, since it holds a secret",
                         path);
    if (about.st_size > SECRET_MOST)
        return error_set(err, ERR_INVALID, field, "%s is too large to be a secret", path);
    return 0;
}

static int read_file(const char *path, const char *field, char **text, struct error *err)
{
    if (path[0] != '/')
        return error_set(err, ERR_INVALID, field, "%s must be an absolute path", field);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) /* what is configured is wrong, not this program */
        return error_set(err, ERR_INVALID, field, "%s cannot be read: %s", path, strerror(errno));
    ssize_t length = -1;
    char *made = NULL;
    if (check_file(fd, path, field, err) != 0) {
        close(fd);
        return -1;
    }
    made = calloc(1, SECRET_MOST + 1);
    if (made != NULL) length = read(fd, made, SECRET_MOST);
    const int fault = errno;
    close(fd);
    if (length >= 0 && memchr(made, '\0', (size_t)length) == NULL) {
        *text = made;
        return 0;
    }
    free(made);
    if (length >= 0) return error_set(err, ERR_INVALID, field, "%s holds a NUL byte", path);
    return error_set(err, ERR_IO, field, "%s cannot be read: %s", path, strerror(fault));
}

int secret_read(const char *env, const char *file, const char *field, char **secret,
                struct error *err)
{
    char *text = NULL;
    *secret = NULL;
    if (env == NULL && file == NULL) return 0;
    if (env != NULL) {
        const char *value = getenv(env);
        if (value == NULL)
            return error_set(err, ERR_INVALID, field,
                             "the environment variable %s is not set in tekupd's environment", env);
        text = strdup(value);
        if (text == NULL) return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    } else if (read_file(file, field, &text, err) != 0) {
        return -1;
    }
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) text[--length] = '\0';
    if (length == 0 || (file != NULL && env == NULL && strpbrk(text, "\r\n") != NULL &&
                        text[0] != '{' && text[0] != '-')) {
        secret_forget(text);
        return error_set(err, ERR_INVALID, field, "%s %s", env != NULL ? env : file,
                         length == 0 ? "is empty" : "holds more than one line");
    }
    *secret = text;
    return 0;
}
