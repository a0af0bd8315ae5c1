"""How a daemon starts, reloads, stops, and what it leaves for the next one."""

import http.client
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from client import Client, UnixConnection, raw
from corpus import document, write_tree
from daemon import TEKUPD, descendants, is_running, wait_for


def tcp_listeners(pids):
    """TCP sockets in state LISTEN that belong to one of the processes."""
    inodes = set()
    for pid in pids:
        for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                place = os.readlink(descriptor)
            except FileNotFoundError:
                continue
            if place.startswith("socket:["):
                inodes.add(place[8:-1])
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                found.append(f"{table} {fields[1]}")
    return found


# ---- Start ----


def test_a_start_from_nothing(make_daemon):
    daemon = make_daemon(fresh=True)
    assert not daemon.run.exists() and not daemon.data.exists()
    daemon.start()
    mode = os.stat(daemon.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    assert daemon.client.get("/healthz").json == {"status": "ok"}
    assert daemon.client.get("/readyz").json == {"status": "ready"}
    status = daemon.client.status()
    assert status["pid"] == daemon.pid
    assert status["run"] == str(daemon.run) and status["data"] == str(daemon.data)
    assert status["ready"] is True
    assert status["index"]["vectors"] == status["index"]["documents"] == 0
    assert status["index"]["kernel"] in ("avx512", "avx2", "neon", "portable")
    database = status["database"]
    assert database["connected"] is True and database["private"] is True and database["error"] is None
    assert database["schemaVersion"] >= 1 and database["serverVersion"]
    assert database["documents"] == database["embeddings"] == database["chunks"] == 0
    assert 0 < database["pool"]["size"] <= 10
    assert status["embedding"] == {"provider": "hash", "model": "hash-1536-v1", "dimensions": 1536, "change": None}
    assert status["syncs"] == {"queued": 0, "running": 0}
    assert daemon.client.search(query="anything") == []
    # A log of events, one a line.
    for line in daemon.log().splitlines():
        assert line.startswith("time=") and " level=" in line and " event=" in line, line


def test_no_network_port_is_opened_and_nobody_is_root(make_daemon):
    daemon = make_daemon().start()
    postmaster = daemon.postmaster_pid()
    pids = set(descendants(daemon.pid)) | set(descendants(postmaster))
    assert len(pids) > 2
    assert tcp_listeners(pids) == []
    for pid in descendants(postmaster):
        assert os.stat(f"/proc/{pid}").st_uid != 0, "PostgreSQL runs as root"
    assert daemon.sql("SHOW listen_addresses") == [("",)]
    # Nobody but the cluster's own users gets to its files.
    assert stat.S_IMODE(os.stat(daemon.data / "postgres").st_mode) & 0o007 == 0


def test_private_cluster_is_closed_to_other_users(make_daemon):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    daemon = make_daemon().start()
    psql = subprocess.run(
        ["psql", "-h", str(daemon.run / "postgres"), "-U", "tekup_admin", "-d", "tekup_db", "-c", "SELECT 1"],
        user="nobody", group="nogroup", extra_groups=[], cwd="/", capture_output=True, text=True)
    assert psql.returncode != 0, psql.stdout
    curl = subprocess.run(
        ["/usr/bin/python3", "-c",
         f"import socket; socket.socket(socket.AF_UNIX).connect({daemon.socket!r})"],
        user="nobody", group="nogroup", extra_groups=[], cwd="/", capture_output=True, text=True)
    assert "PermissionError" in curl.stderr, curl.stderr


def test_a_socket_file_left_by_a_dead_daemon(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("kept", "a", "text")
    daemon.kill()
    assert pathlib.Path(daemon.socket).is_socket()
    with pytest.raises(ConnectionRefusedError):
        raw(daemon.socket, b"")
    daemon.start()
    assert len(daemon.client.documents()) == 1


def test_something_else_in_the_sockets_place_is_not_removed(make_daemon):
    daemon = make_daemon(fresh=True)
    daemon.run.mkdir()
    place = pathlib.Path(daemon.socket)
    place.write_text("somebody's file")
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert place.read_text() == "somebody's file"
    assert str(place) in daemon.log()


def test_a_second_daemon_on_the_same_data_is_refused(make_daemon):
    first = make_daemon().start()
    first.client.put_document("kept", "a", "text")
    for run in (first.run, first.base / "r2"):
        second = subprocess.run(
            first.arguments(), env={**first.environment, "TEKUP_RUN": str(run)},
            capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert str(first.data) in second.stderr and "level=error" in second.stderr, second.stderr
        assert str(first.pid) in second.stderr or "another" in second.stderr or "already" in second.stderr
    assert is_running(first.pid)
    assert first.client.search(query="text")[0]["path"] == "a"
    first.client.put_document("kept", "b", "text")


def test_a_second_daemon_on_the_same_run_is_refused(make_daemon):
    """Other data, but the first one's socket."""
    first = make_daemon().start()
    second = subprocess.run(
        first.arguments(), env={**first.environment, "TEKUP_DATA": str(first.base / "d2")},
        capture_output=True, text=True, timeout=60)
    assert second.returncode == 1, second.stderr
    assert "level=error" in second.stderr
    assert first.client.get("/readyz").status == 200
    first.client.put_document("kept", "b", "text")


def test_directories_that_cannot_be_used(make_daemon):
    daemon = make_daemon(fresh=True)
    (daemon.base / "file").write_text("x")
    for name, value in (("TEKUP_DATA", str(daemon.base / "file")), ("TEKUP_RUN", str(daemon.base / "file")),
                        ("TEKUP_DATA", "relative/path"), ("TEKUP_RUN", "/tmp/" + "r" * 120)):
        result = subprocess.run(daemon.arguments(), env={**daemon.environment, name: value},
                                capture_output=True, text=True, timeout=60)
        assert result.returncode in (1, 2), (name, value, result.stderr)
        assert "level=error" in result.stderr or result.stderr.strip(), result.stderr
        assert value[:60] in result.stderr or name in result.stderr, result.stderr


# ---- Stop ----


def test_sigterm_removes_the_socket_and_stops_the_server(make_daemon):
    daemon = make_daemon().start()
    postmaster = daemon.postmaster_pid()
    daemon.stop()
    assert not os.path.exists(daemon.socket)
    assert not is_running(postmaster)


def test_sigint_stops_it_too(make_daemon):
    daemon = make_daemon().start()
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait_exit() == 0
    assert daemon.postmaster_pid() is None


def test_sigterm_finishes_what_is_running(make_daemon):
    daemon = make_daemon().start()
    lock = daemon.lock()
    connection = UnixConnection(daemon.socket, 60)
    connection.request("PUT", "/v1/documents", json.dumps(
        {"source": "test", "repository": "last", "path": "x", "content": "The last words."}),
        {"Content-Type": "application/json"})
    daemon.wait_blocked()
    daemon.signal(signal.SIGTERM, "event=daemon.signal")
    time.sleep(0.5)
    assert daemon.process.poll() is None, "it did not wait for the call"
    lock.close()
    answer = connection.getresponse()
    assert answer.status == 201
    assert json.loads(answer.read())["created"] is True
    connection.close()
    assert daemon.wait_exit() == 0
    daemon.start()
    assert daemon.client.search(query="The last words.")[0]["path"] == "x"


def test_sigterm_during_a_sync(make_daemon, tmp_path):
    daemon = make_daemon().start()
    texts = write_tree(tmp_path, files=300, sections=2)
    daemon.add_source("big", tmp_path)
    with daemon.hold("big", sorted(texts)[150]):
        daemon.request_sync("big")
        wait_for(lambda: daemon.sync_item("big")["progress"]["written"] > 3, "the sync to be under way")
        daemon.wait_blocked()
        daemon.signal(signal.SIGTERM, "event=daemon.signal")
    assert daemon.wait_exit() == 0
    daemon.check_log()
    daemon.start()
    item = daemon.sync_item("big")
    assert item["status"] == "error" and item["errorMessage"]
    assert item["progress"] is None
    assert 0 < item["documentCount"] == len(daemon.client.documents())
    assert daemon.sync("big")["status"] == "success"
    assert len(daemon.client.documents()) == 300


def test_sigterm_while_the_database_goes_away(make_daemon, server):
    """The call that is under way fails while the daemon stops, and gets its answer all the same."""
    daemon = make_daemon(database_url=server.url()).start()
    lock = daemon.lock()
    connection = UnixConnection(daemon.socket, 60)
    connection.request("PUT", "/v1/documents", json.dumps(
        {"source": "test", "repository": "last", "path": "x", "content": "text"}),
        {"Content-Type": "application/json"})
    daemon.wait_blocked()
    daemon.signal(signal.SIGTERM, "event=daemon.signal")
    time.sleep(0.5)
    server.stop(signal.SIGQUIT)
    answer = connection.getresponse()
    assert answer.status == 503 and json.loads(answer.read())["error"]["code"] == "unavailable"
    connection.close()
    lock.close()
    assert daemon.wait_exit() == 0


def test_sigterm_under_load(make_daemon):
    """Clients on kept connections go on asking until they are cut off: each answer is whole."""
    daemon = make_daemon().start()
    for number in range(20):
        daemon.client.put_document("load", f"{number}", f"text {number}")
    statuses, broken = [], []

    def hammer(number):
        with Client(daemon.socket, timeout=60) as client:
            turn = 0
            while True:
                turn += 1
                try:
                    if turn % 5 == 0:
                        answer = client.put("/v1/documents", {
                            "source": "test", "repository": "load", "path": f"{number}", "content": f"text {turn}"})
                    else:
                        answer = client.post("/v1/search", {"query": f"text {turn}", "limit": 5})
                    statuses.append(answer.status)
                    json.loads(answer.body)
                    if answer.headers.get("Connection") == "close":
                        time.sleep(0.01)
                except (ConnectionError, FileNotFoundError, http.client.RemoteDisconnected):
                    return
                except Exception as failure:
                    broken.append(failure)
                    return

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: broken or statuses.count(200) > 200, "some to be answered")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not broken, broken
    assert set(statuses) <= {200, 201, 503}
    daemon.start()
    daemon.counts()


def test_sigterm_with_idle_and_half_open_connections(make_daemon):
    daemon = make_daemon().start()
    socks = []
    for data in (b"", b"POST /v1/search HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
                 b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") * 5:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(daemon.socket)
        sock.sendall(data)
        socks.append(sock)
    began = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert time.monotonic() - began < 90, "clients that say nothing hold it up"
    for sock in socks:
        sock.close()


def test_sigterm_while_it_starts(make_daemon):
    daemon = make_daemon(fresh=True)
    for pause in (0.02, 0.3, 1.0):
        daemon.spawn()
        time.sleep(pause)
        daemon.process.send_signal(signal.SIGTERM)
        code = daemon.wait_exit()
        # Before its handlers are in place the signal itself ends it.
        assert code in (0, -signal.SIGTERM), code
    daemon.start()
    daemon.client.put_document("after", "x", "text")


def test_signals_in_quick_succession(make_daemon):
    daemon = make_daemon().start()
    for _ in range(20):
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.send_signal(signal.SIGPIPE)
    assert daemon.client.get("/readyz").status == 200
    daemon.stop()


def test_a_second_sigterm_ends_it_at_once(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("kept", "a", "text")
    lock = daemon.lock()
    connection = UnixConnection(daemon.socket, 60)
    connection.request("PUT", "/v1/documents", json.dumps(
        {"source": "test", "repository": "last", "path": "x", "content": "text"}),
        {"Content-Type": "application/json"})
    daemon.wait_blocked()
    daemon.signal(signal.SIGTERM, "event=daemon.signal")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.wait_exit() == 1
    assert "event=daemon.killed" in daemon.log(), "by the second signal, and not because the time was over"
    connection.close()
    lock.close()
    daemon.start()
    daemon.counts()
    assert daemon.client.search(query="text", repository="kept")[0]["path"] == "a"


# ---- What stays ----


def test_a_restart_keeps_everything(make_daemon, tmp_path):
    daemon = make_daemon().start()
    client = daemon.client
    write_tree(tmp_path, files=20, sections=3)
    daemon.add_source("synced", tmp_path, interval=86400)
    daemon.sync("synced")
    for number in range(20):
        client.put_document("put", f"{number}", document(f"put {number}", 2), metadata={"n": number})

    def everything():
        return (
            client.documents(), client.get("/v1/sources").json, daemon.counts(),
            [{name: value for name, value in item.items() if name != "last"}
             for item in client.get("/v1/sync").json["items"]],
            client.search(query=document("put 7", 2), limit=40, ef=1000, include=["chunk", "content", "metadata"]),
        )

    before = everything()
    for _ in range(2):
        daemon.restart()
        assert everything() == before


def test_killed_with_kill_9_the_cluster_is_found_again(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("kept", "a", "text")
    for _ in range(3):
        postmaster = daemon.postmaster_pid()
        daemon.kill()
        assert is_running(postmaster), "the server outlives a tekupd that is killed"
        daemon.start()
        assert daemon.postmaster_pid() == postmaster, "the same server goes on"
        assert len(daemon.client.documents()) == 1
    daemon.stop()
    assert not is_running(postmaster)


def test_killed_with_its_server(make_daemon):
    daemon = make_daemon().start()
    daemon.client.put_document("kept", "a", "text")
    os.kill(daemon.postmaster_pid(), signal.SIGKILL)
    daemon.kill()
    daemon.start()
    assert len(daemon.client.documents()) == 1
    daemon.counts()


def test_killed_while_it_starts(make_daemon):
    """At any moment of the very first start, initdb and migrations included."""
    daemon = make_daemon(fresh=True)
    for pause in (0.05, 0.3, 0.8, 1.5, 2.5):
        daemon.spawn()
        time.sleep(pause)
        daemon.kill()
    daemon.start()
    daemon.client.put_document("kept", "a", "text")
    daemon.counts()


def test_a_cluster_of_another_version_is_a_clear_error(make_daemon):
    daemon = make_daemon().start()
    daemon.stop()
    (daemon.data / "postgres" / "PG_VERSION").write_text("11\n")
    daemon.spawn()
    assert daemon.wait_exit() == 1
    error = [line for line in daemon.log().splitlines() if "level=error" in line][0]
    assert "PostgreSQL 11" in error and str(daemon.data / "postgres") in error


# ---- DATABASE_URL ----


def test_another_cluster(make_daemon, server, tmp_path):
    daemon = make_daemon(database_url=server.url()).start()
    client = daemon.client
    assert client.status()["database"]["private"] is False
    assert not (daemon.data / "postgres").exists()
    client.put_document("other", "a", "text")
    (tmp_path / "f.txt").write_text("file")
    daemon.add_source("dir", tmp_path)
    assert daemon.sync("dir")["documentCount"] == 1
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute('SELECT path FROM vault."VaultDocument" ORDER BY path')
    assert cursor.fetchall() == [("a",), ("f.txt",)]
    connection.close()
    daemon.restart()
    assert len(client.documents()) == 2
    daemon.stop()
    server.connect().close()  # somebody else's server is not stopped


def test_prismas_parameters_in_the_url(make_daemon, server):
    url = server.url() + "&schema=public&connection_limit=5&pool_timeout=10&pgbouncer=true"
    daemon = make_daemon(fresh=True)
    daemon.environment["DATABASE_URL"] = url
    daemon.database_url = server.url()
    daemon.start()
    daemon.client.put_document("prisma", "a", "text")
    daemon.counts()


@pytest.mark.parametrize("url", ["not a url", "mysql://x/y", "postgresql://[::1/x", "postgresql:///x?colour=red"])
def test_a_wrong_database_url(make_daemon, url):
    daemon = make_daemon(fresh=True)
    daemon.environment["DATABASE_URL"] = url
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert "DATABASE_URL" in daemon.log()


def test_a_password_in_the_url_stays_out_of_the_log(make_daemon, server):
    url = server.url().replace("postgres@", "postgres:hunter2secret@")
    daemon = make_daemon(database_url=url).start()
    server.stop()
    wait_for(lambda: daemon.client.get("/readyz").status == 503, "it to notice")
    text = json.dumps(daemon.client.status())
    server.start()
    daemon.wait_ready()
    assert "hunter2secret" not in daemon.log() and "hunter2secret" not in text


def test_a_database_of_a_newer_version_is_refused(make_daemon, server):
    """A migration that this program does not know, and one that was edited since."""
    daemon = make_daemon(database_url=server.url()).start()
    daemon.stop()
    columns = [row[0] for row in daemon.sql(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'tekupdb' AND table_name = 'Migration' ORDER BY ordinal_position")]
    names = ", ".join(f'"{column}"' for column in columns)
    later = ", ".join("9999" if c == "version" else f'"{c}"' for c in columns)
    daemon.sql(f'INSERT INTO tekupdb."Migration" ({names}) SELECT {later} FROM tekupdb."Migration" LIMIT 1')
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert "9999" in daemon.log()
    daemon.sql('DELETE FROM tekupdb."Migration" WHERE version = 9999')
    daemon.start()
    daemon.stop()


# ---- Configuration ----


def check_config(daemon, text):
    daemon.config.write_text(text)
    return subprocess.run([str(TEKUPD), "--config", str(daemon.config), "--check-config"],
                          env=daemon.environment, capture_output=True, text=True, timeout=60)


def test_check_config(make_daemon):
    daemon = make_daemon(fresh=True)
    for good in ("", "# only a comment\n", "[log]\nlevel = debug\n", "[http]\nmax_body = 1048576\n", "[http]\nmax_body = 1 MiB",
                 "[index]\r\nef = 200\r\n; another comment\r\n"):
        result = check_config(daemon, good)
        assert result.returncode == 0, (good, result)
    for bad, named in (("[log]\nlevel = loud\n", "level"), ("[http]\nmax_body = -1\n", "max_body"),
                       ("[http]\nmax_body = many\n", "max_body"), ("[http]\ncolour = red\n", "colour"),
                       ("[teapot]\nx = 1\n", "teapot"), ("this is no setting\n", "1"),
                       ("[embedding]\nprovider = teapot\n", "provider"),
                       ("[log]\nlevel = info\nlevel = debug\n", "level"), ("level = info\n", "level"),
                       ("[http]\nsocket_mode = 999\n", "socket_mode"), ("[database]\npool_size = 11\n", "pool_size"),
                       ("[sync]\nthreads = 0\n", "threads"), ("x" * 100000, ":1")):
        result = check_config(daemon, bad)
        assert result.returncode == 1, (bad, result)
        assert named in result.stderr + result.stdout, (bad, result)
    assert not daemon.run.exists() and not daemon.data.exists(), "checking starts nothing"
    missing = subprocess.run([str(TEKUPD), "--config", "/nonexistent/x", "--check-config"],
                             capture_output=True, text=True, env=daemon.environment)
    assert missing.returncode == 1 and "/nonexistent/x" in missing.stderr + missing.stdout


def test_the_shipped_configuration_is_good(make_daemon):
    daemon = make_daemon(fresh=True)
    shipped = pathlib.Path(__file__).resolve().parents[2] / "tools/tekupd/tekupd.conf"
    assert check_config(daemon, shipped.read_text()).returncode == 0


def test_a_bad_configuration_stops_the_start(make_daemon):
    daemon = make_daemon(fresh=True, config="[log]\nlevel = loud\n").spawn()
    assert daemon.wait_exit() in (1, 2)
    assert "level" in daemon.log()


def test_wrong_arguments():
    for arguments in (["--colour"], ["--config"], ["start"]):
        result = subprocess.run([str(TEKUPD), *arguments], capture_output=True, text=True, timeout=60)
        assert result.returncode == 2 and result.stderr, (arguments, result)
    for arguments in (["--help"], ["--version"]):
        result = subprocess.run([str(TEKUPD), *arguments], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0 and "tekupd" in result.stdout


def test_sighup_reloads_the_log_level(make_daemon):
    daemon = make_daemon(config="[log]\nlevel = info\n").start()
    assert "level=debug" not in daemon.log()

    def reload(text):
        before = daemon.log().count("event=config.")
        daemon.config.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: daemon.log().count("event=config.") > before, "the reload")

    def logs_debug():
        before = daemon.log().count("level=debug")
        for _ in range(3):
            daemon.client.search(query="x")
        return daemon.log().count("level=debug") > before

    reload("[log]\nlevel = debug\n")
    assert logs_debug()
    reload("[log]\nlevel = loud\n")  # refused: what was in force stays in force
    assert "loud" in daemon.log()
    assert logs_debug()
    daemon.config.unlink()
    before = daemon.log().count("event=config.")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log().count("event=config.") > before, "the reload")
    assert logs_debug()
    reload("[log]\nlevel = info\n")
    assert not logs_debug()
    assert daemon.client.get("/readyz").status == 200


def test_sighup_keeps_everything_else_going(make_daemon, tmp_path):
    """A reload in the middle of a sync and of a put disturbs neither."""
    daemon = make_daemon().start()
    write_tree(tmp_path, files=20, sections=1)
    daemon.add_source("synced", tmp_path)
    lock = daemon.lock()
    daemon.request_sync("synced")
    daemon.wait_blocked()
    daemon.signal(signal.SIGHUP, "event=config.")
    lock.close()
    assert daemon.wait_synced("synced")["status"] == "success"
    assert len(daemon.client.documents()) == 20
