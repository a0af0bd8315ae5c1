"""vault.match_documents finds in SQL what POST /v1/search finds, answered by the index of the daemon and,
where that is away, by comparing with every embedding; and it sees what its transaction sees.

Everything is tried with embeddings that are real[], in a private cluster, and with pgvector's, in a
Debian 13 of its own (tests/with-pgvector), where that can be made."""

import pathlib
import random
import shutil
import socket
import struct
import subprocess
import threading

import psycopg2
import pytest
from psycopg2 import errors, extensions

from corpus import document
from daemon import Daemon, wait_for
from vectors import DIMENSIONS, as_float32, random_vector, unit

TESTS = pathlib.Path(__file__).resolve().parents[1]
CLOSE = 1e-4
COUNT = 80
SERVICES = ["tekup_billy", "tekup_renos", "tekup_crm", "tekup_flow"]


def vector_of(number):
    """In no order of their similarity to the first axis, and each 0.01 apart from the next."""
    similarity = 0.1 + 0.01 * (number * 7 % COUNT)
    other = random_vector(f"match/{number}")
    other[0] = 0
    length = sum(x * x for x in other) ** 0.5
    scale = (1 - similarity * similarity) ** 0.5 / length
    return as_float32([similarity] + [x * scale for x in other[1:]])


QUERY = unit(0, 2.5)


class Vault:
    """A daemon, and connections to its database as any role."""

    def __init__(self, daemon, type_name):
        self.daemon = daemon
        self.type = type_name
        self.open = []

    def connect(self, role="tekup_vault", **options):
        url = self.daemon.database_url
        if url:
            connection = psycopg2.connect(url, user=role, **options)
        else:
            connection = psycopg2.connect(host=str(self.daemon.run / "postgres"), user=role, dbname="tekup_db",
                                          **options)
        connection.autocommit = True
        self.open.append(connection)
        return connection

    def text(self, vector):
        inner = ",".join(map(repr, vector))
        return f"[{inner}]" if self.type == "vector" else "{" + inner + "}"

    def rows(self, cursor, vector=None, threshold=-1, count=10, source=None, repository=None):
        cursor.execute(f"SELECT * FROM match_documents(%s::{self.type}, %s, %s, %s, %s)",
                       (self.text(vector or QUERY), threshold, count, source, repository))
        return cursor.fetchall()

    def paths(self, cursor, **arguments):
        return [row[3] for row in self.rows(cursor, **arguments)]

    def searches(self):
        return self.daemon.client.status()["index"]["searches"]

    def insert(self, cursor, identifier, vector, repository="written"):
        cursor.execute(
            'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
            " VALUES (%s, 'sql', %s, %s, 'content', now())", (identifier, repository, identifier))
        cursor.execute(f'INSERT INTO vault."VaultEmbedding" ("documentId", embedding) VALUES (%s, %s::{self.type})',
                       (identifier, self.text(vector)))

    def asked(self):
        """Whether the index is asked in what happens within."""
        return Asked(self)


class Asked:
    def __init__(self, vault):
        self.vault = vault

    def __enter__(self):
        self.before = self.vault.searches()
        self.index = None
        return self

    def __exit__(self, *_):
        if self.vault.daemon.process:
            self.index = self.vault.searches() > self.before


def fill(client):
    for number in range(COUNT):
        client.put_document(f"r{number % 3}", f"{number:03}", f"text of {number}",
                            source="even" if number % 2 == 0 else "odd", embedding=vector_of(number),
                            metadata={"number": number})


BEST = [f"{number:03}" for number in sorted(range(COUNT), key=lambda number: -(number * 7 % COUNT))]


def run_within(root, daemon):
    """Lets the server in the other Debian find the daemon's sockets by the path that the daemon knows."""
    inside = pathlib.Path(f"{root}{daemon.run}")
    inside.mkdir(parents=True)
    daemon.run.symlink_to(inside)
    return inside.parent


