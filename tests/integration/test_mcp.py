"""The Model Context Protocol over HTTP: its messages in both eras, its tools, and what no client would
send."""

import base64
import concurrent.futures
import json

import pytest

from client import Client

MODERN = "2026-07-28"
HANDSHAKES = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
VERSIONS = [MODERN] + HANDSHAKES
META = "io.modelcontextprotocol/"
TOOLS = ["search", "fetch", "search_knowledge", "get_sync_status", "list_repositories", "get_repository_info"]
ACCEPT = "application/json, text/event-stream"


@pytest.fixture(scope="module", autouse=True)
def library(daemon, client, tmp_path_factory):
    client.put_document("handbook", "leave.md", "# Days off\n\nWhoever wants a day off asks a week before.\n",
                        source="notes", sha="0123", metadata={
                            "title": "Days off", "url": "https://example.com/leave", "pages": 3, "path": "elsewhere",
                            "owners": ["Åse"], "none": None})
    client.put_document("handbook", "travel/trains.md", "# Trains\n\nTickets are bought by the office.\n", source="notes")
    client.put_document("handbook", "travel/README", "Travelling\n", source="notes",
                        metadata={"url": "javascript:alert(1)", "name": "Travelling"})
    directory = tmp_path_factory.mktemp("files")
    (directory / "one.txt").write_text("The printer is in the cellar.\n")
    daemon.add_source("files", directory, interval=3600)
    daemon.sync("files")


def post(client, message, headers=None, **kw):
    return client.call("POST", "/mcp", message, headers={"Accept": ACCEPT} | (headers or {}), **kw)


def legacy(client, method, params=None, id=1, version="2025-11-25", headers=None):
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        message["params"] = params
    named = {"MCP-Protocol-Version": version} if version else {}
    return post(client, message, headers=named | (headers or {}))


def modern_message(method, params=None, id=1, **meta):
    envelope = {META + "protocolVersion": MODERN, META + "clientCapabilities": {},
                META + "clientInfo": {"name": "test", "version": "1"}}
    for name, value in meta.items():
        envelope[META + name] = value
    return {"jsonrpc": "2.0", "id": id, "method": method,
            "params": {**(params or {}), "_meta": {k: v for k, v in envelope.items() if v is not None}}}


def modern_headers(message):
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
    if message["method"] == "tools/call":
        headers["Mcp-Name"] = message["params"]["name"]
    return headers


def modern(client, method, params=None, id=1):
    message = modern_message(method, params, id)
    return post(client, message, headers=modern_headers(message))


def result(answer, id=1):
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "application/json"
    assert "Mcp-Session-Id" not in answer.headers
    assert b"\n" not in answer.body
    assert set(answer.json) == {"jsonrpc", "id", "result"} and answer.json["jsonrpc"] == "2.0", answer
    assert answer.json["id"] == id and type(answer.json["id"]) is type(id)
    return answer.json["result"]


def error(answer, code, status=400, id=1):
    """id None: the error has none."""
    assert answer.status == status, answer
    assert set(answer.json) == ({"jsonrpc", "error"} if id is None else {"jsonrpc", "id", "error"}), answer
    assert answer.json.get("id") == id
    assert answer.json["error"]["code"] == code, answer
    assert answer.json["error"]["message"]
    return answer.json["error"]


def call(client, name, **arguments):
    """The structured content of a tool's result, which its text says too."""
    given = result(legacy(client, "tools/call", {"name": name, "arguments": arguments}))
    assert set(given) == {"content", "structuredContent", "isError"} and given["isError"] is False, given
    (content,) = given["content"]
    assert content["type"] == "text" and json.loads(content["text"]) == given["structuredContent"]
    return given["structuredContent"]


def fails(client, name, **arguments):
    """What a tool says of arguments that it cannot do anything with."""
    given = result(legacy(client, "tools/call", {"name": name, "arguments": arguments}))
    assert set(given) == {"content", "isError"} and given["isError"] is True, given
    return given["content"][0]["text"]


# ---- Beginning ----

