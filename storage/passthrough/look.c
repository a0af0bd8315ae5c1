#include "storage/passthrough/look.h"

#include "storage/passthrough/profile.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MOST = 64, CALLS_MOST = 16 };

/* What may stand before a parenthesis and leaves nothing in the session: key words, types, and
 * functions of pg_catalog. Sorted. */
/* clang-format off */
static const char *const harmless[] = {
    "abs", "acos", "age", "all", "and", "any", "array", "array_agg", "array_append", "array_cat",
    "array_dims", "array_length", "array_lower", "array_ndims", "array_position",
    "array_positions", "array_prepend", "array_remove", "array_replace", "array_to_json",
    "array_to_string", "array_upper", "as", "ascii", "asin", "atan", "atan2", "avg", "between",
    "bigint", "bit", "bit_and", "bit_length", "bit_or", "bool", "bool_and", "bool_or", "boolean",
    "bpchar", "btrim", "by", "bytea", "cardinality", "case", "cast", "ceil", "ceiling", "char",
    "char_length", "character", "check", "chr", "clock_timestamp", "coalesce", "collate",
    "concat", "concat_ws", "conflict", "constraint", "convert_from", "convert_to", "corr", "cos",
    "count", "cross", "cube", "cume_dist", "current_database", "current_date", "current_schema",
    "current_schemas", "current_setting", "current_time", "current_timestamp", "current_user",
    "date", "date_bin", "date_part", "date_trunc", "decimal", "decode", "default", "degrees",
    "dense_rank", "desc", "distinct", "div", "do", "double", "else", "encode", "end", "every",
    "except", "exists", "exp", "extract", "factorial", "false", "fetch", "filter", "first_value",
    "float", "float4", "float8", "floor", "following", "for", "format", "format_type", "from",
    "full", "gcd", "gen_random_uuid", "generate_series", "generate_subscripts", "get_bit",
    "get_byte", "greatest", "group", "grouping", "groups", "has_database_privilege",
    "has_schema_privilege", "has_table_privilege", "having", "host", "ilike", "in", "inet",
    "initcap", "inner", "int", "int2", "int4", "int8", "integer", "intersect", "interval", "into",
    "is", "isfinite", "isnull", "join", "json", "json_agg", "json_array_elements",
    "json_array_elements_text", "json_array_length", "json_build_array", "json_build_object",
    "json_each", "json_each_text", "json_extract_path", "json_extract_path_text", "json_object",
    "json_object_agg", "json_object_keys", "json_populate_record", "json_populate_recordset",
    "json_strip_nulls", "json_to_record", "json_to_recordset", "json_typeof", "jsonb",
    "jsonb_agg", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length",
    "jsonb_build_array", "jsonb_build_object", "jsonb_each", "jsonb_each_text", "jsonb_exists",
    "jsonb_exists_all", "jsonb_exists_any", "jsonb_extract_path", "jsonb_extract_path_text",
    "jsonb_insert", "jsonb_object", "jsonb_object_agg", "jsonb_object_keys", "jsonb_path_exists",
    "jsonb_path_match", "jsonb_path_query", "jsonb_path_query_array", "jsonb_path_query_first",
    "jsonb_populate_record", "jsonb_populate_recordset", "jsonb_pretty", "jsonb_set",
    "jsonb_set_lax", "jsonb_strip_nulls", "jsonb_to_record", "jsonb_to_recordset", "jsonb_typeof",
    "justify_days", "justify_hours", "justify_interval", "key", "lag", "last_value", "lateral",
    "lcm", "lead", "least", "left", "length", "like", "limit", "ln", "localtime",
    "localtimestamp", "log", "log10", "lower", "lpad", "ltrim", "make_date", "make_interval",
    "make_time", "make_timestamp", "make_timestamptz", "match_documents", "materialized", "max",
    "md5", "min", "mod", "mode", "money", "name", "natural", "nextval", "not", "notnull", "now",
    "nth_value", "ntile", "nullif", "nulls", "num_nonnulls", "num_nulls", "numeric",
    "obj_description", "octet_length", "of", "offset", "oid", "on", "only", "or", "order",
    "ordinality", "outer", "over", "overlaps", "overlay", "partition", "percent_rank",
    "percentile_cont", "percentile_disc", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
    "pg_backend_pid", "pg_client_encoding", "pg_column_size", "pg_database_size",
    "pg_encoding_to_char", "pg_get_constraintdef", "pg_get_expr", "pg_get_function_arguments",
    "pg_get_function_identity_arguments", "pg_get_function_result", "pg_get_functiondef",
    "pg_get_indexdef", "pg_get_partkeydef", "pg_get_ruledef", "pg_get_serial_sequence",
    "pg_get_triggerdef", "pg_get_userbyid", "pg_get_viewdef", "pg_indexes_size",
    "pg_is_in_recovery", "pg_notify", "pg_postmaster_start_time", "pg_relation_size",
    "pg_size_pretty", "pg_sleep", "pg_table_is_visible", "pg_table_size",
    "pg_total_relation_size", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
    "pg_type_is_visible", "pg_typeof", "phraseto_tsquery", "pi", "plainto_tsquery", "position",
    "power", "preceding", "precision", "primary", "quote_ident", "quote_literal",
    "quote_nullable", "radians", "random", "range", "rank", "real", "recursive", "references",
    "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_matches",
    "regexp_replace", "regexp_split_to_array", "regexp_split_to_table", "regexp_substr",
    "regr_slope", "repeat", "replace", "returning", "reverse", "right", "rollup", "round", "row",
    "row_number", "row_to_json", "rows", "rpad", "rtrim", "scale", "schema", "select", "set",
    "set_bit", "set_byte", "sets", "setval", "setweight", "sha224", "sha256", "sha384", "sha512",
    "shobj_description", "sign", "similar", "similarity", "sin", "smallint", "some", "split_part",
    "sqrt", "starts_with", "statement_timestamp", "stddev", "stddev_pop", "stddev_samp",
    "string_agg", "string_to_array", "string_to_table", "strpos", "substr", "substring", "sum",
    "symmetric", "table", "tablesample", "tan", "text", "then", "time", "timeofday", "timestamp",
    "timestamptz", "timetz", "timezone", "to", "to_char", "to_date", "to_hex", "to_json",
    "to_jsonb", "to_number", "to_regclass", "to_timestamp", "to_tsquery", "to_tsvector",
    "transaction_timestamp", "translate", "trim", "true", "trunc", "ts_headline", "ts_rank",
    "ts_rank_cd", "tsquery", "tsvector", "txid_current", "unbounded", "union", "unique", "unnest",
    "update", "upper", "user", "using", "uuid", "values", "var_pop", "var_samp", "varbit",
    "varchar", "variance", "varying", "vector", "version", "websearch_to_tsquery", "when",
    "where", "width_bucket", "window", "with", "within", "xmlagg", "zone"
};
/* clang-format on */

