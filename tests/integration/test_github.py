"""The github source: repositories become documents and stay the same as them, with few calls."""

import io
import os
import tarfile
import time

import pytest

from daemon import wait_for
from fakes.github import GitHub
from fakes.service import answer, date_in

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


@pytest.fixture
def github(tmp_path):
    with GitHub(tmp_path) as github:
        yield github
        assert not [r for r in github.codeload.requests if "authorization" in r.headers]


class Source:
    """A repository of the fake as a source of the daemon."""

    def __init__(self, daemon, github, name, **config):
        self.daemon, self.github, self.name = daemon, github, name
        self.config = {"baseUrl": github.url, "tokenEnv": "TEST_GITHUB_TOKEN", **config}
        answer = self.put()
        assert answer.status in (200, 201), answer

    def put(self, **config):
        self.config.update(config)
        self.config = {name: value for name, value in self.config.items() if value is not None}
        return self.daemon.client.put("/v1/sources", {
            "source": "github", "repository": self.name, "config": self.config, "intervalSeconds": 0})

    def sync(self, status="success"):
        self.github.forget()
        self.github.codeload.forget()
        item = self.daemon.sync(self.name, "github")
        assert item["status"] == status, item
        return item

    def calls(self):
        """The last sync's calls by kind."""
        kinds = {}
        for request in self.github.requests:
            kind = next((k for k in ("/tarball", "/blobs", "/trees", "/commits") if k in request.path), "repository")
            kinds[kind] = kinds.get(kind, 0) + 1
        return kinds

    def documents(self):
        found = self.daemon.client.documents(source="github", repository=self.name)
        return {d["path"]: self.daemon.client.get(f"/v1/documents/{d['id']}").json for d in found}

    def contents(self):
        return {path: document["content"] for path, document in self.documents().items()}

    def test(self):
        return self.daemon.client.post("/v1/sources/test", {
            "source": "github", "repository": self.name, "config": self.config})


@pytest.fixture
def start(make_daemon, github):
    def make(token=github.token, **keywords):
        return make_daemon(environment={"TEST_GITHUB_TOKEN": token}, **keywords).start()
    return make


FILES = {f"docs/{number:03}.md": f"# Page {number}\n\nSomething about subject {number}.\n" for number in range(60)}


def test_the_first_sync_takes_one_tarball_and_later_ones_what_is_new(start, github):
    repository = github.create("tekup/handbook")
    repository.commit({**FILES, "README.md": "the handbook\n", "blank": " \n", "logo.png": b"\x89PNG\0\0"})
    daemon = start()
    source = Source(daemon, github, "tekup/handbook")
    item = source.sync()
    assert source.contents() == {**FILES, "README.md": "the handbook\n"}
    assert source.calls() == {"repository": 1, "/commits": 1, "/trees": 1, "/tarball": 1}
    assert len(github.codeload.requests) == 1
    last = item["last"]
    assert last["skipped"]["binary"] == 1 and last["skipped"]["empty"] == 1, last
    document = source.documents()["docs/003.md"]
    assert document["metadata"] == {"url": "https://github.com/tekup/handbook/blob/main/docs/003.md", "branch": "main"}
    assert document["sha"] == repository.git("rev-parse", "HEAD:docs/003.md").decode().strip()

    source.sync()
    assert [request.status for request in github.requests] == [304, 304], "which cost nothing"

    repository.commit({"docs/003.md": "changed\n", "docs/004.md": None, "new.md": "new\n"})
    item = source.sync()
    assert source.calls() == {"repository": 1, "/commits": 1, "/trees": 1, "/blobs": 2}
    assert item["last"]["written"] == 2 and item["last"]["deleted"] == 1, item
    expected = {**FILES, "README.md": "the handbook\n", "docs/003.md": "changed\n", "new.md": "new\n"}
    del expected["docs/004.md"]
    assert source.contents() == expected

    repository.commit({f"more/{number}.md": f"more {number}\n" for number in range(40)})
    source.sync()
    assert source.calls() == {"repository": 1, "/commits": 1, "/trees": 1, "/tarball": 1}, "many at once"

    repository.git("mv", "more", "moved")
    repository.commit({})
    item = source.sync()
    assert source.calls() == {"repository": 1, "/commits": 1, "/trees": 1, "/tarball": 1}, "not one by one"
    assert item["last"]["embedded"] == 0, "what only moved is not embedded again"


