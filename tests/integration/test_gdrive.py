"""The gdrive source: Google Drive becomes documents and stays the same as them, with few calls."""

import json
import random
import zlib

import pytest

from daemon import wait_for
from fakes.drive import DOCUMENT, FOLDER, SHEET, SLIDES, Drive, error
from fakes.service import answer, date_in


def make_pdf(text, trailer="", pages=1):
    """A PDF file whose pages each show the text in Helvetica, compressed as real ones are."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(pages))
    parts = ["<< /Type /Catalog /Pages 2 0 R >>".encode(),
             f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
             b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for number in range(pages):
        shown = f"BT /F1 12 Tf 50 700 Td ({text} {number + 1}) Tj ET".encode()
        stream = zlib.compress(shown)
        parts.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {5 + 2 * number} 0 R "
                     "/Resources << /Font << /F1 3 0 R >> >> >>".encode())
        parts.append(b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    pdf, offsets = b"%PDF-1.5\n", []
    for number, part in enumerate(parts):
        offsets.append(len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number + 1, part)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    return pdf + (f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer\n"
                  f"<< /Size {len(parts) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(pdf)}\n%%EOF\n").encode()


ENCRYPTED = ("/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] /Encrypt "
             f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{bytes(range(32)).hex()}> /U <{bytes(range(32)).hex()}> >>")


@pytest.fixture
def drive():
    with Drive() as drive:
        yield drive


class Source:
    def __init__(self, daemon, drive, repository, key, config):
        self.daemon, self.drive, self.repository = daemon, drive, repository
        self.config = {"keyFile": str(key), "baseUrl": drive.url, **config}
        answer = self.put(self.config)
        assert answer.status in (200, 201), answer

    def put(self, config):
        return self.daemon.client.put("/v1/sources", {
            "source": "gdrive", "repository": self.repository, "config": config, "intervalSeconds": 0})

    def sync(self, status="success"):
        """Syncs, and leaves only this sync's requests in the log."""
        self.drive.forget()
        item = self.daemon.sync(self.repository, "gdrive")
        assert item["status"] == status, item
        return item

    def paths(self):
        return sorted(d["path"] for d in
                      self.daemon.client.documents(source="gdrive", repository=self.repository))

    def read(self, path):
        found = self.daemon.client.get("/v1/documents/by-path", source="gdrive",
                                       repository=self.repository, path=path)
        assert found.status == 200, (path, found, self.paths())
        return found.json

    def state(self):
        return {path: self.read(path)["content"] for path in self.paths()}

    def downloads(self):
        return self.drive.count("alt=media") + self.drive.count("/export")


@pytest.fixture
def source(daemon, drive, request, tmp_path):
    """Makes the source of a repository with the test's name."""
    def make(**config):
        return Source(daemon, drive, request.node.name, drive.write_key(tmp_path), config)

    return make


# ---- What is taken in ----


def test_each_kind_of_file(drive, source):
    folder = drive.folder("Handbook")
    doc = drive.doc("Welcome", "\ufeff# Welcome\n\nTo *all*.\n", folder)
    drive.make("Prices", SHEET, folder, exports={"text/csv": "item,price\r\ntea,3\r\n"})
    drive.make("Talk", SLIDES, folder, exports={"text/plain": "First slide\nSecond slide\n"})
    drive.make("Old form", DOCUMENT, folder, exports={"text/plain": "no Markdown here\n"})
    drive.text("rules.pdf", make_pdf("Rules of the house", pages=3), folder, mime="application/pdf")
    drive.text("notes.md", "# Notes\n", mime="text/markdown")
    drive.text("data.json", '{"a": 1}\n', mime="application/json")
    drive.text("from a camera.txt", "named as text\n", mime="application/octet-stream")
    made = source()
    made.sync()
    assert made.state() == {
        "Handbook/Welcome": "# Welcome\n\nTo *all*.\n",
        "Handbook/Prices": "item,price\r\ntea,3\r\n",
        "Handbook/Talk": "First slide\nSecond slide\n",
        "Handbook/Old form": "no Markdown here\n",
        "Handbook/rules.pdf": "Rules of the house 1\n\nRules of the house 2\n\nRules of the house 3\n",
        "notes.md": "# Notes\n", "data.json": '{"a": 1}\n', "from a camera.txt": "named as text\n",
    }
    metadata = made.read("Handbook/Welcome")["metadata"]
    assert metadata["fileId"] == doc and metadata["mimeType"] == DOCUMENT
    assert metadata["url"] == drive.files[doc]["webViewLink"]
    assert metadata["owners"] == ["ann@example.com"] and metadata["modifiedTime"].startswith("2026-")


