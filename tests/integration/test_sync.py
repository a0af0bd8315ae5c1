"""The local source: a directory becomes documents and stays the same as them."""

import os
import random
import shutil
import socket
import string

import pytest

from corpus import document, write_tree
from daemon import is_running, wait_for


@pytest.fixture
def tree(daemon, request, tmp_path):
    """A directory that is registered as the source of a repository with the test's name."""
    root = tmp_path / "tree"
    root.mkdir()
    daemon.add_source(request.node.name, root)
    return root


@pytest.fixture
def repository(request):
    return request.node.name


def paths(client, repository):
    return [document["path"] for document in client.documents(source="local", repository=repository)]


def updates(client, repository):
    return {d["path"]: (d["id"], d["createdAt"], d["updatedAt"], d["sha"])
            for d in client.documents(source="local", repository=repository)}


def last(item):
    """The figures that are about documents."""
    return {name: item["last"][name] for name in ("found", "unchanged", "written", "deleted", "failed")}


# ---- Status ----


def test_a_new_source_is_pending(daemon, tree, repository):
    item = daemon.sync_item(repository)
    assert item["status"] == "pending"
    assert item["documentCount"] == 0 and item["errorMessage"] is None
    assert item["progress"] is None and item["last"] is None


def test_status_goes_from_pending_over_in_progress_to_success(daemon, client, tree, repository):
    write_tree(tree, files=12, sections=2)
    lock = daemon.lock()
    daemon.request_sync(repository)
    daemon.wait_blocked()
    item = daemon.sync_item(repository)
    assert item["status"] == "in_progress"
    assert item["errorMessage"] is None
    progress = item["progress"]
    assert progress["running"] is True
    assert progress["total"] == progress["found"] == 12
    assert progress["written"] == 0
    row = 'SELECT status, "documentCount" FROM vault."VaultSyncStatus" WHERE repository = %s'
    assert daemon.sql(row, repository) == [("in_progress", 0)]
    lock.close()
    item = daemon.wait_synced(repository)
    assert item["status"] == "success"
    assert item["documentCount"] == 12
    assert daemon.sql(row, repository) == [("success", 12)]
    assert last(item) == {"found": 12, "unchanged": 0, "written": 12, "deleted": 0, "failed": 0}
    assert item["last"]["running"] is False
    assert item["last"]["chunks"] == item["last"]["embedded"] + item["last"]["reused"]
    assert item["last"]["chunks"] >= 24


def test_a_sync_that_waits_for_its_turn_is_pending(daemon, client, tmp_path):
    """More syncs than threads: those that have to wait are queued, and all of them end."""
    repositories = [f"turn-{number}" for number in range(12)]
    for name in repositories:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(document(name, 1, 200))
        daemon.add_source(name, tmp_path / name)
    lock = daemon.lock()
    for name in repositories:
        daemon.request_sync(name)
    daemon.wait_blocked()
    items = [daemon.sync_item(name) for name in repositories]
    assert {item["status"] for item in items} <= {"pending", "in_progress"}
    waiting = [item for item in items if not item["progress"]["running"]]
    assert waiting and all(item["status"] == "pending" for item in waiting)
    syncs = client.status()["syncs"]
    assert syncs["queued"] == len(waiting) and syncs["running"] == len(items) - len(waiting)
    lock.close()
    for name in repositories:
        assert daemon.wait_synced(name)["status"] == "success"


def test_one_sync_at_a_time(daemon, client, tree, repository):
    (tree / "a.txt").write_text("text")
    lock = daemon.lock()
    body = {"source": "local", "repository": repository}
    daemon.request_sync(repository)
    daemon.wait_blocked()
    answer = client.post("/v1/sync", body)
    assert answer.status == 409 and answer.error["code"] == "conflict"
    every = client.post("/v1/sync", {})
    assert every.status == 202
    assert body not in every.json["queued"]
    lock.close()
    assert daemon.wait_synced(repository)["status"] == "success"
    wait_for(lambda: client.status()["syncs"] == {"queued": 0, "running": 0}, "all syncs to end")


def test_sync_all_takes_every_source(daemon, client, tree, repository):
    (tree / "a.txt").write_text("text")
    answer = client.post("/v1/sync", {})
    assert answer.status == 202
    assert {"source": "local", "repository": repository} in answer.json["queued"]
    assert daemon.wait_synced(repository)["documentCount"] == 1
    wait_for(lambda: client.status()["syncs"] == {"queued": 0, "running": 0}, "all syncs to end")


