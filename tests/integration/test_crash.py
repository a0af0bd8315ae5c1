"""A sync that is killed and run again ends as one that was never killed.

The corpus gives 20,000 chunks and more, and fewer under a sanitizer, whose builds are several times
slower.
"""

import json
import os
import random
import signal
import time

import pytest

from client import UnixConnection
from corpus import document, write_tree
from daemon import PATIENCE, Daemon, sanitizer, wait_for

REPOSITORY = "corpus"
FILES, SECTIONS = (150, 8) if sanitizer() else (2900, 8)
CHUNKS_AT_LEAST = 1000 if sanitizer() else 20000

# How good the graph is makes no difference here, since every search looks at the whole of it.
CONFIG = "[index]\nef_construction = 40\nmax_neighbours = 8\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    return root, write_tree(root, FILES, SECTIONS, section_size=800)


def queries(texts):
    """Passages of documents, words out of several, and something that is nowhere."""
    rng = random.Random(99)
    names = rng.sample(sorted(texts), 12)
    found = [texts[name][1500:2300] for name in names]
    found += [" ".join(rng.choice(texts[rng.choice(names)].split()) for _ in range(6)) for _ in range(8)]
    return found + [document("nowhere", 1, 500)]


def rows(daemon):
    """The vault without what differs between two runs: ids and times."""
    documents = daemon.sql(
        'SELECT source, repository, path, md5(content), sha, metadata::text'
        ' FROM vault."VaultDocument" ORDER BY source, repository, path COLLATE "C"')
    chunks = daemon.sql(
        'SELECT d.path, c.ordinal, c."startByte", c."endByte", encode(c."contentHash", \'hex\'), c.model,'
        ' hash_array_extended(e.embedding::real[], 0)'
        ' FROM tekupdb."Chunk" c JOIN vault."VaultEmbedding" e ON e.id = c."embeddingId"'
        ' JOIN vault."VaultDocument" d ON d.id = e."documentId"'
        ' ORDER BY d.path COLLATE "C", c.ordinal')
    orphans = daemon.sql(
        'SELECT count(*) FROM vault."VaultEmbedding" e WHERE NOT EXISTS'
        ' (SELECT FROM tekupdb."Chunk" c WHERE c."embeddingId" = e.id)')[0][0]
    status = daemon.sql('SELECT source, repository, status, "errorMessage", "documentCount"'
                        ' FROM vault."VaultSyncStatus"')
    return documents, chunks, orphans, status


def answers(daemon, texts):
    """ef covers the whole index, so that the answer does not depend on the graph's shape."""
    found = []
    for query in queries(texts):
        hits = daemon.client.search(query=query, limit=10, ef=65536, include=["chunk"])
        found.append([(hit["path"], hit["chunk"]["start"], hit["chunk"]["end"], round(hit["similarity"], 3))
                      for hit in hits])
    return found


@pytest.fixture(scope="module")
def uninterrupted(corpus):
    """What an uninterrupted run leaves, and how long it took."""
    root, texts = corpus
    daemon = Daemon(config=CONFIG)
    try:
        daemon.start()
        daemon.add_source(REPOSITORY, root)
        began = time.monotonic()
        item = daemon.sync(REPOSITORY)
        took = time.monotonic() - began
        assert item["status"] == "success", item
        assert item["last"]["written"] == FILES
        counts = daemon.counts()
        assert counts[0] == FILES and counts[1] >= CHUNKS_AT_LEAST, counts
        yield counts, rows(daemon), answers(daemon, texts), took
    finally:
        daemon.clean_up()


def expect_equal(daemon, corpus, uninterrupted):
    counts, expected_rows, expected_answers, _ = uninterrupted
    assert daemon.counts() == counts
    found = rows(daemon)
    for what, left, right in zip(("documents", "chunks", "orphans", "status"), found, expected_rows):
        assert left == right, what
    assert answers(daemon, corpus[1]) == expected_answers


def chunks_now(daemon):
    return daemon.sync_item(REPOSITORY)["progress"]["chunks"]


def kill_during_sync(daemon, at):
    """kill -9 when about so many chunks are in."""
    wait_for(lambda: chunks_now(daemon) >= at, f"{at} chunks", timeout=600)
    daemon.kill()


