"""The official clients of the Model Context Protocol, over `tekup mcp` and over HTTP."""

import json
import subprocess

import pytest

from client import free_port
from daemon import PATIENCE, TEKUP, Daemon
from test_tcp import call

KEY = "a key for the tests"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    port = free_port()
    daemon = Daemon(f"[http]\nlisten = 127.0.0.1:{port}\n", environment={"TEKUP_HTTP_KEY": KEY})
    daemon.port = port
    try:
        daemon.start()
        daemon.client.put_document(
            "handbook", "leave.md", "# Days off\n\nWhoever wants a day off asks a week before. Ærø ☃ 😀\n", source="notes",
            metadata={"title": "Days off", "url": "https://example.com/leave", "pages": 3})
        directory = tmp_path_factory.mktemp("files")
        (directory / "one.txt").write_text("The printer is in the cellar.\n")
        daemon.add_source("files", directory, interval=3600)
        assert daemon.sync("files")["status"] == "success"
        yield daemon
        assert daemon.process and daemon.process.poll() is None, "tekupd is gone"
    finally:
        daemon.clean_up()


def test_what_is_asked_of_clients(daemon):
    card = call(daemon.port, path="/.well-known/mcp.json")
    assert card.status == 200 and card.json["authentication"] == {"required": True, "schemes": ["bearer"]}
    ping = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    answer = call(daemon.port, "POST", "/mcp", ping, Content_Type="application/json")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
    bearer = {"Content_Type": "application/json", "Authorization": f"Bearer {KEY}"}
    assert call(daemon.port, "POST", "/mcp", ping, **bearer).status == 200
    assert call(daemon.port, "POST", "/mcp", ping, Origin="https://evil.example", **bearer).status == 403


@pytest.mark.parametrize("way", ["sdk", "legacy", "auto"])
@pytest.mark.parametrize("door", ["stdio", "http"])
def test_the_official_clients_find_the_tools(daemon, node, tmp_path, way, door):
    place = [TEKUP] if door == "stdio" else [f"http://127.0.0.1:{daemon.port}/mcp", KEY]
    process = node.start(tmp_path / "node", "mcp.mjs", way, door, *map(str, place), environment=daemon.environment)
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(process.communicate()) from None
    assert process.returncode == 0, f"{out}\n{errors}"
    assert out == "done\n" and not errors, errors
