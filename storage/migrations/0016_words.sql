-- Full-text search: the words of every passage, kept by the triggers of the feed for whoever writes
-- (storage/vault/vault_text.h). What is in the vault already is filled in by the daemons afterwards, a few
-- passages at a time (tekupdb.fill_words), so that this file locks nothing that anybody waits for.

-- Words are runs of letters and digits; whatever else stands in a text (paths, addresses, identifiers
-- with underscores) comes apart at its punctuation. The stems are English, and no word is left out:
-- what is common in one language is a word like any other in the next.
CREATE TEXT SEARCH DICTIONARY tekupdb.stem (TEMPLATE = pg_catalog.snowball, Language = english);
CREATE TEXT SEARCH CONFIGURATION tekupdb.words (PARSER = pg_catalog."default");
ALTER TEXT SEARCH CONFIGURATION tekupdb.words ADD MAPPING FOR asciiword, word WITH tekupdb.stem;
ALTER TEXT SEARCH CONFIGURATION tekupdb.words ADD MAPPING FOR numword, asciihword, hword, numhword,
    hword_asciipart, hword_part, hword_numpart, email, host, url, url_path, file, sfloat, float, int,
    uint, version WITH pg_catalog.simple;

-- The passage of an embedding as words. Without a foreign key, as tekupdb."Chunk" and for its reasons.
CREATE TABLE tekupdb."ChunkWords" (
    "embeddingId" integer NOT NULL PRIMARY KEY,
    "documentId" text NOT NULL,
    "words" tsvector NOT NULL
);
-- What has been written last is looked through one by one, so there must not be much of it.
CREATE INDEX "ChunkWords_words_idx" ON tekupdb."ChunkWords" USING gin ("words")
    WITH (gin_pending_list_limit = 1024);

-- One row: whether the words of all embeddings that were there before are made, and up to which.
CREATE TABLE tekupdb."WordsState" (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    "complete" boolean NOT NULL,
    "last" integer NOT NULL
);
REVOKE ALL ON tekupdb."ChunkWords", tekupdb."WordsState" FROM PUBLIC;
INSERT INTO tekupdb."WordsState" ("complete", "last")
SELECT NOT EXISTS (SELECT FROM vault."VaultEmbedding"), -2147483648;

