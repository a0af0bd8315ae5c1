"""The github source when things go wrong, at random: the seed is printed, TEKUP_RANDOM_SEED repeats it."""

import hashlib
import os
import random
import time

import pytest

from daemon import wait_for
from fakes.github import GitHub
from fakes.openai import OpenAI, error
from fakes.service import answer

FILES = {f"docs/{number:02}.md": f"# Page {number}\n\nWhat there is to say of subject {number}.\n" for number in range(60)}


@pytest.fixture
def chance():
    seed = int(os.environ.get("TEKUP_RANDOM_SEED") or random.randrange(1 << 32))
    print("TEKUP_RANDOM_SEED", seed)
    return random.Random(seed)


class Ground:
    """A repository, a daemon that embeds by a server, and the source."""

    def __init__(self, make_daemon, root, openai):
        self.openai = openai
        self.github = GitHub(root)
        self.repository = self.github.create("tekup/faults")
        self.repository.commit(FILES)
        self.daemon = make_daemon(config=openai.config("batch = 4"), environment={
            "TEST_GITHUB_TOKEN": self.github.token, "OPENAI_API_KEY": openai.key}).start()
        self.add()

    def add(self):
        reply = self.daemon.client.put("/v1/sources", {
            "source": "github", "repository": "tekup/faults", "intervalSeconds": 0,
            "config": {"baseUrl": self.github.url, "tokenEnv": "TEST_GITHUB_TOKEN"}})
        assert reply.status == 201, reply

    def request(self):
        self.daemon.request_sync("tekup/faults", "github")

    def sync(self):
        return self.daemon.sync("tekup/faults", "github")

    def texts(self):
        """What the passages are, by the database."""
        return [text for text, in self.daemon.sql(
            'SELECT convert_from(substr(convert_to(d.content, \'UTF8\'), c."startByte" + 1, c."endByte" - c."startByte"),'
            ' \'UTF8\') FROM tekupdb."Chunk" c JOIN vault."VaultDocument" d ON d.id = c."documentId"')]

    def state(self):
        """All there is of the documents, but for their numbers and times."""
        return self.daemon.sql(
            'SELECT d.path, d.sha, d.content, d.metadata::text, c.ordinal, c."startByte", c."endByte", c."contentHash"'
            ' FROM vault."VaultDocument" d JOIN tekupdb."Chunk" c ON c."documentId" = d.id ORDER BY d.path, c.ordinal')

    def contents(self):
        found = self.daemon.client.documents(source="github", repository="tekup/faults")
        return {d["path"]: self.daemon.client.get(f"/v1/documents/{d['id']}").json["content"] for d in found}


@pytest.fixture
def ground(make_daemon, tmp_path):
    with OpenAI() as openai:
        made = Ground(make_daemon, tmp_path, openai)
        yield made
        made.github.close()


def test_killed_at_twenty_random_points(ground, chance):
    ground.openai.fail(delay=0.05)
    ground.github.codeload.fail(trickle=0.001)
    kept = []  # after each kill: how many texts had been embedded, and whose embeddings are kept
    while len(kept) < 20 or not kept[-1][1]:
        ground.request()
        time.sleep(chance.uniform(0, 0.6 if len(kept) < 20 else 6))
        ground.daemon.kill()
        ground.daemon.start()
        hashes = ground.daemon.sql('SELECT "contentHash" FROM tekupdb."Chunk" UNION'
                                   ' SELECT "contentHash" FROM tekupdb."PaidEmbedding"')
        kept.append((len(ground.openai.inputs), {bytes(value) for value, in hashes}))
    ground.openai.mend()
    ground.github.codeload.mend()
    assert ground.sync()["status"] == "success"
    assert ground.contents() == FILES
    assert set(ground.openai.inputs) == set(ground.texts())
    for count, hashes in kept:
        again = [text for text in ground.openai.inputs[count:] if hashlib.sha256(text.encode()).digest() in hashes]
        assert not again, "what was kept is paid for again"
    state = ground.state()
    inputs = len(ground.openai.inputs)
    assert ground.sync()["last"]["unchanged"] == len(FILES) and len(ground.openai.inputs) == inputs
    # The same as by a sync that nothing disturbs.
    ground.daemon.client.delete("/v1/sources", source="github", repository="tekup/faults", documents="true")
    assert ground.contents() == {}
    ground.add()
    assert ground.sync()["status"] == "success"
    assert ground.state() == state


FEW, MANY, ANY = 3, 40, 0  # files that have to change for a fault to be met


