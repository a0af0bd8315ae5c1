"""Several daemons on one database: one of them leads and starts the scheduled syncs, a repository is
synced by one at a time, and whatever happens to one, another finishes what it left."""

import os
import signal
import time

import pytest

from corpus import write_tree
from daemon import wait_for

# It is to take 30 s; the rest is for a machine that has no time for it.
TAKEN_OVER_S = 90
FILES = 120
CONFIG = "[sync]\nthreads = 1\n"


@pytest.fixture
def pair(make_daemon, server):
    """Two daemons that were started at the same moment on an empty database."""
    daemons = [make_daemon(database_url=server.url(), config=CONFIG) for _ in range(2)]
    for daemon in daemons:
        daemon.spawn()
    for daemon in daemons:
        daemon.wait_ready()
    return daemons


@pytest.fixture
def trees(tmp_path):
    return {name: (tmp_path / name, write_tree(tmp_path / name, files=FILES, sections=1, seed=name))
            for name in ("one", "two", "three")}


def leads(daemon):
    return daemon.client.status()["leader"]


def leader_of(daemons):
    """The daemon that leads, and the others. They are not asked at the same moment, so that both may say so
    while one takes over from the other."""
    def only():
        found = [daemon for daemon in daemons if leads(daemon)]
        return found if len(found) == 1 else None

    found = wait_for(only, "one of them to lead")[0]
    return found, [daemon for daemon in daemons if daemon is not found]


def statuses(daemon):
    return dict(daemon.sql('SELECT repository, status FROM vault."VaultSyncStatus"'))


def schedule(daemon, trees):
    """Registers the trees with a long interval, and says that it has passed for all of them."""
    for name, (root, _) in trees.items():
        daemon.add_source(name, root, interval=86400)
    daemon.sql('UPDATE vault."VaultSyncStatus" SET "lastSyncAt" = "lastSyncAt" - interval \'2 days\'')


