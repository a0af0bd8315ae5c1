-- What the daemons on this database tell each other of a repository's sync (storage/sync_state.h).
ALTER TABLE tekupdb."Source"
    ADD COLUMN "progress" json,                           -- of the sync that runs, or of the last one
    ADD COLUMN "wanted" boolean NOT NULL DEFAULT false,   -- is to be synced once more
    ADD COLUMN "cancelled" boolean NOT NULL DEFAULT false; -- whoever syncs it is to end
