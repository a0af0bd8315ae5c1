"""GET /v1/map: the vault as points on a plane, as they lie, with repositories and near-duplicates."""

import base64
import math
import struct
import threading
import time

import pytest

from corpus import document
from daemon import wait_for
from vectors import DIMENSIONS, as_float32, random_vector, unit

FIELDS = {"state", "computedAt", "count", "total", "sampled", "explained", "repositories", "points"}
DUPLICATE = 1


def ask(client, **query):
    answer = client.get("/v1/map", **query)
    assert answer.status in (200, 202), answer
    assert set(answer.json) == FIELDS
    assert (answer.status == 202) == (answer.json["state"] == "computing")
    return answer.json


def points_of(shown):
    raw = base64.b64decode(shown["points"], validate=True)
    assert len(raw) == 16 * shown["count"]
    return {embedding: (x, y, repository, flags) for x, y, embedding, repository, flags in struct.iter_unpack("<ffIHH", raw)}


def map_of(client, complete=lambda shown: True, **query):
    """The map when it is made, and when it is complete."""
    def made():
        shown = ask(client, **query)
        return shown if shown["state"] != "computing" and complete(shown) else None
    return wait_for(made, "the map")


def near(position, seed, distance):
    """A vector at about this distance of a coordinate axis."""
    noise = random_vector(seed)
    length = math.sqrt(math.fsum(value * value for value in noise))
    return as_float32([value / length * distance + (index == position) for index, value in enumerate(noise)])


@pytest.fixture(scope="module")
def clusters(client):
    """Three clusters in as many repositories: {embedding: repository}. Two of their vectors have one in another
    document that is nearly the same, and one has one in its own."""
    found = {}

    def put(repository, path, vector):
        client.put_document(repository, path, f"{repository} {path}", embedding=vector)
        hit = client.search(embedding=vector, limit=1, repository=repository, include=[])[0]
        found[hit["embeddingId"]] = repository
        return hit["embeddingId"]

    for number, repository in enumerate(("one", "two", "three")):
        for path in range(30):
            put(repository, f"{path}", near(number, f"{repository}/{path}", 0.5))
    pair = [put("one", "original", near(0, "twin", 0.5)), put("three", "copy", near(0, "twin", 0.5001))]
    return found, pair


def test_clusters_are_apart(client, clusters):
    found, _ = clusters
    shown = map_of(client, lambda shown: shown["total"] == len(found))
    points = points_of(shown)
    assert shown["state"] == "ready" and shown["sampled"] is False and shown["count"] == len(found)
    assert sorted(points) == sorted(found) == list(points)
    assert shown["repositories"] == [
        {"source": "test", "repository": "one", "count": 31}, {"source": "test", "repository": "three", "count": 31},
        {"source": "test", "repository": "two", "count": 30}]
    assert max(max(abs(x), abs(y)) for x, y, *_ in points.values()) == pytest.approx(1)
    centres = {}
    for embedding, (x, y, repository, _) in points.items():
        assert shown["repositories"][repository]["repository"] == found[embedding]
        centres.setdefault(found[embedding], []).append((x, y))
    centre = {name: (sum(x for x, _ in places) / len(places), sum(y for _, y in places) / len(places))
              for name, places in centres.items()}
    for name, places in centres.items():
        spread = sorted(math.dist(place, centre[name]) for place in places)[-2]  # the copy lies elsewhere
        for other in centre:
            assert other == name or math.dist(centre[name], centre[other]) > 3 * spread
    first, second = shown["explained"]
    assert 0.1 < second <= first < 0.9


def principal(rows):
    """The two largest eigenvalues of a symmetric matrix, with their vectors, by power iteration."""
    found = []
    for _ in range(2):
        vector = [1 + 0.01 * i for i in range(len(rows))]
        for _ in range(2000):
            vector = [math.fsum(a * b for a, b in zip(row, vector)) for row in rows]
            value = math.hypot(*vector)
            vector = [a / value for a in vector]
        rows = [[a - value * vector[i] * vector[j] for j, a in enumerate(row)] for i, row in enumerate(rows)]
        found.append((value, vector))
    return found


