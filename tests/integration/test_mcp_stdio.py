"""`tekup mcp`: a client's lines come to the daemon and its answers back, whatever becomes of either."""

import json
import os
import queue
import signal
import subprocess
import threading

import pytest

from daemon import PATIENCE, TEKUP, process_figure, sanitizer
from test_mcp import HANDSHAKES, TOOLS, modern_message

INTERNAL = -32603


class Relay:
    """One `tekup mcp`, and the lines that it writes."""

    def __init__(self, environment):
        self.process = subprocess.Popen([str(TEKUP), "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=environment)
        self.lines = queue.Queue()
        self.said = []
        self.readers = [threading.Thread(target=self.read_lines, daemon=True),
                        threading.Thread(target=self.read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def read_errors(self):
        for line in self.process.stderr:
            self.said.append(line.decode())

    def send(self, *messages):
        """bytes as they are, anything else as JSON on a line."""
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            self.process.stdin.write(line)
        self.process.stdin.flush()

    def receive(self):
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no answer: {self.said}") from None
        assert line.endswith(b"\n")
        return json.loads(line)

    def ask(self, method, params=None, id=1):
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        self.send(message if params is None else message | {"params": params})
        return self.receive()

    def call(self, name, **arguments):
        answer = self.ask("tools/call", {"name": name, "arguments": arguments}, id=name)
        assert answer["id"] == name
        return answer["result"]["structuredContent"]

    def end(self):
        """Closes its input; what it still wrote."""
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0, self.said
        for reader in self.readers:
            reader.join()
        left = []
        while not self.lines.empty():
            left.append(json.loads(self.lines.get()))
        return left


@pytest.fixture
def start():
    made = []

    def make(daemon, **environment):
        made.append(Relay(daemon.environment | environment))
        return made[-1]

    yield make
    for relay in made:
        relay.process.kill()
        relay.process.wait()
        assert not any("Sanitizer" in line or "runtime error" in line for line in relay.said), relay.said


@pytest.fixture(scope="module", autouse=True)
def document(client):
    client.put_document("handbook", "leave.md", "Whoever wants a day off asks a week before.", source="notes")


def ping(id):
    return {"jsonrpc": "2.0", "id": id, "method": "ping"}


@pytest.mark.parametrize("version", HANDSHAKES)
def test_a_session(daemon, start, version):
    relay = start(daemon)
    given = relay.ask("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})
    assert given["result"]["protocolVersion"] == version
    relay.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert [tool["name"] for tool in relay.ask("tools/list")["result"]["tools"]] == TOOLS
    assert relay.call("search", query="day off")["results"][0]["title"] == "leave.md"
    # Batches are of one version, and the daemon is told which one was agreed on.
    relay.send([ping(7), ping(8)])
    answer = relay.receive()
    assert [one["id"] for one in answer] == [7, 8] if version == "2025-03-26" else answer["error"]["code"] == -32600
    assert relay.end() == []
    assert relay.said == []


def test_the_modern_era_and_none_at_all(daemon, start):
    relay = start(daemon)
    assert [tool["name"] for tool in relay.ask("tools/list")["result"]["tools"]] == TOOLS
    for method, params in (("server/discover", {}), ("tools/list", {}),
                           ("tools/call", {"name": "search", "arguments": {"query": "day off"}})):
        relay.send(modern_message(method, params, id=method))
        answer = relay.receive()
        assert answer["id"] == method and answer["result"]["resultType"] == "complete"
    relay.send(modern_message("tools/call", {"name": "søg\n"}))
    assert relay.receive()["error"]["code"] == -32020  # such a name has no header
    relay.send(modern_message("nothing"), modern_message("tools/list", protocolVersion="1900-01-01", id=2))
    codes = {answer["id"]: answer["error"]["code"] for answer in (relay.receive(), relay.receive())}
    assert codes == {1: -32601, 2: -32022}
    assert relay.end() == []


def test_lines_that_are_no_messages(daemon, start):
    relay = start(daemon)
    relay.send(b"\n", b"\r\n", b" \n")
    assert relay.receive()["error"]["code"] == -32700  # of the blank
    for line in (b"nonsense\n", b'{"jsonrpc": "2.0", "id": 3\n', b"\xff\xfe\0\0\n", b"[" * 100000 + b"\n", b"{}{}\n"):
        relay.send(line)
        answer = relay.receive()
        assert "id" not in answer and answer["error"]["code"] == -32700, answer
    for line, id in ((b"{}\n", None), (b'{"jsonrpc": "1.0", "id": "x", "method": "ping"}\r\n', "x")):
        relay.send(line)
        answer = relay.receive()
        assert answer["error"]["code"] == -32600 and answer.get("id") == id
    relay.send(json.dumps(ping("crlf")).encode() + b"\r\n")
    assert relay.receive() == {"jsonrpc": "2.0", "id": "crlf", "result": {}}
    relay.send(json.dumps(ping("no end")).encode())
    assert relay.end() == [{"jsonrpc": "2.0", "id": "no end", "result": {}}]


def test_lines_in_pieces(daemon, start):
    relay = start(daemon)
    for id in range(3):
        for byte in json.dumps(ping(id)).encode() + b"\n":
            relay.send(bytes([byte]))
        assert relay.receive() == {"jsonrpc": "2.0", "id": id, "result": {}}
    relay.send(b"".join(json.dumps(ping(id)).encode() + b"\n" for id in range(1000)))
    assert sorted(relay.receive()["id"] for _ in range(1000)) == list(range(1000))
    assert relay.end() == []


@pytest.mark.plain
def test_large_lines(daemon, start):
    relay = start(daemon)
    relay.send(ping(1) | {"params": {"x": "y" * (8 << 20)}})
    assert relay.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    relay.send(ping("large") | {"params": {"x": "y" * (20 << 20)}})
    answer = relay.receive()
    assert answer["id"] == "large" and answer["error"]["code"] == INTERNAL
    assert "larger than 16777216 bytes" in answer["error"]["message"]
    for piece in range(90):
        relay.send(b"x" * (1 << 20))
    relay.send(b"\n", ping(2))
    answer = relay.receive()
    assert "id" not in answer and "64 MiB" in answer["error"]["message"]
    assert relay.receive()["id"] == 2
    if not sanitizer():
        assert process_figure(relay.process.pid, "VmHWM") < 400 << 10
    text = "Åse \"quoted\" \\ \n" * 100000
    daemon.client.put_document("large", "large.txt", text, source="notes")
    (one,) = relay.call("search_knowledge", query="Åse quoted", repository="large")["results"]
    assert relay.call("fetch", id=one["id"])["text"] == text
    daemon.client.delete(f"/v1/documents/{one['id']}")
    assert relay.end() == []


def test_a_request_does_not_wait_for_another(daemon, start):
    relay = start(daemon)
    lock = daemon.lock(mode="ACCESS EXCLUSIVE")
    for id in range(8):
        relay.send({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "list_repositories"}})
    daemon.wait_blocked()
    assert relay.ask("ping", id="meanwhile")["id"] == "meanwhile"
    # One that is cancelled gets no answer.
    relay.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}},
               {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "none"}},
               {"jsonrpc": "2.0", "method": "notifications/cancelled"})
    assert relay.ask("ping", id="after")["id"] == "after"
    relay.process.stdin.close()
    lock.close()
    answers = [relay.receive() for _ in range(7)]
    assert sorted(answer["id"] for answer in answers) == [0, 1, 2, 4, 5, 6, 7]
    assert all("repositories" in answer["result"]["structuredContent"] for answer in answers)
    assert relay.process.wait(PATIENCE) == 0
    assert relay.lines.empty()


