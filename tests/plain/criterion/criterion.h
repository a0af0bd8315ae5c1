/*
 * The part of Criterion's interface that the tests use, for builds with the thread sanitizer.
 *
 * Criterion maps an arena that it shares with its test processes at addresses which the thread
 * sanitizer keeps for itself, so that the two do not run together. This stands in for it: each test
 * is a function that registers itself, and runs in a process forked for it. The last line is that
 * of Criterion. Included by one file a program, so that it can hold the main function too.
 */
#ifndef TESTS_PLAIN_CRITERION_H
#define TESTS_PLAIN_CRITERION_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAIN_TESTS = 500, PLAIN_SKIPPED = 77 };

struct plain_options {
    void (*init)(void);
    void (*fini)(void);
    int signal, exit_code;
    double timeout;
    bool disabled;
    const char *description;
};

struct plain_test {
    const char *suite, *name;
    void (*run)(void); /* NULL: options for a suite */
    struct plain_options options;
};

static struct plain_test plain_tests[PLAIN_TESTS];
static int plain_count;
static int plain_failures; /* of the test that runs */
static void (*plain_before_all)(void);
static void (*plain_after_all)(void);

__attribute__((unused)) static void plain_add(struct plain_test test)
{
    if (plain_count == PLAIN_TESTS) abort();
    plain_tests[plain_count++] = test;
}

__attribute__((unused, format(printf, 6, 7))) static void plain_check(bool holds, bool fatal,
                                                                      const char *file, int line,
                                                                      const char *what,
                                                                      const char *format, ...)
{
    if (holds) return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: %s is false. ", file, line, what);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    plain_failures++;
    if (fatal) _exit(1);
}

static int plain_run(const struct plain_test *test)
{
    const struct plain_options *suite = &test->options;
    for (int i = 0; i < plain_count; i++) {
        if (plain_tests[i].run == NULL && strcmp(plain_tests[i].suite, test->suite) == 0)
            suite = &plain_tests[i].options;
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        void (*init)(void) = test->options.init != NULL ? test->options.init : suite->init;
        void (*fini)(void) = test->options.fini != NULL ? test->options.fini : suite->fini;
        if (init != NULL) init();
        test->run();
        if (fini != NULL) fini();
        exit(plain_failures > 0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) return 1;
    if (WIFSIGNALED(status)) return WTERMSIG(status) != test->options.signal;
    if (WEXITSTATUS(status) == PLAIN_SKIPPED) return PLAIN_SKIPPED;
    return WEXITSTATUS(status) != test->options.exit_code;
}

int main(void)
{
    int tested = 0, failed = 0;
    if (plain_before_all != NULL) plain_before_all();
    for (int i = 0; i < plain_count; i++) {
        if (plain_tests[i].run == NULL || plain_tests[i].options.disabled) continue;
        const int rc = plain_run(&plain_tests[i]);
        if (rc == PLAIN_SKIPPED) {
            printf("[SKIP] %s::%s\n", plain_tests[i].suite, plain_tests[i].name);
            continue;
        }
        tested++;
        if (rc == 0) continue;
        failed++;
        printf("[FAIL] %s::%s\n", plain_tests[i].suite, plain_tests[i].name);
    }
    if (plain_after_all != NULL) plain_after_all();
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0 \n", tested,
           tested - failed, failed);
    return failed > 0;
}

#define PLAIN_REGISTER(Id, ...)                                                                    \
    __attribute__((constructor)) static void Id##_register(void)                                   \
    {                                                                                              \
        plain_add((struct plain_test){__VA_ARGS__});                                               \
    }
