/*
 * drive_places.c: from the tops down, a folder at a time: each one's children are named together,
 * since their names depend on each other.
 */
#include "ingest/drive/drive_places.h"

#include "ingest/source_kind.h"
#include "storage/base/buffer.h"
#include "storage/base/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARK_DIGITS = 8, HASH_DIGITS = 2 * SHA256_SIZE };

/* A node of the table with what is found out about it. */
struct spot {
    struct drive_node *node;
    struct spot *parent;  /* the one that counts, or NULL */
    struct spot *child;   /* the first of those that count this as theirs */
    struct spot *sibling; /* the next of these */
    char *path;           /* NULL until it is placed */
    bool entered;         /* its children are placed */
};

struct finder {
    struct spot *spots;
    size_t count;
    struct spot **by_id;
    struct spot **queue; /* folders that are placed and whose children are not yet */
    size_t queued, entered;
    struct drive_places *places;
    bool failed;
};

/* ---- Names ---- */

static char *safe_name(const char *name)
{
    if (name[0] == '\0') return strdup("_");
    if (strcmp(name, ".") == 0) return strdup("_");
    if (strcmp(name, "..") == 0) return strdup("__");
    char *safe = strdup(name);
    if (safe == NULL) return NULL;
    for (char *c = safe; *c != '\0'; c++)
        if (*c == '/' || (unsigned char)*c < 0x20 || *c == 0x7f) *c = '_';
    return safe;
}

/* "Plan.md" becomes "Plan (1f2e3d4c).md". */
static char *marked_name(const char *name, const struct drive_node *node, int digits)
{
    uint8_t hash[SHA256_SIZE];
    char hex[HASH_DIGITS + 1];
    struct buffer made = {0};
    digest_sha256(node->id, strlen(node->id), hash);
    digest_hex(hash, sizeof(hash), hex);
    const char *dot = drive_node_is_folder(node) ? NULL : strrchr(name, '.');
    /* An ending is short and has no space: the rest of "Minutes 3. May" is none. */
    if (dot == name || (dot != NULL && (strlen(dot) > 8 || strchr(dot, ' ') != NULL))) dot = NULL;
    const int stem = (int)(dot != NULL ? (size_t)(dot - name) : strlen(name));
    buffer_format(&made, "%.*s (%.*s)%s", stem, name, digits, hex, dot != NULL ? dot : "");
    return buffer_take(&made);
}

/* One of a folder's children. */
struct named {
    struct spot *spot;
    struct drive_node *node;
    char *safe, *name; /* name is what it is called in paths */
};

static int compare_age(const struct drive_node *a, const struct drive_node *b)
{
    const int order = strcmp(a->created, b->created);
    return order != 0 ? order : strcmp(a->id, b->id);
}

static int compare_claims(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    int order = strcmp(a->safe, b->safe);
    if (order == 0) order = (int)a->node->marked - (int)b->node->marked;
    return order != 0 ? order : compare_age(a->node, b->node);
}

static int compare_names(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    const int order = strcmp(a->name, b->name);
    return order != 0 ? order : compare_age(a->node, b->node);
}

static bool name_all(struct named *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((list[i].safe = safe_name(list[i].node->name)) == NULL) return false;
    if (count > 1) qsort(list, count, sizeof(*list), compare_claims);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(list[i].safe, list[i - 1].safe) == 0) list[i].node->marked = true;
        list[i].name = list[i].node->marked ? marked_name(list[i].safe, list[i].node, MARK_DIGITS)
                                            : strdup(list[i].safe);
        if (list[i].name == NULL) return false;
    }
    /* A name that somebody gave may look like one with a mark: then the whole hash tells. */
    if (count > 1) qsort(list, count, sizeof(*list), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(list[i].name, list[i - 1].name) != 0) continue;
        struct named *one = list[i].node->marked ? &list[i] : &list[i - 1];
        char *longer = marked_name(one->safe, one->node, HASH_DIGITS);
        if (longer == NULL) return false;
        free(one->name);
        one->name = longer;
    }
    return true;
}

/* ---- Placing ---- */

