/*
 * main.c: tekup-pdftext MOST: reads a PDF file from standard input, which must be a file, and
 * writes its text to standard output, a page after the other with an empty line between them; at
 * most MOST bytes. The exit status is one of enum pdf_status.
 *
 * Files come from anywhere, and poppler is much code. So this process takes from itself what it
 * does not need before it looks at the file: the rights to write files, memory, processor time,
 * other descriptors, new privileges.
 */
#include "ingest/drive/pdf_limits.h"

#include <errno.h>
#include <glib.h>
#include <poppler.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Sanitizers map terabytes of address space. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAY_LIMIT_MEMORY false
#else
#define MAY_LIMIT_MEMORY true
#endif

static bool set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0) return false;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < value) value = limit.rlim_max;
    limit = (struct rlimit){value, value};
    return setrlimit(resource, &limit) == 0;
}

static bool confine(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
           set_limit(RLIMIT_CORE, 0) && set_limit(RLIMIT_FSIZE, 0) &&
           set_limit(RLIMIT_NOFILE, 64) && set_limit(RLIMIT_CPU, PDF_CPU_S) &&
           (!MAY_LIMIT_MEMORY || set_limit(RLIMIT_AS, (rlim_t)PDF_MEMORY_MB << 20));
}

static void say_nothing(const char *domain, GLogLevelFlags level, const char *message, void *arg)
{
    (void)domain, (void)level, (void)message, (void)arg;
}

/* All of standard input, or NULL. */
static GBytes *read_all(void)
{
    struct stat about;
    if (fstat(STDIN_FILENO, &about) != 0 || !S_ISREG(about.st_mode) ||
        about.st_size > PDF_FILE_MOST)
        return NULL;
    const size_t size = (size_t)about.st_size;
    char *bytes = g_malloc(size + 1);
    size_t length = 0;
    while (length < size) {
        const ssize_t got = pread(STDIN_FILENO, bytes + length, size - length, (off_t)length);
        if (got <= 0) break;
        length += (size_t)got;
    }
    return g_bytes_new_take(bytes, length);
}

/* Writes all of it; false where the reader is gone. */
static bool write_all(const char *text, size_t length)
{
    while (length > 0) {
        const ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text += written;
        length -= (size_t)written;
    }
    return true;
}

/* Writes a page's text without the white space at its end, and "\n\n" in front of it unless it is
 * the first that has any. */
static int write_page(const char *text, size_t *left, bool *first)
{
    size_t length = strlen(text);
    while (length > 0 && g_ascii_isspace(text[length - 1])) length--;
    if (length == 0) return PDF_OK;
    const size_t gap = *first ? 0 : 2;
    if (length + gap + 1 > *left) return PDF_TOO_LONG;
    *left -= length + gap;
    *first = false;
    return write_all("\n\n", gap) && write_all(text, length) ? PDF_OK : PDF_FAILED;
}

static int write_pages(PopplerDocument *document, size_t most)
{
    const int pages = poppler_document_get_n_pages(document);
    bool first = true;
    for (int i = 0; i < pages; i++) {
        PopplerPage *page = poppler_document_get_page(document, i);
        char *text = page != NULL ? poppler_page_get_text(page) : NULL;
        const int status = text != NULL ? write_page(text, &most, &first) : PDF_OK;
        g_free(text);
        if (page != NULL) g_object_unref(page);
        if (status != PDF_OK) return status;
    }
    return first || write_all("\n", 1) ? PDF_OK : PDF_FAILED;
}

static int extract(size_t most)
{
    GBytes *bytes = read_all();
    if (bytes == NULL) return PDF_FAILED;
    GError *fault = NULL;
    PopplerDocument *document = poppler_document_new_from_bytes(bytes, NULL, &fault);
    int status;
    if (document != NULL)
        status = write_pages(document, most);
    else if (g_error_matches(fault, POPPLER_ERROR, POPPLER_ERROR_ENCRYPTED))
        status = PDF_ENCRYPTED;
    else
        status = PDF_DAMAGED;
    g_clear_error(&fault);
    if (document != NULL) g_object_unref(document);
    g_bytes_unref(bytes);
    return status;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long most = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
    if (end == NULL || *end != '\0' || end == argv[1] || errno != 0) {
        fputs("usage: tekup-pdftext MOST <FILE\n", stderr);
        return 2;
    }
    if (!confine()) return PDF_FAILED;
    g_log_set_default_handler(say_nothing, NULL);
    return extract((size_t)most);
}
