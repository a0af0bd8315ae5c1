#include "storage/base/buffer.h"
#include "tools/tekupd/search/search_request.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct embedder *embedder;

static void begin(void)
{
    struct error err = {0};
    embedder = embedder_create("hash", &err);
    cr_assert_not_null(embedder, "%s", err.message);
}

static void end(void)
{
    embedder_free(embedder);
}

TestSuite(search_request, .init = begin, .fini = end);

static int read_json(const char *text, struct search_request *request, struct error *err)
{
    if (search_request_from_json(text, strlen(text), request, err) != 0) return -1;
    return search_request_embed(request, embedder, err);
}

Test(search_request, has_the_defaults_of_the_interface)
{
    struct search_request request;
    struct error err = {0};
    cr_assert_eq(read_json("{\"query\": \"cats\"}", &request, &err), 0, "%s", err.message);
    cr_expect_eq(request.limit, 10);
    cr_expect_eq(request.ef, 0);
    cr_expect(isinf(request.threshold) && request.threshold < 0);
    cr_expect_eq(request.include, INCLUDE_CHUNK | INCLUDE_METADATA);
    cr_expect_null(request.source);
    cr_expect_null(request.repository);
    cr_expect_null(request.path_prefix);
    cr_expect_null(request.metadata);

    float wanted[EMBEDDING_DIM];
    const struct embed_text text = {"cats", 4};
    cr_assert_eq(embed_texts(embedder, &text, 1, wanted, &err), 0);
    cr_expect_arr_eq(request.vector, wanted, sizeof(wanted));
    search_request_free(&request);
}

Test(search_request, reads_every_field)
{
    struct search_request request;
    struct error err = {0};
    cr_assert_eq(
        read_json("{\"query\": \"cats\", \"limit\": 1000, \"ef\": 65536, \"threshold\": -0.5,"
                  "\"source\": \"local\", \"repository\": \"/r\", \"pathPrefix\": \"\","
                  "\"metadata\": {\"a\": 1.50}, \"include\": [\"content\", \"content\"]}",
                  &request, &err),
        0, "%s", err.message);
    cr_expect_eq(request.limit, 1000);
    cr_expect_eq(request.ef, 65536);
    cr_expect_float_eq(request.threshold, -0.5f, 1e-6f);
    cr_expect_eq(request.include, INCLUDE_CONTENT);
    cr_expect_str_eq(request.source, "local");
    cr_expect_str_eq(request.repository, "/r");
    cr_expect_str_eq(request.path_prefix, "");
    cr_expect_str_eq(request.metadata, "{\"a\": 1.50}");
    search_request_free(&request);

    cr_assert_eq(read_json("{\"query\": \"cats\", \"include\": []}", &request, &err), 0);
    cr_expect_eq(request.include, 0);
    search_request_free(&request);
}

Test(search_request, refuses_by_field)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"{}", "query"},
        {"{\"query\": \"\"}", "query"},
        {"{\"query\": \" \\n\"}", "query"},
        {"{\"query\": 1}", "query"},
        {"{\"query\": null}", "query"},
        {"{\"query\": \"a\\u0000\"}", "query"},
        {"{\"query\": \"a\", \"embedding\": [1]}", "query"},
        {"{\"embedding\": [1]}", "embedding"},
        {"{\"embedding\": null}", "embedding"},
        {"{\"query\": \"a\", \"limit\": 0}", "limit"},
        {"{\"query\": \"a\", \"limit\": 1001}", "limit"},
        {"{\"query\": \"a\", \"limit\": 1.5}", "limit"},
        {"{\"query\": \"a\", \"limit\": \"1\"}", "limit"},
        {"{\"query\": \"a\", \"limit\": true}", "limit"},
        {"{\"query\": \"a\", \"ef\": 0}", "ef"},
        {"{\"query\": \"a\", \"ef\": 65537}", "ef"},
        {"{\"query\": \"a\", \"threshold\": 1.01}", "threshold"},
        {"{\"query\": \"a\", \"threshold\": \"x\"}", "threshold"},
        {"{\"query\": \"a\", \"source\": \"\"}", "source"},
        {"{\"query\": \"a\", \"source\": []}", "source"},
        {"{\"query\": \"a\", \"repository\": \"\"}", "repository"},
        {"{\"query\": \"a\", \"pathPrefix\": 7}", "pathPrefix"},
        {"{\"query\": \"a\", \"metadata\": 7}", "metadata"},
        {"{\"query\": \"a\", \"metadata\": {\"a\": }}", "metadata"},
        {"{\"query\": \"a\", \"include\": \"chunk\"}", "include"},
        {"{\"query\": \"a\", \"include\": [\"chunks\"]}", "include"},
        {"{\"query\": \"a\", \"include\": [1]}", "include"},
        {"{\"query\": \"a\", \"Limit\": 1}", "Limit"},
        {"7", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct search_request request;
        struct error err = {0};
        cr_expect_eq(read_json(cases[i].text, &request, &err), -1, "%s", cases[i].text);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.field, cases[i].field, "%s: %s", cases[i].text, err.message);
        search_request_free(&request);
    }
}

/* Octets that are the same on every machine: 1.0 in each component. */
static void fill_octets(char octets[EMBEDDING_DIM * 4])
{
    for (int i = 0; i < EMBEDDING_DIM; i++) memcpy(octets + 4 * i, "\x00\x00\x80\x3f", 4);
}

Test(search_request, reads_octets_with_parameters)
{
    char octets[EMBEDDING_DIM * 4];
    struct search_request request;
    struct error err = {0};
    fill_octets(octets);
    cr_assert_eq(search_request_from_octets(octets, sizeof(octets),
                                            "limit=3&ef=7&threshold=-1e-1&source=a%20b&"
                                            "repository=r&pathPrefix=p&include=chunk,content",
                                            &request, &err),
                 0, "%s", err.message);
    cr_expect_eq(request.limit, 3);
    cr_expect_eq(request.ef, 7);
    cr_expect_float_eq(request.threshold, -0.1f, 1e-6f);
    cr_expect_str_eq(request.source, "a b");
    cr_expect_str_eq(request.path_prefix, "p");
    cr_expect_eq(request.include, INCLUDE_CHUNK | INCLUDE_CONTENT);
    cr_expect_eq(request.vector[1535], 1);
    search_request_free(&request);

    cr_assert_eq(search_request_from_octets(octets, sizeof(octets), "include=", &request, &err), 0);
    cr_expect_eq(request.include, 0);
    search_request_free(&request);
    cr_assert_eq(search_request_from_octets(octets, sizeof(octets), NULL, &request, &err), 0);
    cr_expect_eq(request.include, INCLUDE_CHUNK | INCLUDE_METADATA);
    search_request_free(&request);

    static const struct {
        const char *query, *field;
    } wrong[] = {
        {"limit=0", "limit"},          {"ef=x", "ef"},
        {"threshold=", "threshold"},   {"threshold=nan", "threshold"},
        {"threshold=2", "threshold"},  {"threshold=0x1", "threshold"},
        {"include=chunks", "include"}, {"metadata=%7b%7d", "metadata"},
        {"source=", "source"},         {"query=x", "query"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        cr_expect_eq(
            search_request_from_octets(octets, sizeof(octets), wrong[i].query, &request, &err), -1,
            "%s", wrong[i].query);
        cr_expect_str_eq(err.field, wrong[i].field, "%s", wrong[i].query);
        search_request_free(&request);
    }
    cr_expect_eq(search_request_from_octets(octets, 6143, "limit=3", &request, &err), -1);
    cr_expect_str_eq(err.field, "embedding");
    search_request_free(&request);
}
