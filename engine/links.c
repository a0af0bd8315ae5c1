/*
 * links.c: see links.h.
 *
 * WHERE SIGNS ARE. Components come in groups of four, whose signs make a nibble: an index into one
 * of the query's tables. A byte has the nibble of neighbour j in its low half and that of neighbour
 * j + 16 in its high half. For kernels that are `interleaved` the sixteen bytes of four groups
 * alternate, byte 64 * (group / 4) + 4 * j + group % 4; for the others a group's follow each other,
 * byte 16 * group + j.
 */
#include "engine/links.h"

#include <math.h>
#include <string.h>

#define SIGNS_MAX 65536

/* Spreads four nibbles over the low halves of four bytes. */
static uint32_t spread(uint32_t sixteen)
{
    sixteen = (sixteen | sixteen << 8) & UINT32_C(0x00ff00ff);
    return (sixteen | sixteen << 4) & UINT32_C(0x0f0f0f0f);
}

static void put_interleaved(uint8_t *signs, uint32_t n, uint32_t place, const uint16_t *bits)
{
    const unsigned shift = place >= 16 ? 4 : 0;
    uint8_t *at = signs + (size_t)(place & 15) * 4;
    for (uint32_t i = 0; i < n / 16; i++, at += 64) {
        uint32_t four;
        memcpy(&four, at, sizeof(four));
        /* The first group is in the lowest byte; on a big-endian machine no kernel interleaves. */
        four = (four & ~(UINT32_C(0x0f0f0f0f) << shift)) | spread(bits[i]) << shift;
        memcpy(at, &four, sizeof(four));
    }
}

static void put_grouped(uint8_t *signs, uint32_t n, uint32_t place, const uint16_t *bits)
{
    const unsigned shift = place >= 16 ? 4 : 0;
    uint8_t *at = signs + (place & 15);
    for (uint32_t group = 0; group < n / 4; group++, at += 16) {
        const unsigned nibble = bits[group / 4] >> (group % 4 * 4) & 15u;
        *at = (uint8_t)((*at & ~(15u << shift)) | nibble << shift);
    }
}

static int16_t nearest_short(float x)
{
    if (x <= INT16_MIN) return INT16_MIN;
    if (x >= INT16_MAX) return INT16_MAX;
    return (int16_t)lrintf(x);
}

static int similarity_units(float similarity)
{
    const float inside = fminf(1, fmaxf(-1, similarity));
    return (int)lrintf(inside * LINK_SIMILARITY_ONE);
}

float tk_link_rounded(float similarity)
{
    return (float)similarity_units(similarity) / LINK_SIMILARITY_ONE;
}

void tk_link_put(const struct coder *coder, struct neighbours *list, uint32_t i, struct row owner,
                 uint32_t slot, struct row neighbour, float similarity, bool spare)
{
    struct link_group *group = tk_link_group(list, i / LINKS_GROUP);
    const uint32_t place = i % LINKS_GROUP;
    uint16_t bits[SIGNS_MAX / 16];
    float sums[3];
    coder->kernels->difference(owner.coarse, owner.scale, neighbour.coarse, neighbour.scale,
                               coder->n, bits, sums);
    if (coder->kernels->interleaved)
        put_interleaved(group->signs, coder->n, place, bits);
    else
        put_grouped(group->signs, coder->n, place, bits);
    const float factor = sums[0] > 0 ? sums[1] / sums[0] : 0;
    const float along = similarity - tk_rows_similarity(coder, owner, owner); /* u.r */
    atomic_store_explicit(&group->slots[place], slot, memory_order_relaxed);
    const float units = factor / LINK_FACTOR_UNIT;
    group->factor[place] = units < UINT16_MAX ? (uint16_t)(units + 0.5f) : UINT16_MAX;
    group->base[place] = nearest_short((along - factor * sums[2]) / LINK_BASE_UNIT);
    tk_link_set_note(list, i, (int16_t)(2 * similarity_units(similarity) + spare));
}

static void copy_signs(const struct coder *coder, uint8_t *to, uint32_t place_to,
                       const uint8_t *from, uint32_t place_from)
{
    const unsigned shift_to = place_to >= 16 ? 4 : 0, shift_from = place_from >= 16 ? 4 : 0;
    const bool interleaved = coder->kernels->interleaved;
    for (uint32_t group = 0; group < coder->n / 4; group++) {
        const size_t at = interleaved ? group / 4 * 64 + group % 4 : (size_t)group * 16;
        const size_t step = interleaved ? 4 : 1;
        const unsigned nibble = from[at + step * (place_from & 15)] >> shift_from & 15u;
        uint8_t *byte = to + at + step * (place_to & 15);
        *byte = (uint8_t)((*byte & ~(15u << shift_to)) | nibble << shift_to);
    }
}

void tk_link_copy(const struct coder *coder, struct neighbours *list, uint32_t to,
                  const struct neighbours *other, uint32_t from)
{
    struct link_group *group = tk_link_group(list, to / LINKS_GROUP);
    const struct link_group *old = tk_link_group(other, from / LINKS_GROUP);
    const uint32_t place = to % LINKS_GROUP, place_from = from % LINKS_GROUP;
    copy_signs(coder, group->signs, place, old->signs, place_from);
    atomic_store_explicit(&group->slots[place], tk_neighbour(other, from), memory_order_relaxed);
    group->base[place] = old->base[place_from];
    group->factor[place] = old->factor[place_from];
    tk_link_set_note(list, to, tk_link_note(other, from));
}

void tk_links_reorder(const struct coder *coder, struct neighbours *list)
{
    const bool interleaved = coder->kernels->interleaved;
    for (uint32_t g = 0; g < list->groups; g++) {
        uint8_t *line = tk_link_group(list, g)->signs;
        for (uint32_t i = 0; i < coder->n / 16; i++, line += 64) {
            uint8_t before[64];
            memcpy(before, line, sizeof(before));
            for (uint32_t group = 0; group < 4; group++)
                for (uint32_t j = 0; j < 16; j++) {
                    const uint32_t mixed = 4 * j + group, apart = 16 * group + j;
                    line[interleaved ? mixed : apart] = before[interleaved ? apart : mixed];
                }
        }
    }
}

void tk_links_guess(const struct coder *coder, const struct query *query,
                    const struct link_group *group, float to_owner, float similarity[LINKS_GROUP],
                    const struct neighbours *ahead)
{
    uint32_t sums[LINKS_GROUP];
    coder->kernels->scan(group->signs, query->tables, coder->n, sums,
                         ahead ? tk_link_group(ahead, 0)->signs : group->signs);
    const float step = query->step * LINK_FACTOR_UNIT, base = query->base * LINK_FACTOR_UNIT;
    for (uint32_t i = 0; i < LINKS_GROUP; i++) {
        const float along = (float)(int32_t)sums[i] * step + base;
        similarity[i] =
            to_owner + (float)group->base[i] * LINK_BASE_UNIT + (float)group->factor[i] * along;
    }
}