def test_what_is_left_out(start, github):
    repository = github.create("tekup/odd")
    (repository.path / "link").symlink_to("README.md")
    repository.commit({
        "README.md": "readme\n", "big.txt": "x" * 3000, "media.bin": LFS, "empty": "", "latin.txt": b"caf\xe9\n", "logo.png": b"\x89PNG\0",
        "docs/in.md": "in\n", "docs/drafts/out.md": "out\n", "src/main.c": "int main;\n", "odd name &+#%.md": "odd\n",
        ".gitattributes": "secret.md export-ignore\nstamp.md export-subst\n", "secret.md": "not in the archive\n",
        "stamp.md": "$Format:%H$\n"})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},module")
    repository.git("commit", "-q", "-m", "a submodule")
    daemon = start()
    source = Source(daemon, github, "tekup/odd", maxBytes=2000, exclude=["drafts/", "*.c"])
    item = source.sync()
    skipped = {reason: count for reason, count in item["last"]["skipped"].items() if count}
    assert skipped == {"too_large": 1, "lfs": 1, "empty": 1, "binary": 1, "not_file": 1, "submodule": 1,
                       "ignored": 2}, skipped
    assert set(source.contents()) == {"README.md", "docs/in.md", "odd name &+#%.md", ".gitattributes", "secret.md",
                                      "stamp.md", "latin.txt"}
    assert source.contents()["latin.txt"] == "café\n"
    assert source.contents()["secret.md"] == "not in the archive\n"
    assert source.contents()["stamp.md"] == "$Format:%H$\n", "as git has it, not as an archive does"
    assert source.calls()["/blobs"] >= 2
    # What turned out to be no document is not asked for again while it stays.
    repository.commit({"README.md": "readme 2\n"})
    source.sync()
    assert source.calls()["/blobs"] == 1
    assert source.put(include=["docs/"], exclude=["drafts/"]).status == 200
    source.sync()
    assert set(source.contents()) == {"docs/in.md"}


def test_branches(start, github):
    repository = github.create("tekup/branches")
    repository.commit({"a.md": "on main\n", "same.md": "the same\n"})
    repository.commit({"a.md": "on release\n"}, branch="release/2")
    repository.git("tag", "main")  # on release/2: a branch is meant, not a tag of its name
    repository.git("checkout", "-q", "heads/main")
    daemon = start()
    source = Source(daemon, github, "tekup/branches")
    source.sync()
    assert source.contents() == {"a.md": "on main\n", "same.md": "the same\n"}
    source.put(branches=["release/2"])
    source.sync()
    assert source.contents() == {"a.md": "on release\n", "same.md": "the same\n"}
    same = source.documents()["same.md"]["metadata"]
    assert same == {"url": "https://github.com/tekup/branches/blob/release/2/same.md", "branch": "release/2"}
    source.put(branches=["main", "release/2"])
    source.sync()
    assert source.contents() == {"main/a.md": "on main\n", "main/same.md": "the same\n",
                                 "release/2/a.md": "on release\n", "release/2/same.md": "the same\n"}
    assert source.documents()["release/2/a.md"]["metadata"]["url"].endswith("/blob/release/2/a.md")
    source.put(branches=["gone"])
    item = source.sync("error")
    assert "the branch gone: there is none of this name" in item["errorMessage"], item
    assert len(source.contents()) == 4, "nothing is taken for gone"
    # Another default branch is followed.
    del source.config["branches"]
    source.put()
    repository.default_branch = "release/2"
    source.sync()
    assert source.contents()["a.md"] == "on release\n"
    # Also where it is the same in both: not one text is different, and what is said of it is. In one call.
    repository.commit({f"{number}.md": f"file {number}\n" for number in range(40)})
    for branch in ("main", "trunk"):
        repository.git("update-ref", f"refs/heads/{branch}", "HEAD")
    repository.default_branch = "main"
    source.sync()
    repository.default_branch = "trunk"
    item = source.sync()
    assert item["last"]["embedded"] == 0 and source.calls().get("/blobs", 0) == 0, (item, source.calls())
    assert {document["metadata"]["branch"] for document in source.documents().values()} == {"trunk"}
    item = source.sync()
    assert item["last"]["written"] == 0 and len(github.requests) == 2


