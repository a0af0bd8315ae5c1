"""Bad input gets a clear error that names the field, and nothing is lost.

Every test ends with the daemon alive, answering, and holding what it held before: a fixture sees to
that.
"""

import base64
import json
import pathlib
import random
import resource
import socket
import string
import struct
import threading
import time

import pytest

from client import raw, target
from daemon import process_figure, sanitizer, wait_for
from vectors import DIMENSIONS, base64_of, octets, random_vector, unit

GOOD = {"source": "test", "repository": "bad/input", "path": "p", "content": "text"}
OCTETS = "application/octet-stream"


@pytest.fixture(scope="module", autouse=True)
def something_to_lose(client):
    for number in range(20):
        client.put_document("kept", f"{number}", f"The kept text number {number}.")


@pytest.fixture(autouse=True)
def nothing_is_lost(daemon, client):
    before = client.documents()
    yield
    assert client.get("/healthz").status == 200
    assert client.get("/readyz").status == 200
    assert client.documents() == before
    assert client.search(query="The kept text number 7.", limit=1)[0]["repository"] == "kept"


def refused(answer, field=None, status=400):
    """Checks the error's form; field is a part of the name that it must give."""
    codes = {400: "invalid", 404: "not_found", 405: "method_not_allowed", 413: "too_large",
             415: "unsupported_media_type"}
    assert answer.status == status, answer
    assert answer.headers["Content-Type"].startswith("application/json")
    assert set(answer.json) == {"error"}
    error = answer.error
    assert set(error) == {"code", "message", "field"}
    assert error["code"] == codes[status]
    assert error["message"] and "\n" not in error["message"]
    if field is not None:
        assert error["field"] is not None and field in error["field"], error
    return error


# ---- Embeddings ----


def search_raw(client, embedding_text):
    return client.post("/v1/search", '{"embedding": %s}' % embedding_text)


@pytest.mark.parametrize("length", [0, 1, 768, 1535, 1537, 3072])
def test_another_dimension(client, length):
    refused(client.post("/v1/search", {"embedding": [0.5] * length}), "embedding")
    refused(client.post("/v1/search", {"embedding": base64_of([0.5] * length)}), "embedding")
    refused(client.post("/v1/search", octets([0.5] * length), content_type=OCTETS), "embedding")
    refused(client.put("/v1/documents", {**GOOD, "embedding": [0.5] * length}), "embedding")


def test_an_embedding_of_many_megabytes(client):
    refused(search_raw(client, "[" + "0.125," * 2000000 + "1]"), "embedding")


@pytest.mark.parametrize("number", ["NaN", "nan", "Infinity", "-Infinity", "inf", "1e999", "-1e999", "1e39",
                                    "0x10", "01", "+1", ".5", "1.", "1e", "--1", "1 2", '"1"', "null", "true",
                                    "[]", "{}", ""])
def test_what_is_no_finite_number(client, number):
    for position in (0, 700, DIMENSIONS - 1):
        numbers = ["0.5"] * DIMENSIONS
        numbers[position] = number
        error = refused(search_raw(client, "[" + ",".join(numbers) + "]"))
        if number in ("1e999", "-1e999", "1e39", '"1"', "null", "true", "[]", "{}"):
            assert "embedding" in error["field"], error


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_in_binary(client, bad):
    for position in (0, DIMENSIONS - 1):
        vector = random_vector("binary")
        vector[position] = bad
        refused(client.post("/v1/search", {"embedding": base64_of(vector)}), "embedding")
        refused(client.post("/v1/search", octets(vector), content_type=OCTETS), "embedding")
        refused(client.put("/v1/documents", {**GOOD, "embedding": base64_of(vector)}), "embedding")


def test_the_zero_vector(client):
    for zero in ([0] * DIMENSIONS, [-0.0] * DIMENSIONS):
        refused(client.post("/v1/search", {"embedding": zero}), "embedding")
        refused(client.post("/v1/search", {"embedding": base64_of(zero)}), "embedding")
        refused(client.post("/v1/search", octets(zero), content_type=OCTETS), "embedding")
        refused(client.put("/v1/documents", {**GOOD, "embedding": zero}), "embedding")