def test_what_is_skipped_is_counted_with_its_reason(drive, source, daemon):
    drive.text("good.txt", "text")
    drive.text("picture.png", b"\x89PNG", mime="image/png")
    drive.text("locked.pdf", make_pdf("hidden", ENCRYPTED), mime="application/pdf")
    drive.text("broken.pdf", b"%PDF-1.4 and nothing", mime="application/pdf")
    drive.text("scan.pdf", make_pdf("", pages=0), mime="application/pdf")
    drive.text("empty.txt", "")
    drive.text("latin.txt", "Smørrebrød".encode("latin-1"))
    drive.text("nul.txt", b"text\0more")
    drive.text("long.txt", "x" * 300_000)
    drive.doc("huge", "x" * (10 * 1024 * 1024 + 1))
    drive.doc("secret", "no copies", capabilities={"canDownload": False})
    drive.make("Form", "application/vnd.google-apps.form")
    drive.make("Odd", SHEET, exports={})
    made = source(maxBytes=200_000)
    item = made.sync()
    assert made.paths() == ["good.txt", "latin.txt"]
    assert made.read("latin.txt")["content"] == "Smørrebrød"
    skipped = {name: count for name, count in item["last"]["skipped"].items() if count}
    assert skipped.get("unsupported") >= 4 and skipped["too_large"] == 2
    assert skipped["binary"] == 1 and skipped["unreadable"] == 1
    assert 'reason="encrypted"' in daemon.log() and 'reason="damaged"' in daemon.log()


def test_names_that_no_path_can_have_and_names_that_repeat(drive, source):
    first = drive.text("Plan.md", "first")
    second = drive.text("Plan.md", "second")
    folder = drive.folder("a/b\x07")
    drive.text("..", "dots", folder)
    again = drive.folder("a/b\x07")
    drive.text("x.txt", "in the second folder", again)
    made = source()
    made.sync()
    paths = {made.read(path)["metadata"]["fileId"]: path for path in made.paths()}
    assert paths[first] == "Plan.md"
    assert paths[second].startswith("Plan (") and paths[second].endswith(").md")
    assert "a_b_/__" in made.paths()
    assert sum(path.startswith("a_b_ (") and path.endswith("/x.txt") for path in made.paths()) == 1
    drive.trash(first)
    made.sync()
    assert made.downloads() == 0
    assert paths[second] in made.paths() and "Plan.md" not in made.paths()


def test_shortcuts_are_followed_once(drive, source):
    chosen, away = drive.folder("Chosen"), drive.folder("Away")
    inside = drive.text("inside.txt", "inside", chosen)
    outside = drive.text("outside.txt", "outside", away)
    deep = drive.folder("Deep", away)
    drive.text("below.txt", "below", deep)
    drive.shortcut("to inside", inside, chosen)
    drive.shortcut("to outside", outside, chosen)
    drive.shortcut("to outside too", outside, chosen)
    drive.shortcut("to deep", deep, chosen)
    drive.shortcut("circle", chosen, deep)
    drive.shortcut("self", deep, deep)
    lost = drive.text("lost.txt", "lost", away)
    drive.shortcut("to nothing", lost, chosen)
    drive.delete(lost)
    made = source(folders=[chosen])
    made.sync()
    assert made.state() == {"Chosen/inside.txt": "inside", "Chosen/to outside": "outside",
                            "Chosen/to deep/below.txt": "below"}
    made.sync()
    assert len(drive.requests) == 2  # token and feed
    drive.edit(outside, "outside, changed")
    drive.text("new.txt", "new", deep)
    made.sync()
    assert made.state() == {"Chosen/inside.txt": "inside", "Chosen/to outside": "outside, changed",
                            "Chosen/to deep/below.txt": "below", "Chosen/to deep/new.txt": "new"}
    drive.trash(deep)
    made.sync()
    assert made.paths() == ["Chosen/inside.txt", "Chosen/to outside"]


