"""The console in a real browser. What a scenario does is in the program of its name beside this file;
TEKUP_PICTURES=DIRECTORY keeps pictures of what it saw."""

import pathlib
import threading

from conftest import HOSTILE, HOSTILE_TEXT
from daemon import PATIENCE


def test_search_as_one_types_with_filters(look):
    look("search")


def test_a_result_is_read_in_its_surroundings(look):
    look("reader")


def test_everything_by_keyboard(look):
    look("keyboard")


def test_the_map(look):
    look("map")


def test_a_hostile_document_is_text(look):
    look("hostile", path=f"a/{HOSTILE}\"'><script>alert(0)</script>.md", repository=HOSTILE, content=HOSTILE_TEXT)


def test_every_view_in_every_look(look):
    look("looks")


def test_the_key(look):
    look("door")


def test_a_sync_is_begun_and_seen_to_end(look, daemon, client, handbook, tmp_path):
    lost = tmp_path / "nowhere"
    lost.mkdir()
    assert client.put("/v1/sources", {"source": "local", "repository": "lost", "config": {"path": str(lost)}}).status == 201
    lost.rmdir()
    seen, held, over = tmp_path / "seen", threading.Event(), threading.Event()

    def hold():
        with daemon.hold("handbook", "new/500.md"):
            held.set()
            while not seen.exists() and not over.wait(0.1):
                pass

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        assert held.wait(PATIENCE)
        look("sync", root=str(handbook), seen=str(seen))
    finally:
        over.set()
        holding.join()


def test_the_session_ends_with_the_command(daemon, console):
    assert pathlib.Path(daemon.run).exists() and console.startswith("http://127.0.0.1:")
