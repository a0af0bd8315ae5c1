#include "bench/worker.h"
#include "bench/churn.h"
#include "bench/clock.h"
#include "bench/growth.h"
#include "bench/intrinsic.h"
#include "bench/memory.h"
#include "bench/runner.h"

#include <cblas.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A signal handler has nowhere else to leave its word. */
static volatile sig_atomic_t interrupted;

/* ---- In the process -------------------------------------------------------------------------- */

struct state {
    const struct peer *peer;
    struct peer_setup setup;
    const struct exchange *exchange;
    void *index;
    struct churn *churn;
    enum filter filter;
    uint8_t bits;
};

static int resident_now(const struct state *state, size_t *bytes, tk_error *err)
{
    const struct exchange *exchange = state->exchange;
    const struct range shared[] = {
        {exchange->base.data, exchange->base.bytes},
        {exchange->queries.data, exchange->queries.bytes},
        {exchange->memory, exchange->bytes},
        {exchange->truth.memory, exchange->truth.bytes},
    };
    return memory_resident(shared, sizeof(shared) / sizeof(*shared), bytes, err);
}

/* What a search needs beside the index counts too, so memory is taken after every query has been
 * asked once with some effort. */
static int answer_all(const struct state *state, size_t ef, unsigned threads, double *seconds,
                      tk_error *err)
{
    struct run run = {.peer = state->peer,
                      .index = state->index,
                      .exchange = state->exchange,
                      .threads = threads,
                      .answers = true,
                      .count = state->exchange->queries.count};
    size_t done;
    if (state->peer->prepare(state->index, ef, err) != 0) return -1;
    return run_searches(&run, &done, seconds, err);
}

static int make_index(struct state *state, const struct request *request, struct reply *reply)
{
    enum { MEMORY_EF = 200 };
    size_t before, after;
    if (resident_now(state, &before, &reply->error) != 0) return -1;
    state->setup.count = request->count;
    uint64_t began = clock_now(), processor = clock_processor(CLOCK_PROCESS_CPUTIME_ID);
    int made = request->task == TASK_LOAD
                   ? state->peer->load(request->path, &state->setup, &state->index, &reply->error)
                   : state->peer->build(&state->setup, &state->index, &reply->error);
    reply->seconds = clock_seconds(clock_now() - began);
    if (request->cpu_time && !state->peer->external) {
        processor = clock_processor(CLOCK_PROCESS_CPUTIME_ID) - processor;
        reply->seconds = clock_seconds(processor) / state->setup.threads;
    }
    if (made != 0) return -1;
    if (answer_all(state, MEMORY_EF, state->setup.threads, &reply->ready, &reply->error) != 0)
        return -1;
    if (resident_now(state, &after, &reply->error) != 0) return -1;
    reply->count = request->count;
    reply->own = state->peer->bytes ? state->peer->bytes(state->index) : 0;
    reply->resident = state->peer->external ? reply->own : after > before ? after - before : 0;
    if (state->peer->kernel)
        snprintf(reply->kernel, sizeof(reply->kernel), "%s", state->peer->kernel(state->index));
    return 0;
}

static int set_filter(struct state *state, const struct request *request, tk_error *err)
{
    if (!state->peer->filter) return 0;
    if (state->filter == request->filter && state->bits == request->bits) return 0;
    state->filter = request->filter;
    state->bits = request->bits;
    return state->peer->filter(state->index, request->filter, state->exchange->keep, request->bits,
                               err);
}

static int time_searches(struct state *state, const struct request *request, struct reply *reply)
{
    struct run run = {.peer = state->peer,
                      .index = state->index,
                      .exchange = state->exchange,
                      .threads = request->threads,
                      .count = request->count,
                      .most_seconds = request->most_seconds,
                      .cpu_time = request->cpu_time && !state->peer->external};
    if (state->peer->prepare(state->index, request->ef, &reply->error) != 0) return -1;
    if (run_warm_up(&run, &reply->error) != 0) return -1;
    return run_searches(&run, &reply->count, &reply->seconds, &reply->error);
}

static int save_index(const struct state *state, const struct request *request, struct reply *reply)
{
    uint64_t began = clock_now();
    int result = state->peer->save(state->index, request->path, &reply->error);
    reply->seconds = clock_seconds(clock_now() - began);
    return result;
}

static int find_truth(const struct state *state, const struct request *request, struct reply *reply)
{
    const struct exchange *exchange = state->exchange;
    struct neighbours truth = request->task == TASK_TRUTH ? exchange->truth : request->truth;
    openblas_set_num_threads((int)request->threads);
    if (exact_search(&exchange->base, &exchange->queries, request->bits ? exchange->keep : NULL,
                     request->bits, &truth, &reply->error) != 0)
        return -1;
    if (request->task != TASK_TRUTH) return 0;
    return intrinsic_estimate(&exchange->base, &reply->lid, &reply->error);
}