def test_more_requests_than_are_brought_at_a_time(daemon, start):
    relay = start(daemon)
    lock = daemon.lock(mode="ACCESS EXCLUSIVE")
    for id in range(100):
        relay.send({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "list_repositories"}})
    daemon.wait_blocked()
    lock.close()
    assert sorted(relay.receive()["id"] for _ in range(100)) == list(range(100))
    assert relay.end() == []


def test_the_daemon_is_started_anew(make_daemon, start):
    daemon = make_daemon()
    relay = start(daemon)
    away = relay.ask("tools/list", id="away")
    assert away["id"] == "away" and away["error"]["code"] == INTERNAL
    assert "tekupd is not running" in away["error"]["message"]
    relay.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    daemon.start()
    daemon.client.put_document("handbook", "leave.md", "Whoever wants a day off asks a week before.")
    for how in (daemon.stop, daemon.kill):
        (found,) = relay.call("search", query="day off")["results"]
        how()
        away = relay.ask("tools/call", {"name": "search", "arguments": {"query": "day off"}}, id="away")
        assert away["id"] == "away" and "tekupd is not running" in away["error"]["message"], away
        daemon.start()
        assert relay.call("fetch", id=found["id"])["text"].startswith("Whoever")
    # One that is killed in the middle of a request.
    lock = daemon.lock(mode="ACCESS EXCLUSIVE")
    relay.send({"jsonrpc": "2.0", "id": "cut", "method": "tools/call", "params": {"name": "list_repositories"}})
    daemon.wait_blocked()
    daemon.kill()
    answer = relay.receive()
    assert answer["id"] == "cut" and answer["error"]["code"] == INTERNAL, answer
    lock.close()
    daemon.start()
    assert relay.call("list_repositories")["count"] == 1
    assert relay.end() == []
    assert any("tekupd is not running" in line for line in relay.said)


