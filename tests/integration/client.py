"""client.py: HTTP/1.1 over a UNIX socket, as any client of tekupd would speak it."""

import http.client
import json
import pathlib
import random
import socket
import urllib.parse


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    """None of those that the system gives to whoever asks for any: it might, before the daemon has it."""
    least = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(max(1024, least - 20000), max(least, 2048))
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The `error` object of a failed call."""
        return self.json["error"]

    def __repr__(self):
        return f"<{self.status} {self.body[:400]!r}>"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def target(path, /, **query):
    """path with its query string; a parameter that is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return path + ("?" + urllib.parse.urlencode(given) if given else "")


class Client:
    """Each call opens a connection of its own unless the client is used as a context manager, which
    keeps one open."""

    observer = None  # is called with every call and its answer: method, path, headers, body, answer

    def __init__(self, socket_path, timeout=120):
        self.socket_path = socket_path
        self.timeout = timeout
        self.kept = None

    def __enter__(self):
        self.kept = UnixConnection(self.socket_path, self.timeout)
        return self

    def __exit__(self, *exc):
        self.kept.close()
        self.kept = None

    def call(self, method, path, body=None, content_type=None, headers=None):
        """body: bytes or str as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None:
            if not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
            headers["Content-Type"] = content_type or "application/json"
        connection = self.kept or UnixConnection(self.socket_path, self.timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            received = connection.getresponse()
            answer = Response(received.status, received.headers, received.read())
        finally:
            if connection is not self.kept:
                connection.close()
        if Client.observer:
            Client.observer(method, path, headers, body, answer)
        return answer

    def get(self, path, /, **query):
        return self.call("GET", target(path, **query))

    def delete(self, path, /, **query):
        return self.call("DELETE", target(path, **query))

    def put(self, path, body, **kw):
        return self.call("PUT", path, body, **kw)

    def post(self, path, body, **kw):
        return self.call("POST", path, body, **kw)

    # The calls that most tests are made of. They assert that the call went well.

    def search(self, **fields):
        """By the vectors, unless a mode is given: most tests are about the index."""
        fields = {"mode": "vector", **fields}
        answer = self.post("/v1/search", fields)
        assert answer.status == 200, answer
        return answer.json["results"]

    def put_document(self, repository, path, content, source="test", **fields):
        body = {"source": source, "repository": repository, "path": path, "content": content}
        body.update(fields)
        answer = self.put("/v1/documents", body)
        assert answer.status in (200, 201), answer
        return answer.json

    def documents(self, **query):
        """Every document, over all pages."""
        found, after = [], None
        while True:
            answer = self.get("/v1/documents", after=after, limit=1000, **query)
            assert answer.status == 200, answer
            found += answer.json["documents"]
            after = answer.json["next"]
            if after is None:
                return found

    def status(self):
        answer = self.get("/v1/status")
        assert answer.status == 200, answer
        return answer.json


def raw(socket_path, data, timeout=30):
    """Sends bytes that need not be HTTP and returns everything that comes back until the server
    closes or `timeout` passes in silence. The sending side stays open."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(socket_path)
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it was sent; the answer may be there all the same
        received = b""
        try:
            while True:
                piece = sock.recv(65536)
                if not piece:
                    return received
                received += piece
        except (TimeoutError, ConnectionResetError):
            return received
