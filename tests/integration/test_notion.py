"""The notion source: pages become documents and stay the same as them, with few calls."""

import datetime
import hashlib
import random

import pytest

from daemon import wait_for
from fakes.notion import Notion, block, copy_of, heading, item, rich, text
from fakes.openai import OpenAI
from fakes.service import answer, date_in


@pytest.fixture
def notion():
    with Notion() as notion:
        yield notion


class Source:
    def __init__(self, daemon, notion, name="wiki", **config):
        self.daemon, self.notion, self.name = daemon, notion, name
        self.config = notion.config(**config)
        assert self.put().status in (200, 201)

    def put(self, **config):
        self.config.update(config)
        return self.daemon.client.put("/v1/sources", {
            "source": "notion", "repository": self.name, "config": self.config, "intervalSeconds": 0})

    def sync(self, status="success"):
        self.notion.forget()
        item = self.daemon.sync(self.name, "notion")
        assert item["status"] == status, item
        return item

    def documents(self):
        found = self.daemon.client.documents(source="notion", repository=self.name)
        return {d["path"]: self.daemon.client.get(f"/v1/documents/{d['id']}").json for d in found}

    def contents(self):
        return {path: document["content"] for path, document in self.documents().items()}

    def test(self):
        return self.daemon.client.post("/v1/sources/test", {
            "source": "notion", "repository": self.name, "config": self.config})


@pytest.fixture
def start(make_daemon, notion):
    def make(token=notion.token):
        return make_daemon(environment={"TEST_NOTION_TOKEN": token}).start()
    return make


def test_pages_and_their_paths(start, notion):
    home = notion.page("Handbook", [text("Welcome.")])
    day = notion.page("First day", [heading(1, "Morning"), text("Coffee.")], parent=home)
    base = notion.page("Teams", database=True, parent=home)
    notion.page("Night shift", [text("Owls.")], parent=base, properties={
        "Lead": {"type": "people", "people": [{"name": "Ann"}]}, "Size": {"type": "number", "number": 7},
        "Tags": {"type": "multi_select", "multi_select": [{"name": "a"}, {"name": "b"}]},
        "Empty": {"type": "rich_text", "rich_text": []}, "When": {"type": "date", "date": {"start": "2026-01-02", "end": None}},
        "Done": {"type": "checkbox", "checkbox": False},
        "Sum": {"type": "formula", "formula": {"type": "number", "number": 3}}})
    inside = notion.page("In a column", [text("Found.")],
                         parent=next(iter(notion.blocks)))  # a block of the first page
    notion.page("A/B\n..", [text("odd")])
    notion.page("", [text("without a title")])
    notion.page("Twins", [text("one")], parent=home)
    notion.page("Twins", [text("two")], parent=home)
    hidden = notion.page("Secret", [text("no")])
    hidden.shared = False
    notion.page("Below a secret", [text("seen")], parent=hidden)
    source = Source(start(), notion)
    item = source.sync()
    contents = source.contents()
    twins = sorted(path for path in contents if "Twins" in path)
    assert set(contents) == {"Handbook", "Handbook/First day", "Handbook/Teams/Night shift", "Handbook/In a column",
                             "A-B ..", "Untitled", "Below a secret", *twins}
    assert twins[0] == "Handbook/Twins" and contents[twins[0]].endswith("one\n")
    assert len(twins) == 2 and len(twins[1]) == len("Handbook/Twins (12345678)")
    assert contents["Handbook/First day"] == "# First day\n\n## Morning\n\nCoffee.\n"
    row = source.documents()["Handbook/Teams/Night shift"]["metadata"]
    assert row["properties"] == {"Lead": ["Ann"], "Size": 7, "Tags": ["a", "b"], "When": {"start": "2026-01-02"},
                                 "Done": False, "Sum": 3}
    assert row["url"].startswith("https://www.notion.so/") and row["pageId"] and row["lastEdited"]
    assert item["last"]["failed"] == 0
    assert notion.count("/children") == 9 and notion.count("/v1/search") == 1
    # Nothing changed: a call for the listing. Where the block is that a page is in, is known.
    item = source.sync()
    assert len(notion.requests) == 1 and item["last"]["written"] == 0, notion.requests
    # A parent that is renamed moves what is below; nothing is embedded again.
    home.title = "Guide"
    notion.touch(home)
    item = source.sync()
    assert "Guide/First day" in source.contents() and "Handbook/First day" not in source.contents()
    assert item["last"]["embedded"] <= 1, item
    # One page edited, one put into the trash, and back.
    notion.write(day, [text("Tea.")])
    inside.trashed = True
    item = source.sync()
    assert item["last"]["written"] == 1 and item["last"]["deleted"] == 1, item
    assert notion.count("/children") == 1
    assert source.contents()["Guide/First day"] == "# First day\n\nTea.\n"
    inside.trashed = False
    source.sync()
    assert "Guide/In a column" in source.contents()


