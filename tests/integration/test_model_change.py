"""The embedding model becomes another one: everything is embedded again while the old embeddings
serve, then all at once, and nothing is paid for twice."""

import random
import threading
import time

import pytest

from corpus import document
from daemon import wait_for
from fakes.openai import REFUSED, OpenAI, embed, error

HASH = "hash-1536-v1"
SMALL, LARGE = "text-embedding-3-small", "text-embedding-3-large"


@pytest.fixture
def openai():
    with OpenAI() as fake:
        yield fake


@pytest.fixture
def make(make_daemon, openai):
    """Makes a daemon that may ask the fake."""
    def make(config="", **keywords):
        return make_daemon(config=config, environment={"OPENAI_API_KEY": openai.key}, **keywords)
    return make


def put(daemon, path, content, embedding=None, status=201):
    body = {"source": "test", "repository": "r", "path": path, "content": content}
    if embedding:
        body["embedding"] = embedding
    reply = daemon.client.put("/v1/documents", body)
    assert reply.status == status, reply
    return reply.json


def text_of(number):
    return document(f"model change {number}", 1, 200).strip()


def fill(daemon, count):
    for number in range(count):
        put(daemon, f"{number}.md", text_of(number))


def embedding_status(daemon):
    return daemon.client.status()["embedding"]


def is_settled(daemon, model, vectors=None):
    """It answers by this model, and by nothing else."""
    status = daemon.client.status()
    return (status["embedding"]["model"] == model and status["embedding"]["change"] is None
            and status["follower"]["state"] == "following"
            and daemon.client.post("/v1/search", {"embedding": [1.0] * 1536}).json["model"] == model
            and (vectors is None or status["index"]["vectors"] == vectors))


def hold_after(openai, batches):
    """The embedding server answers so many requests of several texts, and those that come after them when the
    event is set that this gives. So a test finds the change in its middle."""
    go_on, seen = threading.Event(), []

    def is_held(request):
        if len(request.json["input"]) == 1:
            return False
        seen.append(request)
        return len(seen) > batches

    openai.fail(is_held, until=go_on)
    return go_on


def change(daemon, config, model, vectors=None):
    daemon.stop()
    daemon.config.write_text(config)
    daemon.start()
    wait_for(lambda: is_settled(daemon, model, vectors), f"the model {model}")


def search(daemon, query, **more):
    reply = daemon.client.post("/v1/search", {"query": query, "limit": 3, **more})
    assert reply.status == 200, reply
    return reply.json


def expect_found(daemon, numbers, model):
    for number in numbers:
        answer = search(daemon, text_of(number))
        assert answer["model"] == model
        best = answer["results"][0]
        assert best["path"] == f"{number}.md" and best["similarity"] == pytest.approx(1, abs=2e-3)


def expect_embedded_by_fake(daemon, model):
    """The vault has what the fake gives for these texts, to the bit that real has."""
    for content, vector in daemon.sql(
            'SELECT convert_from(substr(convert_to(d.content, \'UTF8\'), c."startByte" + 1,'
            ' c."endByte" - c."startByte"), \'UTF8\'), e.embedding FROM vault."VaultEmbedding" e'
            ' JOIN tekupdb."Chunk" c ON c."embeddingId" = e.id JOIN vault."VaultDocument" d ON d.id = e."documentId"'
            " WHERE c.model = %s", model):
        assert vector == pytest.approx(embed(content, 1536, model), abs=1e-6)


