"""HTTP over TCP: who is let in, and the sessions of the console."""

import http.client
import json
import pathlib
import re
import socket
import threading
import time

import pytest

from daemon import Daemon, sanitizer, wait_for
from client import Response, free_port

KEY = "correct horse battery staple"


def call(port, method="GET", path="/v1/status", body=None, host="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def daemon():
    port = free_port()
    daemon = Daemon(f"[http]\nlisten = 127.0.0.1:{port}\n", environment={"TEKUP_HTTP_KEY": KEY})
    daemon.port = port
    try:
        yield daemon.start()
    finally:
        daemon.clean_up()


@pytest.fixture
def make():
    made = []

    def make(config="", **keywords):
        made.append(Daemon(config, **keywords))
        return made[-1]

    yield make
    for daemon in made:
        daemon.clean_up()


# ---- The key ----

def test_the_key_comes_in_either_header(daemon):
    assert call(daemon.port, X_API_Key=KEY).json["database"]["connected"]
    assert call(daemon.port, Authorization=f"Bearer {KEY}").status == 200
    assert call(daemon.port, Authorization=f"bearer {KEY}").status == 200
    put = call(daemon.port, "PUT", "/v1/documents", X_API_Key=KEY, Content_Type="application/json",
               body=json.dumps({"source": "test", "repository": "r", "path": "tcp.md", "content": "a heron by the lake"}))
    assert put.status == 201
    found = call(daemon.port, "POST", "/v1/search", X_API_Key=KEY, body='{"query": "heron"}')
    assert found.json["results"][0]["path"] == "tcp.md"


@pytest.mark.parametrize("headers", [
    {}, {"X_API_Key": ""}, {"X_API_Key": KEY[:-1]}, {"X_API_Key": KEY + "x"}, {"X_API_Key": KEY.upper()},
    {"Authorization": KEY}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "},
    {"Authorization": f"Basic {KEY}"}, {"Authorization": "Bearer wrong"}])
def test_without_the_key_nothing_is_told(daemon, headers):
    for method, path in (("GET", "/v1/status"), ("POST", "/v1/search"), ("GET", "/metrics"), ("GET", "/v1/events"),
                         ("GET", "/no/such/call"), ("DELETE", "/v1/status"), ("POST", "/v1/console")):
        answer = call(daemon.port, method, path, **headers)
        assert answer.status == 401, (path, answer)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.error["code"] == "unauthorized" and "key" in answer.error["message"]
        assert KEY not in answer.error["message"]


def test_whether_it_is_up_is_no_secret(daemon):
    assert call(daemon.port, path="/healthz").status == 200
    assert call(daemon.port, path="/readyz").status == 200


def test_a_webhook_signs_for_itself(daemon):
    """It asks for its signature, not for the key."""
    answer = call(daemon.port, "POST", "/webhook/github", body="{}", Content_Type="application/json")
    assert answer.status == 503 and "secret" in answer.error["message"]


def test_the_unix_socket_asks_for_no_key(daemon):
    assert daemon.client.get("/v1/status").status == 200


def test_the_key_is_in_no_log(daemon):
    call(daemon.port, X_API_Key=KEY)
    assert KEY not in daemon.log()


def test_pages_of_other_origins_may_not_call(daemon):
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{daemon.port + 1}", "http://"):
        answer = call(daemon.port, X_API_Key=KEY, Origin=origin)
        assert answer.status == 403 and answer.error["code"] == "forbidden", origin
    assert call(daemon.port, X_API_Key=KEY, Origin=f"http://127.0.0.1:{daemon.port}").status == 200


def test_a_connection_is_kept_and_each_request_is_asked(daemon):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    for headers, status in (({"X-API-Key": KEY}, 200), ({}, 401), ({"X-API-Key": KEY}, 200)):
        connection.request("GET", "/v1/status", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def resident(daemon):
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


@pytest.mark.plain
def test_what_strangers_send_is_not_kept(daemon):
    """The key is looked at before the body."""
    size = 15 << 20
    before = resident(daemon)
    connections = [socket.create_connection(("127.0.0.1", daemon.port), 60) for _ in range(10)]
    for connection in connections:
        connection.sendall(f"PUT /v1/documents HTTP/1.1\r\nHost: localhost\r\nX-API-Key: wrong\r\n"
                           f"Content-Length: {size}\r\n\r\n".encode())
        connection.sendall(b"x" * (size - 1))
    if not sanitizer():  # which keeps what was freed
        assert resident(daemon) - before < 3 * size
    for connection in connections:
        connection.sendall(b"x")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
        connection.close()
    text = "a kingfisher by the lake\n" * 4_000  # more than a stranger may send
    body = json.dumps({"source": "test", "repository": "r", "path": "large.md", "content": text})
    answer = call(daemon.port, "PUT", "/v1/documents", X_API_Key=KEY, Content_Type="application/json", body=body)
    assert answer.status == 201
    answer = call(daemon.port, "PUT", "/v1/documents", Content_Type="application/json", body=body)
    assert answer.status == 401 and answer.error["code"] == "unauthorized"


def test_a_delivery_that_is_large(daemon):
    """It says by its signature who sent it, which cannot be known before all of it is there."""
    answer = call(daemon.port, "POST", "/webhook/github", Content_Type="application/json", body="x" * (20 << 20))
    assert answer.status == 503 and "secret" in answer.error["message"]


# ---- What may be configured ----

@pytest.mark.parametrize("config, key, words", [
    ("listen = 0.0.0.0:0", None, "other machines may reach"),
    ("listen = 0.0.0.0:0\nopen_loopback = on", None, "other machines may reach"),
    ("listen = [::]:0\nopen_loopback = on", None, "other machines may reach"),
    ("listen = 127.0.0.1:0", None, "needs a key"),
    ("listen = 127.0.0.1:0", "", "TEKUP_HTTP_KEY"),
    ("listen = localhost:1", "k", "IP address and a port"),
    ("listen = 8420", "k", "IP address and a port"),
    ("listen = 127.0.0.1:99999", "k", "IP address and a port"),
    ("listen = 127.0.0.1:", "k", "IP address and a port"),
    ("listen = 192.0.2.77:0", "k", "cannot listen"),
    ("listen = 127.0.0.1:0\nkey_env = NO_SUCH_VARIABLE", "k", "NO_SUCH_VARIABLE"),
    ("listen = 127.0.0.1:0\nkey_file = /nowhere/key", None, "/nowhere/key"),
    ("listen = 127.0.0.1:0\nopen_loopback = maybe", None, "on or off"),
])
def test_what_would_let_anybody_in_is_refused(make, config, key, words):
    daemon = make(f"[http]\n{config}\n[passthrough]\nlisten = off\n", fresh=True,
                  environment={} if key is None else {"TEKUP_HTTP_KEY": key})
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert words in daemon.log()


def test_a_key_from_a_file(make, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("of-a-file\n")
    key_file.chmod(0o644)
    port = free_port()
    daemon = make(f"[http]\nlisten = 127.0.0.1:{port}\nkey_file = {key_file}\n")
    daemon.spawn()
    assert daemon.wait_exit() == 1 and "can be read by everybody" in daemon.log()
    key_file.chmod(0o600)
    daemon.start()
    assert call(port, X_API_Key="of-a-file").status == 200
    assert call(port, X_API_Key=KEY).status == 401


def test_a_port_that_is_taken(make):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        daemon = make(f"[http]\nlisten = 127.0.0.1:{other.getsockname()[1]}\nopen_loopback = on\n")
        daemon.spawn()
        assert daemon.wait_exit() == 1 and "in use" in daemon.log()


def test_open_on_the_loopback_for_this_machine_only(make):
    port = free_port(socket.AF_INET6, "::1")
    daemon = make(f"[http]\nlisten = [::1]:{port}\nopen_loopback = on\nhost = vault.example\n").start()
    assert call(port, host="::1").status == 200
    for host in ("localhost", f"[::1]:{port}", "127.0.0.1", "vault.example", f"vault.example:{port}"):
        assert call(port, host="::1", Host=host).status == 200, host
    for host in ("evil.example", "vault.example.evil.example", "127.0.0.1.evil.example", ""):
        assert call(port, host="::1", Host=host).status in (400, 403), host
    assert call(port, host="::1", Origin="http://evil.example").status == 403
    assert call(port, host="::1", Host="evil.example", Origin="http://evil.example").status == 403
    daemon.restart()
    assert call(port, host="::1").status == 200


# ---- Sessions of the console ----

def begin(daemon):
    answer = daemon.client.post("/v1/console", "")
    assert answer.status == 201, answer
    session = answer.json
    authority, key = session["url"].removeprefix("http://").split("/#key=")
    assert key == session["key"] and authority.startswith("127.0.0.1:")
    return int(authority.split(":")[1]), key


def is_closed(port):
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
        return False
    except ConnectionRefusedError:
        return True


def end(daemon, key):
    return daemon.client.delete("/v1/console", key=key)


def test_a_session_opens_a_port_and_closes_it(daemon):
    port, key = begin(daemon)
    assert call(port, X_API_Key=key).status == 200
    assert call(port).status == 401
    assert call(port, X_API_Key=KEY).status == 200, "the configured key is a key here too"
    assert daemon.client.call("POST", f"/v1/console?key={key}").json["key"] == key
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kept.request("GET", "/v1/status", headers={"X-API-Key": key})
    assert kept.getresponse().read()
    assert end(daemon, key).status == 200
    kept.request("GET", "/v1/status", headers={"X-API-Key": key})
    assert kept.getresponse().status == 401, "what came in by the session ends with it"
    kept.close()
    wait_for(lambda: is_closed(port), "the port to close")
    assert end(daemon, key).status == 404
    assert daemon.client.call("POST", f"/v1/console?key={key}").status == 404
    assert call(daemon.port, X_API_Key=key).status == 401


def test_sessions_of_several(daemon):
    port, one = begin(daemon)
    other_port, other = begin(daemon)
    assert port == other_port and one != other
    assert end(daemon, one).status == 200
    assert call(port, X_API_Key=other).status == 200
    assert call(port, X_API_Key=one).status == 401
    more = [begin(daemon)[1] for _ in range(15)]
    assert daemon.client.post("/v1/console", "").status == 503
    for key in [other, *more]:
        assert end(daemon, key).status == 200
    wait_for(lambda: is_closed(port), "the port to close")


def test_sessions_are_not_begun_over_tcp(daemon):
    port, key = begin(daemon)
    assert call(port, "POST", "/v1/console", X_API_Key=key).status == 404
    assert call(daemon.port, "DELETE", f"/v1/console?key={key}", X_API_Key=KEY).status == 404
    assert call(port, X_API_Key=key).status == 200
    end(daemon, key)
    for path in ("/v1/console", "/v1/console?key=", "/v1/console?other=1"):
        assert daemon.client.call("DELETE", path).status in (400, 404), path


def test_sessions_that_come_and_go_while_others_call(daemon):
    stop, wrong = threading.Event(), []

    def calls():
        while not stop.is_set():
            answer = call(daemon.port, X_API_Key=KEY, path="/healthz")
            if answer.status != 200:
                wrong.append(answer)

    threads = [threading.Thread(target=calls) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            port, key = begin(daemon)
            assert call(port, X_API_Key=key).status == 200
            assert end(daemon, key).status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_session_that_nobody_renews_is_over(daemon):
    port, key = begin(daemon)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as silent:  # is no use of the key
        wait_for(lambda: is_closed(port), "the port to close", timeout=120)
        assert time.monotonic() - began > 55
        silent.sendall(f"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode())
        assert silent.recv(100).startswith(b"HTTP/1.1 401")


def test_a_session_does_not_hold_up_the_end(make):
    daemon = make().start()
    port, key = begin(daemon)
    events = socket.create_connection(("127.0.0.1", port))
    events.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode())
    assert events.recv(100).startswith(b"HTTP/1.1 200")
    daemon.stop()
    assert is_closed(port)
    events.close()