static bool add_place(struct drive_place **list, size_t *count, size_t *room, const char *path,
                      struct drive_node *node)
{
    if (*count == *room) {
        const size_t wanted = *room > 0 ? 2 * *room : 64;
        struct drive_place *grown = realloc(*list, wanted * sizeof(*grown));
        if (grown == NULL) return false;
        *list = grown;
        *room = wanted;
    }
    char *copy = strdup(path);
    if (copy == NULL) return false;
    (*list)[(*count)++] = (struct drive_place){copy, node};
    return true;
}

static void lose(struct finder *finder, const char *path, struct drive_node *node)
{
    struct drive_places *places = finder->places;
    if (!add_place(&places->lost, &places->lost_count, &places->lost_room, path, node))
        finder->failed = true;
}

/* Gives the spot its path, and its children their turn. */
static void place(struct finder *finder, struct spot *spot, const char *path)
{
    struct drive_places *places = finder->places;
    spot->path = strdup(path);
    if (spot->path == NULL) {
        finder->failed = true;
        return;
    }
    if (strlen(path) > SOURCE_PATH_MAX)
        lose(finder, path, spot->node); /* nor what is below: it would be longer yet */
    else if (drive_node_is_folder(spot->node))
        finder->queue[finder->queued++] = spot;
    else if (strcmp(spot->node->mime, DRIVE_SHORTCUT) != 0 &&
             !add_place(&places->list, &places->count, &places->room, path, spot->node))
        finder->failed = true;
}

/* Places these below the path, "" for the top. */
static void place_all(struct finder *finder, const char *above, struct named *list, size_t count)
{
    if (!name_all(list, count)) finder->failed = true;
    for (size_t i = 0; i < count && !finder->failed; i++) {
        struct buffer path = {0};
        buffer_format(&path, "%s%s%s", above, above[0] != '\0' ? "/" : "", list[i].name);
        if (path.failed)
            finder->failed = true;
        else
            place(finder, list[i].spot, path.data);
        buffer_free(&path);
    }
    for (size_t i = 0; i < count; i++) {
        free(list[i].safe);
        free(list[i].name);
    }
}

static void place_children(struct finder *finder, struct spot *folder)
{
    size_t count = 0;
    for (struct spot *child = folder->child; child != NULL; child = child->sibling)
        count += child->path == NULL;
    if (count == 0) return;
    struct named *list = calloc(count, sizeof(*list));
    if (list == NULL) {
        finder->failed = true;
        return;
    }
    size_t i = 0;
    for (struct spot *child = folder->child; child != NULL; child = child->sibling)
        if (child->path == NULL) list[i++] = (struct named){.spot = child, .node = child->node};
    place_all(finder, folder->path, list, count);
    free(list);
}

static void descend(struct finder *finder)
{
    while (finder->entered < finder->queued && !finder->failed)
        place_children(finder, finder->queue[finder->entered++]);
}

static bool is_top(const struct spot *spot, bool whole_user)
{
    const struct drive_node *node = spot->node;
    if (spot->parent != NULL || spot->path != NULL) return false;
    return node->root || (whole_user && node->drive == NULL && !node->outside);
}

/* Those at the top, and then chosen folders that nothing placed leads to, as for instance one below
 * what a shortcut leads to. */
static void place_tops(struct finder *finder, bool whole_user)
{
    struct named *list = calloc(finder->count + 1, sizeof(*list));
    size_t count = 0;
    if (list == NULL) {
        finder->failed = true;
        return;
    }
    for (size_t i = 0; i < finder->count; i++)
        if (is_top(&finder->spots[i], whole_user))
            list[count++] =
                (struct named){.spot = &finder->spots[i], .node = finder->spots[i].node};
    place_all(finder, "", list, count);
    free(list);
    descend(finder);
    for (size_t i = 0; i < finder->count && !finder->failed; i++) {
        struct spot *spot = &finder->spots[i];
        if (spot->path != NULL || !spot->node->root) continue;
        struct named alone = {.spot = spot, .node = spot->node};
        place_all(finder, "", &alone, 1);
        descend(finder);
    }
}

/* ---- Shortcuts ---- */

static int compare_ids(const void *x, const void *y)
{
    const struct spot *const *a = x, *const *b = y;
    return strcmp((*a)->node->id, (*b)->node->id);
}

