"""`tekup backup` and `tekup restore`: what comes back is what was there at one moment, whole or not at all,
whatever happens meanwhile."""

import difflib
import hashlib
import io
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import tarfile
import threading
import time

import psycopg2
import pytest

from conftest import WITH_PGVECTOR
from corpus import write_tree
from daemon import TEKUP, Daemon, descendants, process_figure, sanitizer, wait_for
from server import unprivileged

SERVICES = ["vault", "billy", "renos", "crm", "flow"]
# Rows of the moment and of one server, which a backup leaves out.
PASSING = ["Change", "Feed", "Follower", "Door"]
QUERIES = ["the quick river", "a letter for the house", "metal and water"]

FILL = """
    INSERT INTO billy."BillyOrganization" (id, name, "billyApiKey", "billyOrgId", settings, "updatedAt")
        SELECT 'o' || g, 'Organization ' || g || E' \\u00e6\\n\\\\.\\n\\t\\\\', 'key', 'org' || g, '{"a": [1, null]}', '2026-01-01'
        FROM generate_series(1, 200) g;
    INSERT INTO billy."BillyCache" (id, "organizationId", "cacheKey", data, "expiresAt")
        SELECT 'c' || g, 'o' || 1 + g % 200, 'key' || g, to_jsonb(repeat('x', g % 3000)), '2026-01-01'
        FROM generate_series(1, 2000) g;
    INSERT INTO renos."RenosCustomer" (id, name, tags, "updatedAt") VALUES ('c', 'n', '{a,"b,c",NULL}', '2026-01-01');
    INSERT INTO flow."FlowWorkflow" (id, name, trigger, nodes, edges, owner, "updatedAt")
        VALUES ('w', 'n', '{}', '[]', '[]', 'me', '2026-01-01');
    INSERT INTO flow."FlowExecution" (id, "workflowId", "updatedAt") VALUES ('e', 'w', '2026-01-01');
    INSERT INTO flow."FlowExecutionLog" ("executionId", level, message) SELECT 'e', 'info', g FROM generate_series(1, 50) g;
    CREATE SCHEMA extra;
    CREATE TABLE extra.things (id integer PRIMARY KEY, note text);
    INSERT INTO extra.things SELECT g, E'\\\\.' FROM generate_series(1, 300) g;
    CREATE VIEW extra.seen AS SELECT count(*) AS n FROM extra.things;
    CREATE TABLE public.loose AS SELECT 7 AS n;
    """