/* How a statement begins that is nothing but its words: it may call functions and no more. */
/* clang-format off */
static const char *const plain[] = {
    "abort", "analyze", "begin", "commit", "copy", "declare", "delete", "end", "explain", "fetch",
    "insert", "lock", "merge", "move", "notify", "release", "rollback", "savepoint", "select",
    "set", "show", "start", "table", "truncate", "update", "values", "with"
};
/* clang-format on */

enum token_kind { END, WORD, QUOTED, STRING, NUMBER, MARK };

struct token {
    enum token_kind kind;
    char word[WORD_MOST]; /* of a WORD in lower case, of a STRING its beginning */
    char mark;
};

struct lexer {
    const char *at, *end;
    int flags;
};

/* ---- Tokens ---- */

static bool is_word_start(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool follows(const struct lexer *lexer, const char *text)
{
    const size_t length = strlen(text);
    return (size_t)(lexer->end - lexer->at) >= length && memcmp(lexer->at, text, length) == 0;
}

static void skip_comment(struct lexer *lexer)
{
    int depth = 0;
    while (lexer->at < lexer->end) {
        if (follows(lexer, "/*")) {
            depth++;
            lexer->at += 2;
        } else if (follows(lexer, "*/")) {
            lexer->at += 2;
            if (--depth == 0) return;
        } else {
            lexer->at++;
        }
    }
}

static void skip_blanks(struct lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (*lexer->at == ' ' || (*lexer->at >= '\t' && *lexer->at <= '\r')) {
            lexer->at++;
        } else if (follows(lexer, "--")) {
            while (lexer->at < lexer->end && *lexer->at != '\n' && *lexer->at != '\r') lexer->at++;
        } else if (follows(lexer, "/*")) {
            skip_comment(lexer);
        } else {
            return;
        }
    }
}

