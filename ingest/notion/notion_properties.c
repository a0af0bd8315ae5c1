/* notion_properties.c: see notion_properties.h. */
#include "ingest/notion/notion_properties.h"

#include "ingest/notion/notion_text.h"

#include <stdbool.h>
#include <string.h>

static const char *type_of(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    return type != NULL ? type : "";
}

void notion_title(const json_t *page, struct buffer *out)
{
    const json_t *properties = json_object_get(page, "properties");
    const char *name;
    json_t *property;
    json_object_foreach((json_t *)properties, name, property)
    {
        if (strcmp(type_of(property), "title") != 0) continue;
        notion_text_plain(json_object_get(property, "title"), out);
        return;
    }
    /* Databases and data sources have it on top. */
    notion_text_plain(json_object_get(page, "title"), out);
}

static json_t *plain(const json_t *rich_text)
{
    struct buffer text = {0};
    notion_text_plain(rich_text, &text);
    json_t *value = text.length > 0 ? json_stringn(text.data, text.length) : NULL;
    buffer_free(&text);
    return value;
}

static json_t *member(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return value == NULL || json_is_null(value) ? NULL : json_incref(value);
}

/* The value itself, whatever it is, where it says something. */
static json_t *as_it_is(json_t *value)
{
    if (value == NULL || json_is_null(value)) return NULL;
    if (json_is_string(value) && json_string_length(value) == 0) return NULL;
    return json_incref(value);
}

/* One of each element's members; people and files have a name, relations an id. */
static json_t *each(const json_t *list, const char *first, const char *second)
{
    json_t *values = json_array();
    size_t i;
    const json_t *element;
    json_array_foreach(list, i, element)
    {
        json_t *value = member(element, first);
        if (value == NULL && second != NULL) value = member(element, second);
        if (value != NULL) json_array_append_new(values, value);
    }
    if (json_array_size(values) > 0) return values;
    json_decref(values);
    return NULL;
}

static json_t *date(const json_t *value)
{
    if (!json_is_object(value)) return NULL;
    json_t *range = json_object();
    json_t *start = member(value, "start"), *end = member(value, "end");
    if (start != NULL) json_object_set_new(range, "start", start);
    if (end != NULL) json_object_set_new(range, "end", end);
    return range;
}

static json_t *value_of(const json_t *property, int depth);

static json_t *rollup(const json_t *content, int depth)
{
    const json_t *list = json_object_get(content, "array"), *element;
    size_t i;
    if (!json_is_array(list)) return value_of(content, depth + 1);
    json_t *values = json_array();
    json_array_foreach(list, i, element)
    {
        json_t *value = value_of(element, depth + 1);
        if (value != NULL) json_array_append_new(values, value);
    }
    if (json_array_size(values) > 0) return values;
    json_decref(values);
    return NULL;
}

static json_t *unique_id(const json_t *content)
{
    const char *prefix = json_string_value(json_object_get(content, "prefix"));
    const json_t *number = json_object_get(content, "number");
    if (!json_is_integer(number)) return NULL;
    return json_sprintf("%s%s%lld", prefix != NULL ? prefix : "", prefix != NULL ? "-" : "",
                        (long long)json_integer_value(number));
}

/* depth: rollups may hold rollups. */
static json_t *value_of(const json_t *property, int depth)
{
    const char *type = type_of(property);
    json_t *content = json_object_get(property, type);
    if (content == NULL || json_is_null(content) || depth > 3) return NULL;
    if (strcmp(type, "title") == 0 || strcmp(type, "rich_text") == 0) return plain(content);
    if (strcmp(type, "select") == 0 || strcmp(type, "status") == 0) return member(content, "name");
    if (strcmp(type, "multi_select") == 0) return each(content, "name", NULL);
    if (strcmp(type, "people") == 0) return each(content, "name", "id");
    if (strcmp(type, "files") == 0) return each(content, "name", NULL);
    if (strcmp(type, "relation") == 0) return each(content, "id", NULL);
    if (strcmp(type, "date") == 0) return date(content);
    if (strcmp(type, "formula") == 0) return value_of(content, depth + 1);
    if (strcmp(type, "rollup") == 0) return rollup(content, depth);
    if (strcmp(type, "unique_id") == 0) return unique_id(content);
    if (strcmp(type, "verification") == 0) return member(content, "state");
    if (strcmp(type, "created_by") == 0 || strcmp(type, "last_edited_by") == 0) {
        json_t *name = member(content, "name");
        return name != NULL ? name : member(content, "id");
    }
    if (strcmp(type, "button") == 0) return NULL;
    return json_is_array(content) && json_array_size(content) == 0 ? NULL : as_it_is(content);
}

json_t *notion_properties(const json_t *page)
{
    json_t *values = json_object(), *property;
    const char *name;
    json_object_foreach(json_object_get(page, "properties"), name, property)
    {
        json_t *value = strcmp(type_of(property), "title") != 0 ? value_of(property, 0) : NULL;
        if (value != NULL) json_object_set_new(values, name, value);
    }
    return values;
}