def test_tiny_and_vast_vectors(client):
    """A length that a float32 cannot hold squared is still a direction, or is refused: never a
    similarity that is no number."""
    for value in (1e-30, 1e-42, 1e30, 3e38):
        for vector in (unit(9, value), [value] * DIMENSIONS):
            answer = client.post("/v1/search", {"embedding": base64_of(vector), "limit": 5})
            if answer.status == 200:
                for hit in answer.json["results"]:
                    assert -1.001 <= hit["similarity"] <= 1.001
            else:
                refused(answer, "embedding")


@pytest.mark.parametrize("text", ["", "=", "====", "A", "not base64!", "\u00e9", base64_of([0.5] * DIMENSIONS)[:-1],
                                  base64_of([0.5] * DIMENSIONS) + "AAAA", base64_of([0.5] * DIMENSIONS) + "\n=",
                                  base64.urlsafe_b64encode(b"\xff" * 6144).decode()])
def test_what_is_no_base64(client, text):
    refused(client.post("/v1/search", {"embedding": text}), "embedding")


@pytest.mark.parametrize("size", [0, 1, 6143, 6145, 12288])
def test_an_octet_stream_of_another_size(client, size):
    body = (struct.pack("<f", 0.5) * 4000)[:size]
    answer = client.call("POST", "/v1/search", body, content_type=OCTETS)
    refused(answer)


def test_query_and_embedding(client):
    refused(client.post("/v1/search", {}))
    refused(client.post("/v1/search", {"limit": 3}))
    refused(client.post("/v1/search", {"query": "x", "embedding": [0.5] * DIMENSIONS}))
    refused(client.post("/v1/search", {"query": ""}), "query")


# ---- Values ----


@pytest.mark.parametrize("field, value", [
    ("limit", 0), ("limit", -1), ("limit", 1001), ("limit", 100000), ("limit", 1 << 31), ("limit", 1 << 32),
    ("limit", (1 << 32) + 5), ("limit", (1 << 63) - 1), ("limit", 1.5), ("limit", "10"), ("limit", True),
    ("limit", []), ("limit", {}),
    ("threshold", 1.01), ("threshold", -1.01), ("threshold", "0.5"), ("threshold", []), ("threshold", True),
    ("ef", 0), ("ef", -1), ("ef", 65537), ("ef", 1 << 40), ("ef", 2.5), ("ef", "9"), ("ef", []),
    ("source", 1), ("source", []), ("source", True), ("repository", 1), ("repository", {}),
    ("pathPrefix", 1), ("pathPrefix", []), ("metadata", "x"), ("metadata", []), ("metadata", 1),
    ("include", "chunk"), ("include", ["colour"]), ("include", [1]), ("include", {}), ("include", [["chunk"]]),
    ("query", 1), ("query", []), ("query", True), ("query", {}),
    ("embedding", 1), ("embedding", {}), ("embedding", True),
    ("colour", "red"), ("Limit", 1), ("limit ", 1), ("", 1), ("k", 1),
])
def test_a_wrong_search_field(client, field, value):
    body = {"query": "text"} if field not in ("query", "embedding") else {}
    body[field] = value
    answer = client.post("/v1/search", body)
    refused(answer, field or None)
    batch = client.post("/v1/search/batch", {"searches": [body]})
    assert batch.status == 200, batch
    assert field in (batch.json["responses"][0]["error"]["field"] or "")


@pytest.mark.parametrize("query", [
    {"limit": "0"}, {"limit": "100000"}, {"limit": "x"}, {"limit": ""}, {"limit": "5x"}, {"limit": " 5"},
    {"threshold": "2"}, {"threshold": "nan"}, {"threshold": "inf"}, {"threshold": "x"}, {"threshold": ""},
    {"ef": "0"}, {"ef": "x"}, {"include": "colour"}, {"include": "chunk,colour"}, {"colour": "red"},
    {"metadata": "{}"}, {"embedding": "x"}, {"query": "x"},
])
def test_a_wrong_query_parameter(client, query):
    answer = client.post(target("/v1/search", **query), octets(unit(1)), content_type=OCTETS)
    refused(answer, list(query)[0])


