/* The `local` source against real directories, with readdir() made to fail where a disk would. */
#include "ingest/source_kind.h"

#include "storage/base/buffer.h"
#include "storage/base/digest.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- readdir() that fails with EIO after so many entries ---- */

static int entries_until_eio = -1;

struct dirent *readdir(DIR *directory)
{
    static struct dirent *(*real)(DIR *);
    if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (entries_until_eio >= 0 && entries_until_eio-- == 0) {
        errno = EIO;
        return NULL;
    }
    return real(directory);
}

/* ---- A directory to work in, and what a listing says of it ---- */

static char root[PATH_MAX];

static void make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/tekup-local-XXXXXX");
    cr_assert(mkdtemp(root) != NULL);
    cr_assert_eq(chdir(root), 0);
}

static void remove_root(void)
{
    char command[PATH_MAX + 64];
    cr_assert_eq(chdir("/"), 0);
    snprintf(command, sizeof(command), "chmod -R u+rwX %s 2>&-; rm -rf %s %s.moved", root, root,
             root);
    cr_assert_eq(system(command), 0);
}

static void write_bytes(const char *path, const void *bytes, size_t length)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(copy, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(bytes, 1, length, file), length);
    cr_assert_eq(fclose(file), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

struct listing {
    struct buffer items;   /* "path\n" for each */
    struct buffer skipped; /* "reason path\n" for each */
    size_t count;
    void (*hook)(struct listing *listing, const char *path); /* called for each item */
    int stop_after;                                          /* 0: never */
};

static int on_item(void *arg, const struct source_item *item)
{
    struct listing *listing = arg;
    buffer_format(&listing->items, "%s\n", item->path);
    listing->count++;
    if (listing->hook != NULL) listing->hook(listing, item->path);
    return listing->stop_after != 0 && listing->count >= (size_t)listing->stop_after;
}

static void on_skip(void *arg, const char *path, enum skip_reason reason)
{
    struct listing *listing = arg;
    buffer_format(&listing->skipped, "%s %s\n", skip_reason_name(reason), path);
}

static int open_at_root(const char *config, void **state, struct error *err)
{
    const struct source_context context = {.repository = root, .config = config};
    return source_local.open(&context, state, err);
}

static void *open_source(const char *config)
{
    void *state = NULL;
    struct error err = {0};
    cr_assert_eq(open_at_root(config, &state, &err), 0, "%s", err.message);
    return state;
}

static int list_again(void *state, struct listing *listing, struct error *err)
{
    buffer_clear(&listing->items);
    buffer_clear(&listing->skipped);
    listing->count = 0;
    return source_local.list(state, on_item, on_skip, listing, err);
}

static void free_listing(struct listing *listing)
{
    buffer_free(&listing->items);
    buffer_free(&listing->skipped);
}

static void expect_listing(const char *config, const char *items, const char *skipped)
{
    struct listing listing = {0};
    struct error err = {0};
    void *state = open_source(config);
    cr_assert_eq(list_again(state, &listing, &err), 0, "%s", err.message);
    cr_expect_str_eq(listing.items.data != NULL ? listing.items.data : "", items);
    cr_expect_str_eq(listing.skipped.data != NULL ? listing.skipped.data : "", skipped);
    source_local.close(state);
    free_listing(&listing);
}

static void expect_fetch(void *state, const char *path, int expected, enum skip_reason reason)
{
    struct source_content content;
    struct error err = {0};
    enum skip_reason got = SKIP_NONE;
    const int result = source_local.fetch(state, path, &content, &got, &err);
    cr_expect_eq(result, expected, "%s: %d %s", path, result, err.message);
    cr_expect_eq(got, reason, "%s: %s", path, skip_reason_name(got));
    if (result == 0) free(content.text);
}

static enum error_code fetch_error(void *state, const char *path)
{
    struct source_content content;
    struct error err = {0};
    enum skip_reason reason;
    cr_expect_eq(source_local.fetch(state, path, &content, &reason, &err), -1, "%s", path);
    cr_expect_neq(err.message[0], '\0');
    return err.code;
}

/* ---- Listing ---- */

Test(local, lists_files_in_the_order_of_their_names_and_counts_the_rest)
{
    make_root();
    write_text("b.txt", "b");
    write_text("a/z.txt", "z");
    write_text("a/a.txt", "a");
    write_text("B.txt", "B");
    write_text("empty", "");
    write_text(".git/config", "no document");
    write_text("a/.git", "gitdir: elsewhere");
    write_text("\xc3\xa6/\xc3\xb8.txt", "o");
    cr_assert_eq(symlink("/etc/passwd", "link"), 0);
    cr_assert_eq(symlink("/etc", "a/linked"), 0);
    cr_assert_eq(symlink(".", "loop"), 0);
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    expect_listing("{}", "B.txt\na/a.txt\na/z.txt\nb.txt\n\xc3\xa6/\xc3\xb8.txt\n",
                   "ignored .git\nignored a/.git\nnot_file a/linked\nempty empty\nnot_file link\n"
                   "not_file loop\nnot_file pipe\n");
    remove_root();
}

Test(local, skips_what_is_larger_than_max_bytes)
{
    make_root();
    char *text = malloc((1 << 20) + 1);
    cr_assert(text != NULL);
    memset(text, 'x', (1 << 20) + 1);
    write_bytes("limit", text, 1 << 20);
    write_bytes("over", text, (1 << 20) + 1);
    free(text);
    expect_listing(NULL, "limit\n", "too_large over\n");
    expect_listing("{\"maxBytes\": 16777216}", "limit\nover\n", "");
    expect_listing("{\"maxBytes\": 10}", "", "too_large limit\ntoo_large over\n");
    remove_root();
}

Test(local, respects_gitignore_at_every_level)
{
    make_root();
    write_text(".gitignore", "*.log\nbuild/\n/only-here\n!important.log\n");
    write_text("sub/.gitignore", "!debug.log\nsecret\n");
    write_text("sub/deeper/.gitignore", "*\n!kept\n");
    write_text("x.log", "x");
    write_text("important.log", "x");
    write_text("only-here", "x");
    write_text("sub/only-here", "x");
    write_text("sub/debug.log", "x");
    write_text("sub/secret", "x");
    write_text("secret", "x");
    write_text("build/important.log", "cannot come back");
    write_text("sub/deeper/lost", "x");
    write_text("sub/deeper/kept", "x");
    expect_listing("{}",
                   ".gitignore\nimportant.log\nsecret\nsub/.gitignore\nsub/debug.log\n"
                   "sub/deeper/kept\nsub/only-here\n",
                   "ignored build\nignored only-here\nignored sub/deeper/.gitignore\n"
                   "ignored sub/deeper/lost\nignored sub/secret\nignored x.log\n");
    remove_root();
}

Test(local, takes_no_gitignore_from_behind_a_symbolic_link_as_git_does_not)
{
    make_root();
    write_text("rules", "*.txt\n");
    write_text("a.txt", "a");
    cr_assert_eq(symlink("rules", ".gitignore"), 0);
    expect_listing("{}", "a.txt\nrules\n", "not_file .gitignore\n");
    remove_root();
}

Test(local, include_and_exclude_choose_among_files)
{
    make_root();
    write_text("a.md", "a");
    write_text("b.txt", "b");
    write_text("docs/c.txt", "c");
    write_text("docs/deep/d.bin", "d");
    write_text("drafts/e.md", "e");
    expect_listing("{\"include\": [\"*.md\", \"docs/\"]}",
                   "a.md\ndocs/c.txt\ndocs/deep/d.bin\ndrafts/e.md\n", "ignored b.txt\n");
    expect_listing("{\"include\": [\"*.md\"], \"exclude\": [\"drafts/\"]}", "a.md\n",
                   "ignored b.txt\nignored docs/c.txt\nignored docs/deep/d.bin\nignored drafts\n");
    expect_listing("{\"exclude\": [\"*\", \"!*.md\", \"!*/\"]}", "a.md\ndrafts/e.md\n",
                   "ignored b.txt\nignored docs/c.txt\nignored docs/deep/d.bin\n");
    expect_listing("{\"include\": []}", "",
                   "ignored a.md\nignored b.txt\nignored docs/c.txt\nignored docs/deep/d.bin\n"
                   "ignored drafts/e.md\n");
    remove_root();
}

Test(local, names_that_no_document_can_have_are_counted_as_binary)
{
    make_root();
    write_text("latin-\xe6.txt", "a");
    write_text("line\nend.txt", "b");
    write_text("dir-\xff/inside.txt", "c");
    write_text("good.txt", "d");
    struct listing listing = {0};
    struct error err = {0};
    void *state = open_source("{}");
    cr_assert_eq(list_again(state, &listing, &err), 0);
    cr_expect_str_eq(listing.items.data, "good.txt\n");
    cr_expect_str_eq(listing.skipped.data, "binary dir-\xff\nbinary latin-\xe6.txt\n"
                                           "binary line\nend.txt\n");
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

Test(local, a_deep_tree_needs_few_descriptors)
{
    make_root();
    struct buffer expected = {0};
    for (int i = 0; i < 900; i++) {
        cr_assert_eq(mkdir("dd", 0755), 0);
        cr_assert_eq(chdir("dd"), 0);
        buffer_text(&expected, "dd/");
    }
    write_text("leaf", "deep");
    buffer_text(&expected, "leaf\n");
    const struct rlimit few = {24, 24};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_listing("{}", expected.data, "");
    void *state = open_source("{}");
    expected.data[expected.length - 1] = '\0';
    expect_fetch(state, expected.data, 0, SKIP_NONE);
    source_local.close(state);
    buffer_free(&expected);
    remove_root();
}

Test(local, a_path_longer_than_the_vault_takes_is_skipped)
{
    make_root();
    char part[201];
    memset(part, 'p', 200);
    part[200] = '\0';
    for (int i = 0; i < 22; i++) {
        cr_assert_eq(mkdir(part, 0755), 0);
        cr_assert_eq(chdir(part), 0);
    }
    write_text("leaf", "too far down");
    struct listing listing = {0};
    struct error err = {0};
    void *state = open_source("{}");
    cr_assert_eq(list_again(state, &listing, &err), 0);
    cr_expect_eq(listing.count, 0);
    cr_expect_eq(strncmp(listing.skipped.data, "unreadable ", 11), 0);
    cr_expect_eq(strchr(listing.skipped.data, '\n'),
                 listing.skipped.data + listing.skipped.length - 1);
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

/* Leaves root's privileges behind, which no permission would stop. */
static void become_nobody(void)
{
    if (geteuid() != 0) return;
    cr_assert_eq(chown(root, 65534, 65534), 0);
    cr_assert_eq(seteuid(65534), 0);
}

Test(local, what_may_not_be_read_is_skipped_and_named)
{
    make_root();
    become_nobody();
    write_text("open", "x");
    write_text("shut", "x");
    write_text("shut-directory/inside", "x");
    write_text("shut-rules/.gitignore", "hidden\n");
    write_text("shut-rules/hidden", "x");
    write_text("names-only/file", "x");
    cr_assert_eq(chmod("shut", 0), 0);
    cr_assert_eq(chmod("shut-directory", 0), 0);
    cr_assert_eq(chmod("shut-rules/.gitignore", 0), 0);
    cr_assert_eq(chmod("names-only", 0400), 0);
    expect_listing("{}", "open\nshut\n",
                   "unreadable names-only/\nunreadable shut-directory/\nunreadable shut-rules/\n");
    void *state = open_source("{}");
    expect_fetch(state, "open", 0, SKIP_NONE);
    expect_fetch(state, "shut", 1, SKIP_UNREADABLE);
    expect_fetch(state, "shut-directory/inside", 1, SKIP_UNREADABLE);
    source_local.close(state);
    if (geteuid() != getuid()) cr_assert_eq(seteuid(0), 0);
    remove_root();
}

/* ---- Listings that must fail ---- */

Test(local, a_listing_that_fails_half_way_is_an_error)
{
    make_root();
    write_text("a/1", "1");
    write_text("a/2", "2");
    write_text("b/3", "3");
    struct listing listing = {0};
    void *state = open_source("{}");
    struct error err = {0};
    cr_assert_eq(list_again(state, &listing, &err), 0);
    cr_expect_eq(listing.count, 3);
    /* ".", "..", "a", "b" and the end of the root; then into "a" and "b". */
    int failures = 0;
    for (int i = 0; i < 15; i++) {
        memset(&err, 0, sizeof(err));
        entries_until_eio = i;
        const int result = list_again(state, &listing, &err);
        const bool fired = entries_until_eio < 0;
        entries_until_eio = -1;
        cr_expect_eq(result, fired ? -1 : 0, "after %d entries", i);
        if (!fired) continue;
        failures++;
        cr_expect_eq(err.code, ERR_IO);
        cr_expect(strstr(err.message, root) != NULL, "%s", err.message);
        cr_expect(strstr(err.message, "Input/output error") != NULL, "%s", err.message);
    }
    cr_expect_eq(failures, 14);
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

static void move_root(void)
{
    char moved[PATH_MAX + 8];
    snprintf(moved, sizeof(moved), "%s.moved", root);
    cr_assert_eq(rename(root, moved), 0);
}

static void move_root_at_first(struct listing *listing, const char *path)
{
    (void)path;
    if (listing->count == 1) move_root();
}

Test(local, a_root_that_goes_away_fails_the_listing)
{
    make_root();
    write_text("1", "1");
    write_text("2", "2");
    struct listing listing = {.hook = move_root_at_first};
    struct error err = {0};
    void *state = open_source("{}");
    cr_expect_eq(source_local.verify(state, &err), 0);
    cr_expect_eq(list_again(state, &listing, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect(strstr(err.message, root) != NULL, "%s", err.message);
    cr_expect_eq(source_local.verify(state, &err), -1);

    /* Another directory in its place, empty or not, is another root. */
    listing.hook = NULL;
    cr_assert_eq(mkdir(root, 0755), 0);
    cr_expect_eq(list_again(state, &listing, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    cr_expect_eq(fetch_error(state, "3"), ERR_UNAVAILABLE);
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

Test(local, a_root_that_was_deleted_fails_the_listing)
{
    make_root();
    struct listing listing = {0};
    struct error err = {0};
    void *state = open_source("{}");
    cr_assert_eq(rmdir(root), 0);
    cr_expect_eq(list_again(state, &listing, &err), -1);
    cr_expect_neq(err.message[0], '\0');
    source_local.close(state);
    cr_expect_eq(open_at_root("{}", &state, &err), -1);
    cr_expect_eq(err.code, ERR_UNAVAILABLE);
    free_listing(&listing);
    remove_root();
}

static void remove_later_directory(struct listing *listing, const char *path)
{
    (void)listing;
    if (strcmp(path, "a/1") == 0) cr_assert_eq(system("rm -rf b && rm -rf c && ln -s /etc c"), 0);
}

Test(local, a_subdirectory_that_vanishes_is_gone_and_the_rest_is_listed)
{
    make_root();
    write_text("a/1", "1");
    write_text("b/2", "2");
    write_text("c/3", "3");
    write_text("d/4", "4");
    struct listing listing = {.hook = remove_later_directory};
    struct error err = {0};
    void *state = open_source("{}");
    cr_expect_eq(list_again(state, &listing, &err), 0, "%s", err.message);
    cr_expect_str_eq(listing.items.data, "a/1\nd/4\n");
    cr_expect_str_eq(listing.skipped.data, "not_file c\n");
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

Test(local, a_listing_ends_when_it_is_told_to)
{
    make_root();
    write_text("1", "1");
    write_text("2", "2");
    write_text("3/3", "3");
    struct listing listing = {.stop_after = 2};
    struct error err = {0};
    void *state = open_source("{}");
    cr_expect_eq(list_again(state, &listing, &err), -1);
    cr_expect_eq(err.code, ERR_CANCELLED);
    cr_expect_eq(listing.count, 2);
    source_local.close(state);
    free_listing(&listing);
    remove_root();
}

/* ---- Fetching ---- */

Test(local, fetches_text_with_the_sha_that_git_gives_it)
{
    static const char text[] = "\xef\xbb\xbf"
                               "Bl\xc3\xa5"
                               "b\xc3\xa6r\r\n";
    make_root();
    write_text("d/file", text);
    void *state = open_source("{}");
    struct source_content content;
    struct error err = {0};
    enum skip_reason reason;
    cr_assert_eq(source_local.fetch(state, "d/file", &content, &reason, &err), 0);
    cr_expect_str_eq(content.text, text + 3, "the byte order mark is no part of the text");
    cr_expect_eq(content.length, strlen(text + 3));
    cr_expect(content.metadata == NULL);

    FILE *git = popen("git hash-object --no-filters d/file", "r");
    char sha[64] = "";
    cr_assert(git != NULL && fgets(sha, sizeof(sha), git) != NULL);
    cr_assert_eq(pclose(git), 0);
    sha[strcspn(sha, "\n")] = '\0';
    cr_expect_str_eq(content.sha, sha);
    free(content.text);
    source_local.close(state);
    remove_root();
}

Test(local, skips_what_is_no_text)
{
    make_root();
    write_bytes("nul", "text\0more", 9);
    write_bytes("nul-last", "text\0", 5);
    write_text("latin1", "bl\xe5"
                         "b\xe6r");
    write_text("surrogate", "\xed\xa0\x80");
    write_text("blank", " \r\n\t\n");
    write_text("grown", "0123456789");
    write_text("text", "\xe2\x82\xac");
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    cr_assert_eq(mkdir("directory", 0755), 0);
    cr_assert_eq(symlink("text", "link"), 0);
    void *state = open_source("{\"maxBytes\": 9}");
    expect_fetch(state, "nul", 1, SKIP_BINARY);
    expect_fetch(state, "nul-last", 1, SKIP_BINARY);
    expect_fetch(state, "latin1", 0, SKIP_NONE);
    expect_fetch(state, "surrogate", 1, SKIP_BINARY);
    expect_fetch(state, "blank", 1, SKIP_EMPTY);
    expect_fetch(state, "grown", 1, SKIP_TOO_LARGE);
    expect_fetch(state, "text", 0, SKIP_NONE);
    expect_fetch(state, "pipe", 1, SKIP_NOT_FILE);
    expect_fetch(state, "directory", 1, SKIP_NOT_FILE);
    expect_fetch(state, "link", 1, SKIP_NOT_FILE);
    source_local.close(state);
    remove_root();
}

Test(local, a_file_that_went_away_is_not_found_and_no_link_leads_out)
{
    make_root();
    write_text("d/passwd", "x");
    write_text("file", "x");
    void *state = open_source("{}");
    cr_expect_eq(fetch_error(state, "gone"), ERR_NOT_FOUND);
    cr_expect_eq(fetch_error(state, "gone/deeper"), ERR_NOT_FOUND);
    cr_expect_eq(fetch_error(state, "file/below"), ERR_NOT_FOUND);
    cr_assert_eq(system("rm -r d && ln -s /etc d"), 0);
    cr_expect_eq(fetch_error(state, "d/passwd"), ERR_NOT_FOUND);
    move_root();
    cr_expect_eq(fetch_error(state, "gone"), ERR_UNAVAILABLE);
    source_local.close(state);
    remove_root();
}

/* ---- Settings ---- */

static void expect_refused(const char *repository, const char *config, const char *field)
{
    struct error err = {0};
    cr_expect_eq(source_local.check(repository, config, &err), -1, "%s", config);
    cr_expect_eq(err.code, ERR_INVALID, "%s: %s", config, error_code_name(err.code));
    cr_expect_str_eq(err.field, field, "%s", config);
    cr_expect(strstr(err.message, field) != NULL || strstr(err.message, "directory") != NULL,
              "%s: %s", config, err.message);
}

Test(local, settings_are_checked_and_the_one_at_fault_is_named)
{
    make_root();
    write_text("file", "x");
    char file[PATH_MAX + 32];
    struct error err = {0};

    cr_expect_eq(source_local.check(root, NULL, &err), 0);
    cr_expect_eq(source_local.check(root, "", &err), 0);
    cr_expect_eq(source_local.check(root, "{}", &err), 0);
    snprintf(file, sizeof(file), "{\"path\": \"%s\", \"maxBytes\": 1}", root);
    cr_expect_eq(source_local.check("docs", file, &err), 0, "%s", err.message);
    snprintf(file, sizeof(file), "{\"path\": \"%s/file\"}", root);
    expect_refused("docs", file, "config.path");
    snprintf(file, sizeof(file), "{\"path\": \"%s/../\"}", root);
    expect_refused("docs", file, "config.path");
    snprintf(file, sizeof(file), "{\"path\": \"%s/..\"}", root);
    expect_refused("docs", file, "config.path");
    snprintf(file, sizeof(file), "%s/file", root);
    expect_refused(file, "{}", "config.path");

    expect_refused("docs", "{}", "config.path");
    expect_refused("docs", "{\"path\": \"relative\"}", "config.path");
    expect_refused("docs", "{\"path\": \"\"}", "config.path");
    expect_refused("docs", "{\"path\": 1}", "config.path");
    expect_refused("docs", "{\"path\": null}", "config.path");
    expect_refused("docs", "{\"path\": \"/nowhere/at/all\"}", "config.path");
    expect_refused(root, "{\"maxBytes\": 0}", "config.maxBytes");
    expect_refused(root, "{\"maxBytes\": -1}", "config.maxBytes");
    expect_refused(root, "{\"maxBytes\": 1.5}", "config.maxBytes");
    expect_refused(root, "{\"maxBytes\": \"1\"}", "config.maxBytes");
    expect_refused(root, "{\"maxBytes\": 16777217}", "config.maxBytes");
    expect_refused(root, "{\"include\": \"*.md\"}", "config.include");
    expect_refused(root, "{\"include\": [1]}", "config.include");
    expect_refused(root, "{\"include\": [\"\"]}", "config.include");
    expect_refused(root, "{\"exclude\": [\"a\\nb\"]}", "config.exclude");
    expect_refused(root, "{\"exclude\": {}}", "config.exclude");
    expect_refused(root, "{\"pth\": \"/\"}", "config.pth");
    expect_refused(root, "[]", "config");
    expect_refused(root, "{", "config");
    expect_refused(root, "{\"path\": \"/\", \"path\": \"/\"}", "config");
    expect_refused(root, "{\"path\": \"/a\\u0000b\"}", "config");
    remove_root();
}

Test(source_kind, finds_kinds_by_name)
{
    cr_expect_eq(source_kind_find("local"), &source_local);
    cr_expect(source_kind_find("") == NULL);
    cr_expect(source_kind_find("Local") == NULL);
    cr_expect_str_eq(skip_reason_name(SKIP_TOO_LARGE), "too_large");
    for (int i = SKIP_NONE; i < SKIP_REASONS; i++)
        for (int j = 0; j < i; j++)
            cr_expect_str_neq(skip_reason_name((enum skip_reason)i),
                              skip_reason_name((enum skip_reason)j));
}

/* ---- Against git ---- */

Test(local, lists_what_git_would_add)
{
    make_root();
    setenv("HOME", root, 1);
    setenv("XDG_CONFIG_HOME", root, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    cr_assert_eq(system("git init -q ."), 0, "git is needed for this test");
    static const char *const names[] = {"n", "foo.c", "x.o", "build.txt"};
    static const char *const directories[] = {"a", "b", "foo", "build"};
    static const char *const rules[] = {"*.o",  "!x.o",    "build/", "/foo",  "a/",      "b/*",
                                        "!b/a", "**/foo/", "*",      "!*.c",  "a/**/n",  "!*/",
                                        "[ab]", "!foo",    "/b/",    "foo.?", "build/*", "!/a/b"};
    unsigned seed = 11;
    for (int round = 0; round < 60; round++) {
        cr_assert_eq(system("find . -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +"), 0);
        for (int i = 0; i < 40; i++) {
            char path[256] = "";
            for (int j = rand_r(&seed) % 4; j > 0; j--) {
                strcat(path, directories[rand_r(&seed) % 4]);
                strcat(path, "/");
            }
            strcat(path, i % 4 == 3 ? ".gitignore" : names[rand_r(&seed) % 4]);
            struct buffer text = {0};
            for (int j = rand_r(&seed) % 3; j >= 0; j--)
                buffer_format(&text, "%s\n", rules[rand_r(&seed) % 18]);
            write_text(path, text.data);
            buffer_free(&text);
        }
        cr_assert_eq(system("git ls-files -o --exclude-standard | LC_ALL=C sort > .git/expected"),
                     0);
        struct listing listing = {0};
        struct error err = {0};
        void *state = open_source("{}");
        cr_assert_eq(list_again(state, &listing, &err), 0, "%s", err.message);
        write_text(".git/listed", listing.items.data != NULL ? listing.items.data : "");
        cr_assert_eq(system("LC_ALL=C sort .git/listed | diff .git/expected -"), 0, "round %d",
                     round);
        source_local.close(state);
        free_listing(&listing);
    }
    remove_root();
}