def test_the_plane_is_that_of_the_principal_components(client, clusters):
    """Against the vectors themselves: from the inner products of all of them."""
    found, _ = clusters
    shown = map_of(client, lambda shown: shown["total"] == len(found))
    points = points_of(shown)
    raw = client.get("/v1/embeddings").body[8:]
    vectors = [struct.unpack_from(f"<{DIMENSIONS}f", raw, at) for at in range(0, len(raw), 4 * DIMENSIONS)]
    vectors = [[value / math.hypot(*vector) for value in vector] for vector in vectors]
    mean = [sum(values) / len(vectors) for values in zip(*vectors)]
    vectors = [[value - middle for value, middle in zip(vector, mean)] for vector in vectors]
    inner = [[sum(x * y for x, y in zip(a, b)) for b in vectors] for a in vectors]
    (first, xs), (second, ys) = principal(inner)
    trace = sum(inner[i][i] for i in range(len(inner)))
    assert shown["explained"] == pytest.approx([first / trace, second / trace], abs=1e-3)
    wanted = [[math.sqrt(first) * x for x in xs], [math.sqrt(second) * y for y in ys]]
    scale = max(abs(value) for axis in wanted for value in axis)
    for axis in range(2):
        given = [points[embedding][axis] for embedding in sorted(points)]
        sign = math.copysign(1, sum(a * b for a, b in zip(given, wanted[axis])))
        assert max(abs(sign * a / scale - b) for a, b in zip(wanted[axis], given)) < 0.01


def test_near_duplicates_are_marked(client, clusters):
    found, pair = clusters
    points = points_of(map_of(client, lambda shown: shown["total"] == len(found)))
    assert sorted(embedding for embedding, point in points.items() if point[3] & DUPLICATE) == sorted(pair)


def test_a_point(client, clusters):
    found, pair = clusters
    for this, other, repository, path in ((*pair, "one", "original"), (*reversed(pair), "three", "copy")):
        answer = client.get("/v1/map/point", embeddingId=this)
        assert answer.status == 200, answer
        point = answer.json
        assert set(point) == {"id", "source", "repository", "path", "chunk", "duplicates"}
        assert (point["source"], point["repository"], point["path"]) == ("test", repository, path)
        text = f"{repository} {path}"
        assert point["chunk"] == {"ordinal": 0, "start": 0, "end": len(text), "text": text}
        assert [duplicate["embeddingId"] for duplicate in point["duplicates"]] == [other]
        duplicate = point["duplicates"][0]
        assert set(duplicate) == {"embeddingId", "id", "source", "repository", "path", "similarity"}
        assert 0.98 <= duplicate["similarity"] <= 1
        assert client.get(f"/v1/documents/{duplicate['id']}").json["path"] == duplicate["path"] != path
    lonely = next(embedding for embedding in found if embedding not in pair)
    assert client.get("/v1/map/point", embeddingId=lonely).json["duplicates"] == []


def test_passages_of_one_document_are_no_duplicates(make_daemon):
    """Nor are twenty of them, behind which one of another document hides."""
    client = make_daemon().start().client
    same = "# Notice\n\n" + "All rights reserved by the owners of this text. " * 18 + "\n\n"
    client.put_document("own", "alone", same * 20)
    shown = map_of(client, lambda shown: shown["count"] > 10)
    assert not any(point[3] for point in points_of(shown).values())
    hit = client.search(query="rights reserved", limit=1, include=[])[0]
    assert client.get("/v1/map/point", embeddingId=hit["embeddingId"]).json["duplicates"] == []
    client.put_document("other", "copy", same.strip())
    shown = map_of(client, lambda shown: any(r["repository"] == "other" for r in shown["repositories"]))
    assert any(point[3] for point in points_of(shown).values())
    copy = client.search(query="rights reserved", limit=1, repository="other", include=[])[0]
    point = client.get("/v1/map/point", embeddingId=copy["embeddingId"]).json
    assert [duplicate["path"] for duplicate in point["duplicates"]] == ["alone"]


def test_filters(client, clusters):
    found, _ = clusters
    everything = map_of(client, lambda shown: shown["total"] == len(found))
    for query, wanted in (({"repository": "one"}, {"one"}), ({"source": "test"}, {"one", "two", "three"}),
                          ({"source": "local"}, set()), ({"source": "test", "repository": "two"}, {"two"})):
        shown = ask(client, **query)
        points = points_of(shown)
        assert points == {embedding: point for embedding, point in points_of(everything).items()
                          if found[embedding] in wanted}
        assert shown["repositories"] == everything["repositories"] and shown["total"] == len(points)


@pytest.mark.parametrize("limit", [1, 2, 10, 91, 92, 1000000])
def test_a_limit_takes_an_even_sample(client, clusters, limit):
    found, _ = clusters
    everything = points_of(map_of(client, lambda shown: shown["total"] == len(found)))
    shown = ask(client, limit=limit)
    points = points_of(shown)
    assert len(points) == min(limit, len(found)) and shown["total"] == len(found)
    assert shown["sampled"] == (limit < len(found))
    assert points.items() <= everything.items()
    places = [sorted(everything).index(embedding) for embedding in sorted(points)]
    steps = [b - a for a, b in zip(places, places[1:])]
    assert not steps or max(steps) - min(steps) <= 1


