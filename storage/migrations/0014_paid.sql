-- Embeddings that were paid for and whose documents are not written yet, so that a daemon that is
-- killed in between need not pay for them again. Unlogged: after a crash of the server itself they
-- are gone, and no more is lost than money.
CREATE UNLOGGED TABLE tekupdb."PaidEmbedding" (
    "model" text NOT NULL,
    "contentHash" bytea NOT NULL,      -- SHA-256 of the text
    "embedding" bytea NOT NULL,        -- 1,536 float32, in little-endian order
    "paidAt" timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tekupdb."PaidEmbedding" ALTER COLUMN "embedding" SET STORAGE EXTERNAL;
CREATE INDEX "PaidEmbedding_model_contentHash_idx" ON tekupdb."PaidEmbedding" ("model", "contentHash");
