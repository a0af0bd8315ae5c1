"""The index's figures: its size, its recall, and its speed over the last hour."""

import datetime
import threading
import time

import pytest

from daemon import wait_for
from vectors import random_vector

VECTORS = 40


def parse(at):
    return datetime.datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%f%z")


def ago(at):
    return (datetime.datetime.now(datetime.timezone.utc) - parse(at)).total_seconds()


@pytest.fixture(scope="module")
def filled(client):
    for number in range(VECTORS):
        client.put_document("figures", f"{number}", f"text {number}", embedding=random_vector(f"figures/{number}"))


def get(client, path, **query):
    answer = client.get(path, **query)
    assert answer.status == 200, answer
    return answer.json


# ---- Size ----


def test_the_index(client, filled):
    figures = get(client, "/v1/index")
    assert figures["backend"] == "index" and figures["dimension"] == 1536
    assert figures["vectors"] == figures["documents"] == VECTORS
    assert figures["bytes"] > VECTORS * 1536
    assert figures["bytesPerVector"] == pytest.approx(figures["bytes"] / VECTORS, rel=1e-4)
    assert figures["kernel"] in ("avx512", "avx2", "neon", "portable")
    assert figures["ef"] == figures["maxNeighbours"] * 6 == 96 and figures["model"] == "hash-1536-v1"
    assert figures["adds"] == VECTORS and figures["removes"] == figures["replaces"] == 0
    status = client.status()["index"]
    assert (status["vectors"], status["kernel"]) == (figures["vectors"], figures["kernel"])


def test_an_empty_index(make_daemon):
    client = make_daemon().start().client
    assert get(client, "/v1/index")["vectors"] == 0
    assert get(client, "/v1/index")["bytesPerVector"] is None
    measured = get(client, "/v1/index/recall")
    assert measured["recall"] is None and measured["sample"] == 0


# ---- Recall ----


def test_recall(client, filled):
    searches = get(client, "/v1/index")["searches"]
    measured = get(client, "/v1/index/recall")
    assert set(measured) == {"recall", "sample", "limit", "ef", "tookMs", "measuredAt"}
    assert (measured["recall"], measured["sample"], measured["limit"], measured["ef"]) == (1, VECTORS, 10, 96)
    assert measured["tookMs"] > 0 and -5 < ago(measured["measuredAt"]) < 60
    assert get(client, "/v1/index")["searches"] == searches
    measured = get(client, "/v1/index/recall", sample=7, limit=3, ef=20)
    assert (measured["sample"], measured["limit"], measured["ef"]) == (7, 3, 20)


def test_what_was_measured_a_moment_ago_is_told_again(client, filled):
    first, again = get(client, "/v1/index/recall", sample=5), get(client, "/v1/index/recall", sample=5)
    other = get(client, "/v1/index/recall", sample=6)
    assert first == again or ago(first["measuredAt"]) > 10
    assert other["sample"] == 6


def test_many_ask_at_once(client, filled):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(client.get("/v1/index/recall", sample=1 + n % 3)))
               for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 30


@pytest.mark.parametrize("field, value", [
    ("sample", "0"), ("sample", "1001"), ("sample", "x"), ("limit", "0"), ("limit", "101"), ("ef", "0"), ("ef", "65537"),
    ("seed", "1"),
])
def test_bad_parameters_are_named(client, field, value):
    answer = client.get("/v1/index/recall", **{field: value})
    assert answer.status == 400 and answer.error["field"] == field


@pytest.mark.parametrize("path", ["/v1/index", "/v1/index/speed"])
def test_others_take_no_parameters(client, path):
    answer = client.get(path, limit=1)
    assert answer.status == 400 and answer.error["field"] == "limit"


# ---- Speed ----


def test_speed(daemon, client, filled):
    def searches(points):
        return sum(point["searches"] for point in points)

    assert get(client, "/v1/index/speed")["interval"] == 10
    before = wait_for(lambda: get(client, "/v1/index/speed")["points"], "an interval to end")
    for number in range(50):
        client.search(embedding=random_vector(number), include=[])
    client.post("/v1/search/batch", {"searches": [{"query": "text 1", "include": []}] * 25})
    after = wait_for(
        lambda: (lambda points: points if searches(points) >= searches(before) + 75 else None)(
            get(client, "/v1/index/speed")["points"]), "75 searches more")
    assert searches(after) == searches(before) + 75
    for point in after:
        assert set(point) == {"at", "searches", "p50Ms", "p99Ms"}
        if point["searches"]:
            assert 0 < point["p50Ms"] <= point["p99Ms"] < 60000
        else:
            assert point["p50Ms"] is None and point["p99Ms"] is None
    times = [parse(point["at"]) for point in after]
    assert all(abs((b - a).total_seconds() - 10) < 0.01 for a, b in zip(times, times[1:]))
    assert 10 <= ago(after[-1]["at"]) + 0.1 and ago(after[-1]["at"]) < 60


# ---- While it is not there ----


def test_with_searches_in_the_database(make_daemon, pgvector_database):
    client = make_daemon(config="[search]\nbackend = postgres\n", database_url=pgvector_database("figures")).start().client
    for path in ("/v1/index", "/v1/index/recall", "/v1/index/speed"):
        answer = client.get(path)
        assert answer.status == 404 and "search.backend" in answer.error["message"]


def test_while_the_index_is_loading(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("figures", "one", "text", embedding=random_vector("one"))
    daemon.kill()
    daemon.spawn()
    # PostgreSQL may come up at once; as long as it has not, nothing is made up.
    for path in ("/v1/index", "/v1/index/recall"):
        while True:
            try:
                answer = daemon.client.get(path)
                break
            except OSError:
                time.sleep(0.01)
        assert answer.status in (200, 503)
    daemon.wait_ready()


def test_stopping_while_it_is_measured(make_daemon):
    daemon = make_daemon().start()
    for number in range(50):
        daemon.client.put_document("figures", f"{number}", "text", embedding=random_vector(number))
    answers = []

    def ask(n):
        try:
            answers.append(daemon.client.get("/v1/index/recall", sample=1000, limit=100, ef=n + 1).status)
        except OSError:
            answers.append(0)  # came when nobody listened any more

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    daemon.stop()
    for thread in threads:
        thread.join()
    assert set(answers) <= {0, 200, 503}
