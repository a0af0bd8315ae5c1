/* files.c: saving the index and loading it again, in a process that never held it. */
#include "bench/bench.h"
#include "bench/progress.h"
#include "bench/statistics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct loading {
    double save_seconds, file_bytes;
    double warm[MOST_REPEATS]; /* seconds, the file being in the page cache */
    double cold;     /* seconds, the file being on disk alone; NaN where it cannot be told */
    double ready;    /* seconds of the first pass over the queries, the median */
    double recall;   /* of the loaded index at the working point */
    double resident; /* bytes, after that pass */
};

/* Has the system forget the file's pages. */
static bool drop_cache(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool dropped = fdatasync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
    close(file);
    return dropped;
}

static int load_once(struct bench *bench, const char *path, size_t ef, struct loading *loading,
                     double *seconds, tk_error *err)
{
    const struct peer_setup setup = bench_setup(bench, bench->exchange.base.count);
    struct worker worker = {.socket = -1};
    struct request request = {.task = TASK_LOAD, .count = setup.count};
    struct reply reply;
    struct known known;
    struct curve curve = {.worker = &worker,
                          .exchange = &bench->exchange,
                          .threads = 1,
                          .truth = &bench->exchange.truth,
                          .most_ef = ef};
    snprintf(request.path, sizeof(request.path), "%s", path);
    int result = worker_start(&worker, bench->contenders[0].peer, &setup, &bench->exchange, err);
    if (result == 0) result = worker_ask(&worker, &request, &reply, err);
    if (result == 0) result = curve_at(&curve, ef, &known, err);
    worker_stop(&worker);
    if (result != 0) return -1;
    *seconds = reply.seconds;
    loading->resident = (double)reply.resident;
    loading->ready = reply.ready;
    loading->recall = known.recall.value;
    return 0;
}

static int save(struct bench *bench, const char *path, struct loading *loading, tk_error *err)
{
    struct request request = {.task = TASK_SAVE};
    struct reply reply;
    struct stat status;
    snprintf(request.path, sizeof(request.path), "%s", path);
    progress("saving the index");
    if (worker_ask(&bench->contenders[0].worker, &request, &reply, err) != 0) return -1;
    if (stat(path, &status) != 0) return fail(err, "%s: %s", path, strerror(errno));
    loading->save_seconds = reply.seconds;
    loading->file_bytes = (double)status.st_size;
    return 0;
}

static void report(struct bench *bench, struct loading *loading, unsigned repeats)
{
    const double count = (double)bench->exchange.base.count;
    struct figure load = {.name = "load_seconds",
                          .title = "loading a saved index",
                          .unit = "s",
                          .engine = "tekup",
                          .value = median(loading->warm, repeats),
                          .against = "building it",
                          .reference = bench->contenders[0].build_seconds};
    snprintf(load.note, sizeof(load.note), "first %zu searches after it %.3f s, recall %.4f",
             bench->exchange.queries.count, loading->ready, loading->recall);
    results_figure(&bench->results, &load);
    struct figure cold = {.name = "load_cold_seconds",
                          .title = "the same, the file not in the page cache",
                          .unit = "s",
                          .engine = "tekup",
                          .value = loading->cold,
                          .against = "building it",
                          .reference = bench->contenders[0].build_seconds};
    results_figure(&bench->results, &cold);
    struct figure file = {.name = "file_bytes_per_vector",
                          .title = "file per vector",
                          .unit = "bytes",
                          .engine = "tekup",
                          .value = loading->file_bytes / count,
                          .against = "",
                          .reference = NAN};
    snprintf(file.note, sizeof(file.note), "saved in %.2f s; loaded, %.0f bytes resident a vector",
             loading->save_seconds, loading->resident / count);
    results_figure(&bench->results, &file);
}

static int measure(struct bench *bench, const char *path, const struct known *point, tk_error *err)
{
    struct loading loading = {.cold = NAN};
    const unsigned repeats = bench->options->repeats;
    if (save(bench, path, &loading, err) != 0) return -1;
    if (drop_cache(path)) {
        progress("loading the index from the disk");
        if (load_once(bench, path, point->ef, &loading, &loading.cold, err) != 0) return -1;
    }
    for (unsigned i = 0; i < repeats; i++) {
        progress("loading the index: repeat %u of %u", i + 1, repeats);
        if (load_once(bench, path, point->ef, &loading, &loading.warm[i], err) != 0) return -1;
    }
    report(bench, &loading, repeats);
    return 0;
}

int section_load(struct bench *bench, tk_error *err)
{
    const char *temporary = getenv("TMPDIR");
    char folder[256], path[300];
    struct known point;
    bool found;
    if (bench_working_point(bench, &bench->contenders[0], "load", &point, &found, err) != 0)
        return -1;
    if (!found) return 0;
    snprintf(folder, sizeof(folder), "%s/tekup-bench-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) return fail(err, "%s: %s", folder, strerror(errno));
    snprintf(path, sizeof(path), "%s/index", folder);
    int result = measure(bench, path, &point, err);
    unlink(path);
    rmdir(folder);
    return result;
}
