"""TekupVault's services find here the calls that they make: POST /api/search, GET /api/sync-status,
GET /health. Their form is what those services were written for, errors included."""

import datetime
import hashlib
import hmac
import http.client

import pytest

from client import Response, free_port, raw

TEXTS = {
    ("github", "tekup/handbook", "leave.md"): "Whoever wants a day off asks a week before. A day off is paid.",
    ("github", "tekup/handbook", "sick.md"): "Whoever is ill calls before nine and rests.",
    ("notion", "tekup/wiki", "parental.md"): "Parents of a child may take leave, a day off at a time.",
    ("notion", "tekup/wiki", "<b>&.md"): "Deploys of the billing service wait for the tests. \N{SNOWMAN} \"quoted\"",
}
FIELDS = {"id", "source", "repository", "path", "content", "metadata", "sha", "similarity"}


@pytest.fixture(scope="module", autouse=True)
def documents(client):
    put = {}
    for (source, repository, path), text in TEXTS.items():
        put[path] = client.put_document(repository, path, text, source=source, sha="5ba93c9db0cff93f",
                                        metadata={"path": path, "big": 12345678901234567890, "list": [1.50, None]})
    return put


def search(client, **fields):
    answer = client.post("/api/search", fields)
    assert answer.status == 200, answer
    assert set(answer.json) == {"success", "results", "count"}
    assert answer.json["success"] is True
    assert answer.json["count"] == len(answer.json["results"])
    similarities = [result["similarity"] for result in answer.json["results"]]
    assert similarities == sorted(similarities, reverse=True)
    return answer.json["results"]


def failed(answer, status, part=""):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"success", "error"}
    assert answer.json["success"] is False
    assert isinstance(answer.json["error"], str) and part in answer.json["error"], answer


# ---- Searches ----

def test_a_search_has_the_fields_that_the_services_know(client, documents):
    results = search(client, query="how do I get a day off")
    assert results[0]["path"] == "leave.md"
    for result in results:
        assert set(result) == FIELDS
        key = result["source"], result["repository"], result["path"]
        assert result["id"] == documents[result["path"]]["id"]
        assert result["content"] == TEXTS[key]
        assert result["sha"] == "5ba93c9db0cff93f"
        assert result["metadata"] == {"path": result["path"], "big": 12345678901234567890, "list": [1.50, None]}
        assert isinstance(result["similarity"], float) and -1 <= result["similarity"] <= 1


def test_what_stands_in_a_document_comes_as_it_is(client):
    (result,) = search(client, query="Deploys of the billing service", limit=1)
    assert result["path"] == "<b>&.md" and result["content"].endswith('\N{SNOWMAN} "quoted"')


def test_limit_is_ten_unless_given(client):
    for number in range(15):
        client.put_document("many", f"{number}", f"A day off, the text of number {number}.")
    assert len(search(client, query="day off")) == 10
    assert len(search(client, query="day off", limit=12)) == 12
    assert len(search(client, query="day off", limit=1)) == 1
    client.delete("/v1/documents/by-path", source="test", repository="many", path="0")


def test_threshold_leaves_out_what_is_less_similar(client):
    every = search(client, query="a day off", limit=100)
    between = (every[0]["similarity"] + every[-1]["similarity"]) / 2
    assert every[0]["similarity"] > max(between, 0) >= 0
    between = max(between, 0)
    near = search(client, query="a day off", limit=100, threshold=between)
    assert 0 < len(near) < len(every)
    assert all(result["similarity"] >= between for result in near)
    assert search(client, query="a day off", threshold=1) == []


def test_source_and_repository_narrow(client):
    assert {r["source"] for r in search(client, query="a day off", source="notion")} == {"notion"}
    assert {r["repository"] for r in search(client, query="a day off", repository="tekup/handbook")} \
        == {"tekup/handbook"}
    assert search(client, query="a day off", source="github", repository="tekup/wiki") == []


@pytest.mark.parametrize("body, part", [
    ({}, "query"), ({"query": ""}, "query"), ({"query": "  "}, "query"), ({"query": 7}, "query"),
    ({"query": "x", "limit": 0}, "limit"), ({"query": "x", "limit": 1001}, "limit"),
    ({"query": "x", "limit": "10"}, "limit"), ({"query": "x", "limit": 2.5}, "limit"),
    ({"query": "x", "threshold": 1.1}, "threshold"), ({"query": "x", "threshold": -0.1}, "threshold"),
    ({"query": "x", "threshold": "0.5"}, "threshold"), ({"query": "x", "source": ""}, "source"),
    ({"query": "x", "repository": 3}, "repository"), ({"query": "x", "colour": "red"}, "colour"),
    ({"embedding": [0.5] * 1536}, "embedding"), ([], "object"), ("", "empty"), ("{", "JSON"),
    (b'{"query": "a\xff"}', "UTF-8"),
])
def test_a_bad_search_is_told_so(client, body, part):
    failed(client.post("/api/search", body), 400, part)


# ---- Errors of every kind ----