@pytest.mark.parametrize("version", HANDSHAKES)
def test_initialize(client, version):
    given = result(legacy(client, "initialize", {"protocolVersion": version, "capabilities": {},
                                                 "clientInfo": {"name": "test", "version": "1"}}, version=None))
    assert given["protocolVersion"] == version
    assert given["capabilities"] == {"tools": {"listChanged": False}}
    assert given["serverInfo"]["name"] == "tekupdb" and given["serverInfo"]["version"]
    assert "search_knowledge" in given["instructions"]
    done = post(client, {"jsonrpc": "2.0", "method": "notifications/initialized"},
                headers={"MCP-Protocol-Version": version})
    assert (done.status, done.body) == (202, b"")
    assert result(legacy(client, "ping", version=version)) == {}


@pytest.mark.parametrize("asked", ["1999-01-01", "2027-01-01", "", MODERN, "a" * 5000])
def test_a_version_that_is_not_known_is_answered_with_one_that_is(client, asked):
    given = result(legacy(client, "initialize", {"protocolVersion": asked, "capabilities": {},
                                                 "clientInfo": {"name": "test", "version": "1"}}, version=None))
    assert given["protocolVersion"] == HANDSHAKES[0]


@pytest.mark.parametrize("lacking", ["protocolVersion", "capabilities", "clientInfo"])
def test_initialize_without_what_it_needs(client, lacking):
    params = {"protocolVersion": HANDSHAKES[0], "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    for wrong in (None, 7, []):
        changed = dict(params) | {lacking: wrong}
        if wrong is None:
            del changed[lacking]
        assert lacking in error(legacy(client, "initialize", changed, version=None), -32602, 200)["message"]


def test_discover(client):
    given = result(modern(client, "server/discover"))
    assert given["supportedVersions"] == VERSIONS
    assert given["resultType"] == "complete"
    assert given["_meta"][META + "serverInfo"]["name"] == "tekupdb"
    assert given["capabilities"] == {"tools": {"listChanged": False}} and given["instructions"]
    error(legacy(client, "server/discover"), -32602)


def test_what_the_other_era_has_is_not_there(client):
    for method in ("initialize", "ping"):
        error(modern(client, method), -32601, 404)
    for method in ("subscriptions/listen", "resources/list", "prompts/list", "logging/setLevel", "tools/calls"):
        error(modern(client, method), -32601, 404)
        error(legacy(client, method), -32601, 200)


def test_the_announcement(client):
    answer = client.get("/.well-known/mcp.json")
    assert answer.status == 200
    card = answer.json
    assert card["transport"] == {"type": "streamable-http", "endpoint": "/mcp"}
    assert card["authentication"] == {"required": False, "schemes": ["bearer"]}
    assert card["serverInfo"]["name"] == "tekupdb"
    assert card["protocolVersion"] == MODERN and card["supportedProtocolVersions"] == VERSIONS
    assert [tool["name"] for tool in card["tools"]] == TOOLS


# ---- Tools ----

def test_the_tools_and_what_they_take(client):
    listed = result(legacy(client, "tools/list"))
    assert set(listed) == {"tools"}
    assert [tool["name"] for tool in listed["tools"]] == TOOLS
    for tool in listed["tools"]:
        assert tool["title"] and tool["description"]
        assert tool["annotations"]["readOnlyHint"] is True
        assert tool["inputSchema"]["type"] == "object" and tool["inputSchema"]["additionalProperties"] is False
        assert tool["outputSchema"]["type"] == "object"
    given = result(modern(client, "tools/list", id="a"), id="a")
    assert given["tools"] == listed["tools"]
    assert given["resultType"] == "complete" and given["ttlMs"] > 0 and given["cacheScope"] == "public"
    error(legacy(client, "tools/list", {"cursor": "x"}), -32602, 200)


def test_search_and_fetch_as_chatgpt_knows_them(client):
    found = call(client, "search", query="a day off")
    assert set(found) == {"results"}
    for one in found["results"]:
        assert set(one) == {"id", "title", "url"}
    first = found["results"][0]
    assert (first["title"], first["url"]) == ("Days off", "https://example.com/leave")
    document = call(client, "fetch", id=first["id"])
    assert document == {
        "id": first["id"], "title": "Days off", "url": "https://example.com/leave",
        "text": "# Days off\n\nWhoever wants a day off asks a week before.\n",
        "metadata": document["metadata"],
    }
    metadata = document["metadata"]
    assert all(type(value) is str for value in metadata.values())
    times = [metadata.pop("createdAt"), metadata.pop("updatedAt")]
    assert all(time.endswith("Z") for time in times)
    assert metadata == {"source": "notes", "repository": "handbook", "path": "leave.md", "sha": "0123",
                        "title": "Days off", "url": "https://example.com/leave", "pages": "3", "owners": '["Åse"]'}


def test_an_address_is_one_of_the_web_or_the_documents_own(client):
    found = {one["title"]: one for one in call(client, "search", query="travelling trains office tickets")["results"]}
    assert found["travel/trains.md"]["url"] == "tekup://documents/" + found["travel/trains.md"]["id"]
    assert found["Travelling"]["url"] == "tekup://documents/" + found["Travelling"]["id"]
    metadata = call(client, "fetch", id=found["travel/trains.md"]["id"])["metadata"]
    assert set(metadata) == {"source", "repository", "path", "createdAt", "updatedAt", "sha"}


def test_search_limits(client):
    assert len(call(client, "search", query="a day off", limit=1)["results"]) == 1
    for wrong in (0, 101, -1, 1.5, "3", None):
        assert "limit" in fails(client, "search", query="day", limit=wrong)
    for wrong in (None, 7, "", "  ", ["a"]):
        assert "query" in fails(client, "search", query=wrong)
    assert "query is missing" in fails(client, "search")
    assert "unknown field 'colour'" in fails(client, "search", query="day", colour="red")


def test_search_knowledge(client):
    found = call(client, "search_knowledge", query="who buys tickets for trains")
    assert set(found) == {"results", "count", "partial"}
    assert found["count"] == len(found["results"]) and found["partial"] is None
    first = found["results"][0]
    assert first["text"] == "# Trains\n\nTickets are bought by the office."
    assert (first["source"], first["repository"], first["path"]) == ("notes", "handbook", "travel/trains.md")
    assert 0 < first["similarity"] <= 1 and (first["start"], first["end"]) == (0, len(first["text"]))
    assert first["updatedAt"].endswith("Z")
    everything = call(client, "search_knowledge", query="printer cellar day off", limit=50)["results"]
    assert {one["source"] for one in everything} == {"notes", "local"}
    for narrowed in ({"source": "local"}, {"repository": "files"}, {"source": "local", "pathPrefix": "one"}):
        assert {one["path"] for one in call(client, "search_knowledge", query="day", **narrowed)["results"]} == {"one.txt"}
    assert call(client, "search_knowledge", query="day", source="notes", pathPrefix="travel/zzz")["count"] == 0
    least = everything[0]["similarity"] - 1e-4
    assert len(call(client, "search_knowledge", query="printer cellar day off", threshold=least)["results"]) == 1
    words = call(client, "search_knowledge", query='"bought by the office" -cellar', mode="text")["results"]
    assert [one["path"] for one in words] == ["travel/trains.md"]
    for mode in ("vector", "hybrid"):
        assert call(client, "search_knowledge", query="trains office", mode=mode)["results"][0]["path"] == "travel/trains.md"
    for wrong in ({"mode": "fuzzy"}, {"mode": 7}, {"threshold": 2}, {"threshold": "0.5"}, {"source": ""}, {"repository": 7}, {"limit": 51}):
        assert next(iter(wrong)) in fails(client, "search_knowledge", query="day", **wrong)


def test_fetch_what_is_not_there(client):
    assert "nowhere" in fails(client, "fetch", id="nowhere")
    for wrong in ({}, {"id": ""}, {"id": 7}):
        assert "id" in fails(client, "fetch", **wrong)


def test_a_large_document_is_fetched_whole(client):
    text = "".join(f"Line {i} of a large document, \"quoted\"\t\\ and Åse.\n" for i in range(60000))
    id = client.put_document("large", "large.txt", text)["id"]
    assert call(client, "fetch", id=id)["text"] == text
    assert client.delete(f"/v1/documents/{id}").status == 200


def test_repositories(client):
    listed = call(client, "list_repositories")
    assert listed["count"] == len(listed["repositories"])
    files, handbook = [one for one in listed["repositories"] if one["repository"] in ("files", "handbook")]
    assert (handbook["source"], handbook["documents"], handbook["registered"]) == ("notes", 3, False)
    assert [handbook[name] for name in ("intervalSeconds", "status", "lastSyncAt", "nextSyncAt")] == [None] * 4
    assert (files["documents"], files["registered"], files["intervalSeconds"]) == (1, True, 3600)
    assert files["status"] == "success" and files["lastSyncAt"] < files["nextSyncAt"]
    assert "unknown field" in fails(client, "list_repositories", source="local")

    info = call(client, "get_repository_info", source="notes", repository="handbook")
    assert {name: info[name] for name in handbook} == handbook
    assert (info["documents"], info["passages"]) == (3, 3) and info["errorMessage"] is None
    assert info["bytes"] == sum(len(call(client, "fetch", id=one["id"])["text"].encode())
                                for one in client.documents(source="notes", repository="handbook"))
    assert info["types"] == [{"extension": "md", "documents": 2}, {"extension": "", "documents": 1}]
    assert info["folders"] == [{"folder": "travel", "documents": 2}, {"folder": "", "documents": 1}]
    assert info["createdAt"].endswith("Z")
    assert "list_repositories" in fails(client, "get_repository_info", source="notes", repository="nowhere")
    assert "repository" in fails(client, "get_repository_info", source="notes")
    assert "source" in fails(client, "get_repository_info", repository="handbook")


def test_a_source_that_was_never_synced_and_one_that_fails(daemon, client, tmp_path):
    daemon.add_source("new", tmp_path)
    info = call(client, "get_repository_info", source="local", repository="new")
    assert (info["documents"], info["status"], info["lastSyncAt"], info["registered"]) == (0, "pending", None, True)
    assert info["types"] == [] == info["folders"] and info["createdAt"] is None and info["bytes"] == 0
    (tmp_path / "gone").mkdir()
    daemon.add_source("gone", tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    daemon.sync("gone")
    info = call(client, "get_repository_info", source="local", repository="gone")
    assert info["status"] == "error" and "gone" in info["errorMessage"]
    (item,) = call(client, "get_sync_status", source="local", repository="gone")["items"]
    assert item["errorMessage"] == info["errorMessage"]
    for name in ("new", "gone"):
        assert client.delete("/v1/sources", source="local", repository=name).status == 200


def test_sync_status(client):
    assert call(client, "get_sync_status") == client.get("/v1/sync").json
    (item,) = call(client, "get_sync_status", repository="files")["items"]
    assert item["status"] == "success" and item["documentCount"] == 1
    assert call(client, "get_sync_status", source="github")["items"] == []


def test_a_tool_of_the_modern_era(client):
    given = result(modern(client, "tools/call", {"name": "search", "arguments": {"query": "day off", "limit": 1}}))
    assert given["resultType"] == "complete" and given["isError"] is False
    assert given["structuredContent"]["results"][0]["title"] == "Days off"
    assert given["_meta"][META + "serverInfo"]["name"] == "tekupdb"


def test_calls_that_are_none(client):
    assert "frobnicate" in error(legacy(client, "tools/call", {"name": "frobnicate"}), -32602, 200)["message"]
    for params in (None, {}, {"name": 7}, {"name": None}, {"name": "search", "arguments": "query"},
                   {"name": "search", "arguments": ["query"]}):
        error(legacy(client, "tools/call", params), -32602, 200)
    result(legacy(client, "tools/call", {"name": "list_repositories"}))
    error(legacy(client, "tools/call", {"name": "x" * 100000}), -32602, 200)


# ---- Messages ----

@pytest.mark.parametrize("id", [0, -1, 2**53, "", "a", "ø \"\\\n\u2028", "x" * 10000])
def test_ids_come_back_as_they_were(client, id):
    assert result(legacy(client, "ping", id=id), id=id) == {}
    error(legacy(client, "nothing", id=id), -32601, 200, id=id)


@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"nonsense", b'{"jsonrpc": "2.0", "id": 1, "method": "ping"', b"\xff\xfe", b'{"a": "\xff"}',
    b'{"jsonrpc": "2.0", "jsonrpc": "2.0", "id": 1, "method": "ping"}', b"[" * 5000, b"7", b'"ping"', b"null",
    b'{"jsonrpc": "2.0", "id": 99999999999999999999, "method": "ping"}', b'{"jsonrpc": "2.0", "id": 1, "method": "a\\u0000"}', b'{"jsonrpc": "2.0"}{"jsonrpc": "2.0"}',
])
def test_what_is_not_json(client, body):
    error(post(client, body), -32700, id=None)


