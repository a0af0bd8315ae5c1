#include "storage/passthrough/prepared.h"

#include "storage/base/fnv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREPARED_BUCKETS = 256 };

/* ---- Statements ---- */

static bool grow_statements(struct statements *statements)
{
    if (statements->count < statements->room) return true;
    const size_t room = statements->room == 0 ? 64 : statements->room * 2;
    struct statement **buckets = calloc(room, sizeof(*buckets));
    if (buckets == NULL) return false;
    for (size_t i = 0; i < statements->room; i++) {
        struct statement *next;
        for (struct statement *at = statements->buckets[i]; at != NULL; at = next) {
            next = at->next;
            at->next = buckets[at->hash % room];
            buckets[at->hash % room] = at;
        }
    }
    free(statements->buckets);
    statements->buckets = buckets;
    statements->room = room;
    return true;
}

static uint64_t statement_hash(const struct role *role, uint64_t profile, const char *text,
                               size_t length)
{
    return fnv_add(FNV_BASIS ^ (uintptr_t)role ^ profile, text, length);
}

struct statement *statement_find(const struct statements *statements, const struct role *role,
                                 uint64_t profile, const char *text, size_t length)
{
    if (statements->room == 0) return NULL;
    const uint64_t hash = statement_hash(role, profile, text, length);
    for (struct statement *at = statements->buckets[hash % statements->room]; at != NULL;
         at = at->next) {
        if (at->hash == hash && at->role == role && at->profile == profile && !at->retired &&
            at->length == length && memcmp(at->text, text, length) == 0)
            return at;
    }
    return NULL;
}

struct statement *statement_of(struct statements *statements, const struct role *role,
                               uint64_t profile, const char *text, size_t length)
{
    struct statement *found = statement_find(statements, role, profile, text, length);
    if (found != NULL) return statement_use(found);
    if (!grow_statements(statements)) return NULL;
    const uint64_t hash = statement_hash(role, profile, text, length);
    struct statement **bucket = &statements->buckets[hash % statements->room];
    struct statement *statement = malloc(sizeof(*statement) + length);
    if (statement == NULL) return NULL;
    *statement = (struct statement){
        .next = *bucket,
        .id = ++statements->last_id,
        .hash = hash,
        .uses = 1,
        .role = role,
        .profile = profile,
        .look = -1,
        .length = length,
    };
    memcpy(statement->text, text, length);
    *bucket = statement;
    statements->count++;
    return statement;
}

struct statement *statement_use(struct statement *statement)
{
    statement->uses++;
    return statement;
}

void statement_release(struct statements *statements, struct statement *statement)
{
    if (statement == NULL || --statement->uses > 0) return;
    struct statement **at = &statements->buckets[statement->hash % statements->room];
    while (*at != statement) at = &(*at)->next;
    *at = statement->next;
    statements->count--;
    free(statement);
}

void statement_name(const struct statement *statement, char name[STATEMENT_NAME])
{
    snprintf(name, STATEMENT_NAME, STATEMENT_PREFIX "%" PRIx64, statement->id);
}

void statement_retire(struct statement *statement)
{
    statement->retired = true;
}

void statements_free(struct statements *statements)
{
    free(statements->buckets);
    *statements = (struct statements){0};
}

/* ---- Names ---- */

static size_t compared(size_t length)
{
    return length < NAME_COMPARED ? length : NAME_COMPARED;
}

static struct name **bucket_of(const struct names *names, const char *text, size_t length)
{
    return &names->buckets[fnv_add(FNV_BASIS, text, length) % names->room];
}

struct name *names_get(const struct names *names, const char *text, size_t length)
{
    if (names->count == 0) return NULL;
    length = compared(length);
    for (struct name *at = *bucket_of(names, text, length); at != NULL; at = at->next) {
        if (!at->closing && at->length == length && memcmp(at->text, text, length) == 0) return at;
    }
    return NULL;
}

static bool grow_names(struct names *names)
{
    if (names->count < names->room) return true;
    const struct names old = *names;
    const size_t room = old.room == 0 ? 8 : old.room * 2;
    struct name **buckets = calloc(room, sizeof(*buckets));
    if (buckets == NULL) return false;
    names->buckets = buckets;
    names->room = room;
    for (size_t i = 0; i < old.room; i++) {
        struct name *next;
        for (struct name *at = old.buckets[i]; at != NULL; at = next) {
            struct name **bucket = bucket_of(names, at->text, at->length);
            next = at->next;
            at->next = *bucket;
            *bucket = at;
        }
    }
    free(old.buckets);
    return true;
}