def test_errors_have_the_old_form_whoever_refuses(daemon, client):
    failed(client.get("/api/nothing"), 404)
    failed(client.post("/api/sync-status", {}), 405, "GET")
    failed(client.get("/api/search"), 405, "POST")
    assert client.get("/api/search").headers["Allow"] == "POST"
    failed(client.post("/api/search", "query=x", content_type="text/plain"), 415)
    failed(client.post("/api/search?limit=3", {"query": "x"}), 400, "limit")
    failed(client.get("/api/sync-status", source="github"), 400, "source")
    assert raw(daemon.socket, b"POST /api/search HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n").endswith(
        b'is not a number of bytes"}')


@pytest.mark.parametrize("megabytes", [17, 26, 40])
def test_a_body_that_is_too_large_has_the_old_form(client, megabytes):
    """Within what the webhook may send or beyond it, which other code refuses."""
    failed(client.post("/api/search", '{"query": "%s"}' % ("x" * (megabytes << 20))), 413)
    answer = client.post("/v1/search", '{"query": "%s"}' % ("x" * (megabytes << 20)))
    assert answer.status == 413 and set(answer.json) == {"error"} and answer.error["code"] == "too_large"


def test_a_connection_that_is_kept_gets_each_form(client):
    with client as kept:
        for _ in range(3):
            failed(kept.get("/api/nothing"), 404)
            assert kept.get("/v1/nothing").error["code"] == "not_found"
            assert search(kept, query="a day off", limit=1)


def test_without_the_database(make_daemon, server):
    daemon = make_daemon(database_url=server.url("tekup_db"))
    daemon.start()
    daemon.client.put_document("r", "p", "A day off.")
    assert search(daemon.client, query="a day off")
    server.stop()
    failed(daemon.client.post("/api/search", {"query": "a day off"}), 503)
    answer = daemon.client.get("/api/sync-status")
    failed(answer, 503)
    assert answer.headers["Retry-After"]
    assert daemon.client.get("/health").status == 200
    server.start()
    daemon.wait_works()
    assert search(daemon.client, query="a day off")


# ---- How repositories stand ----

def test_sync_status_is_newest_first(daemon, client, tmp_path):
    assert client.get("/api/sync-status").json == {"success": True, "items": []}
    tmp_path.chmod(0o755)
    (tmp_path / "a.md").write_text("A text that is in a directory.")
    daemon.add_source("first", tmp_path)
    (tmp_path / "gone").mkdir()
    daemon.add_source("gone", tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    daemon.add_source("never", tmp_path)
    daemon.sync("first")
    daemon.sync("gone")
    answer = client.get("/api/sync-status")
    assert answer.status == 200 and set(answer.json) == {"success", "items"} and answer.json["success"] is True
    items = answer.json["items"]
    for item in items:
        assert set(item) == {"id", "source", "repository", "status", "last_sync_at", "error_message"}
        datetime.datetime.strptime(item["last_sync_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    moments = [item["last_sync_at"] for item in items]
    assert moments == sorted(moments, reverse=True)
    assert [item["repository"] for item in items] == ["gone", "first", "never"]
    gone, first, never = items
    assert gone["status"] == "error" and gone["error_message"]
    assert (first["status"], first["error_message"], first["source"]) == ("success", None, "local")
    assert never["status"] == "pending"
    assert first["id"] == daemon.sync_item("first")["id"]


def test_health(client):
    answer = client.get("/health")
    assert answer.status == 200 and answer.json == {"status": "ok"}
    assert client.call("HEAD", "/health").status == 200


# ---- Over TCP, as the services call ----

KEY = "key of TekupVault's services"


def over_tcp(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    received = connection.getresponse()
    answer = Response(received.status, received.headers, received.read())
    connection.close()
    return answer


def test_the_key_comes_in_either_header(make_daemon):
    port = free_port()
    daemon = make_daemon(config=f"[http]\nlisten = 127.0.0.1:{port}\n",
                         environment={"TEKUP_HTTP_KEY": KEY, "TEKUP_GITHUB_WEBHOOK_SECRET": "secret"})
    daemon.start()
    daemon.client.put_document("r", "p", "A day off.")
    asked = '{"query": "a day off"}'
    for headers in ({"X_API_Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        assert over_tcp(port, "POST", "/api/search", asked, **headers).json["count"] == 1
        assert over_tcp(port, "GET", "/api/sync-status", **headers).json == {"success": True, "items": []}
        failed(over_tcp(port, "GET", "/api/nothing", **headers), 404)
    for headers in ({}, {"X_API_Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
        failed(over_tcp(port, "POST", "/api/search", asked, **headers), 401)
        failed(over_tcp(port, "GET", "/api/sync-status", **headers), 401)
    assert over_tcp(port, "GET", "/health").json == {"status": "ok"}
    unsigned = over_tcp(port, "POST", "/webhook/github", "{}", X_GitHub_Event="ping", X_GitHub_Delivery="1")
    assert unsigned.status == 401
    right = "sha256=" + hmac.new(b"secret", b"{}", hashlib.sha256).hexdigest()
    signed = over_tcp(port, "POST", "/webhook/github", "{}", X_GitHub_Event="ping", X_GitHub_Delivery="1",
                      X_Hub_Signature_256=right)
    assert signed.status == 202
