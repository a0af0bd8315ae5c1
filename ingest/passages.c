/* passages.c: cuts documents, finds what repeats, and embeds the rest together. */
#include "ingest/passages.h"

#include "ingest/chunk.h"
#include "storage/base/log.h"
#include "storage/paid.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED_MOST = 2048 }; /* texts in one call, of 6 KB each when they come back */

static int out_of_memory(struct error *err)
{
    return error_set(err, ERR_INTERNAL, NULL, "out of memory");
}

/* The hash stands for the bytes and the embedding together, so that no lookup by a text's own hash
 * finds an embedding that our model did not make. */
static int hash_given(const struct document_input *input, uint8_t out[SHA256_SIZE],
                      struct error *err)
{
    const size_t embedding_size = EMBEDDING_DIM * sizeof(float);
    char *bytes = malloc(input->content_length + embedding_size);
    if (bytes == NULL) return out_of_memory(err);
    memcpy(bytes, input->embedding, embedding_size);
    memcpy(bytes + embedding_size, input->content, input->content_length);
    digest_sha256(bytes, embedding_size + input->content_length, out);
    free(bytes);
    return 0;
}

int passages_given(struct passages *passages, const struct document_input *input, struct error *err)
{
    passages->content = input->content;
    passages->chunks = calloc(1, sizeof(*passages->chunks));
    if (passages->chunks == NULL) return out_of_memory(err);
    passages->count = 1;
    passages->chunks[0].end = input->content_length;
    passages->chunks[0].embedding = input->embedding;
    return hash_given(input, passages->chunks[0].hash, err);
}

/* ---- Cutting ---- */

struct hashed {
    uint8_t hash[SHA256_SIZE];
    size_t chunk;
};

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *first = a;
    const struct hashed *second = b;
    const int order = memcmp(first->hash, second->hash, SHA256_SIZE);
    return order != 0 ? order : (first->chunk > second->chunk) - (first->chunk < second->chunk);
}

/* Gives each chunk the number of its text. */
static int group_by_hash(struct passages *passages, struct error *err)
{
    struct hashed *hashed = malloc(passages->count * sizeof(*hashed));
    if (hashed == NULL) return out_of_memory(err);
    for (size_t i = 0; i < passages->count; i++) {
        memcpy(hashed[i].hash, passages->chunks[i].hash, SHA256_SIZE);
        hashed[i].chunk = i;
    }
    qsort(hashed, passages->count, sizeof(*hashed), compare_hashed);
    for (size_t i = 0; i < passages->count; i++) {
        if (i == 0 || memcmp(hashed[i].hash, hashed[i - 1].hash, SHA256_SIZE) != 0) {
            const struct chunk_write *chunk = &passages->chunks[hashed[i].chunk];
            const size_t text = passages->text_count++;
            memcpy(passages->hashes + text * SHA256_SIZE, hashed[i].hash, SHA256_SIZE);
            passages->texts[text] =
                (struct embed_text){passages->content + chunk->start, chunk->end - chunk->start};
        }
        passages->text_of[hashed[i].chunk] = passages->text_count - 1;
    }
    free(hashed);
    return 0;
}

int passages_cut(struct passages *passages, const struct document_input *input, struct error *err)
{
    struct chunk *ranges;
    size_t count;
    passages->content = input->content;
    if (chunk_text(input->content, input->content_length, &ranges, &count) != 0)
        return out_of_memory(err);

    passages->chunks = calloc(count + 1, sizeof(*passages->chunks));
    passages->text_of = calloc(count + 1, sizeof(*passages->text_of));
    passages->texts = calloc(count + 1, sizeof(*passages->texts));
    passages->hashes = calloc(count + 1, SHA256_SIZE);
    if (passages->chunks == NULL || passages->text_of == NULL || passages->texts == NULL ||
        passages->hashes == NULL) {
        free(ranges);
        return out_of_memory(err);
    }
    passages->count = count;
    for (size_t i = 0; i < count; i++) {
        passages->chunks[i].start = ranges[i].start;
        passages->chunks[i].end = ranges[i].end;
        digest_sha256(input->content + ranges[i].start, ranges[i].end - ranges[i].start,
                      passages->chunks[i].hash);
    }
    free(ranges);
    return group_by_hash(passages, err);
}

/* ---- What the vault has ---- */

static int make_room(struct passages *passages, struct error *err)
{
    const size_t count = passages->text_count + 1;
    passages->found = calloc(count, sizeof(*passages->found));
    passages->refused = calloc(count, sizeof(*passages->refused));
    passages->embeddings = malloc(count * EMBEDDING_DIM * sizeof(*passages->embeddings));
    if (passages->found != NULL && passages->refused != NULL && passages->embeddings != NULL)
        return 0;
    return out_of_memory(err);
}