def faults(ground, chance):
    """One fault of each kind, in no order: where, what, and how many files have to change."""
    github, codeload, openai = ground.github, ground.github.codeload, ground.openai
    deep = answer(200, "[" * 100000 + "]" * 100000, {"Content-Type": "application/json"})

    def tree(request):
        return "/trees" in request.path

    def blob(request):
        return "/blobs" in request.path

    found = [
        (github, ANY, None, {"answer": answer(500, {"message": "Server Error"})}),
        (github, ANY, None, {"times": 2, "answer": answer(502, "<html>Bad Gateway</html>")}),
        (github, ANY, None, {"answer": answer(429, {"message": "Too many requests"}, {"Retry-After": "1"})}),
        (github, ANY, tree, {"cut": 300}),
        (github, ANY, tree, {"answer": answer(200, '{"sha": "x", "tree": [{"path"')}),
        (github, ANY, tree, {"answer": deep}),
        (github, FEW, blob, {"cut": 5}),
        (github, FEW, blob, {"answer": answer(401, {"message": "Bad credentials"})}),
        (github, ANY, None, {"times": 3, "trickle": 0.01}),
        (codeload, MANY, None, {"cut": 700}),
        (codeload, MANY, None, {"answer": answer(200, b"\x1f\x8b" + bytes(500))}),
        (codeload, MANY, None, {"answer": answer(404, "404: Not Found")}),
        (openai, ANY, None, {"cut": 1000}),
        (openai, ANY, None, {"answer": error(503, "overloaded", "server_error")}),
        (openai, ANY, None, {"answer": answer(200, '{"data": [{"embedding"')}),
        (openai, ANY, None, {"answer": deep}),
    ]
    chance.shuffle(found)
    return found


def test_faults_at_random(ground, chance):
    """Whatever happens in a sync, it is said or borne, nothing is taken for gone that is there, and the
    next one that goes well makes the documents the repository's."""
    now = dict(FILES)
    assert ground.sync()["status"] == "success"
    for number, (service, files, when, harm) in enumerate(faults(ground, chance)):
        count = files or chance.choice([FEW, MANY])
        changed = {f"docs/{n:02}.md": f"version {number} of {n}\n" for n in chance.sample(range(60), count)}
        now.update(changed)
        ground.repository.commit(changed)
        fault = service.fail(when, **{"times": 1, **harm})
        times = fault.times
        item = ground.sync()
        assert fault.times < times, (harm, "was not met")
        service.mend()
        assert item["status"] == "success" or item["errorMessage"], item
        assert set(ground.contents()) == set(FILES), "nothing is gone for a fault"
        if item["status"] != "success":
            item = ground.sync()
        assert item["status"] == "success", item
        assert ground.contents() == now
    ground.daemon.wait_ready()


def test_a_token_that_expires_in_the_middle(ground):
    """From some moment on every call is refused, until there is a new one."""
    assert ground.sync()["status"] == "success"
    ground.repository.commit({f"docs/{n:02}.md": f"new {n}\n" for n in range(10)})
    seen = []

    def expire(request):
        seen.append(request)
        if len(seen) == 5:
            ground.github.token = "another"
        return False

    token = ground.github.token
    ground.github.fail(expire)
    item = ground.sync()
    assert item["status"] == "error" and "refuses the token" in item["errorMessage"], item
    assert set(ground.contents()) == set(FILES)
    ground.github.mend()
    ground.github.token = token
    assert ground.sync()["status"] == "success"
    assert ground.contents() == {**FILES, **{f"docs/{n:02}.md": f"new {n}\n" for n in range(10)}}


def test_a_branch_that_moves_while_it_is_read(ground):
    """Between the answer about the commit and the reading of the files."""
    moved = []

    def move(request):
        if "/trees" in request.path and not moved:
            moved.append(ground.repository.commit({"docs/00.md": "moved on\n", "docs/01.md": None}))
        return False

    ground.github.fail(move)
    assert ground.sync()["status"] == "success"
    assert ground.contents() == FILES, "the commit that was asked for, whole"
    assert ground.sync()["status"] == "success"
    expected = {**FILES, "docs/00.md": "moved on\n"}
    del expected["docs/01.md"]
    assert ground.contents() == expected


def test_stopped_in_the_middle_of_slow_bytes(ground):
    ground.github.codeload.fail(trickle=0.5)
    ground.request()
    wait_for(lambda: ground.github.codeload.requests, "the download")
    began = time.monotonic()
    ground.daemon.stop()
    assert time.monotonic() - began < 60
    ground.github.codeload.mend()
    ground.daemon.start()
    assert ground.sync()["status"] == "success"
    assert ground.contents() == FILES
