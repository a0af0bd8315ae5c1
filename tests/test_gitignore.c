/* Compares gitignore.c with git itself: `git check-ignore` is the reference. */
#include "ingest/gitignore.h"
#include "ingest/wildmatch.h"

#include "storage/base/buffer.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files; their directories are asked about as well. */
static const char *const files[] = {
    "foo",
    "bar",
    "foo.c",
    "foo.o",
    "Foo.C",
    "#hash",
    "!bang",
    "a b",
    "tail ",
    "back\\slash",
    "[x]",
    "x",
    "]",
    "-",
    "star*",
    "q?",
    "\xc3\xa6\xc3\xb8\xc3\xa5.txt",
    "build/out.o",
    "build/keep.txt",
    "build/sub/deep.o",
    "src/foo.c",
    "src/build/out.o",
    "src/abc",
    "doc/frotz/file",
    "a/doc/frotz/file",
    "a/b/c/d/e",
    "a/foo",
    "a/b/foo",
    "a/x/b",
    "a/x/y/b",
    "a/b/file",
    "abc/x/def",
    "abc/def",
    "abcdef",
    "abcx/y/def",
    "foo.d/bar",
    "foo.d/foo",
    "foo.d/x/bar",
    "logs/2024-01.log",
    "logs/2024-02.log.gz",
    "deep/foo/bar/baz",
    "deep/bar",
    ".hidden/file",
    ".env",
};

static const char *const patterns[] = {
    /* plain, by name, by kind */
    "foo",
    "bar",
    "foo/",
    "/foo",
    "/foo/",
    "build",
    "build/",
    "/build/",
    "build/*",
    "build/**",
    "nothing",
    ".hidden",
    ".*",
    "file",
    "frotz/",
    "doc/frotz",
    "/doc/frotz",
    "doc/frotz/",
    "**/doc/frotz",
    "a/b",
    "b/",
    "/",
    "//",
    "/*",
    "*",
    "*/",
    "*/*",
    "*/*/*",
    "!",
    "!foo",
    "",
    /* comments, escapes, spaces, line ends */
    "#hash",
    "\\#hash",
    "\\!bang",
    "!bang",
    "# foo",
    " foo",
    "foo ",
    "foo  \t",
    "foo\t",
    "a b",
    "tail ",
    "tail\\ ",
    "tail\\ \\ ",
    "foo\\ ",
    "foo\r",
    "foo \r",
    "back\\slash",
    "back\\\\slash",
    "foo\\",
    "\\foo",
    "\\",
    "   ",
    "\357\273\277foo",
    "foo\n\n\n#x\nbar",
    /* wildcards */
    "*.c",
    "*.[ch]",
    "*.[!c]",
    "*.[^c]",
    "f?o",
    "fo?",
    "?oo",
    "??????????",
    "f*",
    "*o",
    "*o*",
    "**",
    "***",
    "f**o",
    "q\\?",
    "q?",
    "star\\*",
    "star*",
    "\\*",
    "?",
    "??",
    "*.txt",
    "???.txt",
    "\xc3\xa6*",
    "*.o\n!build/out.o",
    "*.log",
    "*.log*",
    "20*-0[12].*",
    /* sets */
    "[x]",
    "\\[x\\]",
    "[[]x[]]",
    "[]x]",
    "[]]",
    "[!]]",
    "[]-]",
    "[-]",
    "[a-]",
    "[-a]",
    "[x",
    "[",
    "[]",
    "[!",
    "[^",
    "[a-z]oo",
    "[z-a]oo",
    "[A-Z]oo.C",
    "[[:alpha:]]oo",
    "[[:upper:]]*",
    "[![:alnum:]]*",
    "[[:nonsense:]]oo",
    "[[:alpha:]",
    "[[:alpha]oo",
    "[[:]oo",
    "[[::]]oo",
    "[f[:digit:]]oo",
    "[e-g]oo",
    "[e-g-i]oo",
    "[\\f]oo",
    "[e-\\g]oo",
    "[\\]]",
    "[\\",
    "[a\\",
    "foo[/]bar",
    "a[/]foo",
    "a[!x]foo",
    "a?foo",
    "[a-c-f]oo",
    "[[:space:]]*",
    "a[[:blank:]]b",
    "[[:punct:]]*",
    "[[:xdigit:]]",
    "[[:lower:][:digit:]]*.[[:lower:]]",
    "f[o][o]",
    "f[!/]o",
    "[[:cntrl:][:graph:]]",
    "[[:print:]]",
    /* slashes and double stars */
    "**/foo",
    "**/bar",
    "**/foo/bar",
    "foo/**",
    "a/**/b",
    "a/**/foo",
    "a/**",
    "/**",
    "/**/",
    "**/",
    "**/b/**",
    "a/**/**/b",
    "**/**/foo",
    "/**/foo",
    "a/*/b",
    "a/*/foo",
    "a/**b",
    "a**/b",
    "abc**/def",
    "abc/**/def",
    "**foo",
    "foo**",
    "**.c",
    "src/**.c",
    "src/*.c",
    "/*.c",
    "/src/*/out.o",
    "*/foo",
    "*/foo.c",
    "**/*.o",
    "**/build/*.o",
    "a/b/**/e",
    "a/*/c/**/e",
    "deep/**/baz",
    "deep/***/baz",
    "a/**\\/b",
    "a/\\**/b",
    "a/x/*",
    "a/x/**/",
    "*/**/foo",
    "**/*/foo",
    "a//foo",
    "a/b/",
    "a/b//",
    "foo.d/b*r",
    "/foo.d/**/bar",
    "f*.d/**",
    "**/x/**/b",
    "*/x/*",
    "a/?/b",
    "a/[x]/b",
    /* negation, order, parents */
    "*\n!foo",
    "*\n!*/\n!foo.c",
    "/*\n!/foo.d\n/foo.d/*\n!/foo.d/bar",
    "build/\n!build/keep.txt",
    "build/*\n!build/keep.txt",
    "build/**\n!build/keep.txt",
    "foo\n!foo\nfoo",
    "!foo\nfoo",
    "*.o\n!out.o\nbuild/out.o",
    "a/\n!a/b/\n!a/b/foo",
    "a/*\n!a/b\na/b/*\n!a/b/foo",
    "*\n!a\n!a/**",
    "**\n!**/\n!**/foo",
    "!*",
    "*.c\n!foo.*\n/foo.c",
    "*\n!*.c\n!*/",
    "\\!bang\n!!bang",
};

