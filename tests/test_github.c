/* test_github.c: the parts of the github source that call nobody. */
#include "ingest/github/github_config.h"
#include "ingest/github/github_heads.h"
#include "ingest/github/github_spool.h"
#include "storage/base/digest.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(github, .timeout = 600);

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ---- Trees ---- */

struct skips {
    size_t counts[SKIP_REASONS];
};

static void count_skip(void *arg, const char *path, enum skip_reason reason)
{
    (void)path;
    ((struct skips *)arg)->counts[reason]++;
}

/* Takes an answer over under a config. Returns what github_tree_take does. */
static int take(const char *config, const char *answer, struct github_files *files,
                struct skips *skips, bool *truncated)
{
    struct github_config read;
    struct error err = {0};
    cr_assert_eq(github_config_read("a/b", config, &read, &err), 0, "%s", err.message);
    const struct github_api api = {.config = &read};
    const struct github_walk walk = {.api = &api, .prefix = "", .skip = count_skip, .arg = skips};
    json_t *root = json_loads(answer, 0, NULL);
    cr_assert_not_null(root);
    const int status = github_tree_take(&walk, root, "", files, truncated, &err);
    json_decref(root);
    github_config_free(&read);
    return status;
}

static void expect_tree(const char *config, const char *entry, enum skip_reason reason)
{
    char answer[1024];
    struct github_files files = {0};
    struct skips skips = {0};
    bool truncated;
    snprintf(answer, sizeof(answer), "{\"tree\":[%s],\"truncated\":false}", entry);
    cr_expect_eq(take(config, answer, &files, &skips, &truncated), 0, "%s", entry);
    cr_expect_eq(files.count, reason == SKIP_NONE ? 1 : 0, "%s", entry);
    if (reason != SKIP_NONE) cr_expect_eq(skips.counts[reason], 1, "%s", entry);
    github_files_free(&files);
}

#define ENTRY(path, mode, size)                                                                    \
    "{\"path\":\"" path "\",\"mode\":\"" mode "\",\"sha\":\"" SHA_A "\",\"size\":" size "}"

Test(github, what_of_a_tree_is_taken_in)
{
    expect_tree("{}", ENTRY("a.md", "100644", "5"), SKIP_NONE);
    expect_tree("{}", ENTRY("run", "100755", "5"), SKIP_NONE);
    expect_tree("{}", ENTRY("link", "120000", "5"), SKIP_NOT_FILE);
    expect_tree("{}", ENTRY("module", "160000", "0"), SKIP_SUBMODULE);
    expect_tree("{}", ENTRY("empty", "100644", "0"), SKIP_EMPTY);
    expect_tree("{\"maxBytes\":4}", ENTRY("a.md", "100644", "5"), SKIP_TOO_LARGE);
    expect_tree("{\"exclude\":[\"docs/\"]}", ENTRY("docs/a.md", "100644", "5"), SKIP_IGNORED);
    expect_tree("{\"include\":[\"docs/\"]}", ENTRY("docs/a.md", "100644", "5"), SKIP_NONE);
    expect_tree("{\"include\":[\"docs/\"]}", ENTRY("src/a.md", "100644", "5"), SKIP_IGNORED);
    expect_tree("{}", ENTRY("a\\tb", "100644", "5"), SKIP_BINARY);
    expect_tree("{}", ENTRY("../a", "100644", "5"), SKIP_BINARY);
    expect_tree("{}", ENTRY("/a", "100644", "5"), SKIP_BINARY);
    expect_tree("{}", ENTRY("a//b", "100644", "5"), SKIP_BINARY);
}

Test(github, what_is_no_tree_is_refused)
{
    static const char *const answers[] = {
        "{}",
        "{\"tree\":{}}",
        "{\"tree\":[{}]}",
        "{\"tree\":[7]}",
        "{\"tree\":[{\"path\":\"a\",\"mode\":\"100644\",\"sha\":\"short\",\"size\":1}]}",
        "{\"tree\":[{\"path\":\"a\",\"mode\":\"100644\",\"sha\":\"" SHA_A "\",\"size\":-1}]}"};
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        struct github_files files = {0};
        struct skips skips = {0};
        bool truncated;
        cr_expect_eq(take("{}", answers[i], &files, &skips, &truncated), -1, "%s", answers[i]);
        github_files_free(&files);
    }
}

Test(github, a_truncated_tree_gives_nothing_by_itself)
{
    struct github_files files = {0};
    struct skips skips = {0};
    bool truncated = false;
    cr_expect_eq(take("{}", "{\"tree\":[" ENTRY("a", "100644", "5") "],\"truncated\":true}", &files,
                      &skips, &truncated),
                 0);
    cr_expect(truncated);
    cr_expect_eq(files.count, 0);
    github_files_free(&files);
}

