"""GET /v1/embeddings: the vectors themselves, exact, each once, a page at a time."""

import struct
import threading

import pytest

from vectors import DIMENSIONS, as_float32, octets, random_vector


def page(client, **query):
    """The vectors of a page as bytes, and where the next one begins (None on the last)."""
    answer = client.get("/v1/embeddings", **query)
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/octet-stream"
    count, dimensions = struct.unpack("<II", answer.body[:8])
    assert dimensions == DIMENSIONS
    row = 4 * DIMENSIONS
    assert len(answer.body) == 8 + count * row
    return ([answer.body[8 + i * row:8 + (i + 1) * row] for i in range(count)], answer.headers["Tekup-Next"])


def everything(client, **query):
    vectors, after = page(client, **query)
    while after is not None:
        more, after = page(client, after=after, **query)
        vectors += more
    return vectors


@pytest.fixture(scope="module")
def written(client):
    """What was written, in the order of its ids: numbers of every size, to be found to the last bit."""
    vectors = [random_vector(f"embeddings/{number}") for number in range(25)]
    vectors[3] = as_float32([value * 1e-30 for value in vectors[3]])
    vectors[4] = as_float32([value * 1e30 for value in vectors[4]])
    for number, vector in enumerate(vectors):
        client.put_document("vectors", f"{number}", f"text {number}", embedding=vector)
    return [octets(vector) for vector in vectors]


@pytest.mark.parametrize("limit", [None, 1, 7, 24, 25, 26, 1000])
def test_every_vector_once_and_exactly(client, written, limit):
    assert everything(client, limit=limit) == written


def test_an_empty_vault(make_daemon):
    assert page(make_daemon().start().client) == ([], None)


def test_head(client, written):
    answer = client.call("HEAD", "/v1/embeddings?limit=2")
    assert answer.status == 200 and answer.body == b""
    assert answer.headers["Content-Length"] == str(8 + 2 * 4 * DIMENSIONS)


@pytest.mark.parametrize("field, value", [
    ("limit", "0"), ("limit", "1001"), ("limit", "many"), ("limit", ""), ("limit", "-1"), ("after", "x"),
    ("after", "2147483648"), ("after", "99999999999999999999"), ("before", "3"),
])
def test_bad_parameters_are_named(client, field, value):
    answer = client.get("/v1/embeddings", **{field: value})
    assert answer.status == 400 and answer.error["field"] == field
    assert answer.headers["Content-Type"] == "application/json" and answer.headers["Tekup-Next"] is None


def test_behind_the_last(client, written):
    assert page(client, after=2147483647) == ([], None)


def test_other_methods(client):
    assert client.post("/v1/embeddings", {}).status == 405


def test_vectors_of_others(make_daemon):
    """Rows of other programs are in; what the index does not take, and another model's, is not."""
    daemon = make_daemon().start()
    daemon.client.put_document("vectors", "ours", "text", embedding=random_vector("ours"))
    document = daemon.client.documents()[0]["id"]
    for value in ("0", "'NaN'", "'Infinity'", "0.25"):
        daemon.sql('INSERT INTO vault."VaultEmbedding" ("documentId", embedding)'
                   f" VALUES (%s, array_fill({value}::real, ARRAY[1536]))", document)
    expected = [octets(random_vector("ours")), octets([0.25] * DIMENSIONS)]
    assert everything(daemon.client) == everything(daemon.client, limit=1) == expected
    daemon.sql('UPDATE tekupdb."Chunk" SET model = \'another\'')
    assert everything(daemon.client) == expected[1:]


def test_while_the_vault_changes(daemon, client, written):
    """What was there all the time is in every reading, once, whatever comes and goes meanwhile."""
    stop = threading.Event()
    failures = []

    def churn():
        try:
            number = 0
            while not stop.is_set():
                put = client.put_document("churn", "it", f"text {number}", embedding=random_vector(f"churn/{number}"))
                if number % 3 == 2:
                    client.delete(f"/v1/documents/{put['id']}")
                number += 1
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for limit in (1, 5, 1000):
            for _ in range(5):
                vectors = everything(client, limit=limit)
                assert [vector for vector in vectors if vector in written] == written
                assert len(set(vectors)) == len(vectors)
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def test_while_the_database_is_away(server, make_daemon):
    daemon = make_daemon(database_url=server.url()).start()
    daemon.client.put_document("vectors", "one", "text", embedding=random_vector("one"))
    server.stop()
    answer = daemon.client.get("/v1/embeddings")
    assert answer.status == 503 and answer.error["code"] == "unavailable" and answer.headers["Retry-After"]
    server.start()
    daemon.wait_works()
    assert everything(daemon.client) == [octets(random_vector("one"))]
