"""Whatever happens in whatever order, the index ends as the database.

Three kinds of writers (tekupd itself, psql sessions whose transactions overlap, commit in another
order than they began and roll back, and COPY) write as fast as they can, while daemons and the
database are killed, connections are cut and the disk for snapshots is full. After each of these
faults everything comes back by itself, as it would under a supervisor, and `tekup db verify` finds no
difference, on the daemon that is mistreated and on a second one that follows all along.

TEKUP_RANDOM_SEED and TEKUP_RANDOM_SECONDS choose another run than a minute of a new seed, which is
printed. With the same seed the writers and faults do the same things, if not at the same moments.
"""

import contextlib
import http.client
import io
import json
import os
import random
import resource
import signal
import threading
import time

import psycopg2
import pytest

from corpus import paragraph
from daemon import PATIENCE, Daemon, wait_for
from server import Server
from vectors import DIMENSIONS, random_vector

SEED = os.environ.get("TEKUP_RANDOM_SEED") or str(random.SystemRandom().randrange(10**9))
SECONDS = float(os.environ.get("TEKUP_RANDOM_SECONDS", 60))
PATHS = 60  # of each repository; few, so that writers meet

CONFIG = """
[index]
ef_construction = 40
max_neighbours = 8
[snapshot]
changes = 300
minutes = 0
"""


def literal(rng):
    """A vector as PostgreSQL's text, most of it zeros, so that it costs little to make and to send."""
    numbers = ["0"] * DIMENSIONS
    for _ in range(8):
        numbers[rng.randrange(DIMENSIONS)] = f"{rng.uniform(-1, 1):.4f}"
    numbers[rng.randrange(DIMENSIONS)] = "1"
    return "{" + ",".join(numbers) + "}"


class Writer(threading.Thread):
    """Steps until told to stop. What fails because something is away or in the way is tried no
    second time; anything else fails the test."""

    def __init__(self, scene, name):
        super().__init__(name=name, daemon=True)
        self.scene = scene
        self.rng = random.Random(f"{SEED}/{name}")
        self.steps = self.failed = 0
        self.broken = None

    def run(self):
        while not self.scene.over.is_set():
            try:
                self.step()
                self.steps += 1
            except (psycopg2.Error, OSError, http.client.HTTPException, SystemError) as failure:
                # SystemError is what psycopg2 makes of a connection that is cut within COPY.
                self.recover(failure)
                self.failed += 1
                time.sleep(self.rng.uniform(0, 0.05))
            except Exception as failure:  # a defect, of the test or of the daemon
                self.broken = failure
                return

    def recover(self, failure):
        pass


class TekupdWriter(Writer):
    """Puts and deletes through the daemon, and finds what it has put as soon as that is answered."""

    def step(self):
        client = self.scene.first.client
        path = f"p{self.rng.randrange(PATHS)}"
        if self.rng.random() < 0.25:
            answer = client.delete("/v1/documents/by-path", source="random", repository=self.name, path=path)
            assert answer.status in (200, 404, 503), answer
            if answer.status == 200:
                self.expect_gone(path)
            return
        fields = {"embedding": random_vector(self.rng.random())} if self.rng.random() < 0.3 else {}
        text = paragraph(self.rng, self.rng.choice((100, 600, 3000)))
        answer = client.put("/v1/documents", {
            "source": "random", "repository": self.name, "path": path, "content": text, **fields})
        assert answer.status in (200, 201, 503), answer
        if answer.status != 503:
            self.expect_found(path, text, fields.get("embedding"))

    def search(self, path, **query):
        """None where the daemon cannot answer now, or may answer before it has caught up after a fault."""
        if self.scene.faulty.is_set():
            return None
        answer = self.scene.first.client.post("/v1/search", {
            "source": "random", "repository": self.name, "pathPrefix": path, "ef": 1000, "limit": 100,
            "include": [], **query})
        assert answer.status in (200, 503), answer
        if answer.status == 503 or self.scene.faulty.is_set():
            return None
        return [hit for hit in answer.json["results"] if hit["path"] == path]

    def expect_found(self, path, text, embedding):
        query = {"embedding": embedding} if embedding else {"query": text[:90]}
        hits = self.search(path, **query)
        # A session that empties the vault may have been faster.
        if hits == [] and self.still_there(path):
            hits = self.search(path, **query)
        assert hits is None or hits or not self.still_there(path), f"{self.name}/{path} is not found"

    def still_there(self, path):
        answer = self.scene.first.client.get("/v1/documents/by-path", source="random", repository=self.name,
                                             path=path)
        if answer.status != 200 or self.scene.faulty.is_set():
            return False
        return bool(self.scene.ask('SELECT 1 FROM vault."VaultEmbedding" WHERE "documentId" = %s LIMIT 1',
                                   answer.json["id"]))

    def expect_gone(self, path):
        hits = self.search(path, query="anything", threshold=-1)
        assert not hits, f"{self.name}/{path} is found after it was deleted"


