-- vault.match_documents: search in SQL, answered by the index of a tekupd on this machine.
--
-- What a caller gets is as of one moment after its call: the daemon answers from its index and names
-- the position in the change feed that it has applied, and what the feed has recorded since then,
-- the caller's own uncommitted writes among it, is compared here, document by document. Where no
-- daemon can be asked, or where too much has changed, every embedding is compared: slower, and exact.
--
-- The functions are made from the templates in tekupdb.define_match_documents(), because the names
-- of pgvector and dblink depend on where an administrator has put these extensions. It is called
-- here, when the embedding column is converted, and by every daemon that starts.

-- How the daemons are reached. Several, on several machines, may share this database; a backend tries
-- those whose socket it finds. The secret is new with every start of a daemon and every connection of
-- it to another server; it is the password of the socket and stands in every request.
CREATE TABLE tekupdb."Door" (
    "host" text NOT NULL,
    "run" text NOT NULL,               -- the directory of the daemon's sockets
    "secret" text NOT NULL,
    "identity" text NOT NULL,          -- of the database's feed, as tekupdb.feed_identity() gives it
    "model" text NOT NULL,             -- the embedding model of its searches
    "answers" boolean NOT NULL,        -- whether it has an index, and a socket to ask it by
    "writtenAt" timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("host", "run")
);
REVOKE ALL ON tekupdb."Door" FROM PUBLIC;

-- Which database this is: a copy of it, which has the same rows, is another one.
CREATE FUNCTION tekupdb.feed_identity() RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (SELECT system_identifier FROM pg_control_system())::text || '/'
        || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database())::text || '/'
        || "id"::text FROM tekupdb."Feed"
$$;
REVOKE ALL ON FUNCTION tekupdb.feed_identity() FROM PUBLIC;

-- Makes the functions below, or makes them anew where one of the extensions has come, gone or moved.
-- Returns whether the index can be asked.
CREATE FUNCTION tekupdb.define_match_documents() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $define$
DECLARE
    -- Opens this session's connection to a daemon, which stays open for the calls to come, and closes
    -- those to daemons that have started anew since. A standby has no daemon of its own.
    open_door CONSTANT text := $template$
