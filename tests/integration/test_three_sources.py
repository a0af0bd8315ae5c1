"""`tekup sync` on every kind of source at once, with an embedding server, watched to its end."""

import re
import threading

import pytest

from corpus import document, write_tree
from daemon import Daemon
from fakes.drive import Drive
from fakes.github import GitHub
from fakes.notion import Notion, heading
from fakes.notion import text as paragraph
from fakes.openai import REFUSED, OpenAI
from test_cli import machine, on_terminal, said


def plain(output):
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output.decode(errors="replace"))


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """A Drive, a GitHub, a Notion and an embedding server, which take their time where it says so."""
    with Drive() as drive, OpenAI() as openai, GitHub(tmp_path_factory.mktemp("github")) as github, \
            Notion() as notion:
        home = notion.page("Wiki", [heading(1, "Wiki"), paragraph("The heron nests beside the old mill.")])
        for number in range(8):
            notion.page(f"Page {number}", [paragraph(document(f"notion page {number}", 1, 600))], parent=home)
        github.create("acme/site").commit({
            **{f"docs/{number}.md": document(f"github page {number}", 2, 700) for number in range(25)},
            "README.md": "# Site\n\nThe zebra crossing is repainted every spring.\n", "logo.png": b"\x89PNG\0"})
        folder = drive.folder("Handbook")
        for number in range(20):
            drive.doc(f"Page {number}", document(f"drive page {number}", 2, 700), folder)
        drive.text("notes.txt", "The anchor of the ship Vera weighs four tons.")
        drive.make("logo.png", "image/png", content=b"\x89PNG")
        drive.fail(lambda request: "/export" in request.path or "alt=media" in request.raw, delay=0.05)
        yield drive, openai, github, notion


@pytest.fixture(scope="module")
def daemon(services, tmp_path_factory):
    drive, openai, github, notion = services
    daemon = Daemon(config=openai.config("batch = 32") + "[sync]\nthreads = 4\n",
                    environment={"OPENAI_API_KEY": openai.key, "TEST_GITHUB_TOKEN": github.token,
                                 "TEST_NOTION_TOKEN": notion.token})
    base = tmp_path_factory.mktemp("three")
    (base / "local").mkdir()
    write_tree(base / "local", files=30, sections=2)
    (base / "local" / "bread.md").write_text("# Bread\n\nBread is baked from flour, water and salt.\n")
    (base / "local" / "odd.md").write_text(f"# Odd\n\nThe server takes no {REFUSED} text.\n")
    try:
        daemon.start()
        said(daemon.tekup("sources", "add", "local", "tree", "--path", base / "local"))
        said(daemon.tekup("sources", "add", "gdrive", "handbook", "--key-file", drive.write_key(base),
                          "--base-url", drive.url))
        said(daemon.tekup("sources", "add", "github", "acme/site", "--token-env", "TEST_GITHUB_TOKEN",
                          "--base-url", github.url))
        said(daemon.tekup("sources", "add", "notion", "wiki", "--token-env", "TEST_NOTION_TOKEN",
                          "--base-url", notion.url, "--config", '{"requestsPerSecond": 20}'))
        yield daemon
        daemon.stop()
    finally:
        daemon.clean_up()


EXPECTED = {("local", "tree"): 32, ("gdrive", "handbook"): 21, ("github", "acme/site"): 26, ("notion", "wiki"): 9}


def test_watched_to_its_end(daemon, services):
    for source, repository in EXPECTED:
        said(daemon.tekup("sources", "test", source, repository))
    go_on = threading.Event()
    _, openai, _, _ = services
    openai.mend()
    openai.fail(times=3, delay=0.1)
    openai.fail(until=go_on)

    def drawn(output):
        """All, one of which has got somewhere."""
        frames = [plain(frame) for frame in output.split(b"\x1b[J")]
        labels = [f"{source} {repository}" for source, repository in EXPECTED]
        return any(all(label in frame for label in labels) and "█" in frame for frame in frames)

    code, output = on_terminal(daemon, "sync", columns=150, drawn=drawn, go_on=go_on)
    assert code == 0, output
    assert drawn(output), output
    text = plain(output)
    for (source, repository), count in EXPECTED.items():
        assert re.search(rf"done +{source} {repository}: {count} documents; {count} written", text), text
    assert "1 passage rejected by the embedding server" in text
    assert re.search(r"gdrive handbook: .* 1 skipped \(unsupported 1\)", text), text


def test_what_was_taken_in_is_found(daemon):
    items = {(item["source"], item["repository"]): item for item in machine(daemon.tekup("sync", "--json"))["items"]}
    for place, count in EXPECTED.items():
        assert items[place]["status"] == "success" and items[place]["documentCount"] == count
    hits = daemon.client.search(query="anchor of the ship Vera", limit=1)
    assert (hits[0]["source"], hits[0]["path"]) == ("gdrive", "notes.txt")
    hits = daemon.client.search(query="heron nests beside the old mill", limit=1)
    assert hits[0]["source"] == "notion" and hits[0]["path"].startswith("Wiki")
    hits = daemon.client.search(query="zebra crossing repainted", limit=1)
    assert (hits[0]["source"], hits[0]["path"]) == ("github", "README.md")
    hits = daemon.client.search(query="bread is baked from flour", limit=1)
    assert (hits[0]["source"], hits[0]["path"]) == ("local", "bread.md")


def test_again_costs_nearly_nothing(daemon, services):
    drive, openai, github, notion = services
    for service in services:
        service.forget()
    openai.inputs.clear()
    last = {item["source"]: item["last"] for item in machine(daemon.tekup("sync", "--json"))["items"]}
    for source in {source for source, _ in EXPECTED}:
        assert last[source]["written"] == last[source]["deleted"] == last[source]["failed"] == 0
    assert openai.inputs == []
    assert len(drive.requests) <= 4, drive.requests
    assert len(github.requests) <= 4, github.requests
    assert len(notion.requests) <= 4, notion.requests
    assert drive.count("alt=media") == drive.count("/export") == 0