static void count_missing(struct passages *passages)
{
    passages->missing = passages->missing_bytes = 0;
    for (size_t i = 0; i < passages->text_count; i++) {
        if (passages->found[i]) continue;
        passages->missing++;
        passages->missing_bytes += passages->texts[i].length;
    }
}

/* Those that a server is known not to take count as found, and have no embedding. */
static int find_texts(struct pool *pool, const struct embedder *embedder, const uint8_t *hashes,
                      size_t count, float *vectors, bool *found, bool *refused, struct error *err)
{
    const char *model = embedder_model(embedder);
    if (vault_reuse_embeddings(pool, model, hashes, count, vectors, found, err) != 0) return -1;
    if (!embedder_asks(embedder)) return 0;
    if (paid_find(pool, model, hashes, count, vectors, found, err) != 0) return -1;
    if (vault_find_rejected(pool, model, hashes, count, refused, err) != 0) return -1;
    for (size_t i = 0; i < count; i++) {
        if (found[i]) refused[i] = false;
        found[i] = found[i] || refused[i];
    }
    return 0;
}

static int find_together(struct passages *const *list, size_t count, size_t total,
                         struct pool *pool, const struct embedder *embedder, struct error *err)
{
    uint8_t *hashes = calloc(total + 1, SHA256_SIZE);
    bool *found = calloc(total + 1, sizeof(*found));
    bool *refused = calloc(total + 1, sizeof(*refused));
    float *vectors = malloc((total * EMBEDDING_DIM + 1) * sizeof(*vectors));
    int status = hashes != NULL && found != NULL && refused != NULL && vectors != NULL
                     ? 0
                     : out_of_memory(err);
    size_t at = 0;
    for (size_t i = 0; status == 0 && i < count; at += list[i++]->text_count)
        memcpy(hashes + at * SHA256_SIZE, list[i]->hashes, list[i]->text_count * SHA256_SIZE);
    if (status == 0)
        status = find_texts(pool, embedder, hashes, total, vectors, found, refused, err);
    at = 0;
    for (size_t i = 0; status == 0 && i < count; at += list[i++]->text_count) {
        memcpy(list[i]->found, found + at, list[i]->text_count * sizeof(*found));
        memcpy(list[i]->refused, refused + at, list[i]->text_count * sizeof(*refused));
        memcpy(list[i]->embeddings, vectors + at * EMBEDDING_DIM,
               list[i]->text_count * EMBEDDING_DIM * sizeof(*vectors));
    }
    free(hashes);
    free(found);
    free(refused);
    free(vectors);
    return status;
}

int passages_find(struct passages *const *list, size_t count, struct pool *pool,
                  const struct embedder *embedder, struct error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (make_room(list[i], err) != 0) return -1;
        total += list[i]->text_count;
    }
    const int status = count == 1
                           ? find_texts(pool, embedder, list[0]->hashes, total, list[0]->embeddings,
                                        list[0]->found, list[0]->refused, err)
                           : find_together(list, count, total, pool, embedder, err);
    if (status != 0) return -1;
    for (size_t i = 0; i < count; i++) count_missing(list[i]);
    return 0;
}

/* ---- Embedding ---- */

/* A text that is missing, and where it is. */
struct wanted {
    const uint8_t *hash;
    struct passages *passages;
    size_t text;
};

static int compare_wanted(const void *a, const void *b)
{
    return memcmp(((const struct wanted *)a)->hash, ((const struct wanted *)b)->hash, SHA256_SIZE);
}

static bool is_same(const struct wanted *one, const struct wanted *other)
{
    return compare_wanted(one, other) == 0;
}

static size_t collect_wanted(struct passages *const *list, size_t count, struct wanted *wanted)
{
    size_t filled = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t text = 0; text < list[i]->text_count; text++)
            if (!list[i]->found[text])
                wanted[filled++] =
                    (struct wanted){list[i]->hashes + text * SHA256_SIZE, list[i], text};
    }
    qsort(wanted, filled, sizeof(*wanted), compare_wanted);
    return filled;
}

/* What a call gets. */
struct room {
    struct embed_text *texts;
    struct paid_text *paid;
    float *vectors;
    bool *refused;
};

static int make_call_room(struct room *room, size_t count, struct error *err)
{
    *room = (struct room){.texts = calloc(count, sizeof(*room->texts)),
                          .paid = calloc(count, sizeof(*room->paid)),
                          .vectors = malloc(count * EMBEDDING_DIM * sizeof(*room->vectors)),
                          .refused = calloc(count, sizeof(*room->refused))};
    if (room->texts != NULL && room->paid != NULL && room->vectors != NULL && room->refused != NULL)
        return 0;
    return out_of_memory(err);
}

static void free_call_room(struct room *room)
{
    free(room->texts);
    free(room->paid);
    free(room->vectors);
    free(room->refused);
}