bool names_add(struct names *names, struct statements *statements, const char *text, size_t length,
               struct statement *statement)
{
    length = compared(length);
    struct name *name = NULL;
    if (names->count < NAMES_MOST && names->bytes + statement->length <= NAMES_BYTES &&
        grow_names(names))
        name = malloc(sizeof(*name) + length);
    if (name == NULL) {
        statement_release(statements, statement);
        return false;
    }
    struct name **bucket = bucket_of(names, text, length);
    *name = (struct name){.next = *bucket, .statement = statement, .length = length};
    memcpy(name->text, text, length);
    *bucket = name;
    names->count++;
    names->bytes += statement->length;
    return true;
}

void names_confirm(struct names *names, const struct statement *statement)
{
    for (size_t i = 0; i < names->room; i++) {
        for (struct name *at = names->buckets[i]; at != NULL; at = at->next)
            if (at->statement == statement) at->confirmed = true;
    }
}

void names_keep(struct names *names, const struct statement *statement)
{
    for (size_t i = 0; i < names->room; i++) {
        for (struct name *at = names->buckets[i]; at != NULL; at = at->next)
            if (at->statement == statement) at->closing = false;
    }
}

static void remove_name(struct names *names, struct statements *statements, struct name **at)
{
    struct name *name = *at;
    *at = name->next;
    names->count--;
    names->bytes -= name->statement->length;
    statement_release(statements, name->statement);
    free(name);
}

void names_drop(struct names *names, struct statements *statements,
                const struct statement *statement, bool closing)
{
    for (size_t i = 0; i < names->room; i++) {
        struct name **at = &names->buckets[i];
        while (*at != NULL) {
            if ((*at)->statement == statement && (closing ? (*at)->closing : !(*at)->confirmed))
                remove_name(names, statements, at);
            else
                at = &(*at)->next;
        }
    }
}

const struct name *names_find(const struct names *names, uint64_t id)
{
    for (size_t i = 0; i < names->room; i++) {
        for (const struct name *at = names->buckets[i]; at != NULL; at = at->next)
            if (at->statement->id == id) return at;
    }
    return NULL;
}

void names_free(struct names *names, struct statements *statements)
{
    for (size_t i = 0; i < names->room; i++)
        while (names->buckets[i] != NULL) remove_name(names, statements, &names->buckets[i]);
    free(names->buckets);
    *names = (struct names){0};
}

/* ---- Prepared ---- */

void prepared_init(struct prepared *prepared)
{
    *prepared = (struct prepared){0};
    TAILQ_INIT(&prepared->ages);
}

bool prepared_has(struct prepared *prepared, const struct statement *statement)
{
    if (prepared->buckets == NULL) return false;
    struct prepared_entry *entry = prepared->buckets[statement->id % PREPARED_BUCKETS];
    while (entry != NULL && entry->statement != statement) entry = entry->next;
    if (entry == NULL) return false;
    if (entry != TAILQ_FIRST(&prepared->ages)) {
        TAILQ_REMOVE(&prepared->ages, entry, age);
        TAILQ_INSERT_HEAD(&prepared->ages, entry, age);
    }
    return true;
}

bool prepared_add(struct prepared *prepared, struct statement *statement)
{
    if (prepared->buckets == NULL)
        prepared->buckets = calloc(PREPARED_BUCKETS, sizeof(struct prepared_entry *));
    struct prepared_entry *entry = prepared->buckets != NULL ? malloc(sizeof(*entry)) : NULL;
    if (entry == NULL) return false;
    struct prepared_entry **bucket = &prepared->buckets[statement->id % PREPARED_BUCKETS];
    *entry = (struct prepared_entry){.next = *bucket, .statement = statement_use(statement)};
    *bucket = entry;
    TAILQ_INSERT_HEAD(&prepared->ages, entry, age);
    prepared->count++;
    return true;
}

void prepared_remove(struct prepared *prepared, struct statements *statements,
                     struct statement *statement)
{
    if (prepared->buckets == NULL) return;
    struct prepared_entry **at = &prepared->buckets[statement->id % PREPARED_BUCKETS];
    while (*at != NULL && (*at)->statement != statement) at = &(*at)->next;
    struct prepared_entry *entry = *at;
    if (entry == NULL) return;
    *at = entry->next;
    TAILQ_REMOVE(&prepared->ages, entry, age);
    prepared->count--;
    free(entry);
    statement_release(statements, statement);
}

struct statement *prepared_oldest(const struct prepared *prepared)
{
    if (prepared->count < PREPARED_MOST) return NULL;
    return TAILQ_LAST(&prepared->ages, prepared_ages)->statement;
}

void prepared_clear(struct prepared *prepared, struct statements *statements)
{
    struct prepared_entry *entry;
    while ((entry = TAILQ_FIRST(&prepared->ages)) != NULL)
        prepared_remove(prepared, statements, entry->statement);
    free(prepared->buckets);
    prepared_init(prepared);
}