def test_shared_drives_and_folders(drive, source):
    sales = drive.add_drive("Sales")
    other = drive.add_drive("Other")
    area = drive.folder("Area", sales)
    price = drive.text("price.txt", "1", area)
    drive.text("other.txt", "other", other)
    drive.text("mine.txt", "mine")
    made = source(drives=[sales])
    made.sync()
    assert made.paths() == ["Sales/Area/price.txt"]
    drive.edit(price, "2")
    drive.rename_drive(sales, "Sold")
    made.sync()
    assert made.state() == {"Sold/Area/price.txt": "2"}
    assert made.put({**made.config, "drives": "all", "myDrive": True}).status == 200
    made.sync()
    assert made.paths() == ["Other/other.txt", "Sold/Area/price.txt", "mine.txt"]
    made.sync()
    assert made.downloads() == 0 and len(drive.requests) == 5  # token, drives, and the feed of each corpus
    third = drive.add_drive("Third")
    drive.text("third.txt", "third", third)
    with drive.lock:
        del drive.drives[other]
    made.sync()
    assert made.paths() == ["Sold/Area/price.txt", "Third/third.txt", "mine.txt"]
    del made.config["drives"]
    assert made.put({**made.config, "folders": [area]}).status == 200
    made.sync()
    assert made.paths() == ["Area/price.txt"]


def test_a_folder_of_a_shared_drive_that_the_account_is_no_member_of(drive, source):
    folder = drive.folder("Shared by itself", None, driveId="0ASomebodys")
    drive.text("x.txt", "x", folder)
    drive.text("else.txt", "else", None, driveId="0ASomebodys")
    made = source(folders=[folder])
    made.sync()
    assert made.state() == {"Shared by itself/x.txt": "x"}
    drive.text("y.txt", "y", folder)
    made.sync()
    assert made.paths() == ["Shared by itself/x.txt", "Shared by itself/y.txt"]
    drive.trash(folder)
    made.sync()
    assert made.paths() == []


# ---- Staying the same ----


def test_nothing_changed_costs_two_calls(drive, source):
    for number in range(30):
        drive.doc(f"d{number}", f"text {number}")
    seen = drive.text("seen.txt", "seen")
    drive.page = 10
    made = source()
    item = made.sync()
    assert item["last"]["written"] == 31
    assert made.downloads() == 31 and drive.count("/drive/v3/files?") == 4
    assert drive.count("/token") == 1
    item = made.sync()
    assert item["last"]["unchanged"] == 31 and item["last"]["embedded"] == 0
    assert [r.path for r in drive.requests] == ["/token", "/drive/v3/changes"]
    drive.view(seen)  # an entry that says what we know
    item = made.sync()
    assert made.downloads() == 0 and item["last"]["unchanged"] == 31
    drive.edit(seen, "seen again")
    item = made.sync()
    assert item["last"]["written"] == 1 and item["last"]["unchanged"] == 30
    assert len(drive.requests) == 3 and made.downloads() == 1  # token, feed, file
    assert made.read("seen.txt")["content"] == "seen again"


def test_moves_renames_trash_and_removal(drive, source):
    a, b = drive.folder("A"), drive.folder("B")
    sub = drive.folder("sub", a)
    one = drive.text("one.txt", "one", sub)
    two = drive.text("two.txt", "two", a)
    made = source()
    made.sync()
    assert made.paths() == ["A/sub/one.txt", "A/two.txt"]
    drive.rename(a, "Alpha")
    drive.move(two, b)
    item = made.sync()
    assert made.paths() == ["Alpha/sub/one.txt", "B/two.txt"]
    assert item["last"]["embedded"] == 0  # the same texts
    drive.move(sub, b)
    made.sync()
    assert made.paths() == ["B/sub/one.txt", "B/two.txt"]
    drive.trash(b)
    made.sync()
    assert made.paths() == []
    drive.trash(b, False)
    made.sync()
    assert made.paths() == ["B/sub/one.txt", "B/two.txt"]
    drive.trash(two)
    made.sync()
    assert made.paths() == ["B/sub/one.txt"]
    drive.delete(b)
    made.sync()
    assert made.paths() == [] and one not in drive.files