/* ---- The cursor ---- */

static void add(struct github_files *files, const char *path, const char *sha, size_t size)
{
    files->list = realloc(files->list, (files->count + 1) * sizeof(*files->list));
    cr_assert_not_null(files->list);
    struct github_file *file = &files->list[files->count++];
    *file = (struct github_file){.path = strdup(path), .size = size};
    memcpy(file->sha, sha, GITHUB_SHA_SIZE);
}

Test(github, the_cursor_remembers_files_and_heads)
{
    struct github_files files = {0}, later = {0};
    struct github_heads heads = {0}, loaded;
    add(&files, "a.md", SHA_A, 1);
    add(&files, "b.md", SHA_B, 1);
    heads.list = calloc(1, sizeof(*heads.list));
    heads.count = 1;
    heads.list[0].branch = strdup("main");
    heads.list[0].etag = strdup("W/\"1\"");
    strcpy(heads.list[0].commit, SHA_B);
    heads.default_branch = strdup("main");
    char *text = github_heads_save(&heads, "o/r", &files);
    cr_assert_not_null(text);
    github_heads_load(&loaded, text);
    cr_assert_eq(loaded.count, 1);
    cr_expect_str_eq(loaded.list[0].commit, SHA_B);
    cr_expect_str_eq(loaded.list[0].etag, "W/\"1\"");
    cr_expect_str_eq(loaded.default_branch, "main");
    cr_expect_null(loaded.etag);

    add(&later, "a.md", SHA_A, 1);     /* as it was */
    add(&later, "b.md", SHA_A, 1);     /* changed */
    add(&later, "moved.md", SHA_B, 1); /* has to be fetched, too */
    github_heads_mark(&loaded, &heads, "o/r", &later);
    cr_expect(later.list[0].known);
    cr_expect_not(later.list[1].known);
    cr_expect_not(later.list[2].known);
    github_heads_mark(&loaded, &heads, "o/renamed", &later);
    cr_expect_not(later.list[0].known, "it has another address now");
    strcpy(heads.list[0].branch, "dev");
    github_heads_mark(&loaded, &heads, "o/r", &later);
    cr_expect_not(later.list[0].known, "it is on another branch now");
    free(text);
    github_heads_free(&heads);
    github_heads_free(&loaded);
    github_files_free(&files);
    github_files_free(&later);
}

Test(github, a_cursor_that_makes_no_sense_is_none)
{
    static const char *const texts[] = {NULL,
                                        "",
                                        "{",
                                        "[]",
                                        "7",
                                        "{\"branches\":7,\"files\":7}",
                                        "{\"etag\":\"x\"}",
                                        "{\"branches\":[{}],\"files\":\"123\"}",
                                        "{\"branches\":[{\"name\":\"m\",\"commit\":\"" SHA_A SHA_B
                                        "\"}]}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct github_heads loaded;
        github_heads_load(&loaded, texts[i]);
        cr_expect_eq(loaded.count, 0);
        cr_expect_eq(loaded.file_count, 0);
        cr_expect_null(loaded.etag);
        github_heads_free(&loaded);
    }
}

Test(github, urls_are_escaped)
{
    char *escaped = github_escape("docs/a b#?%\xc3\xa9.md");
    cr_expect_str_eq(escaped, "docs/a%20b%23%3F%25%C3%A9.md");
    free(escaped);
}

/* ---- Archives ---- */

struct tar {
    int fd;
};

static struct tar begin_tar(void)
{
    char path[] = "/tmp/test_github_XXXXXX";
    const struct tar tar = {.fd = mkstemp(path)};
    cr_assert_geq(tar.fd, 0);
    unlink(path);
    return tar;
}

static void put(const struct tar *tar, const void *bytes, size_t length)
{
    cr_assert_eq(write(tar->fd, bytes, length), (ssize_t)length);
}

/* An entry whose header says `size`, whatever content follows. */
static void put_entry(const struct tar *tar, const char *name, char type, const char *link,
                      uint64_t size, const char *content)
{
    char header[512] = {0}, padding[512] = {0};
    unsigned sum = 0;
    snprintf(header, 100, "%s", name);
    memcpy(header + 100, "0000644", 7);
    memcpy(header + 108, "0000000", 7);
    memcpy(header + 116, "0000000", 7);
    if (size < UINT64_C(1) << 33) {
        char digits[13];
        snprintf(digits, sizeof(digits), "%011llo", (unsigned long long)size);
        memcpy(header + 124, digits, 11);
    } else { /* base 256 */
        header[124] = (char)0x80;
        for (int i = 0; i < 8; i++) header[128 + i] = (char)(size >> (8 * (7 - i)));
    }
    memcpy(header + 136, "00000000000", 11);
    memset(header + 148, ' ', 8);
    header[156] = type;
    snprintf(header + 157, 100, "%s", link);
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(header); i++) sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    put(tar, header, sizeof(header));
    const size_t length = strlen(content);
    put(tar, content, length);
    if (length % 512 != 0) put(tar, padding, 512 - length % 512);
}

