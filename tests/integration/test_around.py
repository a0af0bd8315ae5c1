"""GET /v1/documents/ID/around: a passage in its surroundings, and where the original is."""

import pytest

from corpus import document
from vectors import random_vector

FIELDS = {"id", "source", "repository", "path", "before", "chunk", "after", "atStart", "atEnd", "url"}
TEXT = "# Überschrift\n\n" + document("around", 40, 60).replace("a", "å").replace("e", "€") + "\n\nEnde 🙂.\n"


@pytest.fixture(scope="module")
def written(client):
    return client.put_document("around", "a/text.md", TEXT, metadata={"url": "https://example.org/a?b=c"})


def around(client, document, **query):
    answer = client.get(f"/v1/documents/{document['id']}/around", **query)
    assert answer.status == 200, answer
    assert set(answer.json) == FIELDS and set(answer.json["chunk"]) == {"ordinal", "start", "end", "text"}
    return answer.json


def whole_characters(raw):
    """What is left of bytes of a text without the characters that are cut at their ends."""
    return raw.decode(errors="ignore")


@pytest.mark.parametrize("before, after", [(None, None), (0, 0), (1, 1), (2, 5), (333, 77), (100000, 100000)])
def test_every_passage(client, written, before, after):
    content = TEXT.encode()
    assert written["chunks"] > 2
    for ordinal in range(written["chunks"]):
        shown = around(client, written, chunk=ordinal, before=before, after=after)
        chunk = shown["chunk"]
        start, end = chunk["start"], chunk["end"]
        first, last = max(0, start - (2000 if before is None else before)), end + (2000 if after is None else after)
        assert chunk["ordinal"] == ordinal
        assert chunk["text"] == content[start:end].decode()
        assert shown["before"] == whole_characters(content[first:start])
        assert shown["after"] == whole_characters(content[end:last])
        assert shown["atStart"] == (first == 0) and shown["atEnd"] == (last >= len(content))
        assert (shown["source"], shown["repository"], shown["path"]) == ("test", "around", "a/text.md")
        assert shown["url"] == "https://example.org/a?b=c"


def test_the_first_is_shown_where_none_is_named(client, written):
    assert around(client, written) == around(client, written, chunk=0)
    assert around(client, written)["atStart"] is True


def test_what_a_search_found(client, written):
    hit = client.search(query="Ende 🙂", repository="around", limit=1)[0]
    shown = around(client, hit, chunk=hit["chunk"]["ordinal"])
    assert shown["chunk"] == hit["chunk"]


@pytest.mark.parametrize("metadata, url", [
    (None, None), ({}, None), ({"url": 7}, None), ({"url": {"a": 1}}, None), ({"url": ""}, None),
    ({"url": "javascript:alert(1)"}, None), ({"url": " https://example.org"}, None), ({"url": "file:///etc/passwd"}, None),
    ({"url": "http://example.org"}, "http://example.org"), ({"url": "HTTPS://example.org"}, "HTTPS://example.org"),
    ({"url": "https://example.org/\"><script>"}, "https://example.org/\"><script>"),
])
def test_only_addresses_in_the_web(client, metadata, url):
    fields = {"metadata": metadata} if metadata is not None else {}
    assert around(client, client.put_document("around/url", "x", "text", **fields))["url"] == url


def test_documents_of_others(daemon, client):
    """A document without chunks is one; a range that its content has no more ends with it."""
    daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
               " VALUES ('theirs', 'test', 'others', 'x', 'Grüße von anderen', now())")
    shown = around(client, {"id": "theirs"})
    assert shown["chunk"] == {"ordinal": 0, "start": 0, "end": 19, "text": "Grüße von anderen"}
    assert (shown["before"], shown["after"], shown["atStart"], shown["atEnd"]) == ("", "", True, True)
    put = client.put_document("others", "y", document("others", 40, 60))
    last = put["chunks"] - 1
    daemon.sql('UPDATE vault."VaultDocument" SET content = %s WHERE id = %s', "kürzer", put["id"])
    shown = around(client, put, chunk=last)
    assert shown["chunk"] == {"ordinal": last, "start": 7, "end": 7, "text": ""}
    assert (shown["before"], shown["after"], shown["atEnd"]) == ("kürzer", "", True)
    daemon.sql('UPDATE tekupdb."Chunk" SET "startByte" = 2, "endByte" = 4 WHERE "documentId" = %s AND ordinal = 1', put["id"])
    shown = around(client, put, chunk=1)
    assert (shown["before"], shown["chunk"]["text"], shown["after"]) == ("k", "r", "zer")
    daemon.sql('DELETE FROM vault."VaultEmbedding" WHERE "documentId" = %s', put["id"])
    assert around(client, put)["chunk"]["text"] == "kürzer"


def test_an_empty_text(daemon, client):
    daemon.sql('INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
               " VALUES ('nothing', 'test', 'others', 'nothing', '', now())")
    shown = around(client, {"id": "nothing"})
    assert shown["chunk"] == {"ordinal": 0, "start": 0, "end": 0, "text": ""}
    assert shown["atStart"] is True and shown["atEnd"] is True


def test_what_is_not_there(client, written):
    answer = client.get("/v1/documents/nobody/around")
    assert answer.status == 404 and answer.error["field"] is None
    answer = client.get(f"/v1/documents/{written['id']}/around", chunk=written["chunks"])
    assert answer.status == 404 and answer.error["field"] == "chunk"
    one = client.put_document("around/one", "x", "text", embedding=random_vector("one"))
    assert client.get(f"/v1/documents/{one['id']}/around", chunk=1).status == 404
    assert client.get(f"/v1/documents/{written['id']}/around/more").status == 404
    assert client.get("/v1/documents//around").status == 404


@pytest.mark.parametrize("field, value", [
    ("chunk", "-1"), ("chunk", "x"), ("chunk", ""), ("chunk", "2147483648"), ("before", "-1"), ("before", "100001"),
    ("after", "1.5"), ("after", "100001"), ("behind", "1"),
])
def test_bad_parameters_are_named(client, written, field, value):
    answer = client.get(f"/v1/documents/{written['id']}/around", **{field: value})
    assert answer.status == 400 and answer.error["field"] == field


def test_other_methods(client, written):
    answer = client.post(f"/v1/documents/{written['id']}/around", {})
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"


def test_while_the_database_is_away(server, make_daemon):
    daemon = make_daemon(database_url=server.url()).start()
    put = daemon.client.put_document("around", "one", "text")
    server.stop()
    answer = daemon.client.get(f"/v1/documents/{put['id']}/around")
    assert answer.status == 503 and answer.headers["Retry-After"]
