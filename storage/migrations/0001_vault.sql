-- vault: documents, their embeddings, and how each synced repository stands.
-- Names, types and defaults are those Prisma derives from storage/tekup.prisma. The embedding column
-- is vector(1536) where the pgvector extension is installed in this database (storage/migrate.c
-- tries to, beforehand), and otherwise real[] with a check that it holds 1,536 numbers.

CREATE SCHEMA IF NOT EXISTS vault;

CREATE TABLE vault."VaultDocument" (
    "id" TEXT NOT NULL,
    "source" TEXT NOT NULL,
    "repository" TEXT NOT NULL,
    "path" TEXT NOT NULL,
    "content" TEXT NOT NULL,
    "sha" TEXT,
    "metadata" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "VaultDocument_pkey" PRIMARY KEY ("id")
);

CREATE TABLE vault."VaultEmbedding" (
    "id" SERIAL NOT NULL,
    "documentId" TEXT NOT NULL,
    "embedding" real[] NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "VaultEmbedding_pkey" PRIMARY KEY ("id")
);

DO $$
DECLARE
    extension_schema name;
BEGIN
    SELECT n.nspname INTO extension_schema
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector';
    IF FOUND THEN
        EXECUTE format('ALTER TABLE vault."VaultEmbedding" ALTER COLUMN "embedding" TYPE %I.vector(1536)',
                       extension_schema);
    ELSE
        -- A check passes when it is NULL, so each part is written to be true or false.
        ALTER TABLE vault."VaultEmbedding" ADD CONSTRAINT "VaultEmbedding_embedding_check"
            CHECK (cardinality("embedding") = 1536 AND array_ndims("embedding") = 1
                   AND array_position("embedding", NULL) IS NULL);
    END IF;
END $$;

CREATE TABLE vault."VaultSyncStatus" (
    "id" TEXT NOT NULL,
    "source" TEXT NOT NULL,
    "repository" TEXT NOT NULL,
    "lastSyncAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "status" TEXT NOT NULL,
    "errorMessage" TEXT,
    "documentCount" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "VaultSyncStatus_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "VaultDocument_source_repository_idx" ON vault."VaultDocument"("source", "repository");
CREATE UNIQUE INDEX "VaultDocument_source_repository_path_key" ON vault."VaultDocument"("source", "repository", "path");
CREATE INDEX "VaultEmbedding_documentId_idx" ON vault."VaultEmbedding"("documentId");
CREATE UNIQUE INDEX "VaultSyncStatus_source_repository_key" ON vault."VaultSyncStatus"("source", "repository");

ALTER TABLE vault."VaultEmbedding" ADD CONSTRAINT "VaultEmbedding_documentId_fkey" FOREIGN KEY ("documentId") REFERENCES vault."VaultDocument"("id") ON DELETE CASCADE ON UPDATE CASCADE;
