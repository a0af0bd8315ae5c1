"""A start from a snapshot is a start from where the last run ended; one that cannot be trusted is set
aside, and the index is read from PostgreSQL."""

import os
import re
import resource
import shutil
import signal
import subprocess

import pytest

from corpus import document
from daemon import wait_for

CONFIG = "[snapshot]\nchanges = 1000000\nminutes = 0\n"
TEXTS = {f"{number:02}.md": document(f"snapshot {number}", 2, 500) for number in range(12)}


def fill(daemon, repository="kept", texts=TEXTS):
    for path, text in texts.items():
        daemon.client.put_document(repository, path, text)


def wait_saved(daemon):
    """The first snapshot is written as soon as searches are let in."""
    return wait_for(lambda: (s := daemon.client.status()["snapshot"])["savedAt"] and not s["saving"] and s,
                    "a snapshot")


def answers(daemon):
    return [(hit["path"], round(hit["similarity"], 4))
            for text in TEXTS.values() for hit in daemon.client.search(query=text[:800], limit=5, ef=1000, include=[])]


def started_from(daemon):
    return daemon.client.status()["follower"]["startedFrom"]


def copy(source, target):
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def set_aside(daemon):
    """The reasons that the log gives."""
    return re.findall(r'event=snapshot\.set_aside .*reason="([^\n]*)"', daemon.log())


def test_a_restart_goes_on_from_the_snapshot(make_daemon):
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    before, counts = answers(daemon), daemon.counts()
    for _ in range(2):
        daemon.restart()
        assert started_from(daemon) == "snapshot"
        assert answers(daemon) == before and daemon.counts() == counts
    # Nothing has changed, so that nothing is written again.
    assert daemon.client.status()["snapshot"]["savedAt"] is None
    assert set_aside(daemon) == []


def test_what_happened_since_the_snapshot_is_read_from_the_feed(make_daemon):
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    daemon.restart()
    daemon.client.delete("/v1/documents/by-path", source="test", repository="kept", path="03.md")
    daemon.client.put_document("kept", "04.md", "Something else entirely.")
    daemon.client.put_document("kept", "new.md", document("since", 3, 500))
    daemon.sql('UPDATE vault."VaultDocument" SET path = %s WHERE path = %s', "moved.md", "05.md")
    before, counts = answers(daemon), daemon.counts()
    daemon.kill()
    # While it is away others go on.
    statements = [
        ('UPDATE vault."VaultEmbedding" e SET embedding = o.embedding FROM vault."VaultEmbedding" o,'
         ' vault."VaultDocument" d, vault."VaultDocument" p WHERE e."documentId" = d.id AND d.path = %s'
         ' AND o."documentId" = p.id AND p.path = %s', ("06.md", "07.md")),
        ('DELETE FROM vault."VaultDocument" WHERE path = %s', ("08.md",)),
    ]
    for statement, parameters in statements:
        daemon.sql(statement, *parameters)
    daemon.start()
    assert started_from(daemon) == "snapshot"
    assert daemon.sql('SELECT count(*) FROM vault."VaultDocument"') == [(counts[0] - 1,)]
    assert daemon.client.status()["index"]["vectors"] == counts[1] - 1
    found = {hit["path"] for hit in daemon.client.search(query=TEXTS["08.md"], limit=20, include=[])}
    assert {"moved.md", "new.md"} <= found and not found & {"03.md", "05.md", "08.md"}
    best = daemon.client.search(query=TEXTS["07.md"][:800], limit=2, include=[])
    assert {hit["path"] for hit in best} == {"06.md", "07.md"}, "the embeddings of one are the other's"
    assert before != answers(daemon)


def test_no_snapshot_at_all_is_no_reason_not_to_start(make_daemon):
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    before = answers(daemon)
    daemon.stop()
    shutil.rmtree(daemon.data / "index")
    daemon.start()
    assert started_from(daemon) == "database"
    assert answers(daemon) == before
    wait_saved(daemon)
    daemon.kill()
    daemon.start()
    assert started_from(daemon) == "snapshot" and answers(daemon) == before


