"""PostgreSQL goes away, during a write and during a search, and comes back by itself or by hand.

With the private cluster tekupd brings the server back itself. To have it away for longer, these tests
run a server of their own behind DATABASE_URL.
"""

import contextlib
import json
import os
import signal
import threading
import time

import psycopg2
import pytest

from client import UnixConnection
from corpus import document, write_tree
from daemon import descendants, is_running, wait_for
from vectors import unit

TEXTS = {f"{number:02}.md": document(f"away {number}", 2, 500) for number in range(12)}


class Call(threading.Thread):
    """A call that is under way while the test goes on."""

    def __init__(self, daemon, method, path, body=None):
        super().__init__()
        self.client = type(daemon.client)(daemon.socket, timeout=120)
        self.arguments = (method, path, body)
        self.answer = None
        self.start()

    def run(self):
        self.answer = self.client.call(*self.arguments)

    def result(self):
        self.join(120)
        assert not self.is_alive(), "the call does not end"
        return self.answer


@pytest.fixture
def away(make_daemon, server):
    """A daemon with documents, on a server that the test may stop and start."""
    daemon = make_daemon(database_url=server.url()).start()
    for path, text in TEXTS.items():
        daemon.client.put_document("away", path, text, metadata={"kept": True})
    return daemon


def unavailable(answer):
    assert answer.status == 503, answer
    assert answer.error["code"] == "unavailable" and answer.error["message"]
    assert int(answer.headers["Retry-After"]) > 0


def wait_not_ready(daemon):
    wait_for(lambda: daemon.client.get("/readyz").status == 503, "the daemon to notice")


def check_memory_only(client):
    """What a search gives while PostgreSQL is away."""
    full = client.post("/v1/search", {"query": TEXTS["05.md"], "limit": 3,
                                      "include": ["chunk", "content", "metadata"]})
    assert full.status == 200, full
    assert full.json["partial"] and isinstance(full.json["partial"], str)
    hit = full.json["results"][0]
    assert (hit["source"], hit["repository"], hit["path"]) == ("test", "away", "05.md")
    assert hit["similarity"] > 0.7
    assert not {"content", "chunk", "sha", "createdAt"} & set(hit)
    memory = client.post("/v1/search", {"embedding": unit(3), "limit": 12, "include": [], "repository": "away",
                                        "source": "test", "pathPrefix": "0", "threshold": -1})
    assert memory.status == 200
    assert memory.json["partial"] is None, "nothing is missing from an answer that wanted no texts"
    assert memory.json["count"] == 10


def test_searches_go_on_without_the_database(away, server):
    client = away.client
    server.stop()
    wait_not_ready(away)
    assert client.get("/healthz").status == 200
    ready = client.get("/readyz")
    assert ready.json["status"] == "degraded" and ready.json["reason"]
    assert int(ready.headers["Retry-After"]) > 0
    status = client.status()
    assert status["database"]["connected"] is False and status["database"]["error"]
    assert status["index"]["vectors"] > 0
    check_memory_only(client)

    unavailable(client.post("/v1/search", {"query": "x", "metadata": {"kept": True}}))
    batch = client.post("/v1/search/batch", {"searches": [
        {"query": TEXTS["03.md"], "include": [], "mode": "vector"}, {"query": "x", "metadata": {"kept": True}},
        {"query": "x"}, {"query": "x", "mode": "text"}, {"query": TEXTS["03.md"], "include": []}]})
    assert batch.status == 200
    first, second, third, fourth, fifth = batch.json["responses"]
    assert first["results"][0]["path"] == "03.md" and first["partial"] is None
    assert second["error"]["code"] == fourth["error"]["code"] == "unavailable"
    assert third["partial"]
    assert fifth["results"][0]["path"] == "03.md" and fifth["mode"] == "hybrid"
    assert fifth["partial"].startswith("by the vectors alone: ")
    unavailable(client.post("/v1/search", {"query": "x", "mode": "text"}))

    identifier = client.search(query=TEXTS["01.md"], include=[])[0]["id"]
    unavailable(client.get(f"/v1/documents/{identifier}"))
    unavailable(client.get("/v1/documents"))
    unavailable(client.delete(f"/v1/documents/{identifier}"))
    unavailable(client.put("/v1/documents", {"source": "test", "repository": "away", "path": "x", "content": "x"}))
    unavailable(client.get("/v1/sources"))
    unavailable(client.put("/v1/sources", {"source": "local", "repository": "x", "config": {"path": "/tmp"}}))
    assert client.get("/v1/sync").status in (200, 503)

    server.start()
    away.wait_ready()
    assert len(client.documents()) == len(TEXTS)
    again = client.post("/v1/search", {"query": TEXTS["05.md"]})
    assert again.json["partial"] is None and again.json["results"][0]["metadata"] == {"kept": True}
    client.put_document("away", "x", "It writes again.")
    away.settled_counts()


