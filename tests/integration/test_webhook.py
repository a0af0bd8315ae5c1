"""POST /webhook/github: what GitHub tells, whether it is GitHub that tells it, and what comes of it."""

import hashlib
import hmac
import json
import threading
import urllib.parse
import uuid

import pytest

from client import Client, raw
from daemon import Daemon, wait_for
from fakes.service import Service

SECRET = "It's a Secret to Everybody"
OTHER_SECRET = "rotated-0c1d"
VARIABLE = "TEKUP_GITHUB_WEBHOOK_SECRET"
FORM = "application/x-www-form-urlencoded"


class Empty(Service):
    """A GitHub that has no repository. What a sync finds there is the business of other tests."""

    def handle(self, request):
        return None


@pytest.fixture(scope="module")
def github():
    with Empty() as github:
        yield github


@pytest.fixture(scope="module")
def daemon():
    daemon = Daemon(environment={VARIABLE: SECRET})
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.clean_up()


@pytest.fixture
def repository(daemon, github, request):
    name = f"octo-org/{request.node.name}"
    add(daemon, github, name)
    return name


def add(daemon, github, repository, **config):
    config["baseUrl"] = github.url
    daemon.sql('INSERT INTO tekupdb."Source" ("source", "repository", "config", "createdAt", "updatedAt")'
               " VALUES ('github', %s, %s, now(), now())", repository, json.dumps(config))


# ---- Deliveries ----

def repository_object(full_name, **fields):
    owner, name = full_name.split("/")
    return {
        "id": 35129377, "node_id": "MDEwOlJlcG9zaXRvcnkzNTEyOTM3Nw==", "name": name, "full_name": full_name,
        "private": False, "owner": {"name": owner, "login": owner, "id": 6752317, "type": "Organization"},
        "html_url": f"https://github.com/{full_name}", "fork": False, "default_branch": "main",
        "master_branch": "main", "created_at": 1430869212, "pushed_at": 1430869217, "size": 0, **fields,
    }


def commit(number):
    return {
        "id": f"{number:040x}", "tree_id": f"{number + 1:040x}", "distinct": True, "message": "Update \"README.md\"\n",
        "timestamp": "2026-11-28T08:00:00+02:00", "author": {"name": "Octo Cät", "email": "octo@example.com"},
        "added": [], "removed": [], "modified": ["README.md"],
    }


def push(repository, ref="refs/heads/main", commits=1, **fields):
    """Each is another push, of which no two are the same."""
    return {
        "ref": ref, "before": "9049f1265b7d61be4a8904a9a27120d2064dab3b", "base_ref": None,
        "after": f"{uuid.uuid4().int:040x}", "created": False, "deleted": False, "forced": False,
        "compare": f"https://github.com/{repository}/compare/9049f1265b7d...0d1a26e67d8f",
        "commits": [commit(number) for number in range(commits)], "head_commit": commit(0),
        "repository": repository_object(repository), "pusher": {"name": "octo", "email": "octo@example.com"},
        "sender": {"login": "octo", "id": 1, "type": "User"}, **fields,
    }


