#include "tools/tekupd/search/search_request.h"

#include "tools/tekupd/http/json_body.h"
#include "tools/tekupd/http/query.h"
#include "tools/tekupd/search/embedding_input.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 10, LIMIT_MOST = 1000, EF_MOST = 65536 };

static void set_defaults(struct search_request *out)
{
    memset(out, 0, sizeof(*out));
    out->limit = LIMIT_DEFAULT;
    out->threshold = -INFINITY;
    out->include = INCLUDE_CHUNK | INCLUDE_METADATA;
}

void search_request_free(struct search_request *request)
{
    free(request->query);
    free(request->plain);
    free(request->source);
    free(request->repository);
    free(request->path_prefix);
    free(request->metadata);
}

static int add_include(const char *name, size_t length, int *include, struct error *err)
{
    static const struct {
        const char *name;
        int bit;
    } parts[] = {{"chunk", INCLUDE_CHUNK},
                 {"content", INCLUDE_CONTENT},
                 {"metadata", INCLUDE_METADATA},
                 {"highlights", INCLUDE_HIGHLIGHTS}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (strlen(parts[i].name) == length && memcmp(parts[i].name, name, length) == 0) {
            *include |= parts[i].bit;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "include",
                     "include must name chunk, content, metadata or highlights, or nothing");
}

/* Keeps a filter's text; one that is empty is a mistake (but for the prefix, which then is none).
 */
static int keep_text(const char *name, const char *value, bool may_be_empty, char **out,
                     struct error *err)
{
    if (value == NULL) return 0;
    if (*value == '\0' && !may_be_empty)
        return error_set(err, ERR_INVALID, name, "%s is empty", name);
    *out = strdup(value);
    return *out != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* ---- Modes ----------------------------------------------------------------------------------- */

static const char *const modes[] = {
    [MODE_VECTOR] = "vector", [MODE_TEXT] = "text", [MODE_HYBRID] = "hybrid"};

const char *search_mode_name(enum search_mode mode)
{
    return modes[mode];
}

static int take_mode(const char *name, enum search_mode *mode, struct error *err)
{
    if (name == NULL) return 0;
    for (int i = MODE_VECTOR; i <= MODE_HYBRID; i++) {
        if (strcmp(modes[i], name) == 0) {
            *mode = (enum search_mode)i;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "mode", "mode must be vector, text or hybrid");
}

static int take_group(const char *name, bool *chunks, struct error *err)
{
    if (name == NULL) return 0;
    *chunks = strcmp(name, "chunk") == 0;
    return *chunks || strcmp(name, "document") == 0
               ? 0
               : error_set(err, ERR_INVALID, "group", "group must be document or chunk");
}

/* Whether what is given is what the mode takes. */
static int check_mode(const struct search_request *request, struct error *err)
{
    const bool query = request->query != NULL, text = request->mode == MODE_TEXT;
    if (!query && !request->has_vector)
        return error_set(err, ERR_INVALID, "query", "query or embedding is needed");
    if (!query && (text || request->mode == MODE_HYBRID))
        return error_set(err, ERR_INVALID, "mode", "mode %s needs a query", modes[request->mode]);
    if (query && request->has_vector && request->mode != MODE_HYBRID)
        return error_set(err, ERR_INVALID, "query",
                         "give query or embedding, not both, unless mode is hybrid");
    if (text && !isinf(request->threshold))
        return error_set(err, ERR_INVALID, "threshold",
                         "threshold is for similarities, which mode text has none of");
    return 0;
}

static int take_query(const char *query, struct search_request *out, struct error *err)
{
    if (query == NULL) return 0;
    if (query[strspn(query, " \t\r\n")] == '\0')
        return error_set(err, ERR_INVALID, "query", "query is empty");
    out->query = strdup(query);
    return out->query != NULL ? 0 : error_set(err, ERR_INTERNAL, NULL, "memory ran out");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

enum { EMBEDDING, METADATA, CUTS };

static int read_include(json_t *root, int *include, struct error *err)
{
    const json_t *names = json_object_get(root, "include");
    if (names == NULL) return 0;
    if (!json_is_array(names))
        return error_set(err, ERR_INVALID, "include", "include must be an array");
    *include = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        if (!json_is_string(name))
            return error_set(err, ERR_INVALID, "include", "include must be an array of strings");
        if (add_include(json_string_value(name), json_string_length(name), include, err) != 0)
            return -1;
    }
    return 0;
}

static int read_question(json_t *root, struct json_slice embedding, struct search_request *out,
                         struct error *err)
{
    const char *query = NULL;
    if (json_get_text(root, "query", &query, err) != 0 || take_query(query, out, err) != 0)
        return -1;
    out->has_vector = embedding.text != NULL;
    if (check_mode(out, err) != 0) return -1;
    return out->has_vector ? embedding_from_json(embedding.text, embedding.length, out->vector, err)
                           : 0;
}

int search_request_embed(struct search_request *request, struct embedder *embedder,
                         struct error *err)
{
    if (request->has_vector) return 0;
    const char *query = request->plain != NULL ? request->plain : request->query;
    const struct embed_text text = {query, strlen(query)};
    const struct embed_call call = {
        .texts = &text, .count = 1, .out = request->vector, .is_query = true};
    return embed_perform(embedder, &call, err);
}

static int read_members(json_t *root, struct search_request *out, struct error *err)
{
    const char *source = NULL, *repository = NULL, *path_prefix = NULL, *mode = NULL, *group = NULL;
    long limit = LIMIT_DEFAULT, ef = 0;
    double threshold = -INFINITY;
    if (json_get_integer(root, "limit", 1, LIMIT_MOST, &limit, err) != 0 ||
        json_get_number(root, "threshold", -1, 1, &threshold, err) != 0 ||
        json_get_integer(root, "ef", 1, EF_MOST, &ef, err) != 0 ||
        json_get_text(root, "source", &source, err) != 0 ||
        json_get_text(root, "repository", &repository, err) != 0 ||
        json_get_text(root, "pathPrefix", &path_prefix, err) != 0 ||
        json_get_text(root, "mode", &mode, err) != 0 || take_mode(mode, &out->mode, err) != 0 ||
        json_get_text(root, "group", &group, err) != 0 ||
        take_group(group, &out->chunks, err) != 0 ||
        json_get_number(root, "diversity", 0, 1, &out->diversity, err) != 0 ||
        read_include(root, &out->include, err) != 0)
        return -1;
    out->limit = (size_t)limit;
    out->ef = (size_t)ef;
    out->threshold = (float)threshold;
    if (keep_text("source", source, false, &out->source, err) != 0 ||
        keep_text("repository", repository, false, &out->repository, err) != 0)
        return -1;
    return keep_text("pathPrefix", path_prefix, true, &out->path_prefix, err);
}

int search_request_from_json(const char *text, size_t length, struct search_request *out,
                             struct error *err)
{
    static const char *const known[] = {
        "query",    "embedding", "limit",   "threshold", "source", "repository", "pathPrefix",
        "metadata", "ef",        "include", "mode",      "group",  "diversity",  NULL};
    static const char *const cut[] = {"embedding", "metadata", NULL};
    struct json_slice slices[CUTS];
    json_t *root = NULL;
    set_defaults(out);
    int rc = json_body_parse(text, length, cut, slices, &root, err);
    if (rc == 0) rc = json_check_known(root, known, err);
    if (rc == 0) rc = read_members(root, out, err);
    if (rc == 0) rc = json_take_object(slices[METADATA], "metadata", &out->metadata, err);
    if (rc == 0) rc = read_question(root, slices[EMBEDDING], out, err);
    json_decref(root);
    return rc;
}

/* ---- Octets ---------------------------------------------------------------------------------- */

/* Leaves *value as it is where the parameter is not given. */
static int read_number(const struct query *query, const char *name, double least, double *value,
                       struct error *err)
{
    const char *text = query_get(query, name);
    if (text == NULL) return 0;
    char *end;
    const double number = strtod(text, &end);
    if (*text == '\0' || strspn(text, "0123456789+-.eE") != strlen(text) || *end != '\0')
        return error_set(err, ERR_INVALID, name, "%s must be a number", name);
    if (!(number >= least && number <= 1))
        return error_set(err, ERR_INVALID, name, "%s must be from %g to 1", name, least);
    *value = number;
    return 0;
}

static int split_include(const struct query *query, int *include, struct error *err)
{
    const char *names = query_get(query, "include");
    if (names == NULL) return 0;
    *include = 0;
    while (*names != '\0') {
        const size_t length = strcspn(names, ",");
        if (add_include(names, length, include, err) != 0) return -1;
        names += length;
        if (*names == ',') names++;
    }
    return 0;
}

static int read_parameters(const struct query *query, struct search_request *out, struct error *err)
{
    long limit = LIMIT_DEFAULT, ef = 0;
    double threshold = -INFINITY;
    if (query_integer(query, "limit", 1, LIMIT_MOST, &limit, err) != 0 ||
        query_integer(query, "ef", 1, EF_MOST, &ef, err) != 0 ||
        read_number(query, "threshold", -1, &threshold, err) != 0 ||
        read_number(query, "diversity", 0, &out->diversity, err) != 0 ||
        take_mode(query_get(query, "mode"), &out->mode, err) != 0 ||
        take_group(query_get(query, "group"), &out->chunks, err) != 0 ||
        take_query(query_get(query, "query"), out, err) != 0 ||
        split_include(query, &out->include, err) != 0)
        return -1;
    out->limit = (size_t)limit;
    out->ef = (size_t)ef;
    out->threshold = (float)threshold;
    if (keep_text("source", query_get(query, "source"), false, &out->source, err) != 0 ||
        keep_text("repository", query_get(query, "repository"), false, &out->repository, err) != 0)
        return -1;
    return keep_text("pathPrefix", query_get(query, "pathPrefix"), true, &out->path_prefix, err);
}

int search_request_from_octets(const char *bytes, size_t length, const char *query,
                               struct search_request *out, struct error *err)
{
    static const char *const known[] = {"limit",      "threshold", "source",  "repository",
                                        "pathPrefix", "ef",        "include", "mode",
                                        "group",      "diversity", "query",   NULL};
    struct query parameters;
    set_defaults(out);
    int rc = query_parse(query, known, &parameters, err);
    out->has_vector = true;
    if (rc == 0) rc = read_parameters(&parameters, out, err);
    if (rc == 0) rc = check_mode(out, err);
    if (rc == 0) rc = embedding_from_octets(bytes, length, out->vector, err);
    query_free(&parameters);
    return rc;
}