def test_bad_input_is_refused_as_ever_without_the_database(away, server):
    server.stop()
    wait_not_ready(away)
    assert away.client.post("/v1/search", {"query": "x", "limit": 0}).status == 400
    assert away.client.put("/v1/documents", {"source": "test"}).status == 400
    assert away.client.get("/v1/nothing").status == 404


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_stopped_during_a_write(away, server, how):
    client = away.client
    lock = away.lock()
    put = Call(away, "PUT", "/v1/documents",
               {"source": "test", "repository": "away", "path": "05.md", "content": document("new", 4)})
    delete = Call(away, "DELETE", "/v1/documents/by-path?source=test&repository=away&path=06.md")
    away.wait_blocked(2)
    server.stop(how)
    # A fast shutdown ends the session that holds the lock as well, so a write may still be committed before
    # its own session is ended. Then it has happened, and is answered so; otherwise nothing has.
    written, deleted = (call.result() for call in (put, delete))
    for answer in (written, deleted):
        if how != signal.SIGINT or answer.status != 200:
            unavailable(answer)
    lock.close()
    if written.status == deleted.status == 503:
        check_memory_only(client)  # the index has neither write
    server.start()
    away.wait_ready()
    found = client.get("/v1/documents/by-path", source="test", repository="away", path="05.md")
    assert found.json["content"] == (document("new", 4) if written.status == 200 else TEXTS["05.md"])
    gone = client.get("/v1/documents/by-path", source="test", repository="away", path="06.md")
    assert gone.status == (404 if deleted.status == 200 else 200)
    away.settled_counts()
    assert client.put_document("away", "05.md", document("new", 4))["created"] is False
    assert client.search(query=document("new", 4)[:1000], limit=1)[0]["path"] == "05.md"
    away.counts()


def test_stopped_during_a_search(away, server):
    """The search that waits for its texts gets an answer without them."""
    lock = away.lock(mode="ACCESS EXCLUSIVE")
    plain = Call(away, "POST", "/v1/search", {"query": TEXTS["05.md"]})
    filtered = Call(away, "POST", "/v1/search", {"query": "x", "metadata": {"kept": True}})
    away.wait_blocked(2)
    server.stop(signal.SIGQUIT)
    answer = plain.result()
    assert answer.status == 200 and answer.json["partial"], answer
    assert answer.json["results"][0]["path"] == "05.md"
    unavailable(filtered.result())
    lock.close()
    server.start()
    away.wait_ready()
    assert away.client.search(query=TEXTS["05.md"])[0]["metadata"] == {"kept": True}


def test_stopped_during_a_sync(away, server, tmp_path):
    client = away.client
    texts = write_tree(tmp_path, files=40, sections=1)
    away.add_source("synced", tmp_path)
    lock = away.lock()
    away.request_sync("synced")
    away.wait_blocked()
    server.stop(signal.SIGQUIT)
    lock.close()
    time.sleep(1)
    server.start()
    away.wait_ready()
    item = away.wait_synced("synced")
    assert item["status"] in ("success", "error"), "a sync never stays in_progress"
    row = wait_for(
        lambda: away.sql('SELECT status FROM vault."VaultSyncStatus" WHERE repository = %s'
                         " AND status IN ('success', 'error')", "synced"), "the row to say so")
    assert row
    item = away.sync("synced")
    assert item["status"] == "success"
    assert {d["path"] for d in client.documents(repository="synced")} == set(texts)
    assert len(client.documents(repository="away")) == len(TEXTS)
    away.settled_counts()


