"""Searches, puts, deletes and syncs at once, from many threads: what one client was told stays true
whatever the others do. Run under the thread sanitizer too."""

import random
import shutil
import threading
import time

import pytest
from psycopg2 import errors

from client import Client
from corpus import document, write_tree
from daemon import sanitizer, wait_for
from vectors import DIMENSIONS, random_vector

ROUNDS = 12 if sanitizer() else 40
STABLE = 40


class Workers:
    """Threads that run until the busy ones are done; the first failure of any is raised."""

    def __init__(self):
        self.threads, self.failures = [], []
        self.finished = threading.Event()

    def add(self, function, *arguments, until_finished=False):
        def run():
            try:
                if until_finished:
                    while not self.finished.is_set() and not self.failures:
                        function(*arguments)
                else:
                    function(*arguments)
            except BaseException as failure:
                self.failures.append(failure)

        self.threads.append((threading.Thread(target=run), until_finished))

    def run(self):
        for thread, _ in self.threads:
            thread.start()
        for thread, background in self.threads:
            if not background:
                thread.join()
        self.finished.set()
        for thread, _ in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


@pytest.fixture(scope="module")
def stable(client):
    """Documents that nobody touches; they must be found at all times."""
    texts = {}
    for number in range(STABLE):
        path = f"{number:03}"
        texts[path] = document(f"stable {number}", 1, 300)
        client.put_document("stable", path, texts[path], metadata={"group": number % 4})
    return texts


def check_results(results, limit):
    assert len(results) <= limit
    similarities = [hit["similarity"] for hit in results]
    assert similarities == sorted(similarities, reverse=True)
    assert all(-1.001 <= similarity <= 1.001 for similarity in similarities)
    ids = [hit["id"] for hit in results]
    assert len(set(ids)) == len(ids), "a document twice in one answer"


def search_stable(daemon, stable, rng):
    with Client(daemon.socket) as client:
        for _ in range(5):
            path = rng.choice(sorted(stable))
            results = client.search(query=stable[path], limit=5, include=["content"])
            check_results(results, 5)
            assert results[0]["path"] == path and results[0]["similarity"] > 0.99
            assert results[0]["content"] == stable[path]
            group = rng.randrange(4)
            results = client.search(query=stable[path], repository="stable", metadata={"group": group}, limit=1000)
            check_results(results, 1000)
            assert {int(hit["path"]) for hit in results} == {n for n in range(STABLE) if n % 4 == group}
            check_results(client.search(embedding=random_vector(rng.random()), limit=1000, include=[]), 1000)


def write_own(daemon, name, rounds):
    """One writer's documents: found as soon as put answers, gone as soon as delete answers."""
    with Client(daemon.socket) as client:
        for number in range(rounds):
            text = document(f"{name} {number}", 2, 300)
            put = client.put_document(name, "own", text)
            best = client.search(query=text, repository=name, limit=1, include=["chunk"])[0]
            assert best["id"] == put["id"] and best["similarity"] > 0.6
            assert best["chunk"]["text"] in text
            if number % 3 == 2:
                assert client.delete(f"/v1/documents/{put['id']}").status == 200
                assert client.search(query=text, repository=name) == []


def write_shared(daemon, rounds, seed):
    """Several writers on the same few documents: any order, but each whole."""
    rng = random.Random(seed)
    with Client(daemon.socket) as client:
        for number in range(rounds):
            path = f"shared{rng.randrange(3)}"
            if rng.random() < 0.3:
                answer = client.delete("/v1/documents/by-path", source="test", repository="shared", path=path)
                assert answer.status in (200, 404), answer
            else:
                client.put_document("shared", path, document(f"shared {seed} {number}", 2, 200))
            check_results(client.search(query="x", repository="shared"), 10)


def list_all(daemon, stable):
    with Client(daemon.socket) as client:
        for kind in (client.documents(repository="stable"), client.documents()):
            paths = [d["path"] for d in kind if d["repository"] == "stable"]
            assert paths == sorted(stable)
        status = client.status()
        assert status["database"]["pool"]["open"] <= 10
        assert client.get("/v1/sync").status == 200
        assert client.get("/readyz").status == 200


def batches(daemon, stable, rng):
    with Client(daemon.socket) as client:
        paths = rng.sample(sorted(stable), 8)
        answer = client.post("/v1/search/batch", {"searches": [
            {"query": stable[path], "limit": 2, "repository": "stable"} for path in paths]})
        assert answer.status == 200
        assert [response["results"][0]["path"] for response in answer.json["responses"]] == paths