def test_newest_first(daemon, client, tmp_path):
    for name in ("order-a", "order-b", "order-a"):
        (tmp_path / name).mkdir(exist_ok=True)
        daemon.add_source(name, tmp_path / name)
        daemon.sync(name)
    moments = [item["lastSyncAt"] for item in client.get("/v1/sync").json["items"]]
    assert moments == sorted(moments, reverse=True)
    names = [item["repository"] for item in client.get("/v1/sync").json["items"]]
    assert names.index("order-a") < names.index("order-b")


def test_the_interval_starts_syncs(daemon, client, tmp_path):
    (tmp_path / "a.txt").write_text("one")
    daemon.add_source("interval", tmp_path, interval=1)
    wait_for(lambda: paths(client, "interval") == ["a.txt"], "the first sync")
    (tmp_path / "b.txt").write_text("two")
    wait_for(lambda: paths(client, "interval") == ["a.txt", "b.txt"], "the second sync")
    # It is refused while a sync is under way, and one begins every second.
    wait_for(lambda: client.delete("/v1/sources", source="local", repository="interval").status == 200,
             "a moment between two syncs")
    wait_for(lambda: client.status()["syncs"] == {"queued": 0, "running": 0}, "the last sync to end")


# ---- What is taken in ----


def test_the_text_is_the_files(daemon, client, tree, repository):
    texts = {
        "plain.txt": "Plain text.\n",
        "a/b/c/deep.md": "# Deep\n\nText.\n",
        "no-extension": "text",
        "with space & sign?.txt": "text 2",
        "ø/寿司.md": "寿司と味噌汁 🍣\n",
        "windows.txt": "one\r\ntwo\r\n",
        ".hidden.txt": "hidden",
    }
    for path, text in texts.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(text.encode())
    item = daemon.sync(repository)
    assert item["status"] == "success", item
    for path, text in texts.items():
        if path == ".hidden.txt":
            continue  # whether those are documents is the source's decision
        found = client.get("/v1/documents/by-path", source="local", repository=repository, path=path)
        assert found.status == 200, path
        assert found.json["content"] == text
        hit = client.search(query=text, source="local", repository=repository, limit=1)[0]
        assert hit["similarity"] == pytest.approx(1, abs=1e-2)


def test_text_in_older_encodings_is_found(daemon, client, tree, repository):
    """And what it is in does not change what it is: the second sync has nothing to do."""
    written = {"latin1.txt": ("Smørrebrød\n", "latin-1"), "windows.txt": ("“Smørrebrød” – 5 €\n", "cp1252"),
               "utf16.txt": ("Smørrebrød 寿司\n", "utf-16"), "bom.txt": ("Smørrebrød\n", "utf-8-sig")}
    for name, (text, encoding) in written.items():
        (tree / name).write_bytes(text.encode(encoding))
    assert not any(daemon.sync(repository)["last"]["skipped"].values())
    for name, (text, _) in written.items():
        assert client.get("/v1/documents/by-path", source="local", repository=repository, path=name).json["content"] == text
    found = client.search(query="smørrebrød", mode="text", repository=repository)
    assert {hit["path"] for hit in found} == set(written)
    last = daemon.sync(repository)["last"]
    assert last["unchanged"] == len(written) and last["written"] == 0


def test_the_log_names_what_is_skipped_where_it_is_wanted(make_daemon, tmp_path):
    (tmp_path / "good.txt").write_text("text")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "huge.txt").write_text("words " * (1 << 20))
    daemon = make_daemon(config="[log]\nlevel = debug\n").start()
    daemon.add_source("named", tmp_path)
    daemon.sync("named")
    lines = [line for line in daemon.log().splitlines() if "event=sync.skipped" in line]
    assert len(lines) == 2 and any('path="logo.png" reason=binary' in line for line in lines), lines
    assert any('path="huge.txt" reason=too_large' in line for line in lines), lines


