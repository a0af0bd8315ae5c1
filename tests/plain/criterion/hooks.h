/* The report hooks that the tests use: PRE_ALL and POST_ALL, with nothing to report. */
#ifndef TESTS_PLAIN_CRITERION_HOOKS_H
#define TESTS_PLAIN_CRITERION_HOOKS_H

#include <criterion/criterion.h>

struct criterion_test_set;
struct criterion_global_stats;

static void plain_hook_PRE_ALL(struct criterion_test_set *tests);
static void plain_hook_POST_ALL(struct criterion_global_stats *stats);

static void plain_before(void)
{
    plain_hook_PRE_ALL(NULL);
}

static void plain_after(void)
{
    plain_hook_POST_ALL(NULL);
}

__attribute__((constructor)) static void plain_hooks_register(void)
{
    plain_before_all = plain_before;
    plain_after_all = plain_after;
}

#define ReportHook(Kind) static void plain_hook_##Kind

#endif