def test_every_kind_of_block(start, notion):
    bold = [rich("plain "), rich("bold", bold=True), rich(" and "), rich(" spaced ", italic=True), rich("x", code=True),
            rich("gone", strikethrough=True), rich("here", href="https://example.com/"), rich("page", href="/abc")]
    bold.append({"type": "equation", "equation": {"expression": "a^2"}, "plain_text": "a^2", "annotations": {}})
    bold.append({"type": "mention", "mention": {"type": "user"}, "plain_text": "@Ann", "annotations": {}})
    cells = [[[rich("a")], [rich("b|c")]], [[rich("1")], [rich("two\nlines")]]]
    notion.page("Kinds", [
        block("paragraph", rich_text=bold),
        heading(2, "Two", [text("inside a toggle")]),
        item("one", [item("one a", [item("deep")]), item("one b")]),
        item("two"),
        item("first", kind="numbered_list_item"), item("second", kind="numbered_list_item"),
        item("open", kind="to_do", checked=False), item("done", kind="to_do", checked=True),
        item("fold", [text("folded")], kind="toggle"),
        block("quote", [text("more of it")], rich_text=[rich("said\nso")]),
        block("callout", rich_text=[rich("careful")], icon={"type": "emoji", "emoji": "!"}),
        block("code", rich_text=[rich("int x;\nint y;")], language="c", caption=[rich("a caption")]),
        block("equation", expression="e=mc^2"), block("divider"), block("table_of_contents"),
        block("table", [block("table_row", cells=row) for row in cells], table_width=2, has_column_header=True),
        block("column_list", [block("column", [text("left")]), block("column", [text("right")])]),
        block("synced_block", [text("shared text")], synced_from=None),
        block("image", type="external", external={"url": "https://example.com/x.png"}, caption=[rich("a picture")]),
        block("file", type="file", file={"url": "https://s3/signed", "expiry_time": "x"}, name="a.zip", caption=[]),
        block("bookmark", url="https://example.com/b", caption=[]),
        block("child_page", title="Another"), block("child_database", title="Base"),
        block("link_to_page", type="page_id", page_id="11111111-2222-3333-4444-555555555555"),
        block("unsupported"), block("brand_new_kind", rich_text=[rich("kept as text")]),
    ])
    source = Source(start(), notion)
    source.sync()
    content = source.contents()["Kinds"]
    for expected in (
            "plain **bold** and  *spaced* `x`~~gone~~[here](https://example.com/)"
            "[page](https://www.notion.so/abc)$a^2$@Ann\n",
            "\n### Two\n\ninside a toggle\n", "\n- one\n    - one a\n        - deep\n    - one b\n- two\n",
            "1. first\n2. second\n", "- [ ] open\n- [x] done\n", "- fold\n\n    folded\n", "\n> said\n> so\n>\n> more of it\n",
            "\n> ! careful\n", "\n```c\nint x;\nint y;\n```\na caption\n", "\n$$e=mc^2$$\n", "\n---\n",
            "\n| a | b\\|c |\n| --- | --- |\n| 1 | two<br>lines |\n", "\nleft\n\nright\n", "\nshared text\n",
            "\n![a picture](https://example.com/x.png)\n", "\n[file: a.zip]\n", "\n<https://example.com/b>\n",
            "\n[Another](https://www.notion.so/", "\n[Base](https://www.notion.so/",
            "](https://www.notion.so/11111111222233334444555555555555)\n", "\nkept as text\n"):
        assert expected in content, (expected, content)
    assert "signed" not in content


def test_deep_long_and_many(start, notion):
    deepest = text("the very bottom")
    for level in range(300):
        deepest = item(f"level {level}", [deepest])
    notion.page("Deep", [deepest])
    notion.page("Long", [text(f"paragraph number {number}") for number in range(1050)])
    for number in range(130):
        notion.page(f"Page {number:03}", [text(f"text of {number}")])
    source = Source(start(), notion)
    source.sync()
    contents = source.contents()
    assert len(contents) == 132
    assert "the very bottom" in contents["Deep"]
    assert contents["Long"].count("paragraph number") == 1050
    assert notion.count("/v1/search") == 2
    last = source.sync()["last"]
    assert len(notion.requests) == 2 and last["unchanged"] == 132
    small = Source(source.daemon, notion, "small", maxBytes=5000)
    assert small.sync()["last"]["skipped"]["too_large"] == 2
    assert len(small.contents()) == 130


