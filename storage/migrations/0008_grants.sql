-- One role per service: all rights on the rows of its own schema, read and write on shared, nothing
-- else. tekup_admin owns everything, and what it creates later is granted the same way.
-- The roles themselves belong to the whole server and are made by storage/migrate.c.

DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['vault', 'billy', 'renos', 'crm', 'flow'] LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', service);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', service);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service, 'tekup_' || service);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA %I TO %I',
                       service, 'tekup_' || service);
        EXECUTE format('GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %I TO %I',
                       service, 'tekup_' || service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I'
                       ' GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO %I',
                       service, 'tekup_' || service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I'
                       ' GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO %I',
                       service, 'tekup_' || service);
        EXECUTE format('GRANT USAGE ON SCHEMA shared TO %I', 'tekup_' || service);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shared TO %I',
                       'tekup_' || service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA shared'
                       ' GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', 'tekup_' || service);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA shared'
                       ' GRANT USAGE, SELECT ON SEQUENCES TO %I', 'tekup_' || service);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA shared, tekupdb FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA shared FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA tekupdb FROM PUBLIC;

-- Functions are the one thing that PostgreSQL opens to everybody when they are made.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