def test_it_follows_the_index(make_daemon):
    client = make_daemon().start().client
    shown = map_of(client)
    assert shown["state"] == "none" and shown["count"] == 0 and shown["points"] == "" and shown["repositories"] == []
    put = [client.put_document("follow", f"{number}", "text", embedding=unit(number)) for number in range(3)]
    shown = map_of(client, lambda shown: shown["count"] == 3)
    assert shown["state"] == "ready"
    # Nothing has changed, so it stays the same.
    time.sleep(2.5)
    assert ask(client) == shown
    client.delete(f"/v1/documents/{put[0]['id']}")
    again = map_of(client, lambda shown: shown["count"] == 2)
    assert again["computedAt"] > shown["computedAt"]


def test_one_vector_and_equal_ones(make_daemon):
    client = make_daemon().start().client
    client.put_document("equal", "0", "text", embedding=unit(0))
    shown = map_of(client, lambda shown: shown["count"] == 1)
    assert [point[:2] for point in points_of(shown).values()] == [(0, 0)] and shown["explained"] == [0, 0]
    client.put_document("equal", "1", "text", embedding=unit(0))
    shown = map_of(client, lambda shown: shown["count"] == 2)
    assert [point[:2] for point in points_of(shown).values()] == [(0, 0)] * 2
    assert all(point[3] == DUPLICATE for point in points_of(shown).values())


def test_while_the_vault_changes(make_daemon):
    """Maps of a vault on the move hold nothing twice, and searches and writes go on."""
    daemon = make_daemon().start()
    client = daemon.client
    for number in range(20):
        client.put_document("churn", f"{number}", document(f"churn {number}", 6))
    stop = threading.Event()
    failures = []

    def churn(thread):
        try:
            number = 0
            while not stop.is_set():
                put = client.put_document(f"churn {thread}", f"{number % 5}", document(f"{thread}/{number}", 3))
                client.search(query="anything", limit=3)
                if number % 3 == 0:
                    client.delete(f"/v1/documents/{put['id']}")
                number += 1
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        seen = set()
        end = time.monotonic() + 10
        while time.monotonic() < end or len(seen) < 2:
            shown = ask(client)
            points = points_of(shown)
            assert len(points) == shown["count"]
            assert sum(repository["count"] for repository in shown["repositories"]) == shown["count"]
            for x, y, repository, _ in points.values():
                assert -1 <= x <= 1 and -1 <= y <= 1 and repository < len(shown["repositories"])
            seen.add(shown["computedAt"])
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def test_stopping_while_it_is_made(make_daemon):
    daemon = make_daemon().start()
    for number in range(30):
        daemon.client.put_document("stop", f"{number}", document(f"stop {number}", 8))
    ask(daemon.client)
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 120


@pytest.mark.parametrize("path, field, value", [
    ("/v1/map", "limit", "0"), ("/v1/map", "limit", "1000001"), ("/v1/map", "limit", "x"), ("/v1/map", "path", "x"),
    ("/v1/map/point", "embeddingId", "x"), ("/v1/map/point", "embeddingId", "2147483648"),
    ("/v1/map/point", "embeddingId", ""), ("/v1/map/point", "id", "1"), ("/v1/map/point", "embeddingId", None),
])
def test_bad_parameters_are_named(client, path, field, value):
    answer = client.get(path, **{field: value})
    assert answer.status == 400 and answer.error["field"] == field


def test_no_such_point(client):
    answer = client.get("/v1/map/point", embeddingId=2147483647)
    assert answer.status == 404 and answer.error["field"] == "embeddingId"


def test_with_searches_in_the_database(make_daemon, pgvector_database):
    client = make_daemon(config="[search]\nbackend = postgres\n", database_url=pgvector_database("map")).start().client
    for path in ("/v1/map", "/v1/map/point?embeddingId=1"):
        assert client.call("GET", path).status == 404


def test_while_the_database_is_away(server, make_daemon):
    daemon = make_daemon(database_url=server.url()).start()
    daemon.client.put_document("away", "one", "text", embedding=random_vector("one"))
    embedding = daemon.client.search(embedding=random_vector("one"), include=[])[0]["embeddingId"]
    server.stop()
    map_of(daemon.client, lambda shown: shown["count"] == 1)
    assert daemon.client.get("/v1/map/point", embeddingId=embedding).status == 503
