"""/openapi.json says what every call takes and answers, errors included.

tests/test_openapi.c sees to it that the description has the calls of the daemon's table and no
others. Here they are made: what they answer is what it says, and it says of nothing that never
comes.
"""

import hashlib
import hmac
import http.client
import json
import re
import uuid

import pytest

from client import Client, Response, free_port, target
from daemon import Daemon, wait_for
from events import Events
from openapi import Description
from vectors import base64_of, octets, random_vector

KEY, SECRET = "key of the tests", "secret of the tests"
GOOD = {"source": "test", "repository": "r", "path": "p", "content": "A day off is asked for a week before."}
ORIGIN = "http://elsewhere.example"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
# What no test can bring about at will: a defect, and, but for the calls of `away`, too much to do.
UNSEEN = {500, 503}


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def daemon(port):
    daemon = Daemon(f"[http]\nlisten = 127.0.0.1:{port}\nmax_body = 64 KiB\n[events]\nclients = 0\n",
                    environment={"TEKUP_HTTP_KEY": KEY, "TEKUP_GITHUB_WEBHOOK_SECRET": SECRET})
    try:
        yield daemon.start()
    finally:
        daemon.clean_up()


@pytest.fixture(scope="module")
def description(client):
    answer = client.get("/openapi.json")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    description = Description(answer.json)
    before, Client.observer = Client.observer, description.check
    yield description
    Client.observer = before


@pytest.fixture(scope="module", autouse=True)
def documents(description, client):
    return [client.put_document("r", f"{number}", f"Text number {number} of a day off, http://a.example.",
                                metadata={"url": "https://a.example/1"}) for number in range(5)]


