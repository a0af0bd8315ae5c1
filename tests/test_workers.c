#include "tools/tekupd/workers.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    int entered;
    atomic_int done;
};

static void pass(void *arg)
{
    struct gate *gate = arg;
    pthread_mutex_lock(&gate->lock);
    gate->entered++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    atomic_fetch_add(&gate->done, 1);
}

static void open_gate(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

Test(workers, run_side_by_side_and_refuse_what_the_queue_cannot_hold)
{
    struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0};
    struct error err = {0};
    struct workers *workers = workers_create("test", 2, 3, &err);
    cr_assert_not_null(workers, "%s", err.message);
    cr_assert_eq(workers_submit(workers, pass, &gate), 0);
    cr_assert_eq(workers_submit(workers, pass, &gate), 0);
    pthread_mutex_lock(&gate.lock);
    while (gate.entered < 2) pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);

    for (int i = 0; i < 3; i++) cr_expect_eq(workers_submit(workers, pass, &gate), 0);
    cr_expect_eq(workers_submit(workers, pass, &gate), -1, "the queue holds three");
    cr_expect_eq(atomic_load(&gate.done), 0);
    open_gate(&gate);
    workers_free(workers);
    cr_expect_eq(atomic_load(&gate.done), 5, "what was taken is done, what was refused is not");
}

static void count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

Test(workers, finish_what_is_queued_before_they_go)
{
    atomic_int done = 0;
    for (int round = 0; round < 20; round++) {
        struct workers *workers = workers_create("test", 3, 100, NULL);
        cr_assert_not_null(workers);
        for (int i = 0; i < 100; i++) workers_submit(workers, count, &done);
        workers_free(workers);
    }
    cr_expect_eq(atomic_load(&done), 2000);
    workers_free(NULL);
}
