/*
 * prepared.h: named prepared statements of the extended protocol, which outlive leases.
 *
 * A statement is what a Parse says behind its name: the text and the parameters' types. Clients of
 * one role and profile that prepare the same share one statement, known to servers by a name of its
 * own (statement_name). A client has names for statements; a server connection has statements
 * prepared, the least lately used of which give way to others.
 *
 * A name is added when Parse is passed on, since a Bind may follow at once, and confirmed when the
 * server has answered; it is closing from Close to the answer. An error undoes what was not
 * answered.
 */
#ifndef STORAGE_PASSTHROUGH_PREPARED_H
#define STORAGE_PASSTHROUGH_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define STATEMENT_PREFIX "tekupdb_"

enum {
    STATEMENT_NAME = 32,
    NAME_COMPARED = 63,     /* PostgreSQL compares no more of a name */
    NAMES_MOST = 10000,     /* of one client */
    NAMES_BYTES = 16 << 20, /* of one client's statements */
    PREPARED_MOST = 500,    /* of one server connection */
};

struct role;

/* ---- Statements ---- */

struct statement {
    struct statement *next;
    uint64_t id, hash;
    size_t uses;
    const struct role *role;
    uint64_t profile; /* the serial number of one */
    int look;         /* what look() says of the text */
    bool proven;      /* a server has prepared it */
    bool retired;     /* its result has changed: nobody new shares it */
    size_t length;
    char text[]; /* the body of Parse behind the name */
};

struct statements {
    struct statement **buckets;
    size_t count, room;
    uint64_t last_id;
};

/* Used once more; one that is new has no look yet (-1). NULL when memory runs out. */
struct statement *statement_of(struct statements *statements, const struct role *role,
                               uint64_t profile, const char *text, size_t length);
/* NULL where there is none. */
struct statement *statement_find(const struct statements *statements, const struct role *role,
                                 uint64_t profile, const char *text, size_t length);
struct statement *statement_use(struct statement *statement);
void statement_release(struct statements *statements, struct statement *statement);
void statement_name(const struct statement *statement, char name[STATEMENT_NAME]);
/* What Parse, Close and Bind of the next client that prepares the same go to is another one. */
void statement_retire(struct statement *statement);
void statements_free(struct statements *statements);

/* ---- A client's names ---- */

struct name {
    struct name *next;
    struct statement *statement;
    bool confirmed, closing;
    size_t length;
    char text[];
};

struct names {
    struct name **buckets; /* NULL until there is one */
    size_t count, room, bytes;
};

/* NULL where there is none. */
struct name *names_get(const struct names *names, const char *text, size_t length);
/* Takes over the use of the statement. Returns false where there are too many, or memory ran out.
 */
bool names_add(struct names *names, struct statements *statements, const char *text, size_t length,
               struct statement *statement);
void names_confirm(struct names *names, const struct statement *statement);
/* Removes the names of the statement that are not confirmed (closing: that are closing). */
void names_drop(struct names *names, struct statements *statements,
                const struct statement *statement, bool closing);
void names_keep(struct names *names, const struct statement *statement); /* not closing after all */
const struct name *names_find(const struct names *names, uint64_t id);
void names_free(struct names *names, struct statements *statements);

/* ---- What a server connection has prepared ---- */

struct prepared_entry {
    struct prepared_entry *next;
    TAILQ_ENTRY(prepared_entry) age; /* the last used first */
    struct statement *statement;
};
TAILQ_HEAD(prepared_ages, prepared_entry);

struct prepared {
    struct prepared_entry **buckets; /* NULL until there is one */
    struct prepared_ages ages;
    size_t count;
};

void prepared_init(struct prepared *prepared);
/* Whether it has it; then it is the last used. */
bool prepared_has(struct prepared *prepared, const struct statement *statement);
bool prepared_add(struct prepared *prepared, struct statement *statement);
void prepared_remove(struct prepared *prepared, struct statements *statements,
                     struct statement *statement);
/* The one that has to give way to another, or NULL. */
struct statement *prepared_oldest(const struct prepared *prepared);
void prepared_clear(struct prepared *prepared, struct statements *statements);

#endif
