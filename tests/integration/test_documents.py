"""Documents: put, get, list, delete, by id and by place."""

import hashlib
import time

import pytest

from client import target
from corpus import document
from vectors import base64_of, random_vector, unit

FIELDS = {"id", "source", "repository", "path", "content", "sha", "metadata", "createdAt", "updatedAt"}


def git_blob(text):
    raw = text.encode()
    return hashlib.sha1(b"blob %d\0%s" % (len(raw), raw)).hexdigest()


# ---- Put and get ----


def test_what_was_put_comes_back(client):
    metadata = {"a": [1, 2.5, None, True, {"b": "ø"}], "big": 9007199254740993, "empty": {}}
    put = client.put("/v1/documents", {
        "source": "test", "repository": "docs/one", "path": "a/b.md", "content": "Some text.\n",
        "metadata": metadata, "sha": "abc123",
    })
    assert put.status == 201
    assert set(put.json) == {"id", "created", "chunks", "embedded", "reused"}
    assert put.json["created"] is True
    assert (put.json["chunks"], put.json["embedded"], put.json["reused"]) == (1, 1, 0)

    by_id = client.get(f"/v1/documents/{put.json['id']}")
    assert by_id.status == 200
    kept = by_id.json
    assert set(kept) == FIELDS
    assert kept["content"] == "Some text.\n"
    assert kept["metadata"] == metadata
    assert kept["sha"] == "abc123"
    assert (kept["source"], kept["repository"], kept["path"]) == ("test", "docs/one", "a/b.md")
    by_path = client.get("/v1/documents/by-path", source="test", repository="docs/one", path="a/b.md")
    assert by_path.status == 200 and by_path.json == kept


def test_the_sha_is_gits_where_none_is_given(client):
    text = "What git would call it.\n"
    put = client.put_document("docs/sha", "x", text)
    assert client.get(f"/v1/documents/{put['id']}").json["sha"] == git_blob(text)


def test_a_document_put_again_keeps_its_id_and_birth(client):
    first = client.put_document("docs/again", "x", "First text.", metadata={"v": 1})
    before = client.get(f"/v1/documents/{first['id']}").json
    time.sleep(0.01)
    second = client.put("/v1/documents", {
        "source": "test", "repository": "docs/again", "path": "x", "content": "Second text.",
    })
    assert second.status == 200
    assert second.json["created"] is False
    assert second.json["id"] == first["id"]
    after = client.get(f"/v1/documents/{first['id']}").json
    assert after["content"] == "Second text."
    assert after["createdAt"] == before["createdAt"]
    assert after["updatedAt"] > before["updatedAt"]
    assert after["sha"] == git_blob("Second text.")
    assert len(client.documents(repository="docs/again")) == 1


def test_it_is_searchable_when_put_answers(client):
    for number in range(50):
        put = client.put_document("docs/at-once", f"{number}", document(f"at once {number}", 1, 300))
        best = client.search(query=document(f"at once {number}", 1, 300), limit=1,
                             repository="docs/at-once")[0]
        assert best["id"] == put["id"]


def test_a_replaced_text_is_not_found_any_more(client):
    old, new = document("old", 6), document("new", 2)
    put = client.put_document("docs/replaced", "x", old)
    assert put["chunks"] > 3
    client.put_document("docs/replaced", "x", new)
    hits = client.search(query=old, repository="docs/replaced", include=["chunk"])
    assert len(hits) == 1 and hits[0]["chunk"]["text"] in new
    assert hits[0]["similarity"] < 0.9


def test_unchanged_chunks_are_not_embedded_again(client):
    text = document("reuse", 8)
    first = client.put_document("docs/reuse", "x", text)
    assert first["embedded"] == first["chunks"] and first["reused"] == 0
    elsewhere = client.put_document("docs/reuse", "y", text)
    assert elsewhere["embedded"] == 0 and elsewhere["reused"] == first["chunks"]
    second = client.put_document("docs/reuse", "x", text + "\n# Added\n\n" + document("reuse 2", 1))
    assert second["reused"] >= first["chunks"] - 1
    assert second["embedded"] + second["reused"] == second["chunks"]


def test_a_document_may_bring_its_embedding(client):
    long = document("own embedding", 10)
    for path, embedding in (("array", unit(700)), ("base64", base64_of(unit(701)))):
        put = client.put_document("docs/own", path, long, embedding=embedding)
        assert put["chunks"] == 1 and put["embedded"] == 0
    hits = client.search(embedding=unit(701), repository="docs/own", include=["chunk"])
    assert [hit["path"] for hit in hits] == ["base64", "array"]
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert hits[0]["chunk"] == {"ordinal": 0, "start": 0, "end": len(long.encode()), "text": long}


