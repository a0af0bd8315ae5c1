"""The provider openai: what it pays for, what it bears, and what it says when it cannot."""

import threading
import time

import pytest

from corpus import document
from daemon import wait_for
from fakes.openai import REFUSED, OpenAI, error
from fakes.service import answer, date_in


@pytest.fixture
def openai():
    with OpenAI() as fake:
        yield fake


@pytest.fixture
def make(make_daemon, openai):
    """Starts a daemon that asks the fake."""
    def start(more="", key=openai.key, **keywords):
        environment = {"OPENAI_API_KEY": key} if key else {}
        return make_daemon(config=openai.config(more), environment=environment, **keywords).start()
    return start


def put(daemon, path, content, status=201):
    reply = daemon.client.put("/v1/documents", {
        "source": "test", "repository": "r", "path": path, "content": content})
    assert reply.status == status, reply
    return reply


def write_files(root, files):
    for path, content in files.items():
        (root / path).write_text(content)


def test_documents_and_queries_are_embedded(make, openai):
    daemon = make()
    put(daemon, "cats", "the cat sat on the mat")
    put(daemon, "ships", "a ship left the harbour at dawn")
    hits = daemon.client.search(query="the cat on a mat", limit=2)
    assert [hit["path"] for hit in hits] == ["cats", "ships"]
    assert daemon.client.search(query="the cat sat on the mat", limit=1)[0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert daemon.sql('SELECT DISTINCT model FROM tekupdb."Chunk"') == [("text-embedding-3-small",)]
    request = openai.requests[0]
    assert request.json["encoding_format"] == "base64" and request.json["dimensions"] == 1536
    assert request.headers["user-agent"].startswith("tekupdb/")
    assert openai.key not in daemon.log()


def test_the_same_text_is_paid_for_once(make, openai):
    daemon = make()
    put(daemon, "one", "the very same text")
    put(daemon, "two", "the very same text")
    put(daemon, "one", "the very same text", status=200)
    assert openai.inputs == ["the very same text"]
    for _ in range(3):
        daemon.client.search(query="asked again and again", limit=1)
    assert openai.inputs.count("asked again and again") == 1


def test_a_sync_is_sent_in_batches(make, openai, tmp_path):
    daemon = make("batch = 40\nparallel = 2")
    files = {f"{number}.md": document(f"batch {number}", 6, 800) for number in range(60)}
    write_files(tmp_path, files)
    openai.fail(delay=0.05)
    daemon.add_source("docs", tmp_path)
    daemon.sync("docs")
    chunks = daemon.sql('SELECT count(*) FROM tekupdb."Chunk"')[0][0]
    assert len(openai.inputs) == len(set(openai.inputs)) <= chunks
    assert max(openai.batches) > 6 and max(openai.batches) <= 40, openai.batches
    assert len(openai.batches) < len(files), "texts of several documents go together"
    openai.mend()
    openai.inputs.clear()
    daemon.sync("docs")
    assert openai.inputs == []


def test_requests_are_full(make, openai, tmp_path):
    """Calls at most 1.1 times what batching allows, whatever the sizes of documents."""
    daemon = make("batch = 64")
    for number in range(900):
        text = document(f"full {number}", 1 + number % 4, 900)
        (tmp_path / f"{number}.md").write_text(text)
    daemon.add_source("full", tmp_path)
    item = daemon.sync("full")
    assert item["status"] == "success", item
    texts = len(openai.inputs)
    assert texts == len(set(openai.inputs)) == item["last"]["embedded"]
    assert texts > 2000
    assert max(openai.batches) <= 64 and len(openai.batches) <= 1.1 * -(-texts // 64), openai.batches


def test_what_was_paid_for_survives_a_kill(make, openai, tmp_path):
    """Killed after the server's answer and before the documents are written."""
    daemon = make("batch = 64")
    files = {f"{number}.md": document(f"paid {number}", 4, 900) for number in range(160)}
    write_files(tmp_path, files)
    daemon.add_source("paid", tmp_path)
    lock = daemon.lock()
    daemon.request_sync("paid")
    daemon.wait_blocked(4)  # all threads of the sync: none is asking
    paid = len(openai.inputs)
    assert paid > 64
    daemon.kill()
    lock.close()
    daemon.start()
    daemon.wait_synced("paid")
    item = daemon.sync("paid")
    assert item["status"] == "success" and item["documentCount"] == len(files)
    assert len(openai.inputs) == len(set(openai.inputs)), "nothing is paid for twice"
    assert daemon.sql('SELECT count(*) FROM tekupdb."PaidEmbedding"') == [(0,)]


def test_plain_numbers_and_other_orders_are_taken(make, openai):
    openai.numbers = True
    openai.spoil = lambda data: data.reverse()
    daemon = make()
    put(daemon, "long", "\n\n".join(document(f"order {number}", 1, 3000) for number in range(6)))
    for content, similarity in daemon.sql(
            'SELECT substr(d.content, c."startByte" + 1, c."endByte" - c."startByte"), 1 FROM tekupdb."Chunk" c'
            ' JOIN vault."VaultDocument" d ON d.id = c."documentId"'):
        assert daemon.client.search(query=content, limit=1)[0]["similarity"] == pytest.approx(similarity, abs=1e-4)


SPOILED = [
    (lambda data: data.pop(), "embeddings came for"),
    (lambda data: data[0].update(index=1), "index"),
    (lambda data: data[0].update(embedding=[1.0] * 768), "gives vectors of 768 numbers"),
    (lambda data: data[0].update(embedding="AAAA"), "gives vectors of"),
    (lambda data: data[0].update(embedding=[0.0] * 1536), "all zero"),
    (lambda data: data[0].update(embedding=[1e200] * 1536), "not finite"),
    (lambda data: data[0].update(embedding=["x"] * 1536), "no number"),
    (lambda data: data[0].pop("embedding"), "missing"),
]


def test_a_wrong_answer_is_refused_before_anything_is_written(make, openai):
    daemon = make()
    text = document("one", 1, 6000) + "\n\n" + document("two", 1, 6000)
    for openai.spoil, words in SPOILED:
        reply = put(daemon, "bad", text, status=503)
        assert words in reply.json["error"]["message"], reply
        assert daemon.client.documents() == []
    openai.spoil = None
    put(daemon, "bad", text)


def test_a_chunk_that_the_server_refuses_is_skipped(make, openai, tmp_path):
    daemon = make()
    files = {f"{number}.md": document(f"refused {number}", 1, 300) for number in range(20)}
    files["bad.md"] = "# One\n\n" + document("good part", 1, 6000) + f"\n\n# Two\n\n{REFUSED} " + document("rest", 1, 5000)
    files["only.md"] = REFUSED
    write_files(tmp_path, files)
    daemon.add_source("docs", tmp_path)
    status = daemon.sync("docs")
    assert status["status"] == "success", status
    assert len(daemon.client.documents()) == 22, "the documents are there"
    bad = daemon.sql('SELECT count(*) FROM tekupdb."Chunk" c JOIN vault."VaultDocument" d ON d.id = c."documentId"'
                     " WHERE d.path = 'bad.md'")[0][0]
    assert bad >= 1, "the rest of the document is found"
    assert "event=embedding.refused" in daemon.log()
    assert daemon.client.search(query=files["3.md"], limit=1)[0]["path"] == "3.md"


def test_what_is_refused_is_not_asked_for_again(make, openai, tmp_path):
    daemon = make()
    write_files(tmp_path, {"all.md": f"Nothing of this {REFUSED} text is taken.", "fine.md": "This is taken."})
    daemon.add_source("refused", tmp_path)
    item = daemon.sync("refused")
    assert item["status"] == "success" and item["last"]["rejected"] == 1 and item["documentCount"] == 2
    assert daemon.sql('SELECT count(*) FROM tekupdb."RejectedChunk"') == [(1,)]
    openai.forget()
    last = daemon.sync("refused")["last"]
    assert last["unchanged"] == 2 and last["written"] == 0
    write_files(tmp_path, {"copy.md": f"Nothing of this {REFUSED} text is taken."})
    assert daemon.sync("refused")["last"]["rejected"] == 1
    assert openai.requests == []
    write_files(tmp_path, {"all.md": "Now it can be taken."})
    last = daemon.sync("refused")["last"]
    assert last["written"] == last["embedded"] == 1
    (tmp_path / "copy.md").unlink()
    daemon.sync("refused")
    assert daemon.sql('SELECT count(*) FROM tekupdb."RejectedChunk"') == [(0,)]


def test_a_server_that_refuses_everything_means_no_text(make, openai):
    openai.fail(answer=error(400, "encoding_format is not supported"))
    daemon = make()
    reply = put(daemon, "x", "a text", status=503)
    assert "encoding_format is not supported" in reply.json["error"]["message"]
    assert daemon.client.documents() == []


def test_a_wrong_key_and_a_wrong_model_are_said_in_words(make, openai):
    daemon = make(key="sk-wrong-0ther")
    for reply in (put(daemon, "x", "text", status=503), daemon.client.post("/v1/search", {"query": "text"})):
        assert reply.status == 503
        assert "refuses the key (401)" in reply.json["error"]["message"]
        assert "sk-wrong" not in str(reply.json)
    assert "sk-wrong" not in daemon.log()
    daemon.stop()
    daemon = make("model = no-such-model")
    assert 'no model "no-such-model"' in put(daemon, "x", "text", status=503).json["error"]["message"]


def test_no_money_left_is_not_asked_for_again(make, openai):
    openai.fail(answer=error(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"))
    daemon = make()
    assert "quota is used up" in put(daemon, "x", "text", status=503).json["error"]["message"]
    assert len(openai.requests) == 1


def test_limits_are_waited_out(make, openai):
    daemon = make()
    openai.fail(times=2, answer=error(429, "Rate limit reached", "requests", "rate_limit_exceeded",
                                      {"Retry-After": "1"}))
    began = time.monotonic()
    put(daemon, "x", "text")
    assert time.monotonic() - began >= 2
    openai.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s",
                      "x-ratelimit-remaining-tokens": "100000", "x-ratelimit-reset-tokens": "0s"}
    put(daemon, "y", "another text")
    put(daemon, "z", "a third text")
    second, third = openai.requests[-2:]
    assert third.time - second.time >= 0.9, "nothing is sent before the limit is back"
    assert [request.status for request in openai.requests] == [429, 429, 200, 200, 200]
    openai.forget()
    openai.headers = {}
    openai.fail(times=1, answer=error(429, "Rate limit reached", "requests", "rate_limit_exceeded",
                                      {"Retry-After": date_in(4), "x-ratelimit-reset-requests": "1s"}))
    put(daemon, "w", "a fourth text")
    refused, taken = openai.requests
    assert taken.time - refused.time > 3.5, "until the date that it said"


def test_a_query_does_not_wait_behind_documents(make, openai):
    daemon = make("parallel = 1")
    go_on = threading.Event()
    openai.fail(lambda request: "slowly" in request.body.decode(), until=go_on)
    writer = threading.Thread(target=put, args=(daemon, "slow", "slowly does it"))
    writer.start()
    wait_for(lambda: openai.requests, "the document to be on its way")
    assert daemon.client.search(query="quickly", limit=1) == [], "answered while the document is not"
    assert writer.is_alive()
    go_on.set()
    writer.join()


def test_the_server_is_away(make, openai):
    daemon = make()
    put(daemon, "x", "a text")
    openai.fail(answer=answer(502, "bad gateway"))
    reply = daemon.client.post("/v1/search", {"query": "something"})
    assert reply.status == 503 and "502" in reply.json["error"]["message"]
    given = [1.0] + [0.0] * 1535
    assert len(daemon.client.search(embedding=given, limit=1)) == 1, "what needs no server goes on"
    batch = daemon.client.post("/v1/search/batch", {
        "searches": [{"query": "a"}, {"embedding": given}]}).json["responses"]
    assert batch[0]["error"]["code"] == "unavailable" and batch[1]["results"]
    # A proxy that sends elsewhere is not the fault of who searches or writes.
    for where in ("ftp://elsewhere/", f"{openai.url}/v1/embeddings"):
        openai.mend()
        openai.fail(answer=answer(307, None, {"Location": where}))
        reply = daemon.client.post("/v1/search", {"query": "something"})
        assert reply.status == 503 and reply.error["code"] == "unavailable", reply
        assert "the embedding server: " in reply.error["message"] and "redirects" in reply.error["message"]
        put(daemon, "z", "a text of its own", status=503)


def test_a_daemon_that_waits_for_the_server_stops_at_once(make, openai):
    daemon = make()
    openai.fail(answer=error(429, "Rate limit", "requests", "rate_limit_exceeded", {"Retry-After": "300"}))
    writer = threading.Thread(
        target=lambda: daemon.client.put("/v1/documents", {
            "source": "test", "repository": "r", "path": "x", "content": "text"}))
    writer.start()
    wait_for(lambda: openai.requests, "the call")
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 60
    writer.join()


def test_a_daemon_that_waits_for_a_limit_stops_at_once(make, openai):
    daemon = make()
    openai.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5m0s"}
    put(daemon, "x", "text")
    writer = threading.Thread(
        target=lambda: daemon.client.put("/v1/documents", {
            "source": "test", "repository": "r", "path": "y", "content": "more text"}))
    writer.start()
    time.sleep(0.5)
    assert len(openai.requests) == 1, "nothing is sent before the limit is back"
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 60
    writer.join()


@pytest.mark.parametrize("more, words", [
    ("api_key_env = NOT_THERE", "NOT_THERE is not set"),
    ("api_key_file = /nonexistent/key", "/nonexistent/key"),
    ("base_url = ftp://x", "http"),
    ("dimensions = some", "auto, on or off"),
    ("model =", "empty"),
])
def test_settings_that_cannot_work_are_said_at_the_start(make_daemon, openai, more, words):
    config = openai.config()
    if more.startswith("base_url"):
        config = config.replace(f"base_url = {openai.url}/v1", "")
    daemon = make_daemon(config=config + more + "\n").spawn()
    assert daemon.wait_exit() == 1
    assert words in daemon.log()


def test_azure(make_daemon):
    class Azure(OpenAI):
        def handle(self, request):
            if request.headers.get("api-key") != self.key or "authorization" in request.headers:
                return error(401, "Access denied due to invalid subscription key")
            if request.query != {"api-version": "2024-02-01"}:
                return error(404, "Resource not found")
            if request.path != "/openai/deployments/mine/embeddings":
                return error(404, "The API deployment for this resource does not exist")
            request.path = "/v1/embeddings"
            request.headers["authorization"] = f"Bearer {self.key}"
            return super().handle(request)

    with Azure() as azure:
        config = (f"[embedding]\nprovider = openai\nbase_url = {azure.url}/openai/deployments/mine/\n"
                  "api_version = 2024-02-01\napi_key_env = AZURE_KEY\n")
        daemon = make_daemon(config=config, environment={"AZURE_KEY": azure.key}).start()
        put(daemon, "x", "some text")
        assert daemon.client.search(query="some text", limit=1)[0]["path"] == "x"
