"""tekup: every command, for people and for machines."""

import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from corpus import document, write_tree
from daemon import PATIENCE, TEKUP, Daemon, wait_for
from fakes.openai import OpenAI

COMMANDS = [
    ["search"], ["sync"], ["events"], ["status"], ["console"], ["doctor"], ["bench"],
    ["sources"], ["sources", "add"], ["sources", "list"], ["sources", "test"], ["sources", "rm"],
    ["db"], ["db", "verify"], ["db", "rebuild"], ["db", "pgvector"],
    ["documents"], ["documents", "list"], ["documents", "get"], ["documents", "put"], ["documents", "rm"],
]


def machine(result, code=0):
    """Checks the exit status and that stdout is one JSON object; returns it."""
    assert result.returncode == code, result
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def said(result, code=0):
    """Checks the exit status; returns what a person sees on stdout."""
    assert result.returncode == code, result
    return result.stdout.decode()


@pytest.fixture(scope="module")
def handbook(daemon, tmp_path_factory):
    """A synced source that the tests share."""
    root = tmp_path_factory.mktemp("handbook")
    write_tree(root, files=8, sections=2)
    (root / "leave.md").write_text("# Leave\n\nWhoever wants a day off asks the team lead a week before.\n")
    (root / "bell.md").write_text("# Bell\n\nThe bell is turned off in the settings of the terminal.\n")
    said(daemon.tekup("sources", "add", "local", "handbook", "--path", root))
    said(daemon.tekup("sync", "local", "handbook"))
    return root


@pytest.fixture(scope="module")
def bare():
    """A RUN and a DATA without a daemon."""
    daemon = Daemon()
    yield daemon
    daemon.clean_up()


# ---- Help and usage ----


def test_help(bare):
    overview = said(bare.tekup("--help"))
    for command in ("search", "sync", "events", "status", "console", "documents", "sources", "doctor", "bench"):
        assert re.search(rf"^ +{command} ", overview, re.MULTILINE)
    assert said(bare.tekup("-h")) == overview == said(bare.tekup("help"))
    assert re.match(r"tekup \d+\.\d+\.\d+\n", said(bare.tekup("--version")))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command(bare, command):
    text = said(bare.tekup(*command, "--help"))
    assert text.startswith("Usage: tekup " + " ".join(command))
    assert len(text.splitlines()) > 3
    assert max(map(len, text.splitlines())) <= 100
    assert bare.tekup(*command, "--help").stderr == b""


@pytest.mark.parametrize("arguments", [
    [], ["teapot"], ["--colour"], ["search"], ["search", "x", "--colour"], ["search", "x", "--limit"],
    ["search", "x", "--limit", "many"], ["search", "x", "--threshold", "high"],
    ["sources"], ["sources", "teapot"], ["sources", "add"], ["sources", "add", "local"],
    ["sources", "add", "local", "x", "--interval", "often"], ["sources", "rm", "local"], ["sources", "list", "x"],
    ["sync", "local"], ["sync", "a", "b", "c"], ["status", "x"], ["console", "x"], ["doctor", "x"],
    ["documents"], ["documents", "get"], ["documents", "get", "a", "b"], ["documents", "put", "a", "b"],
    ["documents", "put", "a", "b", "c", "d", "e"], ["documents", "rm"], ["documents", "list", "--limit", "x"],
    ["events", "x"], ["events", "--after"],
], ids=" ".join)
def test_wrong_usage_is_2(bare, arguments):
    result = bare.tekup(*arguments)
    assert result.returncode == 2, result
    assert result.stderr and not result.stdout


# ---- Search ----


def test_search(daemon, handbook):
    text = said(daemon.tekup("search", "turn off the bell"))
    assert "bell.md" in text and "settings of the terminal" in text
    assert text.index("bell.md") < (text.index("leave.md") if "leave.md" in text else len(text))
    several = said(daemon.tekup("search", "turn", "off", "the", "bell"))
    assert several.splitlines()[:-1] == text.splitlines()[:-1]  # the last line has the time it took
    assert "\x1b" not in text  # no colours into a pipe


