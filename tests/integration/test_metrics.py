"""GET /metrics: what Prometheus reads is in its form, and moves as what it is about does."""

import re
import shutil
import socket
import subprocess
import time

import pytest

from daemon import wait_for
from prometheus import Metrics

HISTOGRAMS = {"tekupdb_search_seconds": {"mode"}, "tekupdb_embedding_seconds": {"provider", "model", "kind"},
              "tekupdb_sync_seconds": {"source"}, "tekupdb_pool_wait_seconds": {"pool"}}
HASH = {"provider": "hash", "model": "hash-1536-v1"}


def test_the_form_is_that_of_prometheus(client):
    client.put_document("r", "p", "A text to have figures of.")
    metrics = Metrics(client)
    names = re.findall("^# TYPE (.*) ", metrics.text, re.MULTILINE)
    assert len(names) == len(set(names)), "a family is in one piece"
    for family in metrics.families:
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        assert family.samples or family.name == "tekupdb_http_responses", family.name
        assert re.fullmatch(r"(tekupdb|process)_[a-z_]+", family.name)
    if shutil.which("promtool"):
        said = subprocess.run(["promtool", "check", "metrics"], input=metrics.text, text=True, capture_output=True)
        assert said.returncode == 0 and not said.stderr, said


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_histograms_add_up(client, name):
    client.search(query="a text")
    metrics = Metrics(client)
    family = next(family for family in metrics.families if family.name == name)
    assert family.type == "histogram"
    series = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        assert set(labels) == HISTOGRAMS[name]
        parts = series.setdefault(frozenset(labels.items()), {"buckets": []})
        if bound is None:
            parts[sample.name.removeprefix(name)] = sample.value
        else:
            assert sample.name == name + "_bucket"
            parts["buckets"].append((float(bound), sample.value))
    assert series
    for parts in series.values():
        bounds, counts = zip(*parts["buckets"])
        assert list(bounds) == sorted(bounds) and bounds[-1] == float("inf")
        assert list(counts) == sorted(counts)
        assert counts[-1] == parts["_count"]
        assert parts["_sum"] >= 0 and (parts["_sum"] > 0 or parts["_count"] == 0 or name == "tekupdb_pool_wait_seconds")


def searches(metrics):
    return sum(metrics.value("tekupdb_search_seconds_count", mode=mode) for mode in ("vector", "text", "hybrid"))


def test_searches_are_counted(client):
    before = Metrics(client)
    client.search(query="a text")
    client.search(query="a text", include=[])
    client.post("/api/search", {"query": "a text"})
    client.post("/v1/search/batch", {"searches": [{"query": "a text"}, {"query": "other"}, {"limit": 0}]})
    client.post("/v1/search", {"limit": 3})
    after = Metrics(client)
    assert searches(after) - searches(before) == 5
    failed = "tekupdb_searches_failed_total"
    assert after.value(failed, code="invalid") - before.value(failed, code="invalid") == 2
    assert after.value(failed, code="unavailable") == before.value(failed, code="unavailable")
    calls = "tekupdb_embedding_seconds_count"
    assert after.value(calls, kind="query", **HASH) - before.value(calls, kind="query", **HASH) == 5
    texts = "tekupdb_embedding_texts_total"
    assert after.value(texts, kind="query", **HASH) - before.value(texts, kind="query", **HASH) == 5


def test_answers_are_counted_by_status(client):
    def count(status):
        return Metrics(client).samples.get(("tekupdb_http_responses_total", frozenset({("status", status)})), 0)

    before = {status: count(status) for status in ("200", "400", "404", "405")}
    client.get("/v1/nothing")
    client.get("/v1/search")
    client.post("/v1/search", {})
    for status in ("400", "404", "405"):
        wait_for(lambda: count(status) == before[status] + 1, f"the answer {status} to be counted")
    assert count("200") > before["200"]


@pytest.mark.parametrize("said, status", [
    (b"Good morning\r\n\r\n", "400"), (b"GET / HTTP/1.1\r\nno header\r\n\r\n", "400"),
    (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n" + b"x" * 60_000_000, "413")])
def test_what_never_becomes_a_request_is_counted(daemon, client, said, status):
    def count():
        return Metrics(client).samples.get(("tekupdb_http_responses_total", frozenset({("status", status)})), 0)

    before = count()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(daemon.socket))
        connection.sendall(said)
        assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode())
    assert count() == before + 1


def test_syncs_are_counted(daemon, client, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "a.md").write_text("A text in a directory.")
    daemon.add_source("counted", tmp_path)
    before = Metrics(client)
    daemon.sync("counted")
    (tmp_path / "a.md").unlink()
    tmp_path.rmdir()
    daemon.sync("counted")
    wait_for(lambda: Metrics(client).value("tekupdb_syncs", state="running") == 0, "the sync to be over")
    after = Metrics(client)

    def grown(name, **labels):
        return after.value(name, source="local", **labels) - before.value(name, source="local", **labels)

    assert grown("tekupdb_sync_seconds_count") == 2
    assert grown("tekupdb_syncs_ended_total", result="success") == 1
    assert grown("tekupdb_syncs_ended_total", result="error") == 1
    assert grown("tekupdb_sync_documents_total", outcome="written") == 1
    assert grown("tekupdb_sync_passages_total", outcome="embedded") == 1


def test_figures_are_those_of_the_status(client):
    client.put_document("r", "another", "Another text to have figures of.")
    metrics, status = Metrics(client), client.status()
    assert metrics.value("tekupdb_index_vectors") == status["index"]["vectors"]
    assert metrics.value("tekupdb_index_documents") == status["index"]["documents"]
    assert metrics.value("tekupdb_follower_state", state=status["follower"]["state"]) == 1
    assert metrics.value("tekupdb_ready") == metrics.value("tekupdb_database_connected") == 1
    assert metrics.value("tekupdb_leader") == status["leader"]
    assert metrics.value("tekupdb_pool_size") == status["database"]["pool"]["size"]
    assert metrics.value("tekupdb_build_info", version=status["version"]) == 1
    assert metrics.value("tekupdb_model_info", model=status["embedding"]["model"]) == 1
    assert metrics.value("tekupdb_model_change_wanted") == 0
    assert metrics.value("process_resident_memory_bytes") > 1 << 20
    started = metrics.value("process_start_time_seconds")
    assert started == Metrics(client).value("process_start_time_seconds") and abs(started - time.time()) < 3600
    assert 0 < metrics.value("process_open_fds") < metrics.value("process_max_fds")


def test_the_pass_through_waits_are_counted(daemon, client, wires):
    def count():
        return Metrics(client).value("tekupdb_pool_wait_seconds_count", pool="passthrough")

    before = count()
    wire = wires()
    wire.value("SELECT 1")
    wire.value("SELECT 2")
    assert count() >= before + 2


def test_without_the_database(make_daemon, server):
    daemon = make_daemon(database_url=server.url("tekup_db"))
    daemon.spawn()
    daemon.wait_ready()
    server.stop()
    wait_for(lambda: Metrics(daemon.client).value("tekupdb_database_connected") == 0, "it to be noticed")
    metrics = Metrics(daemon.client)
    assert metrics.value("tekupdb_ready") == 0
    server.start()
    daemon.wait_works()
    assert Metrics(daemon.client).value("tekupdb_ready") == 1
