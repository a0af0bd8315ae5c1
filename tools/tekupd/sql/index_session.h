/*
 * index_session.h: the database "tekupdb_index" of the daemon's PostgreSQL socket, where
 * vault.match_documents asks the index (index_request.h says how). Whoever comes shows the secret
 * of the door as password, and again with each request.
 *
 * The answer is rows (state text, document text, similarity float8, embedding int8), the first of
 * which says how it went: FOUND with the position in the change feed that the index has at least,
 * UNREADY or INVALID with the reason. After FOUND there is a row for each document, the most
 * similar one first, with the state NULL.
 */
#ifndef TEKUPD_INDEX_SESSION_H
#define TEKUPD_INDEX_SESSION_H

#include "storage/passthrough/passthrough.h"

/* A passthrough_query; arg is the struct daemon. */
void index_session_query(void *arg, struct passthrough_answer *answer, const char *text);

/* Whether this is the password. arg is the struct daemon. */
bool index_session_password(void *arg, const char *password);

#endif
