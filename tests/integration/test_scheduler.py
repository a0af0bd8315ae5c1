"""Syncs that wait, are watched, cancelled, and leave room for others; sources as people set them up."""

import calendar
import json
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from corpus import write_tree
from daemon import PATIENCE, TEKUP, wait_for
from events import Events
from fakes.drive import Drive
from fakes.service import answer
from test_cli import machine, on_terminal, said


@pytest.fixture(scope="module")
def drive():
    with Drive() as service:
        for number in range(8):
            service.text(f"note {number}.txt", f"The text of note {number}, which is not long.")
        yield service


@pytest.fixture(autouse=True)
def mended(drive):
    yield
    drive.mend()


@pytest.fixture
def shared(daemon, drive, tmp_path, request):
    """A Drive that is registered under the test's name."""
    name = request.node.name
    said(daemon.tekup("sources", "add", "gdrive", name, "--key-file", drive.write_key(tmp_path),
                      "--base-url", drive.url))
    yield name
    daemon.tekup("sources", "rm", "gdrive", name, "--documents")


def busy():
    return answer(429, {"error": {"code": 429, "message": "Rate Limit Exceeded",
                                  "errors": [{"reason": "rateLimitExceeded", "message": "Rate Limit Exceeded"}]}},
                  {"Retry-After": "600"})


def is_content(request):
    return "alt=media" in request.raw


def is_listing(request):
    return request.path.endswith("/files")


def wait_waiting(daemon, name):
    return daemon.wait_waiting(name, "gdrive")


# ---- Waits ----


def test_a_wait_is_told_and_keeps_nobody_else_waiting(make_daemon, drive, tmp_path):
    daemon = make_daemon(config="[sync]\nthreads = 1\n").start()
    key = drive.write_key(tmp_path)
    for number in range(3):
        said(daemon.tekup("sources", "add", "gdrive", f"d{number}", "--key-file", key, "--base-url", drive.url))
    drive.fail(is_content, answer=busy())
    with Events(daemon.socket, source="gdrive") as events:
        for number in range(3):
            daemon.request_sync(f"d{number}", "gdrive")
        for number in range(3):
            progress = wait_waiting(daemon, f"d{number}")
            assert progress["running"] and progress["phase"] == "documents" and progress["total"] == 8
            assert progress["waitsUntil"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 400))
        assert daemon.client.status()["syncs"] == {"queued": 0, "running": 3}
        # One place, and three that wait.
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "a.txt").write_text("text")
        daemon.add_source("free", tmp_path / "tree")
        assert daemon.sync("free")["status"] == "success"
        told = events.until(lambda e: e.name == "sync" and (e.data.get("progress") or {}).get("waitsFor"))
        assert told[-1].data["status"] == "in_progress"
    status = said(daemon.tekup("status"))
    assert "waits for" in status
    for number in range(3):
        before = time.monotonic()
        assert daemon.client.delete("/v1/sync", source="gdrive", repository=f"d{number}").status == 202
        item = daemon.wait_synced(f"d{number}", "gdrive")
        assert time.monotonic() - before < 120, "it does not wait for the ten minutes to be over"
        assert item["status"] == "error" and "cancelled" in item["errorMessage"]
    drive.mend()
    assert daemon.sync("d0", "gdrive")["documentCount"] == 8


def test_cancel_on_the_command_line(daemon, drive, shared):
    drive.fail(is_listing, answer=busy())
    daemon.request_sync(shared, "gdrive")
    wait_waiting(daemon, shared)
    text = said(daemon.tekup("sync", "--cancel", "gdrive", shared))
    assert "cancelled" in text
    assert daemon.sync_item(shared, "gdrive")["status"] == "error"
    result = daemon.tekup("sync", "--cancel", "gdrive", shared)
    assert result.returncode == 1 and b"no sync of" in result.stderr
    assert daemon.tekup("sync", "--cancel").returncode == 2
    assert daemon.tekup("sync", "--cancel", "gdrive", "never heard of").returncode == 1
    drive.mend()
    answer_ = machine(daemon.tekup("sync", "gdrive", shared, "--json"))
    assert answer_["items"][0]["documentCount"] == 8