def test_search_json_is_the_daemons_answer(daemon, client, handbook):
    answer = machine(daemon.tekup("search", "day off", "--json", "--limit", "3"))
    direct = client.post("/v1/search", {"query": "day off", "limit": 3}).json
    assert [hit["path"] for hit in answer["results"]] == [hit["path"] for hit in direct["results"]]
    assert answer["results"][0]["path"] == "leave.md" and answer["count"] == 3


def test_search_options(daemon, client, handbook):
    client.put_document("elsewhere", "bell.md", "The bell of another house is turned off.")
    only = machine(daemon.tekup("search", "bell", "--repository", "handbook", "--json"))
    assert {hit["repository"] for hit in only["results"]} == {"handbook"}
    only = machine(daemon.tekup("search", "bell", "--source=test", "--json"))
    assert {hit["source"] for hit in only["results"]} == {"test"}
    assert machine(daemon.tekup("search", "bell", "--threshold", "0.9999", "--json"))["results"] == []
    result = daemon.tekup("search", "bell", "--threshold", "0.9999")
    assert result.returncode == 0 and result.stdout + result.stderr
    assert machine(daemon.tekup("search", "--json", "--", "--bell"))["count"] > 0


def test_search_says_what_its_order_is_by_and_why_it_finds_nothing(daemon, make_daemon, handbook):
    for mode, words in (("vector", "by meaning in"), ("text", "by words in"), ("hybrid", "by meaning and words together in")):
        assert words in said(daemon.tekup("search", "bell", "--mode", mode)).splitlines()[-1]
    for where, name in ((("--repository", "hanbdook"), b"hanbdook"), (("--source", "locla", "--repository", "x"), b"locla x")):
        result = daemon.tekup("search", "bell", *where)
        assert said(result).startswith("0 documents") and b"no documents of " + name in result.stderr
    result = daemon.tekup("search", "bell", "--path", "nowhere/")
    assert said(result).startswith("0 documents") and result.stderr == b""
    result = make_daemon().start().tekup("search", "bell")
    assert said(result).startswith("0 documents") and b"sources add" in result.stderr


def test_search_by_words_and_passages(daemon, client, handbook):
    paths = [f"notes/{number}.md" for number in range(3)]
    for path in paths:
        client.put_document("words", path, f"The ferry leaves at noon, and {path} is booked. " * 60)
    client.put_document("words", "other.md", "Noon is when the ferry leaves.")
    search = ("search", "--repository", "words", "--mode", "text")
    assert b"other.md" not in daemon.tekup(*search, '"ferry leaves at"').stdout
    found = said(daemon.tekup(*search, "--", "ferr*", "-booked"))
    assert "other.md" in found and "notes/" not in found and "1 document by words in" in found
    passages = machine(daemon.tekup(*search, "ferry", "--chunks", "--path", "notes/0", "--json"))
    assert passages["count"] > 1 and {hit["path"] for hit in passages["results"]} == {paths[0]}
    assert "passages by words in" in said(daemon.tekup(*search, "ferry", "--chunks"))
    assert machine(daemon.tekup(*search, "ferry", "--diversity", "0.5", "--json"))["mode"] == "text"
    for wrong in (("--mode", "both"), ("--diversity", "2"), ("--diversity", "much")):
        result = daemon.tekup("search", "ferry", *wrong)
        assert result.returncode in (1, 2) and wrong[0][2:].encode() in result.stderr


def test_search_marks_other_forms_of_the_words_too(daemon, client, handbook):
    client.put_document("forms", "a.md", "Whatever was booked stays booked.")
    _, shown = on_terminal(daemon, "search", "booking", "--repository", "forms", "--mode", "text")
    assert shown.count(b"\x1b[33mbooked\x1b[0m") == 2


@pytest.mark.parametrize("limit", ["0", "100000", "-1"])
def test_search_limit_out_of_range(daemon, limit):
    result = daemon.tekup("search", "x", "--limit", limit)
    assert result.returncode in (1, 2) and b"limit" in result.stderr