-- As many bytes as the text has, with spaces for ASCII's punctuation.
CREATE FUNCTION tekupdb.plain(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.regexp_replace(content, '[!-/:-@\[-`{-~]', ' ', 'g')
$$;

-- Stems with their positions, for words and phrases; and the words as they are, for prefixes.
CREATE FUNCTION tekupdb.words_of(content text) RETURNS tsvector
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_tsvector('tekupdb.words', p.plain) || strip(to_tsvector('simple', p.plain))
    FROM (SELECT tekupdb.plain(content) OFFSET 0) AS p (plain)
$$;

-- The words of a text one by one: where each is in bytes, as it is, and its stem.
CREATE FUNCTION tekupdb.list_words(content text, OUT "place" bigint, OUT "start" bigint,
    OUT "length" integer, OUT "word" text, OUT "stem" text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT row_number() OVER (ORDER BY t.n), t.past - octet_length(t.token), octet_length(t.token), lower(t.token),
           CASE WHEN t.kind IN (1, 2) THEN (ts_lexize('tekupdb.stem', t.token))[1] ELSE lower(t.token) END
    FROM (SELECT p.kind, p.token, p.n,
                 sum(octet_length(p.token)) OVER (ORDER BY p.n ROWS UNBOUNDED PRECEDING) AS past
          FROM ts_parse('default', tekupdb.plain(content)) WITH ORDINALITY AS p (kind, token, n)) t
    WHERE t.kind NOT IN (12, 13, 14, 21)
$$;

-- Makes the words of these embeddings; anew: also where they are made already. Of a passage that is
-- longer than any that tekupdb makes, the words of its first 128 KiB are kept: a tsvector takes one
-- megabyte.
CREATE FUNCTION tekupdb.make_words(embeddings integer[], anew boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most CONSTANT integer := 131072;
    part record;
    document text;
    content bytea;
    first integer;
    past integer;
BEGIN
    FOR part IN
        SELECT e."id", e."documentId", c."startByte", c."endByte" FROM vault."VaultEmbedding" e
            LEFT JOIN tekupdb."Chunk" c ON c."embeddingId" = e."id" AND c."documentId" = e."documentId"
        WHERE e."id" = ANY (embeddings) ORDER BY e."documentId", e."id"
    LOOP
        IF part."documentId" IS DISTINCT FROM document THEN
            document := part."documentId";
            content := (SELECT convert_to(d."content", 'UTF8') FROM vault."VaultDocument" d WHERE d."id" = document);
        END IF;
        first := least(coalesce(part."startByte", 0), octet_length(content));
        past := least(coalesce(part."endByte", octet_length(content)), octet_length(content), first + most);
        -- Somebody who has changed the content may have put other characters at the range's ends.
        WHILE first < past AND get_byte(content, first) & 192 = 128 LOOP
            first := first + 1;
        END LOOP;
        WHILE past > first AND past < octet_length(content) AND get_byte(content, past) & 192 = 128 LOOP
            past := past - 1;
        END LOOP;
        CONTINUE WHEN content IS NULL;
        INSERT INTO tekupdb."ChunkWords" AS w ("embeddingId", "documentId", "words")
        VALUES (part."id", document,
                tekupdb.words_of(convert_from(substring(content FROM first + 1 FOR past - first), 'UTF8')))
        ON CONFLICT ("embeddingId") DO UPDATE SET "documentId" = EXCLUDED."documentId", "words" = EXCLUDED."words"
        WHERE anew OR w."documentId" <> EXCLUDED."documentId";
    END LOOP;
END $$;

-- The next few of the embeddings that were there before. Returns whether all are made. Several daemons
-- may take turns.
CREATE FUNCTION tekupdb.fill_words(few integer) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state tekupdb."WordsState";
    ids integer[];
BEGIN
    IF (SELECT s."complete" FROM tekupdb."WordsState" s) THEN
        RETURN true;
    END IF;
    SELECT * INTO STRICT state FROM tekupdb."WordsState" FOR UPDATE;
    IF state."complete" THEN
        RETURN true;
    END IF;
    ids := ARRAY(SELECT e."id" FROM vault."VaultEmbedding" e WHERE e."id" > state."last" ORDER BY e."id" LIMIT few);
    PERFORM tekupdb.make_words(ids, false);
    UPDATE tekupdb."WordsState" SET "complete" = cardinality(ids) < few, "last" = coalesce(ids[cardinality(ids)], "last");
    RETURN cardinality(ids) < few;
END $$;

REVOKE ALL ON FUNCTION tekupdb.plain(text), tekupdb.words_of(text), tekupdb.list_words(text),
    tekupdb.make_words(integer[], boolean), tekupdb.fill_words(integer) FROM PUBLIC;

-- The functions of the feed's triggers (0009), which keep the words as well.

DO $$
DECLARE
    -- The end of both functions is the same, and what they do before it stays as it is.
    ending CONSTANT text := E'    IF recorded THEN\n        PERFORM pg_notify(''tekupdb_change'', '''');\n    END IF;\n';
    of_documents CONSTANT text := $words$
    -- A daemon that writes a document makes its passages anew afterwards.
    IF TG_OP = 'UPDATE' AND current_setting('tekupdb.rewriting', true) IS DISTINCT FROM 'on' THEN
        PERFORM tekupdb.make_words(changed.ids, true) FROM (
            SELECT array_agg(e."id") AS ids FROM new_rows n JOIN old_rows o ON o."id" = n."id"
                JOIN vault."VaultEmbedding" e ON e."documentId" = n."id"
            WHERE o."content" <> n."content") changed WHERE changed.ids IS NOT NULL;
    END IF;
$words$;
    of_embeddings CONSTANT text := $words$
    IF TG_OP = 'INSERT' THEN
        PERFORM tekupdb.make_words(ARRAY(SELECT n."id" FROM new_rows n), true);
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM tekupdb."ChunkWords" w USING old_rows o WHERE w."embeddingId" = o."id"
            AND NOT EXISTS (SELECT FROM new_rows n WHERE n."id" = o."id");
        PERFORM tekupdb.make_words(moved.ids, true) FROM (
            SELECT array_agg(n."id") AS ids FROM new_rows n
            WHERE NOT EXISTS (SELECT FROM old_rows o WHERE o."id" = n."id" AND o."documentId" = n."documentId")
        ) moved WHERE moved.ids IS NOT NULL;
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM tekupdb."ChunkWords" w USING old_rows o WHERE w."embeddingId" = o."id";
    ELSE
        DELETE FROM tekupdb."ChunkWords";
    END IF;
$words$;
    entry record;
    body text;
BEGIN
    FOR entry IN SELECT * FROM (VALUES ('record_documents', of_documents), ('record_embeddings', of_embeddings))
        AS f (name, part) LOOP
        SELECT p.prosrc INTO STRICT body FROM pg_proc p WHERE p.oid = format('tekupdb.%I()', entry.name)::regprocedure;
        IF position(ending IN body) = 0 THEN
            RAISE EXCEPTION 'tekupdb.%() is not as migration 0009 made it', entry.name;
        END IF;
        EXECUTE format('CREATE OR REPLACE FUNCTION tekupdb.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER'
                       ' SET search_path = pg_catalog, pg_temp AS %L',
                       entry.name, replace(body, ending, ending || entry.part));
    END LOOP;
END $$;
