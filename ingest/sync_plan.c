/* sync_plan.c: collects two lists and joins them by path. */
#include "ingest/sync_plan.h"

#include "storage/base/fnv.h"

#include <stdlib.h>
#include <string.h>

/* The array with room for one more element, NULL when memory ran out. */
static void *make_room(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room) return array;
    const size_t wanted = *room < 64 ? 64 : *room * 2;
    void *grown = realloc(array, wanted * size);
    if (grown != NULL) *room = wanted;
    return grown;
}

static char *copy(const char *text, bool *failed)
{
    char *made = text != NULL ? strdup(text) : NULL;
    if (text != NULL && made == NULL) *failed = true;
    return made;
}

/* 0 stands for none. */
static uint64_t hash_of(const char *text)
{
    if (text == NULL) return 0;
    const uint64_t hash = fnv_add(FNV_BASIS, text, strlen(text));
    return hash != 0 ? hash : 1;
}

static void free_item(struct plan_item *item)
{
    free(item->path);
    free(item->sha);
}

static void free_version(struct plan_version *version)
{
    free(version->id);
    free(version->path);
    free(version->sha);
}

int plan_add_item(struct sync_plan *plan, const char *path, const char *sha, const char *url)
{
    bool failed = false;
    struct plan_item *items =
        make_room(plan->items, plan->item_count, &plan->item_room, sizeof(*items));
    if (items == NULL) return -1;
    plan->items = items;
    struct plan_item item = {
        .path = copy(path, &failed), .sha = copy(sha, &failed), .url = hash_of(url)};
    if (failed) {
        free_item(&item);
        return -1;
    }
    plan->items[plan->item_count++] = item;
    return 0;
}

int plan_add_version(struct sync_plan *plan, const char *id, const char *path, const char *sha,
                     const char *url, bool current)
{
    bool failed = false;
    struct plan_version *versions =
        make_room(plan->versions, plan->version_count, &plan->version_room, sizeof(*versions));
    if (versions == NULL) return -1;
    plan->versions = versions;
    struct plan_version version = {.id = copy(id, &failed),
                                   .path = copy(path, &failed),
                                   .sha = copy(sha, &failed),
                                   .url = hash_of(url),
                                   .current = current};
    if (failed) {
        free_version(&version);
        return -1;
    }
    plan->versions[plan->version_count++] = version;
    return 0;
}

int plan_keep(struct sync_plan *plan, const char *path)
{
    size_t length = strlen(path);
    if (length > 0 && path[length - 1] == '/') length--;
    char **kept = make_room(plan->kept, plan->kept_count, &plan->kept_room, sizeof(*kept));
    if (kept == NULL) return -1;
    plan->kept = kept;
    kept[plan->kept_count] = strndup(path, length);
    if (kept[plan->kept_count] == NULL) return -1;
    plan->kept_count++;
    return 0;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct plan_item *)a)->path, ((const struct plan_item *)b)->path);
}

static int compare_versions(const void *a, const void *b)
{
    return strcmp(((const struct plan_version *)a)->path, ((const struct plan_version *)b)->path);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The beginning of a path, compared with a whole one. */
struct prefix {
    const char *path;
    size_t length;
};

static int compare_prefix(const void *key, const void *element)
{
    const struct prefix *prefix = key;
    const char *path = *(char *const *)element;
    const int order = strncmp(prefix->path, path, prefix->length);
    return order != 0 ? order : -(path[prefix->length] != '\0');
}

static bool is_kept(const struct sync_plan *plan, const char *path)
{
    if (plan->kept_count == 0) return false;
    for (const char *end = path;; end++) {
        if (*end != '/' && *end != '\0') continue;
        const struct prefix prefix = {path, (size_t)(end - path)};
        if (bsearch(&prefix, plan->kept, plan->kept_count, sizeof(*plan->kept), compare_prefix) !=
            NULL)
            return true;
        if (*end == '\0') return false;
    }
}

static void drop_repeated(struct sync_plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->item_count; i++) {
        if (kept > 0 && strcmp(plan->items[i].path, plan->items[kept - 1].path) == 0)
            free_item(&plan->items[i]);
        else
            plan->items[kept++] = plan->items[i];
    }
    plan->item_count = kept;
}

void plan_match(struct sync_plan *plan)
{
    if (plan->item_count > 1)
        qsort(plan->items, plan->item_count, sizeof(*plan->items), compare_items);
    if (plan->version_count > 1)
        qsort(plan->versions, plan->version_count, sizeof(*plan->versions), compare_versions);
    if (plan->kept_count > 1)
        qsort(plan->kept, plan->kept_count, sizeof(*plan->kept), compare_paths);
    drop_repeated(plan);

    size_t item = 0;
    for (size_t i = 0; i < plan->version_count; i++) {
        struct plan_version *version = &plan->versions[i];
        int order = -1;
        while (item < plan->item_count &&
               (order = strcmp(version->path, plan->items[item].path)) > 0)
            item++;
        if (item < plan->item_count && order == 0)
            plan->items[item++].version = version;
        else
            version->gone = !is_kept(plan, version->path);
    }
}

void plan_free(struct sync_plan *plan)
{
    for (size_t i = 0; i < plan->item_count; i++) free_item(&plan->items[i]);
    for (size_t i = 0; i < plan->version_count; i++) free_version(&plan->versions[i]);
    for (size_t i = 0; i < plan->kept_count; i++) free(plan->kept[i]);
    free(plan->items);
    free(plan->versions);
    free(plan->kept);
    *plan = (struct sync_plan){0};
}
