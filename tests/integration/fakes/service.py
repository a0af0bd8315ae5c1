"""service.py: what the fakes of remote services share: an HTTP server in threads of this process that
keeps a log of its requests and does harm when it is told to.

    class GitHub(Service):
        def handle(self, request):
            if request.path == "/repos/a/b":
                return answer(200, {"id": 1})

    with GitHub() as github:
        github.fail(lambda request: request.path.endswith("/tarball"), cut=1000)
        ...
        assert [r.path for r in github.requests] == [...]
"""

import email.utils
import http.server
import json
import math
import socket
import ssl
import threading
import time
import urllib.parse


class Request:
    """One request as it came: method, path (without the query), query (last value of each name),
    headers (names in lower case), body (bytes), raw (path with query), time."""

    def __init__(self, method, raw, headers, body):
        self.method, self.raw, self.headers, self.body = method, raw, headers, body
        split = urllib.parse.urlsplit(raw)
        self.path = urllib.parse.unquote(split.path)
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.time = time.monotonic()
        self.status = None  # of the answer that it got

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.method} {self.raw} -> {self.status}"


class Answer:
    def __init__(self, status, body=b"", headers=()):
        self.status, self.body, self.headers = status, body, dict(headers)


def answer(status, content=None, headers=()):
    """content: bytes and text as they are, anything else as JSON."""
    headers = dict(headers)
    if content is None:
        return Answer(status, b"", headers)
    if isinstance(content, bytes):
        return Answer(status, content, headers)
    if isinstance(content, str):
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return Answer(status, content.encode(), headers)
    headers.setdefault("Content-Type", "application/json; charset=utf-8")
    return Answer(status, json.dumps(content).encode(), headers)


def date_in(seconds):
    """As a header has it: in so many seconds at least, since it has no fractions."""
    return email.utils.formatdate(math.ceil(time.time() + seconds), usegmt=True)


class Fault:
    """What is done to the next `times` requests for which `when` is true (None: to all).

    answer: given instead; delay: seconds before anything is sent; until: an Event before which nothing is
    sent; cut: the connection is cut after so many bytes of the body; trickle: seconds between pieces of
    1,000 bytes of the body."""

    def __init__(self, when, times=None, answer=None, delay=0, until=None, cut=None, trickle=0):
        self.when, self.times, self.answer = when, times, answer
        self.delay, self.until, self.cut, self.trickle = delay, until, cut, trickle


class Service:
    """handle(request) is given by the subclass and returns an Answer, or None for 404. It is called
    from several threads; `lock` is for its state. tls: (certificate file, key file)."""

    def __init__(self, tls=None):
        self.lock = threading.RLock()
        self.requests = []
        self.faults = []
        self.ending = threading.Event()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # the body need not wait until the headers are acknowledged

            def serve(self):
                service._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = serve

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # clients that go away are no news

        self.server = Server(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.port = self.server.server_address[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # ---- For tests ----

    def fail(self, when=None, **fault):
        """Adds a fault and returns it; see Fault."""
        made = Fault(when, **fault)
        with self.lock:
            self.faults.append(made)
        return made

    def mend(self):
        """Ends all faults."""
        with self.lock:
            self.faults.clear()

    def forget(self):
        """Empties the log of requests."""
        with self.lock:
            self.requests.clear()

    def count(self, text):
        """How many requests had this in their method and URL."""
        with self.lock:
            return sum(text in f"{request.method} {request.raw}" for request in self.requests)

    def handle(self, request):
        raise NotImplementedError

    # ---- Serving ----

    def _fault(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.when is not None and not fault.when(request):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self.faults.remove(fault)
                return fault
        return Fault(None)

    def _serve(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, handler.path, headers, body)
        with self.lock:
            self.requests.append(request)
        fault = self._fault(request)
        if fault.delay:
            self.ending.wait(fault.delay)
        while fault.until and not fault.until.wait(0.05) and not self.ending.is_set():
            pass
        given = fault.answer or self.handle(request) or answer(404, {"message": "Not Found"})
        request.status = given.status
        self._send(handler, request, given, fault)

    def _send(self, handler, request, given, fault):
        handler.send_response(given.status)
        for name, value in given.headers.items():
            handler.send_header(name, value)
        if given.status not in (204, 304):
            handler.send_header("Content-Length", str(len(given.body)))
        handler.end_headers()
        if request.method == "HEAD" or given.status in (204, 304):
            return
        body = given.body if fault.cut is None else given.body[:fault.cut]
        step = 1000 if fault.trickle else max(len(body), 1)
        for at in range(0, len(body), step):
            if at and self.ending.wait(fault.trickle):
                break
            handler.wfile.write(body[at:at + step])
            handler.wfile.flush()
        if fault.cut is not None:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
