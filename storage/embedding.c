#include "storage/embedding.h"

#include "storage/sql.h"

#include <math.h>
#include <string.h>

enum { REAL_HEAD = 20, VECTOR_HEAD = 4 };

const char embedding_form_query[] =
    "SELECT t.typname = 'vector' FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    " WHERE a.attrelid = 'vault.\"VaultEmbedding\"'::regclass AND a.attname = 'embedding'";

enum embedding_form embedding_form_read(const PGresult *result)
{
    return PQntuples(result) == 1 && sql_get_bool(result, 0, 0) ? EMBEDDING_VECTOR : EMBEDDING_REAL;
}

static int32_t float_bits(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void embedding_encode(struct buffer *buffer, enum embedding_form form, const float *vector)
{
    if (form == EMBEDDING_VECTOR) {
        sql_put_int2(buffer, EMBEDDING_DIM);
        sql_put_int2(buffer, 0);
    } else {
        sql_put_array(buffer, SQL_REAL, EMBEDDING_DIM);
    }
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        if (form == EMBEDDING_REAL) sql_put_int4(buffer, sizeof(float));
        sql_put_int4(buffer, float_bits(vector[i]));
    }
}

static float read_float(const char *bytes)
{
    const int32_t bits = sql_read_int4(bytes);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

int embedding_decode(const char *bytes, size_t length, float *vector)
{
    if (length == VECTOR_HEAD + EMBEDDING_DIM * 4 && sql_read_int2(bytes) == EMBEDDING_DIM &&
        sql_read_int2(bytes + 2) == 0) {
        for (int i = 0; i < EMBEDDING_DIM; i++) vector[i] = read_float(bytes + VECTOR_HEAD + 4 * i);
        return 0;
    }
    /* An array of this length cannot hold a NULL: it would be four bytes shorter. */
    if (length != REAL_HEAD + EMBEDDING_DIM * 8 || sql_read_int4(bytes) != 1 ||
        sql_read_int4(bytes + 8) != SQL_REAL || sql_read_int4(bytes + 12) != EMBEDDING_DIM)
        return -1;
    for (int i = 0; i < EMBEDDING_DIM; i++) vector[i] = read_float(bytes + REAL_HEAD + 8 * i + 4);
    return 0;
}

bool embedding_usable(const float *vector)
{
    bool some = false;
    for (int i = 0; i < EMBEDDING_DIM; i++) {
        if (!isfinite(vector[i])) return false;
        if (vector[i] != 0.0F) some = true;
    }
    return some;
}
