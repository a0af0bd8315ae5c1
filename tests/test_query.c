#include "tools/tekupd/http/query.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *const known[] = {"source", "limit", "documents", "a b", NULL};

Test(query, decodes_names_and_values)
{
    struct query query;
    cr_assert_eq(
        query_parse("source=a+b%2Bc%c3%a6&&limit=7&a%20b=&documents=true", known, &query, NULL), 0);
    cr_expect_str_eq(query_get(&query, "source"), "a b+c\xc3\xa6");
    cr_expect_str_eq(query_get(&query, "a b"), "");
    cr_expect_null(query_get(&query, "none"));
    long limit = 1;
    bool documents = false;
    cr_expect_eq(query_integer(&query, "limit", 1, 10, &limit, NULL), 0);
    cr_expect_eq(limit, 7);
    cr_expect_eq(query_boolean(&query, "documents", &documents, NULL), 0);
    cr_expect(documents);
    query_free(&query);

    cr_expect_eq(query_parse(NULL, known, &query, NULL), 0);
    cr_expect_null(query_get(&query, "source"));
    cr_expect_eq(query_integer(&query, "limit", 1, 10, &limit, NULL), 0);
    cr_expect_eq(limit, 7, "what is not given stays as it is");
    query_free(&query);
}

Test(query, refuses_by_name)
{
    static const struct {
        const char *raw, *field, *message;
    } cases[] = {
        {"sauce=x", "sauce", "unknown parameter 'sauce'"},
        {"source=x&source=y", "source", "source is given twice"},
        {"source", "source", "source has no value"},
        {"source=%", "source", "percent-encoding"},
        {"source=%4", "source", "percent-encoding"},
        {"source=%zz", "source", "percent-encoding"},
        {"source=%00", "source", "without NUL"},
        {"source=%ff", "source", "valid UTF-8"},
        {"%ff=1", "", "percent-encoding"},
        {"=1", "", "unknown parameter"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct query query;
        struct error err = {0};
        cr_expect_eq(query_parse(cases[i].raw, known, &query, &err), -1, "%s", cases[i].raw);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.field, cases[i].field, "%s", cases[i].raw);
        cr_expect_not_null(strstr(err.message, cases[i].message), "%s: %s", cases[i].raw,
                           err.message);
        query_free(&query);
    }
}

Test(query, refuses_numbers_that_are_none_or_out_of_range)
{
    static const char *const wrong[] = {"limit=0",  "limit=11",  "limit=x",
                                        "limit=",   "limit=1x",  "limit= 1",
                                        "limit=-1", "limit=1e1", "limit=99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct query query;
        struct error err = {0};
        long limit = 5;
        cr_assert_eq(query_parse(wrong[i], known, &query, NULL), 0, "%s", wrong[i]);
        cr_expect_eq(query_integer(&query, "limit", 1, 10, &limit, &err), -1, "%s", wrong[i]);
        cr_expect_str_eq(err.field, "limit");
        cr_expect_eq(limit, 5);
        query_free(&query);
    }
    struct query query;
    struct error err = {0};
    bool documents = false;
    cr_assert_eq(query_parse("documents=yes", known, &query, NULL), 0);
    cr_expect_eq(query_boolean(&query, "documents", &documents, &err), -1);
    cr_expect_str_eq(err.field, "documents");
    query_free(&query);
}