def test_restarted_between_two_calls(away, server):
    """Pooled connections are dead without knowing it: no call fails for that."""
    for _ in range(3):
        server.stop()
        server.start()
        away.client.put_document("away", "again", "text")
        assert away.client.search(query="text", limit=1)[0]["path"] == "again"
        assert len(away.client.documents()) == len(TEXTS) + 1
    assert away.client.status()["database"]["pool"]["open"] <= 10


def test_sessions_cut_one_by_one(away):
    """An administrator ends the daemon's sessions; the next calls open new ones."""
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    for _ in range(5):
        gone = away.sql(f"SELECT pg_terminate_backend(pid), pid {others}")
        pids = [pid for _, pid in gone]
        assert pids
        wait_for(lambda: not away.sql(f"SELECT 1 {others} AND pid = ANY(%s)", pids), "the sessions to end")
        # A session that was just being made when it was ended is found dead only when it is used.
        body = {"source": "test", "repository": "away", "path": "cut", "content": "text"}
        replies = [away.client.put("/v1/documents", body) for _ in range(2)]
        assert replies[1].status in (200, 201) and replies[0].status in (200, 201, 503), replies
        assert away.client.search(query="text", limit=1)[0]["path"] == "cut"


@contextlib.contextmanager
def hanging(server):
    """Stops the postmaster, which starts no more processes then, and whatever it has started. One
    of those (autovacuum) may end while they are listed."""
    stopped = []

    def send(pid, what):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)

    try:
        stopped.append(server.process.pid)
        send(server.process.pid, signal.SIGSTOP)
        for pid in descendants(server.process.pid)[1:]:
            stopped.append(pid)
            send(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            send(pid, signal.SIGCONT)


def test_a_server_that_hangs(away, server):
    """It neither answers nor goes away. What needs it waits; what does not is answered meanwhile."""
    client = away.client
    with hanging(server):
        waiting = [Call(away, "POST", "/v1/search", {"query": TEXTS["05.md"]}) for _ in range(3)]
        waiting.append(Call(away, "PUT", "/v1/documents", {
            "source": "test", "repository": "away", "path": "waiting", "content": "text"}))
        time.sleep(0.5)
        for path, text in TEXTS.items():
            assert client.search(query=text, mode="vector", limit=1, include=[])[0]["path"] == path
        assert client.get("/healthz").status == 200
    for call in waiting[:-1]:
        assert call.result().json["results"][0]["path"] == "05.md"
    assert waiting[-1].result().status in (201, 503)
    away.wait_ready()
    client.put_document("away", "waiting", "text")
    away.settled_counts()


def test_a_server_that_goes_on_hanging(away, server):
    """It counts as away after some seconds: nobody waits for ever, and no connection is held."""
    client = away.client

    def by_vectors_alone(answer, why="PostgreSQL"):
        assert answer.status == 200 and answer.json["mode"] == "hybrid", answer
        assert answer.json["results"][0]["path"] == "05.md"
        assert f"by the vectors alone: {why}" in answer.json["partial"]

    asked = {"query": TEXTS["05.md"]}
    for path in TEXTS:
        assert client.search(query=TEXTS[path], limit=1)[0]["path"] == path
    with hanging(server):
        hybrid = [Call(away, "POST", "/v1/search", body) for body in (asked, asked | {"include": []})]
        others = [Call(away, "POST", "/v1/search", asked | {"mode": "text"}),
                  Call(away, "POST", "/v1/search", asked | {"metadata": {"kept": True}}),
                  Call(away, "GET", "/v1/documents")]
        # More writes than there are connections, and threads that ask PostgreSQL.
        writes = [Call(away, "PUT", "/v1/documents", {
            "source": "test", "repository": "away", "path": f"hung {i}", "content": "text"}) for i in range(12)]
        for call in hybrid:
            by_vectors_alone(call.result())
        for call in others + writes:
            unavailable(call.result())

        def is_told_at_once():
            """What comes later does not wait; once among some, on a machine that has little time for it."""
            began = time.monotonic()
            by_vectors_alone(client.post("/v1/search", asked), "PostgreSQL does not answer")
            unavailable(client.post("/v1/search", asked | {"mode": "text"}))
            return time.monotonic() - began < 1.5

        wait_for(is_told_at_once, "answers that do not wait")
        wait_for(lambda: client.get("/readyz").json["status"] == "degraded", "the daemon to say so")
        wait_for(lambda: (pool := client.status()["database"]["pool"])["leased"] == pool["waiting"] == 0,
                 "every connection to be given back")
        assert "event=database.hangs" in away.log()
    away.wait_ready()
    wait_for(lambda: client.post("/v1/search", asked).json["partial"] is None, "searches by words again")
    client.put_document("away", "afterwards", "text")
    away.settled_counts()


def test_started_before_its_database(make_daemon, server):
    """A daemon that is started while the server is down either waits for it or says so and ends."""
    server.stop()
    daemon = make_daemon(database_url=server.url()).spawn()
    time.sleep(2)
    server.start()
    if daemon.process.poll() is None:
        daemon.wait_ready()
        daemon.client.put_document("late", "x", "text")
    else:
        assert daemon.wait_exit() == 1
        assert "level=error" in daemon.log()


def test_writes_of_others_are_seen_after_a_restart(away):
    """Other programs write to the vault too; the index is made from the database at start."""
    away.sql('UPDATE vault."VaultDocument" SET path = %s WHERE path = %s', "renamed.md", "05.md")
    away.sql('DELETE FROM vault."VaultDocument" WHERE path = %s', "06.md")
    away.restart()
    paths = {hit["path"] for hit in away.client.search(query="x", limit=1000)}
    assert paths == (set(TEXTS) - {"05.md", "06.md"}) | {"renamed.md"}
    away.counts()


# ---- The private cluster ----


@pytest.fixture
def private(make_daemon):
    daemon = make_daemon().start()
    for path, text in TEXTS.items():
        daemon.client.put_document("away", path, text)
    return daemon


def test_the_private_server_is_brought_back_after_kill_9(private):
    for _ in range(2):
        before = private.postmaster_pid()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: private.postmaster_pid() not in (None, before), "a new server")
        private.wait_works()
        assert len(private.client.documents()) == len(TEXTS)
        private.client.put_document("away", "new", "text")
        private.settled_counts()
        private.client.delete("/v1/documents/by-path", source="test", repository="away", path="new")


