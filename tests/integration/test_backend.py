"""search.backend = postgres: pgvector in the database gives the answers that the index gives, in the
same form. The server is a PostgreSQL 17 in a Debian 13 of its own (tests/with-pgvector)."""

import math

import psycopg2
import pytest

from corpus import document
from daemon import Daemon, wait_for
from vectors import as_float32, base64_of, octets, random_vector

BACKEND = "[search]\nbackend = postgres\n"
CLOSE = 1e-4
QUERY = random_vector("backend/query")
SECTIONS = [document(f"backend/{number}", 3, 1500) for number in range(12)]


@pytest.fixture(scope="module")
def both(pgvector_database):
    """Two daemons on one database: the first searches its index, the second the database."""
    url = pgvector_database("both")
    daemons = []
    try:
        daemons.append(Daemon(database_url=url).start())
        fill(daemons[0].client)
        daemons.append(Daemon(database_url=url, config=BACKEND).start())
        yield daemons
    finally:
        for daemon in daemons:
            daemon.clean_up()


def near(similarity, seed):
    """A vector that is so similar to QUERY."""
    other = random_vector(seed)
    along = sum(a * b for a, b in zip(other, QUERY)) / sum(a * a for a in QUERY)
    across = [a - along * b for a, b in zip(other, QUERY)]
    ratio = math.sqrt(sum(a * a for a in QUERY) / sum(a * a for a in across))
    rest = math.sqrt(1 - similarity * similarity) * ratio
    return as_float32([similarity * b + rest * a for a, b in zip(across, QUERY)])


def vector_of(number):
    """In no order of similarity, and each 0.003 apart from the next."""
    return near(0.05 + 0.003 * (number * 7 % 300), f"backend/{number}")


def fill(client):
    """Documents with an embedding of their own, and others of many chunks."""
    for number in range(300):
        client.put_document(
            f"vectors/{number % 3}", f"{'even' if number % 2 == 0 else 'odd'}/{number:03}", f"text {number}",
            source="test" if number < 200 else "other", embedding=vector_of(number),
            metadata={"number": number, "tags": ["all", "even" if number % 2 == 0 else "odd"]})
    for number, text in enumerate(SECTIONS):
        client.put_document("texts", f"{number:02}.md", text)


def ask(daemon, **fields):
    answer = daemon.client.post("/v1/search", fields)
    assert answer.status == 200, answer
    assert answer.json["partial"] is None
    return answer.json


def check_same(both, **fields):
    """The same hits in the same order, with everything that they say."""
    ours, theirs = (ask(daemon, ef=2000, **fields) for daemon in both)
    assert ours["count"] == theirs["count"] and ours["model"] == theirs["model"]
    assert ours.keys() == theirs.keys()
    ours, theirs = ours["results"], theirs["results"]
    for left, right in zip(ours, theirs):
        assert right["similarity"] == pytest.approx(left["similarity"], abs=CLOSE)
        # Similarities of the index are good to CLOSE; what is nearer to each other may change places.
        crowd = [hit["id"] for hit in theirs if abs(hit["similarity"] - right["similarity"]) <= 2 * CLOSE]
        assert left["id"] == right["id"] or len(crowd) > 1 and left["id"] in crowd
        assert right["score"] == pytest.approx(left["score"], abs=CLOSE)
    alike = {"similarity": 0, "score": 0}
    assert {hit["id"]: {**hit, **alike} for hit in ours} == {hit["id"]: {**hit, **alike} for hit in theirs}
    return theirs