def test_what_moves_into_a_chosen_folder_and_out_of_it(drive, source):
    chosen, away = drive.folder("Chosen"), drive.folder("Away")
    inner = drive.folder("Inner", away)
    drive.text("x.txt", "x", drive.folder("Deeper", inner))
    drive.text("y.txt", "y", chosen)
    made = source(folders=[chosen])
    made.sync()
    assert made.paths() == ["Chosen/y.txt"]
    drive.move(inner, chosen)
    made.sync()
    assert made.paths() == ["Chosen/Inner/Deeper/x.txt", "Chosen/y.txt"]
    drive.move(inner, away)
    made.sync()
    assert made.paths() == ["Chosen/y.txt"]
    drive.trash(chosen)
    made.sync()
    assert made.paths() == []
    drive.forgotten = next(drive.number)  # listed anew while it is in the trash
    made.sync()
    assert made.paths() == []
    drive.trash(chosen, False)
    made.sync()
    assert made.paths() == ["Chosen/y.txt"]


def test_access_that_is_lost_to_a_folder_but_not_to_a_file_below(drive, source):
    folder = drive.folder("Shared", None)
    kept = drive.text("kept.txt", "kept", folder)
    drive.text("lost.txt", "lost", folder)
    made = source()
    made.sync()
    assert made.paths() == ["Shared/kept.txt", "Shared/lost.txt"]
    drive.withdraw(folder, but=(kept,))
    made.sync()
    assert made.paths() == ["kept.txt"]


def test_a_query_of_several_folders_that_forgets_some(drive, source):
    chosen = drive.folder("F")
    for number in range(60):
        drive.text("x.txt", f"{number}", drive.folder(f"{number:02d}", chosen))
    made = source(folders=[chosen])
    made.sync()
    assert len(made.paths()) == 60 and drive.count("/drive/v3/files?") == 3
    drive.forgetful = True
    drive.forgotten = next(drive.number)
    made.sync()
    assert len(made.paths()) == 60 and made.downloads() == 0


def test_several_parents_are_one_document(drive, source):
    a, b = drive.folder("A"), drive.folder("B")
    drive.text("x.txt", "x", (b, a))
    made = source()
    made.sync()
    assert made.paths() == ["A/x.txt"]


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_page_token_that_is_not_known_any_more(drive, source, status):
    keep, lose = drive.text("keep.txt", "keep"), drive.text("lose.txt", "lose")
    twin = drive.text("keep.txt", "twin")
    made = source()
    made.sync()
    before = made.paths()
    drive.delete(lose)
    drive.delete(keep)
    drive.text("new.txt", "new")
    drive.forgotten, drive.forgotten_status = next(drive.number), status
    made.sync()
    assert made.paths() == sorted(set(before) - {"keep.txt", "lose.txt"} | {"new.txt"})
    assert made.downloads() == 1
    assert twin in drive.files


def test_a_file_that_changes_while_it_is_listed(drive, source):
    files = [drive.text(f"{number}.txt", f"{number}") for number in range(25)]
    drive.page = 10
    handle = drive.handle

    def mischief(request):
        given = handle(request)
        if request.path == "/drive/v3/files" and request.query.get("pageToken") == "~10":
            drive.delete(files[20])  # which shifts the pages: one is shown on none of them
            drive.text("late.txt", "late")
        return given

    drive.handle = mischief
    made = source()
    made.sync()
    assert "late.txt" in made.paths() and "20.txt" not in made.paths()
    drive.handle = handle
    made.sync()
    assert made.paths() == sorted(f["name"] for f in drive.files.values())


def test_interrupted_at_random_and_run_again(drive, make_daemon, tmp_path):
    for number in range(40):
        drive.doc(f"d{number}", f"text {number}\n")
    daemon = make_daemon()
    daemon.start()
    made = Source(daemon, drive, "crash", drive.write_key(tmp_path), {})
    seed = random.Random(6)
    for _ in range(20):
        drive.forget()
        daemon.request_sync("crash", "gdrive")
        enough = seed.randrange(1, 15)
        wait_for(lambda: made.downloads() >= enough or
                 daemon.sync_item("crash", "gdrive")["progress"] is None, "some downloads")
        daemon.kill()
        daemon.start()
    made.sync()
    assert made.state() == {f"d{number}": f"text {number}\n" for number in range(40)}
    assert daemon.counts()[0] == 40


# ---- Errors ----


