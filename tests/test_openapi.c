/* Whether the description says of each call of the table that it is there, which bodies it takes
 * and whether it is for everybody, and describes nothing else. What the calls answer is compared
 * with it by tests/integration/test_openapi.py. */
#include "tools/tekupd/api/api.h"
#include "tools/tekupd/api/openapi.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static json_t *description;

static void begin(void)
{
    json_error_t problem;
    description = json_loadb((const char *)openapi_page.bytes, openapi_page.length,
                             JSON_REJECT_DUPLICATES, &problem);
    cr_assert_not_null(description, "%s in line %d", problem.text, problem.line);
}

static void end(void)
{
    json_decref(description);
}

TestSuite(openapi, .init = begin, .fini = end);

/* "/v1/documents/{id}" is "/v1/documents/" and "*" in the table. */
static void to_pattern(const char *path, char *out, size_t size)
{
    size_t used = 0;
    for (; *path != '\0' && used + 1 < size; path++) {
        out[used++] = *path == '{' ? '*' : *path;
        if (*path == '{') path += strcspn(path, "}");
    }
    out[used] = '\0';
}

static json_t *find_operation(const struct http_route *route)
{
    char pattern[128], method[16] = "";
    const char *path;
    json_t *item;
    for (size_t i = 0; route->method[i] != '\0' && i + 1 < sizeof(method); i++)
        method[i] = (char)tolower(route->method[i]);
    json_object_foreach(json_object_get(description, "paths"), path, item)
    {
        to_pattern(path, pattern, sizeof(pattern));
        if (strcmp(pattern, route->path) == 0) return json_object_get(item, method);
    }
    return NULL;
}

Test(openapi, describes_every_call)
{
    static const struct {
        int kind;
        const char *type;
    } kinds[] = {{HTTP_JSON, "application/json"},
                 {HTTP_OCTETS, "application/octet-stream"},
                 {HTTP_FORM, "application/x-www-form-urlencoded"}};
    for (size_t i = 0; i < api_route_count; i++) {
        const struct http_route *route = &api_routes[i];
        const json_t *operation = find_operation(route);
        cr_expect_not_null(operation, "%s %s is not described", route->method, route->path);
        if (operation == NULL) continue;
        const json_t *content =
            json_object_get(json_object_get(operation, "requestBody"), "content");
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
            cr_expect_eq(json_object_get(content, kinds[k].type) != NULL,
                         (route->bodies & kinds[k].kind) != 0, "%s of %s %s", kinds[k].type,
                         route->method, route->path);
        const json_t *security = json_object_get(operation, "security");
        cr_expect_eq(security != NULL, (route->bodies & HTTP_OPEN) != 0,
                     "whether %s %s is for everybody", route->method, route->path);
        cr_expect_eq(json_array_size(security), 0);
    }
}

Test(openapi, describes_nothing_else)
{
    const char *path, *method;
    json_t *item, *operation;
    char pattern[128];
    json_object_foreach(json_object_get(description, "paths"), path, item)
    {
        to_pattern(path, pattern, sizeof(pattern));
        json_object_foreach(item, method, operation)
        {
            bool found = false;
            for (size_t i = 0; i < api_route_count; i++)
                found = found || (strcmp(api_routes[i].path, pattern) == 0 &&
                                  strcasecmp(api_routes[i].method, method) == 0);
            cr_expect(found, "there is no %s %s", method, path);
        }
    }
}

Test(openapi, is_of_this_version)
{
    const json_t *info = json_object_get(description, "info");
    cr_expect_str_eq(json_string_value(json_object_get(info, "version")), TEKUP_VERSION);
    cr_expect_str_eq(json_string_value(json_object_get(description, "openapi")), "3.1.0");
}