def test_from_hash_to_openai_and_back(make, openai):
    daemon = make().start()
    fill(daemon, 12)
    put(daemon, "again.md", text_of(3))
    ids = daemon.sql('SELECT id, "documentId" FROM vault."VaultEmbedding" ORDER BY id')
    change(daemon, openai.config(), SMALL, 13)
    assert len(openai.inputs) == len(set(openai.inputs)) == 12
    assert daemon.sql('SELECT DISTINCT model FROM tekupdb."Chunk"') == [(SMALL,)]
    assert daemon.sql('SELECT id, "documentId" FROM vault."VaultEmbedding" ORDER BY id') == ids
    assert daemon.sql('SELECT count(*) FROM tekupdb."Staged"') == [(0,)]
    expect_embedded_by_fake(daemon, SMALL)
    expect_found(daemon, (0, 5, 11), SMALL)
    assert daemon.tekup("db", "verify").returncode == 0
    assert "event=model.switched" in daemon.log()
    put(daemon, "new.md", text_of(50))
    expect_found(daemon, (), SMALL)
    assert search(daemon, text_of(50))["results"][0]["path"] == "new.md"
    # And back, without the key: hash needs nobody.
    change(daemon, "", HASH, 14)
    expect_found(daemon, (1, 7), HASH)
    assert daemon.restart().client.status()["follower"]["startedFrom"] == "snapshot"
    expect_found(daemon, (1, 7), HASH)


def test_the_old_one_serves_meanwhile(make, openai):
    daemon = make().start()
    fill(daemon, 30)
    daemon.stop()
    daemon.config.write_text(openai.config("batch = 4\nparallel = 1"))
    go_on = hold_after(openai, 2)
    daemon.start()
    wait_for(lambda: (embedding_status(daemon)["change"] or {}).get("done"), "the change to get somewhere")
    status = embedding_status(daemon)
    assert status["model"] == HASH and status["change"]["to"] == SMALL
    assert status["change"]["total"] >= 30 and status["change"]["error"] is None
    assert b"changing to text-embedding-3-small" in daemon.tekup("status").stdout
    seen = set()
    # What is written meanwhile is found at once, and is there after the switch, too.
    put(daemon, "meanwhile.md", text_of(100))
    daemon.client.delete(f"/v1/documents/{put(daemon, 'gone.md', text_of(101))['id']}")
    put(daemon, "0.md", text_of(102), status=200)
    while not is_settled(daemon, SMALL):
        if seen:
            go_on.set()
        for number in random.Random(len(seen)).sample(range(1, 30), 3):
            answer = search(daemon, text_of(number))
            assert answer["results"][0]["path"] == f"{number}.md", answer
            assert answer["results"][0]["similarity"] == pytest.approx(1, abs=2e-3), "by its own model"
            seen.add(answer["model"])
    assert seen >= {HASH}
    for query, path in ((text_of(100), "meanwhile.md"), (text_of(102), "0.md"), (text_of(7), "7.md")):
        answer = search(daemon, query)
        assert answer["model"] == SMALL and answer["results"][0]["path"] == path
    expect_embedded_by_fake(daemon, SMALL)
    assert daemon.counts()[0] == 31


def test_killed_in_the_middle_it_pays_for_nothing_twice(make, openai):
    daemon = make().start()
    fill(daemon, 120)
    daemon.stop()
    daemon.config.write_text(openai.config("batch = 8\nparallel = 2"))
    openai.fail(delay=0.05)
    chance = random.Random(6)
    for _ in range(5):
        before = len(openai.inputs)
        daemon.spawn()
        wait_for(lambda: len(openai.inputs) >= min(before + 8, 120), "some embeddings")
        time.sleep(chance.random() * 0.15)
        daemon.kill()
    openai.mend()
    daemon.start()
    wait_for(lambda: is_settled(daemon, SMALL, 120), "the change")
    assert set(openai.inputs) == {text_of(number) for number in range(120)}
    twice = len(openai.inputs) - 120
    assert twice <= 5 * 2 * 8, "but for the two requests that were on their way when it was killed"
    expect_embedded_by_fake(daemon, SMALL)
    expect_found(daemon, (0, 60, 119), SMALL)


def test_texts_that_are_refused_do_not_hold_it_up(make, openai):
    daemon = make().start()
    fill(daemon, 5)
    put(daemon, "refused.md", f"{REFUSED} but for hash it is a text like any other")
    change(daemon, openai.config(), SMALL, 5)
    found = search(daemon, "but for hash it is a text like any other", limit=10)
    assert found["model"] == SMALL and len(found["results"]) == 5
    assert "refused.md" not in [hit["path"] for hit in found["results"]]
    assert daemon.sql('SELECT count(*) FROM tekupdb."Refused"') == [(1,)]
    assert daemon.client.get("/v1/documents/by-path", source="test", repository="r", path="refused.md").status == 200
    # The next model takes it.
    change(daemon, "", HASH, 6)
    assert search(daemon, f"{REFUSED} but for hash it is a text like any other")["results"][0]["path"] == "refused.md"