def test_everything_at_once(daemon, client, stable, tmp_path):
    trees = []
    for number in range(3):
        root = tmp_path / f"tree{number}"
        write_tree(root, files=15, sections=1, seed=number)
        daemon.add_source(f"tree{number}", root)
        trees.append(root)

    def sync_changing(number):
        root = trees[number]
        for turn in range(max(3, ROUNDS // 5)):
            write_tree(root, files=8 + turn % 3, sections=1 + turn % 2, seed=100 * number + turn)
            item = daemon.sync(f"tree{number}")
            assert item["status"] == "success", item
            assert item["last"]["failed"] == 0

    workers = Workers()
    for number in range(4):
        workers.add(search_stable, daemon, stable, random.Random(number), until_finished=True)
    for number in range(3):
        workers.add(write_own, daemon, f"own{number}", ROUNDS)
    for number in range(3):
        workers.add(write_shared, daemon, ROUNDS, number)
    for number in range(3):
        workers.add(sync_changing, number)
    workers.add(list_all, daemon, stable, until_finished=True)
    workers.add(batches, daemon, stable, random.Random(9), until_finished=True)
    workers.run()

    daemon.counts()
    for number, root in enumerate(trees):
        item = daemon.sync(f"tree{number}")
        files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        assert [d["path"] for d in client.documents(repository=f"tree{number}")] == files
        assert item["documentCount"] == len(files)
    everything = {hit["id"] for hit in client.search(query="x", limit=1000, include=[])}
    assert everything == {d["id"] for d in client.documents()}
    documents, embeddings, _ = daemon.counts()
    daemon.restart()
    assert daemon.counts()[:2] == (documents, embeddings)


def test_many_writers_of_one_document(daemon, client):
    """One of them is last; its text, its chunks and its vectors are the ones that stay."""
    texts = [document(f"contended {number}", 4, 600) for number in range(6)]

    def put(number):
        with Client(daemon.socket) as own:
            for _ in range(ROUNDS // 2):
                own.put_document("contended", "x", texts[number])

    workers = Workers()
    for number in range(6):
        workers.add(put, number)
    workers.run()
    listed = client.documents(repository="contended")
    assert len(listed) == 1
    final = client.get(f"/v1/documents/{listed[0]['id']}").json["content"]
    assert final in texts
    for text in texts:
        hits = client.search(query=text[:600], repository="contended", include=["chunk"])
        assert len(hits) == 1 and hits[0]["chunk"]["text"] in final
        assert (hits[0]["similarity"] > 0.5) == (text == final)
    daemon.counts()


def test_one_document_is_created_once(daemon, client):
    created = []
    barrier = threading.Barrier(8)

    def put(number):
        barrier.wait()
        created.append(client.put_document("once", "x", f"the text of {number}")["created"])

    workers = Workers()
    for number in range(8):
        workers.add(put, number)
    workers.run()
    assert sorted(created) == [False] * 7 + [True]
    assert len(client.documents(repository="once")) == 1


def test_a_document_is_deleted_once(daemon, client):
    put = client.put_document("deleted once", "x", "text")
    statuses = []
    barrier = threading.Barrier(8)

    def delete():
        barrier.wait()
        statuses.append(client.delete(f"/v1/documents/{put['id']}").status)

    workers = Workers()
    for _ in range(8):
        workers.add(delete)
    workers.run()
    assert sorted(statuses) == [200] + [404] * 7


def test_more_calls_than_pooled_connections(daemon, client, stable):
    """Forty calls wait for the database at once: all are served, memory-only searches meanwhile too."""
    lock = daemon.lock(mode="ACCESS EXCLUSIVE")
    statuses = []

    def put(number):
        answer = client.put("/v1/documents", {"source": "test", "repository": "crowd", "path": f"{number}",
                                              "content": f"text {number}"})
        statuses.append(answer.status)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    daemon.wait_blocked()
    time.sleep(0.3)
    quick = Client(daemon.socket, timeout=60)
    assert quick.get("/healthz").status == 200
    results = quick.search(query=stable["007"], mode="vector", limit=1, include=[])
    assert results[0]["path"] == "007"
    lock.close()
    for thread in threads:
        thread.join()
    assert len(statuses) == 40 and set(statuses) <= {201, 503}
    assert len(client.documents(repository="crowd")) >= statuses.count(201)
    daemon.counts()


def test_a_source_is_removed_while_others_sync(daemon, client, tmp_path):
    for number in range(4):
        write_tree(tmp_path / f"{number}", files=10, sections=1, seed=number)
        daemon.add_source(f"removed{number}", tmp_path / f"{number}")

    def cycle(number):
        for _ in range(3):
            client.post("/v1/sync", {"source": "local", "repository": f"removed{number}"})
            answer = client.delete("/v1/sources", source="local", repository=f"removed{number}", documents="true")
            assert answer.status in (200, 404, 409), answer
            daemon.add_source(f"removed{number}", tmp_path / f"{number}")

    workers = Workers()
    for number in range(4):
        workers.add(cycle, number)
    workers.run()
    wait_for(lambda: client.status()["syncs"] == {"queued": 0, "running": 0}, "the syncs to end")
    for number in range(4):
        assert daemon.sync(f"removed{number}")["documentCount"] == 10
    daemon.counts()
    for number in range(4):
        shutil.rmtree(tmp_path / f"{number}")


def test_large_searches_side_by_side(daemon, client, stable):
    """Bodies of 20 KB and answers of hundreds of documents, from eight connections at once."""
    def search(seed):
        with Client(daemon.socket) as own:
            for turn in range(ROUNDS):
                vector = random_vector(f"{seed}/{turn}")
                assert len(vector) == DIMENSIONS
                check_results(own.search(embedding=vector, limit=500, include=["chunk", "content"]), 500)

    workers = Workers()
    for seed in range(8):
        workers.add(search, seed)
    workers.run()


# ---- Filters ----


MOVED = 48
SIDES = ("left", "right")


def move_about(daemon, seed, rounds):
    """Another program moves documents from one repository to the other and back, deletes some and makes
    them anew."""
    connection = daemon.connect()
    connection.autocommit = True
    rng = random.Random(seed)
    with Client(daemon.socket) as own, connection.cursor() as cursor:
        for _ in range(rounds):
            some = rng.sample(range(MOVED), 8)
            try:
                cursor.execute('UPDATE vault."VaultDocument" SET repository = CASE repository WHEN %s THEN %s ELSE %s END'
                               " WHERE source = 'moving' AND path = ANY(%s)",
                               (*SIDES, SIDES[0], [f"{number:02}" for number in some]))
            except (errors.UniqueViolation, errors.DeadlockDetected):
                pass  # the other one is at the same
            path = f"{rng.randrange(MOVED):02}"
            cursor.execute('DELETE FROM vault."VaultDocument" WHERE source = %s AND path = %s', ("moving", path))
            own.put_document(rng.choice(SIDES), path, document(f"moving {path}", 1, 300), source="moving")


def search_sides(daemon, rng):
    with Client(daemon.socket) as own:
        for mode, group in (("vector", "document"), ("vector", "chunk"), ("hybrid", "document")):
            side, path = rng.choice(SIDES), f"{rng.randrange(MOVED):02}"
            query = document(f"moving {path}", 1, 300) if mode == "vector" else f"moving {path}"
            results = own.search(query=query, mode=mode, group=group, limit=MOVED, repository=side)
            assert {hit["repository"] for hit in results} <= {side}
            if group == "document":
                assert len({hit["id"] for hit in results}) == len(results)
            results = own.search(query=query, mode=mode, group=group, limit=MOVED, source="moving", pathPrefix="1")
            assert all(hit["source"] == "moving" and hit["path"].startswith("1") for hit in results)


def test_filters_while_documents_move(daemon, client, stable):
    for number in range(MOVED):
        client.put_document(SIDES[number % 2], f"{number:02}", document(f"moving {number:02}", 1, 300), source="moving")
    rng = random.Random(3)
    workers = Workers()
    for seed in range(2):
        workers.add(move_about, daemon, seed, ROUNDS)
    for _ in range(3):
        workers.add(search_sides, daemon, rng, until_finished=True)
    workers.run()

    def are_where_the_database_has_them():
        there = daemon.sql('SELECT repository, path FROM vault."VaultDocument" WHERE source = %s', "moving")
        found = {(side, hit["path"]) for side in SIDES
                 for hit in client.search(query="moving", limit=2 * MOVED, repository=side, include=[])}
        both = {(hit["repository"], hit["path"]) for hit in client.search(query="moving", limit=2 * MOVED,
                                                                          source="moving", include=[])}
        return found == both == set(there)

    wait_for(are_where_the_database_has_them, "the index to have followed")
    assert client.search(query="moving", repository="left", source="test") == []
