/*
 * snapshot_file.h: saved indexes as tests see them: bytes to be read, taken apart, changed, put
 * together again and sealed, as somebody would who means to deceive. All that tests know of the
 * form of the file (engine/snapshot.h) is here.
 */
#ifndef TESTS_SNAPSHOT_FILE_H
#define TESTS_SNAPSHOT_FILE_H

#include "engine/snapshot.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_UNUSED __attribute__((unused))

SNAPSHOT_UNUSED static unsigned char *snapshot_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    cr_assert_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

SNAPSHOT_UNUSED static void snapshot_write(const char *path, const unsigned char *bytes,
                                           size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

/* Where the checksums of a file of this size end, and how many there are. */
SNAPSHOT_UNUSED static uint64_t snapshot_begin(uint64_t size, uint64_t *chunks)
{
    *chunks = tk_snapshot_chunks(size);
    while (*chunks > 0 && tk_snapshot_begin(*chunks - 1) + (*chunks - 1) * SNAPSHOT_CHUNK >= size)
        --*chunks;
    return tk_snapshot_begin(*chunks);
}

SNAPSHOT_UNUSED static void snapshot_seal_header(unsigned char *bytes, size_t size)
{
    struct snapshot_header header;
    if (size < sizeof(header)) return;
    memcpy(&header, bytes, sizeof(header));
    header.crc = tk_kernels_best()->crc32c(0, &header, offsetof(struct snapshot_header, crc));
    memcpy(bytes, &header, sizeof(header));
}

/* Puts the right checksums on a changed file. What is too short for them is left as it is. */
SNAPSHOT_UNUSED static void snapshot_seal(unsigned char *bytes, size_t size)
{
    const struct kernels *kernels = tk_kernels_best();
    uint64_t chunks;
    const uint64_t begin = snapshot_begin(size, &chunks);
    for (uint64_t i = 0; i < chunks && begin <= size; i++) {
        const uint64_t offset = begin + i * SNAPSHOT_CHUNK, left = size - offset;
        const uint32_t crc = kernels->crc32c(0, bytes + offset,
                                             left < SNAPSHOT_CHUNK ? (size_t)left : SNAPSHOT_CHUNK);
        memcpy(bytes + SNAPSHOT_HEADER + i * sizeof(crc), &crc, sizeof(crc));
    }
    if (begin <= size) {
        const uint32_t crc = kernels->crc32c(0, bytes + SNAPSHOT_HEADER, chunks * sizeof(uint32_t));
        memcpy(bytes + offsetof(struct snapshot_header, checksums_crc), &crc, sizeof(crc));
    }
    snapshot_seal_header(bytes, size);
}

/* ---- In parts -------------------------------------------------------------------------------- */

struct snapshot_part {
    unsigned char *bytes;
    size_t size;
};

struct snapshot_parts {
    struct snapshot_header header; /* its sections are worked out when the parts are put together */
    struct snapshot_part parts[SECTION_COUNT];
};

/* Lists are read where they lie, so a part is aligned as it is in a file. */
SNAPSHOT_UNUSED static unsigned char *snapshot_alloc(size_t size)
{
    unsigned char *bytes = aligned_alloc(SNAPSHOT_ALIGN, tk_snapshot_align(size + 1));
    cr_assert_not_null(bytes);
    return bytes;
}

/* Takes a sound file apart; the bytes stay the caller's. */
SNAPSHOT_UNUSED static struct snapshot_parts snapshot_take_apart(const unsigned char *bytes)
{
    struct snapshot_parts file;
    memcpy(&file.header, bytes, sizeof(file.header));
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        const struct snapshot_extent *section = &file.header.sections[i];
        file.parts[i].size = section->size;
        file.parts[i].bytes = snapshot_alloc(section->size);
        memcpy(file.parts[i].bytes, bytes + section->offset, section->size);
    }
    return file;
}

SNAPSHOT_UNUSED static void snapshot_parts_free(struct snapshot_parts *file)
{
    for (unsigned i = 0; i < SECTION_COUNT; i++) free(file->parts[i].bytes);
}

/* Gives a part another size; what is added at its end is zero. */
SNAPSHOT_UNUSED static void snapshot_resize(struct snapshot_part *part, size_t size)
{
    unsigned char *bytes = snapshot_alloc(size);
    memcpy(bytes, part->bytes, size < part->size ? size : part->size);
    if (size > part->size) memset(bytes + part->size, 0, size - part->size);
    free(part->bytes);
    *part = (struct snapshot_part){bytes, size};
}

/* Puts the parts one after another, as a save would, with header and seal. The caller frees. */
SNAPSHOT_UNUSED static unsigned char *snapshot_put_together(const struct snapshot_parts *file,
                                                            size_t *size)
{
    struct snapshot_header header = file->header;
    uint64_t end = 0;
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        header.sections[i].offset = tk_snapshot_align(end);
        header.sections[i].size = file->parts[i].size;
        end = header.sections[i].offset + file->parts[i].size;
    }
    const uint64_t begin = tk_snapshot_begin(tk_snapshot_chunks(end));
    header.file_size = begin + end;
    unsigned char *bytes = calloc(1, header.file_size + 1);
    cr_assert_not_null(bytes);
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        header.sections[i].offset += begin;
        memcpy(bytes + header.sections[i].offset, file->parts[i].bytes, file->parts[i].size);
    }
    memcpy(bytes, &header, sizeof(header));
    *size = header.file_size;
    snapshot_seal(bytes, *size);
    return bytes;
}