def hold(daemon, trees):
    """Lets a sync of each tree come to the middle and no further: somebody else is about to write a
    few of its documents. Returns their connection, whose end lets it go on."""
    connection = daemon.connect()
    for name, (_, texts) in trees.items():
        for path in sorted(texts)[40:44]:
            connection.cursor().execute(
                'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                " VALUES (%s, 'local', %s, %s, 'x', now())", (name + path, name, path))
    return connection


def wait_held(daemon):
    daemon.wait_blocked(4)
    assert sorted(statuses(daemon).values()) == ["in_progress", "pending", "pending"]
    assert 30 < daemon.sql('SELECT count(*) FROM vault."VaultDocument"')[0][0] < FILES


def expect_finished(daemon, trees, since):
    """The schedule goes on in time and comes to its end; nothing is missing, nothing is there twice."""
    def begun():
        return leads(daemon) and any(daemon.client.status()["syncs"].values())

    wait_for(lambda: begun() or set(statuses(daemon).values()) == {"success"}, "the schedule to go on",
             timeout=TAKEN_OVER_S - (time.monotonic() - since))
    wait_for(lambda: set(statuses(daemon).values()) == {"success"}, "the schedule to be finished")
    for name, (_, texts) in trees.items():
        rows = daemon.sql('SELECT path, content FROM vault."VaultDocument" WHERE repository = %s', name)
        assert len(rows) == len(texts) and dict(rows) == texts
    orphans = daemon.sql('SELECT count(*) FROM tekupdb."Chunk" c LEFT JOIN vault."VaultEmbedding" e'
                         ' ON e.id = c."embeddingId" AND e."documentId" = c."documentId" WHERE e.id IS NULL')
    assert orphans == [(0,)]
    double = daemon.sql('SELECT "documentId", ordinal FROM tekupdb."Chunk" GROUP BY 1, 2 HAVING count(*) > 1')
    assert double == []
    counts = {item["repository"]: item["documentCount"] for item in daemon.client.get("/v1/sync").json["items"]}
    assert counts == {name: FILES for name in trees}


def test_started_at_once_on_an_empty_database(pair):
    leader, (other,) = leader_of(pair)
    applied = [line for daemon in pair for line in daemon.log().splitlines() if "migrate.applied" in line]
    names = [line.split("migration=")[1] for line in applied]
    assert len(names) == len(set(names)) == leader.client.status()["database"]["schemaVersion"]
    assert b"this daemon leads" in leader.tekup("status").stdout
    assert b"another daemon on this database leads" in other.tekup("status").stdout


def test_the_other_leads_when_the_leader_stops(pair):
    leader, (other,) = leader_of(pair)
    leader.stop()
    wait_for(lambda: leads(other), "the other to lead", timeout=TAKEN_OVER_S)
    leader.start()
    assert leader_of(pair)[0] is other


def test_a_repository_is_synced_by_one_at_a_time(pair, trees):
    leader, (other,) = leader_of(pair)
    root, texts = trees["one"]
    other.add_source("one", root)
    lock = leader.lock()
    other.request_sync("one")
    leader.wait_blocked()
    for daemon in pair:
        answer = daemon.client.post("/v1/sync", {"source": "local", "repository": "one"})
        assert answer.status == 409 and answer.error["field"] == "repository", answer
        assert daemon.client.post("/v1/sync", {}).json["queued"] == []
        answer = daemon.client.delete("/v1/sources", source="local", repository="one", documents="true")
        assert answer.status == 409, answer
    assert leader.sync_item("one")["status"] == "in_progress"
    assert leader.client.status()["syncs"] == {"queued": 0, "running": 0}, "it runs elsewhere"
    told = wait_for(lambda: leader.sync_item("one")["progress"], "what runs elsewhere to be told of")
    assert told["running"] and told["total"] == len(texts)
    lock.close()
    assert other.wait_synced("one")["status"] == "success"
    assert leader.sync("one")["last"]["unchanged"] == len(texts)
    assert leader.client.delete("/v1/sources", source="local", repository="one").status == 200


def test_scheduled_syncs_run_once(pair, trees):
    leader, (other,) = leader_of(pair)
    schedule(other, trees)
    expect_finished(leader, trees, time.monotonic())
    assert "sync.start" not in other.log()
    assert leader.log().count("sync.start") == len(trees)


@pytest.mark.parametrize("how", ["killed", "stopped", "hung", "cut off"])
def test_what_the_leader_leaves_is_finished(pair, trees, how):
    leader, (other,) = leader_of(pair)
    lock = hold(other, trees)
    schedule(other, trees)
    wait_held(other)
    since = time.monotonic()
    if how == "killed":
        leader.kill()
        lock.close()
    elif how == "stopped":
        leader.process.send_signal(signal.SIGTERM)
        lock.close()
        assert leader.wait_exit() == 0
    elif how == "hung":
        leader.process.send_signal(signal.SIGSTOP)
        lock.close()
    else:
        other.sql("SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                  " WHERE l.locktype = 'advisory' AND a.application_name = 'tekupd claims'")
        lock.close()
        leader, (other,) = leader_of(pair)
        expect_finished(leader, trees, since)
        assert all(daemon.process.poll() is None for daemon in pair)
        return
    expect_finished(other, trees, since)
    assert leads(other)
    if how == "hung":
        leader.process.send_signal(signal.SIGCONT)
        leader.wait_works()
        wait_for(lambda: not leads(leader), "the old leader to know that it leads no more")
        assert leader_of(pair)[0] is other
        wait_for(lambda: not any(item["progress"] for item in leader.client.get("/v1/sync").json["items"]),
                 "the old leader to give up its syncs")
        time.sleep(1)
        assert set(statuses(other).values()) == {"success"}
        expect_finished(other, trees, time.monotonic())


def test_a_sync_on_demand_that_died_is_told_of(pair, trees):
    """It is not in the schedule, so nobody takes it up; its status says what became of it."""
    leader, (other,) = leader_of(pair)
    root, _ = trees["one"]
    leader.add_source("one", root)
    lock = leader.lock()
    other.request_sync("one")
    leader.wait_blocked()
    os.kill(other.pid, signal.SIGKILL)
    other.wait_exit()
    lock.close()
    wait_for(lambda: leader.sync_item("one")["status"] == "error", "the status", timeout=TAKEN_OVER_S)
    assert "ended while this sync was running" in leader.sync_item("one")["errorMessage"]
    assert leader.sync("one")["status"] == "success"
