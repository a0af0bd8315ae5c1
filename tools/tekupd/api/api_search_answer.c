/* api_search_answer.c: what a search is answered with. */
#include "tools/tekupd/api/api.h"

#include "tools/tekupd/http/json_write.h"
#include "tools/tekupd/search/search.h"

static void put_highlights(struct buffer *body, const struct search_highlights *highlights)
{
    json_put_key(body, "highlights");
    json_put_open(body, '[');
    for (size_t i = 0; highlights != NULL && i < highlights->count; i++) {
        json_put_open(body, '{');
        json_field_integer(body, "start", (int64_t)highlights->ranges[i].start);
        json_field_integer(body, "end", (int64_t)highlights->ranges[i].end);
        json_put_close(body, '}');
    }
    json_put_close(body, ']');
}

static void put_fetched(struct buffer *body, const struct search *search, size_t i)
{
    const struct passage *passage = &search->passages[i];
    const struct document *document = &passage->document;
    const int include = search->wanted.include;
    if ((include & INCLUDE_CHUNK) != 0) api_put_chunk(body, passage);
    if ((include & INCLUDE_HIGHLIGHTS) != 0)
        put_highlights(body, search->highlights != NULL ? &search->highlights[i] : NULL);
    if ((include & INCLUDE_CONTENT) != 0) {
        json_put_key(body, "content");
        if (document->content != NULL)
            json_put_text_of(body, document->content, document->content_length);
        else
            json_put_null(body);
    }
    if ((include & INCLUDE_METADATA) != 0) {
        json_field_raw(body, "metadata", document->metadata);
        json_field_text(body, "sha", document->sha);
        json_field_text(body, "createdAt", document->created_at);
        json_field_text(body, "updatedAt", document->updated_at);
    }
}

static void put_result(struct buffer *body, const struct search *search, size_t i)
{
    const struct catalog_hit *hit = &search->found.hits[i];
    float similarity = hit->similarity;
    if (similarity > 1) similarity = 1; /* rounding */
    if (similarity < -1) similarity = -1;
    json_put_open(body, '{');
    json_field_text(body, "id", hit->document);
    json_field_number(body, "similarity", (double)similarity, 6);
    json_field_number(body, "score",
                      search->wanted.mode == MODE_VECTOR ? (double)similarity : (double)hit->score,
                      6);
    json_field_text(body, "source", hit->source);
    json_field_text(body, "repository", hit->repository);
    json_field_text(body, "path", hit->path);
    json_field_integer(body, "embeddingId", hit->embedding);
    if (search->passages != NULL) put_fetched(body, search, i);
    json_put_close(body, '}');
}

static void put_missing(struct buffer *text, const struct search *search)
{
    static const struct {
        int bit;
        const char *name;
    } parts[] = {{INCLUDE_CHUNK, "chunk"},
                 {INCLUDE_CONTENT, "content"},
                 {INCLUDE_METADATA, "metadata"},
                 {INCLUDE_HIGHLIGHTS, "highlights"}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if ((search->wanted.include & parts[i].bit) != 0)
            buffer_format(text, "%s%s", text->length > 0 ? ", " : "without ", parts[i].name);
    }
    buffer_format(text, ": %s", search->missing.message);
}

static void put_partial(struct buffer *body, const struct search *search)
{
    struct buffer text = {0};
    if (search->missing.code != ERR_NONE) put_missing(&text, search);
    const char *between = text.length > 0 ? "; " : "";
    if (search->wordless.code != ERR_NONE)
        buffer_format(&text, "%sby the vectors alone: %s", between, search->wordless.message);
    else if (search->words_lack)
        buffer_format(&text,
                      "%swithout some passages in full-text search: their words are still being "
                      "taken in",
                      between);
    json_field_text(body, "partial", text.data);
    buffer_free(&text);
}

void api_put_search(struct buffer *body, const struct search *search, const char *model,
                    double took_ms)
{
    size_t count = 0;
    json_put_open(body, '{');
    json_put_key(body, "results");
    json_put_open(body, '[');
    for (size_t i = 0; i < search->found.count; i++) {
        /* The row was deleted between the search and the fetching. */
        if (search->passages != NULL && !search->passages[i].found) continue;
        put_result(body, search, i);
        count++;
    }
    json_put_close(body, ']');
    json_field_integer(body, "count", (int64_t)count);
    json_field_text(body, "model", model);
    json_field_text(body, "mode", search_mode_name(search->wanted.mode));
    json_field_number(body, "tookMs", took_ms, 6);
    put_partial(body, search);
    json_put_close(body, '}');
}