def test_an_empty_search(daemon):
    result = daemon.tekup("search", "")
    assert result.returncode in (1, 2) and result.stderr


# ---- Documents ----


def test_documents_put_get_list_rm(daemon, tmp_path):
    file = tmp_path / "text.md"
    text = "Grüße aus dem Süden.\n" * 3
    file.write_text(text)
    put = machine(daemon.tekup("documents", "put", "notes", "me", "a/b.md", file, "--json"))
    assert put["created"] is True and put["chunks"] == 1
    again = said(daemon.tekup("documents", "put", "notes", "me", "a/b.md", input=b"From standard input."))
    assert put["id"] in again
    assert daemon.tekup("documents", "get", put["id"]).stdout == b"From standard input."
    assert daemon.tekup("documents", "get", "notes", "me", "a/b.md").stdout == b"From standard input."
    got = machine(daemon.tekup("documents", "get", put["id"], "--json"))
    assert got["content"] == "From standard input." and got["path"] == "a/b.md"
    listed = machine(daemon.tekup("documents", "list", "--source", "notes", "--json"))
    assert [d["id"] for d in listed["documents"]] == [put["id"]]
    table = said(daemon.tekup("documents", "list", "--repository", "me"))
    assert "a/b.md" in table and put["id"] in table
    assert put["id"] in said(daemon.tekup("documents", "rm", put["id"]))
    assert daemon.tekup("documents", "rm", put["id"]).returncode == 1
    result = daemon.tekup("documents", "get", put["id"])
    assert result.returncode == 1 and result.stdout == b"" and result.stderr.startswith(b"tekup: ")
    error = machine(daemon.tekup("documents", "get", put["id"], "--json"), code=1)
    assert error["error"]["code"] == "not_found"


def test_documents_list_over_many_pages(daemon, client):
    for number in range(25):
        client.put_document("pages", f"{number:03}", f"page {number}")
    every = machine(daemon.tekup("documents", "list", "--repository", "pages", "--limit", "0", "--json"))
    assert [d["path"] for d in every["documents"]] == [f"{number:03}" for number in range(25)]
    some = machine(daemon.tekup("documents", "list", "--repository", "pages", "--limit", "7", "--json"))
    assert len(some["documents"]) == 7


def test_documents_put_refuses_what_is_no_text(daemon, tmp_path):
    for content, word in ((b"a\xffb", b"UTF-8"), (b"", b"empty"), (b"a\0b", b"NUL")):
        (tmp_path / "f").write_bytes(content)
        result = daemon.tekup("documents", "put", "notes", "bad", "x", tmp_path / "f")
        assert result.returncode == 1 and word.lower() in result.stderr.lower(), result
    result = daemon.tekup("documents", "put", "notes", "bad", "x", tmp_path / "missing")
    assert result.returncode == 1 and b"missing" in result.stderr
    result = daemon.tekup("documents", "put", "notes", "bad", "../x", "-", input=b"text")
    assert result.returncode == 1 and b"path" in result.stderr
    assert machine(daemon.tekup("documents", "list", "--repository", "bad", "--json"))["documents"] == []


def test_names_that_are_not_utf8(daemon):
    result = subprocess.run([str(TEKUP).encode(), b"documents", b"put", b"notes", b"bad", b"a\xffb", b"-"],
                            env=daemon.environment, input=b"text", capture_output=True, timeout=PATIENCE)
    assert result.returncode == 1 and result.stderr
    result = subprocess.run([str(TEKUP).encode(), b"search", b"a\xffb"],
                            env=daemon.environment, capture_output=True, timeout=PATIENCE)
    assert result.returncode == 1 and b"UTF-8" in result.stderr


# ---- Sources and syncs ----