CREATE OR REPLACE FUNCTION tekupdb.open_door(connection text, door tekupdb."Door") RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    PERFORM @dblink@.dblink_disconnect(c.name)
    FROM unnest(@dblink@.dblink_get_connections()) AS c (name)
    WHERE starts_with(c.name, 'tekupdb ')
        AND NOT EXISTS (SELECT FROM tekupdb."Door" d WHERE c.name = 'tekupdb ' || left(d."secret", 8));
    IF pg_is_in_recovery() OR door."identity" <> tekupdb.feed_identity() THEN
        RETURN false;
    END IF;
    PERFORM @dblink@.dblink_connect(connection, format(
        'host=''%s'' port=5432 dbname=tekupdb_index user=tekup_admin password=%s connect_timeout=2'
        ' client_encoding=UTF8 application_name=match_documents',
        replace(replace(door."run", '\', '\\'), '''', '\'''), door."secret"));
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN false;
END $body$
$template$;

    -- Asks a daemon. "position" is NULL where none has answered.
    ask_index CONSTANT text := $template$
CREATE OR REPLACE FUNCTION tekupdb.ask_index(query bytea, threshold double precision, wanted integer,
    in_source text, in_repository text, OUT "position" pg_snapshot, OUT model text,
    OUT documents text[], OUT similarities double precision[], OUT embeddings integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 AS $body$
DECLARE
    door tekupdb."Door";
    connection text;
    request text;
    connected text[];
BEGIN
    connected := coalesce(@dblink@.dblink_get_connections(), '{}');
    -- The daemon that was asked before is asked first.
    FOR door IN SELECT * FROM tekupdb."Door" d WHERE d."answers"
        ORDER BY 'tekupdb ' || left(d."secret", 8) = ANY (connected) DESC, d."writtenAt" DESC LIMIT 8 LOOP
        connection := 'tekupdb ' || left(door."secret", 8);
        request := 'SEARCH ' || door."secret" || ' ' || wanted || ' ' || threshold
            || ' ' || coalesce('=' || encode(convert_to(in_source, 'UTF8'), 'hex'), '-')
            || ' ' || coalesce('=' || encode(convert_to(in_repository, 'UTF8'), 'hex'), '-')
            || ' ' || encode(query, 'base64');
        FOR attempt IN 1..2 LOOP
            IF NOT coalesce(connection = ANY (@dblink@.dblink_get_connections()), false) THEN
                attempt := 2;
                EXIT WHEN NOT tekupdb.open_door(connection, door);
            END IF;
            BEGIN
                -- The first row says how it went, the others are documents.
                SELECT max(r.document) FILTER (WHERE r.state = 'FOUND'),
                       coalesce(array_agg(r.document) FILTER (WHERE r.state IS NULL), '{}'),
                       coalesce(array_agg(r.similarity) FILTER (WHERE r.state IS NULL), '{}'),
                       coalesce(array_agg(r.embedding) FILTER (WHERE r.state IS NULL), '{}')
                INTO "position", documents, similarities, embeddings
                FROM @dblink@.dblink(connection, request)
                    AS r (state text, document text, similarity double precision, embedding integer);
                model := door."model";
                EXIT;
            EXCEPTION WHEN OTHERS THEN
                -- The daemon at the other end is gone; another may be there.
                "position" := NULL;
                PERFORM @dblink@.dblink_disconnect(connection);
                EXIT WHEN attempt = 2;
            END;
        END LOOP;
        EXIT WHEN "position" IS NOT NULL;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    "position" := NULL;
END $body$
$template$;

    ask_nobody CONSTANT text := $template$
CREATE OR REPLACE FUNCTION tekupdb.ask_index(query bytea, threshold double precision, wanted integer,
    in_source text, in_repository text, OUT "position" pg_snapshot, OUT model text,
    OUT documents text[], OUT similarities double precision[], OUT embeddings integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
END $body$
$template$;

    -- Compares with every embedding, or with some, or with those of some documents. Plans are made for the filters
    -- at hand, and compiling one takes longer than it saves.
    match_exactly CONSTANT text := $template$
CREATE OR REPLACE FUNCTION tekupdb.match_exactly(query @type@, threshold double precision, wanted integer,
    in_source text, in_repository text, of_model text, only_documents text[], only_embeddings integer[])
RETURNS TABLE (document text, similarity double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $body$
#variable_conflict use_column
DECLARE@declare@
BEGIN
    RETURN QUERY
    SELECT b.document, greatest(-1, least(1, b.best)) FROM (
        SELECT e."documentId" AS document, max(nullif(@similarity@, 'NaN')) AS best
        FROM vault."VaultDocument" d JOIN vault."VaultEmbedding" e ON e."documentId" = d."id"
            LEFT JOIN tekupdb."Chunk" c ON c."embeddingId" = e."id" AND c."documentId" = e."documentId"
        WHERE (only_documents IS NULL OR d."id" = ANY (only_documents))
            AND (only_embeddings IS NULL OR e."id" = ANY (only_embeddings))
            AND (in_source IS NULL OR d."source" = in_source)
            AND (in_repository IS NULL OR d."repository" = in_repository)
            -- Embeddings of two models are never compared; those that say nothing of theirs are taken.
            AND (of_model IS NULL OR c."model" IS NULL OR c."model" = of_model)
            AND octet_length(d."id") < 40
        GROUP BY e."documentId") AS b
    WHERE b.best >= threshold
    ORDER BY 2 DESC, 1 LIMIT wanted;
END $body$
$template$;

    -- The documents of an answer of the index. STABLE, so that everything in it is as of the moment
    -- of the call, which is after the answer: all that the daemon has seen is seen here. SQLSTATE
    -- TK001: more has to be asked for. TK002: too much has changed. What is looked for in the feed is
    -- next to nothing, wherever the table's statistics stand: by its index, not by a scan.
    match_hits CONSTANT text := $template$
CREATE OR REPLACE FUNCTION tekupdb.match_hits(query @type@, threshold double precision, wanted integer,
    in_source text, in_repository text, of_model text, applied pg_snapshot, asked integer,
    documents text[], similarities double precision[], embeddings integer[])
RETURNS TABLE (id text, source text, repository text, path text, content text, metadata jsonb, sha text,
    similarity double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
SET enable_bitmapscan = off SET jit = off AS $body$
#variable_conflict use_column
DECLARE
    changed text[];
    changes bigint;
    everything boolean;
    dropped bigint;
    exact integer[];
BEGIN
    -- What a snapshot did not see is what began after it, and what it saw running.
    SELECT array_agg(c."id"), count(*), bool_or(c."id" IS NULL) INTO changed, changes, everything FROM (
        SELECT f."id" FROM tekupdb."Change" f
        WHERE f."xid" >= pg_snapshot_xmax(applied) AND f."object" IN ('d', 'e')
        UNION ALL
        SELECT f."id" FROM tekupdb."Change" f
        WHERE f."xid" = ANY (ARRAY(SELECT pg_snapshot_xip(applied))) AND f."object" IN ('d', 'e')
        LIMIT 2001) AS c;
    IF everything OR changes > 2000
        OR (SELECT f."trimmed" > pg_snapshot_xmin(applied) FROM tekupdb."Feed" f WHERE f."only")
        OR pg_snapshot_xmax(applied) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        RAISE SQLSTATE 'TK002';
    END IF;
    IF changes = 0 THEN
        RETURN QUERY
        SELECT d."id", d."source", d."repository", d."path", d."content", d."metadata", d."sha", h.similarity
        FROM unnest(documents, similarities) AS h (document, similarity)
            JOIN vault."VaultDocument" d ON d."id" = h.document
        ORDER BY h.similarity DESC, d."id" LIMIT wanted;
        RETURN;
    END IF;
    SELECT count(*) FILTER (WHERE h.document = ANY (changed)),
        array_agg(h.embedding) FILTER (WHERE h.document <> ALL (changed))
    INTO dropped, exact FROM unnest(documents, embeddings) AS h (document, embedding);
    IF cardinality(documents) = asked AND cardinality(documents) - dropped < wanted THEN
        RAISE SQLSTATE 'TK001';
    END IF;
    -- The index is right to four digits. Beside what is compared here its hits are compared here too, so
    -- that equal ones stay equal; many are not worth it.
    IF cardinality(exact) > 200 THEN
        exact := NULL;
    END IF;
    RETURN QUERY
    SELECT d."id", d."source", d."repository", d."path", d."content", d."metadata", d."sha", h.similarity
    FROM (SELECT u.document, u.similarity FROM unnest(documents, similarities) AS u (document, similarity)
          WHERE exact IS NULL AND u.document <> ALL (changed)
          UNION ALL
          SELECT m.document, m.similarity FROM tekupdb.match_exactly(query, threshold, wanted, in_source,
              in_repository, of_model, NULL, coalesce(exact, '{}')) AS m
          UNION ALL
          SELECT m.document, m.similarity FROM tekupdb.match_exactly(query, threshold, wanted, in_source,
              in_repository, of_model, changed, NULL) AS m) AS h
        JOIN vault."VaultDocument" d ON d."id" = h.document
    ORDER BY h.similarity DESC, d."id" LIMIT wanted;
END $body$
$template$;

    -- SECURITY DEFINER, all of it: the change feed, the passages and the daemon's secret are nobody's
    -- business but this function's, and whoever may call it may read the vault anyway (EXECUTE is
    -- granted to nobody else). No name in it is found by the caller's search_path, no text of the
    -- caller's becomes part of a statement. VOLATILE, since it asks another process and sees what was
    -- committed meanwhile; PARALLEL UNSAFE, since its connection is this backend's, and for its
    -- subtransactions.
    match_documents CONSTANT text := $template$
CREATE OR REPLACE FUNCTION vault.match_documents(query_embedding @type@,
    match_threshold double precision DEFAULT 0.7, match_count integer DEFAULT 10,
    filter_source text DEFAULT NULL, filter_repository text DEFAULT NULL)
RETURNS TABLE (id text, source text, repository text, path text, content text, metadata jsonb, sha text,
    similarity double precision)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE COST 1000 ROWS 10
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    wanted CONSTANT integer := coalesce(match_count, 10);
    threshold CONSTANT double precision := coalesce(match_threshold, 0.7);
    dimensions CONSTANT integer := @dimensions@;
    asked integer := wanted;
    answer record;
    of_model text;
BEGIN
    IF query_embedding IS NULL THEN
        RETURN;
    ELSIF dimensions <> 1536 THEN
        RAISE EXCEPTION 'expected 1536 dimensions, not %', dimensions USING ERRCODE = '22000';
    ELSIF wanted < 0 THEN
        RAISE EXCEPTION 'match_count must not be negative' USING ERRCODE = '2201W';
    ELSIF threshold = 'NaN' THEN
        RAISE EXCEPTION 'match_threshold must be a number' USING ERRCODE = '22023';
    END IF;
    -- A transaction that goes on seeing what there was at its beginning sees more, or less, than the index.
    IF wanted BETWEEN 1 AND 10000 AND threshold <= 1
        AND current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        FOR attempt IN 1..3 LOOP
            answer := tekupdb.ask_index(@send@(query_embedding), greatest(threshold, -1), asked, filter_source,
                                        filter_repository);
            EXIT WHEN answer."position" IS NULL;
            BEGIN
                RETURN QUERY
                SELECT * FROM tekupdb.match_hits(query_embedding, threshold, wanted, filter_source,
                    filter_repository, answer.model, answer."position", asked, answer.documents,
                    answer.similarities, answer.embeddings);
                RETURN;
            EXCEPTION
                WHEN SQLSTATE 'TK001' THEN
                    EXIT WHEN asked = 10000;
                    asked := least(10000, CASE attempt WHEN 1 THEN wanted + 100 ELSE wanted + 2100 END);
                WHEN SQLSTATE 'TK002' THEN
                    EXIT;
            END;
        END LOOP;
    END IF;
    @check@
    IF wanted = 0 OR threshold > 1 THEN
        RETURN;
    END IF;
    SELECT d."model" INTO of_model FROM tekupdb."Door" d ORDER BY d."writtenAt" DESC LIMIT 1;
    RETURN QUERY
    SELECT d."id", d."source", d."repository", d."path", d."content", d."metadata", d."sha", h.similarity
    FROM tekupdb.match_exactly(query_embedding, threshold, wanted, filter_source, filter_repository,
            of_model, NULL, NULL) AS h
        JOIN vault."VaultDocument" d ON d."id" = h.document
    ORDER BY h.similarity DESC, d."id";
END $body$
$template$;

    dblink_schema name;
    vector_schema name;
    type text;
    one regprocedure;
    template text;
    made boolean := false;
BEGIN
    SELECT n.nspname INTO dblink_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'dblink';
    SELECT n.nspname INTO vector_schema
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE a.attrelid = 'vault."VaultEmbedding"'::regclass AND a.attname = 'embedding' AND t.typname = 'vector';
    type := coalesce(quote_ident(vector_schema) || '.vector', 'real[]');

    -- Those of the other form go.
    FOR one IN SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace IN ('vault'::regnamespace, 'tekupdb'::regnamespace)
            AND p.proname IN ('match_documents', 'match_hits', 'match_exactly')
            AND p.proargtypes[0] <> type::regtype LOOP
        EXECUTE format('DROP FUNCTION %s', one);
    END LOOP;

    FOREACH template IN ARRAY CASE WHEN dblink_schema IS NULL THEN ARRAY[ask_nobody]
                              ELSE ARRAY[open_door, ask_index] END
            || ARRAY[match_exactly, match_hits, match_documents] LOOP
        template := replace(template, '@dblink@', coalesce(quote_ident(dblink_schema), ''));
        template := replace(template, '@type@', type);
        IF vector_schema IS NOT NULL THEN
            template := replace(template, '@declare@', '');
            template := replace(template, '@similarity@', format(
                '1 - (e."embedding" OPERATOR(%I.<=>) query)', vector_schema));
            template := replace(template, '@dimensions@', format('%I.vector_dims(query_embedding)', vector_schema));
            template := replace(template, '@send@', format('%I.vector_send', vector_schema));
            template := replace(template, '@check@', format(
                'IF %I.vector_norm(query_embedding) = 0 THEN'
                ' RAISE EXCEPTION ''query_embedding is the zero vector, which has no direction'''
                ' USING ERRCODE = ''22023''; END IF;', vector_schema));
        ELSE
            template := replace(template, '@declare@', '
    direction CONSTANT double precision[] := query;
    length CONSTANT double precision := (SELECT sqrt(sum(x * x)) FROM unnest(direction) AS x);');
            -- Two sets beside each other in a target list are several times faster than in FROM.
            template := replace(template, '@similarity@',
                '(SELECT sum(p.a * p.b) / nullif(sqrt(sum(p.a::double precision * p.a)) * length, 0)'
                ' FROM (SELECT unnest(e."embedding") AS a, unnest(direction) AS b) AS p)');
            template := replace(template, '@dimensions@',
                'CASE array_ndims(query_embedding) WHEN 1 THEN cardinality(query_embedding) ELSE 0 END');
            template := replace(template, '@send@', 'array_send');
            template := replace(template, '@check@',
                'IF array_position(query_embedding, NULL) IS NOT NULL THEN'
                ' RAISE EXCEPTION ''query_embedding contains NULL'' USING ERRCODE = ''22004'';'
                ' ELSIF (SELECT NOT bool_and(x > ''-Infinity'' AND x < ''Infinity'') FROM unnest(query_embedding) AS x) THEN'
                ' RAISE EXCEPTION ''query_embedding contains NaN or infinity'' USING ERRCODE = ''22023'';'
                ' ELSIF (SELECT bool_and(x = 0) FROM unnest(query_embedding) AS x) THEN'
                ' RAISE EXCEPTION ''query_embedding is the zero vector, which has no direction'''
                ' USING ERRCODE = ''22023''; END IF;');
        END IF;
        -- What is there already is left alone, and with it the plans of who uses it.
        CONTINUE WHEN EXISTS (SELECT FROM pg_proc p
            WHERE p.pronamespace IN ('vault'::regnamespace, 'tekupdb'::regnamespace)
                AND p.prosrc = split_part(template, '$body$', 2));
        EXECUTE template;
        made := true;
    END LOOP;
    IF NOT made THEN
        RETURN dblink_schema IS NOT NULL;
    END IF;

    -- Functions are the one thing that PostgreSQL opens to everybody when they are made.
    FOR one IN SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace IN ('vault'::regnamespace, 'tekupdb'::regnamespace)
            AND p.proname IN ('open_door', 'ask_index', 'match_exactly', 'match_hits', 'match_documents')
            AND p.proowner = (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user) LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
    END LOOP;
    EXECUTE format('GRANT EXECUTE ON FUNCTION vault.match_documents(%s, double precision, integer, text, text)'
                   ' TO tekup_vault', type);
    RETURN dblink_schema IS NOT NULL;
END $define$;
REVOKE ALL ON FUNCTION tekupdb.define_match_documents() FROM PUBLIC;

SELECT tekupdb.define_match_documents();
