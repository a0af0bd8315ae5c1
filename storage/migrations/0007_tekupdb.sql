-- tekupdb: what the daemon needs beyond the six schemas. tekupdb."Migration" is made by
-- storage/migrate.c, since it must be there before the first migration.

-- The passage of text behind each embedding that tekupdb wrote. Embeddings of other writers have no
-- row here.
--
-- There is deliberately no foreign key to vault."VaultEmbedding": TRUNCATE refuses a table that
-- another one refers to, and other writers of the vault must be able to empty it without knowing
-- this table. What they leave orphaned is passed over by every query (an embedding and its chunk are
-- joined by both ids, so that a number given out again after TRUNCATE ... RESTART IDENTITY does not
-- meet somebody else's chunk) and swept away when the daemon reads the vault at its start.
CREATE TABLE tekupdb."Chunk" (
    "embeddingId" integer NOT NULL PRIMARY KEY,
    "documentId" text NOT NULL,
    "ordinal" integer NOT NULL,        -- its place among the document's chunks, from 0
    "startByte" integer NOT NULL,      -- range of the document's content in UTF-8, end exclusive
    "endByte" integer NOT NULL,
    "contentHash" bytea NOT NULL,      -- SHA-256 of the chunk's bytes
    "model" text NOT NULL,             -- the embedding model
    CHECK ("ordinal" >= 0 AND "startByte" >= 0 AND "endByte" >= "startByte"),
    CHECK (octet_length("contentHash") = 32)
);
CREATE INDEX "Chunk_documentId_idx" ON tekupdb."Chunk" ("documentId");
-- Finds embeddings that were paid for already.
CREATE INDEX "Chunk_model_contentHash_idx" ON tekupdb."Chunk" ("model", "contentHash");

-- The repositories that are to be synced.
CREATE TABLE tekupdb."Source" (
    "source" text NOT NULL,
    "repository" text NOT NULL,
    "config" jsonb NOT NULL CHECK (jsonb_typeof("config") = 'object'),
    "intervalSeconds" integer NOT NULL DEFAULT 0 CHECK ("intervalSeconds" >= 0),
    "createdAt" timestamp(3) NOT NULL,
    "updatedAt" timestamp(3) NOT NULL,
    PRIMARY KEY ("source", "repository")
);

-- Where the last complete sync of each ended, in the source's own terms.
CREATE TABLE tekupdb."Cursor" (
    "source" text NOT NULL,
    "repository" text NOT NULL,
    "cursor" text NOT NULL,
    "updatedAt" timestamp(3) NOT NULL,
    PRIMARY KEY ("source", "repository")
);
