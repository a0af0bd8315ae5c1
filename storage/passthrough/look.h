/*
 * look.h: a light look at a statement's text, for what it may leave behind in a session.
 *
 * It knows words, strings and comments, not the grammar, and errs on the safe side: what it does
 * not know may leave something (LOOK_SUSPECT), and then the server is asked after the transaction.
 */
#ifndef STORAGE_PASSTHROUGH_LOOK_H
#define STORAGE_PASSTHROUGH_LOOK_H

#include <stddef.h>

enum {
    LOOK_SUSPECT = 1,    /* may leave something in the session, or take it away */
    LOOK_CUSTOM = 2,     /* sets, for the session, what the server cannot be asked about */
    LOOK_RESETS = 4,     /* sets settings back: RESET, SET ... TO DEFAULT, DISCARD ALL */
    LOOK_STATEMENTS = 8, /* names or shows prepared statements */
    LOOK_SEQUENCE = 16,  /* asks what sequences gave this session */
    LOOK_OPAQUE = 32,    /* runs code that is not seen: DO, CALL, functions that are not known */
    LOOK_RESETS_ALL = 64 /* of them: every setting */
};

/* LOOK_ flags; 0: nothing of the session's outlives the transaction. */
int look(const char *text, size_t length);

#endif
