/*
 * snapshot_change.h: changes to saved indexes that a loader has to see through, or that make
 * another index that is just as sound.
 *
 * Most are made to the parts, so that the file that is put together from them is consistent but in
 * one place, and get past the checks that come first; others to the bytes of the whole file.
 */
#ifndef TESTS_SNAPSHOT_CHANGE_H
#define TESTS_SNAPSHOT_CHANGE_H

#include "tests/index_data.h"
#include "tests/snapshot_file.h"

/* ---- Choosing -------------------------------------------------------------------------------- */

static inline size_t change_below(uint64_t *state, size_t bound)
{
    return bound > 0 ? (size_t)(data_random(state) % bound) : 0;
}

/* A number at the edge of something, or any; `around` is a count that matters where it goes. */
static inline uint64_t change_number(uint64_t *state, uint64_t around)
{
    const uint64_t edges[] = {0,          1,          2,          around - 1,     around,
                              around + 1, around * 2, 0x7fffffff, 0x80000000,     0xfffffffe,
                              0xffffffff, UINT64_MAX, INT64_MAX,  UINT64_MAX / 8, STORE_SLOTS_MAX,
                              LIST_MAX};
    const size_t at = change_below(state, sizeof(edges) / sizeof(*edges) + 3);
    return at < sizeof(edges) / sizeof(*edges) ? edges[at]
                                               : data_random(state) >> change_below(state, 64);
}

static inline float change_float(uint64_t *state)
{
    const float edges[] = {0,    -0.0f,    1e-45f,    1e-38f, 0.999999f, 1,
                           3e38, INFINITY, -INFINITY, NAN,    -0.5f,     2e-3f};
    return edges[change_below(state, sizeof(edges) / sizeof(*edges))];
}

/* A node, looked for from a place chosen at random; NO_SLOT where there is none. */
static inline uint32_t change_node(const struct snapshot_parts *file, uint64_t *state)
{
    const uint32_t slots = (uint32_t)file->header.slots,
                   first = (uint32_t)change_below(state, slots);
    for (uint32_t i = 0; i < slots; i++)
        if (snapshot_is_node(file, (first + i) % slots)) return (first + i) % slots;
    return NO_SLOT;
}

static inline uint32_t change_slot(const struct snapshot_parts *file, uint64_t *state)
{
    return change_below(state, 2) ? change_node(file, state)
                                  : (uint32_t)change_number(state, file->header.slots);
}

/* ---- Header ---------------------------------------------------------------------------------- */

static inline void change_header(struct snapshot_parts *file, uint64_t *state)
{
    struct snapshot_header *header = &file->header;
    uint32_t *const words[] = {
        &header->version,   &header->dim,        &header->max_neighbours, &header->ef_construction,
        &header->ef_search, &header->components, &header->interleaved,    &header->order};
    uint64_t *const counts[] = {&header->slots, &header->nodes, &header->ids, &header->seed};
    uint32_t *word = words[change_below(state, sizeof(words) / sizeof(*words))];
    uint64_t *count = counts[change_below(state, sizeof(counts) / sizeof(*counts))];
    switch (change_below(state, 6)) {
    case 0:
        header->magic[change_below(state, sizeof(header->magic))] ^= (char)change_below(state, 256);
        break;
    case 1:
        if (change_below(state, 2)) word = &header->order;
        *word = change_below(state, 3) ? __builtin_bswap32(*word) : (uint32_t)data_random(state);
        break;
    case 2:
    case 3:
        *word = (uint32_t)change_number(state, *word);
        break;
    default:
        *count = change_number(state, *count);
    }
}

/* As a machine with other kernels would have written it, but that the signs are in this one's
 * order.
 */