@pytest.mark.parametrize("message, id", [
    ({}, None), ({"id": 1, "method": "ping"}, 1), ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, 1),
    ({"jsonrpc": 2.0, "id": 1, "method": "ping"}, 1), ({"jsonrpc": "2.0", "id": None, "method": "ping"}, None),
    ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, None), ({"jsonrpc": "2.0", "id": {}, "method": "ping"}, None),
    ({"jsonrpc": "2.0", "id": True, "method": "ping"}, None), ({"jsonrpc": "2.0", "id": 1, "method": 7}, 1),
    ({"jsonrpc": "2.0", "id": 1}, 1), ({"jsonrpc": "2.0"}, None), ({"jsonrpc": "2.0", "id": 1, "result": 7}, 1),
])
def test_what_is_not_a_message(client, message, id):
    error(post(client, message), -32600, id=id)


@pytest.mark.parametrize("params", [[], "x", 7, None])
def test_params_that_are_no_object(client, params):
    error(post(client, {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": params}), -32602, 200)


def test_notifications_and_responses_get_no_answer(client):
    for message in ({"method": "notifications/cancelled", "params": {"requestId": 1}}, {"method": "nothing/known"},
                    {"id": 1, "result": {}}, {"id": 1, "error": {"code": -1, "message": "no"}}):
        answer = post(client, {"jsonrpc": "2.0", **message})
        assert (answer.status, answer.body) == (202, b""), message


def test_batches_are_of_one_version_only(client):
    ping = {"jsonrpc": "2.0", "method": "ping"}
    batch = [ping | {"id": 1}, {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"id": 2}, 7,
             {"jsonrpc": "2.0", "id": 3, "method": "tools/call",
              "params": {"name": "search", "arguments": {"query": "day off"}}},
             {"jsonrpc": "2.0", "id": 4, "method": "tools/call",
              "params": {"name": "list_repositories", "arguments": {}}},
             {"jsonrpc": "2.0", "id": 5, "method": "initialize", "params": {}}]
    for headers in ({}, {"MCP-Protocol-Version": "2025-03-26"}):
        answer = post(client, batch, headers=headers)
        assert answer.status == 200
        got = answer.json
        assert [one.get("id") for one in got] == [1, 2, None, 3, 4, 5]
        assert ["result" in one for one in got] == [True, False, False, True, True, False]
        assert got[3]["result"]["structuredContent"]["results"]
        assert post(client, batch[1:2], headers=headers).status == 202
        error(post(client, [], headers=headers), -32600, id=None)
        error(post(client, [ping] * 33, headers=headers), -32600, id=None)
    for version in (MODERN, "2025-06-18", "2025-11-25", "2024-11-05"):
        error(post(client, batch, headers={"MCP-Protocol-Version": version}), -32600, id=None)


# ---- Versions and headers ----

def test_versions_that_are_not_known(client):
    for version in ("1900-01-01", "2025-11-26", "latest", "x" * 300):
        given = error(legacy(client, "ping", version=version), -32022)
        assert given["data"]["supported"] == VERSIONS and version.startswith(given["data"]["requested"])
        error(post(client, [], headers={"MCP-Protocol-Version": version}), -32022, id=None)
        error(post(client, {"jsonrpc": "2.0", "method": "notifications/initialized"},
                   headers={"MCP-Protocol-Version": version}), -32022, id=None)
        message = modern_message("tools/list", protocolVersion=version)
        given = error(post(client, message, headers=modern_headers(message)), -32022)
        assert given["data"]["supported"] == VERSIONS


def test_the_envelope(client):
    for wrong in ({"clientCapabilities": None}, {"clientCapabilities": []}, {"protocolVersion": 7},
                  {"protocolVersion": None}):
        message = modern_message("tools/list", **wrong)
        error(post(client, message, headers=modern_headers(message)), -32602)
    message = modern_message("tools/list", clientInfo=None)
    result(post(client, message, headers=modern_headers(message)))
    # A version of the handshake may be named there too.
    assert "resultType" not in result(post(client, modern_message("tools/list", protocolVersion="2025-11-25")))


def test_headers_say_what_the_body_says(client):
    message = modern_message("tools/call", {"name": "search", "arguments": {"query": "day"}})
    headers = modern_headers(message)
    result(post(client, message, headers=headers))
    encoded = "=?base64?" + base64.b64encode(b"search").decode() + "?="
    result(post(client, message, headers=headers | {"Mcp-Name": encoded}))
    for name in headers:
        for value in (None, "", "other", "=?base64?b3RoZXI=?="):
            changed = dict(headers) | {name: value}
            if value is None:
                del changed[name]
            if name == "MCP-Protocol-Version" and value is not None:
                continue  # a version that is not known is another matter
            error(post(client, message, headers=changed), -32020)
    error(post(client, message, headers=headers | {"MCP-Protocol-Version": "2025-11-25"}), -32020)
    for size in range(1, 9):
        name = "ø" * size
        message = modern_message("tools/call", {"name": name})
        encoded = "=?base64?" + base64.b64encode(name.encode()).decode() + "?="
        assert "Unknown tool" in error(post(client, message, headers=modern_headers(message) | {"Mcp-Name": encoded}),
                                       -32602, 200)["message"]


def test_only_posts(client):
    for method in ("GET", "DELETE", "PUT", "HEAD"):
        answer = client.call(method, "/mcp", headers={"Accept": "text/event-stream"})
        assert answer.status == 405 and answer.headers["Allow"] == "POST"


def test_accept_and_content_type(client):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for accept in (ACCEPT, "*/*", "text/event-stream, application/json;q=0.5", "Application/JSON", "application/*"):
        result(post(client, ping, headers={"Accept": accept}))
    result(client.post("/mcp", ping))
    for accept in ("text/event-stream", "text/html", "application/jsonx", ","):
        error(post(client, ping, headers={"Accept": accept}), -32600, 406, id=None)
    assert post(client, ping, content_type="text/plain").status == 415


def test_pages_of_other_servers_are_refused(client):
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for origin in ("https://evil.example", "null", "", "localhost", "http://localhost:9999", "http://localhost.evil.example"):
        error(post(client, ping, headers={"Origin": origin}), -32600, 403, id=None)
    result(post(client, ping, headers={"Origin": "http://localhost"}))


def test_a_body_that_is_too_large(client):
    answer = post(client, {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y" * (17 << 20)}})
    assert answer.status == 413
    big = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": ["y" * 100] * 100000}}
    assert result(post(client, big)) == {}
    assert len(call(client, "search", query="word " * 100000)["results"]) > 0


# ---- Many, and the database away ----

def test_many_clients_at_once(daemon):
    def work(number):
        client = Client(daemon.socket)
        with client:
            for turn in range(12):
                id = f"{number}-{turn}"
                name = TOOLS[(number + turn) % len(TOOLS)]
                arguments = {"search": {"query": "day off"}, "search_knowledge": {"query": "trains"},
                             "fetch": {"id": "none"}, "get_repository_info": {"source": "notes", "repository": "handbook"}}
                params = {"name": name, "arguments": arguments.get(name, {})}
                ask = modern if turn % 2 else legacy
                given = result(ask(client, "tools/call", params, id=id), id=id)
                assert given["isError"] is (name == "fetch"), given

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(24)))


def test_while_the_database_is_away(make_daemon, server):
    daemon = make_daemon(database_url=server.url()).start()
    daemon.client.put_document("handbook", "leave.md", "Whoever wants a day off asks a week before.")
    server.stop()
    found = call(daemon.client, "search_knowledge", query="day off")
    (one,) = found["results"]
    assert one["path"] == "leave.md" and one["text"] is None and "without chunk" in found["partial"]
    assert call(daemon.client, "search", query="day off")["results"][0]["title"] == "leave.md"
    for name, arguments in (("fetch", {"id": one["id"]}), ("list_repositories", {}), ("get_sync_status", {}),
                            ("get_repository_info", {"source": "test", "repository": "handbook"})):
        assert "Trying again later" in fails(daemon.client, name, **arguments)
    server.start()
    daemon.wait_works()
    assert call(daemon.client, "fetch", id=one["id"])["text"].startswith("Whoever")