static char directory[] = "/tmp/tekup-gitignore-XXXXXX";

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL, "%s", path);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void make_directories(char *path)
{
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static void make_tree(void)
{
    cr_assert(mkdtemp(directory) != NULL);
    cr_assert_eq(chdir(directory), 0);
    /* No settings of the person who runs the test. */
    setenv("HOME", directory, 1);
    setenv("XDG_CONFIG_HOME", directory, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    cr_assert_eq(system("git init -q ."), 0, "git is needed for this test");
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        char path[256];
        snprintf(path, sizeof(path), "%s", files[i]);
        make_directories(path);
        write_file(path, "x");
    }
}

static void remove_tree(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(system(command), 0);
}

/* Every file and every directory, each once; directories end with '/'. */
struct paths {
    char *path[256];
    size_t count;
};

static void add_path(struct paths *paths, const char *path, size_t length)
{
    for (size_t i = 0; i < paths->count; i++)
        if (strlen(paths->path[i]) == length && memcmp(paths->path[i], path, length) == 0) return;
    cr_assert_lt(paths->count, sizeof(paths->path) / sizeof(*paths->path));
    paths->path[paths->count++] = strndup(path, length);
}

static void all_paths(struct paths *paths)
{
    paths->count = 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        for (const char *slash = strchr(files[i], '/'); slash != NULL;
             slash = strchr(slash + 1, '/'))
            add_path(paths, files[i], (size_t)(slash + 1 - files[i]));
        add_path(paths, files[i], strlen(files[i]));
    }
}

static void free_paths(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) free(paths->path[i]);
}

/* What git ignores of these paths: each that it does, followed by a NUL. */
static struct buffer ask_git(const struct paths *paths)
{
    FILE *list = fopen(".git/list", "w");
    cr_assert(list != NULL);
    for (size_t i = 0; i < paths->count; i++) {
        size_t length = strlen(paths->path[i]);
        if (paths->path[i][length - 1] == '/') length--; /* git looks what it is */
        fwrite(paths->path[i], 1, length, list);
        fputc('\0', list);
    }
    cr_assert_eq(fclose(list), 0);