def takes(pid, number):
    """Whether the process has a handler for the signal."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*(\w+)", status).group(1), 16) >> (number - 1) & 1


def test_ctrl_c_leaves_the_sync_going(daemon, drive, shared):
    drive.fail(is_listing, answer=busy())
    process = subprocess.Popen([str(TEKUP), "sync", "gdrive", shared], env=daemon.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_waiting(daemon, shared)
    wait_for(lambda: takes(process.pid, signal.SIGINT), "it to watch the sync")
    process.send_signal(signal.SIGINT)
    _, said_there = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT and b"goes on" in said_there
    assert daemon.sync_item(shared, "gdrive")["progress"]["running"]
    daemon.client.delete("/v1/sync", source="gdrive", repository=shared)
    daemon.wait_synced(shared, "gdrive")


def test_a_source_is_removed_while_it_is_synced(daemon, drive, shared):
    drive.fail(is_content, answer=busy())
    daemon.request_sync(shared, "gdrive")
    wait_waiting(daemon, shared)
    assert daemon.client.delete("/v1/sources", source="gdrive", repository=shared).status == 409
    result = daemon.tekup("sources", "rm", "gdrive", shared, "--documents")
    assert result.returncode == 0 and b"ending that first" in result.stderr
    assert daemon.sync_item(shared, "gdrive") is None
    assert daemon.client.documents(source="gdrive", repository=shared) == []


# ---- Watching ----


def test_bars_for_several_at_once(daemon, drive, shared, tmp_path):
    go_on = threading.Event()
    drive.fail(is_content, times=4)
    drive.fail(is_content, until=go_on)
    (tmp_path / "tree").mkdir()
    write_tree(tmp_path / "tree", files=3, sections=1)
    daemon.add_source("beside", tmp_path / "tree")
    daemon.client.put("/v1/sources", {"source": "gdrive", "repository": "second", "config":
                      {"keyFile": str(tmp_path / "key.json"), "baseUrl": drive.url}})
    for name in (shared, "second"):
        daemon.request_sync(name, "gdrive")

    def drawn(output):
        """Both, one of which has got somewhere."""
        frames = output.decode(errors="replace").split("\x1b[J")
        return any(shared[:20] in frame and "gdrive second" in frame and "█" in frame for frame in frames)

    code, output = on_terminal(daemon, "sync", columns=140, drawn=drawn, go_on=go_on)
    assert code == 0, output
    text = output.decode()
    assert drawn(output), text
    assert re.search(r"\d of 8 files", text)
    for name in (f"gdrive {shared}", "gdrive second", "local beside"):
        assert re.search(rf"done +\S* ?{re.escape(name)}: ", re.sub(r"\x1b\[[0-9;]*m", "", text)), text
    said(daemon.tekup("sources", "rm", "gdrive", "second", "--documents"))


def test_plain_lines_where_there_is_no_terminal(daemon, drive, shared):
    result = daemon.tekup("sync", "gdrive", shared)
    assert result.returncode == 0 and b"\x1b" not in result.stdout + result.stderr
    assert b"8 documents" in result.stdout


def test_the_estimated_end_is_not_far_from_the_end(daemon, drive, shared):
    drive.fail(is_content, delay=1.0)
    daemon.request_sync(shared, "gdrive")
    told = []

    def ended():
        item = daemon.sync_item(shared, "gdrive")
        if item["progress"] and item["progress"]["estimatedEnd"]:
            told.append(item["progress"]["estimatedEnd"])
        return item["progress"] is None and item

    item = wait_for(ended, "the sync to end")
    assert item["status"] == "success" and told
    now = time.time()
    for moment in told:
        assert abs(calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) - now) < 30


def test_the_count_is_kept_current(daemon, drive, shared):
    blocked = drive.fail(lambda request: is_content(request) and "0008x" in request.raw, answer=busy())
    assert blocked
    daemon.request_sync(shared, "gdrive")
    wait_waiting(daemon, shared)
    rows = 'SELECT status, "documentCount" FROM vault."VaultSyncStatus" WHERE repository = %s'
    wait_for(lambda: daemon.sql(rows, shared) == [("in_progress", 7)], "the count of what is there")
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    assert [(one["status"], one["documentCount"]) for one in listed if one["repository"] == shared] == \
        [("in_progress", 7)]
    assert re.search(rf"{shared[:12]}.* syncing +7 ", said(daemon.tekup("sources", "list")))


def test_what_the_last_sync_did_outlives_the_daemon(make_daemon, tmp_path):
    daemon = make_daemon().start()
    (tmp_path / "a.txt").write_text("text")
    daemon.add_source("kept", tmp_path)
    last = daemon.sync("kept")["last"]
    assert last["written"] == 1 and last["phase"] == "done"
    daemon.restart()
    assert daemon.sync_item("kept")["last"] == last


# ---- Setting up ----


def test_options_become_settings(daemon, drive, tmp_path):
    key = drive.write_key(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("hush")
    secret.chmod(0o600)
    said(daemon.tekup("sources", "add", "gdrive", "options", "--key-file", key, "--folder", "1a", "--folder", "1b",
                      "--drive", "0A", "--max-bytes", "1000", "--interval", "6h",
                      "--config", '{"subject": "ann@example.com", "maxBytes": 5}'))
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    mine = [one for one in listed if one["repository"] == "options"][0]
    assert mine["config"] == {"keyFile": str(key), "folders": ["1a", "1b"], "drives": ["0A"], "maxBytes": 1000,
                              "subject": "ann@example.com"}
    said(daemon.tekup("sources", "add", "gdrive", "options", "--token-file", secret, "--drive", "all",
                      "--config", json.dumps({"clientId": "c", "clientSecretFile": str(secret)})))
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    mine = [one for one in listed if one["repository"] == "options"][0]
    assert mine["config"] == {"refreshTokenFile": str(secret), "drives": "all", "clientId": "c",
                              "clientSecretFile": str(secret)}
    assert mine["nextSyncAt"] is None
    said(daemon.tekup("sources", "rm", "gdrive", "options"))
    said(daemon.tekup("sources", "add", "local", "globs", "--path", tmp_path, "--include", "*.md", "--include",
                      "*.txt", "--exclude", "old/"))
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    mine = [one for one in listed if one["repository"] == "globs"][0]
    assert mine["config"] == {"path": str(tmp_path), "include": ["*.md", "*.txt"], "exclude": ["old/"]}
    said(daemon.tekup("sources", "rm", "local", "globs"))


@pytest.mark.parametrize("arguments,words", [
    (["local", "x", "--branch", "main"], b"--branch is not for local"),
    (["gdrive", "x", "--path", "/tmp"], b"--path is not for gdrive"),
    (["local", "x", "--max-bytes", "much"], b"whole number"),
    (["local", "x", "--config", "[]"], b"JSON object"),
    (["local", "x", "--config", "{"], b"JSON object"),
    (["local", "x", "--config"], b"needs a value"),
    (["local", "x", *["--include", "a"] * 65], b"more than 64 times"),
])
def test_options_that_are_wrong(daemon, arguments, words):
    for command in ("add", "test"):
        result = daemon.tekup("sources", command, *arguments)
        assert result.returncode == 2 and words in result.stderr, result


def test_what_is_wrong_is_said_in_words(daemon, drive, tmp_path):
    key = drive.write_key(tmp_path)
    place = ["gdrive", "tried", "--base-url", drive.url]
    fine = daemon.tekup("sources", "test", *place, "--key-file", key)
    assert fine.returncode == 0 and fine.stdout.startswith(b"ok: ")
    assert Drive.EMAIL.encode() in fine.stdout
    missing = daemon.tekup("sources", "test", *place, "--key-file", tmp_path / "none.json")
    assert missing.returncode == 1 and b"none.json" in missing.stderr
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with Drive(number=1) as other:
        wrong = other.write_key(foreign, token_uri=f"{drive.url}/token")
        refused = daemon.tekup("sources", "test", *place, "--key-file", wrong)
    assert refused.returncode == 1 and len(refused.stderr) > 20, refused
    drive.fail(lambda request: "/token" not in request.path, answer=busy())
    before = time.monotonic()
    waits = daemon.tekup("sources", "test", *place, "--key-file", key)
    assert waits.returncode == 1 and time.monotonic() - before < 120
    assert b"UTC" in waits.stderr, waits
    answer_ = json.loads(daemon.tekup("sources", "test", *place, "--key-file", key, "--json").stdout)
    assert answer_["error"]["code"] == "unavailable"