class SessionWriter(Writer):
    """Several transactions open at once, each of several statements, that end in any order."""

    OPEN = 3

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sessions = [None] * self.OPEN
        self.number = 0

    def recover(self, failure):
        for i, session in enumerate(self.sessions):
            if session is None:
                continue
            try:
                session.rollback()
            except psycopg2.Error:
                session.close()
                self.sessions[i] = None

    def step(self):
        i = self.rng.randrange(self.OPEN)
        if self.sessions[i] is None:
            self.sessions[i] = self.scene.connect()
            with self.sessions[i].cursor() as cursor:
                # One that waits for another one of its own would wait for ever.
                cursor.execute("SET lock_timeout TO '200ms'")
            self.sessions[i].commit()
        session = self.sessions[i]
        chance = self.rng.random()
        if chance < 0.2:
            session.commit()
        elif chance < 0.3:
            session.rollback()
        else:
            with session.cursor() as cursor:
                self.write(cursor)

    def write(self, cursor):
        rng = self.rng
        self.number += 1
        path = f"p{rng.randrange(PATHS)}"
        identifier = f"{self.name}-{self.number}"
        kind = rng.random()
        if kind < 0.45:
            cursor.execute(
                'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                " VALUES (%s, 'random', %s, %s, 'content', now()) ON CONFLICT (source, repository, path)"
                ' DO UPDATE SET "updatedAt" = now() RETURNING id', (identifier, self.name, path))
            document = cursor.fetchone()[0]
            for _ in range(rng.randrange(3)):
                cursor.execute('INSERT INTO vault."VaultEmbedding" ("documentId", embedding)'
                               " VALUES (%s, %s::real[])", (document, literal(rng)))
        elif kind < 0.55:
            cursor.execute("SAVEPOINT s")
            cursor.execute('DELETE FROM vault."VaultDocument" WHERE repository = %s AND path < %s', (self.name, path))
            cursor.execute(rng.choice(("ROLLBACK TO s", "RELEASE s")))
        elif kind < 0.7:
            cursor.execute('UPDATE vault."VaultEmbedding" SET embedding = %s::real[] WHERE id ='
                           ' (SELECT id FROM vault."VaultEmbedding" ORDER BY hashint4(id + %s) LIMIT 1)',
                           (literal(rng), self.number))
        elif kind < 0.8:
            cursor.execute('UPDATE vault."VaultDocument" SET repository = repository || %s, path = path || %s'
                           ' WHERE id = (SELECT id FROM vault."VaultDocument" WHERE source = %s'
                           " ORDER BY hashtext(id || %s) LIMIT 1)",
                           (rng.choice(("", "x")), f".{self.number}", "random", str(self.number)))
        elif kind < 0.9:
            cursor.execute('DELETE FROM vault."VaultEmbedding" WHERE id = (SELECT id FROM vault."VaultEmbedding"'
                           " ORDER BY hashint4(id + %s) LIMIT 1)", (self.number,))
        elif kind < 0.995:
            cursor.execute('DELETE FROM vault."VaultDocument" WHERE repository LIKE %s AND path LIKE %s',
                           (self.name + "%", path + "%"))
        else:
            cursor.execute('TRUNCATE vault."VaultEmbedding" RESTART IDENTITY')