def test_titles(start, notion):
    for title in ("a/b", "..", ".", "line\nend \x01\x7f", "x" * 3000, "ä" * 300, "same", "same", "same", "😀", " spaces ",
                  "a\u2028b\u202e", '"><script>'):
        notion.page(title, [text(f"text of {title[:5]!r}")])
    source = Source(start(), notion)
    assert source.sync()["last"]["failed"] == 0
    before = source.contents()
    assert len(before) == 13, before
    assert {"a-b", "same", "😀", "spaces", "x" * 200, "ä" * 100, '"><script>'} <= set(before), before
    notion.page("same", [text("a fourth")])
    source.sync()
    after = source.contents()
    assert {path: after[path] for path in before} == before and len(after) == 14, "the others keep their paths"


def test_what_search_leaves_out_is_asked_for(start, notion):
    one = notion.page("One", [text("1")])
    base = notion.page("Base", database=True, parent=one)
    two = notion.page("Two", [text("2")], parent=base)
    source = Source(start(), notion)
    source.sync()
    one.listed = base.listed = two.listed = False
    source.sync()
    assert set(source.contents()) == {"One", "One/Base/Two"} and notion.count("/children") == 0
    two.shared = False
    source.sync()
    assert set(source.contents()) == {"One"}
    one.listed = base.listed = two.listed = two.shared = True
    source.sync()
    assert set(source.contents()) == {"One", "One/Base/Two"}
    one.trashed = True
    source.sync()
    assert source.contents() == {}, "what is below goes to the trash too"


def test_synced_blocks_are_there_once(start, notion):
    origin = "22222222-2222-4222-8222-222222222222"
    notion.page("Synced", [block("synced_block", [text("shared"), copy_of(origin)], id=origin, synced_from=None),
                           copy_of(origin), text("end")])
    notion.page("Elsewhere", [copy_of(origin)])
    source = Source(start(), notion)
    source.sync()
    assert source.contents() == {"Synced": "# Synced\n\nshared\n\nend\n", "Elsewhere": "# Elsewhere\n\nshared\n"}


def test_a_page_that_was_just_edited_is_read_again(start, notion):
    page = notion.page("Fresh", [text("first")])
    page.edited = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:00.000Z")
    minute = page.edited
    source = Source(start(), notion)
    source.sync()
    notion.write(page, [text("second, in the same minute")])
    page.edited = minute
    source.sync()
    assert "second" in source.contents()["Fresh"]


def test_roots(start, notion):
    home = notion.page("Handbook", [text("in")])
    notion.page("Child", [text("in too")], parent=home)
    base = notion.page("Base", database=True)
    notion.page("Row", [text("row")], parent=base)
    notion.page("Elsewhere", [text("out")])
    source = Source(start(), notion, roots=[f"https://www.notion.so/acme/Handbook-{home.id.replace('-', '')}?pvs=4", base.id])
    source.sync()
    assert set(source.contents()) == {"Handbook", "Handbook/Child", "Base/Row"}
    report = source.test().json["report"]
    assert '"Handbook"' in report and '"Base"' in report and "Vault" in report and "Tekup" in report


def test_what_cannot_be_read_is_said_in_words_and_deletes_nothing(start, notion):
    notion.page("Kept", [text("kept")])
    daemon = start()
    source = Source(daemon, notion)
    assert "sees 1 page or database." in source.test().json["report"]
    source.sync()

    def expect(words, test=True):
        item = source.sync("error")
        assert words in item["errorMessage"], item
        if test:
            assert words in source.test().json["error"]["message"]
        assert set(source.contents()) == {"Kept"}

    notion.token = "another"
    expect("refuses the token (401 API token is invalid.)")
    notion.token = "ntn_test5ecret"
    notion.fail(answer=notion.error(403, "restricted_resource", "Insufficient permissions"))
    expect("needs the capability to read content")
    notion.mend()
    notion.incomplete = True
    expect("does not list everything", test=False)
    notion.incomplete = False
    notion.fail(answer=answer(200, "[" * 100000))
    expect("not Notion's")
    notion.mend()
    for page in notion.pages.values():
        page.shared = False
    assert "sees no page yet" in source.test().json["error"]["message"]
    assert "ntn_test" not in daemon.log()


def test_limits_and_busy_moments_are_waited_out(start, notion):
    for number in range(5):
        notion.page(f"P{number}", [text(f"text {number}")])
    daemon = start()
    source = Source(daemon, notion)
    notion.fail(times=1, answer=notion.error(429, "rate_limited", "slow down", {"Retry-After": "5"}))
    daemon.request_sync("wiki", "notion")
    assert "Notion's rate limit" in daemon.wait_waiting("wiki", "notion")["waitsFor"]
    assert daemon.wait_synced("wiki", "notion")["status"] == "success"
    for status, code in ((409, "conflict_error"), (529, "service_overload"), (503, "service_unavailable")):
        notion.fail(times=1, answer=notion.error(status, code, "try again"))
        source.sync()
    assert len(source.contents()) == 5
    notion.forget()
    notion.fail(times=1, answer=notion.error(429, "rate_limited", "slow down", {"Retry-After": date_in(3)}))
    assert source.sync()["status"] == "success"
    first, second = notion.requests[:2]
    assert second.time - first.time > 2.5, "until the date that it said"