def test_a_tree_that_is_truncated_is_read_directory_by_directory(start, github):
    repository = github.create("tekup/large")
    files = {f"{a}/{b}/{c}.md": f"{a} {b} {c}\n" for a in "xyz" for b in range(4) for c in range(3)}
    repository.commit(files)
    github.tree_most = 10
    daemon = start()
    source = Source(daemon, github, "tekup/large")
    source.sync()
    assert source.contents() == files
    assert source.calls()["/trees"] > 3


def test_empty_renamed_archived(start, github):
    repository = github.create("tekup/young")
    daemon = start()
    source = Source(daemon, github, "tekup/young")
    source.sync()
    assert source.contents() == {}
    assert "It is empty" in source.test().json["report"]
    repository.commit({"a.md": "first\n"})
    source.sync()
    assert source.contents() == {"a.md": "first\n"}
    github.rename("tekup/young", "tekup/grown")
    repository.commit({"b.md": "second\n"})
    source.sync()
    assert source.contents() == {"a.md": "first\n", "b.md": "second\n"}
    assert source.documents()["a.md"]["metadata"]["url"] == "https://github.com/tekup/grown/blob/main/a.md"
    assert "event=github.renamed" in daemon.log()
    assert "renamed from tekup/young" in source.test().json["report"]
    repository.archived = True
    source.sync()
    assert "archived" in source.test().json["report"]


def test_what_cannot_be_read_is_said_in_words_and_deletes_nothing(start, github):
    repository = github.create("tekup/private")
    repository.commit({"a.md": "kept\n"})
    daemon = start()
    source = Source(daemon, github, "tekup/private")
    report = source.test().json["report"]
    assert "ann's" in report and "private" in report and "main" in report, report
    assert "Of 5000 calls an hour 4999 are left" in report
    source.sync()

    def expect(words):
        item = source.sync("error")
        assert words in item["errorMessage"], item
        assert words in source.test().json["error"]["message"]
        assert source.contents() == {"a.md": "kept\n"}

    source.put(tokenEnv=None, tokenFile="/nonexistent/token")
    refused = source.test()
    assert refused.status == 400 and refused.error["field"] == "config.tokenFile", refused
    assert "/nonexistent/token cannot be read" in refused.error["message"]
    source.put(tokenEnv="TEST_GITHUB_TOKEN", tokenFile=None)
    github.token = "another"
    expect("refuses the token (401 Bad credentials)")
    github.token = "ghp_test5ecret"
    repository.blocked = True
    expect("legal reasons")
    repository.blocked = False
    del github.repositories["tekup/private"]
    expect("not found (404), or the token may not see it")
    github.repositories["tekup/private"] = repository
    github.fail(answer=answer(403, {"message": "Resource protected by organization SAML enforcement."},
                              {"X-GitHub-SSO": "required; url=https://github.com/orgs/x/sso"}))
    expect("single sign-on")
    github.mend()
    github.fail(lambda request: "/commits" in request.path, answer=answer(
        403, {"message": "Resource not accessible by personal access token"}))
    expect("Contents: Read-only")
    github.mend()
    github.fail(answer=answer(200, "<html>a captive portal</html>"))
    expect("GitHub")
    github.mend()
    source.put(tokenEnv="NOT_SET_AT_ALL")
    expect("NOT_SET_AT_ALL is not set")
    source.config.pop("tokenEnv")
    source.put()
    expect("private and needs a token")
    assert github.token not in daemon.log()