@pytest.fixture(scope="module", params=["real[]", "vector"])
def vault(request):
    inside = None
    if request.param == "vector":
        url = request.getfixturevalue("pgvector_database")("match_documents")
        root = subprocess.run([TESTS / "pgvector-root"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        daemon = Daemon(database_url=url)
        inside = run_within(root, daemon)
    else:
        daemon = Daemon()
    vault = Vault(daemon, request.param)
    try:
        daemon.start()
        fill(daemon.client)
        yield vault
    finally:
        for connection in vault.open:
            connection.close()
        daemon.clean_up()
        if inside:
            shutil.rmtree(inside, ignore_errors=True)


@pytest.fixture(autouse=True)
def close_connections(request):
    yield
    if "vault" in request.fixturenames:
        vault = request.getfixturevalue("vault")
        while vault.open:
            vault.open.pop().close()


@pytest.fixture
def cursor(vault):
    connection = vault.connect()
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


# ---- What it finds ----


def test_finds_what_a_search_finds(vault, cursor):
    with vault.asked() as asked:
        rows = vault.rows(cursor, count=20)
    assert asked.index
    hits = vault.daemon.client.search(embedding=QUERY, limit=20, include=["content", "metadata"])
    assert [row[0] for row in rows] == [hit["id"] for hit in hits]
    assert [row[3] for row in rows] == BEST[:20]
    for row, hit in zip(rows, hits):
        assert row[:7] == tuple(hit[name] for name in
                                ("id", "source", "repository", "path", "content", "metadata", "sha"))
        assert row[7] == pytest.approx(hit["similarity"], abs=CLOSE)


def test_names_and_types_of_the_columns(cursor, vault):
    cursor.execute(f"SELECT * FROM vault.match_documents(%s::{vault.type})", (vault.text(QUERY),))
    assert [column.name for column in cursor.description] == [
        "id", "source", "repository", "path", "content", "metadata", "sha", "similarity"]
    assert [column.type_code for column in cursor.description] == [25, 25, 25, 25, 25, 3802, 25, 701]


def test_defaults_and_names_of_arguments(vault, cursor):
    text = vault.text(QUERY)
    cursor.execute(f"SELECT path, similarity FROM match_documents(%s::{vault.type})", (text,))
    rows = cursor.fetchall()
    assert [row[0] for row in rows] == BEST[:10]
    assert all(row[1] >= 0.7 for row in rows)
    cursor.execute("SELECT path FROM match_documents(match_count => 3, filter_repository => 'r1',"
                   f" query_embedding => %s::{vault.type}, match_threshold => 0.2, filter_source => 'odd')", (text,))
    ours = [row[0] for row in cursor.fetchall()]
    assert ours == [path for path in BEST if int(path) % 3 == 1 and int(path) % 2 == 1][:3]
    cursor.execute(f"SELECT count(*) FROM match_documents(%s::{vault.type}, NULL, NULL, NULL, NULL)", (text,))
    assert cursor.fetchone()[0] == 10
    # As supabase-js and others write it.
    cursor.execute("SELECT * FROM vault.match_documents(query_embedding := %s, match_threshold := 0.5,"
                   " match_count := 5)", (text,))
    assert len(cursor.fetchall()) == 5


@pytest.mark.parametrize("threshold", [-5, -1, 0, 0.333, 0.855, 1, 1.5, 1e300])
def test_thresholds(vault, cursor, threshold):
    expected = [path for path in BEST if 0.1 + 0.01 * (int(path) * 7 % COUNT) >= threshold]
    assert vault.paths(cursor, threshold=threshold, count=COUNT) == expected


def test_counts(vault, cursor):
    for count in (0, 1, 7, COUNT, 5000, 10001, 2**31 - 1):
        assert vault.paths(cursor, count=count) == BEST[:count]


def test_filters(vault, cursor):
    with vault.asked() as asked:
        assert vault.paths(cursor, source="even", count=COUNT) == [path for path in BEST if int(path) % 2 == 0]
        assert vault.paths(cursor, repository="r2", count=COUNT) == [path for path in BEST if int(path) % 3 == 2]
        for nothing in ({"source": ""}, {"source": "Even"}, {"repository": "r'2"}, {"repository": "r2 "},
                        {"source": "odd", "repository": "nøgen"}):
            assert vault.paths(cursor, **nothing) == []
    assert asked.index


def test_a_document_is_found_once_by_its_best_passage(vault, cursor):
    client = vault.daemon.client
    put = client.put_document("passages", "long", document("passages", 12))
    cursor.execute('SELECT id, embedding::text FROM vault."VaultEmbedding" WHERE "documentId" = %s', (put["id"],))
    embeddings = cursor.fetchall()
    assert len(embeddings) > 3
    for _, text in embeddings:
        cursor.execute(f"SELECT id, similarity FROM match_documents(%s::{vault.type}, 0.05, 5, NULL, 'passages')",
                       (text,))
        rows = cursor.fetchall()
        assert [row[0] for row in rows] == [put["id"]]
        assert rows[0][1] == pytest.approx(1, abs=CLOSE)
    client.delete(f"/v1/documents/{put['id']}")


def test_documents_that_are_equally_near_come_in_one_order(vault, cursor):
    vector = random_vector("equal")
    for name in ("e3", "e1", "e2"):
        vault.insert(cursor, name, vector, "equal")
    arguments = {"vector": vector, "repository": "equal", "count": 3}
    orders = [vault.paths(cursor, **arguments) for _ in range(20)]
    assert orders == [["e1", "e2", "e3"]] * 20
    cursor.execute("DELETE FROM vault.\"VaultDocument\" WHERE repository = 'equal'")


# ---- Wrong arguments ----


def test_wrong_arguments(vault, cursor):
    call = f"SELECT * FROM match_documents(%s::{vault.type}, %s, %s)"

    def refuses(error, words, vector, threshold=0.5, count=5):
        with pytest.raises(error, match=words):
            cursor.execute(call, (vault.text(vector), threshold, count))

    for length in (1, 2, DIMENSIONS - 1, DIMENSIONS + 1, 3000):
        refuses(errors.DataException, f"expected 1536 dimensions, not {length}", [0.5] * length)
    refuses(errors.InvalidParameterValue, "zero vector", [0.0] * DIMENSIONS)
    refuses(errors.InvalidRowCountInLimitClause, "match_count must not be negative", QUERY, count=-1)
    refuses(errors.InvalidParameterValue, "match_threshold must be a number", QUERY, threshold=float("nan"))
    for strange in ("NaN", "Infinity", "-Infinity"):
        text = vault.text(QUERY).replace("2.5", strange)
        with pytest.raises(psycopg2.DataError):
            cursor.execute(call, (text, 0.5, 5))
    cursor.execute(call, (None, 0.5, 5))
    assert cursor.fetchall() == []
    if vault.type == "real[]":
        with pytest.raises(errors.NullValueNotAllowed, match="contains NULL"):
            cursor.execute(call, (vault.text(QUERY).replace("2.5", "NULL"), 0.5, 5))
        with pytest.raises(errors.DataException, match="expected 1536 dimensions, not 0"):
            cursor.execute("SELECT * FROM match_documents(array_fill(1::real, ARRAY[2, 768]))")
        with pytest.raises(psycopg2.DataError):
            cursor.execute("SELECT * FROM match_documents('{}')")
    assert vault.paths(cursor, count=3) == BEST[:3]


# ---- Where it may stand ----


def test_joins_and_prepared_statements(vault, cursor):
    text = vault.text(QUERY)
    cursor.execute(f"PREPARE find ({vault.type}, int) AS SELECT m.path, d.\"createdAt\" IS NOT NULL, m.similarity"
                   ' FROM match_documents($1, -1, $2) m JOIN vault."VaultDocument" d USING (id)'
                   " ORDER BY m.similarity DESC")
    for _ in range(12):  # beyond the point where PostgreSQL may choose a generic plan
        cursor.execute("EXECUTE find (%s, 4)", (text,))
        rows = cursor.fetchall()
        assert [row[0] for row in rows] == BEST[:4] and all(row[1] for row in rows)
    cursor.execute("DEALLOCATE find")


def test_lateral(vault, cursor):
    cursor.execute('SELECT d.path, m.path FROM vault."VaultDocument" d'
                   ' JOIN vault."VaultEmbedding" e ON e."documentId" = d.id'
                   " CROSS JOIN LATERAL match_documents(e.embedding, 0.9, 1) m WHERE d.repository = 'r0'")
    rows = cursor.fetchall()
    assert len(rows) == len([path for path in BEST if int(path) % 3 == 0])
    assert all(mine == found for mine, found in rows), "each is the nearest to itself"
    cursor.execute("SELECT (match_documents(e.embedding, 0.9, 1)).path FROM vault.\"VaultEmbedding\" e LIMIT 3")
    assert len(cursor.fetchall()) == 3


def test_views_and_functions(vault):
    admin = vault.connect("tekup_admin").cursor()
    text = vault.text(QUERY)
    admin.execute("CREATE VIEW vault.best AS SELECT m.path, m.similarity"
                  f" FROM vault.match_documents('{text}'::{vault.type}, -1, 5) m")
    admin.execute(f"CREATE FUNCTION vault.best_path(q {vault.type}) RETURNS text LANGUAGE plpgsql AS"
                  " $$ BEGIN RETURN (SELECT m.path FROM vault.match_documents(q, -1, 1) m); END $$")
    admin.execute("CREATE FUNCTION vault.best_sql() RETURNS SETOF text LANGUAGE sql AS"
                  f" $$ SELECT m.path FROM vault.match_documents('{text}'::{vault.type}, -1, 2) m $$")
    try:
        admin.execute("SELECT path FROM vault.best")
        assert [row[0] for row in admin.fetchall()] == BEST[:5]
        admin.execute(f"SELECT vault.best_path(%s::{vault.type})", (text,))
        assert admin.fetchone()[0] == BEST[0]
        admin.execute("SELECT * FROM vault.best_sql()")
        assert [row[0] for row in admin.fetchall()] == BEST[:2]
    finally:
        admin.execute("DROP VIEW vault.best; DROP FUNCTION vault.best_path, vault.best_sql")


def test_parallel_plans(vault, cursor):
    for setting in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
        cursor.execute(f"SET {setting} TO 0")
    for forced in ("debug_parallel_query", "force_parallel_mode"):
        try:
            cursor.execute(f"SET {forced} TO on")
        except errors.UndefinedObject:
            continue
    assert vault.paths(cursor, count=3) == BEST[:3]
    cursor.execute('SELECT count(*) FROM vault."VaultDocument" d JOIN match_documents('
                   f"%s::{vault.type}, -1, 5) m ON m.id = d.id", (vault.text(QUERY),))
    assert cursor.fetchone()[0] == 5


def test_several_at_once(vault):
    failures = []

    def work(number):
        try:
            with vault.connect().cursor() as cursor:
                for _ in range(20):
                    vector = vector_of(number)
                    assert vault.paths(cursor, vector=vector, count=1) == [f"{number:03}"]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


# ---- What is written meanwhile ----


def test_a_transaction_finds_what_it_has_written(vault):
    connection = vault.connect()
    connection.autocommit = False
    cursor = connection.cursor()
    vector = random_vector("own")
    with vault.asked() as asked:
        vault.insert(cursor, "own", vector)
        assert vault.paths(cursor, vector=vector, count=1) == ["own"]
        cursor.execute("UPDATE vault.\"VaultDocument\" SET repository = 'moved' WHERE id = 'own'")
        assert vault.paths(cursor, vector=vector, repository="written") == []
        assert vault.paths(cursor, vector=vector, repository="moved") == ["own"]
        cursor.execute("SAVEPOINT s")
        cursor.execute('DELETE FROM vault."VaultDocument" WHERE path = ANY(%s)', (BEST[:30],))
        assert vault.paths(cursor, count=10) == BEST[30:40]
        cursor.execute("ROLLBACK TO s")
        assert vault.paths(cursor, count=10) == BEST[:10]
        cursor.execute(f'UPDATE vault."VaultEmbedding" SET embedding = %s::{vault.type} WHERE "documentId" ='
                       ' (SELECT id FROM vault."VaultDocument" WHERE path = %s)',
                       (vault.text([-x for x in QUERY]), BEST[0]))
        assert vault.paths(cursor, count=10) == BEST[1:11]
    assert asked.index
    cursor.execute("SAVEPOINT t")
    cursor.execute('TRUNCATE vault."VaultDocument" CASCADE')
    assert vault.paths(cursor) == []
    vault.insert(cursor, "only", vector)
    assert vault.paths(cursor) == ["only"]
    cursor.execute("ROLLBACK TO t")
    cursor.execute("INSERT INTO vault.\"VaultDocument\" (id, source, repository, path, content, \"updatedAt\")"
                   " SELECT 'many' || i, 's', 'many', i, '', now() FROM generate_series(1, 3000) i")
    assert vault.paths(cursor, count=10) == BEST[1:11]
    connection.rollback()
    connection.autocommit = True
    assert vault.paths(cursor, count=10) == BEST[:10]
    assert vault.paths(cursor, vector=vector, repository="written") == []


def test_what_is_committed_is_found_at_once(vault, cursor):
    """By another connection, and with what nobody has told the daemon."""
    with vault.connect().cursor() as writer:
        for number in range(60):
            vector = random_vector(f"at once/{number}")
            vault.insert(writer, "once", vector, "once")
            assert vault.paths(cursor, vector=vector, count=1) == ["once"]
            writer.execute("UPDATE vault.\"VaultDocument\" SET repository = 'other' WHERE id = 'once'")
            assert vault.paths(cursor, vector=vector, repository="other") == ["once"]
            writer.execute("DELETE FROM vault.\"VaultDocument\" WHERE id = 'once'")
            assert vault.paths(cursor, vector=vector, repository="other") == []
            assert len(vault.paths(cursor, count=10)) == 10


def test_no_answer_is_of_two_moments(vault, cursor):
    """Every transaction takes some documents out and puts as many in, so that there are always as many."""
    count, seconds = 24, 4
    for number in range(count):
        vault.insert(cursor, f"torn{number}", random_vector(f"torn/{number}"), "torn")
    stop, failures, answers = threading.Event(), [], []

    def write(writer):
        try:
            connection = vault.connect()
            connection.autocommit = False
            rng = random.Random(writer)
            with connection.cursor() as cursor:
                step = 0
                while not stop.is_set():
                    mine = [number for number in range(count) if number % 2 == writer]
                    for number in rng.sample(mine, 3):
                        step += 1
                        vector = random_vector(f"torn/{writer}/{step}")
                        what = rng.randrange(3)
                        if what == 0:
                            cursor.execute('UPDATE vault."VaultDocument" SET repository = %s WHERE path = %s',
                                           ("aside", f"torn{number}"))
                            vault.insert(cursor, f"torn{number}/{writer}/{step}", vector, "torn")
                            cursor.execute('DELETE FROM vault."VaultDocument" WHERE path = %s', (f"torn{number}",))
                            cursor.execute('UPDATE vault."VaultDocument" SET path = %s WHERE id = %s',
                                           (f"torn{number}", f"torn{number}/{writer}/{step}"))
                        elif what == 1:
                            cursor.execute(f'UPDATE vault."VaultEmbedding" e SET embedding = %s::{vault.type}'
                                           ' FROM vault."VaultDocument" d WHERE d.id = e."documentId" AND d.path = %s',
                                           (vault.text(vector), f"torn{number}"))
                        else:
                            cursor.execute('DELETE FROM vault."VaultDocument" WHERE path = %s', (f"torn{number}",))
                            cursor.execute(
                                'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                                " VALUES (%s, 'sql', 'torn', %s, '', now())", (f"t{writer}-{step}", f"torn{number}"))
                            cursor.execute(f'INSERT INTO vault."VaultEmbedding" ("documentId", embedding)'
                                           f" VALUES (%s, %s::{vault.type})", (f"t{writer}-{step}", vault.text(vector)))
                    connection.commit()
        except BaseException as failure:
            failures.append(failure)

    def read(source):
        try:
            with vault.connect().cursor() as cursor:
                while not stop.is_set():
                    paths = vault.paths(cursor, repository="torn", count=count + 10, source=source)
                    assert sorted(paths) == sorted(f"torn{number}" for number in range(count)), len(paths)
                    answers.append(1)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(2)]
    threads += [threading.Thread(target=read, args=(source,)) for source in (None, "sql")]
    with vault.asked() as asked:
        for thread in threads:
            thread.start()
        stop.wait(seconds)
        wait_for(lambda: failures or len(answers) > 5, "some answers")
        stop.set()
        for thread in threads:
            thread.join()
    cursor.execute("DELETE FROM vault.\"VaultDocument\" WHERE source = 'sql'")
    assert not failures, failures
    assert asked.index and len(answers) > 5


@pytest.mark.parametrize("level", [extensions.ISOLATION_LEVEL_REPEATABLE_READ,
                                   extensions.ISOLATION_LEVEL_SERIALIZABLE])
def test_a_snapshot_stays_as_it_is(vault, level):
    writer = vault.connect().cursor()
    vector = random_vector("snapshot")
    vault.insert(writer, "stays", vector)
    reader = vault.connect()
    reader.autocommit = False
    reader.set_isolation_level(level)
    cursor = reader.cursor()
    assert vault.paths(cursor, vector=vector, count=1) == ["stays"]
    writer.execute("DELETE FROM vault.\"VaultDocument\" WHERE id = 'stays'")
    vault.insert(writer, "comes", vector)
    wait_for(lambda: [hit["path"] for hit in vault.daemon.client.search(embedding=vector, limit=1)] == ["comes"],
             "the index to have it")
    assert vault.paths(cursor, vector=vector, count=1) == ["stays"]
    reader.rollback()
    assert vault.paths(cursor, vector=vector, count=1) == ["comes"]
    reader.rollback()
    writer.execute("DELETE FROM vault.\"VaultDocument\" WHERE id = 'comes'")


def test_a_read_only_transaction(vault):
    connection = vault.connect()
    connection.autocommit = False
    connection.set_session(readonly=True)
    with vault.asked() as asked:
        assert vault.paths(connection.cursor(), count=3) == BEST[:3]
    assert asked.index


# ---- Roles ----


def test_who_may_call_it(vault):
    call = f"SELECT count(*) FROM vault.match_documents(%s::{vault.type})"
    for role in ("tekup_vault", "tekup_admin"):
        with vault.connect(role).cursor() as cursor:
            cursor.execute(call, (vault.text(QUERY),))
            assert cursor.fetchone()[0] == 10
    for role in SERVICES:
        with vault.connect(role).cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
            cursor.execute(call, (vault.text(QUERY),))
    with vault.connect("tekup_vault", options="-c search_path=pg_temp").cursor() as cursor:
        cursor.execute(call.replace(f"::{vault.type}", ""), (vault.text(QUERY),))
        assert cursor.fetchone()[0] == 10


def test_nothing_of_the_callers_is_called(vault):
    """SECURITY DEFINER: what the caller defines must not run with the owner's rights."""
    with vault.connect().cursor() as cursor:
        cursor.execute("CREATE FUNCTION pg_temp.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS"
                       " $$ SELECT 'taken'::text $$")
        cursor.execute('CREATE TEMP TABLE "VaultDocument" (id text)')
        cursor.execute("SET search_path TO pg_temp, vault, public")
        assert vault.paths(cursor, count=3) == BEST[:3]


def test_the_daemons_secret_is_nobodys(vault):
    for role in ["tekup_vault", *SERVICES]:
        with vault.connect(role).cursor() as cursor:
            for statement in ('SELECT * FROM tekupdb."Door"', "SELECT tekupdb.feed_identity()",
                              "SELECT tekupdb.dblink_get_connections()",
                              "SELECT tekupdb.ask_index(NULL, 0, 1, NULL, NULL)",
                              "SELECT tekupdb.dblink_connect('x', 'dbname=postgres')"):
                with pytest.raises(errors.InsufficientPrivilege):
                    cursor.execute(statement)


def ask_index(vault, request=None, password=None, **options):
    """What the daemon's own database says to a client that is no backend of PostgreSQL."""
    admin = vault.connect("tekup_admin").cursor()
    admin.execute('SELECT secret FROM tekupdb."Door"')
    secret = admin.fetchone()[0]
    connection = psycopg2.connect(host=str(vault.daemon.run), dbname="tekupdb_index", user="anybody",
                                  password=secret if password is None else password, **options)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(request.replace("SECRET", secret))
            return cursor.fetchall()
    finally:
        connection.close()


def test_who_may_ask_the_index(vault):
    assert ask_index(vault, "SEARCH SECRET 1 0 - - AAAA") == [
        ("INVALID", "the embedding has not 1536 dimensions", None, None)]
    for password in ("x", "wrong" * 300, "0" * 32):
        with pytest.raises(psycopg2.OperationalError):
            ask_index(vault, "SEARCH SECRET 1 0 - - AAAA", password=password)
    with pytest.raises(psycopg2.OperationalError):
        ask_index(vault, "", password="")
    with pytest.raises(errors.InvalidPassword):
        ask_index(vault, "SEARCH another 1 0 - - AAAA")
    for request in ("SELECT 1", "SEARCH", "SEARCH SECRET 0 0 - - AAAA", "SEARCH SECRET 1 0 - - A", ";"):
        with pytest.raises(errors.SyntaxError):
            ask_index(vault, request)
    login = struct.pack("!i", 196608) + b"user\0x\0database\0tekupdb_index\0\0"
    for garbage in (b"", b"p", b"p\0\0\0\4", b"p\x7f\xff\xff\xff", b"p\0\0\0\1", b"Q\0\0\0\6x\0", b"p\0\0\0\6xx",
                    b"\xff" * 5000, b"p\0\0\0\6x\0" * 50):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{vault.daemon.run}/.s.PGSQL.5432")
            client.sendall(struct.pack("!i", len(login) + 4) + login + garbage)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(30)
            answer = b""
            try:
                while more := client.recv(65536):
                    answer += more
            except ConnectionResetError:
                pass
            assert b"Z\0\0\0\5I" not in answer, "it is not let in"
    with vault.connect().cursor() as cursor:
        assert vault.paths(cursor, count=3) == BEST[:3]


def test_through_the_daemons_socket(vault):
    """More clients than server connections, each of which asks the same daemon."""
    failures = []
    database = vault.daemon.sql("SELECT current_database()")[0][0]

    def work(number):
        try:
            connection = psycopg2.connect(host=str(vault.daemon.run), user="tekup_vault", dbname=database)
            connection.autocommit = True
            with connection.cursor() as cursor:
                for _ in range(10):
                    assert vault.paths(cursor, vector=vector_of(number), count=1) == [f"{number:03}"]
            connection.close()
        except BaseException as failure:
            failures.append(failure)

    with vault.asked() as asked:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures
    assert asked.index


# ---- The index away (these restart the daemon, and come last) ----


def test_the_daemon_away_and_back(vault, cursor):
    """The same session falls back, and goes back to the index."""
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index
    if not vault.daemon.database_url:
        pytest.skip("the private cluster goes with its daemon")
    for end in (vault.daemon.kill, vault.daemon.stop):
        end()
        assert vault.paths(cursor, count=5) == BEST[:5]
        assert [row[7] for row in vault.rows(cursor, count=2)] == pytest.approx([0.89, 0.88], abs=1e-6)
        vault.daemon.start()
        with vault.asked() as asked:
            assert vault.paths(cursor, count=5) == BEST[:5]
        assert asked.index
    vault.daemon.stop()
    admin = vault.connect("postgres").cursor()
    admin.execute('SELECT count(*) FROM tekupdb."Door"')
    assert admin.fetchone()[0] == 0, "it leaves nothing behind"
    vault.daemon.start()


# ---- Other servers ----


def test_a_server_of_somebody_elses(make_daemon, server):
    """With DATABASE_URL, a daemon that is killed, and two of them on one database."""
    daemon = make_daemon(database_url=server.url())
    daemon.start()
    fill(daemon.client)
    vault = Vault(daemon, "real[]")
    cursor = vault.connect().cursor()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index
    second = make_daemon(database_url=server.url())
    second.start()
    other = Vault(second, "real[]")
    daemon.kill()
    with other.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index, "the other daemon answers"
    second.kill()
    assert vault.paths(cursor, count=5) == BEST[:5]
    daemon.start()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
        assert vault.paths(vault.connect().cursor(), count=5) == BEST[:5]
    assert asked.index
    for connection in vault.open:
        connection.close()


def test_a_copy_of_the_database_is_another_one(make_daemon, server):
    """It has the daemon's row too, and must not be answered by the daemon of the first."""
    daemon = make_daemon(database_url=server.url())
    daemon.start()
    fill(daemon.client)
    daemon.kill()  # nobody may be connected to what is copied
    admin = server.connect("postgres")
    admin.autocommit = True
    wait_for(lambda: not sessions(admin), "the daemon's sessions to end")
    admin.cursor().execute("CREATE DATABASE copy TEMPLATE tekup_db")
    daemon.start()
    vault = Vault(daemon, "real[]")
    copied = server.connect("copy")
    copied.autocommit = True
    cursor = copied.cursor()
    cursor.execute("SET search_path TO vault")
    cursor.execute('DELETE FROM vault."VaultDocument" WHERE path = %s', (BEST[0],))
    cursor.execute('INSERT INTO tekupdb."Door" SELECT * FROM tekupdb."Door" ON CONFLICT DO NOTHING')
    live = server.connect().cursor()
    live.execute('SELECT run, secret FROM tekupdb."Door"')
    run, secret = live.fetchone()
    cursor.execute('UPDATE tekupdb."Door" SET secret = %s', (secret,))
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[1:6]
    assert not asked.index
    assert run == str(daemon.run)
    copied.close()


def sessions(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'tekup_db'")
        return cursor.fetchone()[0]


def test_a_role_that_may_not_install_dblink(make_daemon, server):
    admin = server.connect("postgres")
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("CREATE ROLE plain LOGIN CREATEROLE")
        cursor.execute("ALTER DATABASE tekup_db OWNER TO plain")
    daemon = make_daemon(database_url=server.url().replace("postgres@", "plain@"))
    daemon.start()
    assert "match.no_dblink" in daemon.log() and "CREATE EXTENSION dblink" in daemon.log()
    assert daemon.client.status()["database"]["dblink"] is False
    assert b"CREATE EXTENSION dblink" in daemon.tekup("doctor").stdout
    fill(daemon.client)
    vault = Vault(daemon, "real[]")
    cursor = vault.connect().cursor()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert not asked.index
    with server.connect() as by_administrator:
        by_administrator.cursor().execute("CREATE EXTENSION dblink SCHEMA tekupdb")
    daemon.restart()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index
    assert daemon.client.status()["database"]["dblink"] is True
    for connection in vault.open:
        connection.close()


def test_dblink_of_somebody_elses(make_daemon, server):
    """In another schema, of a name that has to be quoted; taken away while the daemon runs."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute('CREATE SCHEMA "Other people\'s"; CREATE EXTENSION dblink SCHEMA "Other people\'s";'
                       ' GRANT USAGE ON SCHEMA "Other people\'s" TO PUBLIC')
    daemon = make_daemon(database_url=server.url())
    daemon.start()
    fill(daemon.client)
    vault = Vault(daemon, "real[]")
    cursor = vault.connect().cursor()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index
    with server.connect() as connection:
        connection.cursor().execute("DROP EXTENSION dblink")
    assert vault.paths(cursor, count=5) == BEST[:5]
    daemon.restart()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[:5]
    assert asked.index, "it is installed again"
    for connection in vault.open:
        connection.close()


def test_without_the_socket(make_daemon, server):
    daemon = make_daemon(database_url=server.url(), config="[passthrough]\nlisten = off\n")
    daemon.start()
    fill(daemon.client)
    vault = Vault(daemon, "real[]")
    with vault.asked() as asked:
        assert vault.paths(vault.connect().cursor(), count=5) == BEST[:5]
    assert not asked.index
    for connection in vault.open:
        connection.close()


def test_another_model_is_not_compared(make_daemon, server):
    daemon = make_daemon(database_url=server.url())
    daemon.start()
    fill(daemon.client)
    vault = Vault(daemon, "real[]")
    cursor = vault.connect("postgres").cursor()
    cursor.execute('UPDATE tekupdb."Chunk" SET model = \'another\' WHERE "documentId" ='
                   ' (SELECT id FROM vault."VaultDocument" WHERE path = %s)', (BEST[0],))
    cursor.execute("SET search_path TO vault")
    daemon.stop()
    shutil.rmtree(daemon.data / "index")
    daemon.start()
    with vault.asked() as asked:
        assert vault.paths(cursor, count=5) == BEST[1:6]
    assert asked.index
    daemon.kill()
    assert vault.paths(cursor, count=5) == BEST[1:6]
    for connection in vault.open:
        connection.close()