def test_the_private_server_is_killed_during_a_write(private):
    lock = private.lock()
    put = Call(private, "PUT", "/v1/documents",
               {"source": "test", "repository": "away", "path": "05.md", "content": "new text"})
    private.wait_blocked()
    before = private.postmaster_pid()
    os.kill(before, signal.SIGKILL)
    # Its sessions outlive it until they notice; the one that waits for the lock ends with the lock.
    lock.close()
    answer = put.result()
    assert answer.status in (200, 503)
    wait_for(lambda: private.postmaster_pid() not in (None, before), "a new server")
    private.wait_works()
    found = private.client.get("/v1/documents/by-path", source="test", repository="away", path="05.md")
    expected = "new text" if answer.status == 200 else TEXTS["05.md"]
    assert found.json["content"] == expected
    private.settled_counts()


def test_one_session_of_the_private_server_crashes(private):
    """PostgreSQL then ends all sessions, recovers and goes on."""
    pid = private.sql("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                      " AND datname = current_database() AND backend_type = 'client backend' LIMIT 1")[0][0]
    own = private.connect()
    os.kill(pid, signal.SIGKILL)

    def has_ended():
        """Until then the server may not have noticed."""
        try:
            own.cursor().execute("SELECT")
            return False
        except psycopg2.Error:
            return True

    wait_for(has_ended, "PostgreSQL to end all sessions")
    private.wait_works()

    def works():
        answer = private.client.put("/v1/documents", {
            "source": "test", "repository": "away", "path": "again", "content": "text"})
        assert answer.status in (200, 201, 503), answer
        return answer.status != 503

    wait_for(works, "writes to go through")
    private.wait_works()
    private.settled_counts()
    assert is_running(private.pid)


def test_a_pending_write_is_not_answered_twice(private):
    """A connection that waited through the server's death is fit for the next call."""
    connection = UnixConnection(private.socket, 120)
    lock = private.lock()
    connection.request("PUT", "/v1/documents", json.dumps(
        {"source": "test", "repository": "away", "path": "kept-alive", "content": "text"}),
        {"Content-Type": "application/json"})
    private.wait_blocked()
    private.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    lock.close()
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (201, 503)
    connection.request("GET", "/healthz")
    assert json.loads(connection.getresponse().read()) == {"status": "ok"}
    connection.close()