def test_sources(daemon, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    added = machine(daemon.tekup("sources", "add", "local", "cli", "--path", tmp_path, "--interval", "6h", "--json"))
    assert added
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    mine = [one for one in listed if one["repository"] == "cli"][0]
    assert mine["config"] == {"path": str(tmp_path)} and mine["intervalSeconds"] == 6 * 3600
    table = said(daemon.tekup("sources", "list"))
    assert "cli" in table and str(tmp_path) in table
    assert machine(daemon.tekup("sources", "test", "local", "cli", "--json")) == {"ok": True}
    assert "ok" in said(daemon.tekup("sources", "test", "local", "cli"))
    assert daemon.tekup("sources", "test", "local", "x", "--path", tmp_path / "missing").returncode == 1
    result = daemon.tekup("sources", "add", "teapot", "x", "--path", tmp_path)
    assert result.returncode == 1 and b"'teapot': there are local, github, notion, gdrive" in result.stderr
    # What is wrong is said as it was typed.
    result = daemon.tekup("sources", "add", "local", "cli2")
    assert result.returncode == 1 and b"path is missing" in result.stderr and b"(--path)" in result.stderr
    result = daemon.tekup("sources", "test", "github", "a/b", "--token-env", "NOT_SET")
    assert result.returncode == 1 and b"(--token-env)" in result.stderr
    result = daemon.tekup("sources", "add", "local", "cli2", "--path", tmp_path, "--config", '{"colour": 1}')
    assert result.returncode == 1 and b"config.colour is not a setting" in result.stderr and b"(" not in result.stderr
    said(daemon.tekup("sync", "local", "cli"))
    removed = machine(daemon.tekup("sources", "rm", "local", "cli", "--documents", "--json"))
    assert removed == {"deleted": True, "documents": 1}
    assert daemon.tekup("sources", "rm", "local", "cli").returncode == 1


def test_a_relative_path_is_the_callers(daemon):
    (daemon.base / "rel").mkdir()
    said(daemon.tekup("sources", "add", "local", "relative", "--path", "rel"))
    listed = machine(daemon.tekup("sources", "list", "--json"))["sources"]
    mine = [one for one in listed if one["repository"] == "relative"][0]
    assert mine["config"]["path"] == str((daemon.base / "rel").resolve())
    said(daemon.tekup("sources", "rm", "local", "relative"))


def test_sync_waits_and_tells(daemon, client, tmp_path):
    write_tree(tmp_path, files=10, sections=1)
    (tmp_path / "x.bin").write_bytes(b"\0\0")
    said(daemon.tekup("sources", "add", "local", "told", "--path", tmp_path))
    text = said(daemon.tekup("sync", "local", "told"))
    assert "10" in text
    assert len(client.documents(repository="told")) == 10
    answer = machine(daemon.tekup("sync", "local", "told", "--json"))
    assert "told" in json.dumps(answer)
    assert said(daemon.tekup("sync"))  # all of them
    queued = machine(daemon.tekup("sync", "local", "told", "--no-wait", "--json"))
    assert {"source": "local", "repository": "told"} in queued["queued"]
    daemon.wait_synced("told")


def test_a_failed_sync_is_1(daemon, tmp_path):
    root = tmp_path / "gone"
    root.mkdir()
    said(daemon.tekup("sources", "add", "local", "failing", "--path", root))
    root.rmdir()
    result = daemon.tekup("sync", "local", "failing")
    assert result.returncode == 1 and str(root).encode() in result.stdout + result.stderr
    machine(daemon.tekup("sync", "local", "failing", "--json"), code=1)
    result = daemon.tekup("sync", "local", "never heard of")
    assert result.returncode == 1 and b"never heard of" in result.stderr
    said(daemon.tekup("sources", "rm", "local", "failing"))


def test_sync_of_what_is_being_synced(daemon, tmp_path):
    """It waits for the one that runs, or says that one runs: it never fails silently."""
    (tmp_path / "a.txt").write_text("text")
    said(daemon.tekup("sources", "add", "local", "busy", "--path", tmp_path))
    lock = daemon.lock()
    daemon.request_sync("busy")
    daemon.wait_blocked()
    result = daemon.tekup("sync", "local", "busy", "--no-wait")
    assert result.returncode in (0, 1) and result.stdout + result.stderr
    lock.close()
    daemon.wait_synced("busy")


# ---- Status and doctor ----


def test_status(daemon, client, handbook):
    text = said(daemon.tekup("status"))
    assert "handbook" in text and "success" in text
    status = machine(daemon.tekup("status", "--json"))
    assert str(client.status()["pid"]) in json.dumps(status)


def test_doctor_finds_nothing_wrong(daemon, handbook):
    text = said(daemon.tekup("doctor"))
    assert text
    machine(daemon.tekup("doctor", "--json"))


def test_pgvector_that_the_server_does_not_have(daemon):
    if daemon.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") != [(0,)]:
        pytest.skip("this server has it")
    result = daemon.tekup("db", "pgvector")
    assert result.returncode == 1 and b"has no pgvector; install it there" in result.stderr, result


def test_doctor_says_that_no_daemon_runs(bare):
    result = bare.tekup("doctor")
    assert result.returncode == 1
    assert b"not running" in result.stdout + result.stderr
    machine(bare.tekup("doctor", "--json"), code=1)


def test_doctor_finds_a_stale_socket(make_daemon):
    daemon = make_daemon().start()
    daemon.kill()
    result = daemon.tekup("doctor")
    assert result.returncode == 1
    assert daemon.socket.encode() in result.stdout + result.stderr


def test_doctor_finds_the_database_away(make_daemon, server):
    daemon = make_daemon(database_url=server.url()).start()
    assert daemon.tekup("doctor").returncode == 0, daemon.tekup("doctor")
    server.stop()
    wait_for(lambda: daemon.client.get("/readyz").status == 503, "it to notice")
    result = daemon.tekup("doctor")
    assert result.returncode == 1
    assert b"postgres" in (result.stdout + result.stderr).lower() or b"database" in (result.stdout + result.stderr).lower()
    machine(daemon.tekup("doctor", "--json"), code=1)
    server.start()
    daemon.wait_ready()


def test_doctor_finds_a_source_that_cannot_be_read(make_daemon, tmp_path):
    daemon = make_daemon().start()
    root = tmp_path / "tree"
    root.mkdir()
    daemon.add_source("unreadable", root)
    root.rmdir()
    result = daemon.tekup("doctor")
    assert result.returncode == 1 and b"unreadable" in result.stdout + result.stderr, result


def test_doctor_finds_an_embedding_server_that_does_not_answer(make_daemon):
    with OpenAI() as openai:
        daemon = make_daemon(config=openai.config(), environment={"OPENAI_API_KEY": openai.key}).start()
        assert "text-embedding-3-small answers" in said(daemon.tekup("doctor"))
        openai.key = "sk-another"
        result = daemon.tekup("doctor")
        assert result.returncode == 1 and b"fail  embedding" in result.stdout, result
        assert b"base_url and the key" in result.stdout


# ---- A daemon that is not there, or not well ----


@pytest.mark.parametrize("arguments", [
    ["search", "x"], ["status"], ["sync"], ["sources", "list"], ["documents", "list"], ["documents", "get", "x"],
], ids=" ".join)
def test_without_a_daemon(bare, arguments):
    result = bare.tekup(*arguments)
    assert result.returncode == 1 and result.stdout == b""
    assert bare.socket.encode() in result.stderr and b"not running" in result.stderr
    error = machine(bare.tekup(*arguments, "--json"), code=1)
    assert error["error"]["code"] == "unavailable"


def test_search_without_the_database_says_what_is_missing(make_daemon, server):
    daemon = make_daemon(database_url=server.url()).start()
    daemon.client.put_document("r", "the-path", "text")
    server.stop()
    wait_for(lambda: daemon.client.get("/readyz").status == 503, "it to notice")
    result = daemon.tekup("search", "text")
    assert result.returncode == 0 and b"the-path" in result.stdout
    assert b"PostgreSQL" in result.stdout + result.stderr
    result = daemon.tekup("documents", "list")
    assert result.returncode == 1 and result.stderr
    server.start()
    daemon.wait_ready()


def test_a_full_disk_is_1(daemon, handbook):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        result = subprocess.run([str(TEKUP), "search", "bell"], env=daemon.environment, stdout=full,
                                stderr=subprocess.PIPE, timeout=PATIENCE)
    assert result.returncode == 1 and result.stderr


def test_a_closed_pipe_is_no_crash(daemon, handbook):
    process = subprocess.Popen([str(TEKUP), "documents", "list", "--limit", "0"], env=daemon.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.wait(PATIENCE)
    assert process.returncode in (1, -13), process.stderr.read()
    process.stderr.close()


# ---- On a terminal ----


def on_terminal(daemon, *arguments, columns=100, drawn=None, go_on=None):
    """What the command writes to a terminal. The event go_on is set when drawn(output) is true, or when that has
    been waited for in vain."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update({**daemon.environment, "TERM": "xterm-256color", "COLUMNS": str(columns),
                           "LC_ALL": "C.UTF-8"})
        os.execv(TEKUP, [str(TEKUP), *map(str, arguments)])
    output = b""
    given_up = threading.Timer(PATIENCE, go_on.set) if go_on else None
    if given_up:
        given_up.start()
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        output += piece
        if go_on and not go_on.is_set() and drawn(output):
            go_on.set()
    if given_up:
        given_up.cancel()
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), output


EVIL = ("harmless \x1b]0;title\x07 \x1b[2J\x1b[31m \x9b31m \u009b2J \x07\x08\x08 \rover \x7f "
        "\u202ereversed\u202c evil words")
DANGEROUS = [b"\x1b]0", b"\x1b[2J", b"\x1b[31m \x9b", b"\xc2\x9b", b"\x07", b"\x08", b"\x7f"]


def test_control_characters_do_not_reach_the_terminal(daemon, client):
    put = client.put_document("evil", "evil.txt", EVIL, metadata={"k": EVIL, EVIL: 1}, source="evil")
    for arguments in (["search", "evil words", "--source", "evil"], ["search", "evil words", "--source", "evil", "--json"],
                      ["documents", "get", put["id"]], ["documents", "get", put["id"], "--json"],
                      ["documents", "list", "--source", "evil"], ["search", EVIL], ["documents", "get", EVIL]):
        code, output = on_terminal(daemon, *arguments)
        assert code in (0, 1)
        for sequence in DANGEROUS:
            assert sequence not in output, (arguments, sequence, output)
        assert re.search(rb"\r(?!\n)over", output) is None, output
    code, output = on_terminal(daemon, "search", "evil words", "--source", "evil")
    assert code == 0 and b"harmless" in output
    # A pipe gets the document as it is.
    assert daemon.tekup("documents", "get", put["id"]).stdout == EVIL.encode()
    plain = said(daemon.tekup("search", "evil words", "--source", "evil"))
    assert "\x1b" not in plain
    client.delete(f"/v1/documents/{put['id']}")


def test_colours_on_a_terminal_and_none_where_nobody_wants_them(daemon, handbook):
    code, output = on_terminal(daemon, "search", "bell")
    assert code == 0 and b"\x1b[" in output and b"bell.md" in output
    daemon.environment["NO_COLOR"] = "1"
    try:
        code, output = on_terminal(daemon, "search", "bell")
    finally:
        del daemon.environment["NO_COLOR"]
    assert code == 0 and b"\x1b[" not in output and b"bell.md" in output


@pytest.mark.parametrize("columns", [20, 40, 80, 250])
def test_terminals_of_every_width(daemon, client, handbook, columns):
    client.put_document("w" * 60, "p" * 300, "wide " + "寿司" * 400)
    for arguments in (["search", "wide 寿司"], ["documents", "list"], ["status"], ["sources", "list"]):
        code, output = on_terminal(daemon, *arguments, columns=columns)
        assert code == 0 and output, (arguments, output)
        output.decode()  # cut at characters, not inside them


def test_a_progress_bar_on_a_terminal(daemon, tmp_path):
    write_tree(tmp_path, files=20, sections=1)
    daemon.add_source("bar", tmp_path)
    lock = daemon.lock()
    release = threading.Timer(1.0, lock.close)
    release.start()
    code, output = on_terminal(daemon, "sync", "local", "bar")
    release.join()
    assert code == 0, output
    assert b"\r" in output and b"20" in output
    lines = output.decode()
    assert "bar" in lines


def test_completion_for_bash(bare):
    """The shipped completion offers every command."""
    root = pathlib.Path(__file__).resolve().parents[2]
    shipped = root / "tools/tekup/tekup.bash-completion"
    bash = shutil.which("bash")

    def complete(line):
        words = line.split(" ")
        script = (f"source {shipped}; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
                  f"COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
                  'f=$(complete -p tekup | sed "s/.*-F \\([^ ]*\\).*/\\1/"); '
                  f"$f tekup '{words[-1]}' '{words[-2]}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        out = subprocess.run([bash, "--norc", "-c", script], env=bare.environment, capture_output=True, text=True,
                             timeout=PATIENCE)
        return {word.strip() for word in out.stdout.split("\n") if word.strip()}

    assert {"search", "sync", "events", "status", "console", "documents", "sources", "doctor", "bench"} <= complete("tekup ")
    assert {"get", "put", "rm", "list"} <= complete("tekup documents ")
    assert {"add", "list", "test", "rm"} <= complete("tekup sources ")
    assert "--limit" in complete("tekup search --")
    assert complete("tekup sta") == {"status"}
    assert complete("tekup sync --c") == {"--cancel"}
    assert complete("tekup console --n") == {"--no-open"}
    assert complete("tekup sources add g") == {"github", "gdrive"}
    assert {"--key-file", "--branch", "--interval"} <= complete("tekup sources add gdrive x --")
    assert complete("tekup sources add gdrive x --drive ") == {"all"}
    assert complete("tekup bench --v") == {"--vault"}
    assert complete("tekup bench --peers p") == {"pgvector"}
    assert complete("tekup bench --threads ") == set()


def test_times_are_told_by_people(daemon, handbook):
    """A table says how long ago; JSON says when."""
    status = said(daemon.tekup("status"))
    assert not re.search(r"\d{4}-\d\d-\d\dT", status)
    listed = machine(daemon.tekup("documents", "list", "--repository", "handbook", "--json"))
    assert re.match(r"\d{4}-\d\d-\d\dT.*Z$", listed["documents"][0]["updatedAt"])


def test_long_documents_by_standard_input(daemon, client):
    text = document("long stdin", 400)
    put = machine(daemon.tekup("documents", "put", "notes", "long", "x", "--json", input=text.encode()))
    assert client.get(f"/v1/documents/{put['id']}").json["content"] == text
    result = daemon.tekup("documents", "put", "notes", "long", "y", input=b"x" * (20 << 20))
    assert result.returncode == 1 and result.stderr
    error = machine(daemon.tekup("documents", "put", "notes", "long", "y", "--json", input=b"x" * (20 << 20)), code=1)
    assert error["error"]["code"] == "too_large"


# ---- Benchmarks: what needs no tekup-bench; test_bench.py has the rest ----


def test_bench_without_its_program(daemon, client, handbook, tmp_path):
    """A tekup that was copied away alone says what is missing; nothing of the vault's vectors, which it
    had fetched by then, is left."""
    alone, temporary = tmp_path / "alone", tmp_path / "tmp"
    alone.mkdir()
    temporary.mkdir()
    shutil.copy(TEKUP, alone / "tekup")
    for arguments in (["--synthetic", "100,5"], ["--vault", "--peers", "none"]):
        result = subprocess.run([alone / "tekup", "bench", *arguments], capture_output=True, text=True,
                                env={**daemon.environment, "TMPDIR": str(temporary)}, timeout=PATIENCE)
        assert result.returncode == 1 and not result.stdout, result
        assert result.stderr.startswith("tekup: tekup-bench is not there")
        assert "libexec/tekupdb/tekup-bench" in result.stderr and "-DTEKUP_BENCH=ON" in result.stderr
        assert not list(temporary.iterdir())


def test_bench_of_a_vault_that_is_not_there(bare):
    result = bare.tekup("bench", "--vault")
    assert result.returncode == 1 and result.stderr.startswith(b"tekup: tekupd is not running")


def test_bench_with_no_place_for_the_vault(daemon):
    result = subprocess.run([TEKUP, "bench", "--vault"], capture_output=True, text=True, timeout=PATIENCE,
                            env={**daemon.environment, "TMPDIR": "/proc/nowhere"})
    assert result.returncode == 1 and "/proc/nowhere" in result.stderr and "TMPDIR" in result.stderr


@pytest.mark.parametrize("other", [["--base", "x.f32"], ["--base=x.f32"], ["--synthetic", "10,2"]], ids=" ".join)
def test_bench_of_the_vault_and_something_else(bare, other):
    result = bare.tekup("bench", "--vault", *other)
    assert result.returncode == 2 and f"--vault and {other[0].split('=')[0]}" in result.stderr.decode()


# ---- Console ----


def status_over_tcp(url, key):
    """The status of a call over the port of a console's session; 0 where nobody listens."""
    request = urllib.request.Request(url.split("#")[0] + "v1/status", headers={"X-API-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except (urllib.error.URLError, ConnectionError):
        return 0


def start_console(daemon, *arguments, **environment):
    return subprocess.Popen([str(TEKUP), "console", *arguments], env={**daemon.environment, **environment}, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_console_is_open_until_it_is_ended(daemon, handbook):
    process = start_console(daemon, "--no-open")
    try:
        url = next(line.strip() for line in process.stdout if "http://" in line)
        key = url.split("#key=")[1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#key=\S{32,}", url)
        assert status_over_tcp(url, key) == 200 and status_over_tcp(url, "wrong") == 401
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and errors == ""
        wait_for(lambda: status_over_tcp(url, key) != 200, "the session to be over")
    finally:
        process.kill()
        process.communicate()


def test_console_opens_a_browser_that_nobody_else_can_follow(daemon, handbook, tmp_path):
    """The key is in a file of this user's, not among the arguments, and the file is gone afterwards."""
    opener, saw = tmp_path / "xdg-open", tmp_path / "saw"
    opener.write_text(f"#!/bin/sh\n{{ echo \"$#\"; echo \"$1\"; stat -c %a \"$1\"; cat \"$1\"; }} >{saw}.new\n"
                      f"mv {saw}.new {saw}\nsleep 60\n")
    opener.chmod(0o755)
    process = start_console(daemon, DISPLAY=":99", XDG_RUNTIME_DIR=str(tmp_path),
                            PATH=f"{tmp_path}:{os.environ['PATH']}")
    try:
        url = next(line.strip() for line in process.stdout if "http://" in line)
        wait_for(saw.exists, "the browser to be started")
        arguments, path, mode, page = saw.read_text().split("\n", 3)
        assert (arguments, mode) == ("1", "600") and pathlib.Path(path).parent == tmp_path
        assert f'content="0; url={url}"' in page
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
        assert not pathlib.Path(path).exists()
    finally:
        process.kill()
        process.communicate()


def test_console_json_leaves_the_session_to_end_by_itself(daemon, handbook):
    answer = machine(daemon.tekup("console", "--json"))
    assert answer["url"].endswith("#key=" + answer["key"]) and answer["expires"]
    assert status_over_tcp(answer["url"], answer["key"]) == 200
    assert daemon.client.delete(f"/v1/console?key={answer['key']}").status == 200


def test_console_without_a_daemon(bare):
    result = bare.tekup("console")
    assert result.returncode == 1 and b"tekupd is not running" in result.stderr and not result.stdout
    assert machine(bare.tekup("console", "--json"), 1)["error"]["code"] == "unavailable"