@pytest.mark.parametrize("fields", [
    {},
    {"limit": 1},
    {"limit": 100},
    {"limit": 100, "include": []},
    {"include": ["chunk", "content", "metadata"], "limit": 5},
    {"source": "test"},
    {"source": "other", "limit": 1000},
    {"repository": "vectors/1", "limit": 50},
    {"source": "other", "repository": "vectors/2", "pathPrefix": "even/", "limit": 1000},
    {"pathPrefix": "odd/2", "limit": 1000},
    {"metadata": {"tags": ["odd"]}, "limit": 200},
    {"metadata": {"number": 7}},
    {"metadata": {"number": 7}, "source": "other"},
    {"source": "nobody"},
    {"threshold": 0.4985, "limit": 1000},
    {"threshold": 0.4985, "limit": 50, "metadata": {"tags": ["odd"]}},
    {"threshold": 0.96},
    {"threshold": -1, "limit": 20},
], ids=str)
def test_the_same_answers(both, fields):
    results = check_same(both, embedding=QUERY, **fields)
    vectors = [hit["similarity"] for hit in results if hit["repository"].startswith("vectors/")]
    assert vectors == sorted(vectors, reverse=True)
    if fields == {"threshold": 0.4985, "limit": 1000}:
        assert len(vectors) == len(results) == 150


@pytest.mark.parametrize("number", range(0, 12, 3))
def test_the_best_chunk_of_each_document(both, number):
    """More chunks than documents are near, and the second try has to find the other documents."""
    text = SECTIONS[number]
    for query in (text[:400], text[-900:-200]):
        results = check_same(both, query=query, repository="texts", limit=12)
        assert results[0]["path"] == f"{number:02}.md"
        assert len(results) == len({hit["id"] for hit in results}) == 12


@pytest.mark.parametrize("fields", [
    {"mode": "text", "query": "text 7"},
    {"mode": "text", "query": "text*", "limit": 50, "source": "other"},
    {"mode": "text", "query": '"text 12"', "metadata": {"tags": ["even"]}},
    {"mode": "text", "query": "text -17", "pathPrefix": "odd/", "limit": 1000},
    {"mode": "text", "query": "nothing of that"},
    {"mode": "hybrid", "query": "text 7", "embedding": QUERY, "limit": 30},
    {"mode": "hybrid", "query": "text -7", "embedding": QUERY, "threshold": 0.2, "source": "test", "limit": 100},
    {"mode": "hybrid", "query": '"text 12"', "embedding": QUERY},
], ids=str)
def test_by_words_and_by_both(both, fields):
    """What has the same rank comes in the order of the embeddings' ids, which both see."""
    ours, theirs = (ask(daemon, ef=2000, include=["chunk", "highlights"], **fields)["results"] for daemon in both)
    assert {hit["id"] for hit in ours} == {hit["id"] for hit in theirs}
    if fields["mode"] == "text":
        assert ours == theirs
    of_theirs = {hit["id"]: hit for hit in theirs}
    for hit in ours:
        other = of_theirs[hit["id"]]
        assert hit["chunk"] == other["chunk"] and hit["highlights"] == other["highlights"]
        if fields["mode"] == "hybrid":
            assert hit["similarity"] == pytest.approx(other["similarity"], abs=CLOSE)


def test_every_chunk(both):
    for mode in ("vector", "text", "hybrid"):
        fields = {"query": SECTIONS[3][:200].split("\n")[0], "mode": mode, "repository": "texts", "group": "chunk",
                  "limit": 200}
        ours, theirs = (ask(daemon, ef=2000, **fields)["results"] for daemon in both)
        assert {hit["embeddingId"] for hit in ours} == {hit["embeddingId"] for hit in theirs}
        assert len({hit["embeddingId"] for hit in theirs}) == len(theirs)
    assert len(theirs) > len({hit["id"] for hit in theirs})


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_near_duplicates_make_way(both, mode):
    for number in range(6):
        both[0].client.put_document(f"copies/{mode}", f"copy{number}", f"The okapi lives in Ituri. Copy {number}.")
    both[0].client.put_document(f"copies/{mode}", "zoo", "An okapi was seen in a zoological garden, behind glass.")
    for daemon in both:
        fields = {"query": "okapi", "mode": mode, "repository": f"copies/{mode}", "limit": 2}
        assert "zoo" in [hit["path"] for hit in ask(daemon, diversity=0.6, **fields)["results"]]