def test_embeddings_that_were_brought_are_made_anew_from_their_text(make, openai):
    daemon = make().start()
    fill(daemon, 2)
    given = [0.0] * 1535 + [1.0]
    put(daemon, "given.md", "a text whose embedding somebody brought", embedding=given)
    long = document("long", 3, 9000)
    put(daemon, "long.md", long, embedding=given)
    daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
               " VALUES ('foreign', 'other', 'o', 'foreign.md', 'written by another program', now()),"
               " ('empty', 'other', 'o', 'empty.md', '', now())")
    daemon.sql('INSERT INTO vault."VaultEmbedding" ("documentId", embedding)'
               " SELECT id, %s::real[] FROM vault.\"VaultDocument\" WHERE source = 'other'", given)
    change(daemon, openai.config(), SMALL, 5)
    assert search(daemon, "a text whose embedding somebody brought")["results"][0]["path"] == "given.md"
    assert search(daemon, "written by another program")["results"][0]["similarity"] == pytest.approx(1, abs=2e-3)
    assert search(daemon, long[:8000])["results"][0]["path"] == "long.md"
    assert daemon.client.search(embedding=given, limit=1)[0]["similarity"] < 0.9
    assert daemon.sql('SELECT count(*) FROM vault."VaultEmbedding"') == [(6,)], "nothing is deleted"