def test_killed_in_the_middle_of_a_sync(make_daemon, corpus, uninterrupted):
    root, texts = corpus
    total = uninterrupted[0][2]
    daemon = make_daemon(config=CONFIG).start()
    daemon.add_source(REPOSITORY, root)
    with daemon.hold(REPOSITORY, sorted(texts)[FILES * 4 // 5]):
        daemon.request_sync(REPOSITORY)
        kill_during_sync(daemon, total * 2 // 5)

    daemon.start()
    item = daemon.sync_item(REPOSITORY)
    assert item["status"] == "error" and item["errorMessage"], item
    documents, _, chunks = daemon.counts()
    assert 0 < documents < FILES and 0 < chunks < total

    item = daemon.sync(REPOSITORY)
    assert item["status"] == "success" and item["errorMessage"] is None
    assert item["last"]["unchanged"] == documents
    assert item["last"]["written"] == FILES - documents
    assert item["last"]["embedded"] <= total - chunks, "an embedding was paid for twice"
    expect_equal(daemon, corpus, uninterrupted)

    # What was committed before the end is there after a restart, and a third run touches nothing.
    daemon.restart()
    expect_equal(daemon, corpus, uninterrupted)
    item = daemon.sync(REPOSITORY)
    assert item["last"]["unchanged"] == FILES and item["last"]["written"] == 0


def test_killed_again_and_again_with_its_server(make_daemon, tmp_path):
    """On a smaller corpus: killed at many points, now the daemon, now PostgreSQL, now both, until a
    sync gets through."""
    texts = write_tree(tmp_path, files=60 if sanitizer() else 240, sections=4, seed=7)
    daemon = make_daemon(config=CONFIG).start()
    daemon.add_source(REPOSITORY, tmp_path)
    rng = random.Random(13)
    killed = 0
    for _ in range(3 if sanitizer() else 6):
        before = daemon.counts()[0]
        daemon.request_sync(REPOSITORY)
        wanted = rng.randint(1, 40)

        def under_way():
            item = daemon.sync_item(REPOSITORY)
            return item["progress"] is None or item["progress"]["written"] >= wanted

        wait_for(under_way, "the sync to be under way")
        how = killed % 3
        postmaster = daemon.postmaster_pid()
        if how != 0:
            os.kill(postmaster, signal.SIGKILL)
        if how == 1:
            wait_for(lambda: daemon.postmaster_pid() not in (None, postmaster), "a new server")
        else:
            daemon.kill()
            daemon.start()
        daemon.wait_works()
        killed += 1
        item = wait_for(
            lambda: (i := daemon.sync_item(REPOSITORY))["progress"] is None and i["status"] != "pending" and i,
            "the sync's end", timeout=4 * PATIENCE)
        assert item["status"] in ("success", "error")
        assert daemon.settled_counts()[0] >= before
    item = daemon.sync(REPOSITORY)
    assert item["status"] == "success", item
    assert item["documentCount"] == len(texts)
    kept = {path: text for path, text in daemon.sql('SELECT path, content FROM vault."VaultDocument"')}
    assert kept == texts
    assert rows(daemon)[2] == 0
    fresh = make_daemon(config=CONFIG).start()
    fresh.add_source(REPOSITORY, tmp_path)
    assert fresh.sync(REPOSITORY)["status"] == "success"
    assert rows(fresh) == rows(daemon)
    assert answers(fresh, texts) == answers(daemon, texts)


def test_killed_during_puts_and_deletes(make_daemon):
    """What was answered is there, what was not answered is there whole or not at all."""
    daemon = make_daemon(config=CONFIG).start()
    client = daemon.client
    texts = {f"p{number}": document(f"put {number}", 3) for number in range(30)}
    acknowledged, deleted = set(), set()
    for number, (path, text) in enumerate(texts.items()):
        put = client.put_document("puts", path, text)
        acknowledged.add(path)
        if number % 5 == 0:
            assert client.delete(f"/v1/documents/{put['id']}").status == 200
            deleted.add(path)
    lock = daemon.lock()
    pending = UnixConnection(daemon.socket, 60)
    pending.request("PUT", "/v1/documents", json.dumps(
        {"source": "test", "repository": "puts", "path": "pending", "content": texts["p1"]}),
        {"Content-Type": "application/json"})
    daemon.wait_blocked()
    daemon.kill()
    pending.close()
    lock.close()
    daemon.start()
    found = {d["path"] for d in daemon.client.documents(repository="puts")}
    assert acknowledged - deleted <= found
    assert found <= (acknowledged - deleted) | {"pending"}
    for path in acknowledged - deleted:
        best = daemon.client.search(query=texts[path][:1200], repository="puts", limit=1, include=["content"])[0]
        assert best["path"] == path and best["content"] == texts[path]
    for path in deleted:
        assert daemon.client.search(query=texts[path], repository="puts", threshold=0.95) == []
    daemon.counts()
    daemon.client.put_document("puts", "pending", texts["p1"])
