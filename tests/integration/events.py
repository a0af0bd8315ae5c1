"""events.py: a client of GET /v1/events, which reads server-sent events off the socket as a browser does."""

import json
import queue
import threading

from client import UnixConnection, target


class Event:
    def __init__(self, name, data, identifier):
        self.name = name
        self.data = json.loads(data)
        self.id = identifier

    def __repr__(self):
        return f"<{self.name} {self.data}>"


class Events:
    """Reads in a thread of its own; next() gives what has come, in order."""

    def __init__(self, socket_path, last_id=None, timeout=120, **query):
        self.timeout = timeout
        self.last_id = last_id
        self.comments = 0
        self.arrived = queue.Queue()
        self.connection = UnixConnection(socket_path, timeout)
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        self.connection.request("GET", target("/v1/events", **query), headers=headers)
        self.sock = self.connection.sock  # which the response takes over
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.headers = self.response.headers
        if self.status != 200:
            self.body = json.loads(self.response.read())
            self.connection.close()
            return
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def read(self):
        name, data = "message", []
        try:
            for line in iter(self.response.readline, b""):
                line = line.decode().rstrip("\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if line == "":
                    if data:
                        self.arrived.put(Event(name, "\n".join(data), self.last_id))
                    name, data = "message", []
                elif field == "":
                    self.comments += 1
                elif field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
        except Exception:
            pass  # cut off
        self.arrived.put(None)

    def next(self, timeout=None):
        """The next event, or None at the end of the stream."""
        try:
            return self.arrived.get(timeout=timeout or self.timeout)
        except queue.Empty:
            raise AssertionError("no event came") from None

    def start(self):
        event = self.next()
        assert event.name == "start", event
        return event

    def until(self, condition):
        """Everything up to the first event for which the condition holds, with it."""
        found = []
        while True:
            event = self.next()
            assert event is not None, f"the stream ended after {found}"
            found.append(event)
            if condition(event):
                return found

    def close(self):
        if self.status == 200:
            try:
                self.sock.shutdown(2)
            except OSError:
                pass
            self.thread.join(self.timeout)
        self.connection.close()