@pytest.mark.parametrize("how", ["truncated", "damaged", "empty", "no catalog", "damaged catalog"])
def test_a_damaged_snapshot_is_set_aside(make_daemon, how):
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    before = answers(daemon)
    daemon.stop()
    vectors = daemon.data / "index" / "vectors"
    catalog = next((daemon.data / "index").glob("catalog-*"))
    if how == "truncated":
        os.truncate(vectors, vectors.stat().st_size // 2)
    elif how == "empty":
        os.truncate(vectors, 0)
    elif how == "no catalog":
        catalog.unlink()
    else:
        victim = catalog if "catalog" in how else vectors
        with open(victim, "r+b") as file:
            file.seek(victim.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
    daemon.start()
    assert started_from(daemon) == "database"
    assert answers(daemon) == before
    assert len(set_aside(daemon)) == 1, daemon.log()
    assert (daemon.data / "index" / "vectors.set-aside").exists()
    wait_saved(daemon)
    daemon.restart()
    assert started_from(daemon) == "snapshot" and answers(daemon) == before


def test_a_snapshot_of_another_database_is_set_aside(make_daemon, server):
    server.create_database("other")
    daemon = make_daemon(config=CONFIG, database_url=server.url()).start()
    fill(daemon)
    daemon.stop()
    daemon.environment["DATABASE_URL"] = daemon.database_url = server.url("other")
    daemon.start()
    assert started_from(daemon) == "database"
    assert "another database" in set_aside(daemon)[0]
    assert daemon.counts() == (0, 0, 0)
    daemon.client.put_document("there", "a", "text")
    daemon.restart()
    assert started_from(daemon) == "snapshot" and daemon.counts()[0] == 1


def test_a_snapshot_that_the_feed_does_not_reach_back_to_is_set_aside(make_daemon):
    """A follower that is gone for a day is dropped, and the others trim what it had not read."""
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    daemon.kill()
    daemon.sql('DELETE FROM vault."VaultDocument" WHERE path = %s', "03.md")
    daemon.sql('DELETE FROM tekupdb."Follower"')
    daemon.sql('UPDATE tekupdb."Feed" SET trimmed = pg_current_xact_id()')
    daemon.sql('DELETE FROM tekupdb."Change"')
    daemon.start()
    assert started_from(daemon) == "database"
    assert "feed" in set_aside(daemon)[0]
    assert daemon.counts()[0] == len(TEXTS) - 1
    assert daemon.sql('SELECT count(*) FROM tekupdb."Follower"') == [(1,)]


def test_a_database_that_was_set_back_is_read_anew(make_daemon, server):
    """A backup of the data directory is put in place: the same cluster and timeline, but earlier."""
    daemon = make_daemon(config=CONFIG, database_url=server.url()).start()
    fill(daemon, texts={"a": "text"})
    daemon.stop()
    server.stop()
    backup = server.base / "backup"
    copy(server.data, backup)
    server.start()
    daemon.start()
    fill(daemon)
    daemon.stop()
    server.stop()
    shutil.rmtree(server.data)
    copy(backup, server.data)
    server.start()
    daemon.start()
    assert daemon.counts()[0] == 1
    assert started_from(daemon) == "database" and len(set_aside(daemon)) == 1


def test_settings_that_shape_the_graph_ask_for_a_new_one(make_daemon):
    daemon = make_daemon(config=CONFIG).start()
    fill(daemon)
    daemon.stop()
    daemon.config.write_text(CONFIG + "[index]\nmax_neighbours = 24\n")
    daemon.start()
    assert started_from(daemon) == "database"
    assert "max_neighbours" in set_aside(daemon)[0]
    daemon.restart()
    assert started_from(daemon) == "snapshot"


def test_written_after_so_many_changes(make_daemon):
    daemon = make_daemon(fresh=True, config="[snapshot]\nchanges = 10\nminutes = 0\n").start()
    first = wait_saved(daemon)
    fill(daemon)
    wait_for(lambda: (s := daemon.client.status()["snapshot"])["savedAt"] > first["savedAt"]
             and s["changesSince"] < 10 and not s["saving"], "another snapshot")
    kept = daemon.counts()
    daemon.kill()
    daemon.start()
    assert started_from(daemon) == "snapshot" and daemon.counts() == kept


def test_the_feed_is_trimmed_when_the_snapshot_has_it(make_daemon):
    # A copy of a DATA has the name of the one it was copied from on its list for a day.
    daemon = make_daemon(fresh=True, config="[snapshot]\nchanges = 10\nminutes = 0\n").start()
    fill(daemon)
    fill(daemon, repository="more")
    rows = lambda: daemon.sql('SELECT count(*) FROM tekupdb."Change"')[0][0]
    wait_for(lambda: rows() < 20, "the feed to be trimmed")
    assert len(daemon.sql('SELECT id FROM tekupdb."Follower"')) == 1


def test_a_full_disk_keeps_the_snapshot_before_and_the_daemon_goes_on(make_daemon):
    """A limit on the size of files stands for the disk."""
    daemon = make_daemon(config="[snapshot]\nchanges = 20\nminutes = 0\n").start()
    fill(daemon)
    daemon.restart()
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    fill(daemon, texts={f"{number}": f"text {number}" for number in range(40)}, repository="more")
    failed = wait_for(lambda: daemon.client.status()["snapshot"]["error"], "the snapshot to fail")
    assert "vectors" in failed or "catalog" in failed
    assert "event=snapshot.failed" in daemon.log()
    fill(daemon, repository="on")
    kept = daemon.counts()
    daemon.kill()
    daemon.start()
    assert started_from(daemon) == "snapshot", "the one before"
    assert daemon.counts() == kept
    assert not list((daemon.data / "index").glob("*.tmp"))


def test_killed_at_any_moment_while_it_writes(make_daemon):
    daemon = make_daemon(config="[snapshot]\nchanges = 1\nminutes = 0\n").start()
    for number in range(6):
        fill(daemon, repository=f"r{number}")
        kept = daemon.counts()
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait_exit()
        daemon.start()
        assert daemon.counts() == kept
        assert started_from(daemon) == "snapshot"
    assert set_aside(daemon) == []