def test_what_is_skipped_is_counted_with_its_reason(daemon, client, tree, repository, tmp_path):
    (tree / "good.txt").write_text("text")
    (tree / "nul.bin").write_bytes(b"text\0more")
    (tree / "cyrillic.txt").write_bytes("Привет".encode("cp1251"))
    (tree / "cut.txt").write_bytes("寿司".encode()[:-1])
    (tree / "surrogate.txt").write_bytes(b"a\xed\xa0\x80b")
    (tree / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (tree / "huge.txt").write_bytes(b"words and words\n" * (4 << 20))  # 64 MiB
    (tree / "empty.txt").write_bytes(b"")
    (tree / "blank.txt").write_bytes(b" \n\t\n ")
    (tree / "link.txt").symlink_to(tree / "good.txt")
    (tree / "outside").symlink_to("/etc")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "fifo")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tree / "s"))
    sock.close()
    (tree / ".gitignore").write_text("ignored.txt\n")
    (tree / "ignored.txt").write_text("text")
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("[core]")
    unreadable = os.geteuid() != 0
    if unreadable:
        (tree / "secret.txt").write_text("text")
        (tree / "secret.txt").chmod(0)
    item = daemon.sync(repository)
    assert item["status"] == "success", item
    assert [path for path in paths(client, repository) if path != ".gitignore"] == ["good.txt"]
    skipped = item["last"]["skipped"]
    assert skipped["binary"] == 5, skipped
    # Names are for who looks for a certain file.
    assert "sync.skipped" not in daemon.log()
    assert skipped["too_large"] == 1
    assert skipped["empty"] == 2
    assert skipped["not_file"] == 5
    assert skipped["ignored"] >= 1
    if unreadable:
        assert skipped["unreadable"] == 1


def test_names_that_are_not_utf8(daemon, client, tree, repository):
    (tree / "good.txt").write_text("text")
    with open(os.fsencode(tree) + b"/bad\xff.txt", "w") as file:
        file.write("text")
    with open(os.fsencode(tree) + b"/line\nbreak.txt", "w") as file:
        file.write("text")
    item = daemon.sync(repository)
    assert paths(client, repository) == ["good.txt"]
    assert sum(item["last"]["skipped"].values()) + item["last"]["failed"] == 2, item


def test_gitignore(daemon, client, tree, repository):
    files = ["a.txt", "a.log", "keep.log", "build/out.txt", "src/build/out.txt", "src/a.txt", "docs/x.tmp",
             "docs/y.txt", "docs/deep/x.tmp", "top.txt", "sub/top.txt", "sub/own.txt", "sub/other.txt",
             "star/abc", "star/abd", "star/aXd", "spaced name.txt", "#hash", "!bang", "many/a/b/target/c"]
    for path in files:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(f"text of {path}")
    (tree / ".gitignore").write_text(
        "# a comment\n\n*.log\n!keep.log\nbuild/\n/top.txt\ndocs/*.tmp\nstar/ab[cd]\n"
        "spaced\\ name.txt\n\\#hash\n\\!bang\nmany/**/target\n"
    )
    (tree / "sub" / ".gitignore").write_text("own.txt\r\n")
    item = daemon.sync(repository)
    assert item["status"] == "success", item
    taken = [path for path in paths(client, repository) if not path.endswith(".gitignore")]
    assert taken == sorted(["a.txt", "keep.log", "src/a.txt", "docs/y.txt", "docs/deep/x.tmp", "sub/top.txt",
                            "sub/other.txt", "star/aXd"])


def test_an_ignored_directory_does_not_come_back_by_negation(daemon, client, tree, repository):
    """As in git: what is in an ignored directory cannot be taken in again."""
    (tree / "out").mkdir()
    (tree / "out" / "keep.txt").write_text("text")
    (tree / "a.txt").write_text("text")
    (tree / ".gitignore").write_text("out/\n!out/keep.txt\n")
    daemon.sync(repository)
    assert [path for path in paths(client, repository) if path != ".gitignore"] == ["a.txt"]


# ---- What changes ----


def test_added_changed_deleted_moved_and_untouched(daemon, client, tree, repository):
    texts = write_tree(tree, files=10, sections=3)
    names = sorted(texts)
    first = daemon.sync(repository)
    assert last(first) == {"found": 10, "unchanged": 0, "written": 10, "deleted": 0, "failed": 0}
    before = updates(client, repository)

    again = daemon.sync(repository)
    assert last(again) == {"found": 10, "unchanged": 10, "written": 0, "deleted": 0, "failed": 0}
    assert again["last"]["embedded"] == again["last"]["chunks"] == 0
    assert updates(client, repository) == before

    (tree / names[0]).write_text(document("changed", 2))
    (tree / names[1]).unlink()
    (tree / "moved").mkdir()
    (tree / names[2]).rename(tree / "moved" / "here.md")
    (tree / "new.md").write_text(document("new", 1))
    os.utime(tree / names[3])  # touched, and not changed
    third = daemon.sync(repository)
    assert last(third) == {"found": 10, "unchanged": 7, "written": 3, "deleted": 2, "failed": 0}
    after = updates(client, repository)
    assert set(after) == (set(before) - {names[1], names[2]}) | {"moved/here.md", "new.md"}
    for path in names[3:]:
        assert after[path] == before[path]
    changed = after[names[0]]
    assert changed[:2] == before[names[0]][:2]  # the same document
    assert changed[2] > before[names[0]][2] and changed[3] != before[names[0]][3]
    assert third["last"]["reused"] >= 3  # the moved text was embedded already
    assert client.search(query=texts[names[1]], repository=repository, threshold=0.95) == []
    moved = client.search(query=texts[names[2]][:1200], repository=repository, limit=1)[0]
    assert moved["path"] == "moved/here.md"
    assert third["documentCount"] == 10