def test_a_token_that_expires_in_the_middle(drive, source, daemon):
    for number in range(20):
        drive.text(f"{number}.txt", f"{number}")
    handle = drive.handle
    served = []

    def expire(request):
        if request.query.get("alt") == "media":
            served.append(request)
            if len(served) == 7:
                drive.expire_tokens()
        return handle(request)

    drive.handle = expire
    made = source()
    made.sync()
    assert len(made.paths()) == 20
    assert drive.count("/token") == 2  # however many threads were refused
    drive.handle = handle
    assert "ya29." not in daemon.log()


def test_a_token_that_lives_shortly_is_renewed_in_time(drive, source):
    for number in range(10):
        drive.text(f"{number}.txt", f"{number}")
    drive.life = 4
    drive.fail(lambda request: request.query.get("alt") == "media", times=4, delay=2.5)
    made = source()
    made.sync()
    assert len(made.paths()) == 10
    assert not [request for request in drive.requests if request.status == 401]


def test_rate_limits_faults_and_cut_connections(drive, source):
    for number in range(12):
        drive.text(f"{number}.txt", f"{number} " * 2000)
    media = lambda request: request.query.get("alt") == "media"  # noqa: E731
    drive.fail(media, times=1, answer=error(403, "userRateLimitExceeded", "User Rate Limit Exceeded."))
    drive.fail(media, times=1, answer=error(429, "rateLimitExceeded", "Rate", {"Retry-After": "1"}))
    drive.fail(media, times=1, answer=error(503, "backendError", "Backend Error", {"Retry-After": "1"}))
    drive.fail(media, times=1, cut=1000)
    drive.fail(lambda request: request.path == "/drive/v3/files", times=1,
               answer=error(500, "internalError", "Internal Error"))
    made = source()
    made.sync()
    assert len(made.paths()) == 12
    assert all(text == f"{path[:-4]} " * 2000 for path, text in made.state().items())
    drive.forget()
    files = lambda request: request.path.startswith("/drive/")  # noqa: E731
    drive.fail(files, times=1, answer=error(403, "userRateLimitExceeded", "User Rate Limit Exceeded.",
                                            {"Retry-After": date_in(4)}))
    made.sync()
    first, second = list(filter(files, drive.requests))[:2]
    assert second.time - first.time > 3.5, "until the date that it said"


def test_one_file_that_drive_cannot_give_does_not_stop_the_others(drive, source, daemon):
    bad = drive.text("bad.txt", "bad")
    drive.text("good.txt", "good")
    drive.fail(lambda request: bad in request.path,
               answer=error(403, "cannotDownloadAbusiveFile", "This file has been identified as malware."))
    ugly = drive.doc("ugly", "ugly")
    drive.fail(lambda request: ugly in request.path,
               answer=error(500, "internalError", "Internal Error", {"Retry-After": "0"}))
    made = source()
    made.sync()
    assert made.paths() == ["good.txt"]
    assert daemon.sync_item(made.repository, "gdrive")["last"]["skipped"]["unreadable"] == 2
    assert "identified as malware" in daemon.log()


def test_a_listing_that_is_not_whole_deletes_nothing(drive, source, daemon):
    for number in range(30):
        drive.text(f"{number}.txt", f"{number}")
    drive.page = 10
    made = source()
    made.sync()
    drive.forgotten = next(drive.number) + 1000
    broken = [error(403, "insufficientPermissions", "Insufficient Permission"),
              answer(200, b'{"files": [', {"Content-Type": "application/json"}),
              answer(200, b"[" * 100_000), answer(200, {"files": [], "incompleteSearch": True})]
    for fault in broken:
        given = drive.fail(lambda request: request.query.get("pageToken") == "~10", answer=fault)
        made.sync("error")
        drive.faults.remove(given)
        assert len(made.paths()) == 30
    drive.forgotten = 0
    made.sync()


def test_what_is_wrong_with_the_credentials_is_said(drive, source, daemon, tmp_path):
    drive.text("x.txt", "x")
    made = source()
    made.sync()

    def refused(*words, **config):
        assert made.put({**made.config, **config}).status == 200
        message = made.sync("error")["errorMessage"]
        assert all(word in message for word in words), message
        return message

    refused("domain-wide delegation", subject="boss@example.com")
    other = tmp_path / "other"
    other.mkdir()
    with Drive(number=1) as stranger:
        key = json.loads(stranger.write_key(other).read_text())
        key["token_uri"] = f"{drive.url}/token"
        (other / "key.json").write_text(json.dumps(key))
    refused("make a new key", "Invalid JWT Signature", keyFile=str(other / "key.json"))
    refused("is not there", "no member", drives=["0ANothing"])
    refused("not there, or not shared", folders=["1nothing"])
    drive.fail(lambda request: request.path.startswith("/drive"),
               answer=error(403, "accessNotConfigured", "Drive API has not been used in project 1 before"))
    refused("Drive API is not enabled")
    drive.mend()
    assert made.paths() == ["x.txt"]
    with open(drive.private) as pem:
        assert pem.read().splitlines()[3] not in daemon.log()