/* Until the documents are written, which takes its time where there are many texts. Where it cannot
 * be done there is nothing lost yet. */
static void keep_paid(const struct room *room, size_t count, struct pool *pool,
                      const struct embedder *embedder)
{
    enum { MANY = 16 };
    struct error err = {0};
    size_t kept = 0;
    if (count < MANY || !embedder_asks(embedder)) return;
    for (size_t i = 0; i < count; i++)
        if (!room->refused[i]) room->paid[kept++] = room->paid[i];
    if (paid_keep(pool, embedder_model(embedder), room->paid, kept, &err) != 0)
        log_debug("embedding.not_kept", "error=%s", log_quote(err.message));
}

/* Embeds the distinct texts from *at on, as many as go into a call, and gives everybody his own.
 * What another document has, too, counts as embedded for the first of them. */
static int embed_some(const struct wanted *wanted, size_t count, size_t *at, struct room *room,
                      struct pool *pool, struct embedder *embedder, const struct embed_call *how,
                      struct error *err)
{
    size_t end = *at;
    size_t distinct = 0;
    for (; end < count; end++) {
        const bool again = end > *at && is_same(&wanted[end], &wanted[end - 1]);
        if (!again && distinct == EMBED_MOST) break;
        if (again) continue;
        room->texts[distinct] = wanted[end].passages->texts[wanted[end].text];
        room->paid[distinct] = (struct paid_text){
            .hash = wanted[end].hash, .embedding = room->vectors + distinct * EMBEDDING_DIM};
        distinct++;
    }
    struct embed_call call = *how;
    call.texts = room->texts;
    call.count = distinct;
    call.out = room->vectors;
    call.refused = room->refused;
    if (embed_perform(embedder, &call, err) != 0) return -1;
    keep_paid(room, distinct, pool, embedder);
    size_t text = 0;
    for (size_t i = *at; i < end; i++) {
        const bool again = i > *at && is_same(&wanted[i], &wanted[i - 1]);
        struct passages *passages = wanted[i].passages;
        if (!again && i > *at) text++;
        passages->refused[wanted[i].text] = room->refused[text];
        if (room->refused[text]) continue;
        memcpy(passages->embeddings + wanted[i].text * EMBEDDING_DIM,
               room->vectors + text * EMBEDDING_DIM, EMBEDDING_DIM * sizeof(*room->vectors));
        passages->embedded += !again;
    }
    *at = end;
    return 0;
}

static int embed_missing(struct passages *const *list, size_t count, size_t missing,
                         struct pool *pool, struct embedder *embedder, const struct embed_call *how,
                         struct error *err)
{
    struct room room;
    struct wanted *wanted = calloc(missing, sizeof(*wanted));
    int status = make_call_room(&room, missing < EMBED_MOST ? missing : EMBED_MOST, err);
    if (wanted == NULL) status = out_of_memory(err);
    const size_t filled = status == 0 ? collect_wanted(list, count, wanted) : 0;
    for (size_t at = 0; status == 0 && at < filled;)
        status = embed_some(wanted, filled, &at, &room, pool, embedder, how, err);
    free(wanted);
    free_call_room(&room);
    return status;
}

/* Gives the chunks their embeddings; those that have none are put aside. */
static int keep_embedded(struct passages *passages, struct error *err)
{
    size_t kept = 0;
    size_t rejected = 0;
    for (size_t i = 0; i < passages->count; i++)
        rejected += passages->refused[passages->text_of[i]];
    if (rejected > 0 && (passages->rejects = calloc(rejected, sizeof(*passages->rejects))) == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < passages->count; i++) {
        const size_t text = passages->text_of[i];
        if (passages->refused[text]) {
            passages->rejects[passages->rejected++] = passages->chunks[i];
            continue;
        }
        passages->chunks[kept] = passages->chunks[i];
        passages->chunks[kept++].embedding = passages->embeddings + text * EMBEDDING_DIM;
    }
    passages->count = kept;
    return 0;
}

int passages_embed(struct passages *const *list, size_t count, struct pool *pool,
                   struct embedder *embedder, const struct embed_call *how, struct error *err)
{
    size_t missing = 0;
    for (size_t i = 0; i < count; i++) {
        missing += list[i]->missing;
        list[i]->embedded = 0; /* also after a call that failed half way */
    }
    if (missing > 0 && embed_missing(list, count, missing, pool, embedder, how, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (keep_embedded(list[i], err) != 0) return -1;
    return 0;
}

void passages_free(struct passages *passages)
{
    free(passages->chunks);
    free(passages->text_of);
    free(passages->texts);
    free(passages->hashes);
    free(passages->embeddings);
    free(passages->refused);
    free(passages->found);
    free(passages->rejects);
    *passages = (struct passages){0};
}