def test_a_file_becomes_a_directory_and_back(daemon, client, tree, repository):
    (tree / "x").write_text("a file")
    daemon.sync(repository)
    assert paths(client, repository) == ["x"]
    (tree / "x").unlink()
    (tree / "x").mkdir()
    (tree / "x" / "y").write_text("in a directory")
    daemon.sync(repository)
    assert paths(client, repository) == ["x/y"]
    shutil.rmtree(tree / "x")
    (tree / "x").write_text("a file again")
    daemon.sync(repository)
    assert paths(client, repository) == ["x"]


def test_what_is_skipped_now_is_not_a_document_any_more(daemon, client, tree, repository):
    (tree / "a.txt").write_text("text a")
    (tree / "b.txt").write_text("text b")
    daemon.sync(repository)
    (tree / "a.txt").write_bytes(b"\0binary now")
    (tree / ".gitignore").write_text("b.txt\n.gitignore\n")
    item = daemon.sync(repository)
    assert paths(client, repository) == []
    assert item["last"]["deleted"] == 2 and item["documentCount"] == 0


def test_an_emptied_directory(daemon, client, tree, repository):
    write_tree(tree, files=5, sections=1)
    daemon.sync(repository)
    for path in tree.iterdir():
        shutil.rmtree(path)
    item = daemon.sync(repository)
    assert item["status"] == "success" and item["last"]["deleted"] == 5
    assert paths(client, repository) == []


def test_documents_put_by_others_into_the_repository(daemon, client, tree, repository):
    """The repository's documents are those of the directory: the sync removes what it never had."""
    (tree / "a.txt").write_text("text")
    client.put_document(repository, "put.txt", "put by hand", source="local")
    client.put_document(repository, "put.txt", "of another source", source="test")
    daemon.sync(repository)
    assert paths(client, repository) == ["a.txt"]
    assert len(client.documents(source="test", repository=repository)) == 1


def test_a_sync_takes_a_document_of_another_model_again(daemon, client, tree, repository):
    """Chunks of an older embedding model count as changed."""
    write_tree(tree, files=3, sections=1)
    daemon.sync(repository)
    daemon.sql('UPDATE tekupdb."Chunk" SET model = %s WHERE "embeddingId" IN (SELECT e.id FROM'
               ' vault."VaultEmbedding" e JOIN vault."VaultDocument" d ON d.id = e."documentId"'
               " WHERE d.repository = %s AND d.path LIKE %s)", "an-older-model", repository, "00/%")
    item = daemon.sync(repository)
    assert item["last"]["written"] == 1 and item["last"]["unchanged"] == 2


# ---- What goes wrong ----


def test_a_directory_that_is_not_there(daemon, client, tree, repository):
    write_tree(tree, files=5, sections=1)
    daemon.sync(repository)
    before = updates(client, repository)
    tree.rename(tree.with_name("away"))
    item = daemon.sync(repository)
    assert item["status"] == "error"
    assert str(tree) in item["errorMessage"]
    assert item["documentCount"] == 5
    assert updates(client, repository) == before
    tree.with_name("away").rename(tree)
    item = daemon.sync(repository)
    assert item["status"] == "success" and item["errorMessage"] is None
    assert item["last"]["unchanged"] == 5 and updates(client, repository) == before


def disappear(daemon, tree, repository, how):
    """A sync of 30 changed documents whose directory is taken away when it has begun to write."""
    write_tree(tree, files=30, sections=1)
    daemon.sync(repository)
    before = updates(daemon.client, repository)
    write_tree(tree, files=30, sections=1, seed=2)
    lock = daemon.lock()
    daemon.request_sync(repository)
    daemon.wait_blocked()
    how()
    lock.close()
    item = daemon.wait_synced(repository)
    assert set(updates(daemon.client, repository)) == set(before)
    assert item["last"]["deleted"] == 0 and item["documentCount"] == 30
    return item