def over_tcp(description, port, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = dict(headers or {})
    connection.request(method, path, body=body, headers=headers)
    received = connection.getresponse()
    answer = Response(received.status, received.headers, received.read())
    connection.close()
    description.check(method, path, headers, body, answer)
    return answer


def fill(path):
    return path.replace("{id}", "cnone")


# ---- The description itself ----

def references(part):
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_openapi(description, client):
    document = description.document
    assert document["openapi"].startswith("3.1.") and document["info"]["version"] == client.status()["version"]
    assert set(document) <= {"openapi", "info", "servers", "security", "tags", "paths", "components"}
    used = set(references(document))
    for reference in used:
        assert description.resolve({"$ref": reference})
    for kind in ("schemas", "responses"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, f"{name} is used by nothing"
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    for schema in document["components"]["schemas"].values():
        validator.check_schema(schema)
    tags, names = {tag["name"] for tag in document["tags"]}, []
    for method, path, operation in description.operations():
        names.append(operation["operationId"])
        assert set(operation["tags"]) <= tags and operation["summary"]
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(.*?)\}", path)), path
        for part in operation.get("parameters", []):
            if "schema" in part:
                validator.check_schema(part["schema"])
        for status, response in operation["responses"].items():
            assert 200 <= int(status) < 600 and description.resolve(response)["description"]
    assert len(names) == len(set(names))


def test_it_passes_the_validator_of_others(description):
    validator = pytest.importorskip("openapi_spec_validator", reason="python3-openapi-spec-validator is not here")
    validator.validate_spec(description.document)


def test_an_unchanged_description_is_not_sent_again(client):
    tag = client.get("/openapi.json").headers["ETag"]
    assert client.call("GET", "/openapi.json", headers={"If-None-Match": tag}).status == 304


# ---- Every call ----

def test_methods_that_are_not_described_are_not_there(description, client):
    for path, item in description.document["paths"].items():
        for method in METHODS:
            if method.lower() not in item:
                assert client.call(method, fill(path)).status == 405, (method, path)
    for path in ("/v1", "/v1/nothing", "/v1/documents/a/b", "/v2/search", "/api/nothing"):
        for method in METHODS:
            assert client.call(method, path).status == 404


def test_every_get_answers_head(description, client):
    for method, path, _ in list(description.operations()):
        if method == "GET" and path != "/v1/events":
            answer = client.call("HEAD", fill(path))
            assert answer.body == b"" and answer.status == client.get(fill(path)).status


def test_without_the_key_and_from_elsewhere(description, port):
    for method, path, operation in list(description.operations()):
        answer = over_tcp(description, port, method, fill(path))
        if operation.get("security") == []:
            assert answer.status not in (403,)
        else:
            assert answer.status == 401
            from_elsewhere = {"X-API-Key": KEY, "Origin": ORIGIN}
            assert over_tcp(description, port, method, fill(path), from_elsewhere).status == 403


def test_parameters_that_are_not_described_are_refused(description, client):
    for method, path, operation in list(description.operations()):
        if "400" not in operation["responses"] or path in ("/mcp", "/webhook/github"):
            continue
        answer = client.call(method, fill(path) + "?colour=red", "{}" if "requestBody" in operation else None)
        assert answer.status == 400 and "colour" in answer.body.decode(), (method, path, answer)


def test_bodies_of_another_kind_or_size_are_refused(description, client):
    for method, path, operation in list(description.operations()):
        if "415" in operation["responses"]:
            assert client.call(method, path, "x", "text/plain").status == 415
        if "413" in operation["responses"]:
            large = " " * ((26 << 20) if path == "/webhook/github" else 65537)
            assert client.call(method, path, large).status == 413, (method, path)


VECTOR = random_vector(1)


@pytest.mark.parametrize("body", [
    {"query": "a day off"}, {"query": "a day off", "include": []}, {"embedding": list(VECTOR)},
    {"embedding": base64_of(VECTOR), "include": ["content"]}, {"query": "day", "include": ["chunk", "content", "metadata"]},
    {"query": "\"day off\" tex* -heron", "mode": "text", "include": ["chunk", "highlights"]},
    {"query": "day off", "mode": "hybrid", "embedding": list(VECTOR), "group": "chunk", "diversity": 0.5},
    {"query": "day off", "mode": "vector", "include": ["highlights"], "diversity": 1, "group": "document"},
    {"query": "day", "limit": 1000, "threshold": -1, "source": "test", "repository": "r", "pathPrefix": "", "ef": 64,
     "metadata": {"url": "https://a.example/1"}},
])
def test_searches(client, body):
    answer = client.post("/v1/search", body)
    assert answer.status == 200 and answer.json["count"] > 0
    batch = client.post("/v1/search/batch", {"searches": [body, {"limit": 0}, body]})
    assert [set(r) == {"error"} for r in batch.json["responses"]] == [False, True, False]


def test_a_search_by_octets(client):
    answer = client.post("/v1/search?limit=2&include=chunk,content&threshold=-1&ef=80", octets(VECTOR),
                         content_type="application/octet-stream")
    assert answer.status == 200 and answer.json["count"] == 2
    both = client.post("/v1/search?mode=hybrid&query=day+off&group=chunk&diversity=0.2", octets(VECTOR),
                       content_type="application/octet-stream")
    assert both.status == 200 and both.json["mode"] == "hybrid"


def test_a_whole_number_may_have_a_point(description, client):
    """Of JSON Schema 10.0 is an integer, and there are languages that write every number so."""
    for path, field, value in (("/v1/search", "limit", 2.0), ("/v1/search", "ef", 1e2), ("/api/search", "limit", 2.0)):
        body = {"query": "day off", field: value}
        assert description.takes("POST", path, body)
        answer = client.post(path, body)
        assert answer.status == 200 and (field != "limit" or answer.json["count"] <= 2), answer
    for value in (2.5, -2.0, 1e300):
        assert not description.takes("POST", "/v1/search", {"query": "x", "limit": value})
        assert client.post("/v1/search", {"query": "x", "limit": value}).status == 400


@pytest.mark.parametrize("path, body", [
    ("/v1/search", {}), ("/v1/search", {"query": ""}), ("/v1/search", {"query": "x", "limit": 0}),
    ("/v1/search", {"query": "x", "limit": 1001}), ("/v1/search", {"query": "x", "colour": 1}),
    ("/v1/search", {"embedding": [0.5] * 7}), ("/v1/search", {"embedding": "AAAA"}),
    ("/v1/search", {"query": "x", "threshold": 1.5}), ("/v1/search", {"query": "x", "include": ["colour"]}),
    ("/v1/search", {"query": "x", "ef": 0}), ("/v1/search", {"query": "x", "metadata": []}),
    ("/v1/search", {"query": "x", "mode": "words"}), ("/v1/search", {"query": "x", "group": "file"}),
    ("/v1/search", {"query": "x", "diversity": 1.5}), ("/v1/search", {"embedding": list(VECTOR), "mode": "text"}),
    ("/v1/search", {"embedding": list(VECTOR), "mode": "hybrid"}),
    ("/v1/search", {"query": "x", "embedding": list(VECTOR)}),
    ("/v1/search", {"query": "x", "mode": "text", "threshold": 0.5}),
    ("/v1/search/batch", {}), ("/v1/search/batch", {"searches": []}), ("/v1/search/batch", {"searches": [1] * 257}),
    ("/api/search", {}), ("/api/search", {"query": "x", "threshold": -0.5}), ("/api/search", {"query": "x", "limit": 0}),
    ("/v1/documents", {}), ("/v1/documents", {**GOOD, "content": ""}), ("/v1/documents", {**GOOD, "metadata": 1}),
    ("/v1/documents", {**GOOD, "colour": "red"}), ("/v1/documents", {**GOOD, "sha": 1}),
    ("/v1/sources", {}), ("/v1/sources", {"source": "nothing", "repository": "r"}),
    ("/v1/sources", {"source": "local", "repository": "r", "intervalSeconds": -1}),
    ("/v1/sync", {"source": "local"}), ("/v1/sync", {"colour": "red"}),
])
def test_what_the_description_forbids_is_refused(description, client, path, body):
    method = "PUT" if path in ("/v1/documents", "/v1/sources") else "POST"
    assert not description.takes(method, path, body)
    assert client.call(method, path, body).status == 400


def test_documents(client, documents):
    body = {**GOOD, "sha": "5ba93c9d", "metadata": {"a": [1, None]}}
    assert client.put("/v1/documents", {**body, "embedding": list(VECTOR)}).status == 201
    assert client.put("/v1/documents", body).status == 200
    page = client.get("/v1/documents", limit=2, source="test", repository="r", pathPrefix="")
    assert page.status == 200 and page.json["next"]
    assert client.get("/v1/documents", after=page.json["next"]).status == 200
    place = {"source": "test", "repository": "r", "path": "p"}
    id = client.get("/v1/documents/by-path", **place).json["id"]
    assert client.get(f"/v1/documents/{id}").status == 200
    assert client.get(f"/v1/documents/{id}/around", chunk=0, before=3, after=3).status == 200
    assert client.get(f"/v1/documents/{documents[0]['id']}/around").json["url"] == "https://a.example/1"
    assert client.get(f"/v1/documents/{id}/around", chunk=9).status == 404
    assert client.get("/v1/embeddings", limit=2).headers["Tekup-Next"]
    assert client.delete("/v1/documents/by-path", **place).status == 200
    for call in (client.get, client.delete):
        assert call("/v1/documents/by-path", **place).status == 404
        assert call(f"/v1/documents/{id}").status == 404
    assert client.delete(f"/v1/documents/{documents[4]['id']}").status == 200


def test_sources_and_syncs(daemon, client, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "a.md").write_text("A text of a directory.")
    (tmp_path / "a.bin").write_bytes(b"\0\1\2")
    source = {"source": "local", "repository": "described", "config": {"path": str(tmp_path)}, "intervalSeconds": 86400}
    name = {"source": "local", "repository": "described"}
    assert client.post("/v1/sources/test", source).status == 200
    assert client.put("/v1/sources", source).status == 201
    assert client.put("/v1/sources", {**source, "intervalSeconds": 0}).status == 200
    assert client.get("/v1/sources").status == 200
    assert client.get("/v1/repositories").status == 200
    daemon.wait_synced("described")
    lock = daemon.lock()
    (tmp_path / "b.md").write_text("Another text of a directory.")
    assert client.post("/v1/sync", {}).status == 202
    wait_for(lambda: client.get("/v1/sync", **name).json["items"][0]["status"] == "in_progress", "the sync to run")
    assert client.post("/v1/sync", name).status == 409
    assert client.delete("/v1/sources", **name).status == 409
    assert client.get("/api/sync-status").status == 200
    assert client.delete("/v1/sync", **name).status == 202
    lock.close()
    daemon.wait_synced("described")
    assert client.post("/v1/sync", {"source": "local", "repository": "none"}).status == 404
    assert client.delete("/v1/sync", **name).status == 404
    assert client.get("/v1/sync").status == 200
    assert client.delete("/v1/sources", documents="true", **name).status == 200
    assert client.delete("/v1/sources", **name).status == 404


def deliver(client, event, body, secret=SECRET, kind="application/json"):
    headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": str(uuid.uuid4()),
               "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    return client.call("POST", "/webhook/github", body, kind, headers).status


def test_the_webhook(client):
    push = {"ref": "refs/heads/main", "repository": {"full_name": "a/b", "default_branch": "main"}}
    assert deliver(client, "ping", b'{"zen": "x"}') == 202
    assert deliver(client, "push", json.dumps(push).encode()) == 202
    assert deliver(client, "ping", b'{"zen": "x"}', secret="wrong") == 401
    assert deliver(client, "push", b"[]") == 400


def test_the_old_calls(client):
    assert client.post("/api/search", {"query": "a day off", "limit": 3, "threshold": 0}).status == 200
    assert client.get("/health").status == 200


def rpc(client, method, id=1, **params):
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return client.post("/mcp", message if id is None else {**message, "id": id}, headers={"Accept": "application/json"})


def test_the_model_context_protocol(client):
    begun = rpc(client, "initialize", protocolVersion="2025-06-18", capabilities={},
                clientInfo={"name": "test", "version": "1"})
    assert begun.status == 200
    assert rpc(client, "notifications/initialized", None).status == 202
    of_2026 = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
               "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
               "io.modelcontextprotocol/clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "resources/list", "params": {"_meta": of_2026}}
    assert client.post("/mcp", message, headers={"MCP-Protocol-Version": "2026-07-28",
                                                 "Mcp-Method": "resources/list"}).status == 404
    assert rpc(client, "tools/call", name="search", arguments={"query": "a day off"}).status == 200
    assert client.post("/mcp", "{").status == 400
    assert client.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"Accept": "text/html"}).status == 406
    assert client.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"Origin": ORIGIN}).status == 403
    assert client.get("/.well-known/mcp.json").status == 200


