/*
 * snapshot.h: the form of a saved index.
 *
 * A file is a header and eight sections, each of which begins at a multiple of 64 bytes; between
 * them are zeros. Numbers are in the byte order of the machine that wrote the file, which the
 * header tells; a machine of the other order refuses it. Nodes are numbered from 0 without gaps, in
 * the order of their slots.
 *
 *     header    struct snapshot_header
 *     levels    for each node, the highest layer it is on: uint8_t
 *     members   for each node, how many ids it stands for, at least 1: uint32_t
 *     ids       the members of all nodes, one after another: uint64_t
 *     lengths   for each node, the lengths of its lists on layers 0 to level: uint32_t
 *     parents   in the same order, the parents in the layers' trees: uint32_t, numbers of nodes, or
 *               0xffffffff where there is none
 *     links     all lists in the same order: uint32_t, numbers of nodes
 *     vectors   for each node `dim` floats, of length 1
 *     note      the caller's bytes
 *
 * Every section has a checksum of its own, and so has the header: CRC-32C (Castagnoli), which finds
 * every damage of up to 32 bits in a row and misses others once in 4 thousand million times. What a
 * file says is checked beyond that, so that one that was made to deceive cannot lead a walk out of
 * bounds.
 */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "engine/handle.h"

#define SNAPSHOT_MAGIC "TEKUPIDX"
#define SNAPSHOT_ORDER UINT32_C(0x01020304)
#define SNAPSHOT_VERSION 1
#define SNAPSHOT_ALIGN 64
#define SNAPSHOT_NOTE_MAX 65536

enum snapshot_section {
    SECTION_LEVELS,
    SECTION_MEMBERS,
    SECTION_IDS,
    SECTION_LENGTHS,
    SECTION_PARENTS,
    SECTION_LINKS,
    SECTION_VECTORS,
    SECTION_NOTE,
    SECTION_COUNT
};

struct snapshot_extent {
    uint64_t offset, size;
    uint32_t crc;
    uint32_t zero;
};

struct snapshot_header {
    char magic[8];
    uint32_t order;
    uint32_t version;
    uint64_t file_size;
    uint32_t dim, max_neighbours, ef_construction, ef_search;
    uint64_t seed;
    uint64_t drawn; /* levels drawn, so that later adds go on where earlier ones stopped */
    uint64_t nodes, ids, links, lengths;
    uint32_t entry; /* the entry point; NO_SLOT where there are no nodes */
    uint32_t zero;
    struct snapshot_extent sections[SECTION_COUNT];
    uint32_t more_zero;
    uint32_t crc; /* of all before */
};

_Static_assert(sizeof(struct snapshot_header) == 296, "the header is the same for every compiler");

#endif