def sign(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def deliver(daemon, payload, event="push", delivery=None, secret=SECRET, form=False, headers=()):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    if form:
        body = urllib.parse.urlencode({"payload": body}).encode()
    sent = {
        "User-Agent": "GitHub-Hookshot/044aadd", "Accept": "*/*", "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery or str(uuid.uuid4()), "X-GitHub-Hook-ID": "292430182",
        "X-GitHub-Hook-Installation-Target-Type": "repository", "X-Hub-Signature-256": sign(body, secret),
    }
    sent.update(headers)
    sent = {name: value for name, value in sent.items() if value is not None}
    return daemon.client.call("POST", "/webhook/github", body, headers=sent,
                              content_type=FORM if form else "application/json")


def accepted(answer, result, *repositories):
    assert answer.status == 202, answer
    assert answer.json["result"] == result, answer
    assert [item["repository"] for item in answer.json["queued"]] == list(repositories), answer
    assert (answer.json["reason"] is None) == (result in ("queued", "pong")), answer
    return answer.json


def refused(answer, status, code, *words):
    assert answer.status == status, answer
    assert answer.error["code"] == code, answer
    for word in words:
        assert word in answer.error["message"], answer


def syncs(daemon, repository):
    return daemon.log().count(f'event=sync.start source="github" repository="{repository}"')


def wait_syncs(daemon, repository, count):
    wait_for(lambda: syncs(daemon, repository) >= count, f"sync {count} of {repository}")
    daemon.wait_synced(repository, source="github")
    assert syncs(daemon, repository) == count


# ---- What starts a sync ----

def test_a_push_to_the_default_branch_starts_a_sync(daemon, repository):
    answer = accepted(deliver(daemon, push(repository), delivery="one"), "queued", repository)
    assert answer["event"] == "push" and answer["delivery"] == "one"
    assert answer["queued"] == [{"source": "github", "repository": repository, "again": False}]
    wait_syncs(daemon, repository, 1)


def test_a_form_is_as_good_as_json(daemon, repository):
    accepted(deliver(daemon, push(repository), form=True), "queued", repository)
    wait_syncs(daemon, repository, 1)


def test_the_name_may_differ_in_case(daemon, repository):
    accepted(deliver(daemon, push(repository.upper())), "queued", repository)
    wait_syncs(daemon, repository, 1)


def test_chosen_branches(daemon, github, request):
    repository = f"octo-org/{request.node.name}"
    add(daemon, github, repository, branches=["stable", "release/*"])
    for ref in ("refs/heads/topic", "refs/heads/release", "refs/tags/stable", "refs/tags/main", "stable"):
        accepted(deliver(daemon, push(repository, ref)), "ignored")
    assert syncs(daemon, repository) == 0
    for count, ref in enumerate(("refs/heads/stable", "refs/heads/release/7", "refs/heads/main"), 1):
        accepted(deliver(daemon, push(repository, ref)), "queued", repository)
        wait_syncs(daemon, repository, count)


def test_a_push_during_a_sync_is_not_lost(daemon, repository):
    # As a daemon that is syncing it (storage/claims.h).
    other = daemon.connect()
    other.cursor().execute("SELECT pg_advisory_lock(hashtextextended('github' || E'\\n' || %s, 32762643847541860))",
                           (repository,))
    for _ in range(3):
        answer = accepted(deliver(daemon, push(repository)), "queued", repository)
        assert answer["queued"][0]["again"]
    assert syncs(daemon, repository) == 0
    other.close()
    wait_syncs(daemon, repository, 1)


def test_what_nothing_is_to_be_done_about(daemon, repository):
    answer = accepted(deliver(daemon, {"zen": "Half measures are as bad as nothing at all.", "hook_id": 1,
                                       "hook": {"type": "Repository"}}, event="ping"), "pong")
    assert answer["event"] == "ping"
    for event in ("issues", "star", "create", "delete", "installation", "x-unknown"):
        accepted(deliver(daemon, {"action": "opened", "repository": repository_object(repository)}, event=event),
                 "ignored")
    accepted(deliver(daemon, push("octo-org/nowhere")), "ignored")
    accepted(deliver(daemon, push("elsewhere/" + repository.split("/")[1])), "ignored")
    assert syncs(daemon, repository) == 0


def test_a_repository_that_is_renamed_archived_or_deleted(daemon, repository):
    now = repository + "-now"
    renamed = {"action": "renamed", "changes": {"repository": {"name": {"from": repository.split("/")[1]}}},
               "repository": repository_object(now)}
    accepted(deliver(daemon, renamed, event="repository"), "queued", repository)
    wait_syncs(daemon, repository, 1)
    line = next(line for line in daemon.log().splitlines() if "event=webhook.renamed" in line)
    assert f'repository="{repository}" now="{now}"' in line and "level=warn" in line
    for count, action in enumerate(("archived", "unarchived", "deleted"), 2):
        payload = {"action": action, "repository": repository_object(repository, archived=action == "archived")}
        accepted(deliver(daemon, payload, event="repository"), "queued", repository)
        wait_syncs(daemon, repository, count)
        assert f'event="repository" action="{action}" repository="{repository}"' in daemon.log()
    transferred = {"action": "transferred", "repository": repository_object("new-owner/" + repository.split("/")[1]),
                   "changes": {"owner": {"from": {"organization": {"login": "octo-org"}}}}}
    accepted(deliver(daemon, transferred, event="repository"), "queued", repository)
    wait_syncs(daemon, repository, 5)
    accepted(deliver(daemon, {"action": "edited", "repository": repository_object(repository)}, event="repository"),
             "ignored")


# ---- Who says so ----

def test_a_delivery_that_is_not_signed_rightly(daemon, repository):
    body = json.dumps(push(repository)).encode()
    right = sign(body)
    for signature in (None, "", right.removeprefix("sha256="), right[:-1], right + "0", "sha256=" + "0" * 64,
                      right.replace("sha256", "sha1"), sign(body + b" "), sign(body, SECRET + " "), sign(body, "")):
        refused(deliver(daemon, body, headers={"X-Hub-Signature-256": signature}), 401, "unauthorized", "sign")
    sha1 = "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    refused(deliver(daemon, body, headers={"X-Hub-Signature-256": None, "X-Hub-Signature": sha1}), 401, "unauthorized")
    # What is wrong otherwise is told to those who sign only.
    refused(deliver(daemon, b"{", secret="x"), 401, "unauthorized")
    refused(deliver(daemon, {}, event="ping", secret="x"), 401, "unauthorized")
    assert syncs(daemon, repository) == 0
    assert 'event=webhook.refused service=github status=401' in daemon.log()


def test_nothing_of_the_secret_is_in_the_log(daemon):
    deliver(daemon, push("a/b"))
    deliver(daemon, push("a/b"), secret="wrong-secret-77")
    assert SECRET not in daemon.log() and "wrong-secret-77" not in daemon.log()
    assert sign(b"") not in daemon.log() and "sha256=" not in daemon.log()


def test_without_a_secret_nothing_is_taken(make_daemon):
    daemon = make_daemon().start()
    for secret in (SECRET, ""):
        refused(deliver(daemon, push("a/b"), secret=secret), 503, "unavailable", VARIABLE, "webhook_secret_file")
    daemon.stop()
    daemon.environment[VARIABLE] = " "
    daemon.start()
    refused(deliver(daemon, push("a/b"), secret=" "), 503, "unavailable", "the log")
    assert f"{VARIABLE} is empty" in daemon.log()


def test_a_secret_from_a_file(make_daemon, tmp_path):
    file = tmp_path / "secret"
    daemon = make_daemon(config=f"[github]\nwebhook_secret_file = {file}\n").start()
    refused(deliver(daemon, {}, event="ping"), 503, "unavailable", "the log")
    file.write_text(SECRET + "\n")
    file.chmod(0o644)
    refused(deliver(daemon, {}, event="ping"), 503, "unavailable", "the log")
    assert f"{file} can be read by everybody" in daemon.log()
    file.chmod(0o600)
    accepted(deliver(daemon, {}, event="ping"), "pong")
    # Read anew with each delivery.
    file.write_text(OTHER_SECRET)
    refused(deliver(daemon, {}, event="ping"), 401, "unauthorized")
    accepted(deliver(daemon, {}, event="ping", secret=OTHER_SECRET), "pong")
    assert OTHER_SECRET not in daemon.log() and SECRET not in daemon.log()


# ---- Replays ----

def test_replays_are_ignored_in_every_daemon_and_after_a_restart(make_daemon, server, github):
    first, second = (make_daemon(database_url=server.url(), environment={VARIABLE: SECRET}).start() for _ in range(2))
    add(first, github, "octo-org/hello")
    accepted(deliver(first, push("octo-org/hello"), delivery="one"), "queued", "octo-org/hello")
    wait_syncs(first, "octo-org/hello", 1)
    accepted(deliver(first, push("octo-org/hello"), delivery="one"), "replayed")
    accepted(deliver(second, push("octo-org/hello"), delivery="one"), "replayed")
    first.restart()
    accepted(deliver(first, push("octo-org/hello"), delivery="one"), "replayed")
    accepted(deliver(second, push("octo-org/hello"), delivery="two"), "queued", "octo-org/hello")
    wait_syncs(second, "octo-org/hello", 1)
    accepted(deliver(first, push("octo-org/hello"), delivery="two"), "replayed")
    assert syncs(first, "octo-org/hello") == 1
    # One that nothing was done about may come again.
    accepted(deliver(first, push("octo-org/new"), delivery="three"), "ignored")
    add(first, github, "octo-org/new")
    accepted(deliver(second, push("octo-org/new"), delivery="three"), "queued", "octo-org/new")
    # They are not kept for ever.
    first.sql('UPDATE tekupdb."Delivery" SET "receivedAt" = now() - interval \'31 days\' WHERE "id" = \'one\'')
    accepted(deliver(first, push("octo-org/hello"), delivery="four"), "queued", "octo-org/hello")
    assert first.sql('SELECT "id" FROM tekupdb."Delivery" WHERE "id" NOT LIKE \'sha256:%%\' ORDER BY 1') \
        == [("four",), ("three",), ("two",)]


def test_a_replay_under_another_name_is_one(daemon, repository):
    """The signature is of the body alone: who has seen a delivery can send it with an id of their own."""
    body = json.dumps(push(repository)).encode()
    accepted(deliver(daemon, body), "queued", repository)
    for _ in range(3):
        answer = accepted(deliver(daemon, body), "replayed")
        assert "before" in answer["reason"]
    accepted(deliver(daemon, push(repository)), "queued", repository)
    # One that nothing was done about is no replay.
    body = json.dumps(push("octo-org/not-there-yet")).encode()
    for _ in range(2):
        accepted(deliver(daemon, body), "ignored")
    daemon.wait_synced(repository, source="github")


def test_what_failed_may_be_delivered_again(make_daemon, server, github):
    daemon = make_daemon(database_url=server.url(), environment={VARIABLE: SECRET}).start()
    add(daemon, github, "octo-org/hello")
    for connection in daemon.connections:
        connection.close()
    server.stop()
    answer = deliver(daemon, push("octo-org/hello"), delivery="one")
    refused(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    server.start()
    daemon.wait_works()
    accepted(deliver(daemon, push("octo-org/hello"), delivery="one"), "queued", "octo-org/hello")
    wait_syncs(daemon, "octo-org/hello", 1)


def test_the_same_delivery_many_times_at_once(daemon, repository):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(deliver(daemon, push(repository), delivery="at once")))
               for _ in range(8)]
    threads += [threading.Thread(target=lambda: answers.append(deliver(daemon, push(repository), delivery="at-once")))
                for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({answer.status for answer in answers}) == [202, 400]
    assert {answer.json["result"] for answer in answers if answer.status == 202} <= {"queued", "replayed"}
    wait_for(lambda: syncs(daemon, repository) >= 1, "the sync")
    accepted(deliver(daemon, push(repository), delivery="at-once"), "replayed")


# ---- What cannot be read ----

def test_bad_deliveries(daemon):
    for name in ("X-GitHub-Event", "X-GitHub-Delivery"):
        for value in (None, "", "two words", "x" * 101):
            answer = deliver(daemon, push("a/b"), headers={name: value})
            refused(answer, 400, "invalid", name)
            assert answer.error["field"] == name
    for body in (b"", b"{", b"[]", b"{}", b"\xff", b'{"ref": 1, "repository": {"full_name": "a/b"}}',
                 b'{"ref": "refs/heads/main", "repository": {}}', b"[" * 100000, b'{"a":' * 100000):
        refused(deliver(daemon, body), 400, "invalid")
    for body in (b"", b"payload", b"payload=%", b"payload=%00", b"other=1", b"payload={}&payload={}"):
        answer = daemon.client.call("POST", "/webhook/github", body, content_type=FORM, headers={
            "X-GitHub-Event": "push", "X-GitHub-Delivery": "x", "X-Hub-Signature-256": sign(body)})
        refused(answer, 400, "invalid")
    assert daemon.client.get("/webhook/github").status == 405
    assert daemon.client.post("/webhook/github?x=1", b"{}", headers={
        "X-GitHub-Event": "ping", "X-GitHub-Delivery": "x", "X-Hub-Signature-256": sign(b"{}")}).status == 400
    answer = daemon.client.post("/webhook/github", b"<a/>", content_type="text/xml")
    refused(answer, 415, "unsupported_media_type", FORM)


def test_large_deliveries(daemon, repository):
    """GitHub sends up to 25 MB; other calls keep to http.max_body."""
    most = 25 << 20
    body = json.dumps(push(repository, commits=1000, padding="")).encode()
    body = body.replace(b'"padding": ""', b'"padding": "' + b"x" * (most - len(body)) + b'"')
    assert len(body) == most
    accepted(deliver(daemon, body), "queued", repository)
    answer = deliver(daemon, body + b" ")
    assert answer.status == 413, answer
    answer = daemon.client.post("/v1/search", body[:17 << 20])
    refused(answer, 413, "too_large", str(16 << 20))
    wait_syncs(daemon, repository, 1)


def test_one_header_twice(daemon, repository):
    body = json.dumps(push(repository)).encode()
    head = ("POST /webhook/github HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-GitHub-Event: push\r\n"
            "X-GitHub-Delivery: twice\r\nX-Hub-Signature-256: %s\r\nX-Hub-Signature-256: %s\r\n"
            "Content-Length: %d\r\n\r\n")
    wrong = "sha256=" + "0" * 64
    assert b" 401 " in raw(daemon.socket, (head % (wrong, wrong, len(body))).encode() + body).split(b"\r\n")[0]
    assert b" 401 " in raw(daemon.socket, (head % (wrong, sign(body), len(body))).encode() + body).split(b"\r\n")[0]
    assert Client(daemon.socket).get("/healthz").status == 200
    assert syncs(daemon, repository) == 0