def test_public_repositories_need_no_token(start, github):
    repository = github.create("tekup/public")
    repository.private = False
    repository.commit({"a.md": "public\n"})
    source = Source(start(), github, "tekup/public")
    source.config.pop("tokenEnv")
    source.put()
    source.sync()
    assert source.contents() == {"a.md": "public\n"}
    assert "Without a token" in source.test().json["report"]


@pytest.mark.parametrize("config, field", [
    ({"branches": []}, "config.branches"), ({"branches": ["a..b"]}, "config.branches"),
    ({"branches": "main"}, "config.branches"), ({"maxBytes": 0}, "config.maxBytes"),
    ({"include": ["a\nb"]}, "config.include"), ({"baseUrl": "ftp://x"}, "config.baseUrl"),
    ({"baseUrl": "https://u:p@x"}, "config.baseUrl"), ({"tokenEnv": "A-B"}, "config.tokenEnv"),
    ({"tokenFile": "relative"}, "config.tokenFile"), ({"token": "ghp_x"}, "config.token"),
    ({"tokenEnv": "A", "tokenFile": "/b"}, "config.tokenFile")])
def test_settings_that_are_refused(daemon, config, field):
    reply = daemon.client.put("/v1/sources", {"source": "github", "repository": "a/b", "config": config})
    assert reply.status == 400 and reply.json["error"]["field"] == field, reply


@pytest.mark.parametrize("name", ["x", "a/b/c", "a/", "/b", "../x", "a/..", "a b/c", "a/b?c", "a/b#", "ä/b"])
def test_names_that_are_refused(daemon, name):
    reply = daemon.client.put("/v1/sources", {"source": "github", "repository": name, "config": {}})
    assert reply.status == 400 and reply.json["error"]["field"] == "repository", reply


def test_limits_are_waited_out_visibly(start, github):
    repository = github.create("tekup/busy")
    repository.commit(FILES)
    daemon = start()
    source = Source(daemon, github, "tekup/busy")
    github.exhaust(6)
    daemon.request_sync("tekup/busy", "github")
    assert "GitHub's rate limit" in daemon.wait_waiting("tekup/busy", "github")["waitsFor"]
    assert daemon.wait_synced("tekup/busy", "github")["status"] == "success"
    repository.commit({"a.md": "more\n"})
    github.fail(times=1, answer=answer(403, {"message": "You have exceeded a secondary rate limit."},
                                       {"Retry-After": "1"}))
    item = source.sync()
    assert item["last"]["failed"] == 0
    assert source.contents()["a.md"] == "more\n"
    # As proxies in front of a GitHub Enterprise Server say it: in other words, and with a date.
    repository.commit({"a.md": "still more\n"})
    github.forget()
    github.fail(times=1, answer=answer(429, "<h1>Too Many Requests</h1>", {"Retry-After": date_in(3)}))
    assert source.sync()["status"] == "success"
    assert source.contents()["a.md"] == "still more\n"
    first, second = github.requests[:2]
    assert 2.5 < second.time - first.time < 10


def test_a_tarball_that_is_cut_is_no_content(start, github):
    repository = github.create("tekup/cut")
    # Random, so that it does not shrink.
    files = {f"{number}.md": os.urandom(3000).hex() for number in range(50)}
    repository.commit(files)
    daemon = start()
    source = Source(daemon, github, "tekup/cut")
    github.codeload.fail(cut=50000)
    item = source.sync("error")
    assert "tarball" in item["errorMessage"], item
    github.codeload.mend()
    github.codeload.fail(answer=answer(200, b"not a tarball at all"))
    assert "tarball" in source.sync("error")["errorMessage"]
    assert source.contents() == {}
    github.codeload.mend()
    github.codeload.fail(cut=50000, times=1)
    source.sync()
    assert source.contents() == files
    assert len(github.codeload.requests) == 2 and source.calls().get("/blobs") is None


def blobs(request):
    return "/git/blobs/" in request.path