def test_itself_is_found_with_similarity_1(both):
    for number in (0, 150, 299):
        vector = vector_of(number)
        hit = check_same(both, embedding=vector, limit=1, threshold=0.9999)[0]
        assert hit["path"].endswith(f"/{number:03}") and hit["similarity"] == pytest.approx(1, abs=CLOSE)


def test_every_form_of_the_request(both):
    first = ask(both[1], embedding=QUERY, limit=7)["results"]
    assert ask(both[1], embedding=base64_of(QUERY), limit=7)["results"] == first
    answer = both[1].client.call("POST", "/v1/search?limit=7", octets(QUERY), "application/octet-stream")
    assert answer.json["results"] == first
    searches = [{"embedding": QUERY, "limit": 7}, {"embedding": QUERY, "limit": 0},
                {"embedding": QUERY, "metadata": {"number": 3}}, {"query": SECTIONS[3][:300], "limit": 1}]
    answer = both[1].client.post("/v1/search/batch", {"searches": searches})
    assert answer.status == 200
    first_again, wrong, metadata, text = answer.json["responses"]
    assert first_again["results"] == first
    assert wrong["error"]["field"] == "limit"
    assert [hit["path"] for hit in metadata["results"]] == ["odd/003"]
    assert text["results"][0]["path"] == "03.md"


def test_what_is_refused_is_refused_alike(both):
    for body in ({"embedding": [0.0] * 1536}, {"query": "x", "limit": 1001}, {"query": ""},
                 {"query": "x", "metadata": {"a": "\ud800"}}, {"query": "x", "metadata": {"a": "\0"}}):
        ours, theirs = (daemon.client.post("/v1/search", body) for daemon in both)
        assert (ours.status, ours.json) == (theirs.status, theirs.json) and ours.status == 400


def test_no_index_is_kept_in_memory(both):
    status = both[1].client.status()
    assert status["ready"] is True and status["index"] is None
    assert status["search"] == {"backend": "postgres", "approximate": False}
    assert both[0].client.status()["search"] == {"backend": "index", "approximate": None}
    assert b"comparing with every passage" in both[1].tekup("status").stdout
    doctor = both[1].tekup("doctor")
    assert doctor.returncode == 0 and b"search.backend = postgres" in doctor.stdout


def test_writes_of_anybody_are_found_at_once(both):
    ours, theirs = both
    vector = random_vector("backend/written")
    put = theirs.client.put_document("written", "w", "by the second", embedding=vector)
    assert ask(theirs, embedding=vector, repository="written")["results"][0]["id"] == put["id"]
    theirs.sql('UPDATE vault."VaultDocument" SET path = %s WHERE id = %s', "moved", put["id"])
    assert ask(theirs, embedding=vector, repository="written")["results"][0]["path"] == "moved"
    put = ours.client.put_document("written", "by the first", "text", embedding=random_vector("backend/w2"))
    paths = [hit["path"] for hit in ask(theirs, embedding=vector, repository="written")["results"]]
    assert paths == ["moved", "by the first"]
    assert ours.client.delete(f"/v1/documents/{put['id']}").status == 200
    theirs.sql('DELETE FROM vault."VaultDocument" WHERE repository = %s', "written")
    assert ask(theirs, embedding=vector, repository="written")["results"] == []
    assert theirs.client.delete("/v1/sources", source="local", repository="x").status == 404


def test_embeddings_of_another_model_are_not_compared(both):
    theirs = both[1]
    vector = random_vector("backend/model")
    theirs.client.put_document("model", "m", "text", embedding=vector)
    theirs.sql('UPDATE tekupdb."Chunk" SET model = %s WHERE "documentId" ='
               ' (SELECT id FROM vault."VaultDocument" WHERE repository = %s)', "another-model", "model")
    assert ask(theirs, embedding=vector, repository="model")["results"] == []
    theirs.sql('DELETE FROM tekupdb."Chunk" WHERE model = %s', "another-model")
    assert len(ask(theirs, embedding=vector, repository="model")["results"]) == 1
    theirs.sql('DELETE FROM vault."VaultDocument" WHERE repository = %s', "model")


