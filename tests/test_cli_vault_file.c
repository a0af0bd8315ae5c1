/*
 * The vault's vectors in a file without a name, from a server that gives canned pages: what comes
 * to be in the file, and what becomes of pages that are none.
 */
#include "tools/tekup/vault_file.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD = 8, PAGE_MOST = 512, PAGES_MOST = 4 };

static char run[] = "/tmp/tekup-vault-XXXXXX";
static char socket_path[64], temporary[64];

static void start(void)
{
    cr_assert_not_null(mkdtemp(run));
    snprintf(socket_path, sizeof(socket_path), "%s/%s", run, PATHS_SOCKET);
    snprintf(temporary, sizeof(temporary), "%s/tmp", run);
    cr_assert_eq(mkdir(temporary, 0700), 0);
    setenv("TEKUP_RUN", run, 1);
    setenv("TMPDIR", temporary, 1);
}

static void end(void)
{
    unlink(socket_path);
    cr_expect_eq(rmdir(temporary), 0, "nothing is left in TMPDIR");
    rmdir(run);
}

TestSuite(vault_file, .init = start, .fini = end);

/* ---- A server of a few pages ---- */

struct page {
    unsigned char bytes[PAGE_MOST];
    size_t size;
    const char *next; /* NULL on the last one */
};

struct server {
    int listener;
    const struct page *pages;
    int count;
    char targets[256]; /* what was asked for, a line each */
    pthread_t thread;
};

static void put32(struct page *page, uint32_t value)
{
    for (int i = 0; i < 4; i++) page->bytes[page->size++] = (unsigned char)(value >> (8 * i));
}

/* Vectors of whole numbers that count on from `first`; their bits do not matter here. */
static struct page make_page(uint32_t count, uint32_t dim, uint32_t first, const char *next)
{
    struct page page = {.next = next};
    put32(&page, count);
    put32(&page, dim);
    for (uint32_t i = 0; i < count * dim; i++) put32(&page, first + i);
    return page;
}

/* Reads up to the end of the head. */
static void read_request(struct server *server, int fd)
{
    char request[2048] = "", line[128] = "";
    size_t used = 0;
    ssize_t got;
    while (strstr(request, "\r\n\r\n") == NULL &&
           (got = read(fd, request + used, sizeof(request) - 1 - used)) > 0)
        used += (size_t)got;
    sscanf(request, "GET %100s", line);
    strcat(line, "\n");
    strncat(server->targets, line, sizeof(server->targets) - strlen(server->targets) - 1);
}

static void *serve(void *arg)
{
    struct server *server = arg;
    for (int i = 0; i < server->count; i++) {
        const struct page *page = &server->pages[i];
        char head[256];
        const int fd = accept(server->listener, NULL, NULL);
        read_request(server, fd);
        const int length =
            snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nConnection: close\r\n%s%s%s\r\n",
                     page->next != NULL ? "Tekup-Next: " : "", page->next != NULL ? page->next : "",
                     page->next != NULL ? "\r\n" : "");
        if (write(fd, head, (size_t)length) < 0 || write(fd, page->bytes, page->size) < 0)
            perror("write");
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *server, const struct page *pages, int count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, socket_path, sizeof(socket_path));
    *server = (struct server){.pages = pages, .count = count};
    server->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(server->listener, 4), 0);
    cr_assert_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_end(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
    unlink(socket_path);
}

static int make_file(const struct page *pages, int page_count, size_t *count, char targets[256],
                     struct error *err)
{
    struct server server;
    server_start(&server, pages, page_count);
    struct client *client = client_create(err);
    cr_assert_not_null(client);
    const int fd = vault_file_make(client, 100, NULL, count, err);
    client_free(client);
    server_end(&server);
    if (targets != NULL) memcpy(targets, server.targets, sizeof(server.targets));
    return fd;
}

/* ---- Tests ---- */

Test(vault_file, pages_become_one_file)
{
    const struct page pages[] = {make_page(3, 4, 100, "3"), make_page(0, 4, 0, "9"),
                                 make_page(2, 4, 112, NULL)};
    struct page expected = make_page(5, 4, 100, NULL);
    unsigned char found[PAGE_MOST];
    char targets[256];
    struct error err = {0};
    struct stat status;
    size_t count;
    const int fd = make_file(pages, 3, &count, targets, &err);
    cr_assert_geq(fd, 0, "%s", err.message);
    cr_expect_eq(count, 5);
    cr_expect_str_eq(targets, "/v1/embeddings\n/v1/embeddings?after=3\n/v1/embeddings?after=9\n");
    cr_expect_eq(pread(fd, found, sizeof(found), 0), (ssize_t)expected.size);
    cr_expect_eq(memcmp(found, expected.bytes, expected.size), 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_expect_eq(status.st_nlink, 0, "it has no name");

    /* By this path another program opens it. */
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    FILE *again = fopen(path, "rb");
    cr_assert_not_null(again);
    cr_expect_eq(fread(found, 1, sizeof(found), again), expected.size);
    fclose(again);
    close(fd);
}

Test(vault_file, an_empty_vault_is_an_empty_file)
{
    const struct page page = make_page(0, 1536, 0, NULL);
    struct error err = {0};
    size_t count = 1;
    const int fd = make_file(&page, 1, &count, NULL, &err);
    cr_assert_geq(fd, 0, "%s", err.message);
    cr_expect_eq(count, 0);
    close(fd);
}

Test(vault_file, what_is_no_page_is_refused)
{
    struct page bad[6];
    bad[0] = (struct page){.size = 0};
    bad[1] = make_page(1, 4, 0, NULL);
    bad[1].size--;
    bad[2] = make_page(1, 4, 0, NULL);
    bad[2].size++;
    bad[3] = make_page(2, 0, 0, NULL);
    bad[4] = make_page(0, 65537, 0, NULL);
    bad[5] = make_page(1, 4, 0, NULL);
    bad[5].bytes[3] = 0xff; /* a count that would overflow a product of 32 bits */
    for (size_t i = 0; i < 6; i++) {
        struct error err = {0};
        size_t count;
        cr_expect_eq(make_file(&bad[i], 1, &count, NULL, &err), -1, "page %zu", i);
        cr_expect_eq(err.code, ERR_INTERNAL);
        cr_expect_not_null(strstr(err.message, "not a page"), "%s", err.message);
    }
    const struct page changing[] = {make_page(1, 4, 0, "1"), make_page(1, 5, 0, NULL)};
    struct error err = {0};
    size_t count;
    cr_expect_eq(make_file(changing, 2, &count, NULL, &err), -1);
}

Test(vault_file, a_place_that_cannot_be_written_is_named)
{
    struct error err = {0};
    size_t count;
    setenv("TMPDIR", "/nowhere/at/all", 1);
    struct client *client = client_create(&err);
    cr_assert_not_null(client);
    cr_expect_eq(vault_file_make(client, 1, NULL, &count, &err), -1);
    cr_expect_eq(err.code, ERR_IO);
    cr_expect_not_null(strstr(err.message, "/nowhere/at/all"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "TMPDIR"), "%s", err.message);
    client_free(client);
}