/* Up to the closing quote; the beginning of what is quoted goes to word. */
static void read_quoted(struct lexer *lexer, char quote, bool escapes, char word[WORD_MOST])
{
    size_t length = 0;
    for (lexer->at++; lexer->at < lexer->end; lexer->at++) {
        char c = *lexer->at;
        if (c == '\\' && quote == '\'') {
            /* Whether it is an escape may depend on a setting. */
            if (!escapes) lexer->flags |= LOOK_SUSPECT | LOOK_OPAQUE;
            if (escapes && lexer->at + 1 < lexer->end) c = *++lexer->at;
        } else if (c == quote) {
            if (lexer->at + 1 >= lexer->end || lexer->at[1] != quote) {
                lexer->at++;
                break;
            }
            lexer->at++;
        }
        if (length < WORD_MOST - 1) word[length++] = c;
    }
    word[length] = '\0';
}

/* $tag$ ... $tag$; or a parameter, $1. */
static void read_dollar(struct lexer *lexer, struct token *token)
{
    const char *tag = lexer->at++;
    token->kind = NUMBER;
    if (lexer->at < lexer->end && is_digit(*lexer->at)) {
        while (lexer->at < lexer->end && is_digit(*lexer->at)) lexer->at++;
        return;
    }
    while (lexer->at < lexer->end &&
           (is_word_start((unsigned char)*lexer->at) || is_digit(*lexer->at)))
        lexer->at++;
    if (lexer->at >= lexer->end || *lexer->at != '$') return;
    const size_t length = (size_t)(++lexer->at - tag);
    const char *close = memmem(lexer->at, (size_t)(lexer->end - lexer->at), tag, length);
    lexer->at = close != NULL ? close + length : lexer->end;
    token->kind = STRING;
}

