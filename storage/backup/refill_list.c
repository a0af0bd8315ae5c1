#include "storage/backup/refill_list.h"

#include <stdbool.h>
#include <string.h>

/* A line is "215; 1259 16386 TABLE vault VaultDocument tekup_admin": what comes after the three
 * numbers, or NULL where it is a comment. */
static const char *entry_of(const char *line, size_t *length)
{
    const char *at = line, *end = line + *length;
    if (*length == 0 || *line < '0' || *line > '9') return NULL;
    for (int i = 0; i < 3; i++) {
        at = memchr(at, ' ', (size_t)(end - at));
        if (at == NULL) return NULL;
        at++;
    }
    *length = (size_t)(end - at);
    return at;
}

static bool begins(const char *entry, size_t length, const char *with)
{
    const size_t size = strlen(with);
    return length >= size && memcmp(entry, with, size) == 0;
}

/* Whether some entry begins with that. */
static bool has_entry(const char *contents, const char *wanted)
{
    for (const char *line = contents; *line != '\0';) {
        const size_t whole = strcspn(line, "\n");
        size_t length = whole;
        const char *entry = entry_of(line, &length);
        if (entry != NULL && begins(entry, length, wanted)) return true;
        line += whole + (line[whole] == '\n');
    }
    return false;
}

/* "ACL tekupdb FUNCTION dblink(text) postgres" belongs to "FUNCTION tekupdb dblink(text) postgres",
 * and "ACL - SCHEMA vault tekup_admin" to "SCHEMA - vault tekup_admin". The arguments of a function
 * are written with their names in the one and without in the other. */
static bool is_orphan(const char *contents, const char *entry, size_t length)
{
    static const char *const kinds[] = {"FUNCTION", "PROCEDURE", "AGGREGATE", "SCHEMA"};
    static const char acl[] = "ACL ";
    if (!begins(entry, length, acl)) return false;
    const char *schema = entry + sizeof(acl) - 1, *end = entry + length;
    const char *kind = memchr(schema, ' ', (size_t)(end - schema));
    if (kind == NULL) return false;
    const size_t schema_length = (size_t)(kind - schema);
    kind++;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct buffer maker = {0};
        const size_t size = strlen(kinds[i]);
        if (!begins(kind, (size_t)(end - kind), kinds[i]) || kind[size] != ' ') continue;
        const char *name = kind + size + 1;
        const char *stop = memchr(name, *kinds[i] == 'S' ? ' ' : '(', (size_t)(end - name));
        if (stop == NULL) return false;
        buffer_format(&maker, "%s %.*s %.*s", kinds[i], (int)schema_length, schema,
                      (int)(stop - name) + 1, name);
        const bool orphan = !maker.failed && !has_entry(contents, maker.data);
        buffer_free(&maker);
        return orphan;
    }
    return false;
}

static bool is_schema(const char *entry, size_t length, const char *const *schemas)
{
    static const char head[] = "SCHEMA - ";
    if (!begins(entry, length, head)) return false;
    const char *name = entry + sizeof(head) - 1;
    const size_t rest = length - (sizeof(head) - 1);
    for (; *schemas != NULL; schemas++) {
        const size_t size = strlen(*schemas);
        if (rest > size && memcmp(name, *schemas, size) == 0 && name[size] == ' ') return true;
    }
    return false;
}

void refill_list_keep(const char *contents, const char *const *schemas, struct buffer *kept)
{
    for (const char *line = contents; *line != '\0';) {
        const size_t whole = strcspn(line, "\n");
        size_t length = whole;
        const char *entry = entry_of(line, &length);
        if (entry != NULL && !begins(entry, length, "EXTENSION - ") &&
            !begins(entry, length, "COMMENT - EXTENSION ") && !is_schema(entry, length, schemas) &&
            !is_orphan(contents, entry, length)) {
            buffer_append(kept, line, whole);
            buffer_text(kept, "\n");
        }
        line += whole + (line[whole] == '\n');
    }
}

void refill_list_extensions(const char *contents, struct buffer *names)
{
    static const char head[] = "EXTENSION - ";
    for (const char *line = contents; *line != '\0';) {
        const size_t whole = strcspn(line, "\n");
        size_t length = whole;
        const char *entry = entry_of(line, &length);
        if (entry != NULL && begins(entry, length, head)) {
            entry += sizeof(head) - 1;
            length -= sizeof(head) - 1;
            while (length > 0 && entry[length - 1] == ' ') length--;
            buffer_append(names, entry, length);
            buffer_text(names, "\n");
        }
        line += whole + (line[whole] == '\n');
    }
}
