"""wire.py: PostgreSQL's protocol, message by message, for what no client library would send."""

import socket
import struct

from daemon import PATIENCE


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def startup(user="tekup_billy", database="tekup_db", version=3 << 16, **parameters):
    body = struct.pack("!I", version)
    for name, value in {"user": user, "database": database, **parameters}.items():
        body += text(name) + text(value)
    body += b"\0"
    return struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message("Q", text(sql))


def parse(name, sql, types=()):
    return message("P", text(name) + text(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(name="", values=(), portal=""):
    body = text(portal) + text(name) + struct.pack("!HH", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return message("B", body + struct.pack("!H", 0))


def describe(kind, name=""):
    return message("D", kind.encode() + text(name))


def close(kind, name=""):
    return message("C", kind.encode() + text(name))


def execute(portal="", rows=0):
    return message("E", text(portal) + struct.pack("!I", rows))


SYNC = message("S")
FLUSH = message("H")


class Message:
    def __init__(self, kind, body):
        self.kind = kind
        self.body = body

    def fields(self):
        """Of an ErrorResponse or NoticeResponse."""
        return {part[:1].decode(): part[1:].decode() for part in self.body.split(b"\0") if part}

    def row(self):
        """Of a DataRow."""
        count, at, values = struct.unpack_from("!H", self.body)[0], 2, []
        for _ in range(count):
            length = struct.unpack_from("!i", self.body, at)[0]
            at += 4
            values.append(None if length < 0 else self.body[at:at + length].decode())
            at += max(length, 0)
        return tuple(values)

    def __repr__(self):
        return f"{self.kind}:{self.body[:80]!r}"


class Wire:
    """One connection. Usable with `with`."""

    def __init__(self, run, user="tekup_billy", database="tekup_db", login=True, **parameters):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(f"{run}/.s.PGSQL.5432")
        self.received = b""
        self.parameters, self.key = {}, None
        if not login:
            return
        self.send(startup(user, database, **parameters))
        for said in self.until_ready():
            assert said.kind != "E", said.fields()
            if said.kind == "S":
                name, value = said.body.split(b"\0")[:2]
                self.parameters[name.decode()] = value.decode()
            elif said.kind == "K":
                self.key = struct.unpack("!II", said.body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *messages):
        try:
            self.socket.sendall(b"".join(messages))
        except BrokenPipeError:
            pass  # why, is there to be read

    def read(self):
        """The next message; None at the end."""
        while len(self.received) < 5 or len(self.received) < 1 + self.length():
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not self.received, self.received
                return None
            self.received += more
        end = 1 + self.length()
        found = Message(chr(self.received[0]), self.received[5:end])
        self.received = self.received[end:]
        return found

    def length(self):
        return struct.unpack_from("!I", self.received, 1)[0]

    def until_ready(self):
        """Everything up to ReadyForQuery, or to the end."""
        said = []
        while True:
            found = self.read()
            if found is None:
                return said
            said.append(found)
            if found.kind == "Z":
                return said

    def ask(self, *messages):
        self.send(*messages)
        return self.until_ready()

    def kinds(self, *messages):
        return "".join(said.kind for said in self.ask(*messages))

    def rows(self, sql):
        """Of a simple query, which must not fail."""
        said = self.ask(query(sql))
        for found in said:
            assert found.kind != "E", found.fields()
        return [found.row() for found in said if found.kind == "D"]

    def value(self, sql):
        return self.rows(sql)[0][0]

    def error(self, *messages):
        """The fields of the error that they give."""
        errors = [found.fields() for found in self.ask(*messages) if found.kind == "E"]
        assert errors, "no error"
        return errors[0]


def cancel(run, key):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{run}/.s.PGSQL.5432")
        connection.sendall(struct.pack("!IIII", 16, 1234 << 16 | 5678, *key))
        connection.settimeout(PATIENCE)
        assert connection.recv(1) == b""