def test_the_pace_is_kept(start, notion):
    for number in range(6):
        notion.page(f"P{number}", [text(f"text {number}")])
    source = Source(start(), notion, requestsPerSecond=5)
    source.sync()
    times = sorted(request.time for request in notion.requests)
    assert len(times) == 7 and times[-1] - times[0] >= 6 / 5 - 0.1


def test_a_cursor_that_expires_and_a_list_that_moves(start, notion):
    pages = [notion.page(f"Page {number:03}", [text(f"text {number}")]) for number in range(109)]
    pages.append(notion.page("Long", [text(f"line {number}") for number in range(150)]))
    notion.fail(lambda request: "start_cursor" in request.query, times=1,
                answer=notion.error(400, "validation_error", "The start_cursor provided is invalid"))
    source = Source(start(), notion)
    expired = []

    def expire(request):
        if request.path == "/v1/search" and "start_cursor" in request.body.decode() and not expired:
            expired.append(1)
            notion.cursors.clear()
        return False

    notion.fail(expire)
    source.sync()
    assert len(source.contents()) == 110 and source.contents()["Long"].count("line ") == 150
    notion.mend()
    moved = []

    def move(request):
        if request.path == "/v1/search" and "start_cursor" in request.body.decode() and not moved:
            moved.append(1)
            notion.write(pages[0], [text("edited while it was listed")])
        return False

    notion.fail(move)
    source.sync()
    notion.mend()
    source.sync()
    assert "edited while" in source.contents()["Page 000"]
    assert len(source.contents()) == 110


def test_killed_at_random_and_run_again(make_daemon, notion):
    for number in range(40):
        notion.page(f"Page {number:02}", [text(f"text {number} " * 20)])
    with OpenAI() as openai:
        daemon = make_daemon(config=openai.config("batch = 4"), environment={
            "TEST_NOTION_TOKEN": notion.token, "OPENAI_API_KEY": openai.key}).start()
        source = Source(daemon, notion)
        notion.fail(delay=0.004)
        seed = random.randrange(1 << 32)
        print("seed", seed)
        chance = random.Random(seed)
        kept = []  # after each kill: how many texts had been embedded, and whose embeddings are kept
        for _ in range(20):
            notion.forget()
            calls = chance.randrange(1, 20)
            daemon.request_sync("wiki", "notion")
            wait_for(lambda: notion.requests, "the sync to begin")
            wait_for(lambda: len(notion.requests) >= calls or daemon.sync_item("wiki", "notion")["progress"] is None,
                     "calls")
            daemon.kill()
            daemon.start()
            hashes = daemon.sql('SELECT "contentHash" FROM tekupdb."Chunk" UNION'
                                ' SELECT "contentHash" FROM tekupdb."PaidEmbedding"')
            kept.append((len(openai.inputs), {bytes(value) for value, in hashes}))
        notion.mend()
        source.sync()
        assert source.contents() == {f"Page {n:02}": f"# Page {n:02}\n\n{'text %d ' % n * 20}\n" for n in range(40)}
        source.sync()
        assert [request.path for request in notion.requests] == ["/v1/search"]
        assert len(set(openai.inputs)) >= 40 and kept[-1][1], "some were kept"
        for count, hashes in kept:
            again = [text for text in openai.inputs[count:] if hashlib.sha256(text.encode()).digest() in hashes]
            assert not again, "what was kept is paid for again"


@pytest.mark.parametrize("config, field", [
    ({}, "config.tokenEnv"), ({"tokenEnv": "A", "tokenFile": "/b"}, "config.tokenEnv"),
    ({"tokenEnv": "A", "roots": []}, "config.roots"), ({"tokenEnv": "A", "roots": ["home"]}, "config.roots"),
    ({"tokenEnv": "A", "requestsPerSecond": 0}, "config.requestsPerSecond"),
    ({"tokenEnv": "A", "token": "x"}, "config.token"), ({"tokenEnv": "A", "maxBytes": -1}, "config.maxBytes")])
def test_settings_that_are_refused(daemon, config, field):
    reply = daemon.client.put("/v1/sources", {"source": "notion", "repository": "wiki", "config": config})
    assert reply.status == 400 and reply.json["error"]["field"] == field, reply