def test_the_index(daemon, client):
    assert client.get("/v1/index").status == 200
    assert client.get("/v1/index/recall", sample=10, limit=3, ef=64).status == 200
    assert client.get("/v1/index/speed").status == 200
    assert client.post("/v1/index/snapshot", None).status == 200
    assert client.get("/v1/index/chore").status == 200
    assert client.post("/v1/database/pgvector", None).status in (200, 404)
    lock = daemon.lock("vault.\"VaultEmbedding\"", "ACCESS EXCLUSIVE")
    assert client.post("/v1/index/verify", None).status == 202
    assert client.post("/v1/index/verify", None).status == 409
    assert client.post("/v1/index/rebuild", None).status == 409
    lock.close()
    wait_for(lambda: not client.get("/v1/index/chore").json["running"], "the verification to end")
    assert client.post("/v1/index/rebuild", None).status == 202
    wait_for(lambda: not client.get("/v1/index/chore").json["running"], "the rebuilding to end")


def test_the_map(daemon, client):
    wait_for(lambda: client.get("/v1/map").status == 200, "the map to be made")
    point = client.search(query="a day off")[0]["embeddingId"]
    assert client.get("/v1/map", limit=2, source="test", repository="r").status == 200
    assert client.get("/v1/map/point", embeddingId=point).status == 200
    assert client.get("/v1/map/point", embeddingId=2000000000).status == 404