def check_content(client, tree, repository, paths):
    for path in paths:
        found = client.get("/v1/documents/by-path", source="local", repository=repository, path=path)
        assert found.json["content"] == (tree / path).read_text()


def test_a_directory_that_disappears_during_a_sync_deletes_nothing(daemon, client, tree, repository):
    item = disappear(daemon, tree, repository, lambda: shutil.rmtree(tree))
    assert item["status"] == "error" and str(tree) in item["errorMessage"]
    texts = write_tree(tree, files=30, sections=1, seed=2)
    item = daemon.sync(repository)
    assert item["status"] == "success"
    assert item["last"]["written"] + item["last"]["unchanged"] == 30
    check_content(client, tree, repository, texts)


def test_a_directory_that_is_moved_away_during_a_sync_deletes_nothing(daemon, client, tree, repository):
    """The sync may still read what it has open, and then ends well; or it may not."""
    away = tree.with_name("away")
    disappear(daemon, tree, repository, lambda: tree.rename(away))
    item = daemon.sync(repository)
    assert item["status"] == "error" and item["documentCount"] == 30
    away.rename(tree)
    assert daemon.sync(repository)["status"] == "success"
    check_content(client, tree, repository, paths(client, repository))


def test_another_directory_in_its_place_during_a_sync_deletes_nothing(daemon, client, tree, repository):
    """As when a volume is mounted over it, or a link that leads to it is changed."""
    def replace():
        tree.rename(tree.with_name("away"))
        tree.mkdir()

    disappear(daemon, tree, repository, replace)


def test_files_that_go_while_a_sync_runs(daemon, client, tree, repository):
    """Part of the tree goes away between listing and reading: the rest is taken in."""
    texts = write_tree(tree, files=20, sections=1)
    lock = daemon.lock()
    daemon.request_sync(repository)
    daemon.wait_blocked()
    gone = sorted(texts)[10:]
    for path in gone:
        (tree / path).unlink()
    lock.close()
    daemon.wait_synced(repository)
    assert set(sorted(texts)[:10]) <= set(paths(client, repository))
    item = daemon.sync(repository)
    assert item["status"] == "success"
    assert paths(client, repository) == sorted(texts)[:10]


def test_a_file_that_changes_while_a_sync_runs(daemon, client, tree, repository):
    texts = write_tree(tree, files=10, sections=1)
    lock = daemon.lock()
    daemon.request_sync(repository)
    daemon.wait_blocked()
    write_tree(tree, files=10, sections=2, seed=3)
    lock.close()
    daemon.wait_synced(repository)
    daemon.sync(repository)
    check_content(client, tree, repository, texts)


def test_a_very_deep_tree(daemon, client, tree, repository):
    """Deeper than a path may be long, made by steps, as a program that went wild makes it."""
    (tree / "a.txt").write_text("text")
    home = os.getcwd()
    try:
        os.chdir(tree)
        for _ in range(60):
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        with open("deep.txt", "w") as file:
            file.write("text")
    finally:
        os.chdir(home)
    item = daemon.sync(repository)
    assert "a.txt" in paths(client, repository)
    assert item["progress"] is None and item["status"] in ("success", "error")
    if item["status"] == "error":
        assert item["errorMessage"]


def test_a_path_that_the_database_cannot_index(daemon, client, tree, repository):
    """PostgreSQL's index takes keys of up to 2,704 bytes: a longer path must not stop the others."""
    rng = random.Random(5)
    parts = ["".join(rng.choices(string.ascii_letters + string.digits, k=200)) for _ in range(18)]
    place = tree.joinpath(*parts)
    home = os.getcwd()
    try:
        os.chdir(tree)
        for part in parts:
            os.mkdir(part)
            os.chdir(part)
        with open("deep.txt", "w") as file:
            file.write("text")
    finally:
        os.chdir(home)
    assert len(str(place)) > 3600
    (tree / "zz-after.txt").write_text("text")
    daemon.sync(repository)
    assert "zz-after.txt" in paths(client, repository)


# ---- Sources ----


