-- The embedding model that searches go by, and the way from one to another (storage/model.h).
--
-- What is of another model than "serving" is in nobody's index. A change of the model embeds
-- everything again beside that, into "Staged", while the old embeddings serve; one transaction then
-- puts the new ones in their place and changes "serving".

-- One row, written when a daemon first comes up on the database. Who writes chunks holds the table in
-- ROW SHARE MODE meanwhile and has read "serving" under that; the change takes it in EXCLUSIVE MODE.
CREATE TABLE tekupdb."Model" (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    "serving" text NOT NULL,
    "changedAt" timestamptz NOT NULL DEFAULT now(),
    -- The change that goes on, as the daemon that leads tells it.
    "wanted" text,
    "done" bigint NOT NULL DEFAULT 0,      -- embeddings that have their successor
    "total" bigint NOT NULL DEFAULT 0,
    "refused" bigint NOT NULL DEFAULT 0,   -- of those that are done: the new model does not take their text
    "error" text                           -- why it does not go on
);

-- What comes into the vault when the model changes. "key" stands for the text (text_key below), so
-- that a text is embedded once, however often it is there and whatever is written meanwhile.
CREATE TABLE tekupdb."Staged" (
    "model" text NOT NULL,
    "key" bytea NOT NULL,
    "embedding" real[] NOT NULL CHECK (cardinality("embedding") = 1536),
    PRIMARY KEY ("model", "key")
);

-- Texts that the model's provider does not take ("key" as above), and embeddings whose text is not
-- what was embedded any more ("key" by row_key). Their embeddings stay as they are: of their old
-- model, found by no search, and tried again with the next one.
CREATE TABLE tekupdb."Refused" (
    "model" text NOT NULL,
    "key" bytea NOT NULL,
    PRIMARY KEY ("model", "key")
);
REVOKE ALL ON tekupdb."Model", tekupdb."Staged", tekupdb."Refused" FROM PUBLIC;

-- What an embedding's text is known by. That of a whole document, as callers and other programs
-- bring them, is the hash of the content as it is now; that of any other chunk is its own.
CREATE FUNCTION tekupdb.text_key(content text, chunk_hash bytea, first integer, past integer) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN chunk_hash IS NULL OR (first = 0 AND past = pg_catalog.octet_length(content))
           THEN pg_catalog.sha256(pg_catalog.convert_to(content, 'UTF8')) ELSE chunk_hash END
$$;
CREATE FUNCTION tekupdb.row_key(embedding integer, document text) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.sha256(pg_catalog.convert_to(embedding || '/' || document, 'UTF8'))
$$;
REVOKE ALL ON FUNCTION tekupdb.text_key(text, bytea, integer, integer), tekupdb.row_key(integer, text) FROM PUBLIC;

-- vault.match_documents compares with the embeddings of the model that serves at the moment that the
-- caller sees, not with those of the model that the daemon it asked had.
DO $$
DECLARE
    before CONSTANT text := 'AND (of_model IS NULL OR c."model" IS NULL OR c."model" = of_model)';
    after CONSTANT text := 'AND (c."model" IS NULL OR c."model" = coalesce((SELECT m."serving" FROM'
        ' tekupdb."Model" m), of_model, c."model"))';
    body text;
BEGIN
    SELECT p.prosrc INTO body FROM pg_proc p WHERE p.oid = 'tekupdb.define_match_documents()'::regprocedure;
    IF position(before IN body) = 0 THEN
        RAISE EXCEPTION 'tekupdb.define_match_documents() is not as migration 0010 made it';
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION tekupdb.define_match_documents() RETURNS boolean'
                   ' LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                   replace(body, before, after));
END $$;
SELECT tekupdb.define_match_documents();
