#include "tools/tekup/backup_manifest.h"

#include "storage/migrations.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static json_t *make_tables(const struct backup_inventory *inventory)
{
    json_t *tables = json_array();
    for (size_t i = 0; i < inventory->table_count; i++) {
        const struct backup_table *table = &inventory->tables[i];
        json_array_append_new(tables, json_pack("{s:s, s:s, s:I}", "schema", table->schema, "name",
                                                table->name, "rows", (json_int_t)table->rows));
    }
    return tables;
}

static json_t *make_schemas(const struct backup_inventory *inventory)
{
    json_t *schemas = json_array();
    for (size_t i = 0; i < inventory->schema_count; i++)
        json_array_append_new(schemas, json_string(inventory->schemas[i]));
    return schemas;
}

static json_t *make_left_out(void)
{
    return json_pack("[s,s,s]",
                     "the change feed and where followers and daemons stand in it, which count in "
                     "the transactions of one server",
                     "the snapshot of the index, which is built again from the database",
                     "passwords of roles, which are the server's");
}

json_t *backup_manifest_make(const struct backup_inventory *inventory, int major, json_t *files)
{
    char when[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:s, s:o, s:o, s:o, s:o}", "format",
                     BACKUP_FORMAT, "tekupdb", TEKUP_VERSION, "createdAt", when, "migration",
                     inventory->migration, "postgresql", inventory->server_version, "pgDump", major,
                     "database", inventory->identity, "schemas", make_schemas(inventory), "tables",
                     make_tables(inventory), "files", files, "leftOut", make_left_out());
}

static char *copy_text(const json_t *text)
{
    return json_is_string(text) ? strdup(json_string_value(text)) : NULL;
}

static int invalid(struct error *err)
{
    return error_set(err, ERR_INVALID, NULL, "what it says of itself is not what tekup writes");
}

static int check_versions(const json_t *manifest, struct error *err)
{
    const json_t *format = json_object_get(manifest, "format");
    const json_t *migration = json_object_get(manifest, "migration");
    const char *version = json_string_value(json_object_get(manifest, "tekupdb"));
    if (!json_is_integer(format) || !json_is_integer(migration) || version == NULL)
        return invalid(err);
    if (json_integer_value(format) > BACKUP_FORMAT ||
        json_integer_value(migration) > (json_int_t)migration_count)
        return error_set(err, ERR_INVALID, NULL,
                         "tekupdb %.40s made it, which is newer than this one (%s): restore it "
                         "with that",
                         version, TEKUP_VERSION);
    return 0;
}

static int read_schemas(const json_t *schemas, struct backup_inventory *inventory)
{
    const size_t count = json_array_size(schemas);
    inventory->schemas = calloc(count + 1, sizeof(*inventory->schemas));
    for (size_t i = 0; inventory->schemas != NULL && i < count; i++) {
        char *name = copy_text(json_array_get(schemas, i));
        if (name == NULL) return -1;
        inventory->schemas[inventory->schema_count++] = name;
    }
    return inventory->schemas != NULL ? 0 : -1;
}

static int read_tables(const json_t *tables, struct backup_inventory *inventory)
{
    const size_t count = json_array_size(tables);
    inventory->tables = calloc(count + 1, sizeof(*inventory->tables));
    for (size_t i = 0; inventory->tables != NULL && i < count; i++) {
        const json_t *table = json_array_get(tables, i);
        struct backup_table *into = &inventory->tables[inventory->table_count++];
        into->schema = copy_text(json_object_get(table, "schema"));
        into->name = copy_text(json_object_get(table, "name"));
        into->rows = json_integer_value(json_object_get(table, "rows"));
        if (into->schema == NULL || into->name == NULL) return -1;
    }
    return inventory->tables != NULL ? 0 : -1;
}

int backup_manifest_read(const json_t *manifest, struct backup_inventory *inventory, int *major,
                         struct error *err)
{
    if (check_versions(manifest, err) != 0) return -1;
    inventory->migration = (int)json_integer_value(json_object_get(manifest, "migration"));
    inventory->server_version = (int)json_integer_value(json_object_get(manifest, "postgresql"));
    *major = (int)json_integer_value(json_object_get(manifest, "pgDump"));
    inventory->identity = copy_text(json_object_get(manifest, "database"));
    if (inventory->server_version <= 0 || *major <= 0 || inventory->identity == NULL ||
        read_schemas(json_object_get(manifest, "schemas"), inventory) != 0 ||
        read_tables(json_object_get(manifest, "tables"), inventory) != 0)
        return invalid(err);
    return 0;
}

long long backup_manifest_rows(const json_t *manifest, const char *schema, const char *name)
{
    size_t i;
    json_t *table;
    json_array_foreach(json_object_get(manifest, "tables"), i, table)
    {
        const char *its_schema = json_string_value(json_object_get(table, "schema"));
        const char *its_name = json_string_value(json_object_get(table, "name"));
        if (its_schema != NULL && its_name != NULL && strcmp(its_schema, schema) == 0 &&
            strcmp(its_name, name) == 0)
            return json_integer_value(json_object_get(table, "rows"));
    }
    return -1;
}