    struct buffer out = {0};
    FILE *git = popen("git check-ignore -z --stdin < .git/list", "r");
    cr_assert(git != NULL);
    char bytes[4096];
    for (size_t got; (got = fread(bytes, 1, sizeof(bytes), git)) > 0;)
        buffer_append(&out, bytes, got);
    const int status = pclose(git);
    cr_assert(status == 0 || status == 1 << 8, "git check-ignore failed: %d", status);
    return out;
}

static bool holds(const struct buffer *list, const char *path)
{
    const size_t length = strlen(path) - (path[strlen(path) - 1] == '/');
    for (size_t at = 0; at < list->length; at += strlen(list->data + at) + 1)
        if (strlen(list->data + at) == length && memcmp(list->data + at, path, length) == 0)
            return true;
    return false;
}

static bool ask_us(const struct gitignore *rules, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        char *above = strndup(path, (size_t)(slash - path));
        const enum gitignore_verdict verdict = gitignore_check(rules, above, true);
        free(above);
        if (verdict == GITIGNORE_IGNORED) return true;
        if (slash[1] == '\0') return false;
    }
    return gitignore_check(rules, path, false) == GITIGNORE_IGNORED;
}

static void compare(const struct paths *paths, const char *text)
{
    write_file(".gitignore", text);
    struct gitignore *rules = gitignore_parse(text, strlen(text));
    cr_assert(rules != NULL);
    struct buffer git = ask_git(paths);
    for (size_t i = 0; i < paths->count; i++)
        cr_expect_eq(ask_us(rules, paths->path[i]), holds(&git, paths->path[i]),
                     "pattern \"%s\", path \"%s\": git says %d", text, paths->path[i],
                     holds(&git, paths->path[i]));
    buffer_free(&git);
    gitignore_free(rules);
}

Test(gitignore, agrees_with_git_on_every_pattern_and_path)
{
    struct paths paths;
    make_tree();
    all_paths(&paths);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) compare(&paths, patterns[i]);
    free_paths(&paths);
    remove_tree();
}

Test(gitignore, agrees_with_git_on_random_patterns)
{
    static const char *const pieces[] = {
        "*",   "**",    "/",    "?",    "foo", "a",  "b", "x",         "o", ".",   "[a-",
        "]",   "[",     "[!x]", "[a-c", "\\",  "!",  " ", "\n",        "/", "**/", "/**",
        "*.c", "build", "\n",   "f",    "d",   "ef", "e", "[:alpha:]", "-"};
    struct paths paths;
    uint64_t state = 88172645463325252;
    make_tree();
    all_paths(&paths);
    for (int round = 0; round < 400; round++) {
        struct buffer text = {0};
        const int parts = 1 + (int)(state % 7);
        for (int i = 0; i < parts; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            buffer_text(&text, pieces[(state >> 20) % (sizeof(pieces) / sizeof(*pieces))]);
        }
        compare(&paths, text.data);
        buffer_free(&text);
    }
    free_paths(&paths);
    remove_tree();
}

Test(gitignore, the_empty_file_and_bytes_that_are_no_text_ignore_nothing)
{
    static const char odd[] = "foo\0bar\n\xff\xfe\n[\0]\n";
    struct gitignore *rules = gitignore_parse("", 0);
    cr_assert(rules != NULL);
    cr_expect_eq(gitignore_check(rules, "a/b", false), GITIGNORE_NONE);
    gitignore_free(rules);

    rules = gitignore_parse(odd, sizeof(odd) - 1);
    cr_assert(rules != NULL);
    cr_expect_eq(gitignore_check(rules, "foobar", false), GITIGNORE_NONE);
    cr_expect_eq(gitignore_check(rules, "foo", false), GITIGNORE_IGNORED);
    gitignore_free(rules);
    gitignore_free(NULL);
}

Test(wildmatch, takes_no_exponential_time)
{
    static const char pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
    static const char deep[] = "**/a*/**/a*/**/a*/**/a*/**/a*/**/a*/**/a*/**/b";
    char text[2001];
    memset(text, 'a', sizeof(text));
    cr_expect_not(wildmatch(pattern, strlen(pattern), text, sizeof(text)));
    for (size_t i = 1; i < sizeof(text); i += 2) text[i] = '/';
    cr_expect_not(wildmatch(deep, strlen(deep), text, sizeof(text)));
    text[sizeof(text) - 1] = 'b';
    cr_expect(wildmatch(deep, strlen(deep), text, sizeof(text)));
}