static int perform(struct state *state, const struct request *request, struct reply *reply)
{
    tk_error *err = &reply->error;
    switch (request->task) {
    case TASK_BUILD:
    case TASK_LOAD:
        return make_index(state, request, reply);
    case TASK_SAVE:
        return save_index(state, request, reply);
    case TASK_ANSWER:
        if (set_filter(state, request, err) != 0) return -1;
        return answer_all(state, request->ef, request->threads, &reply->seconds, err);
    case TASK_TIME:
        if (set_filter(state, request, err) != 0) return -1;
        return time_searches(state, request, reply);
    case TASK_CHURN:
        return churn_start(state->peer, state->index, state->exchange, request->rate, &state->churn,
                           err);
    case TASK_CHURN_CHECK:
        if (state->peer->prepare(state->index, request->ef, err) != 0) return -1;
        return churn_recall(state->churn, &reply->recall, err);
    case TASK_CHURN_END:
        return churn_stop(state->churn, &reply->rate, err);
    case TASK_GROW:
        if (state->peer->prepare(state->index, request->ef, err) != 0) return -1;
        return growth_run(state->peer, state->index, state->exchange, request->count, &reply->count,
                          &reply->seconds, err);
    case TASK_TRUTH:
    case TASK_TRUTH_WITHIN:
        return find_truth(state, request, reply);
    }
    return fail(err, "there is no task %d", (int)request->task);
}

static void serve(struct state *state, int socket)
{
    struct request request;
    while (recv(socket, &request, sizeof(request), MSG_WAITALL) == (ssize_t)sizeof(request)) {
        struct reply reply = {0};
        reply.result = perform(state, &request, &reply);
        if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply)) break;
    }
    if (state->index && state->peer->external) state->peer->release(state->index);
}

/* ---- In the program -------------------------------------------------------------------------- */

static void note_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

void worker_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int worker_start(struct worker *worker, const struct peer *peer, const struct peer_setup *setup,
                 const struct exchange *exchange, tk_error *err)
{
    int sockets[2];
    pid_t parent = getpid();
    *worker = (struct worker){.peer = peer, .socket = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
        return fail(err, "socketpair: %s", strerror(errno));
    worker->process = fork();
    if (worker->process < 0) {
        fail(err, "fork: %s", strerror(errno));
        close(sockets[0]);
        close(sockets[1]);
        return -1;
    }
    if (worker->process == 0) {
        signal(SIGINT,
               SIG_IGN); /* what a terminal sends to all of them is the program's business */
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        close(sockets[0]);
        struct state state = {.peer = peer, .setup = *setup, .exchange = exchange};
        serve(&state, sockets[1]);
        _exit(0);
    }
    close(sockets[1]);
    worker->socket = sockets[0];
    return 0;
}

/* The process is gone, or we were told to stop. */
static int explain_silence(struct worker *worker, tk_error *err)
{
    int status = 0;
    const char *name = worker->peer ? worker->peer->name : "the exact search";
    if (interrupted) return fail(err, "interrupted");
    close(worker->socket);
    worker->socket = -1;
    while (waitpid(worker->process, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFSIGNALED(status))
        return fail(err, "the process of %s was ended by signal %d (%s)", name, WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
    return fail(err, "the process of %s ended with status %d", name, WEXITSTATUS(status));
}

int worker_ask(struct worker *worker, const struct request *request, struct reply *reply,
               tk_error *err)
{
    if (interrupted) return fail(err, "interrupted");
    if (worker->process <= 0 || worker->socket < 0) return fail(err, "the process is not running");
    worker->busy = true;
    if (send(worker->socket, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request))
        return explain_silence(worker, err);
    if (recv(worker->socket, reply, sizeof(*reply), MSG_WAITALL) != (ssize_t)sizeof(*reply))
        return explain_silence(worker, err);
    worker->busy = false;
    if (reply->result != 0)
        return fail(err, "%s: %s", worker->peer ? worker->peer->name : "exact search",
                    reply->error.message);
    return 0;
}

void worker_stop(struct worker *worker)
{
    if (worker->process <= 0 || worker->socket < 0) return;
    /* Not close alone: processes that were forked later hold the socket open too. */
    shutdown(worker->socket, SHUT_RDWR);
    close(worker->socket);
    worker->socket = -1;
    if (worker->busy || !worker->peer || !worker->peer->external) kill(worker->process, SIGKILL);
    while (waitpid(worker->process, NULL, 0) < 0 && errno == EINTR) continue;
}
