/* peer_hnswlib.cpp: hnswlib (Malkov and Yashunin), float32, inner product of normalised vectors. */
#include "bench/peer.h"

#include <atomic>
#include <cstdio>
#include <exception>
#include <hnswlib/hnswlib.h>
#include <memory>
#include <thread>
#include <vector>

namespace
{

struct graph {
    hnswlib::InnerProductSpace space;
    hnswlib::HierarchicalNSW<float> index;

    explicit graph(const peer_setup &setup)
        : space(setup.dim), index(&space, setup.count, GRAPH_M, GRAPH_EF_CONSTRUCTION)
    {
    }
};

int failed(tk_error *err, const char *what)
{
    if (err) std::snprintf(err->message, sizeof(err->message), "%s", what);
    return -1;
}

/* The first vector alone, so that there is an entry point; then a shared counter hands out rows. */
void add_all(graph &graph, const peer_setup &setup)
{
    if (setup.count == 0) return;
    std::atomic<size_t> next{1};
    std::atomic<bool> stopped{false};
    std::exception_ptr thrown;
    std::atomic_flag kept = ATOMIC_FLAG_INIT;
    auto add = [&] {
        try {
            for (size_t row; !stopped && (row = next++) < setup.count;)
                graph.index.addPoint(setup.vectors + row * setup.dim, row);
        } catch (...) {
            stopped = true;
            if (!kept.test_and_set()) thrown = std::current_exception();
        }
    };
    graph.index.addPoint(setup.vectors, 0);
    std::vector<std::thread> helpers;
    for (unsigned i = 1; i < setup.threads; i++) helpers.emplace_back(add);
    add();
    for (auto &helper : helpers) helper.join();
    if (thrown) std::rethrow_exception(thrown);
}

int hnswlib_build(const peer_setup *setup, void **index, tk_error *err)
try {
    auto built = std::make_unique<graph>(*setup);
    add_all(*built, *setup);
    *index = built.release();
    return 0;
} catch (const std::exception &error) {
    return failed(err, error.what());
}

void hnswlib_release(void *index)
{
    delete static_cast<graph *>(index);
}

int hnswlib_prepare(void *index, size_t ef, tk_error *)
{
    static_cast<graph *>(index)->index.setEf(ef);
    return 0;
}

int hnswlib_search(const void *index, unsigned, const float *query, size_t k, tk_hit *hits,
                   size_t *found, tk_error *err)
try {
    auto answer = static_cast<const graph *>(index)->index.searchKnn(query, k);
    *found = answer.size();
    for (size_t i = answer.size(); i-- > 0; answer.pop())
        hits[i] = {answer.top().second, 1.0F - answer.top().first};
    return 0;
} catch (const std::exception &error) {
    return failed(err, error.what());
}

peer make_peer()
{
    peer made = {};
    made.name = "hnswlib";
    made.setting = "ef";
    made.most_ef = 65536;
    made.build = hnswlib_build;
    made.release = hnswlib_release;
    made.prepare = hnswlib_prepare;
    made.search = hnswlib_search;
    return made;
}

} // namespace

extern "C" const peer peer_hnswlib = make_peer();