def test_what_fails_is_told_and_tried_again(make, openai):
    daemon = make().start()
    fill(daemon, 3)
    daemon.stop()
    broken = openai.fail(answer=error(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"))
    daemon.config.write_text(openai.config())
    daemon.start()
    wait_for(lambda: "quota" in ((embedding_status(daemon)["change"] or {}).get("error") or ""), "the reason")
    expect_found(daemon, (0, 2), HASH)
    assert b"quota" in daemon.tekup("status").stdout
    openai.mend()
    assert broken
    wait_for(lambda: is_settled(daemon, SMALL, 3), "the change")
    expect_found(daemon, (0, 2), SMALL)


def test_from_one_model_of_a_server_to_another(make, openai):
    daemon = make(openai.config()).start()
    fill(daemon, 6)
    daemon.stop()
    go_on = threading.Event()
    openai.fail(lambda request: request.json["model"] == LARGE, until=go_on)
    daemon.config.write_text(openai.config(f"model = {LARGE}"))
    daemon.start()
    expect_found(daemon, (2,), SMALL)
    go_on.set()
    wait_for(lambda: is_settled(daemon, LARGE, 6), "the change")
    openai.mend()
    expect_found(daemon, (2, 5), LARGE)
    expect_embedded_by_fake(daemon, LARGE)


def test_a_model_that_cannot_be_asked_any_more(make, openai):
    daemon = make(openai.config()).start()
    fill(daemon, 3)
    daemon.stop()
    daemon.config.write_text("")
    holder = None
    try:
        daemon.spawn()
        daemon.wait_ready()
        holder = daemon.connect()  # holds the switch up
        holder.cursor().execute('LOCK TABLE vault."VaultEmbedding" IN ROW EXCLUSIVE MODE')
        # Asked in the database: the daemon itself learns a moment later that it has switched.
        if daemon.sql('SELECT serving FROM tekupdb."Model"') == [(SMALL,)]:
            del daemon.environment["OPENAI_API_KEY"]
            daemon.kill()
            daemon.start()
            reply = daemon.client.post("/v1/search", {"query": "anything"})
            assert reply.status == 503 and SMALL in reply.json["error"]["message"], reply
    finally:
        if holder:
            holder.close()
    wait_for(lambda: is_settled(daemon, HASH, 3), "the change")
    expect_found(daemon, (0, 2), HASH)


def test_sql_goes_with_the_switch(make, openai):
    """vault.match_documents compares with what serves, before, during and after, whatever the index has."""
    daemon = make().start()
    fill(daemon, 20)
    connection = daemon.connect()
    connection.autocommit = True
    cursor = connection.cursor()

    def match(model):
        vector = "{" + ",".join(map(str, embed(text_of(4), 1536, model))) + "}"
        cursor.execute("SELECT path, similarity FROM vault.match_documents(%s::real[], -1, 3)", (vector,))
        return cursor.fetchall()

    stop, wrong, both = threading.Event(), [], []

    def watch():
        while not stop.is_set():
            serving = daemon.sql('SELECT serving FROM tekupdb."Model"')[0][0]
            rows = match(SMALL)
            if len(rows) != 3:
                wrong.append(rows)
            if serving == SMALL and (rows[0][0] != "4.md" or rows[0][1] < 0.999):
                wrong.append(rows)
            both.append(serving)

    daemon.stop()
    connection.close()
    daemon.config.write_text(openai.config("batch = 4\nparallel = 1"))
    go_on = hold_after(openai, 1)
    daemon.start()
    connection = daemon.connect()
    connection.autocommit = True
    cursor = connection.cursor()
    thread = threading.Thread(target=watch)
    thread.start()
    wait_for(lambda: HASH in both or not thread.is_alive(), "the old model to be seen")
    go_on.set()
    wait_for(lambda: is_settled(daemon, SMALL, 20), "the change")
    wait_for(lambda: SMALL in both or not thread.is_alive(), "the new model to be seen")
    stop.set()
    thread.join()
    assert not wrong, wrong[:3]
    assert HASH in both and SMALL in both


def test_an_empty_vault_changes_at_once(make, openai):
    daemon = make().start()
    daemon.stop()
    daemon.config.write_text(openai.config())
    daemon.start()
    assert embedding_status(daemon)["model"] == SMALL
    put(daemon, "x.md", text_of(1))
    assert daemon.sql('SELECT DISTINCT model FROM tekupdb."Chunk"') == [(SMALL,)]


def test_two_daemons_go_together(make, openai, server):
    url = server.url()
    first = make(openai.config("batch = 8\nparallel = 1"), database_url=url)
    second = make("", database_url=url).start()  # leads, and still has the old configuration
    fill(second, 40)
    first.start()
    expect_found(first, (3,), HASH)
    wait_for(lambda: (embedding_status(first)["change"] or {}).get("to") == SMALL, "the change to be told of")
    openai.fail(delay=0.1)
    second.stop()
    wait_for(lambda: len(openai.inputs) >= 8, "the change by the one that leads now")
    second.config.write_text(openai.config())
    second.start()
    wrong, stop = [], threading.Event()

    def watch(daemon):
        while not stop.is_set():
            answer = search(daemon, text_of(9))
            if answer["results"][0]["path"] != "9.md" or answer["results"][0]["similarity"] < 0.998:
                wrong.append(answer)

    threads = [threading.Thread(target=watch, args=(daemon,)) for daemon in (first, second)]
    for thread in threads:
        thread.start()
    for daemon in (first, second):
        wait_for(lambda: is_settled(daemon, SMALL, 40), "the change")
    put(second, "late.md", text_of(60))
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:2]
    wait_for(lambda: search(first, text_of(60))["results"][0]["path"] == "late.md", "the other daemon to follow")
    assert openai.inputs.count(text_of(11)) == 1


def test_searches_in_the_database(make, openai, pgvector_database):
    url = pgvector_database("model_change")
    backend = "[search]\nbackend = postgres\n"
    daemon = make(backend, database_url=url).start()
    fill(daemon, 20)
    expect_found(daemon, (3,), HASH)
    daemon.stop()
    go_on = hold_after(openai, 1)
    daemon.config.write_text(backend + openai.config("batch = 4\nparallel = 1"))
    daemon.start()
    models = set()
    while SMALL not in models:
        answer = search(daemon, text_of(9))
        assert answer["results"][0]["path"] == "9.md" and answer["results"][0]["similarity"] > 0.998, answer
        models.add(answer["model"])
        go_on.set()
    assert models == {HASH, SMALL}
    expect_found(daemon, (0, 19), SMALL)