class CopyWriter(Writer):
    """Many rows at once, and gone again at once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.session = None
        self.number = 0

    def recover(self, failure):
        if self.session is not None:
            self.session.close()
        self.session = None

    def step(self):
        if self.session is None:
            self.session = self.scene.connect()
        rng, self.number = self.rng, self.number + 1
        with self.session, self.session.cursor() as cursor:
            if rng.random() < 0.4:
                cursor.execute('DELETE FROM vault."VaultDocument" WHERE repository LIKE %s AND path LIKE %s',
                               (self.name + "%", f"{rng.randrange(10)}%"))
                return
            count = rng.randrange(1, 40)
            rows = [(f"{self.name}-{self.number}-{i}", f"{rng.randrange(10)}/{self.number}/{i}") for i in range(count)]
            cursor.copy_expert(
                'COPY vault."VaultDocument" (id, source, repository, path, content, "updatedAt") FROM STDIN',
                io.StringIO("".join(f"{one}\trandom\t{self.name}\t{path}\tc\t2026-01-01\n" for one, path in rows)))
            cursor.copy_expert(
                'COPY vault."VaultEmbedding" ("documentId", embedding) FROM STDIN',
                io.StringIO("".join(f"{one}\t{literal(rng)}\n" for one, _ in rows for _ in range(rng.randrange(1, 3)))))
        time.sleep(rng.uniform(0, 0.1))


class Scene:
    """A database, two daemons that follow it and are started again when they end, and the writers."""

    def __init__(self):
        self.over = threading.Event()
        self.faulty = threading.Event()  # something is away, or has just been
        self.broken = None
        self.daemons = []
        self.server = Server()
        self.server.start()
        self.server.create_database("tekup_db")
        self.first = self.make_daemon()
        self.second = self.make_daemon()
        self.supervisor = threading.Thread(target=self.supervise, daemon=True)
        self.supervising = threading.Event()
        self.supervisor.start()

    def make_daemon(self):
        daemon = Daemon(config=CONFIG, database_url=self.server.url())
        self.daemons.append(daemon)
        return daemon.start()

    def supervise(self):
        while not self.supervising.wait(0.05):
            for daemon in self.daemons:
                status = daemon.process.poll()
                if status is not None:
                    if status != -signal.SIGKILL:
                        self.broken = f"tekupd ended by itself, with {status}"
                    daemon.process = None
                    daemon.spawn()

    def connect(self):
        return psycopg2.connect(self.server.url())

    def ask(self, statement, *parameters):
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def wait_back(self, daemon):
        def back():
            try:
                return daemon.client.get("/readyz").status == 200
            except (OSError, http.client.HTTPException):
                return False
        wait_for(back, "the daemon to be back", timeout=4 * PATIENCE)

    def verify(self, daemon):
        """A daemon that has not noticed a fault yet may say that it can verify, and then cannot."""
        def verified():
            self.wait_back(daemon)
            done = daemon.tekup("db", "verify", "--json")
            answer = json.loads(done.stdout)
            if "result" not in answer:
                assert done.returncode == 1 and answer["error"]["code"] in ("unavailable", "conflict", "io"), answer
                return None
            assert done.returncode == 0 and answer["result"]["equal"], f"seed {SEED}: {answer}"
            return answer["result"]
        return wait_for(verified, "tekup db verify", timeout=4 * PATIENCE)

    def close(self):
        self.over.set()
        self.supervising.set()
        self.supervisor.join(60)
        try:
            for daemon in self.daemons:
                daemon.clean_up()
        finally:
            self.server.close()


# ---- Faults ----


def kill_daemon(scene, rng):
    rng.choice(scene.daemons).process.kill()


def kill_first_daemon_while_it_saves(scene, rng):
    threading.Thread(target=ask_for_snapshot, args=(scene.first,), daemon=True).start()
    time.sleep(rng.uniform(0, 0.05))
    scene.first.process.kill()


def kill_server(scene, rng):
    process = scene.server.process
    process.kill()
    process.wait(60)
    scene.server.process = None
    time.sleep(rng.uniform(0, 1))
    scene.server.start()


def kill_one_backend(scene, rng):
    """PostgreSQL takes this for a crash and starts all of itself anew."""
    pids = scene.ask("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids)[0], signal.SIGKILL)


def kill_both(scene, rng):
    scene.first.process.kill()
    kill_server(scene, rng)


def cut_connections(scene, rng):
    for _ in range(rng.randrange(1, 4)):
        with contextlib.suppress(psycopg2.Error):
            scene.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE datname = current_database() AND pid <> pg_backend_pid()")
        time.sleep(rng.uniform(0, 0.2))


def ask_for_snapshot(daemon):
    try:
        return daemon.client.post("/v1/index/snapshot", {}).status
    except (OSError, http.client.HTTPException):
        return None


def fill_disk(scene, rng):
    """A limit on the size of files stands for a disk that is full."""
    scene.wait_back(scene.first)
    pid = scene.first.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    try:
        for _ in range(3):
            assert ask_for_snapshot(scene.first) in (500, 409)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert wait_for(lambda: ask_for_snapshot(scene.first) == 200, "a snapshot when there is room again")


FAULTS = [kill_daemon, kill_first_daemon_while_it_saves, kill_server, kill_one_backend, kill_both, cut_connections,
          fill_disk]


def results(daemon, queries):
    found = []
    for query in queries:
        answer = daemon.client.post("/v1/search", {"embedding": query, "limit": 50, "ef": 65536, "include": []})
        assert answer.status == 200, answer
        found.append([(hit["id"], hit["path"], round(hit["similarity"], 4)) for hit in answer.json["results"]])
    return found


@pytest.fixture
def scene():
    scene = Scene()
    try:
        yield scene
    finally:
        scene.close()


def make_fault(scene, rng, fault):
    print(f"{time.strftime('%H:%M:%S')} {fault.__name__}", flush=True)
    scene.faulty.set()
    fault(scene, rng)
    for daemon in scene.daemons:
        scene.verify(daemon)
    scene.faulty.clear()
    assert scene.broken is None, f"seed {SEED}: {scene.broken}"


def test_random(scene):
    print(f"TEKUP_RANDOM_SEED={SEED} TEKUP_RANDOM_SECONDS={SECONDS:g}", flush=True)
    rng = random.Random(SEED)
    writers = [TekupdWriter(scene, "tekupd1"), TekupdWriter(scene, "tekupd2"), SessionWriter(scene, "psql1"),
               SessionWriter(scene, "psql2"), CopyWriter(scene, "copy")]
    for writer in writers:
        writer.start()
    ends = time.monotonic() + SECONDS
    faults = list(FAULTS)
    rng.shuffle(faults)  # each at least once
    try:
        while faults or time.monotonic() < ends:
            time.sleep(rng.uniform(0.5, 3))
            make_fault(scene, rng, faults.pop() if faults else rng.choice(FAULTS))
            for writer in writers:
                assert writer.broken is None, f"seed {SEED}: {writer.name}: {writer.broken!r}"
    finally:
        scene.over.set()
        for writer in writers:
            writer.join(4 * PATIENCE)
    for writer in writers:
        print(f"{writer.name}: {writer.steps} steps, {writer.failed} failed", flush=True)
        assert not writer.is_alive() and writer.broken is None, f"seed {SEED}: {writer.name}: {writer.broken!r}"
        assert writer.steps > 0
    # What nobody ended is rolled back with its session.
    for writer in writers:
        writer.recover(None)
    first, second = (scene.verify(daemon) for daemon in scene.daemons)
    counted = scene.ask('SELECT (SELECT count(*) FROM vault."VaultDocument"), (SELECT count(*) FROM vault."VaultEmbedding")')
    assert (first["documents"], first["embeddings"]) == counted[0] == (second["documents"], second["embeddings"])
    queries = [random_vector(f"{SEED}/{number}") for number in range(20)]
    assert results(scene.first, queries) == results(scene.second, queries), f"seed {SEED}: the two differ"