@pytest.mark.parametrize("tail", ["%00", "%", "%zz", "%f", "a%00b", "%ff", "%c3", "%ed%a0%80"])
def test_a_wrong_escape_in_a_query_string(client, tail):
    for path in ("/v1/documents?repository=", "/v1/documents?source=x&pathPrefix=", "/v1/sync?repository="):
        answer = client.get(path + tail)
        assert answer.status in (200, 400), answer
        if answer.status == 400:
            refused(answer)
        else:
            assert tail in ("%", "%zz", "%f")  # what is no escape may be taken as it stands


def test_a_query_parameter_given_twice_or_unknown(client):
    refused(client.get("/v1/documents?limit=5&limit=6"), "limit")
    refused(client.get("/v1/documents?colour=red"), "colour")


@pytest.mark.parametrize("path", ["..", "../x", "a/../b", "a/..", "/etc/passwd", "a//b", ".", "./a", "a/./b", "",
                                  "a\tb", "a\nb", "a\x1bb", "a\x7fb", "x" * 4097, 7, None, [], True])
def test_a_wrong_path(client, path):
    refused(client.put("/v1/documents", {**GOOD, "path": path}), "path")


def test_a_path_that_the_database_cannot_index(client):
    """4,096 bytes are allowed, but PostgreSQL indexes no key of over 2,704 that does not compress."""

    rng = random.Random(3)
    path = "".join(rng.choices(string.ascii_letters + string.digits, k=4000))
    answer = client.put("/v1/documents", {**GOOD, "path": path})
    if answer.status == 201:
        client.delete(f"/v1/documents/{answer.json['id']}")
    else:
        refused(answer, "path")


@pytest.mark.parametrize("field, value", [
    ("content", ""), ("content", " \n\t "), ("content", 7), ("content", None), ("content", ["text"]),
    ("content", "a\0b"), ("source", "a\0b"), ("repository", "a\0b"), ("sha", "a\0b"),
    ("source", ""), ("repository", ""), ("source", 7), ("repository", 7), ("sha", 7), ("sha", []),
    ("metadata", "text"), ("metadata", []), ("metadata", 7),
    ("embedding", 7), ("embedding", {}), ("embedding", True),
    ("colour", "red"), ("id", "c123"), ("createdAt", "2026-01-01T00:00:00.000Z"),
])
def test_a_wrong_document_field(client, field, value):
    refused(client.put("/v1/documents", {**GOOD, field: value}), field)


@pytest.mark.parametrize("field", ["source", "repository", "path", "content"])
def test_a_missing_document_field(client, field):
    body = {name: value for name, value in GOOD.items() if name != field}
    refused(client.put("/v1/documents", body), field)


def test_nul_in_text(client):
    for body in ('{"query": "a\\u0000b"}', '{"query": "x", "repository": "a\\u0000"}',
                 '{"query": "x", "metadata": {"k": "a\\u0000b"}}', '{"query": "x", "metadata": {"a\\u0000": 1}}'):
        refused(client.post("/v1/search", body))
    refused(client.post("/v1/search", b'{"query": "a\0b"}'))
    refused(client.post("/v1/search", b'{"query": "ab"}\0'))
    for metadata in ({"k": "a\0b"}, {"a\0b": "k"}, {"deep": [{"k": ["\0"]}]}):
        refused(client.put("/v1/documents", {**GOOD, "metadata": metadata}))