def superuser(daemon, statement, database="tekup_db"):
    connection = psycopg2.connect(host=str(daemon.run / "postgres"), user="postgres", dbname=database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall() if cursor.description else None
    connection.close()
    return rows


def as_role(daemon, role, statement):
    """By the daemon's PostgreSQL socket, as a service comes."""
    connection = psycopg2.connect(host=str(daemon.run), user=role, dbname="tekup_db")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def dump(daemon):
    """Everything in the database, as text that two databases with the same in them have in common."""
    excluded = [f'--exclude-table-data=tekupdb."{table}"' for table in PASSING]
    done = subprocess.run(["pg_dump", "-h", daemon.run / "postgres", "-U", "postgres", *excluded, "tekup_db"],
                          stdout=subprocess.PIPE, check=True, text=True)
    return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def searches(daemon):
    """Equal ones may come in either order, and an index that was built anew finds what is nearest all the same."""
    return [sorted((hit["path"], round(hit["similarity"], 3)) for hit in daemon.client.search(query=query, limit=5))
            for query in QUERIES]


def same(one, other):
    differing = [line[:200] for line in difflib.unified_diff(dump(one), dump(other), lineterm="", n=0)]
    assert not differing, "\n".join(differing[:40])


def run(daemon, *arguments, code=0):
    done = daemon.tekup(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout.decode(), done.stderr.decode()


def verify(daemon):
    out, _ = run(daemon, "db", "verify")
    assert out.startswith("no difference"), out


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_tree(root, files=20 if sanitizer() else 60, sections=4, seed=3)
    return root


@pytest.fixture(scope="module")
def filled(daemon, tree):
    """A daemon with something in every schema, a role and rights of somebody's own, and syncs."""
    superuser(daemon, FILL)
    superuser(daemon, "CREATE ROLE tekup_test_analyst LOGIN; GRANT USAGE ON SCHEMA billy, extra TO tekup_test_analyst;"
                      "GRANT SELECT ON ALL TABLES IN SCHEMA billy, extra TO tekup_test_analyst;"
                      "GRANT CONNECT ON DATABASE tekup_db TO tekup_test_analyst;"
                      "ALTER ROLE tekup_test_analyst IN DATABASE tekup_db SET work_mem TO '5MB'")
    daemon.add_source("tree", tree, interval=86400)
    assert daemon.sync("tree")["status"] == "success"
    daemon.client.put_document("me", "leave.md", "Whoever wants a day off asks a week before.")
    return daemon


@pytest.fixture(scope="module")
def backup(filled, tmp_path_factory):
    path = tmp_path_factory.mktemp("backup") / "all.tar"
    run(filled, "backup", path)
    return path


# ---- There and back ----


@pytest.mark.plain
def test_everything_comes_back(filled, backup, make_daemon):
    """In another DATA: rows, searches, sources, roles and rights."""
    other = make_daemon(fresh=True).start()
    out, err = run(other, "restore", backup)
    assert out.startswith(f"restored {backup} of 20"), out
    same(filled, other)
    verify(other)
    assert searches(other) == searches(filled) and searches(other)[0]
    assert other.counts() == filled.counts()
    found = other.client.get("/v1/sources").json["sources"]
    assert [(s["repository"], s["intervalSeconds"]) for s in found] == [("tree", 86400)]
    # The sync knows what it has.
    item = other.sync("tree")
    assert item["status"] == "success" and filled.counts() == other.counts()
    # A service has what is its own, and nothing else.
    for role in SERVICES:
        assert as_role(other, f"tekup_{role}", "SELECT current_user") == [(f"tekup_{role}",)]
    assert as_role(other, "tekup_billy", 'SELECT count(*) FROM billy."BillyCache"') == [(2000,)]
    as_role(other, "tekup_billy", 'DELETE FROM billy."BillyCache" WHERE id = \'c1\'')
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_role(other, "tekup_billy", 'SELECT count(*) FROM vault."VaultDocument"')
    assert superuser(other, "SELECT has_table_privilege('tekup_test_analyst', 'extra.things', 'SELECT'),"
                            " has_table_privilege('tekup_test_analyst', 'extra.things', 'INSERT'),"
                            " has_table_privilege('tekup_test_analyst', 'billy.\"BillyCache\"', 'SELECT'),"
                            " (SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole"
                            "  WHERE rolname = 'tekup_test_analyst')") == [(True, False, True, ["work_mem=5MB"])]
    # What is written from now on is followed, by SQL too.
    other.client.put_document("me", "after.md", "A sentence that was not in the backup, about walruses.")
    assert other.client.search(query="walruses", limit=1)[0]["path"] == "after.md"
    assert as_role(other, "tekup_vault", "SELECT count(*) > 0 FROM match_documents((SELECT embedding FROM"
                                         ' "VaultEmbedding" LIMIT 1), 0, 5)') == [(True,)]
    # And it is there after a start.
    other.restart()
    verify(other)


def test_what_it_says(filled, backup, tmp_path):
    out, err = run(filled, "backup", tmp_path / "b.tar", "--json")
    told = json.loads(out)
    assert err == "" and told["format"] == 1 and told["bytes"] == (tmp_path / "b.tar").stat().st_size
    rows = {(t["schema"], t["name"]): t["rows"] for t in told["tables"]}
    assert rows["billy", "BillyCache"] == 2000 and rows["extra", "things"] == 300
    assert ("tekupdb", "Change") not in rows
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    assert run(filled, "backup", tmp_path / "b.tar", "--quiet") == ("", "")
    out, err = run(filled, "restore", "--check", backup)
    assert "2026" in out or "20" in out and "checked" in out
    assert run(filled, "restore", "--check", "--quiet", backup) == ("", "")
    # By hand, without tekup.
    with tarfile.open(backup) as archive:
        archive.extractall(tmp_path / "x")
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "x").returncode == 0
    listed = subprocess.run("cat database.dump.* | pg_restore --list", shell=True, cwd=tmp_path / "x", check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    assert "TABLE DATA vault VaultDocument" in listed


def test_to_stdout(filled, tmp_path):
    with open(tmp_path / "piped.tar", "wb") as out:
        done = subprocess.run([TEKUP, "backup", "-"], env=filled.environment, stdout=out, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    run(filled, "restore", "--check", tmp_path / "piped.tar")
    # Nobody reads on.
    reader, writer = os.pipe()
    process = subprocess.Popen([TEKUP, "backup", "-"], env=filled.environment, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    os.close(reader)
    assert process.wait(60) == 1 and b"standard output" in process.stderr.read()


def test_wrong_usage(filled, tmp_path):
    for arguments in (["backup"], ["backup", "a", "b"], ["backup", "x.tar", "--compress", "10"],
                      ["backup", "-", "--json"], ["restore"], ["restore", "x", "--into", "y"]):
        assert filled.tekup(*arguments).returncode == 2, arguments
    for arguments, said in ((["backup", tmp_path], "is there, and no file"),
                            (["backup", tmp_path / "no" / "b.tar"], "No such file"),
                            (["backup", tmp_path / "b.tar", "--url-env", "TEKUP_NO_SUCH"], "TEKUP_NO_SUCH"),
                            (["restore", tmp_path / "none.tar"], "No such file"),
                            (["restore", tmp_path], "is no file")):
        _, err = run(filled, *arguments, code=1)
        assert said in err, err


def test_the_configuration_and_secrets(make_daemon, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("ghp_secret")
    secret.chmod(0o600)
    hook = tmp_path / "hook"
    hook.write_text("hooksecret")
    hook.chmod(0o600)
    daemon = make_daemon(config=f"[github]\nwebhook_secret_file = {hook}\n").start()
    answer = daemon.client.put("/v1/sources", {"source": "github", "repository": "acme/handbook",
                                               "config": {"tokenFile": str(secret)}})
    assert answer.status in (200, 201), answer
    path = tmp_path / "b.tar"
    out, err = run(daemon, "backup", path)
    assert f"{secret} is not in it: secrets are saved with --secrets only" in err and str(hook) in err
    assert b"ghp_secret" not in path.read_bytes() and b"hooksecret" not in path.read_bytes()
    with tarfile.open(path) as archive:
        assert "webhook_secret_file" in archive.extractfile("config/tekupd.conf").read().decode()
    secret.unlink()
    out, err = run(daemon, "backup", path, "--secrets")
    assert f"{secret} is not in it: No such file" in err and str(hook) not in err
    with tarfile.open(path) as archive:
        name, = [n for n in archive.getnames() if n.startswith("secrets/")]
        assert archive.extractfile(name).read() == b"hooksecret" and archive.getmember(name).mode == 0o600
    _, err = run(daemon, "restore", "--check", path)
    assert f"it has {name}, which was {hook}" in err


# ---- One moment ----


def test_while_writes_go_on(make_daemon, tmp_path):
    """Two tables that every transaction changes alike, and documents: what is restored is as of one moment."""
    source = make_daemon().start()
    superuser(source, FILL)
    over = threading.Event()
    failures = []

    def write_pairs(number):
        connection = psycopg2.connect(host=str(source.run), user="tekup_admin", dbname="tekup_db")
        try:
            for i in range(10**9):
                if over.is_set():
                    return
                with connection, connection.cursor() as cursor:
                    cursor.execute('INSERT INTO shared."SharedAuditLog" (id, service, action, success)'
                                   " SELECT %s || g, 's', 'a', true FROM generate_series(1, 3) g", (f"{number}/{i}/",))
                    cursor.execute("INSERT INTO extra.things SELECT %s + g, 'pair' FROM generate_series(1, 3) g",
                                   (1000 + number * 10**8 + i * 3,))
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    def write_documents():
        try:
            for i in range(10**9):
                if over.is_set():
                    return
                source.client.put_document("me", f"{i}.md", f"Page {i} about {random.Random(i).random()}")
        except Exception as failure:
            failures.append(failure)

    superuser(source, "ALTER TABLE extra.things OWNER TO tekup_admin; ALTER SCHEMA extra OWNER TO tekup_admin")
    threads = [threading.Thread(target=write_pairs, args=(n,)) for n in range(2)]
    threads.append(threading.Thread(target=write_documents))
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.5)
        for number in range(3):
            run(source, "backup", tmp_path / f"{number}.tar")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, failures
    target = make_daemon().start()
    before = -1
    for number in range(3):
        run(target, "restore", "--force", tmp_path / f"{number}.tar")
        metrics, pairs, documents, orphans = superuser(
            target, 'SELECT (SELECT count(*) FROM shared."SharedAuditLog"),'
                    " (SELECT count(*) FROM extra.things WHERE note = 'pair'),"
                    ' (SELECT count(*) FROM vault."VaultDocument"),'
                    ' (SELECT count(*) FROM vault."VaultDocument" d WHERE NOT EXISTS'
                    '  (SELECT FROM vault."VaultEmbedding" e WHERE e."documentId" = d.id))')[0]
        assert metrics == pairs > before and documents > 0 and orphans == 0
        before = pairs
        verify(target)


# ---- A database with something in it ----


def test_a_filled_database_is_refused_without_force(filled, backup, make_daemon):
    other = make_daemon().start()
    other.client.put_document("me", "mine.md", "Something that was here before.")
    superuser(other, "CREATE TYPE tekupdb.leftover AS ENUM ('a'); CREATE TYPE tekupdb.pair AS (a int, b text);"
                     "CREATE DOMAIN tekupdb.few AS int; CREATE SEQUENCE tekupdb.numbers; CREATE TEXT SEARCH DICTIONARY"
                     " tekupdb.plain (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION tekupdb.wordy (COPY = simple);"
                     "CREATE COLLATION tekupdb.c FROM \"C\"; CREATE VIEW tekupdb.all_things AS SELECT 1 AS a;"
                     "CREATE PROCEDURE tekupdb.nothing() LANGUAGE sql AS 'SELECT 1'; CREATE VIEW public.over AS SELECT * FROM"
                     ' vault."VaultDocument"')
    before = dump(other)
    _, err = run(other, "restore", backup, code=1)
    assert 'not empty: there are rows in vault."VaultDocument"' in err and "--force" in err
    assert dump(other) == before
    # Somebody in the middle of something is not waited for forever.
    holder = psycopg2.connect(host=str(other.run), user="tekup_admin", dbname="tekup_db")
    holder.cursor().execute('UPDATE vault."VaultDocument" SET sha = \'x\'')
    run(other, "restore", "--force", backup)
    with pytest.raises(psycopg2.Error):
        holder.cursor().execute("SELECT 1")
    holder.close()
    assert superuser(other, "SELECT to_regclass('public.over'), to_regtype('tekupdb.leftover')") == [(None, None)]
    assert superuser(other, "SELECT count(*) FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace WHERE"
                            " n.nspname = 'tekupdb' AND dictname = 'plain'") == [(0,)]
    same(filled, other)
    assert searches(other) == searches(filled)
    verify(other)
    # Once more over itself.
    run(other, "restore", "--force", backup)
    same(filled, other)


# ---- Files that are not as they were written ----


def rewrite(path, to, change):
    """The archive with its manifest changed, and the sums made good."""
    sums = ""
    with tarfile.open(path) as archive, tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as out:
        for member in archive:
            content = archive.extractfile(member).read()
            if member.name == "tekupdb-backup.json":
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest).encode()
            if member.name == "SHA256SUMS":
                content = sums.encode()
            else:
                sums += f"{hashlib.sha256(content).hexdigest()}  {member.name}\n"
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return to


def test_bad_files(backup, make_daemon, tmp_path):
    other = make_daemon().start()
    before = dump(other)
    content = backup.read_bytes()
    bad = tmp_path / "bad.tar"

    def refused(data, *said):
        bad.write_bytes(data)
        _, err = run(other, "restore", "--force", bad, code=1)
        assert any(words in err for words in said), (err, said)

    refused(b"", "is no backup of tekupdb")
    refused(b"Dear diary,\n" * 1000, "is no backup of tekupdb")
    refused(os.urandom(20000), "is no backup of tekupdb")
    foreign = io.BytesIO()
    with tarfile.open(fileobj=foreign, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("holiday.jpg"), io.BytesIO())
    refused(foreign.getvalue(), "is no backup of tekupdb")
    refused(content[:100], "is no backup of tekupdb")
    chance = random.Random(11)
    for size in [1500, len(content) // 2, len(content) - 2000] + [chance.randrange(2000, len(content) - 2000) for _ in range(8)]:
        refused(content[:size], "is not complete", "is damaged")
    with tarfile.open(backup) as archive:
        members = archive.getmembers()
        sums = archive.getmember("SHA256SUMS")
    refused(content[:sums.offset], "is not complete")
    for member in members:
        at = member.offset_data + member.size // 2
        refused(content[:at] + bytes([content[at] ^ 1]) + content[at + 1:], "is damaged", "newer", "is not what tekup")
    for _ in range(20):
        at = chance.randrange(sums.offset)
        flipped = content[:at] + bytes([content[at] ^ 255]) + content[at + 1:]
        bad.write_bytes(flipped)
        done = other.tekup("restore", "--check", bad)
        # Between the entries there are bytes that mean nothing.
        assert done.returncode == 1 or not content[at], (at, done.stdout)
    for change, said in ((lambda m: m.update(format=2), "newer"), (lambda m: m.update(migration=9999), "newer"),
                         (lambda m: m.update(pgDump=99), "postgresql-client-99"),
                         (lambda m: m.update(postgresql=990001), "PostgreSQL 99"),
                         (lambda m: m.update(tables=[{"schema": 1}]), "is not what tekup writes")):
        _, err = run(other, "restore", "--force", rewrite(backup, bad, change), code=1)
        assert said in err, err
    # Rows that are not all there are noticed before anything is committed.
    rewrite(backup, bad, lambda m: m["tables"][0].update(rows=12345))
    _, err = run(other, "restore", "--force", bad, code=1)
    assert "12345" in err, err
    assert dump(other) == before
    verify(other)


# ---- By a pipe ----


def piped(daemon, *arguments, source, limit=None):
    """`tekup restore -` with what the program says, or the bytes of a file, at its standard input."""
    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with subprocess.Popen(source, env=daemon.environment, stdout=subprocess.PIPE) as process:
        done = subprocess.run([TEKUP, "restore", "-", *arguments], env=daemon.environment, stdin=process.stdout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=set_limit if limit else None)
        process.stdout.close()
    return done


def test_from_a_pipe(filled, backup, make_daemon, tmp_path):
    other = make_daemon().start()
    before = dump(other)
    content = backup.read_bytes()
    (tmp_path / "half.tar").write_bytes(content[:len(content) // 2])

    done = piped(other, "--check", source=["cat", backup])
    assert done.returncode == 0 and done.stdout.startswith("the standard input of "), done.stderr
    for arguments in ([], ["--check"]):
        done = piped(other, *arguments, source=["cat", tmp_path / "half.tar"])
        assert done.returncode == 1 and "the standard input is not complete" in done.stderr, done.stderr
        done = piped(other, *arguments, source=["echo", "Dear diary"])
        assert done.returncode == 1 and "the standard input is no backup of tekupdb" in done.stderr, done.stderr
        done = piped(other, *arguments, source=["true"])
        assert done.returncode == 1 and "is no backup of tekupdb" in done.stderr, done.stderr
    # Without room for it nothing is changed, and nothing of it is left.
    done = piped(other, source=["cat", backup], limit=len(content) // 2)
    assert done.returncode == 1 and f"cannot keep the standard input in {other.data}" in done.stderr, done.stderr
    assert dump(other) == before

    there = set(os.listdir(other.data))
    done = piped(other, source=[TEKUP, "backup", "-", "--quiet"])  # its own, which has no rows yet
    assert done.returncode == 0, done.stderr
    done = piped(other, "--force", "--json", source=["cat", backup])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["restored"] is True and json.loads(done.stdout)["file"] == "-"
    same(filled, other)
    verify(other)
    assert set(os.listdir(other.data)) - there == set()


def test_a_pipe_where_the_disk_is_full(backup, make_daemon, tmp_path):
    other = make_daemon().start()
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        done = subprocess.run([TEKUP, "restore", "-"], input=backup.read_bytes(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=other.environment | {"TEKUP_DATA": str(small)})
        assert done.returncode == 1 and b"the disk is full" in done.stderr, done.stderr
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_pipe_elsewhere(backup, make_daemon, tmp_path):
    """Where this machine has no DATA, it is kept in TMPDIR."""
    other = make_daemon().start()
    away = other.environment | {"TEKUP_DATA": str(tmp_path / "none"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([TEKUP, "restore", "-"], input=backup.read_bytes(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=away)
    assert done.returncode == 0, done.stderr
    verify(other)


# ---- Ends in the middle ----


@pytest.fixture(scope="module")
def heavy():
    """A daemon whose backup takes a while."""
    daemon = Daemon()
    try:
        daemon.start()
        daemon.client.put_document("me", "one.md", "One document among much else.")
        superuser(daemon, FILL)
        superuser(daemon, 'INSERT INTO billy."BillyCache" (id, "organizationId", "cacheKey", data, "expiresAt")'
                          " SELECT 'h' || g, 'o1', 'heavy' || g, to_jsonb((SELECT string_agg(md5(g || '/' || i), '')"
                          " FROM generate_series(1, 250) i)), '2026-01-01' FROM generate_series(1, 8000) g")
        yield daemon
    finally:
        daemon.clean_up()


def programs(daemon):
    """Of PostgreSQL's that are at work on this daemon's database."""
    found = subprocess.run(["pgrep", "-f", f"pg_(dump|restore).*({daemon.run}|/proc/self/fd/3)"], stdout=subprocess.PIPE,
                           text=True).stdout
    return found.split()


def test_a_backup_that_is_killed(heavy, tmp_path):
    """What was there stays, or the new one has taken its place whole: nothing between the two."""
    path = tmp_path / "b.tar"
    began = time.monotonic()
    run(heavy, "backup", tmp_path / "whole.tar")
    took = time.monotonic() - began
    (tmp_path / "whole.tar").unlink()
    stayed = 0
    for i in range(6):
        path.write_text("the one of yesterday")
        process = subprocess.Popen([TEKUP, "backup", "--quiet", path], env=heavy.environment)
        time.sleep(took * (i + 0.5) / 7)
        process.kill() if i % 2 else process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
        assert sorted(os.listdir(tmp_path)) == ["b.tar"], os.listdir(tmp_path)
        if path.read_bytes() == b"the one of yesterday":
            assert ended != 0
            stayed += 1
        else:
            run(heavy, "restore", "--check", path)
    assert stayed > 0
    wait_for(lambda: not programs(heavy), "pg_dump to end")
    run(heavy, "backup", path)
    run(heavy, "restore", "--check", path)
    verify(heavy)


def test_a_backup_on_a_full_disk(heavy, tmp_path):
    path = tmp_path / "b.tar"
    path.write_text("the one of yesterday")
    limit = 5 * 1024 * 1024
    done = subprocess.run([TEKUP, "backup", path], env=heavy.environment, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1 and "larger than a file may be" in done.stderr, done.stderr
    assert path.read_text() == "the one of yesterday" and os.listdir(tmp_path) == ["b.tar"]
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([TEKUP, "backup", "-"], env=heavy.environment, stdout=full, stderr=subprocess.PIPE,
                                  text=True)
        assert done.returncode == 1 and "the disk is full" in done.stderr, done.stderr
    wait_for(lambda: not programs(heavy), "pg_dump to end")


@pytest.mark.plain
def test_memory_does_not_grow_with_the_database(heavy, tmp_path):
    if sanitizer():
        pytest.skip("a sanitizer's memory is its own")
    path = tmp_path / "b.tar"
    for arguments in (["backup", "--compress", "0", path], ["restore", "--check", path]):
        process = subprocess.Popen([TEKUP, *arguments], env=heavy.environment, stdout=subprocess.DEVNULL)
        most = 0
        while process.poll() is None:
            try:
                most = max(most, process_figure(process.pid, "VmHWM"))
            except (FileNotFoundError, KeyError, ProcessLookupError):
                pass
            time.sleep(0.002)
        assert process.returncode == 0 and 1024 < most < 48 * 1024, most
    assert path.stat().st_size > 60 * 1000 * 1000


def test_a_restore_that_is_killed(heavy, make_daemon, tmp_path):
    """Nothing of it is there, and the next one goes through."""
    path = tmp_path / "b.tar"
    run(heavy, "backup", path)
    other = make_daemon().start()
    other.client.put_document("me", "mine.md", "Something that was here before.")
    before = dump(other)
    for i in range(6):
        process = subprocess.Popen([TEKUP, "restore", "--force", path], env=other.environment, stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        blocked = time.monotonic() + 0.15 * (i + 1)
        while time.monotonic() < blocked and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        if process.wait(60) == 0:
            break
        wait_for(lambda: not superuser(other, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tekup'"),
                 "the session to end")
        assert dump(other) == before
    other.wait_works()
    verify(other)
    assert other.client.search(query="something that was here before", limit=1)[0]["path"] == "mine.md"
    run(other, "restore", "--force", path)
    same(heavy, other)
    verify(other)


def test_a_daemon_that_is_killed_during_a_restore(heavy, make_daemon, tmp_path):
    """PostgreSQL outlives it, and the next daemon reads what was restored."""
    path = tmp_path / "b.tar"
    run(heavy, "backup", path)
    other = make_daemon().start()
    process = subprocess.Popen([TEKUP, "restore", path], env=other.environment, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    wait_for(lambda: superuser(other, "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted LIMIT 1"),
             "the restore to have begun")
    other.kill()
    other.start()
    assert process.wait(120) in (0, 1)
    same(heavy, other)
    verify(other)


def set_file_limit(daemon, limit):
    """Of the server's processes, as their user."""
    for pid in descendants(daemon.postmaster_pid()):
        subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={limit}:"], check=True, **unprivileged())


def test_a_server_without_room(heavy, make_daemon, tmp_path):
    """A limit on the size of files stands for a disk that is full."""
    path = tmp_path / "b.tar"
    run(heavy, "backup", path)
    other = make_daemon().start()
    other.client.put_document("me", "mine.md", "Something that was here before.")
    before = dump(other)
    limit = 17 * 1024 * 1024  # a segment of the log still fits
    set_file_limit(other, str(limit))
    _, err = run(other, "restore", "--force", path, code=1)
    assert "could not" in err, err
    set_file_limit(other, "unlimited")
    other.wait_works()
    assert dump(other) == before
    verify(other)
    run(other, "restore", "--force", path)
    same(heavy, other)


# ---- A PostgreSQL of one's own ----


def test_with_a_database_url(filled, backup, server, make_daemon, tmp_path):
    environment = {"RESTORE_URL": server.url()}
    other = make_daemon(database_url=server.url(), environment=environment).start()
    # tekup_admin may read everything, but not end the sessions of the superuser that the daemon is.
    run(other, "backup", tmp_path / "empty.tar")
    _, err = run(other, "restore", backup, code=1)
    assert "may not end the sessions of postgres" in err and "--url-env" in err
    run(other, "restore", backup, "--url-env", "RESTORE_URL")
    verify(other)
    assert searches(other) == searches(filled)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute('SELECT (SELECT count(*) FROM billy."BillyCache"), (SELECT n FROM extra.seen),'
                       " has_table_privilege('tekup_test_analyst', 'extra.things', 'SELECT')")
        assert cursor.fetchone() == (2000, 300, True)
        # What is a superuser's alone, tekup_admin cannot save: it says so rather than leaving it out.
        _, err = run(other, "backup", tmp_path / "by-socket.tar", code=1)
        assert "permission denied for schema extra" in err
        cursor.execute("DROP SCHEMA extra CASCADE; DROP TABLE loose")
    connection.close()
    run(other, "backup", tmp_path / "by-socket.tar")
    run(other, "backup", tmp_path / "by-url.tar", "--url-env", "RESTORE_URL")
    tables = []
    for name in ("by-socket.tar", "by-url.tar"):
        with tarfile.open(tmp_path / name) as archive:
            tables.append(json.load(archive.extractfile("tekupdb-backup.json"))["tables"])
    assert tables[0] == tables[1]


def test_an_owner_that_is_no_superuser(make_daemon, server, tmp_path):
    """A role that owns the database and may make roles, as hosted ones are: no extension is lost."""
    connection = server.connect("postgres")
    connection.autocommit = True
    connection.cursor().execute("CREATE ROLE app LOGIN CREATEROLE")
    connection.cursor().execute("CREATE DATABASE hosted OWNER app")
    connection.close()
    url = server.url("hosted").replace("postgres@", "app@")
    daemon = make_daemon(database_url=url, environment={"HOSTED": url}).start()
    with server.connect("hosted") as connection:
        connection.cursor().execute("CREATE EXTENSION dblink SCHEMA tekupdb; GRANT EXECUTE ON FUNCTION"
                                    " tekupdb.dblink(text, text) TO tekup_admin")
    connection.close()
    daemon.client.put_document("me", "mine.md", "Something that is kept, about walruses.")
    run(daemon, "backup", tmp_path / "b.tar", "--url-env", "HOSTED")
    daemon.client.put_document("me", "later.md", "Something that is not kept.")
    run(daemon, "restore", "--force", tmp_path / "b.tar", "--url-env", "HOSTED")
    assert [d["path"] for d in daemon.client.documents()] == ["mine.md"]
    assert daemon.client.search(query="walruses", limit=1)[0]["path"] == "mine.md"
    verify(daemon)
    with server.connect("hosted") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'dblink'")
        assert cursor.fetchone() == (1,)
    connection.close()


@pytest.fixture
def newer_programs(tmp_path):
    """A PATH in which pg_dump and pg_restore are those of the server with pgvector, by that system's own libraries."""
    root = subprocess.run([WITH_PGVECTOR.parent / "pgvector-root"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    loader = next(pathlib.Path(root, "usr", "lib").glob("*-linux-gnu*/ld-linux-*.so.*"))
    place = tmp_path / "programs"
    place.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (place / name).write_text(f'#!/bin/sh\nexec {loader} --library-path {loader.parent}'
                                  f' {root}/usr/lib/postgresql/17/bin/{name} "$@"\n')
    (place / "pg_config").write_text(f"#!/bin/sh\necho {place}\n")
    for path in place.iterdir():
        path.chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


def test_with_pgvector(pgvector_database, newer_programs, make_daemon, tmp_path):
    url = pgvector_database("backup_of_vectors")
    daemon = make_daemon(database_url=url, environment={"VECTORS": url, "PATH": newer_programs}).start()
    daemon.client.put_document("me", "mine.md", "Something that is kept, about walruses.")
    path = tmp_path / "b.tar"
    run(daemon, "backup", path, "--url-env", "VECTORS")
    daemon.client.put_document("me", "later.md", "Something that is not kept.")
    run(daemon, "restore", "--force", path, "--url-env", "VECTORS")
    assert [d["path"] for d in daemon.client.documents()] == ["mine.md"]
    assert daemon.client.search(query="walruses", limit=1)[0]["path"] == "mine.md"
    verify(daemon)
    assert daemon.client.status()["database"]["pgvector"]
    # An older server than it came from, and one that has no pgvector.
    other = make_daemon(environment={"PATH": newer_programs}).start()
    if other.client.status()["database"]["serverVersion"] < "17":
        _, err = run(other, "restore", path, code=1)
        assert "it is of PostgreSQL 17, and this server is PostgreSQL 1" in err
        rewrite(path, tmp_path / "older.tar", lambda m: m.update(postgresql=100000))
        if not other.client.status()["database"]["pgvector"]:
            _, err = run(other, "restore", tmp_path / "older.tar", code=1)
            assert "the backup needs the extension vector" in err
    assert other.client.documents() == []


def test_several_daemons_read_what_was_restored(backup, filled, server, make_daemon):
    environment = {"RESTORE_URL": server.url()}
    daemons = [make_daemon(database_url=server.url(), environment=environment).start() for _ in range(2)]
    run(daemons[0], "restore", backup, "--url-env", "RESTORE_URL")
    for daemon in daemons:
        wait_for(lambda: daemon.client.status()["index"]["documents"] == filled.counts()[0], "it to be read")
        daemon.wait_works()
        assert searches(daemon) == searches(filled)
        verify(daemon)