#define Test(Suite, Name, ...)                                                                     \
    static void Suite##_##Name##_test(void);                                                       \
    PLAIN_REGISTER(Suite##_##Name, #Suite, #Name, Suite##_##Name##_test, {__VA_ARGS__})            \
    static void Suite##_##Name##_test(void)
#define TestSuite(Suite, ...) PLAIN_REGISTER(Suite##_suite, #Suite, "", NULL, {__VA_ARGS__})

/* "" joins with a message's format, which is always a literal, and stands alone without one. */
#define PLAIN(Fatal, Holds, ...)                                                                   \
    plain_check((Holds), Fatal, __FILE__, __LINE__, #Holds, " " __VA_ARGS__)
#define cr_expect(A, ...) PLAIN(false, A, __VA_ARGS__)
#define cr_assert(A, ...) PLAIN(true, A, __VA_ARGS__)
#define cr_expect_not(A, ...) PLAIN(false, !(A), __VA_ARGS__)
#define cr_assert_not(A, ...) PLAIN(true, !(A), __VA_ARGS__)
#define cr_expect_null(A, ...) PLAIN(false, (A) == NULL, __VA_ARGS__)
#define cr_assert_null(A, ...) PLAIN(true, (A) == NULL, __VA_ARGS__)
#define cr_expect_not_null(A, ...) PLAIN(false, (A) != NULL, __VA_ARGS__)
#define cr_assert_not_null(A, ...) PLAIN(true, (A) != NULL, __VA_ARGS__)
#define cr_expect_eq(A, B, ...) PLAIN(false, (A) == (B), __VA_ARGS__)
#define cr_assert_eq(A, B, ...) PLAIN(true, (A) == (B), __VA_ARGS__)
#define cr_expect_neq(A, B, ...) PLAIN(false, (A) != (B), __VA_ARGS__)
#define cr_assert_neq(A, B, ...) PLAIN(true, (A) != (B), __VA_ARGS__)
#define cr_expect_lt(A, B, ...) PLAIN(false, (A) < (B), __VA_ARGS__)
#define cr_assert_lt(A, B, ...) PLAIN(true, (A) < (B), __VA_ARGS__)
#define cr_expect_leq(A, B, ...) PLAIN(false, (A) <= (B), __VA_ARGS__)
#define cr_assert_leq(A, B, ...) PLAIN(true, (A) <= (B), __VA_ARGS__)
#define cr_expect_gt(A, B, ...) PLAIN(false, (A) > (B), __VA_ARGS__)
#define cr_assert_gt(A, B, ...) PLAIN(true, (A) > (B), __VA_ARGS__)
#define cr_expect_geq(A, B, ...) PLAIN(false, (A) >= (B), __VA_ARGS__)
#define cr_assert_geq(A, B, ...) PLAIN(true, (A) >= (B), __VA_ARGS__)
#define cr_expect_str_eq(A, B, ...) PLAIN(false, strcmp((A), (B)) == 0, __VA_ARGS__)
#define cr_assert_str_eq(A, B, ...) PLAIN(true, strcmp((A), (B)) == 0, __VA_ARGS__)
#define cr_expect_str_neq(A, B, ...) PLAIN(false, strcmp((A), (B)) != 0, __VA_ARGS__)
#define cr_assert_str_neq(A, B, ...) PLAIN(true, strcmp((A), (B)) != 0, __VA_ARGS__)
#define cr_expect_arr_eq(A, B, S, ...) PLAIN(false, memcmp((A), (B), (S)) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(A, B, S, ...) PLAIN(true, memcmp((A), (B), (S)) == 0, __VA_ARGS__)
#define cr_expect_float_eq(A, B, E, ...)                                                           \
    PLAIN(false, (A) - (B) <= (E) && (B) - (A) <= (E), __VA_ARGS__)
#define cr_assert_float_eq(A, B, E, ...)                                                           \
    PLAIN(true, (A) - (B) <= (E) && (B) - (A) <= (E), __VA_ARGS__)
#define cr_fail(...) PLAIN(false, false, __VA_ARGS__)
#define cr_assert_fail(...) PLAIN(true, false, __VA_ARGS__)
#define cr_skip_test(...) _exit(PLAIN_SKIPPED)
#define cr_skip(...) _exit(PLAIN_SKIPPED)

#endif
