-- The change feed: what happens to the vault, by whomever, for all who follow it (storage/feed.h).
--
-- Triggers append a row for every row of the vault that is inserted, updated or deleted, and one for
-- every TRUNCATE. They are statement triggers with transition tables, so that a COPY of ten thousand
-- rows costs one INSERT ... SELECT. Numbers ("seq") are given before commit and become visible in
-- another order; what a follower has not read yet is therefore told by the transaction ("xid") and
-- the follower's snapshot, never by the number.

CREATE TABLE tekupdb."Change" (
    "seq" bigint GENERATED ALWAYS AS IDENTITY,
    "xid" xid8 NOT NULL DEFAULT pg_current_xact_id(),
    "at" timestamptz NOT NULL DEFAULT clock_timestamp(),
    "object" "char" NOT NULL CHECK ("object" IN ('d', 'e', 's')),      -- document, embedding, sync status
    "action" "char" NOT NULL CHECK ("action" IN ('i', 'u', 'd', 't')), -- insert, update, delete, truncate
    "id" text,            -- of the document (of an embedding: its document) or of the sync status
    "embedding" integer,  -- the embedding's id
    "source" text,        -- where it is, or was; all of these are NULL for a TRUNCATE
    "repository" text,
    "path" text,          -- of a document
    PRIMARY KEY ("xid", "seq")
);
-- Rows come at one end and go at the other: most of the table is always either new or dead.
ALTER TABLE tekupdb."Change" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                                  autovacuum_vacuum_insert_scale_factor = 0.5,
                                  autovacuum_analyze_scale_factor = 0.5, autovacuum_analyze_threshold = 5000);
-- Tells where an embedding was whose document is gone.
CREATE INDEX "Change_deleted_idx" ON tekupdb."Change" ("id") WHERE "object" = 'd' AND "action" = 'd';

-- One row: whose feed this is, and how far it has been trimmed. What other transactions than those
-- below "trimmed" have written is still in "Change".
CREATE TABLE tekupdb."Feed" (
    "only" boolean PRIMARY KEY DEFAULT true CHECK ("only"),
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "trimmed" xid8 NOT NULL
);
-- What was written before there were triggers is in no feed.
INSERT INTO tekupdb."Feed" ("trimmed") VALUES (pg_current_xact_id());

-- Who follows, and from where each would go on if it were started now: what all of them have passed
-- is trimmed.
CREATE TABLE tekupdb."Follower" (
    "id" text PRIMARY KEY,
    "host" text NOT NULL,
    "position" pg_snapshot NOT NULL,
    "registeredAt" timestamptz NOT NULL DEFAULT now(),
    "seenAt" timestamptz NOT NULL DEFAULT now()
);

REVOKE ALL ON tekupdb."Change", tekupdb."Feed", tekupdb."Follower" FROM PUBLIC;

-- The services write to the vault and must not reach into this schema: the functions run with the
-- rights of their owner, and find nothing by the caller's search_path.