@pytest.mark.parametrize("raw_bytes", [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"])
def test_invalid_utf8(client, raw_bytes):
    refused(client.post("/v1/search", b'{"query": "a' + raw_bytes + b'b"}'))
    body = json.dumps({**GOOD, "content": "MARK"}).encode()
    refused(client.put("/v1/documents", body.replace(b"MARK", b"text " + raw_bytes)))
    refused(client.put("/v1/documents", body.replace(b'"p"', b'"' + raw_bytes + b'"')))


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\ud800", "\\x41", "\\u12", "\\"])
def test_wrong_escapes(client, escape):
    refused(client.post("/v1/search", '{"query": "a%s"}' % escape))


# ---- JSON ----


@pytest.mark.parametrize("body", [
    "", " ", "{", "}", "[", "[]", '"text"', "7", "null", "true", "{]", '{"query"}', '{"query":}', '{"query": "x"',
    '{"query": "x}', '{"query": "x",}', "{'query': 'x'}", '{query: "x"}', '{"query": "x"} x', '{"query": "x"}{}',
    '{"query": "x" "limit": 1}', "\ufeff" + '{"query": "x"}', '{"query": "x", "limit": 1e}', "{,}", "//", "nul",
    '{"embedding": [1,2', '{"embedding": [', '{"embedding": "AAAA', '{"query": "\t"}', '{"query": "x"}]',
])
def test_what_is_no_json_object(client, body):
    for call in ("/v1/search", "/v1/search/batch", "/v1/sync", "/v1/sources/test"):
        if call == "/v1/sync" and not body.strip():
            continue
        refused(client.post(call, body))
    refused(client.put("/v1/documents", body))
    refused(client.put("/v1/sources", body))


def test_truncated_anywhere(client):
    whole = json.dumps({**GOOD, "path": "truncated", "content": 'a "quoted" \\ ø text', "metadata": {"k": [1, -2.5e3]},
                        "embedding": [0.5] * DIMENSIONS})
    cuts = list(range(0, 200)) + list(range(200, len(whole), 97)) + [len(whole) - 1]
    for cut in cuts:
        refused(client.put("/v1/documents", whole[:cut]))


def test_duplicate_keys(client):
    refused(client.post("/v1/search", '{"query": "a", "query": "b"}'))
    refused(client.post("/v1/search", '{"query": "a", "limit": 1, "limit": 2}'))
    embedding = json.dumps([0.5] * DIMENSIONS)
    refused(client.post("/v1/search", '{"embedding": %s, "embedding": %s}' % (embedding, embedding)))
    refused(client.put("/v1/documents", json.dumps(GOOD)[:-1] + ', "content": "again"}'))


def test_keys_in_escapes(client):
    """A key may be spelled with escapes. What it says must not be passed over in silence."""
    def spelled(body, name):
        return json.dumps(body).replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')

    refused(client.post("/v1/search", spelled({"query": "x", "limit": 0}, "limit")), "limit")
    refused(client.post("/v1/search", spelled({"query": "x", "embedding": [1]}, "embedding")))
    refused(client.post("/v1/search", spelled({"query": "x", "metadata": 7}, "metadata")))
    refused(client.put("/v1/documents", spelled({**GOOD, "embedding": [1]}, "embedding")))
    refused(client.put("/v1/documents", spelled({**GOOD, "metadata": 7}, "metadata")))
    refused(client.post("/v1/search/batch", spelled({"searches": 7}, "searches")))
    refused(client.put("/v1/sources", spelled(
        {"source": "local", "repository": "x", "config": {"path": 7}}, "config")))


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}"), ('[{"a":[', "]}]")])
@pytest.mark.parametrize("depth", [3000, 300000])
def test_deep_nesting(client, opening, closing, depth):
    for end in (closing * depth, ""):
        nest = opening * depth + "1" + end
        refused(client.post("/v1/search", '{"query": "x", "metadata": {"a": %s}}' % nest))
        refused(client.post("/v1/search", '{"embedding": %s}' % nest))
        refused(client.post("/v1/search", nest))
        refused(client.put("/v1/documents", json.dumps(GOOD)[:-1] + ', "metadata": {"a": %s}}' % nest))


def test_very_many_keys(client):
    body = json.dumps({f"field{number}": number for number in range(200000)})
    refused(client.post("/v1/search", body))


def test_numbers_that_no_type_holds(client):
    for number in ("1e400", "-1e400", "1" * 400, "123456789012345678901234567890"):
        answer = client.put("/v1/documents", json.dumps({**GOOD, "path": "number"})[:-1] +
                            ', "metadata": {"n": %s}}' % number)
        if answer.status == 201:
            client.delete(f"/v1/documents/{answer.json['id']}")
        else:
            refused(answer)
        refused(client.post("/v1/search", '{"query": "x", "limit": %s}' % number))
        refused(client.post("/v1/search", '{"query": "x", "threshold": %s}' % number))


# ---- Calls and bodies ----


def test_unknown_calls(client):
    for method, path in (("GET", "/v1/nothing"), ("POST", "/v1/searches"), ("GET", "/v2/status"), ("GET", "/v1/"),
                         ("GET", "//v1/status"), ("GET", "/v1/search/"), ("GET", "/../etc/passwd"),
                         ("GET", "/v1/documents/a/b"), ("GET", "/%2e%2e/etc/passwd")):
        refused(client.call(method, path), status=404)