def test_testing_a_source_says_what_it_sees_and_what_is_wrong(drive, source, client):
    made = source()

    def test(**config):
        drive.forget()
        return client.post("/v1/sources/test", {"source": "gdrive", "repository": made.repository,
                                                "config": {**made.config, **config}})

    given = test()
    assert given.status != 200 and f"share a folder with {drive.EMAIL}" in given.error["message"]
    folder, sales = drive.folder("Handbook"), drive.add_drive("Sales")
    file = drive.text("x.txt", "x")
    given = test()
    assert given.status == 200, given
    assert drive.EMAIL in given.json["report"] and "Sees 2 files and folders" in given.json["report"]
    given = test(drives=[sales], folders=[folder])
    assert given.status == 200 and 'the shared drive "Sales"' in given.json["report"]
    assert 'the folder "Handbook"' in given.json["report"] and len(drive.requests) == 4
    assert "member of 1 shared drive: Sales." in test(drives="all").json["report"]
    given = test(folders=["1nothing"])
    assert given.status != 200 and f"share it with {drive.EMAIL}" in given.error["message"]
    given = test(drives=["0ANothing"])
    assert given.status != 200 and f"make {drive.EMAIL} a member" in given.error["message"]
    assert "is a file, not a folder" in test(folders=[file]).error["message"]
    drive.trash(folder)
    assert "is in the trash" in test(folders=[folder]).error["message"]
    assert "domain-wide delegation" in test(subject="boss@example.com").error["message"]
    drive.fail(lambda request: "/about" in request.path,
               answer=error(403, "insufficientPermissions", "Insufficient Permission"))
    assert "drive.readonly" in test().error["message"]


def test_a_clock_that_is_wrong_is_corrected_by_the_servers(drive, source):
    drive.text("x.txt", "x")
    drive.skew = 7200
    made = source()
    made.sync()
    assert made.paths() == ["x.txt"] and drive.count("/token") == 2


def test_settings_that_are_wrong_are_refused(drive, source, daemon, tmp_path):
    made = source()
    for config, field in [({"keyFile": "/nowhere.json"}, "config.keyFile"), ({}, "config.keyFile"),
                          ({"keyFile": made.config["keyFile"], "drives": 3}, "config.drives"),
                          ({"clientId": "x", "clientSecretEnv": "NOT_SET_AT_ALL",
                            "refreshTokenEnv": "NOT_SET_AT_ALL"}, "config.clientSecretEnv")]:
        answer = made.put(config)
        assert answer.status == 400 and answer.error["field"] == field, answer
    (tmp_path / "key.json").chmod(0o644)
    answer = made.put(made.config)
    assert answer.status == 400 and "chmod 600" in answer.error["message"]


def test_a_refresh_token(drive, make_daemon):
    drive.text("x.txt", "x")
    daemon = make_daemon(environment={"DRIVE_SECRET": drive.CLIENT_SECRET, "DRIVE_TOKEN": drive.REFRESH_TOKEN})
    daemon.start()
    config = {"clientId": drive.CLIENT, "clientSecretEnv": "DRIVE_SECRET", "refreshTokenEnv": "DRIVE_TOKEN",
              "baseUrl": drive.url, "tokenUrl": drive.url + "/token"}
    body = {"source": "gdrive", "repository": "person", "config": config, "intervalSeconds": 0}
    assert daemon.client.put("/v1/sources", body).status == 201
    item = daemon.sync("person", "gdrive")
    assert item["status"] == "success" and item["documentCount"] == 1
    drive.REFRESH_TOKEN = "1//another"
    drive.expire_tokens()
    item = daemon.sync("person", "gdrive")
    assert item["status"] == "error" and "sign in again" in item["errorMessage"]
    assert "hush" not in daemon.log() and "hush" not in json.dumps(item)