def test_many_clients(daemon, start):
    relays = [start(daemon) for _ in range(8)]
    for turn in range(20):
        for number, relay in enumerate(relays):
            relay.send({"jsonrpc": "2.0", "id": f"{number}-{turn}", "method": "tools/call",
                        "params": {"name": "search_knowledge", "arguments": {"query": f"day off {turn}"}}})
    for number, relay in enumerate(relays):
        answers = {answer["id"]: answer["result"] for answer in (relay.receive() for _ in range(20))}
        assert set(answers) == {f"{number}-{turn}" for turn in range(20)}
        assert all(result["structuredContent"]["count"] == 1 for result in answers.values())
        assert relay.end() == []


def test_a_client_that_is_gone(daemon):
    process = subprocess.Popen([str(TEKUP), "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=daemon.environment)
    process.stdout.close()
    process.stdin.write(json.dumps(ping(1)).encode() + b"\n")
    process.stdin.flush()
    # By the signal of a broken pipe, or by itself.
    assert process.wait(PATIENCE) in (-signal.SIGPIPE, 1)
    process.stdin.close()


@pytest.mark.plain
def test_nothing_is_kept_of_what_was_asked(daemon, start):
    relay = start(daemon)
    files = lambda: len(os.listdir(f"/proc/{relay.process.pid}/fd"))  # noqa: E731
    for _ in range(3):
        for id in range(200):
            relay.send(ping(id))
        for id in range(200):
            relay.receive()
    before = process_figure(relay.process.pid, "VmRSS")
    for turn in range(10):
        for id in range(200):
            relay.send(ping(id))
        for id in range(200):
            relay.receive()
    assert files() < 40
    if not sanitizer():
        assert process_figure(relay.process.pid, "VmRSS") < before + 2000
    assert relay.end() == []


def test_how_it_is_called(daemon):
    run = lambda *arguments: subprocess.run([str(TEKUP), "mcp", *arguments], env=daemon.environment, text=True,  # noqa: E731
                                            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    assert run().returncode == 0 and run().stdout == ""
    assert run("word").returncode == 2 and run("--frobnicate").returncode == 2
    assert "mcpServers" in run("--help").stdout