def test_wrong_methods(client):
    for method, path, allowed in (("GET", "/v1/search", {"POST"}), ("DELETE", "/v1/search", {"POST"}),
                                  ("POST", "/v1/documents", {"GET", "PUT"}), ("POST", "/v1/status", {"GET"}),
                                  ("PUT", "/v1/sync", {"GET", "POST"}), ("PUT", "/healthz", {"GET"}),
                                  ("GET", "/v1/search/batch", {"POST"}),
                                  ("PATCH", "/v1/documents/cabc", {"GET", "DELETE"})):
        answer = client.call(method, path)
        refused(answer, status=405)
        named = {name.strip() for name in answer.headers["Allow"].split(",")}
        assert allowed <= named, (method, path, named)


def test_strange_methods(daemon):
    for method in (b"BREW", b"TRACE", b"CONNECT", b"get", b"", b"G" * 5000):
        answer = raw(daemon.socket, method + b" /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout=3)
        assert not answer.startswith(b"HTTP/1.1 2"), (method, answer)


def test_other_content_types(client):
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded",
                 "application/jsonx", "x" * 5000):
        refused(client.post("/v1/search", '{"query": "x"}', content_type=kind), status=415)
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        assert client.post("/v1/search", '{"query": "x"}', content_type=kind).status == 200
    refused(client.put("/v1/documents", octets(unit(1)), content_type=OCTETS), status=415)