def test_sources_are_kept_and_listed(daemon, client, tmp_path):
    body = {"source": "local", "repository": "kept", "config": {"path": str(tmp_path)}, "intervalSeconds": 3600}
    first = client.put("/v1/sources", body)
    assert first.status == 201
    body["intervalSeconds"] = 7200
    assert client.put("/v1/sources", body).status == 200
    listed = [one for one in client.get("/v1/sources").json["sources"] if one["repository"] == "kept"]
    assert len(listed) == 1
    created = listed[0].pop("createdAt")
    assert created.endswith("Z")
    standing = {name: listed[0].pop(name) for name in ("status", "lastSyncAt", "nextSyncAt", "documentCount")}
    assert standing["status"] == "pending" and standing["documentCount"] == 0
    assert listed[0] == body
    item = daemon.sync("kept")
    listed = [one for one in client.get("/v1/sources").json["sources"] if one["repository"] == "kept"]
    assert listed[0]["status"] == "success" and listed[0]["lastSyncAt"] == item["lastSyncAt"]
    assert listed[0]["nextSyncAt"] > listed[0]["lastSyncAt"]
    answer = client.delete("/v1/sources", source="local", repository="kept")
    assert answer.status == 200 and answer.json["deleted"] is True
    assert client.delete("/v1/sources", source="local", repository="kept").status == 404
    assert daemon.sync_item("kept") is None


def test_removing_a_source_keeps_or_takes_its_documents(daemon, client, tree, repository):
    write_tree(tree, files=4, sections=1)
    daemon.sync(repository)
    assert client.delete("/v1/sources", source="local", repository=repository).status == 200
    assert len(paths(client, repository)) == 4
    daemon.add_source(repository, tree)
    daemon.sync(repository)
    answer = client.delete("/v1/sources", source="local", repository=repository, documents="true")
    assert answer.json == {"deleted": True, "documents": 4}
    assert paths(client, repository) == []
    assert client.search(query="text", repository=repository) == []
    daemon.counts()


def test_test_says_whether_a_source_can_be_read(daemon, client, tmp_path):
    def test(path, **fields):
        return client.post("/v1/sources/test", {
            "source": "local", "repository": "probe", "config": {"path": str(path)}, **fields})

    good = test(tmp_path)
    assert good.status == 200 and good.json == {"ok": True}
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "missing", tmp_path / "file", "relative/path", ""):
        answer = test(bad)
        assert answer.status in (400, 404), (bad, answer)
        assert "path" in answer.error["field"]
    assert not [one for one in client.get("/v1/sources").json["sources"] if one["repository"] == "probe"]


@pytest.mark.parametrize("change, field", [
    ({"source": "teapot"}, "source"),
    ({"source": ""}, "source"),
    ({"repository": ""}, "repository"),
    ({"repository": 7}, "repository"),
    ({"config": {}}, "path"),
    ({"config": {"path": 7}}, "path"),
    ({"config": {"path": "relative"}}, "path"),
    ({"config": {"path": "/tmp", "colour": "red"}}, "colour"),
    ({"config": "text"}, "config"),
    ({"intervalSeconds": -1}, "intervalSeconds"),
    ({"intervalSeconds": 1.5}, "intervalSeconds"),
    ({"intervalSeconds": 1 << 40}, "intervalSeconds"),
    ({"colour": "red"}, "colour"),
])
def test_a_wrong_source_is_refused(client, change, field):
    body = {"source": "local", "repository": "wrong", "config": {"path": "/tmp"}, "intervalSeconds": 0}
    body.update(change)
    answer = client.put("/v1/sources", body)
    assert answer.status == 400 and answer.error["code"] == "invalid"
    assert field in answer.error["field"], answer
    assert not [one for one in client.get("/v1/sources").json["sources"] if one["repository"] == "wrong"]


def test_a_sync_of_an_unknown_source(client):
    for body in ({"source": "local", "repository": "never heard of"}, {"source": "teapot", "repository": "x"}):
        answer = client.post("/v1/sync", body)
        assert answer.status == 404 and answer.error["code"] == "not_found", answer


def test_a_source_removed_while_it_is_synced(daemon, client, tree, repository):
    """The sync ends by itself and the daemon goes on; no status row comes back from the dead."""
    write_tree(tree, files=20, sections=1)
    lock = daemon.lock()
    daemon.request_sync(repository)
    daemon.wait_blocked()
    answer = client.delete("/v1/sources", source="local", repository=repository)
    assert answer.status in (200, 409), answer
    lock.close()
    wait_for(lambda: client.status()["syncs"] == {"queued": 0, "running": 0}, "the sync to end")
    if answer.status == 200:
        assert daemon.sync_item(repository) is None
    assert is_running(daemon.pid)
