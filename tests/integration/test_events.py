"""GET /v1/events: everything that happens to the vault arrives once and in order, filtered, resumable, and
never at the daemon's expense."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from corpus import document, write_tree
from daemon import TEKUP, process_figure, sanitizer, wait_for
from events import Events
from vectors import random_vector

SOURCE = "test"


def follow(daemon, **query):
    events = Events(daemon.socket, **query)
    assert events.status == 200
    assert events.headers["Content-Type"] == "text/event-stream"
    assert events.headers["Cache-Control"] == "no-cache"
    return events


def documents(events):
    return [event for event in events if event.name == "document"]


def is_last(path, action="insert"):
    return lambda event: event.name == "document" and event.data["path"] == path and event.data["action"] == action


# ---- What is told ----


def test_a_document_and_its_embedding(daemon, client):
    with follow(daemon) as events:
        assert events.start().data == {"resumed": False}
        put = client.put_document("told", "a/b", "text", embedding=random_vector("told"))
        found = [events.next(), events.next()]
        by_name = {event.name: event.data for event in found}
        assert by_name["document"].pop("at")
        assert by_name["document"] == {"action": "insert", "id": put["id"], "source": SOURCE, "repository": "told",
                                       "path": "a/b"}
        embedding = daemon.sql('SELECT id FROM vault."VaultEmbedding" WHERE "documentId" = %s', put["id"])[0][0]
        by_name["embedding"].pop("at")
        assert by_name["embedding"] == {"action": "insert", "documentId": put["id"], "embeddingId": embedding,
                                        "source": SOURCE, "repository": "told"}
        assert len({event.id for event in found} | {None}) == 3, "each has an id of its own"


def test_updates_and_deletes_say_where_it_was(daemon, client):
    put = client.put_document("changed", "p", "text")
    with follow(daemon, repository="changed") as events:
        events.start()
        client.put_document("changed", "p", "other text")
        first = events.until(lambda event: event.name == "document")[-1]
        assert first.data["action"] == "update" and first.data["id"] == put["id"]
        client.delete(f"/v1/documents/{put['id']}")
        found = events.until(is_last("p", "delete"))
        while not any(event.name == "embedding" and event.data["action"] == "delete" for event in found[-2:]):
            found.append(events.next())
        for event in found:
            assert event.data["source"] == SOURCE and event.data["repository"] == "changed"


def test_what_others_write(daemon):
    with follow(daemon, source="notion") as events:
        events.start()
        daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                   " SELECT 'psql' || i, 'notion', 'r', 'p' || i, 'x', now() FROM generate_series(1, 600) i")
        found = events.until(is_last("p600"))
        assert [event.data["path"] for event in found] == [f"p{i}" for i in range(1, 601)]
        daemon.sql('UPDATE vault."VaultDocument" SET source = %s WHERE id = %s', "elsewhere", "psql7")
        assert events.next().data["action"] == "delete"
        daemon.sql('UPDATE vault."VaultDocument" SET source = %s WHERE id = %s', "notion", "psql7")
        event = events.next()
        assert event.data["action"] == "insert" and event.data["path"] == "p7"


def test_a_rollback_is_not_told(daemon):
    connection = daemon.connect()
    with follow(daemon, repository="rolled") as events:
        events.start()
        connection.cursor().execute(
            'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
            " VALUES ('rolled', 'test', 'rolled', 'never', 'x', now())")
        connection.rollback()
        daemon.client.put_document("rolled", "after", "text")
        assert documents(events.until(is_last("after")))[0].data["path"] == "after"
    connection.close()


def test_transactions_that_commit_out_of_order(daemon):
    """The first to write is the last to commit: nothing is left out, nothing comes twice."""
    insert = ('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
              " VALUES (%s, 'test', 'order', %s, 'x', now())")
    with follow(daemon, repository="order") as events:
        events.start()
        late, early = daemon.connect(), daemon.connect()
        late.cursor().execute(insert, ("late1", "late1"))
        early.cursor().execute(insert, ("early", "early"))
        early.commit()
        assert events.next().data["path"] == "early"
        late.cursor().execute(insert, ("late2", "late2"))
        late.commit()
        assert [events.next().data["path"] for _ in range(2)] == ["late1", "late2"]
        daemon.client.put_document("order", "end", "text")
        assert [event.data["path"] for event in documents(events.until(is_last("end")))] == ["end"]
        late.close()
        early.close()


def test_a_sync(daemon, tmp_path):
    write_tree(tmp_path, files=5, sections=1)
    with follow(daemon, source="local", repository="synced") as events:
        events.start()
        daemon.add_source("synced", tmp_path)
        daemon.sync("synced")
        # An event tells a row as it is when it is read: a sync that is over by then is a success at once.
        found, ended = [], []
        while not ended or len(documents(found)) < 5:
            found.append(events.next())
            ended = [event for event in found if event.name == "sync" and event.data.get("status") == "success"]
        assert ended[-1].data["documentCount"] == 5 and ended[-1].data["errorMessage"] is None
        assert found[0].name == "sync" and found[0].data["action"] == "insert"
        daemon.client.delete("/v1/sources", source="local", repository="synced")
        gone = events.until(lambda event: event.name == "sync" and event.data["action"] == "delete")
        assert gone[-1].data["repository"] == "synced"


def test_truncate_is_told_to_everybody(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("r", "p", "text")
    with follow(daemon, source="none") as events:
        events.start()
        daemon.sql('TRUNCATE vault."VaultDocument" CASCADE')
        found = [events.next(), events.next()]
        assert {event.name for event in found} == {"document", "embedding"}
        assert all(event.data["action"] == "truncate" for event in found)


def test_filters(daemon, client):
    with follow(daemon, source=SOURCE, repository="f1") as one, follow(daemon, source="other") as other, \
            follow(daemon) as everything:
        for events in (one, other, everything):
            events.start()
        for number in range(20):
            client.put_document("f1", f"{number}", "text")
            client.put_document("f2", f"{number}", "text", source="other")
        client.put_document("f1", "end", "text")
        client.put_document("f2", "end", "text", source="other")
        expected = [str(number) for number in range(20)] + ["end"]
        for events in (one, other):
            found = documents(events.until(is_last("end")))
            assert [event.data["path"] for event in found] == expected
        found = documents(everything.until(lambda event: is_last("end")(event) and event.data["source"] == "other"))
        assert len(found) == 42


# ---- Going on ----


def test_every_id_is_a_place_to_go_on(daemon, client):
    with follow(daemon, repository="resume") as events:
        start = events.start()
        for number in range(12):
            client.put_document("resume", f"{number:02}", "text")
        client.delete("/v1/documents/by-path", source=SOURCE, repository="resume", path="00")
        found = events.until(is_last("00", "delete"))
    for place, identifier in enumerate([start.id] + [event.id for event in found[:-1]]):
        with follow(daemon, last_id=identifier, repository="resume") as events:
            assert events.start().data == {"resumed": True}
            again = events.until(is_last("00", "delete"))
            assert [(event.name, event.data) for event in again] == [
                (event.name, event.data) for event in found[place:]]


def test_in_the_middle_of_one_transaction(daemon):
    with follow(daemon, repository="middle") as events:
        events.start()
        daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
                   " SELECT 'middle' || i, 'test', 'middle', 'p' || i, 'x', now() FROM generate_series(1, 1000) i")
        found = events.until(is_last("p1000"))
    for place in (0, 1, 255, 256, 511, 700, 998):
        with follow(daemon, last_id=found[place].id, repository="middle") as events:
            events.start()
            again = events.until(is_last("p1000"))
            assert [event.data["path"] for event in again] == [f"p{i}" for i in range(place + 2, 1001)]


def test_across_a_restart_of_the_daemon(make_daemon):
    daemon = make_daemon().start()
    with follow(daemon) as events:
        events.start()
        daemon.client.put_document("r", "before", "text")
        last = events.until(is_last("before"))[-1].id
        daemon.stop()
    daemon.start()
    daemon.client.put_document("r", "after", "text")
    with follow(daemon, last_id=last) as events:
        assert events.start().data == {"resumed": True}
        paths = [event.data["path"] for event in documents(events.until(is_last("after")))]
        assert paths == ["after"]
    daemon.kill()
    daemon.start()
    with follow(daemon, last_id=last) as events:
        assert events.start().data == {"resumed": True}
        assert documents(events.until(is_last("after")))


def test_when_the_feed_does_not_reach_back(daemon, client):
    with follow(daemon) as events:
        old = events.start().id
    client.put_document("gone", "p", "text")
    daemon.sql('UPDATE tekupdb."Feed" SET "trimmed" = pg_snapshot_xmax(pg_current_snapshot())')
    with follow(daemon, last_id=old, repository="gone") as events:
        reset = events.next()
        assert reset.name == "reset" and "does not reach back" in reset.data["reason"]
        client.put_document("gone", "next", "text")
        assert documents(events.until(is_last("next")))[0].data["path"] == "next"
    with follow(daemon, last_id=reset.id) as events:
        assert events.start().data == {"resumed": True}


@pytest.mark.parametrize("change", [lambda i: "00000000" + i[8:], lambda i: i[:9] + "999999999:999999999:",
                                    lambda i: i[:9] + "5:9:7,6", lambda i: i[:9] + "5:5:5"])
def test_ids_of_another_feed_and_made_up_ones(daemon, change):
    with follow(daemon) as events, follow(daemon) as witness:
        identifier = events.start().id
        witness.start()
        with follow(daemon, last_id=change(identifier)) as other:
            assert other.next().name == "reset"
        daemon.client.put_document("witness", str(time.monotonic()), "text")
        assert witness.next().data["repository"] == "witness", "the others are not disturbed"


@pytest.mark.parametrize("identifier", ["x", "-", "1", "12345678-", "12345678-1:2:-3:4:", "12345678-1:2:-3:4:-x",
                                        "12345678-1:2:-1:2:-5-6", "1234567Z-1:2:", "12345678-2:1:", "9" * 40000])
def test_what_is_no_id(daemon, identifier):
    events = Events(daemon.socket, last_id=identifier)
    assert events.status == 400 and events.body["error"]["field"] == "Last-Event-ID"


def test_parameters(daemon, client):
    for query, field in (({"sourc": "x"}, "sourc"), ({"source": ""}, "source"), ({"repository": ""}, "repository")):
        events = Events(daemon.socket, **query)
        assert events.status == 400 and events.body["error"]["field"] == field
    assert client.call("HEAD", "/v1/events").status == 200
    assert client.post("/v1/events", {}).status == 405


# ---- At nobody's expense ----


def test_clients_take_no_threads_and_have_a_limit(make_daemon):
    daemon = make_daemon(config="[events]\nclients = 30\n").start()
    threads = int(process_figure(daemon.pid, "Threads"))
    clients = [follow(daemon) for _ in range(30)]
    for events in clients:
        events.start()
    assert daemon.client.status()["events"] == {"clients": 30}
    assert int(process_figure(daemon.pid, "Threads")) < threads + 10, "not one for each"
    refused = Events(daemon.socket)
    assert refused.status == 503 and "30 clients" in refused.body["error"]["message"]
    assert int(refused.headers["Retry-After"]) > 0
    daemon.client.put_document("r", "p", "text")
    for events in clients:
        assert documents(events.until(is_last("p")))
    clients.pop().close()
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 29, "the one that left to be noticed")
    with follow(daemon) as events:
        events.start()
    for events in clients:
        events.close()
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 0, "all to be gone")


def flood(daemon, repository, count):
    """Changes with long paths, so that they fill buffers."""
    daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
               " SELECT %s || i, 'test', %s, i || repeat('x', 1500), 'x', now() FROM generate_series(1, %s) i",
               repository, repository, count)


@pytest.mark.plain
def test_one_that_does_not_read_is_cut_off(make_daemon):
    daemon = make_daemon(config="[events]\nbuffer = 64 KiB\n").start()
    reader = follow(daemon)
    reader.start()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(daemon.socket)
    sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 2, "both")
    before = process_figure(daemon.pid, "VmRSS")
    floods = 2 if sanitizer() else 5
    for number in range(floods):
        flood(daemon, f"flood{number}", 4000)
    reader.until(lambda event: event.data["repository"] == f"flood{floods - 1}" and event.data["path"].startswith("4000x"))
    # 6 MB of events have passed by in each; what is kept for the one that does not read is not among them.
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 1, "the other to be cut off")
    assert "events.cut" in daemon.log()
    backlog = int(daemon.log().split("event=events.cut backlog=")[1].split()[0])
    assert backlog < 200 << 10
    if not sanitizer():  # which keeps what was freed
        assert int(process_figure(daemon.pid, "VmRSS")) - int(before) < 64 << 10
    received = 0
    try:
        while piece := sock.recv(1 << 20):
            received += len(piece)
    except ConnectionResetError:
        pass
    assert received < 4 << 20
    daemon.client.put_document("r", "still", "text")
    assert documents(reader.until(is_last("still")))
    reader.close()
    sock.close()


def test_one_that_reads_slowly_gets_everything(make_daemon):
    daemon = make_daemon(config="[events]\nbuffer = 16 KiB\n").start()
    slow = follow(daemon, repository="slow")
    quick = follow(daemon, repository="slow")
    slow.start()
    quick.start()
    gate = threading.Event()
    readline = slow.response.readline

    def lazily():
        if not gate.is_set():
            time.sleep(0.002)
        return readline()

    slow.response.readline = lazily
    flood(daemon, "slow", 1500)
    found = quick.until(lambda event: event.data["path"].startswith("1500x"))
    assert len(found) == 1500
    flood(daemon, "another", 10)
    gate.set()
    again = slow.until(lambda event: event.data["path"].startswith("1500x"))
    assert [event.data["id"] for event in again] == [event.data["id"] for event in found]
    slow.close()
    quick.close()


def test_the_daemon_stops_with_clients(make_daemon):
    daemon = make_daemon().start()
    clients = [follow(daemon) for _ in range(5)]
    for events in clients:
        events.start()
    daemon.stop()
    for events in clients:
        assert events.next() is None
        events.close()


def test_many_come_and_go(daemon, client):
    over = threading.Event()
    failures = []

    def come_and_go(number):
        try:
            while not over.is_set():
                with follow(daemon, repository="busy") as events:
                    events.start()
                    if number % 2 == 0:
                        events.next(timeout=60)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for number in range(60):
        client.put_document("busy", str(number), document(f"busy/{number}", 1, 300))
        time.sleep(0.02)
    over.set()
    while any(thread.is_alive() for thread in threads):
        client.put_document("busy", "more", f"text {time.monotonic()}")
        time.sleep(0.05)
    assert not failures, failures
    wait_for(lambda: client.status()["events"]["clients"] == 0, "all to be gone")


# ---- Without the database ----


def test_the_database_goes_away_and_comes_back(make_daemon, server):
    daemon = make_daemon(database_url=server.url()).start()
    with follow(daemon) as events:
        events.start()
        daemon.client.put_document("r", "before", "text")
        events.until(is_last("before"))
        server.stop(signal.SIGQUIT)
        with follow(daemon) as late:
            server.start()
            daemon.wait_works()
            daemon.client.put_document("r", "after", "text")
            assert [event.data["path"] for event in documents(events.until(is_last("after")))] == ["after"]
            late.start()
        daemon.client.put_document("r", "end", "text")
        assert [event.data["path"] for event in documents(events.until(is_last("end")))] == ["end"]


def test_events_of_two_daemons_are_the_same(make_daemon, server):
    first = make_daemon(database_url=server.url()).start()
    second = make_daemon(database_url=server.url()).start()
    with follow(first) as ours, follow(second) as theirs:
        start = ours.start()
        theirs.start()
        for number in range(10):
            (first if number % 2 else second).client.put_document("r", f"{number}", "text")
        one = documents(ours.until(is_last("9")))
        two = documents(theirs.until(is_last("9")))
        assert [event.data for event in one] == [event.data for event in two]
        assert [event.data["path"] for event in one] == [str(number) for number in range(10)]
    with follow(second, last_id=start.id) as events:
        assert events.start().data == {"resumed": True}, "an id of one daemon is a place in the other"
        assert [event.data for event in documents(events.until(is_last("9")))] == [event.data for event in one]


def test_the_feed_is_kept_for_clients_and_not_for_ever(make_daemon):
    daemon = make_daemon(config="[events]\nkeep = 10\n").start()
    kept = "SELECT count(*) FROM tekupdb.\"Follower\" WHERE id LIKE 'events-%%'"
    assert daemon.sql(kept) == [(0,)]
    with follow(daemon) as events:
        events.start()
        wait_for(lambda: daemon.sql(kept) == [(1,)], "the feed to be kept")
    wait_for(lambda: daemon.sql(kept) == [(0,)], "the feed to be let go")


def test_a_daemon_without_an_index_trims_the_feed(make_daemon, pgvector_database):
    daemon = make_daemon(database_url=pgvector_database("trims"),
                         config="[search]\nbackend = postgres\n[events]\nkeep = 10\n").start()
    daemon.client.put_document("r", "p", "text")
    assert daemon.sql('SELECT count(*) FROM tekupdb."Change"')[0][0] > 0
    wait_for(lambda: daemon.sql('SELECT count(*) FROM tekupdb."Change"') == [(0,)], "the feed to be trimmed")


def test_an_unclean_end_of_the_client(daemon):
    """Half of a request, a reset: nothing is left."""
    for how in range(4):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(daemon.socket)
        sock.sendall(b"GET /v1/events HTTP/1.%d\r\nHost: x\r\n\r\n" % (how % 2))
        if how > 1:
            received = b""
            while b"event: start" not in received:
                piece = sock.recv(4096)
                assert piece, received
                received += piece
        sock.close()
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 0, "all to be gone")
    assert os.path.exists(daemon.socket)


# ---- On the command line ----


def test_tekup_events(make_daemon):
    daemon = make_daemon().start()

    def watch(*arguments):
        process = subprocess.Popen([TEKUP, "events", *arguments], env=daemon.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return process

    machine = watch("--json", "--repository", "r")
    first = json.loads(machine.stdout.readline())
    assert first["event"] == "start"
    person = watch("--source", "test")
    wait_for(lambda: daemon.client.status()["events"]["clients"] == 2, "both")
    with follow(daemon) as events:  # those that came before have their place by then
        events.start()
    daemon.client.put_document("r", "a path", "text")
    while (line := json.loads(machine.stdout.readline()))["event"] != "document":
        pass
    assert line["data"]["path"] == "a path"
    while "a path" not in (shown := person.stdout.readline()):
        assert shown
    assert "document" in shown and "insert" in shown
    daemon.stop()
    for process in (machine, person):
        said, complaint = process.communicate(timeout=60)
        assert process.returncode == 1 and "go on with --after" in complaint, complaint
    identifier = complaint.split("--after ")[1].split()[0]
    daemon.start()
    daemon.client.put_document("r", "later", "text")
    again = watch("--json", "--after", identifier)
    paths = []
    while "later" not in paths:
        paths.append(json.loads(again.stdout.readline())["data"].get("path"))
    assert "a path" not in paths
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    wrong = daemon.tekup("events", "--after", "x")
    assert wrong.returncode == 1 and b"Last-Event-ID" in wrong.stderr
