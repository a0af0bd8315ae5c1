-- Passages that the server of embeddings does not take: they have no embedding, and are not asked for
-- again while their bytes and the model stay. Without a foreign key, as tekupdb."Chunk" and for its
-- reasons.
CREATE TABLE tekupdb."RejectedChunk" (
    "documentId" text NOT NULL,
    "startByte" integer NOT NULL,      -- range of the document's content in UTF-8, end exclusive
    "endByte" integer NOT NULL,
    "contentHash" bytea NOT NULL,      -- SHA-256 of the chunk's bytes
    "model" text NOT NULL,
    "rejectedAt" timestamp(3) NOT NULL DEFAULT timezone('UTC', now()),
    PRIMARY KEY ("documentId", "startByte"),
    CHECK ("startByte" >= 0 AND "endByte" >= "startByte"),
    CHECK (octet_length("contentHash") = 32)
);
CREATE INDEX "RejectedChunk_model_contentHash_idx" ON tekupdb."RejectedChunk" ("model", "contentHash");