def test_the_console(client):
    begun = client.post("/v1/console", None)
    assert begun.status == 201
    key = begun.json["key"]
    assert client.call("POST", f"/v1/console?key={key}").status == 200
    assert client.delete("/v1/console", key=key).status == 200
    assert client.call("POST", f"/v1/console?key={key}").status == 404
    assert client.delete("/v1/console", key=key).status == 404
    for path in ("/", "/console.css", "/console.js"):
        answer = client.get(path)
        assert answer.status == 200
        assert client.call("GET", path, headers={"If-None-Match": answer.headers["ETag"]}).status == 304


def test_the_state(client):
    for path in ("/v1/status", "/metrics", "/healthz", "/readyz"):
        assert client.get(path).status == 200
    assert client.get("/v1/events").status == 503  # this daemon lets in no one


def test_events(description, make_daemon):
    """The stream does not end, so its head is compared, and that it begins."""
    daemon = make_daemon().start()
    for query in ({}, {"source": "test"}, {"source": "test", "repository": "r"}):
        with Events(str(daemon.socket), **query) as events:
            assert events.status == 200 and events.start().data == {"resumed": False}
            description.check("GET", target("/v1/events", **query), {}, None, Response(events.status, events.headers, b""))


def test_where_there_is_no_index(description, pgvector_database):
    url = pgvector_database("tekup_openapi")
    daemon = Daemon("[search]\nbackend = postgres\n", database_url=url)
    try:
        daemon.start()
        assert daemon.client.status()["index"] is None
        for method, path, _ in list(description.operations()):
            if path.startswith(("/v1/index", "/v1/map")):
                asked = path + ("?embeddingId=1" if path == "/v1/map/point" else "")
                assert daemon.client.call(method, asked).status == 404
        daemon.client.put_document("r", "p", "A day off.")
        assert daemon.client.search(query="a day off")
    finally:
        daemon.clean_up()