static void end_tar(const struct tar *tar)
{
    const char zeros[1024] = {0};
    put(tar, zeros, sizeof(zeros));
    lseek(tar->fd, 0, SEEK_SET);
}

static void add_content(struct github_files *files, const char *path, const char *content)
{
    char sha[GIT_SHA_HEX];
    digest_git_blob(content, strlen(content), sha);
    add(files, path, sha, strlen(content));
}

static void expect_content(const struct github_spool *spool, const char *content, bool there)
{
    char sha[GIT_SHA_HEX];
    size_t length = 0;
    digest_git_blob(content, strlen(content), sha);
    char *text = github_spool_get(spool, sha, &length);
    cr_expect_eq(github_spool_has(spool, sha), there, "%s", content);
    if (there) {
        cr_assert_not_null(text, "%s", content);
        cr_expect_str_eq(text, content);
        cr_expect_eq(length, strlen(content));
    } else {
        cr_expect_null(text, "%s", content);
    }
    free(text);
}

Test(github, contents_are_found_whatever_the_archive_calls_them)
{
    struct github_spool spool = {.fd = -1};
    struct github_files files = {0};
    struct error err = {0};
    const struct tar tar = begin_tar();
    add_content(&files, "a.md", "content of a");
    add_content(&files, "b.md", "content of b");
    add_content(&files, "linked.md", "content behind a link");
    add_content(&files, "known.md", "known already");
    files.list[3].known = true;
    put_entry(&tar, "x/a.md", '0', "", 12, "content of a");
    put_entry(&tar, "../../../../etc/passwd", '0', "", 12, "content of b");
    put_entry(&tar, "/etc/shadow", '0', "", 4, "evil");
    put_entry(&tar, "x/link", '2', "/etc/passwd", 0, "");
    put_entry(&tar, "x/hard", '1', "/etc/passwd", 0, "");
    put_entry(&tar, "x/device", '3', "", 0, "");
    put_entry(&tar, "x/known.md", '0', "", 13, "known already");
    for (int i = 0; i < 100; i++) put_entry(&tar, "x/copy", '0', "", 12, "content of a");
    end_tar(&tar);
    cr_assert_eq(github_spool_read(&spool, tar.fd, &files, 1000, &err), 0, "%s", err.message);
    expect_content(&spool, "content of a", true);
    expect_content(&spool, "content of b", true);
    expect_content(&spool, "content behind a link", false);
    expect_content(&spool, "evil", false);
    expect_content(&spool, "known already", false);
    cr_expect_eq(spool.end, 24, "copies are kept once");
    github_spool_free(&spool);
    github_files_free(&files);
    close(tar.fd);
}

static void expect_failure(const struct tar *tar, enum error_code code)
{
    struct github_spool spool = {.fd = -1};
    struct github_files files = {0};
    struct error err = {0};
    add_content(&files, "a.md", "content of a");
    cr_expect_eq(github_spool_read(&spool, tar->fd, &files, 1000, &err), -1);
    cr_expect_eq(err.code, code, "%s", err.message);
    expect_content(&spool, "content of a", true);
    github_spool_free(&spool);
    github_files_free(&files);
    close(tar->fd);
}

Test(github, an_archive_that_unpacks_to_too_much_is_refused_before_it_does)
{
    const struct tar tar = begin_tar();
    put_entry(&tar, "x/a.md", '0', "", 12, "content of a");
    put_entry(&tar, "x/bomb", '0', "", UINT64_C(1) << 50, "");
    end_tar(&tar);
    expect_failure(&tar, ERR_TOO_LARGE);
}

Test(github, an_archive_that_is_cut_or_damaged_fails_and_what_came_is_kept)
{
    const struct tar cut = begin_tar(), damaged = begin_tar();
    put_entry(&cut, "x/a.md", '0', "", 12, "content of a");
    put_entry(&cut, "x/b.md", '0', "", 900, "");
    lseek(cut.fd, 0, SEEK_SET);
    expect_failure(&cut, ERR_UNAVAILABLE);
    put_entry(&damaged, "x/a.md", '0', "", 12, "content of a");
    char noise[1024];
    memset(noise, 'x', sizeof(noise));
    put(&damaged, noise, sizeof(noise));
    lseek(damaged.fd, 0, SEEK_SET);
    expect_failure(&damaged, ERR_UNAVAILABLE);
}