def test_an_own_embedding_is_not_reused_for_texts(client):
    """An embedding that somebody sent is theirs; the same text put without one gets the model's."""
    text = "A text that is put twice."
    client.put_document("docs/theirs", "own", text, embedding=unit(42))
    client.put_document("docs/theirs", "plain", text)
    best = client.search(query=text, repository="docs/theirs", limit=1)[0]
    assert best["path"] == "plain"
    assert best["similarity"] == pytest.approx(1, abs=1e-3)


def test_large_documents(client):
    text = document("large", 500)
    put = client.put_document("docs/large", "x", text)
    assert put["chunks"] > 300
    assert client.get(f"/v1/documents/{put['id']}").json["content"] == text
    middle = text[len(text) // 2:][:800]
    hit = client.search(query=middle, repository="docs/large", limit=1)[0]
    assert hit["chunk"]["text"] in text
    assert client.delete(f"/v1/documents/{put['id']}").status == 200


def test_one_line_without_a_break(client):
    text = "x" * 100000
    put = client.put_document("docs/line", "x", text)
    assert put["chunks"] >= 100000 // 8191
    hit = client.search(query="x" * 5000, repository="docs/line", limit=1)[0]
    assert len(hit["chunk"]["text"]) <= 8191


def test_unusual_paths(client):
    for path in ("a b/c&d=e?f#g%h+i", "ø/寿司", "..a/b..", "...", "-", "a" * 4000, "'; DROP TABLE x; --"):
        put = client.put_document("docs/unusual", path, f"text of {path[:20]}")
        found = client.get("/v1/documents/by-path", source="test", repository="docs/unusual", path=path)
        assert found.status == 200 and found.json["id"] == put["id"]
        assert found.json["path"] == path
    assert len(client.documents(repository="docs/unusual")) == 7


# ---- List ----


def test_pages(client):
    expected = []
    for repository in ("docs/list-b", "docs/list-a"):
        for number in range(25):
            path = f"{'ø' if number % 2 else 'Z'}/{number:02}"
            client.put_document(repository, path, f"{repository} {path}")
            expected.append((repository, path))
    expected.sort(key=lambda place: tuple(part.encode() for part in place))
    seen, after, pages = [], None, 0
    while True:
        page = client.get("/v1/documents", source="test", limit=7, after=after)
        assert page.status == 200
        assert set(page.json) == {"documents", "next"}
        assert len(page.json["documents"]) <= 7
        for listed in page.json["documents"]:
            assert set(listed) == FIELDS - {"content"}
            seen.append((listed["repository"], listed["path"]))
        pages += 1
        after = page.json["next"]
        if after is None:
            break
    assert pages > 7
    assert [place for place in seen if place[0].startswith("docs/list-")] == expected
    assert seen == sorted(seen, key=lambda place: tuple(part.encode() for part in place))
    assert len(set(seen)) == len(seen)


def test_list_filters(client):
    client.put_document("docs/filter", "guide/a", "one")
    client.put_document("docs/filter", "guide/b", "two")
    client.put_document("docs/filter", "notes/a", "three")
    client.put_document("docs/filter", "guide/a", "four", source="second")

    def paths(**query):
        return [(d["source"], d["path"]) for d in client.documents(repository="docs/filter", **query)]

    assert paths() == [("second", "guide/a"), ("test", "guide/a"), ("test", "guide/b"), ("test", "notes/a")]
    assert paths(source="second") == [("second", "guide/a")]
    assert paths(pathPrefix="guide/", source="test") == [("test", "guide/a"), ("test", "guide/b")]
    assert paths(pathPrefix="guide_") == []
    assert paths(pathPrefix="%") == []
    assert client.documents(source="none") == []


def test_list_limits(client):
    for limit in (0, -1, 1001, "x", "", "1.5", "99999999999999999999"):
        answer = client.get("/v1/documents", limit=limit)
        assert answer.status == 400 and answer.error["field"] == "limit", (limit, answer)
    assert client.get("/v1/documents", limit=1000).status == 200


def test_a_page_after_a_document_that_is_gone(client):
    """`after` names a document; one that was deleted since is an answer, not a crash."""
    put = client.put_document("docs/gone", "a", "a")
    client.put_document("docs/gone", "b", "b")
    client.delete(f"/v1/documents/{put['id']}")
    answer = client.get("/v1/documents", repository="docs/gone", after=put["id"])
    assert answer.status in (200, 400, 404)
    if answer.status != 200:
        assert answer.error["field"] == "after"


# ---- Delete ----


def test_delete_by_id(client):
    text = document("deleted", 3)
    put = client.put_document("docs/delete", "x", text)
    answer = client.delete(f"/v1/documents/{put['id']}")
    assert answer.status == 200
    assert answer.json == {"id": put["id"], "deleted": True}
    assert client.get(f"/v1/documents/{put['id']}").status == 404
    assert client.search(query=text, repository="docs/delete") == []
    again = client.delete(f"/v1/documents/{put['id']}")
    assert again.status == 404 and again.error["code"] == "not_found"


def test_delete_by_path(client):
    put = client.put_document("docs/delete-path", "a/b c", "text")
    keep = client.put_document("docs/delete-path", "a/b", "text")
    query = {"source": "test", "repository": "docs/delete-path", "path": "a/b c"}
    answer = client.delete("/v1/documents/by-path", **query)
    assert answer.status == 200 and answer.json == {"id": put["id"], "deleted": True}
    assert client.delete("/v1/documents/by-path", **query).status == 404
    assert [d["id"] for d in client.documents(repository="docs/delete-path")] == [keep["id"]]


def test_put_after_delete_is_a_new_document(client):
    first = client.put_document("docs/anew", "x", "text")
    client.delete(f"/v1/documents/{first['id']}")
    second = client.put_document("docs/anew", "x", "text")
    assert second["created"] is True and second["id"] != first["id"]


def test_nothing_of_a_deleted_document_stays(daemon, client):
    before = daemon.counts()
    put = client.put_document("docs/rows", "x", document("rows", 5))
    assert daemon.counts() == (before[0] + 1, before[1] + put["chunks"], before[2] + put["chunks"])
    client.delete(f"/v1/documents/{put['id']}")
    assert daemon.counts() == before


# ---- What is not there, and what is missing ----


def test_no_such_document(client):
    for path in ("/v1/documents/cdoesnotexist", "/v1/documents/" + "x" * 3000, "/v1/documents/%00",
                 target("/v1/documents/by-path", source="test", repository="r", path="p")):
        answer = client.get(path)
        assert answer.status in (400, 404), (path, answer)
        assert answer.error["code"] in ("invalid", "not_found")


def test_by_path_wants_all_three(client):
    place = {"source": "test", "repository": "r", "path": "p"}
    for missing in place:
        query = {name: value for name, value in place.items() if name != missing}
        for answer in (client.get("/v1/documents/by-path", **query),
                       client.delete("/v1/documents/by-path", **query)):
            assert answer.status == 400 and answer.error["field"] == missing


def test_the_rows_are_what_other_programs_expect(daemon, client):
    """Prisma clients read the same tables: the columns are filled in as they would fill them in."""
    vector = random_vector("row")
    put = client.put_document("docs/prisma", "p.md", "The text.", metadata={"k": "v"}, embedding=vector)
    row = daemon.sql(
        'SELECT source, repository, path, content, metadata, sha, "createdAt", "updatedAt"'
        ' FROM vault."VaultDocument" WHERE id = %s', put["id"])[0]
    assert row[:6] == ("test", "docs/prisma", "p.md", "The text.", {"k": "v"}, git_blob("The text."))
    assert row[6] is not None and row[7] is not None
    kept = daemon.sql('SELECT embedding::real[] FROM vault."VaultEmbedding"'
                      ' WHERE "documentId" = %s', put["id"])[0][0]
    assert kept == pytest.approx(vector, rel=1e-5, abs=1e-6)


def test_repositories_are_those_with_a_source_or_documents(daemon, client, tmp_path):
    (tmp_path / "a.md").write_text("# A\n\nText.\n")
    assert client.put("/v1/sources", {"source": "local", "repository": "counted", "config": {"path": str(tmp_path)}}).status == 201
    written = client.put("/v1/documents", {"source": "zeta", "repository": "put", "path": "b", "content": "Text."})
    assert written.status == 201
    rows = {(row["source"], row["repository"]): row for row in client.get("/v1/repositories").json["repositories"]}
    assert rows["local", "counted"] == {"source": "local", "repository": "counted", "documents": 0, "updatedAt": None,
                                        "registered": True}
    put = rows["zeta", "put"]
    assert (put["documents"], put["registered"]) == (1, False) and put["updatedAt"]
    assert list(rows) == sorted(rows)
    assert client.get("/v1/repositories", x="1").status == 400