def test_what_goes_away_in_the_middle_is_not_taken_for_deleted(start, github):
    repository = github.create("tekup/middle")
    repository.commit({"a.md": "a\n", "b.md": "b\n"})
    source = Source(start(), github, "tekup/middle", maxBytes=20)
    source.sync()
    repository.commit({"a.md": "a changed\n", "b.md": "b changed\n"})
    for status in (401, 403, 404, 451):
        github.fail(blobs, answer=answer(status, {"message": "It is not to be had any more, by anybody"}))
        item = source.sync("error")
        assert str(status) in item["errorMessage"], item
        assert item["last"]["deleted"] == 0 and source.contents() == {"a.md": "a\n", "b.md": "b\n"}
        github.mend()
    # What is not the content that the tree names is not taken in.
    github.fail(blobs, answer=answer(200, "<html>"))
    assert "not its content" in source.sync("error")["errorMessage"]
    github.mend()
    github.fail(blobs, cut=3, times=1)
    github.fail(blobs, times=1, answer=answer(403, {"message": "You have exceeded a secondary rate limit."},
                                              {"Retry-After": "1"}))
    source.sync()
    assert source.contents() == {"a.md": "a changed\n", "b.md": "b changed\n"}


def test_names_that_git_allows_and_the_vault_does_not(start, github):
    repository = github.create("tekup/names")
    repository.commit({"good.md": "good\n", "tab\there.md": "tab\n", "line\nhere.md": "line\n", "naïve €.md": "é\n"})
    source = Source(start(), github, "tekup/names")
    item = source.sync()
    assert item["last"]["skipped"]["binary"] == 2 and item["last"]["failed"] == 0
    assert source.contents() == {"good.md": "good\n", "naïve €.md": "é\n"}
    assert source.documents()["naïve €.md"]["metadata"]["url"].endswith("/blob/main/na%C3%AFve%20%E2%82%AC.md")


def test_many_copies_of_a_file_and_branches_that_share_most(start, github):
    repository = github.create("tekup/copies")
    files = {f"{number}/LICENSE": "the same everywhere\n" for number in range(50)}
    repository.commit(files)
    repository.commit({"only.md": "on next\n"}, branch="next")
    source = Source(start(), github, "tekup/copies", branches=["main", "next"])
    source.sync()
    assert source.calls() == {"repository": 1, "/commits": 2, "/trees": 2, "/tarball": 1, "/blobs": 1}
    assert source.contents() == {**{f"main/{path}": text for path, text in files.items()},
                                 **{f"next/{path}": text for path, text in files.items()},
                                 "next/only.md": "on next\n"}


def test_a_hostile_tarball_harms_nobody(start, github, tmp_path):
    repository = github.create("tekup/hostile")
    repository.commit({"a.md": "wanted\n", "b.md": "wanted too\n"})
    outside = tmp_path / "outside"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        def add(name, content=b"evil\n", **about):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in about.items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(content))
        add("../../../../../../../.." + str(outside))
        add(str(outside))
        add("x/link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("x/hard", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add("x/device", b"", type=tarfile.CHRTYPE)
        add("x/zeros", bytes(30_000_000))
        add("anything", b"wanted\n")
    github.codeload.fail(answer=answer(200, packed.getvalue()))
    source = Source(start(), github, "tekup/hostile")
    source.sync()
    assert source.contents() == {"a.md": "wanted\n", "b.md": "wanted too\n"}
    assert source.calls()["/blobs"] == 1, "what the tarball has not comes by itself"
    assert not outside.exists()


def test_killed_in_the_middle_it_ends_the_same(start, github):
    repository = github.create("tekup/killed")
    files = {f"{number}.md": f"text {number} " * 50 for number in range(300)}
    repository.commit(files)
    daemon = start()
    source = Source(daemon, github, "tekup/killed")
    github.codeload.fail(trickle=0.02, times=1)
    daemon.request_sync("tekup/killed", "github")
    wait_for(lambda: github.codeload.requests, "the download")
    daemon.kill()
    daemon.start()
    daemon.request_sync("tekup/killed", "github")
    wait_for(lambda: len(daemon.client.documents()) > 20, "documents")
    daemon.kill()
    daemon.start()
    source.sync()
    assert source.contents() == files
    began = time.monotonic()
    source.sync()
    assert [request.status for request in github.requests] == [304, 304]
    assert time.monotonic() - began < 60