static struct spot *spot_of(const struct finder *finder, const char *id)
{
    size_t low = 0, high = finder->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(finder->by_id[middle]->node->id, id);
        if (order == 0) return finder->by_id[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int compare_shortcuts(const void *x, const void *y)
{
    const struct spot *const *a = x, *const *b = y;
    return compare_age((*a)->node, (*b)->node);
}

/* Follows the shortcuts that are placed by now, the oldest first. Returns whether any led to
 * something new, below which there may be more. */
static bool follow(struct finder *finder, struct spot **shortcuts)
{
    size_t count = 0;
    bool found = false;
    for (size_t i = 0; i < finder->count; i++) {
        struct spot *spot = &finder->spots[i];
        if (spot->path != NULL && spot->node->target != NULL && !spot->entered)
            shortcuts[count++] = spot;
    }
    if (count > 1) qsort(shortcuts, count, sizeof(*shortcuts), compare_shortcuts);
    for (size_t i = 0; i < count && !finder->failed; i++) {
        struct spot *shortcut = shortcuts[i], *target = spot_of(finder, shortcut->node->target);
        shortcut->entered = true;
        if (target == NULL || target->node->target != NULL) {
            lose(finder, shortcut->path, shortcut->node);
        } else if (target->path == NULL) {
            place(finder, target, shortcut->path);
            descend(finder);
            found = true;
        }
    }
    return found;
}

static void follow_all(struct finder *finder)
{
    struct spot **shortcuts = calloc(finder->count + 1, sizeof(struct spot *));
    if (shortcuts == NULL) finder->failed = true;
    while (!finder->failed && follow(finder, shortcuts)) continue;
    free(shortcuts);
}

/* ---- The whole ---- */

/* The parent that counts is the first, in the order of their ids, that is in the table. */
static void find_parent(struct finder *finder, struct spot *spot)
{
    for (size_t i = 0; i < spot->node->parent_count && spot->parent == NULL; i++) {
        struct spot *parent = spot_of(finder, spot->node->parents[i]);
        if (parent != NULL && drive_node_is_folder(parent->node)) spot->parent = parent;
    }
    if (spot->parent == NULL) return;
    spot->sibling = spot->parent->child;
    spot->parent->child = spot;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct drive_place *)a)->path, ((const struct drive_place *)b)->path);
}

static void find_all(struct finder *finder, struct drive_nodes *nodes, bool whole_user)
{
    for (size_t i = 0; i < nodes->count; i++)
        if (!nodes->list[i]->gone) finder->spots[finder->count++].node = nodes->list[i];
    for (size_t i = 0; i < finder->count; i++) finder->by_id[i] = &finder->spots[i];
    if (finder->count > 1) qsort(finder->by_id, finder->count, sizeof(*finder->by_id), compare_ids);
    for (size_t i = 0; i < finder->count; i++) find_parent(finder, &finder->spots[i]);
    place_tops(finder, whole_user);
    follow_all(finder);
}

int drive_places_find(struct drive_nodes *nodes, bool whole_user, struct drive_places *places)
{
    struct finder finder = {.places = places};
    finder.spots = calloc(nodes->count + 1, sizeof(*finder.spots));
    finder.by_id = calloc(nodes->count + 1, sizeof(*finder.by_id));
    finder.queue = calloc(nodes->count + 1, sizeof(*finder.queue));
    if (finder.spots == NULL || finder.by_id == NULL || finder.queue == NULL)
        finder.failed = true;
    else
        find_all(&finder, nodes, whole_user);
    for (size_t i = 0; i < finder.count; i++) {
        if (finder.spots[i].path == NULL && !finder.failed) finder.spots[i].node->gone = true;
        free(finder.spots[i].path);
    }
    free(finder.spots);
    free(finder.by_id);
    free(finder.queue);
    if (places->count > 1) qsort(places->list, places->count, sizeof(*places->list), compare_paths);
    return finder.failed ? -1 : 0;
}

struct drive_node *drive_places_node(const struct drive_places *places, const char *path)
{
    const struct drive_place key = {.path = (char *)path};
    const struct drive_place *found =
        places->count > 0
            ? bsearch(&key, places->list, places->count, sizeof(*places->list), compare_paths)
            : NULL;
    return found != NULL ? found->node : NULL;
}

static void free_list(struct drive_place *list, size_t count)
{
    for (size_t i = 0; i < count; i++) free(list[i].path);
    free(list);
}

void drive_places_free(struct drive_places *places)
{
    free_list(places->list, places->count);
    free_list(places->lost, places->lost_count);
    *places = (struct drive_places){0};
}
