"""`tekup db verify` tells every difference between index and database, and `tekup db rebuild` puts it
right while searches go on. Snapshots on demand."""

import json
import threading

import pytest

from corpus import document
from daemon import wait_for
from vectors import unit

TEXTS = {f"{number:02}.md": document(f"index {number}", 2, 500) for number in range(20)}


@pytest.fixture
def filled(make_daemon):
    daemon = make_daemon(config="[snapshot]\nchanges = 0\nminutes = 0\n").start()
    for path, text in TEXTS.items():
        daemon.client.put_document("kept", path, text)
    return daemon


def verify(daemon, expect):
    done = daemon.tekup("db", "verify", "--json")
    assert done.returncode == expect, (done.stdout, done.stderr)
    return json.loads(done.stdout)["result"]


def behind_the_feed(daemon, *statements):
    """Changes the vault without any trigger, as nobody should."""
    connection = daemon.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute('ALTER TABLE vault."VaultDocument" DISABLE TRIGGER USER;'
                       'ALTER TABLE vault."VaultEmbedding" DISABLE TRIGGER USER')
        for statement, parameters in statements:
            cursor.execute(statement, parameters)
        cursor.execute('ALTER TABLE vault."VaultDocument" ENABLE ALWAYS TRIGGER tekupdb_insert')
        for table in ("VaultDocument", "VaultEmbedding"):
            for trigger in ("insert", "update", "delete", "truncate"):
                cursor.execute(f'ALTER TABLE vault."{table}" ENABLE ALWAYS TRIGGER tekupdb_{trigger}')
    connection.close()


def test_verify_finds_no_difference_where_there_is_none(filled):
    result = verify(filled, 0)
    documents, embeddings, _ = filled.counts()
    assert result == {"equal": True, "documents": documents, "embeddings": embeddings, "differenceCount": 0,
                      "orMore": False, "differences": []}
    said = filled.tekup("db", "verify")
    assert said.returncode == 0 and b"no difference of 20 documents" in said.stdout, said


def test_verify_names_every_difference(filled):
    path_of = dict(filled.sql('SELECT path, id FROM vault."VaultDocument"'))
    embedding_of = dict(filled.sql('SELECT d.path, min(e.id) FROM vault."VaultDocument" d'
                                   ' JOIN vault."VaultEmbedding" e ON e."documentId" = d.id GROUP BY 1'))
    behind_the_feed(
        filled,
        ('UPDATE vault."VaultDocument" SET path = %s WHERE path = %s', ("moved", "01.md")),
        ('DELETE FROM vault."VaultDocument" WHERE path = %s', ("02.md",)),
        ('UPDATE vault."VaultEmbedding" SET embedding = %s::real[] WHERE id = %s', (unit(3), embedding_of["03.md"])),
        ('UPDATE vault."VaultEmbedding" SET "documentId" = %s WHERE id = %s',
         (path_of["05.md"], embedding_of["04.md"])),
        ('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
         " VALUES ('new', 's', 'r', 'p', 'c', now())", ()),
        ('INSERT INTO vault."VaultEmbedding" (id, "documentId", embedding) VALUES (999999, %s, %s::real[])',
         ("new", unit(1))),
    )
    result = verify(filled, 1)
    found = {(d["object"], d.get("embeddingId", d["id"])): d["what"] for d in result["differences"]}
    expected = {
        ("document", path_of["01.md"]): "place", ("document", path_of["02.md"]): "not in the database",
        ("embedding", embedding_of["02.md"]): "not in the database",
        ("embedding", embedding_of["03.md"]): "content", ("embedding", embedding_of["04.md"]): "another document",
        ("document", "new"): "missing", ("embedding", 999999): "missing",
    }
    assert set(found) == set(expected), result
    assert all(word in found[key] for key, word in expected.items()), found
    assert result["differenceCount"] == len(expected) and result["equal"] is False
    said = filled.tekup("db", "verify")
    assert said.returncode == 1 and b"7 differences" in said.stdout and b"999999" in said.stdout
    assert filled.tekup("db", "rebuild").returncode == 0
    verify(filled, 0)


def test_verify_is_not_deceived_by_what_is_being_written(filled):
    over = threading.Event()

    def write(number):
        client = type(filled.client)(filled.socket, timeout=120)
        turn = 0
        while not over.is_set():
            turn += 1
            client.put_document(f"w{number}", f"{turn % 7}", document(f"{number} {turn}", 1, 300))
            if turn % 3 == 0:
                filled.sql('DELETE FROM vault."VaultDocument" WHERE repository = %s AND path = %s',
                           f"w{number}", f"{turn % 5}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            assert verify(filled, 0)["equal"]
    finally:
        over.set()
        for thread in threads:
            thread.join(120)
    verify(filled, 0)


def test_rebuild_while_searches_and_writes_go_on(filled):
    over, wrong = threading.Event(), []

    def search():
        client = type(filled.client)(filled.socket, timeout=120)
        while not over.is_set():
            path, text = "07.md", TEXTS["07.md"]
            hits = client.search(query=text[:800], limit=1, include=[])
            if not hits or hits[0]["path"] != path:
                wrong.append(hits)

    def write():
        client = type(filled.client)(filled.socket, timeout=120)
        turn = 0
        while not over.is_set():
            turn += 1
            client.put_document("during", f"{turn}", f"The turn {turn} of many turns.")
            hits = client.search(query=f"The turn {turn} of many turns.", limit=1, repository="during", include=[])
            if not hits or hits[0]["path"] != f"{turn}":
                wrong.append((turn, hits))

    threads = [threading.Thread(target=search), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            assert filled.tekup("db", "rebuild", "--json").returncode == 0
    finally:
        over.set()
        for thread in threads:
            thread.join(120)
    assert not wrong, wrong[:3]
    verify(filled, 0)
    filled.counts()
    assert len(filled.sql('SELECT id FROM tekupdb."Follower" WHERE id LIKE %s', "%rebuild")) == 0


def test_one_at_a_time(filled):
    lock = filled.lock('vault."VaultDocument"', "ACCESS EXCLUSIVE")
    try:
        assert filled.client.post("/v1/index/verify", {}).status == 202
        second = filled.client.post("/v1/index/rebuild", {})
        assert second.status == 409 and second.error["code"] == "conflict"
        chore = filled.client.get("/v1/index/chore").json
        assert chore["chore"] == "verify" and chore["running"] is True and chore["result"] is None
    finally:
        lock.close()
    wait_for(lambda: not filled.client.get("/v1/index/chore").json["running"], "the verification")
    assert filled.client.get("/v1/index/chore").json["result"]["equal"] is True


def test_stopped_while_it_goes_on(filled):
    lock = filled.lock('vault."VaultDocument"', "ACCESS EXCLUSIVE")
    assert filled.client.post("/v1/index/rebuild", {}).status == 202
    filled.wait_blocked()
    lock.close()
    filled.stop()
    filled.start()
    verify(filled, 0)


def test_a_snapshot_on_demand(filled):
    assert filled.client.status()["snapshot"]["savedAt"] is None
    answer = filled.client.post("/v1/index/snapshot", {})
    assert answer.status == 200 and answer.json["saved"] is True
    assert filled.client.status()["snapshot"]["savedAt"]
    counts = filled.counts()
    filled.kill()
    filled.start()
    assert filled.client.status()["follower"]["startedFrom"] == "snapshot" and filled.counts() == counts
    verify(filled, 0)
