/*
 * peer_faiss.cpp: FAISS's IndexHNSWFlat (Meta), float32. Its M counts the upper layers as hnswlib's
 * does: 32 neighbours on the ground layer for M=16. The distance is L2, which orders vectors of
 * length 1 as the cosine does. One query a call, as a server asks, so that its own OpenMP threads
 * stay out of a search.
 */
#include "bench/peer.h"

#include <cstdio>
#include <exception>
#include <faiss/IndexHNSW.h>
#include <memory>
#include <omp.h>
#include <vector>

namespace
{

int failed(tk_error *err, const char *what)
{
    if (err) std::snprintf(err->message, sizeof(err->message), "%s", what);
    return -1;
}

int faiss_build(const peer_setup *setup, void **index, tk_error *err)
try {
    auto built = std::make_unique<faiss::IndexHNSWFlat>(static_cast<int>(setup->dim), GRAPH_M);
    built->hnsw.efConstruction = GRAPH_EF_CONSTRUCTION;
    omp_set_num_threads(static_cast<int>(setup->threads));
    built->add(static_cast<faiss::Index::idx_t>(setup->count), setup->vectors);
    *index = built.release();
    return 0;
} catch (const std::exception &error) {
    return failed(err, error.what());
}

void faiss_release(void *index)
{
    delete static_cast<faiss::IndexHNSWFlat *>(index);
}

int faiss_prepare(void *index, size_t ef, tk_error *)
{
    static_cast<faiss::IndexHNSWFlat *>(index)->hnsw.efSearch = static_cast<int>(ef);
    return 0;
}

int faiss_search(const void *index, unsigned, const float *query, size_t k, tk_hit *hits,
                 size_t *found, tk_error *err)
try {
    thread_local std::vector<float> distances;
    thread_local std::vector<faiss::Index::idx_t> labels;
    distances.resize(k);
    labels.resize(k);
    if (omp_get_max_threads() != 1) omp_set_num_threads(1); /* for the calling thread alone */
    static_cast<const faiss::IndexHNSWFlat *>(index)->search(
        1, query, static_cast<faiss::Index::idx_t>(k), distances.data(), labels.data());
    *found = 0;
    for (size_t i = 0; i < k && labels[i] >= 0; i++)
        hits[(*found)++] = {static_cast<tk_id>(labels[i]), 1.0F - distances[i] / 2};
    return 0;
} catch (const std::exception &error) {
    return failed(err, error.what());
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

peer make_peer()
{
    peer made = {};
    made.name = "faiss";
    made.version = VERSION_TEXT(FAISS_VERSION_MAJOR, FAISS_VERSION_MINOR, FAISS_VERSION_PATCH);
    made.setting = "efSearch";
    made.most_ef = 65536;
    made.build = faiss_build;
    made.release = faiss_release;
    made.prepare = faiss_prepare;
    made.search = faiss_search;
    return made;
}

} // namespace

extern "C" const peer peer_faiss = make_peer();
