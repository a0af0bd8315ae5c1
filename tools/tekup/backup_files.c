#include "tools/tekup/backup_files.h"

#include "storage/base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_CONFIG "/etc/tekupdb/tekupd.conf"

static const char no_secrets[] = "secrets are saved with --secrets only";

void backup_files_free(struct backup_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        struct backup_extra *extra = &files->extras[i];
        if (extra->content.data != NULL) explicit_bzero(extra->content.data, extra->content.length);
        buffer_free(&extra->content);
        free(extra->name);
        free(extra->path);
        free(extra->why);
    }
    files->count = 0;
}

/* ---- One file -------------------------------------------------------------------------------- */

static char *read_descriptor(int fd, struct buffer *content)
{
    char bytes[8192];
    struct stat found;
    ssize_t got;
    if (fstat(fd, &found) != 0) return strdup(strerror(errno));
    if (!S_ISREG(found.st_mode)) return strdup("it is no file");
    while ((got = read(fd, bytes, sizeof(bytes))) > 0 && content->length <= BACKUP_FILE_SIZE_MOST)
        buffer_append(content, bytes, (size_t)got);
    if (got < 0) return strdup(strerror(errno));
    if (content->length > BACKUP_FILE_SIZE_MOST) return strdup("it is larger than 1 MiB");
    return content->failed ? strdup("out of memory") : NULL;
}

/* Why it cannot be read, or NULL. */
static char *read_file(const char *path, struct buffer *content)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return strdup(strerror(errno));
    char *why = read_descriptor(fd, content);
    close(fd);
    return why;
}

static int add(struct backup_files *files, const char *directory, const char *path, bool wanted,
               struct error *err)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->extras[i].path, path) == 0) return 0;
    if (files->count == BACKUP_FILES_MOST)
        return error_set(err, ERR_TOO_LARGE, NULL, "more than %d files are named",
                         BACKUP_FILES_MOST);
    struct backup_extra *extra = &files->extras[files->count];
    const bool config = strcmp(directory, "config") == 0;
    if ((config ? asprintf(&extra->name, "config/tekupd.conf")
                : asprintf(&extra->name, "%s/%zu-%.60s", directory, files->count, base)) < 0) {
        extra->name = NULL;
        return error_set(err, ERR_INTERNAL, NULL, "out of memory");
    }
    files->count++;
    extra->path = strdup(path);
    extra->why = wanted ? read_file(path, &extra->content) : strdup(no_secrets);
    return extra->path != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* ---- Which ----------------------------------------------------------------------------------- */

struct finding {
    struct backup_files *files;
    bool secrets;
    int rc;
    struct error *err;
};

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), size = strlen(end);
    return length > size && strcmp(text + length - size, end) == 0;
}

/* ca_file is no secret, and is the system's more often than not. */
static int on_setting(void *arg, const char *section, const char *name, const char *value)
{
    struct finding *finding = arg;
    (void)section;
    if (finding->rc == 0 && ends_with(name, "_file") && strcmp(name, "ca_file") != 0 &&
        *value == '/')
        finding->rc = add(finding->files, "secrets", value, finding->secrets, finding->err);
    return 1;
}

static int find_in_sources(struct finding *finding, const char *sources)
{
    json_t *all = json_loads(sources, 0, NULL);
    size_t i;
    json_t *source, *value;
    const char *name;
    json_array_foreach(all, i, source)
    {
        json_object_foreach(source, name, value)
        {
            const char *path = json_string_value(value);
            if (finding->rc == 0 && path != NULL && *path == '/' && ends_with(name, "File"))
                finding->rc = add(finding->files, "secrets", path, finding->secrets, finding->err);
        }
    }
    json_decref(all);
    return finding->rc;
}

/* The file that tekupd reads unless it is told another. */
static int find_config(char path[PATHS_SIZE + 16], struct error *err)
{
    char data[PATHS_SIZE];
    if (paths_data(NULL, NULL, data, err) != 0) return -1;
    snprintf(path, PATHS_SIZE + 16, "%s/tekupd.conf", data);
    if (access(path, F_OK) != 0) snprintf(path, PATHS_SIZE + 16, "%s", SYSTEM_CONFIG);
    if (access(path, F_OK) != 0) *path = '\0';
    return 0;
}

int backup_files_read(struct backup_files *files, const char *config, const char *sources,
                      bool secrets, struct error *err)
{
    char path[PATHS_SIZE + 16];
    struct finding finding = {files, secrets, 0, err};
    if (config == NULL) {
        if (find_config(path, err) != 0) return -1;
        config = path;
    }
    if (*config != '\0') {
        if (add(files, "config", config, true, err) != 0) return -1;
        if (files->extras[0].content.data != NULL)
            ini_parse_string(files->extras[0].content.data, on_setting, &finding);
    }
    return finding.rc == 0 ? find_in_sources(&finding, sources) : -1;
}

/* ---- Keeping --------------------------------------------------------------------------------- */

json_t *backup_files_list(const struct backup_files *files)
{
    json_t *list = json_array();
    for (size_t i = 0; i < files->count; i++) {
        const struct backup_extra *extra = &files->extras[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s?}", "name", extra->name, "path",
                                              extra->path, "saved", extra->why == NULL, "why",
                                              extra->why));
    }
    return list;
}

int backup_files_add(const struct backup_files *files, struct backup_writer *writer,
                     struct error *err)
{
    for (size_t i = 0; i < files->count; i++) {
        const struct backup_extra *extra = &files->extras[i];
        if (extra->why == NULL && backup_writer_add(writer, extra->name, extra->content.data,
                                                    extra->content.length, err) != 0)
            return -1;
    }
    return 0;
}
