"""The github source when things go wrong, at random: the seed is printed, TEKUP_RANDOM_SEED repeats it."""

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
        reply = self.daemon.client.put("/v1/sources", {
            "source": "github", "repository": "tekup/faults", "intervalSeconds": 0,
            "config": {"baseUrl": self.github.url, "tokenEnv": "TEST_GITHUB_TOKEN"}})
        assert reply.status == 201, reply

    def request(self):
        self.daemon.request_sync("tekup/faults", "github")

    def sync(self):
        return self.daemon.sync("tekup/faults", "github")

    def progress(self):
        return self.daemon.sync_item("tekup/faults", "github")["progress"]

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
    cut = set()  # texts whose embeddings may have been on their way when it was killed
    for _ in range(20):
        ground.request()
        time.sleep(chance.uniform(0, 0.6))
        ground.daemon.kill()
        with ground.openai.lock:
            cut.update(*(request.json["input"] for request in ground.openai.requests
                         if request.time > time.monotonic() - 0.5))
        ground.daemon.start()
    ground.openai.mend()
    ground.github.codeload.mend()
    assert ground.sync()["status"] == "success"
    assert ground.contents() == FILES
    again = {text for text in ground.openai.inputs if ground.openai.inputs.count(text) > 1}
    assert len(set(ground.openai.inputs)) == len(FILES) and again <= cut, "nothing that was answered is paid twice"
    inputs = len(ground.openai.inputs)
    assert ground.sync()["last"]["unchanged"] == len(FILES) and len(ground.openai.inputs) == inputs


def faults(ground, chance):
    """One fault of each kind, in no order."""
    github, codeload, openai = ground.github, ground.github.codeload, ground.openai
    deep = answer(200, "[" * 100000 + "]" * 100000, {"Content-Type": "application/json"})
    found = [
        lambda: github.fail(times=1, answer=answer(500, {"message": "Server Error"})),
        lambda: github.fail(times=2, answer=answer(502, "<html>Bad Gateway</html>")),
        lambda: github.fail(times=1, answer=answer(429, {"message": "Too many requests"}, {"Retry-After": "1"})),
        lambda: github.fail(lambda r: "/trees" in r.path, times=1, cut=300),
        lambda: github.fail(lambda r: "/trees" in r.path, times=1, answer=answer(200, '{"sha": "x", "tree": [{"path"')),
        lambda: github.fail(lambda r: "/trees" in r.path, times=1, answer=deep),
        lambda: github.fail(lambda r: "/blobs" in r.path, times=1, cut=5),
        lambda: github.fail(trickle=0.01, times=3),
        lambda: github.fail(lambda r: "/blobs" in r.path, times=1, answer=answer(401, {"message": "Bad credentials"})),
        lambda: codeload.fail(times=1, cut=700),
        lambda: codeload.fail(times=1, answer=answer(200, b"\x1f\x8b" + bytes(500))),
        lambda: codeload.fail(times=1, answer=answer(404, "404: Not Found")),
        lambda: openai.fail(times=1, cut=1000),
        lambda: openai.fail(times=1, answer=error(503, "overloaded", "server_error")),
        lambda: openai.fail(times=1, answer=answer(200, '{"data": [{"embedding"')),
        lambda: openai.fail(times=1, answer=deep),
    ]
    chance.shuffle(found)
    return found


def test_faults_at_random(ground, chance):
    """Whatever happens in a sync, it is said or borne, nothing is taken for gone that is there, and the
    next one that goes well makes the documents the repository's."""
    now = dict(FILES)
    for number, harm in enumerate(faults(ground, chance)):
        many = chance.random() < 0.5
        changed = {f"docs/{chance.randrange(60):02}.md": f"version {number}\n" for _ in range(40 if many else 3)}
        now.update(changed)
        ground.repository.commit(changed)
        harm()
        item = ground.sync()
        for service in (ground.github, ground.github.codeload, ground.openai):
            service.mend()
        assert item["status"] == "success" or item["errorMessage"], item
        assert set(ground.contents()) <= set(FILES)
        if number > 0:
            assert len(ground.contents()) == len(FILES), "nothing is gone for a fault"
        if item["status"] != "success":
            item = ground.sync()
        assert item["status"] == "success", item
        assert ground.contents() == now
    ground.daemon.wait_ready()


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
    assert time.monotonic() - began < 30
    ground.github.codeload.mend()
    ground.daemon.start()
    assert ground.sync()["status"] == "success"
    assert ground.contents() == FILES