def test_an_index_of_the_administrators_is_used(both):
    """What it leaves out is found by comparing."""
    theirs = both[1]
    exact = ask(theirs, embedding=QUERY, limit=10)["results"]
    theirs.sql('CREATE INDEX by_cosine ON vault."VaultEmbedding" USING hnsw (embedding vector_cosine_ops)')
    name = theirs.sql("SELECT current_database()")[0][0]
    # The planner would not use an index on so small a table. Sessions that are open keep their settings.
    theirs.sql(f'ALTER DATABASE "{name}" SET enable_seqscan TO off')
    theirs.sql(f'ALTER DATABASE "{name}" SET enable_sort TO off')
    theirs.restart()
    try:
        assert theirs.client.status()["search"] == {"backend": "postgres", "approximate": True}
        assert b"by an index" in theirs.tekup("status").stdout
        found = ask(theirs, embedding=QUERY, limit=10)["results"]
        used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'by_cosine'"
        theirs.sql("SELECT pg_stat_clear_snapshot()")
        common = {hit["id"] for hit in exact} & {hit["id"] for hit in found}
        assert len(common) >= 9 and len(found) == 10
        assert [hit["similarity"] for hit in found] == sorted((hit["similarity"] for hit in found), reverse=True)
        wait_for(lambda: theirs.sql(used)[0][0] > 0, "the index to be used")
        for fields in ({"metadata": {"number": 7}}, {"source": "other", "limit": 1000}, {"limit": 1000, "ef": 1},
                       {"source": "other", "repository": "vectors/2", "pathPrefix": "even/", "limit": 1000}):
            count = ask(both[0], embedding=QUERY, include=[], **fields)["count"]
            assert ask(theirs, embedding=QUERY, include=[], **fields)["count"] == count
        assert ask(theirs, embedding=QUERY, limit=1000, threshold=0.96)["results"] == []
    finally:
        theirs.sql(f'ALTER DATABASE "{name}" RESET ALL')
        theirs.sql("DROP INDEX vault.by_cosine")


def test_refused_where_embeddings_are_no_vectors(make_daemon):
    """A plain PostgreSQL: tekupd ends, and says which setting is to blame."""
    daemon = make_daemon(config=BACKEND).spawn()
    assert daemon.wait_exit() == 1
    assert "search.backend = postgres needs" in daemon.log() and "real[]" in daemon.log()
    daemon.config.write_text("")
    daemon.start()
    assert daemon.client.status()["index"] is not None


def test_without_the_database(make_daemon, pgvector_database):
    """Nothing can be searched, and it says so; afterwards it goes on."""
    url = pgvector_database("away")
    daemon = make_daemon(database_url=url, config=BACKEND).start()
    daemon.client.put_document("r", "p", "some text about turbines")
    keeper = psycopg2.connect(url.replace("/away", "/postgres"))
    keeper.autocommit = True
    cursor = keeper.cursor()
    cursor.execute('ALTER DATABASE "away" ALLOW_CONNECTIONS false')
    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = 'away' AND pid <> pg_backend_pid()")
    try:
        answer = daemon.client.post("/v1/search", {"query": "turbines"})
        assert answer.status == 503 and answer.error["code"] == "unavailable"
        batch = daemon.client.post("/v1/search/batch", {"searches": [{"query": "x"}, {"query": "y"}]})
        assert [each["error"]["code"] for each in batch.json["responses"]] == ["unavailable"] * 2
    finally:
        cursor.execute('ALTER DATABASE "away" ALLOW_CONNECTIONS true')
        keeper.close()
    daemon.wait_works()
    assert daemon.client.search(query="turbines")[0]["path"] == "p"
