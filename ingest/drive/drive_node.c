/* drive_node.c: see drive_node.h. */
#include "ingest/drive/drive_node.h"

#include "storage/base/digest.h"
#include "storage/base/fnv.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MOST = 128, PARENTS_MOST = 64, SLOTS_LEAST = 256 };

bool drive_is_id(const char *id)
{
    if (id == NULL || id[0] == '\0' || strlen(id) > ID_MOST) return false;
    for (const char *c = id; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-') return false;
    return true;
}

bool drive_node_is_folder(const struct drive_node *node)
{
    return strcmp(node->mime, DRIVE_FOLDER) == 0;
}

void drive_node_sha(const struct drive_node *node, char out[65])
{
    if (node->md5 != NULL) {
        snprintf(out, 65, "%s", node->md5);
        return;
    }
    char text[512];
    uint8_t hash[SHA256_SIZE];
    const int length =
        snprintf(text, sizeof(text), "%s %s %s", node->id, node->modified, node->mime);
    digest_sha256(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1, hash);
    digest_hex(hash, sizeof(hash), out);
}

void drive_node_free(struct drive_node *node)
{
    if (node == NULL) return;
    for (size_t i = 0; i < node->parent_count; i++) free(node->parents[i]);
    free(node->parents);
    free(node->id);
    free(node->name);
    free(node->mime);
    free(node->drive);
    free(node->md5);
    free(node->modified);
    free(node->created);
    free(node->url);
    free(node->owners);
    free(node->target);
    free(node);
}

/* ---- Reading ---- */

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* A copy, of `otherwise` where there is none; NULL where both are none. */
static char *copy(const char *text, const char *otherwise, bool *failed)
{
    if (text == NULL) text = otherwise;
    if (text == NULL) return NULL;
    char *made = strdup(text);
    if (made == NULL) *failed = true;
    return made;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool read_parents(struct drive_node *node, const json_t *parents)
{
    const size_t count = json_array_size(parents);
    if (count == 0) return true;
    if (count > PARENTS_MOST) return false;
    node->parents = calloc(count, sizeof(*node->parents));
    if (node->parents == NULL) return false;
    for (size_t i = 0; i < count; i++) {
        const char *id = json_string_value(json_array_get(parents, i));
        if (!drive_is_id(id)) return false;
        node->parents[i] = strdup(id);
        if (node->parents[i] == NULL) return false;
        node->parent_count++;
    }
    qsort(node->parents, count, sizeof(*node->parents), compare_texts);
    return true;
}

static char *read_owners(const json_t *owners, bool *failed)
{
    size_t i;
    const json_t *owner;
    if (json_array_size(owners) == 0) return NULL;
    json_t *addresses = json_array();
    json_array_foreach(owners, i, owner)
    {
        const char *address = text_of(owner, "emailAddress");
        if (address != NULL) json_array_append_new(addresses, json_string(address));
    }
    char *text = json_array_size(addresses) > 0 ? json_dumps(addresses, JSON_COMPACT) : NULL;
    if (text == NULL && json_array_size(addresses) > 0) *failed = true;
    json_decref(addresses);
    return text;
}

struct drive_node *drive_node_read(const json_t *file)
{
    bool failed = false;
    const char *id = text_of(file, "id"), *mime = text_of(file, "mimeType");
    const char *md5 = text_of(file, "md5Checksum"), *drive = text_of(file, "driveId");
    const char *size = text_of(file, "size"); /* a 64-bit number, which JSON's may not be */
    const json_t *shortcut = json_object_get(file, "shortcutDetails");
    const char *target = text_of(shortcut, "targetId");
    if (!drive_is_id(id) || mime == NULL || strlen(mime) > 255) return NULL;
    if ((md5 != NULL && strlen(md5) > 64) || (drive != NULL && !drive_is_id(drive))) return NULL;

    struct drive_node *node = calloc(1, sizeof(*node));
    if (node == NULL) return NULL;
    node->id = copy(id, NULL, &failed);
    node->name = copy(text_of(file, "name"), "", &failed);
    node->mime = copy(mime, NULL, &failed);
    node->drive = copy(drive, NULL, &failed);
    node->md5 = copy(md5, NULL, &failed);
    node->modified = copy(text_of(file, "modifiedTime"), "", &failed);
    node->created = copy(text_of(file, "createdTime"), "", &failed);
    node->url = copy(text_of(file, "webViewLink"), NULL, &failed);
    node->owners = read_owners(json_object_get(file, "owners"), &failed);
    if (strcmp(mime, DRIVE_SHORTCUT) == 0 && drive_is_id(target))
        node->target = copy(target, NULL, &failed);
    node->size = size != NULL ? (size_t)strtoull(size, NULL, 10) : 0;
    node->no_download =
        json_is_false(json_object_get(json_object_get(file, "capabilities"), "canDownload"));
    if (!read_parents(node, json_object_get(file, "parents"))) failed = true;
    if (!failed) return node;
    drive_node_free(node);
    return NULL;
}

/* ---- The table ---- */

static size_t hash_id(const char *id)
{
    const uint64_t hash = fnv_add(FNV_BASIS, id, strlen(id));
    return (size_t)(hash ^ (hash >> 32));
}

/* The slot that the id has or would have. */
static size_t slot_of(const struct drive_nodes *nodes, const char *id)
{
    size_t slot = hash_id(id) & (nodes->slot_count - 1);
    while (nodes->slots[slot] != 0 && strcmp(nodes->list[nodes->slots[slot] - 1]->id, id) != 0)
        slot = (slot + 1) & (nodes->slot_count - 1);
    return slot;
}

struct drive_node *drive_nodes_find(const struct drive_nodes *nodes, const char *id)
{
    if (nodes->slot_count == 0 || id == NULL) return NULL;
    const size_t place = nodes->slots[slot_of(nodes, id)];
    if (place == 0 || nodes->list[place - 1]->gone) return NULL;
    return nodes->list[place - 1];
}

/* Makes the slots anew, for `count` nodes at most half full. */
static int make_slots(struct drive_nodes *nodes, size_t count)
{
    size_t wanted = SLOTS_LEAST;
    while (wanted < 2 * count) wanted *= 2;
    size_t *slots = calloc(wanted, sizeof(*slots));
    if (slots == NULL) return -1;
    free(nodes->slots);
    nodes->slots = slots;
    nodes->slot_count = wanted;
    for (size_t i = 0; i < nodes->count; i++)
        nodes->slots[slot_of(nodes, nodes->list[i]->id)] = i + 1;
    return 0;
}

static int make_room(struct drive_nodes *nodes)
{
    if (nodes->count == nodes->room) {
        const size_t wanted = nodes->room > 0 ? 2 * nodes->room : SLOTS_LEAST / 2;
        struct drive_node **grown = realloc(nodes->list, wanted * sizeof(*grown));
        if (grown == NULL) return -1;
        nodes->list = grown;
        nodes->room = wanted;
    }
    return 2 * (nodes->count + 1) > nodes->slot_count ? make_slots(nodes, nodes->count + 1) : 0;
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_same_place(const struct drive_node *a, const struct drive_node *b)
{
    if (!is_same(a->name, b->name) || a->parent_count != b->parent_count) return false;
    for (size_t i = 0; i < a->parent_count; i++)
        if (!is_same(a->parents[i], b->parents[i])) return false;
    return true;
}

static bool is_same_node(const struct drive_node *a, const struct drive_node *b)
{
    return is_same_place(a, b) && is_same(a->mime, b->mime) && is_same(a->drive, b->drive) &&
           is_same(a->md5, b->md5) && is_same(a->modified, b->modified) &&
           is_same(a->url, b->url) && is_same(a->owners, b->owners) &&
           is_same(a->target, b->target) && a->size == b->size && a->no_download == b->no_download;
}

int drive_nodes_put(struct drive_nodes *nodes, struct drive_node *node)
{
    if (make_room(nodes) != 0) {
        drive_node_free(node);
        return -1;
    }
    const size_t slot = slot_of(nodes, node->id);
    if (nodes->slots[slot] == 0) {
        nodes->list[nodes->count++] = node;
        nodes->slots[slot] = nodes->count;
        return 1;
    }
    struct drive_node **place = &nodes->list[nodes->slots[slot] - 1];
    struct drive_node *old = *place;
    const bool same = !old->gone && is_same_node(old, node);
    node->root |= old->root;
    if (!old->gone) {
        node->outside |= old->outside;
        node->marked |= old->marked && is_same_place(old, node);
        node->broken |= old->broken && is_same(old->target, node->target);
    }
    *place = node;
    drive_node_free(old);
    return !same;
}

int drive_nodes_sweep(struct drive_nodes *nodes)
{
    size_t kept = 0;
    for (size_t i = 0; i < nodes->count; i++) {
        if (nodes->list[i]->gone)
            drive_node_free(nodes->list[i]);
        else
            nodes->list[kept++] = nodes->list[i];
    }
    if (kept == nodes->count) return 0;
    nodes->count = kept;
    return make_slots(nodes, kept + 1);
}

void drive_nodes_free(struct drive_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) drive_node_free(nodes->list[i]);
    free(nodes->list);
    free(nodes->slots);
    *nodes = (struct drive_nodes){0};
}

/* ---- In the cursor ---- */

static json_t *write_node(const struct drive_node *node)
{
    /* As the API spells it, so that it is read the same way; our own flags beside it. */
    char size[24];
    snprintf(size, sizeof(size), "%zu", node->size);
    json_t *owners = NULL, *addresses, *address;
    size_t i;
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s*, s:s*, s:s, s:s, s:s*, s:s}", "id", node->id, "name", node->name,
        "mimeType", node->mime, "driveId", node->drive, "md5Checksum", node->md5, "modifiedTime",
        node->modified, "createdTime", node->created, "webViewLink", node->url, "size", size);
    if (object == NULL) return NULL;
    if (node->parent_count > 0) {
        json_t *parents = json_array();
        for (i = 0; i < node->parent_count; i++)
            json_array_append_new(parents, json_string(node->parents[i]));
        json_object_set_new(object, "parents", parents);
    }
    if (node->owners != NULL && (addresses = json_loads(node->owners, 0, NULL)) != NULL) {
        owners = json_array();
        json_array_foreach(addresses, i, address)
        {
            json_array_append_new(owners, json_pack("{s:O}", "emailAddress", address));
        }
        json_decref(addresses);
        json_object_set_new(object, "owners", owners);
    }
    if (node->target != NULL)
        json_object_set_new(object, "shortcutDetails",
                            json_pack("{s:s}", "targetId", node->target));
    if (node->no_download)
        json_object_set_new(object, "capabilities", json_pack("{s:b}", "canDownload", 0));
    if (node->root) json_object_set_new(object, "root", json_true());
    if (node->outside) json_object_set_new(object, "outside", json_true());
    if (node->marked) json_object_set_new(object, "marked", json_true());
    if (node->broken) json_object_set_new(object, "broken", json_true());
    return object;
}

json_t *drive_nodes_write(const struct drive_nodes *nodes)
{
    json_t *array = json_array();
    for (size_t i = 0; array != NULL && i < nodes->count; i++) {
        if (nodes->list[i]->gone) continue;
        if (json_array_append_new(array, write_node(nodes->list[i])) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

int drive_nodes_read(struct drive_nodes *nodes, const json_t *array)
{
    size_t i;
    const json_t *object;
    if (!json_is_array(array)) return -1;
    json_array_foreach(array, i, object)
    {
        struct drive_node *node = drive_node_read(object);
        if (node == NULL) return -1;
        node->root = json_is_true(json_object_get(object, "root"));
        node->outside = json_is_true(json_object_get(object, "outside"));
        node->marked = json_is_true(json_object_get(object, "marked"));
        node->broken = json_is_true(json_object_get(object, "broken"));
        if (drive_nodes_put(nodes, node) < 0) return -1;
    }
    return 0;
}
