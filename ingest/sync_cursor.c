/* sync_cursor.c: reads and writes what one sync leaves for the next. */
#include "ingest/sync_cursor.h"

#include "storage/sources.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST_HEX = 2 * SHA256_SIZE + 1 };

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

static void put_hex(const uint8_t digest[SHA256_SIZE], char hex[DIGEST_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_SIZE] = '\0';
}

static void digest_config(const char *config, char hex[DIGEST_HEX])
{
    uint8_t digest[SHA256_SIZE];
    digest_sha256(config, strlen(config), digest);
    put_hex(digest, hex);
}

/* ---- The vault's state ---- */

/* The hash of both hashes, so that no path can pass for the end of another with its sha. */
void vault_state_add(struct vault_state *state, const char *path, const char *sha)
{
    uint8_t both[2 * SHA256_SIZE], digest[SHA256_SIZE];
    if (sha == NULL) sha = "";
    digest_sha256(path, strlen(path), both);
    digest_sha256(sha, strlen(sha), both + SHA256_SIZE);
    digest_sha256(both, sizeof(both), digest);
    for (size_t i = 0; i < SHA256_SIZE; i++) state->sum[i] ^= digest[i];
}

bool vault_state_same(const struct vault_state *one, const struct vault_state *other)
{
    return one->known && other->known && memcmp(one->sum, other->sum, SHA256_SIZE) == 0;
}

static bool take_hex(const char *hex, uint8_t digest[SHA256_SIZE])
{
    if (strlen(hex) != DIGEST_HEX - 1 || strspn(hex, "0123456789abcdef") != DIGEST_HEX - 1)
        return false;
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        digest[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

/* ---- What was skipped ---- */

int sync_cursor_add_skipped(struct sync_cursor *cursor, const char *path, const char *sha,
                            enum skip_reason reason)
{
    if (cursor->skipped_count == cursor->skipped_room) {
        const size_t room = cursor->skipped_room == 0 ? 64 : 2 * cursor->skipped_room;
        struct skipped_item *grown = realloc(cursor->skipped, room * sizeof(*grown));
        if (grown == NULL) return -1;
        cursor->skipped = grown;
        cursor->skipped_room = room;
    }
    struct skipped_item item = {.path = strdup(path), .sha = strdup(sha), .reason = reason};
    if (item.path == NULL || item.sha == NULL) {
        free(item.path);
        free(item.sha);
        return -1;
    }
    cursor->skipped[cursor->skipped_count++] = item;
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct skipped_item *)a)->path, ((const struct skipped_item *)b)->path);
}

enum skip_reason sync_cursor_skipped(const struct sync_cursor *cursor, const char *path,
                                     const char *sha)
{
    const struct skipped_item wanted = {.path = (char *)path};
    if (cursor->skipped_count == 0) return SKIP_NONE;
    const struct skipped_item *item = bsearch(&wanted, cursor->skipped, cursor->skipped_count,
                                              sizeof(*cursor->skipped), compare_paths);
    return item != NULL && strcmp(item->sha, sha) == 0 ? item->reason : SKIP_NONE;
}

void sync_cursor_free(struct sync_cursor *cursor)
{
    for (size_t i = 0; i < cursor->skipped_count; i++) {
        free(cursor->skipped[i].path);
        free(cursor->skipped[i].sha);
    }
    free(cursor->skipped);
    free(cursor->source);
    *cursor = (struct sync_cursor){0};
}

/* ---- Reading ---- */

static int take_skipped(struct sync_cursor *cursor, const json_t *list)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *path = json_string_value(json_array_get(entry, 0));
        const char *sha = json_string_value(json_array_get(entry, 1));
        const char *name = json_string_value(json_array_get(entry, 2));
        if (path == NULL || sha == NULL || name == NULL) continue;
        const enum skip_reason reason = skip_reason_find(name);
        if (reason == SKIP_NONE || reason == SKIP_REASONS) continue;
        if (sync_cursor_add_skipped(cursor, path, sha, reason) != 0) return -1;
    }
    if (cursor->skipped_count > 0)
        qsort(cursor->skipped, cursor->skipped_count, sizeof(*cursor->skipped), compare_paths);
    return 0;
}

static int take(struct sync_cursor *cursor, const json_t *root)
{
    const char *source = json_string_value(json_object_get(root, "source"));
    const char *vault = json_string_value(json_object_get(root, "vault"));
    if (vault != NULL) cursor->vault.known = take_hex(vault, cursor->vault.sum);
    if (source != NULL && (cursor->source = strdup(source)) == NULL) return -1;
    return take_skipped(cursor, json_object_get(root, "skipped"));
}

int sync_cursor_read(struct pool *pool, const char *source, const char *repository,
                     const char *config, struct sync_cursor *cursor, struct error *err)
{
    char expected[DIGEST_HEX];
    char *text;
    *cursor = (struct sync_cursor){0};
    if (cursor_get(pool, source, repository, &text, err) != 0) return -1;
    json_t *root = text != NULL ? json_loads(text, 0, NULL) : NULL;
    free(text);
    digest_config(config, expected);
    const char *digest = json_string_value(json_object_get(root, "config"));
    int status = 0;
    if (digest != NULL && strcmp(digest, expected) == 0) status = take(cursor, root);
    json_decref(root);
    if (status == 0) return 0;
    sync_cursor_free(cursor);
    return out_of_memory(err);
}

/* ---- Writing ---- */

static json_t *skipped_json(const struct sync_cursor *cursor)
{
    json_t *list = json_array();
    for (size_t i = 0; i < cursor->skipped_count; i++) {
        const struct skipped_item *item = &cursor->skipped[i];
        json_array_append_new(
            list, json_pack("[s, s, s]", item->path, item->sha, skip_reason_name(item->reason)));
    }
    return list;
}

int sync_cursor_write(struct pool *pool, const char *source, const char *repository,
                      const char *config, time_t listed, const struct sync_cursor *cursor,
                      struct error *err)
{
    struct tm utc;
    char listed_at[64], digest[DIGEST_HEX], vault[DIGEST_HEX];
    gmtime_r(&listed, &utc);
    strftime(listed_at, sizeof(listed_at), "%Y-%m-%dT%H:%M:%SZ", &utc);
    digest_config(config, digest);
    put_hex(cursor->vault.sum, vault);
    json_t *root = json_pack("{s:s, s:s, s:s*, s:s*, s:o}", "listedAt", listed_at, "config", digest,
                             "vault", cursor->vault.known ? vault : NULL, "source", cursor->source,
                             "skipped", skipped_json(cursor));
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (text == NULL) return out_of_memory(err);
    const int status = cursor_set(pool, source, repository, text, err);
    free(text);
    return status;
}