def test_without_the_database(description, make_daemon, server):
    daemon = make_daemon(database_url=server.url("tekup_db"))
    daemon.start()
    id = daemon.client.put_document("r", "p", "A day off.")["id"]
    server.stop()
    wait_for(lambda: daemon.client.get("/readyz").status == 503, "the daemon to notice")
    away = [("POST", "/v1/search", {"query": "x", "metadata": {}}), ("POST", "/api/search", {"query": "a day off"}),
            ("GET", "/api/sync-status", None), ("GET", "/v1/documents", None), ("PUT", "/v1/documents", GOOD),
            ("GET", f"/v1/documents/{id}", None), ("DELETE", f"/v1/documents/{id}", None),
            ("GET", f"/v1/documents/{id}/around", None), ("GET", "/v1/embeddings", None), ("GET", "/v1/sources", None), ("GET", "/v1/repositories", None),
            ("GET", "/v1/sync", None), ("POST", "/v1/sync", {"source": "local", "repository": "r"}),
            ("POST", "/webhook/github", {})]
    for method, path, body in away:
        assert daemon.client.call(method, path, body).status == 503, path
    assert daemon.client.search(query="a day off", include=[])
    assert daemon.client.post("/v1/search", {"query": "a day off"}).json["partial"]
    assert daemon.client.get("/v1/status").status == 200 and daemon.client.get("/metrics").status == 200


def test_everything_that_is_described_was_seen(description, request):
    """The last one: it looks at what the others have seen."""
    if len(request.session.items) < 30:
        pytest.skip("some of the tests before it were not run")
    missing = [(method, path, int(status)) for method, path, operation in description.operations()
               for status in operation["responses"]
               if int(status) not in UNSEEN and (method, path, int(status)) not in description.seen]
    elsewhere = [("POST", "/v1/sources/test", 404),  # takes a service
                 ("POST", "/v1/database/pgvector", 200),  # takes a server with pgvector,
                 ("POST", "/v1/database/pgvector", 404),  # or one without
                 ("DELETE", "/v1/sync", 409), ("POST", "/v1/index/snapshot", 409)]  # take luck
    no_index = [m for m in missing if m[1].startswith(("/v1/index", "/v1/map")) and m[2] == 404]  # takes pgvector
    missing = [m for m in missing if m not in elsewhere + no_index]
    assert not missing, f"never seen: {missing}"