def send_slowly_refused(daemon, head, piece, pieces):
    """Sends a body in pieces until it is all sent or refused; returns the answer's first line."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        received = b""
        try:
            sock.sendall(head)
            for _ in range(pieces):
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while b"\r\n\r\n" not in received:
                got = sock.recv(65536)
                if not got:
                    break
                received += got
        except ConnectionResetError:
            pass
        return received.split(b"\r\n")[0]


@pytest.mark.plain
def test_a_body_of_100_megabytes(daemon):
    """Refused with 413, and never held in memory."""
    size = 100 << 20
    before = process_figure(daemon.pid, "VmHWM")
    head = (b"PUT /v1/documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % size)
    assert b" 413 " in send_slowly_refused(daemon, head, b"x" * (1 << 20), 100)
    chunked = (b"PUT /v1/documents HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    assert b" 413 " in send_slowly_refused(daemon, chunked, piece, 100)
    grown = process_figure(daemon.pid, "VmHWM") - before
    # The address sanitizer keeps freed memory back, so that the figure says nothing there.
    assert sanitizer() or grown < 80 << 10, f"{grown} KB more than before"


def test_a_body_just_within_and_just_over_the_limit(client):
    limit = 16 << 20
    body = json.dumps({"query": "x", "colour": ""})
    padded = body.replace('""', '"' + "r" * (limit - len(body)) + '"')
    assert len(padded) == limit
    refused(client.post("/v1/search", padded), "colour")
    refused(client.post("/v1/search", padded + " "), status=413)


def test_very_many_large_bodies_at_once(daemon):
    """Ten clients announce bodies within the limit, send most of them and hold still."""
    socks = []
    for _ in range(10):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(daemon.socket)
        sock.sendall(b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 4000000\r\n\r\n" + b" " * 1000000)
        socks.append(sock)
    assert daemon.client.search(query="text")
    for sock in socks:
        sock.close()
    assert daemon.client.search(query="text")


# ---- Broken HTTP ----


@pytest.mark.parametrize("data", [
    b"\r\n\r\n", b"\0" * 100, b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nNo colon here\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n: empty\r\n\r\n", b"GET /" + b"a" * 2000000 + b" HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 2000000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 200000 + b"\r\n",
    b"POST /v1/search HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"POST /v1/search HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/search HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
])
def test_garbage(daemon, data):
    answer = raw(daemon.socket, data, timeout=2)
    assert not answer or answer.startswith(b"HTTP/1.") or b"<html" in answer.lower() or answer.startswith(b"{")
    assert b"HTTP/1.1 200" not in answer or b"healthz" in data


def test_random_bytes(daemon):

    rng = random.Random(11)
    for _ in range(100):
        data = rng.randbytes(rng.randint(1, 4000))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(daemon.socket)
            try:
                sock.sendall(data)
            except BrokenPipeError:
                pass


def test_mutated_requests(daemon):
    """A good request with single bytes changed: any answer, and no harm."""

    rng = random.Random(12)
    body = json.dumps({"query": "text", "limit": 5, "metadata": {"a": [1, "b", None]}, "include": ["chunk"]}).encode()
    good = (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(0.2)
            sock.connect(daemon.socket)
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                answer = sock.recv(65536)
                assert not answer or answer.startswith(b"HTTP/1."), answer
                assert b" 500 " not in answer[:20], (bytes(data), answer)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass


def test_half_a_request_and_then_nothing(daemon, client):
    halves = [b"P", b"POST /v1/search HT", b"POST /v1/search HTTP/1.1\r\nContent-Le",
              b"POST /v1/search HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"query\": ",
              b"PUT /v1/documents HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf"]
    socks = []
    for half in halves * 4:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(daemon.socket)
        sock.sendall(half)
        socks.append(sock)
    for _ in range(20):
        assert client.search(query="text")
    for sock in socks[::2]:
        sock.shutdown(socket.SHUT_WR)
    for sock in socks:
        sock.close()
    assert client.search(query="text")


def test_a_slow_client_is_served(daemon):
    body = json.dumps({"query": "The kept text number 3.", "limit": 1}).encode()
    request = (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body)) + body
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        for byte in request:
            sock.sendall(bytes([byte]))
            time.sleep(0.003)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200") and b'"kept"' in answer


@pytest.mark.plain
def test_a_client_that_does_not_read_its_answers(daemon, client):
    """It keeps asking and never reads: the others are served, and the answers do not pile up without
    end."""
    request = b"GET /v1/documents?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"
    before = process_figure(daemon.pid, "VmRSS")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(daemon.socket)
        sock.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and sent < 20000 * len(request):
            try:
                sent += sock.send(request * 100)
            except BlockingIOError:
                time.sleep(0.01)
            except (BrokenPipeError, ConnectionResetError):
                break
        assert client.search(query="text")
    assert sanitizer() or process_figure(daemon.pid, "VmRSS") - before < 200 << 10
    assert client.search(query="text")


def test_many_idle_connections(daemon, client):
    socks = []
    try:
        for _ in range(500):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(60)
            sock.connect(daemon.socket)
            socks.append(sock)
        for _ in range(20):
            assert client.search(query="text")
    finally:
        for sock in socks:
            sock.close()
    assert client.search(query="text")


def test_pipelined_requests(daemon):
    """Sent at once on one connection: answered in their order."""
    requests = b""
    for limit in range(1, 6):
        body = b'{"query": "text", "limit": %d, "include": []}' % limit
        requests += (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n%s\r\n" % (len(body), b"Connection: close\r\n" if limit == 5 else b"")) + body
    answer = raw(daemon.socket, requests, timeout=120)
    counts = [int(part.split(b",")[0].split(b"}")[0]) for part in answer.split(b'"count":')[1:]]
    assert counts == [1, 2, 3, 4, 5]


def test_clients_that_hang_up(daemon, client):
    """They send a request and are gone before the answer."""
    body = json.dumps({"query": "text", "limit": 20}).encode()
    request = (b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body)) + body

    def hang_up():
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(daemon.socket)
                sock.sendall(request)

    threads = [threading.Thread(target=hang_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.search(query="text")


def test_out_of_file_descriptors(make_daemon):
    """More connections than descriptors: it does not spin, and goes on when there are some again."""
    daemon = make_daemon().start()
    daemon.client.put_document("fds", "a", "text")
    open_now = len(list(pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir()))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + 20, open_now + 20))
    socks = []
    for _ in range(60):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(1)
        try:
            sock.connect(daemon.socket)
        except (TimeoutError, BlockingIOError):
            sock.close()
            break  # the backlog is full
        socks.append(sock)

    def cpu():
        fields = pathlib.Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.5)
    used, began = cpu(), len(daemon.log())
    time.sleep(2)
    assert cpu() - used < 100, "half a processor is spent on accepting what cannot be accepted"
    assert len(daemon.log()) - began < 20000, "the log is flooded"
    for sock in socks:
        sock.close()
    wait_for(lambda: daemon.client.search(query="text"), "searches to be served again")