CREATE FUNCTION tekupdb.record_documents() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded boolean := true;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository", "path")
        SELECT 'd', 'i', n."id", n."source", n."repository", n."path" FROM new_rows n;
        recorded := FOUND;
    ELSIF TG_OP = 'UPDATE' THEN
        -- One that changes its id or its repository leaves the one and comes to the other.
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository", "path")
        SELECT 'd', 'd', o."id", o."source", o."repository", o."path" FROM old_rows o
        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n."id" = o."id" AND n."source" = o."source"
                          AND n."repository" = o."repository");
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository", "path")
        SELECT 'd', CASE WHEN o."id" IS NULL THEN 'i' ELSE 'u' END::"char",
               n."id", n."source", n."repository", n."path"
        FROM new_rows n LEFT JOIN old_rows o ON o."id" = n."id" AND o."source" = n."source"
             AND o."repository" = n."repository";
        recorded := FOUND;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository", "path")
        SELECT 'd', 'd', o."id", o."source", o."repository", o."path" FROM old_rows o;
        recorded := FOUND;
    ELSE
        INSERT INTO tekupdb."Change" ("object", "action") VALUES ('d', 't');
    END IF;
    IF recorded THEN
        PERFORM pg_notify('tekupdb_change', '');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION tekupdb.record_embeddings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded boolean := true;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "embedding", "source", "repository")
        SELECT 'e', 'i', n."documentId", n."id", d."source", d."repository"
        FROM new_rows n LEFT JOIN vault."VaultDocument" d ON d."id" = n."documentId";
        recorded := FOUND;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "embedding", "source", "repository")
        SELECT 'e', 'd', o."documentId", o."id", d."source", d."repository"
        FROM old_rows o LEFT JOIN vault."VaultDocument" d ON d."id" = o."documentId"
        WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n."id" = o."id");
        INSERT INTO tekupdb."Change" ("object", "action", "id", "embedding", "source", "repository")
        SELECT 'e', CASE WHEN o."id" IS NULL THEN 'i' ELSE 'u' END::"char",
               n."documentId", n."id", d."source", d."repository"
        FROM new_rows n LEFT JOIN old_rows o ON o."id" = n."id"
             LEFT JOIN vault."VaultDocument" d ON d."id" = n."documentId";
        recorded := FOUND;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "embedding", "source", "repository")
        SELECT 'e', 'd', o."documentId", o."id", coalesce(d."source", gone."source"),
               coalesce(d."repository", gone."repository")
        FROM old_rows o LEFT JOIN vault."VaultDocument" d ON d."id" = o."documentId"
             -- A document that takes its embeddings with it has been recorded before them.
             LEFT JOIN LATERAL (SELECT c."source", c."repository" FROM tekupdb."Change" c
                                WHERE d."id" IS NULL AND c."id" = o."documentId"
                                AND c."object" = 'd' AND c."action" = 'd'
                                AND c."xid" = pg_current_xact_id()
                                ORDER BY c."seq" DESC LIMIT 1) gone ON true
        ORDER BY o."id";
        recorded := FOUND;
    ELSE
        INSERT INTO tekupdb."Change" ("object", "action") VALUES ('e', 't');
    END IF;
    IF recorded THEN
        PERFORM pg_notify('tekupdb_change', '');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION tekupdb.record_sync_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    recorded boolean := true;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository")
        SELECT 's', 'i', n."id", n."source", n."repository" FROM new_rows n;
        recorded := FOUND;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository")
        SELECT 's', 'u', n."id", n."source", n."repository" FROM new_rows n;
        recorded := FOUND;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO tekupdb."Change" ("object", "action", "id", "source", "repository")
        SELECT 's', 'd', o."id", o."source", o."repository" FROM old_rows o;
        recorded := FOUND;
    ELSE
        INSERT INTO tekupdb."Change" ("object", "action") VALUES ('s', 't');
    END IF;
    IF recorded THEN
        PERFORM pg_notify('tekupdb_change', '');
    END IF;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION tekupdb.record_documents(), tekupdb.record_embeddings(), tekupdb.record_sync_status()
    FROM PUBLIC;

-- ALWAYS: also for sessions whose session_replication_role is replica, as that of a restore may be.
DO $$
DECLARE
    entry text[];
BEGIN
    FOREACH entry SLICE 1 IN ARRAY ARRAY[['VaultDocument', 'record_documents'],
                                            ['VaultEmbedding', 'record_embeddings'],
                                            ['VaultSyncStatus', 'record_sync_status']] LOOP
        EXECUTE format('CREATE TRIGGER tekupdb_insert AFTER INSERT ON vault.%I'
                       ' REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tekupdb.%I()',
                       entry[1], entry[2]);
        EXECUTE format('CREATE TRIGGER tekupdb_update AFTER UPDATE ON vault.%I'
                       ' REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION tekupdb.%I()', entry[1], entry[2]);
        EXECUTE format('CREATE TRIGGER tekupdb_delete AFTER DELETE ON vault.%I'
                       ' REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tekupdb.%I()',
                       entry[1], entry[2]);
        EXECUTE format('CREATE TRIGGER tekupdb_truncate AFTER TRUNCATE ON vault.%I'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION tekupdb.%I()', entry[1], entry[2]);
        EXECUTE format('ALTER TABLE vault.%I ENABLE ALWAYS TRIGGER tekupdb_insert,'
                       ' ENABLE ALWAYS TRIGGER tekupdb_update, ENABLE ALWAYS TRIGGER tekupdb_delete,'
                       ' ENABLE ALWAYS TRIGGER tekupdb_truncate', entry[1]);
    END LOOP;
END $$;