static void read_word(struct lexer *lexer, struct token *token)
{
    size_t length = 0;
    token->kind = WORD;
    for (; lexer->at < lexer->end; lexer->at++) {
        const unsigned char c = (unsigned char)*lexer->at;
        if (!is_word_start(c) && !is_digit((char)c) && c != '$') break;
        if (length < WORD_MOST - 1)
            token->word[length++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    token->word[length] = '\0';
    if (lexer->at >= lexer->end) return;
    if (*lexer->at == '\'' && length == 1 && strchr("ebxn", token->word[0]) != NULL) {
        token->kind = STRING;
        read_quoted(lexer, '\'', token->word[0] == 'e', token->word);
    } else if (*lexer->at == '&' && strcmp(token->word, "u") == 0 && lexer->at + 1 < lexer->end &&
               (lexer->at[1] == '"' || lexer->at[1] == '\'')) {
        /* Escapes in it may spell anything. */
        lexer->at++;
        lexer->flags |= LOOK_SUSPECT | LOOK_OPAQUE;
        token->kind = *lexer->at == '"' ? QUOTED : STRING;
        read_quoted(lexer, *lexer->at, false, token->word);
    }
}

static void next_token(struct lexer *lexer, struct token *token)
{
    skip_blanks(lexer);
    token->word[0] = '\0';
    token->mark = '\0';
    if (lexer->at >= lexer->end || *lexer->at == '\0') {
        token->kind = END;
        return;
    }
    const char c = *lexer->at;
    if (is_word_start((unsigned char)c)) {
        read_word(lexer, token);
    } else if (c == '"') {
        token->kind = QUOTED;
        read_quoted(lexer, c, false, token->word);
    } else if (c == '\'') {
        token->kind = STRING;
        read_quoted(lexer, c, false, token->word);
    } else if (c == '$') {
        read_dollar(lexer, token);
    } else if (is_digit(c)) {
        token->kind = NUMBER;
        while (lexer->at < lexer->end && (is_digit(*lexer->at) || *lexer->at == '.')) lexer->at++;
    } else {
        token->kind = MARK;
        token->mark = c;
        lexer->at++;
    }
}

/* ---- What they mean ---- */

static int compare(const void *key, const void *entry)
{
    return strcmp(key, *(const char *const *)entry);
}

#define IS_AMONG(word, list)                                                                       \
    (bsearch((word), (list), sizeof(list) / sizeof(*(list)), sizeof(*(list)), compare) != NULL)

static bool is(const struct token *token, const char *word)
{
    return token->kind == WORD && strcmp(token->word, word) == 0;
}

/* A name before a parenthesis. */
static int look_at_call(const char *name, const char *qualifier)
{
    if (*qualifier != '\0' && strcmp(qualifier, "pg_catalog") != 0)
        return strcmp(qualifier, "vault") == 0 && strcmp(name, "match_documents") == 0
                   ? 0
                   : LOOK_SUSPECT | LOOK_OPAQUE;
    if (IS_AMONG(name, harmless)) return 0;
    if (strcmp(name, "currval") == 0 || strcmp(name, "lastval") == 0) return LOOK_SEQUENCE;
    if (strcmp(name, "setseed") == 0) return LOOK_SUSPECT | LOOK_CUSTOM;
    if (strcmp(name, "set_config") == 0) return 0; /* see look_at_set_config */
    if (strncmp(name, "pg_", 3) == 0 && strstr(name, "advisory") != NULL) return LOOK_SUSPECT;
    return LOOK_SUSPECT | LOOK_OPAQUE;
}

/* The words of one statement so far. */
struct statement_look {
    struct token first, second, third, last, before_name;
    size_t count;
    char qualifier[WORD_MOST]; /* of the name that is being read */
    bool dotted;               /* the last token was the dot behind it */
    int depth;
    int set_config[CALLS_MOST]; /* depths of open calls */
    size_t set_configs;
    char prior;        /* the mark before the last token, where it was one */
    char before_prior; /* the mark before that */
};

static int look_at_set(const struct statement_look *seen)
{
    const struct token *name = &seen->second;
    if (is(name, "local") || is(name, "transaction") || is(name, "constraints")) return 0;
    if (is(name, "session")) name = &seen->third;
    if (is(name, "authorization") || is(name, "role")) return LOOK_SUSPECT | LOOK_CUSTOM;
    if (is(name, "names") || is(name, "time")) return 0;
    return profile_tracks(name->word, strlen(name->word)) ? 0 : LOOK_SUSPECT;
}

/* What the beginning of a statement says, once it has been read. */
static int look_at_statement(const struct statement_look *seen)
{
    const struct token *first = &seen->first;
    if (seen->count == 0) return 0;
    if (is(first, "set")) return look_at_set(seen);
    if (first->kind == MARK && first->mark == '(') return 0;
    if (first->kind == WORD && IS_AMONG(first->word, plain)) return 0;
    if (is(first, "prepare") && is(&seen->second, "transaction") && seen->third.kind == STRING)
        return 0;
    if (is(first, "do") || is(first, "call")) return LOOK_SUSPECT | LOOK_OPAQUE;
    if (is(first, "prepare") || is(first, "deallocate")) return LOOK_SUSPECT | LOOK_STATEMENTS;
    if (is(first, "reset"))
        return LOOK_SUSPECT | LOOK_RESETS | (is(&seen->second, "all") ? LOOK_RESETS_ALL : 0);
    if (is(first, "discard") && is(&seen->second, "all"))
        return LOOK_SUSPECT | LOOK_RESETS | LOOK_RESETS_ALL;
    return LOOK_SUSPECT;
}

static int look_at_word(const struct statement_look *seen, const struct token *token)
{
    if (is(token, "execute")) return LOOK_SUSPECT | LOOK_STATEMENTS | LOOK_OPAQUE;
    if (strcmp(token->word, "pg_prepared_statements") == 0 ||
        strcmp(token->word, "pg_prepared_statement") == 0)
        return LOOK_SUSPECT | LOOK_STATEMENTS;
    if (is(token, "temp") || is(token, "temporary") || strcmp(token->word, "pg_temp") == 0)
        return LOOK_SUSPECT;
    if (is(token, "hold") && is(&seen->first, "declare")) return LOOK_SUSPECT;
    /* A table, which the search path may make a temporary one. INSERT and MERGE make none. */
    if (is(token, "into") && seen->count != 1) return LOOK_SUSPECT;
    if (is(token, "create") && is(&seen->first, "explain")) return LOOK_SUSPECT;
    /* An UPDATE of it is a SET. */
    if (strcmp(token->word, "pg_settings") == 0 && !is(&seen->first, "select")) return LOOK_SUSPECT;
    if (is(token, "default") && is(&seen->first, "set")) return LOOK_RESETS;
    return 0;
}

/* A name and a parenthesis are no call where the name is that of a table or an alias. */
static bool names_columns(const struct statement_look *seen)
{
    const struct token *before = &seen->before_name;
    if (is(&seen->first, "create") && (is(before, "table") || is(before, "exists"))) return true;
    return is(before, "into") || is(before, "as") || is(before, "with") ||
           is(before, "recursive") || (is(before, "copy") && seen->count <= 4);
}

static int open_parenthesis(struct statement_look *seen)
{
    const struct token *name = &seen->last;
    seen->depth++;
    if ((name->kind != WORD && name->kind != QUOTED) || names_columns(seen)) return 0;
    if (strcmp(name->word, "set_config") == 0) {
        if (seen->set_configs == CALLS_MOST) return LOOK_SUSPECT | LOOK_CUSTOM;
        seen->set_config[seen->set_configs++] = seen->depth;
    }
    return look_at_call(name->word, seen->qualifier);
}

/* set_config(..., true) is the transaction's, everything else the session's. */
static int close_parenthesis(struct statement_look *seen)
{
    int flags = 0;
    if (seen->set_configs > 0 && seen->set_config[seen->set_configs - 1] == seen->depth) {
        seen->set_configs--;
        const bool local =
            is(&seen->last, "true") &&
            (seen->prior == ',' || (seen->prior == '>' && seen->before_prior == '='));
        if (!local) flags = LOOK_SUSPECT | LOOK_CUSTOM;
    }
    seen->depth--;
    return flags;
}

static int take(struct statement_look *seen, const struct token *token)
{
    int flags = 0;
    if (token->kind == MARK && token->mark == '(') flags = open_parenthesis(seen);
    if (token->kind == MARK && token->mark == ')') flags = close_parenthesis(seen);
    /* SET a.b and SET SESSION a.b, also where a is "local", but not SET LOCAL a.b. */
    if (token->kind == MARK && token->mark == '.' && is(&seen->first, "set") &&
        (seen->count == 2 || (seen->count == 3 && !is(&seen->second, "local"))))
        flags = LOOK_SUSPECT | LOOK_CUSTOM;
    if (token->kind == WORD || token->kind == QUOTED) {
        flags = look_at_word(seen, token);
        if (!seen->dotted) {
            seen->before_name = seen->last;
            seen->qualifier[0] = '\0';
        }
    }
    if (token->kind == MARK && token->mark == '.')
        memcpy(seen->qualifier, seen->last.word, WORD_MOST);
    seen->dotted = token->kind == MARK && token->mark == '.';
    if (seen->count == 0) seen->first = *token;
    if (seen->count == 1) seen->second = *token;
    if (seen->count == 2) seen->third = *token;
    seen->count++;
    seen->before_prior = seen->prior;
    seen->prior = seen->last.mark;
    seen->last = *token;
    return flags;
}

int look(const char *text, size_t length)
{
    struct lexer lexer = {.at = text, .end = text + length};
    struct statement_look seen = {0};
    struct token token;
    do {
        next_token(&lexer, &token);
        if (token.kind == END || (token.kind == MARK && token.mark == ';')) {
            lexer.flags |= look_at_statement(&seen);
            if (seen.set_configs > 0) lexer.flags |= LOOK_SUSPECT | LOOK_CUSTOM;
            memset(&seen, 0, sizeof(seen));
        } else {
            lexer.flags |= take(&seen, &token);
        }
    } while (token.kind != END);
    return lexer.flags;
}
