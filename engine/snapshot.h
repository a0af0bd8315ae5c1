/*
 * snapshot.h: the form of a saved index.
 *
 * A file is meant to be mapped and used where it lies: rows and neighbour lists are in it as they
 * are in memory, slots keep their numbers. It is a header, a table of checksums and sections.
 * Numbers are in the byte order of the machine that wrote the file, which the header tells; a
 * machine of the other order refuses it.
 *
 *     header     struct snapshot_header, and zeros up to SNAPSHOT_HEADER bytes
 *     checksums  of each SNAPSHOT_CHUNK bytes of what follows the table: uint32_t
 *     (from here on sections begin at multiples of 64 bytes, with zeros between them)
 *     members    for each slot, how many ids its node stands for; 0: the slot is free: uint32_t
 *     parents    for each slot, its node's parent in the tree, or NO_SLOT: uint32_t
 *     lengths    for each slot, the length of its neighbour list: uint32_t
 *     ids        the members of all slots, one after another: uint64_t
 *     scales     for each slot the scale of its row (code.h); 0 where it is free: float
 *     rows       for each slot the codes of its row; zeros where it is free
 *     lists      for each slot that is not free a struct neighbours (links.h), whose first bytes,
 * that only mean something in memory, are zero note       the caller's bytes
 *
 * Checksums are CRC-32C (Castagnoli), which finds every damage of up to 32 bits in a row and misses
 * others once in 4 thousand million times. What a file says is checked beyond that, so that one
 * that was made to deceive cannot lead a walk out of bounds.
 */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "engine/handle.h"

#define SNAPSHOT_MAGIC "TEKUPIDX"
#define SNAPSHOT_ORDER UINT32_C(0x01020304)
#define SNAPSHOT_VERSION 3
#define SNAPSHOT_HEADER 4096
#define SNAPSHOT_ALIGN 64
#define SNAPSHOT_CHUNK ((size_t)1 << 20)
#define SNAPSHOT_NOTE_MAX 65536

enum snapshot_section {
    SECTION_MEMBERS,
    SECTION_PARENTS,
    SECTION_LENGTHS,
    SECTION_IDS,
    SECTION_SCALES,
    SECTION_ROWS,
    SECTION_LISTS,
    SECTION_NOTE,
    SECTION_COUNT
};

struct snapshot_extent {
    uint64_t offset, size;
};

struct snapshot_header {
    char magic[8];
    uint32_t order;
    uint32_t version;
    uint64_t file_size;
    uint32_t dim, max_neighbours, ef_construction, ef_search;
    uint64_t seed;
    uint32_t components;  /* of a rotated vector */
    uint32_t interleaved; /* the order of the signs in lists (links.c) */
    uint64_t slots, nodes, ids;
    struct snapshot_extent sections[SECTION_COUNT];
    uint32_t checksums_crc; /* of the table */
    uint32_t crc;           /* of all before */
};

_Static_assert(sizeof(struct snapshot_header) == 216, "the header is the same for every compiler");

/* Where the sections begin in a file of so many chunks, and how many there are for so many bytes.
 */
static inline uint64_t tk_snapshot_chunks(uint64_t bytes)
{
    return (bytes + SNAPSHOT_CHUNK - 1) / SNAPSHOT_CHUNK;
}

static inline uint64_t tk_snapshot_align(uint64_t offset)
{
    return (offset + SNAPSHOT_ALIGN - 1) / SNAPSHOT_ALIGN * SNAPSHOT_ALIGN;
}

static inline uint64_t tk_snapshot_begin(uint64_t chunks)
{
    return tk_snapshot_align(SNAPSHOT_HEADER + chunks * sizeof(uint32_t));
}

#endif