static inline void change_order(struct snapshot_parts *file, uint64_t *state)
{
    (void)state;
    file->header.interleaved ^= 1;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static inline void change_table(struct snapshot_parts *file, uint64_t *state)
{
    static const unsigned sections[] = {SECTION_MEMBERS, SECTION_PARENTS, SECTION_LENGTHS};
    const unsigned section = sections[change_below(state, 3)];
    const size_t slots = file->header.slots;
    uint32_t *table = snapshot_table(file, section);
    if (slots == 0) return;
    uint32_t *one = &table[change_below(state, slots)], *other = &table[change_below(state, slots)];
    switch (change_below(state, 3)) {
    case 0:
        *one = (uint32_t)change_number(state, section == SECTION_PARENTS ? slots : *one);
        break;
    case 1: { /* the sum stays */
        const uint32_t kept = *one;
        *one = *other;
        *other = kept;
        break;
    }
    default:
        if (one == other || *other == 0) break;
        ++*one;
        --*other;
    }
}

static inline void change_parents(struct snapshot_parts *file, uint64_t *state)
{
    uint32_t *parents = snapshot_table(file, SECTION_PARENTS), before = NO_SLOT;
    const size_t kind = change_below(state, 6);
    const uint32_t chosen = change_node(file, state);
    for (uint32_t slot = 0; slot < file->header.slots; slot++) {
        if (!snapshot_is_node(file, slot)) continue;
        if (kind == 0) parents[slot] = NO_SLOT;
        if (kind == 1) parents[slot] = slot == chosen ? NO_SLOT : chosen;
        if (kind == 2) parents[slot] = before;                   /* a chain */
        if (kind == 3) parents[slot] = change_node(file, state); /* circles among others */
        if (kind == 4) parents[slot] = before == NO_SLOT ? change_slot(file, state) : parents[slot];
        if (kind == 5 && slot == chosen) parents[slot] = slot;
        before = slot;
    }
    /* A chain that is closed leads round and round, and has no beginning. */
    const uint32_t first = change_node(file, state);
    if (kind == 2 && first != NO_SLOT && change_below(state, 2) && first != before)
        parents[first] = before;
}

static inline void change_ids(struct snapshot_parts *file, uint64_t *state)
{
    tk_id *ids = snapshot_ids(file);
    const size_t count = file->header.ids;
    if (count == 0) return;
    tk_id *one = &ids[change_below(state, count)], *other = &ids[change_below(state, count)];
    switch (change_below(state, 4)) {
    case 0:
        *one = *other;
        break;
    case 1: { /* possibly out of order within a node */
        const tk_id kept = *one;
        *one = *other;
        *other = kept;
        break;
    }
    case 2:
        *one = change_number(state, *one);
        break;
    default: /* one id too many, or too few */
        snapshot_resize(&file->parts[SECTION_IDS],
                        (change_below(state, 2) ? count - 1 : count + 1) * sizeof(tk_id));
        file->header.ids = file->parts[SECTION_IDS].size / sizeof(tk_id);
    }
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static inline void change_rows(struct snapshot_parts *file, uint64_t *state)
{
    struct snapshot_part *rows = &file->parts[SECTION_ROWS];
    const size_t row_size = snapshot_row_size(file);
    const uint32_t slot = change_node(file, state), other = change_node(file, state);
    if (slot == NO_SLOT) return;
    unsigned char *row = rows->bytes + slot * row_size;
    switch (change_below(state, 4)) {
    case 0:
        *snapshot_scale(file, slot) = change_float(state);
        break;
    case 1: /* the same vector twice, as two nodes */
        memcpy(row, rows->bytes + other * row_size, row_size);
        *snapshot_scale(file, slot) = *snapshot_scale(file, other);
        break;
    case 2: /* codes that no vector has */
        memset(row, (int)change_number(state, 0x80), row_size);
        break;
    default:
        row[change_below(state, row_size)] = (unsigned char)data_random(state);
    }
}

/* ---- Lists ----------------------------------------------------------------------------------- */

/* Where the links of a list lead. */
static inline void change_targets(struct snapshot_parts *file, uint64_t *state, uint32_t slot,
                                  struct neighbours *list)
{
    const uint32_t target = change_slot(file, state);
    if (list->count == 0) return;
    switch (change_below(state, 5)) {
    case 0:
        snapshot_link(list, (uint32_t)change_below(state, list->count), target);
        break;
    case 1: /* the same one many times */
        for (uint32_t i = 0; i < list->count; i++) snapshot_link(list, i, target);
        break;
    case 2: /* to itself */
        for (uint32_t i = 0; i < list->count; i += 1 + (uint32_t)change_below(state, 4))
            snapshot_link(list, i, slot);
        break;
    case 3:
        for (uint32_t i = 0; i < list->count; i++) snapshot_link(list, i, change_node(file, state));
        break;
    default: { /* places that are not in use may say anything */
        const uint32_t room = list->groups * LINKS_GROUP;
        for (uint32_t i = list->count; i < room; i++)
            snapshot_link(list, i, (uint32_t)data_random(state));
    }
    }
}

/* How long a list is and how much room it has, in the list, in its table, or rightly in both. */
static inline void change_length(struct snapshot_parts *file, uint64_t *state, uint32_t slot,
                                 struct neighbours *list)
{
    uint32_t *length = &snapshot_table(file, SECTION_LENGTHS)[slot];
    const size_t at = snapshot_list_at(file, slot), size = tk_links_size(list->n, list->groups);
    switch (change_below(state, 6)) {
    case 0:
        *length = list->count = (uint32_t)change_below(state, list->count + 1);
        break;
    case 1: /* up to what there is room for, and one more */
        *length = list->count = list->groups * LINKS_GROUP + (uint32_t)change_below(state, 2);
        for (uint32_t i = 0; i < list->groups * LINKS_GROUP; i++)
            snapshot_link(list, i, change_node(file, state));
        break;
    case 2:
        list->count = (uint32_t)change_number(state, list->count);
        break;
    case 3:
        list->groups = (uint32_t)change_number(state, list->groups);
        break;
    case 4:
        list->n = (uint32_t)change_number(state, list->n);
        break;
    default: { /* more room, all of it there, up to more than a list may have */
        const uint32_t more = 1 + (uint32_t)change_below(state, 11), n = list->n;
        list->groups += more;
        snapshot_open(&file->parts[SECTION_LISTS], at + size,
                      tk_links_size(n, list->groups) - size);
    }
    }
}

static inline void change_lists(struct snapshot_parts *file, uint64_t *state)
{
    const uint32_t slot = change_node(file, state);
    if (slot == NO_SLOT) return;
    struct neighbours *list = snapshot_list(file, slot);
    const size_t size = tk_links_size(list->n, list->groups);
    unsigned char *bytes = (unsigned char *)list;
    switch (change_below(state, 5)) {
    case 4: /* room behind the lists that belongs to none */
        snapshot_resize(&file->parts[SECTION_LISTS],
                        file->parts[SECTION_LISTS].size + (change_below(state, 2) ? 1 : size));
        break;
    case 0:
        change_targets(file, state, slot, list);
        break;
    case 1:
        change_length(file, state, slot, list);
        break;
    case 2: /* what is known of the links: floats that are none among others */
        for (size_t i = 0; i < 64; i++) {
            const size_t at = sizeof(*list) + sizeof(uint32_t) * LINKS_GROUP +
                              change_below(state, size - sizeof(*list) - 4 * LINKS_GROUP - 4);
            const uint32_t word = (uint32_t)change_number(state, 0x7f800000);
            memcpy(bytes + at / 4 * 4, &word, sizeof(word));
        }
        break;
    default: /* what only means something in memory */
        memset(bytes, (int)data_random(state), offsetof(struct neighbours, count));
    }
}

/* Every list as long as a list can be, and every node the child of one. */
static inline void change_to_crowd(struct snapshot_parts *file, uint64_t *state)
{
    const uint32_t groups = LIST_MAX / LINKS_GROUP, centre = change_node(file, state);
    for (uint32_t slot = 0; slot < file->header.slots; slot++) {
        struct neighbours *list = snapshot_list(file, slot);
        if (!list) continue;
        const size_t size = tk_links_size(list->n, list->groups);
        const size_t at = snapshot_list_at(file, slot);
        snapshot_table(file, SECTION_PARENTS)[slot] = slot == centre ? NO_SLOT : centre;
        if (slot != centre || list->groups >= groups) continue;
        snapshot_open(&file->parts[SECTION_LISTS], at + size,
                      tk_links_size(list->n, groups) - size);
        list = (struct neighbours *)(file->parts[SECTION_LISTS].bytes + at);
        list->groups = groups;
        list->count = snapshot_table(file, SECTION_LENGTHS)[slot] = LIST_MAX;
        for (uint32_t i = 0; i < LIST_MAX; i++) snapshot_link(list, i, change_node(file, state));
    }
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static inline void change_slots(struct snapshot_parts *file, uint64_t *state)
{
    const uint32_t slot = change_node(file, state);
    const size_t slots = file->header.slots;
    if (slot == NO_SLOT) return;
    if (change_below(state, 2)) {
        snapshot_add_slots(file, 1 + change_below(state, 80));
        return;
    }
    snapshot_free_slot(file, slot);
    if (change_below(state, 3) == 0) return; /* with links and children that it still has */
    for (uint32_t i = 0; i < slots; i++) {
        struct neighbours *list = snapshot_list(file, i);
        uint32_t *parent = &snapshot_table(file, SECTION_PARENTS)[i];
        if (*parent == slot) *parent = NO_SLOT;
        for (uint32_t j = 0; list && j < list->count; j++)
            if (tk_neighbour(list, j) == slot) snapshot_link(list, j, i);
    }
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static inline void change_parts(struct snapshot_parts *file, uint64_t *state,
                                const struct snapshot_parts *other)
{
    const unsigned one = (unsigned)change_below(state, SECTION_COUNT);
    const unsigned two = (unsigned)change_below(state, SECTION_COUNT);
    struct snapshot_part *part = &file->parts[one];
    switch (change_below(state, 4)) {
    case 0: {
        const struct snapshot_part kept = *part;
        *part = file->parts[two];
        file->parts[two] = kept;
        break;
    }
    case 1: /* that of another index */
        snapshot_resize(part, other->parts[one].size);
        memcpy(part->bytes, other->parts[one].bytes, part->size);
        break;
    case 2:
        snapshot_resize(part, change_below(state, part->size + 1));
        break;
    default: {
        const size_t by = (size_t)1 << change_below(state, 18);
        snapshot_resize(part, part->size + by);
    }
    }
}

static inline void change_note(struct snapshot_parts *file, uint64_t *state)
{
    struct snapshot_part *note = &file->parts[SECTION_NOTE];
    const size_t sizes[] = {0, 1, 63, 64, SNAPSHOT_NOTE_MAX, SNAPSHOT_NOTE_MAX + 1};
    snapshot_resize(note, sizes[change_below(state, 6)]);
    for (size_t i = 0; i < note->size; i += 64) note->bytes[i] = (unsigned char)data_random(state);
}

/* A change after which the parts are still such that another can be made. */
static inline void change_soundly(struct snapshot_parts *file, uint64_t *state)
{
    void (*const changes[])(struct snapshot_parts *, uint64_t *) = {
        change_parents, change_parents, change_parents, change_to_crowd, change_slots,
        change_slots,   change_slots,   change_note,    change_order};
    changes[change_below(state, sizeof(changes) / sizeof(*changes))](file, state);
}

/* Any one change to sound parts. `other` is another index's. */
static inline void change_anyhow(struct snapshot_parts *file, uint64_t *state,
                                 const struct snapshot_parts *other)
{
    void (*const changes[])(struct snapshot_parts *, uint64_t *) = {
        change_header, change_table, change_ids, change_rows, change_lists, change_lists};
    const size_t at = change_below(state, sizeof(changes) / sizeof(*changes) + 1);
    if (at < sizeof(changes) / sizeof(*changes))
        changes[at](file, state);
    else
        change_parts(file, state, other);
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static inline void change_extent(unsigned char *bytes, uint64_t *state)
{
    struct snapshot_header header;
    memcpy(&header, bytes, sizeof(header));
    struct snapshot_extent *one = &header.sections[change_below(state, SECTION_COUNT)];
    struct snapshot_extent *other = &header.sections[change_below(state, SECTION_COUNT)];
    const struct snapshot_extent kept = *one;
    switch (change_below(state, 4)) {
    case 0:
        one->offset = change_number(state, one->offset);
        break;
    case 1:
        one->size = change_number(state, one->size);
        break;
    case 2:
        one->offset += SNAPSHOT_ALIGN;
        one->size -= SNAPSHOT_ALIGN;
        break;
    default:
        *one = *other;
        *other = kept;
    }
    memcpy(bytes, &header, sizeof(header));
}

/* Files shorter than this are not changed further. */
#define CHANGE_LEAST 8192

/* Changes the bytes of a file of CHANGE_LEAST and more, which may move. */
static inline unsigned char *change_bytes(unsigned char *bytes, size_t *size, uint64_t *state)
{
    const size_t at = change_below(state, change_below(state, 2) ? *size : CHANGE_LEAST);
    struct snapshot_header header;
    memcpy(&header, bytes, sizeof(header));
    switch (change_below(state, 8)) {
    case 0: /* in the table of checksums */
        bytes[SNAPSHOT_HEADER + change_below(state, 8)] = (unsigned char)data_random(state);
        break;
    case 7:
        bytes[at] = (unsigned char)data_random(state);
        break;
    case 1: {
        const uint64_t number = change_number(state, header.slots);
        const size_t width = change_below(state, 2) ? 4 : 8, place = at / width * width;
        if (place + width <= *size) memcpy(bytes + place, &number, width);
        break;
    }
    case 2: { /* a piece of the file in another place */
        const size_t from = change_below(state, *size), most = *size - (at > from ? at : from);
        memmove(bytes + at, bytes + from, change_below(state, most < 4096 ? most : 4096));
        break;
    }
    case 3: /* cut off, and the header may know of it */
        *size = change_below(state, 2) ? at : change_below(state, 2 * sizeof(header));
        if (change_below(state, 8) == 0) *size = 0;
        header.file_size = change_below(state, 2) ? *size : header.file_size;
        if (*size >= sizeof(header)) memcpy(bytes, &header, sizeof(header));
        break;
    case 4: { /* longer, the same */
        const size_t more = 1 + change_below(state, 1 << change_below(state, 21));
        bytes = realloc(bytes, *size + more);
        cr_assert_not_null(bytes);
        memset(bytes + *size, change_below(state, 2) ? 0 : 1, more);
        *size += more;
        header.file_size = change_below(state, 2) ? *size : header.file_size;
        memcpy(bytes, &header, sizeof(header));
        break;
    }
    case 5: /* in what is between the parts */
        for (unsigned i = 1; i < SECTION_COUNT; i++) {
            const uint64_t end = header.sections[i - 1].offset + header.sections[i - 1].size;
            if (end < header.sections[i].offset && end < *size)
                bytes[end] = (unsigned char)data_random(state);
        }
        break;
    default:
        change_extent(bytes, state);
    }
    return bytes;
}

#endif
