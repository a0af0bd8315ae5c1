"""The guides of tools/guides: every block that is marked ("```sh run", "```js run") is run, in its order, and prints the
lines of the "```text" block after it, in which "…" stands for anything; metrics, files and commands that they name are there."""

import re
import subprocess

import pytest

from client import free_port
from corpus import write_tree
from daemon import BUILD, PATIENCE, ROOT, Daemon

GUIDES = ROOT / "tools" / "guides"
BLOCK = re.compile(r"^```(\w+) run\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.M | re.S)


def blocks(name):
    text = (GUIDES / name).read_text()
    for match in BLOCK.finditer(text):
        yield match[1], match[2], (match[3] or "").splitlines(), text[:match.start()].count("\n") + 1


class Reader:
    """Somebody who follows a guide, on a machine of the test's own."""

    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        (directory / "handbook").mkdir()
        write_tree(directory / "handbook", files=6, sections=3, seed=9)
        (directory / "backups").mkdir()
        self.daemon = Daemon(config=f"[http]\nlisten = 127.0.0.1:{self.port}\n",
                             environment={"TEKUP_HTTP_KEY": "a-key-for-the-guides"})
        self.daemon.environment["PATH"] = ":".join(
            [str(BUILD / "tools" / "tekup"), str(BUILD / "tools" / "tekupd"), self.daemon.environment["PATH"]])
        self.daemon.start()

    def place(self, text):
        for there, here in (("/run/tekupdb", self.daemon.run), ("/var/lib/tekupdb", self.daemon.data),
                            ("/etc/tekupdb/tekupd.conf", self.daemon.config), ("/srv/handbook", self.directory / "handbook"),
                            ("/var/backups", self.directory / "backups"), ("127.0.0.1:8420", f"127.0.0.1:{self.port}")):
            text = text.replace(there, str(here))
        return text

    def run(self, script, expected, where, arguments, cwd):
        done = subprocess.run(arguments, input=script, env=self.daemon.environment, cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE)
        assert done.returncode == 0, f"{where}:\n{done.stdout}\n{done.stderr}"
        said = iter((done.stdout + done.stderr).splitlines())
        for line in map(self.place, expected):
            pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
            assert any(pattern.fullmatch(one) for one in said), f"{where}: no line '{line}' in:\n{done.stdout}{done.stderr}"


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        reader.daemon.clean_up()


@pytest.mark.parametrize("name", [path.name for path in sorted(GUIDES.glob("*.md"))])
def test_what_a_guide_shows_is_so(name, reader, tmp_path, request):
    for number, (kind, script, expected, line) in enumerate(blocks(name)):
        where = f"{name}:{line}"
        script = reader.place(script)
        if kind == "sh":
            reader.run(script, expected, where, ["bash", "-euo", "pipefail", "-s"], tmp_path)
        elif kind == "js":
            node = request.getfixturevalue("node")
            place = tmp_path / f"node{number}"
            place.mkdir()
            for linked in ("node_modules", "generated"):
                (place / linked).symlink_to(node.packages / linked)
            (place / "example.mjs").write_text(script)
            reader.run(None, expected, where, [node.program, "--no-deprecation", "example.mjs"], place)
        else:
            pytest.fail(f"{where}: a block of '{kind}' cannot be run")


def test_what_the_guides_name_is_there(reader):
    reader.daemon.client.put_document("me", "a.md", "A text.")
    reader.daemon.client.search(query="text")
    metrics = reader.daemon.client.get("/metrics").body.decode()
    for path in sorted(GUIDES.glob("*.md")):
        text = path.read_text()
        for link in re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", text):
            assert (GUIDES / link).exists(), f"{path.name} leads to {link}"
        for name in set(re.findall(r"\btekupdb_[a-z_]+[a-z]", text)):
            plain = re.sub(r"_(bucket|sum|count)$", "", name)
            assert re.search(rf"^# TYPE {plain} ", metrics, re.M), f"{path.name} names {name}"
        for command in set(re.findall(r"(?:^|`|&& |\| )tekup ((?:sources|documents|db) [a-z]+|[a-z]+)\b", text, re.M)):
            helped = reader.daemon.tekup(*command.split(), "--help")
            assert helped.returncode == 0 and f"Usage: tekup {command}".encode() in helped.stdout, (path.name, command)


def test_every_link_between_the_documents_leads_somewhere():
    told = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True)
    if told.returncode != 0:
        pytest.skip("no git repository")
    for name in told.stdout.split():
        page = ROOT / name
        for link, anchor in re.findall(r"\]\(([^)#: ]*)(?:#([^): ]*))?\)", page.read_text()):
            to = (page.parent / link).resolve() if link else page
            assert to.exists(), f"{name} leads to {link}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", to.read_text(), re.M)
                assert anchor in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles], \
                    f"{name} leads to #{anchor} of {to.name}"


def test_every_alert_is_in_the_guide():
    rules = (ROOT / "tools" / "prometheus" / "tekupdb.rules.yml").read_text()
    guide = (GUIDES / "operating.md").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    assert alerts and alerts == set(re.findall(r"\| `(Tekupdb\w+)` \|", guide))