/* ---- What is in the parts -------------------------------------------------------------------- */

/* The tables of numbers: members, parents, lengths. */
SNAPSHOT_UNUSED static uint32_t *snapshot_table(const struct snapshot_parts *file, unsigned section)
{
    return (uint32_t *)file->parts[section].bytes;
}

SNAPSHOT_UNUSED static tk_id *snapshot_ids(const struct snapshot_parts *file)
{
    return (tk_id *)file->parts[SECTION_IDS].bytes;
}

SNAPSHOT_UNUSED static bool snapshot_is_node(const struct snapshot_parts *file, uint32_t slot)
{
    return slot < file->header.slots && snapshot_table(file, SECTION_MEMBERS)[slot] > 0;
}

SNAPSHOT_UNUSED static size_t snapshot_row_size(const struct snapshot_parts *file)
{
    return file->header.slots > 0 ? file->parts[SECTION_ROWS].size / file->header.slots : 0;
}

SNAPSHOT_UNUSED static float *snapshot_scale(const struct snapshot_parts *file, uint32_t slot)
{
    return (float *)file->parts[SECTION_SCALES].bytes + slot;
}

/* Where the list of a node begins in its section; the section's size where it has none. */
SNAPSHOT_UNUSED static size_t snapshot_list_at(const struct snapshot_parts *file, uint32_t slot)
{
    const struct snapshot_part *lists = &file->parts[SECTION_LISTS];
    size_t at = 0;
    for (uint32_t i = 0; i < slot && at + sizeof(struct neighbours) <= lists->size; i++) {
        const struct neighbours *list = (const struct neighbours *)(lists->bytes + at);
        if (snapshot_is_node(file, i)) at += tk_links_size(list->n, list->groups);
    }
    return snapshot_is_node(file, slot) && at < lists->size ? at : lists->size;
}

/* A node's list; NULL for a free slot. Only in parts whose lists are sound. */
SNAPSHOT_UNUSED static struct neighbours *snapshot_list(const struct snapshot_parts *file,
                                                        uint32_t slot)
{
    const size_t at = snapshot_list_at(file, slot);
    if (at == file->parts[SECTION_LISTS].size) return NULL;
    return (struct neighbours *)(file->parts[SECTION_LISTS].bytes + at);
}

SNAPSHOT_UNUSED static void snapshot_link(struct neighbours *list, uint32_t i, uint32_t slot)
{
    atomic_store(&tk_link_group(list, i / LINKS_GROUP)->slots[i % LINKS_GROUP], slot);
}

/* Takes bytes out of a part, or opens a gap of zeros in it. */
SNAPSHOT_UNUSED static void snapshot_cut(struct snapshot_part *part, size_t at, size_t size)
{
    memmove(part->bytes + at, part->bytes + at + size, part->size - at - size);
    part->size -= size;
}

SNAPSHOT_UNUSED static void snapshot_open(struct snapshot_part *part, size_t at, size_t size)
{
    const size_t behind = part->size - at;
    snapshot_resize(part, part->size + size);
    memmove(part->bytes + at + size, part->bytes + at, behind);
    memset(part->bytes + at, 0, size);
}

/* Makes the slot of a node free, with all that the file says of it but the links to it. */
SNAPSHOT_UNUSED static void snapshot_free_slot(struct snapshot_parts *file, uint32_t slot)
{
    uint32_t *members = snapshot_table(file, SECTION_MEMBERS), first = 0;
    struct neighbours *list = snapshot_list(file, slot);
    const size_t row_size = snapshot_row_size(file);
    for (uint32_t i = 0; i < slot; i++) first += members[i];
    snapshot_cut(&file->parts[SECTION_LISTS], snapshot_list_at(file, slot),
                 tk_links_size(list->n, list->groups));
    snapshot_cut(&file->parts[SECTION_IDS], first * sizeof(tk_id), members[slot] * sizeof(tk_id));
    memset(file->parts[SECTION_ROWS].bytes + slot * row_size, 0, row_size);
    *snapshot_scale(file, slot) = 0;
    file->header.ids -= members[slot];
    file->header.nodes--;
    members[slot] = 0;
    snapshot_table(file, SECTION_LENGTHS)[slot] = 0;
    snapshot_table(file, SECTION_PARENTS)[slot] = NO_SLOT;
}

/* Adds free slots behind the others. */
SNAPSHOT_UNUSED static void snapshot_add_slots(struct snapshot_parts *file, size_t more)
{
    static const unsigned sections[] = {SECTION_MEMBERS, SECTION_PARENTS, SECTION_LENGTHS,
                                        SECTION_SCALES, SECTION_ROWS};
    const size_t slots = file->header.slots;
    for (size_t i = 0; slots > 0 && i < sizeof(sections) / sizeof(*sections); i++) {
        struct snapshot_part *part = &file->parts[sections[i]];
        snapshot_resize(part, part->size / slots * (slots + more));
    }
    file->header.slots = slots > 0 ? slots + more : 0;
}

#endif
