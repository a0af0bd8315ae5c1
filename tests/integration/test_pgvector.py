"""A server that has the pgvector extension: embeddings are vector(1536), and everything else is as
ever. The server is a PostgreSQL 17 in a Debian 13 of its own (tests/with-pgvector); where that cannot
be made, these tests are skipped with the reason."""

import os

import pytest

from corpus import document, write_tree
from vectors import cosine, random_vector


@pytest.fixture
def daemon(make_daemon, pgvector_database, request):
    return make_daemon(database_url=pgvector_database(request.node.name)).start()


def column_type(daemon):
    return daemon.sql("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid ="
                      " 'vault.\"VaultEmbedding\"'::regclass AND attname = 'embedding'")[0][0]


def test_embeddings_are_vectors(daemon):
    client = daemon.client
    assert client.status()["database"]["pgvector"] is True
    assert client.status()["database"]["serverVersion"].startswith("17")
    assert column_type(daemon) == "vector(1536)"
    vectors = {f"v{number}": random_vector(f"pgvector/{number}") for number in range(30)}
    for path, vector in vectors.items():
        client.put_document("vectors", path, f"text of {path}", embedding=vector)
    query = random_vector("pgvector/query")
    ours = [hit["path"] for hit in client.search(embedding=query, repository="vectors", limit=10)]
    theirs = [row[0] for row in daemon.sql(
        'SELECT d.path FROM vault."VaultEmbedding" e JOIN vault."VaultDocument" d ON d.id = e."documentId"'
        " ORDER BY e.embedding <=> %s::vector LIMIT 10", str(query))]
    assert ours == theirs == sorted(vectors, key=lambda path: -cosine(query, vectors[path]))[:10]
    daemon.restart()
    assert [hit["path"] for hit in client.search(embedding=query, repository="vectors", limit=10)] == ours
    daemon.counts()


def test_a_directory_is_synced(daemon, tmp_path):
    client = daemon.client
    texts = write_tree(tmp_path, files=25, sections=3)
    daemon.add_source("tree", tmp_path)
    item = daemon.sync("tree")
    assert item["status"] == "success" and item["documentCount"] == 25
    for path in sorted(texts)[::5]:
        assert client.search(query=texts[path][:1200], repository="tree", limit=1)[0]["path"] == path
    again = daemon.sync("tree")
    assert again["last"]["unchanged"] == 25 and again["last"]["embedded"] == 0
    moved = client.put_document("elsewhere", "copy", texts[sorted(texts)[0]])
    assert moved["embedded"] == 0, "an embedding that is there is not made again"
    daemon.counts()


def test_writes_of_other_programs_are_loaded(daemon):
    """A client that uses pgvector's own type, and no row in tekupdb's tables."""
    vector = random_vector("theirs")
    daemon.sql(
        'INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")'
        " VALUES ('theirs', 'notion', 'pages', 'a page', 'What they wrote.', now())")
    daemon.sql('INSERT INTO vault."VaultEmbedding" ("documentId", embedding) VALUES (%s, %s::vector)',
               "theirs", str(vector))
    daemon.restart()
    hit = daemon.client.search(embedding=vector, source="notion", include=["chunk", "content"])[0]
    assert hit["id"] == "theirs" and hit["similarity"] == pytest.approx(1, abs=1e-3)
    assert hit["content"] == hit["chunk"]["text"] == "What they wrote."


def test_replace_and_delete(daemon):
    client = daemon.client
    put = client.put_document("r", "p", document("first", 4))
    client.put_document("r", "p", document("second", 2))
    daemon.counts()
    assert client.delete(f"/v1/documents/{put['id']}").status == 200
    assert daemon.counts() == (0, 0, 0)
    assert os.path.exists(daemon.socket)


def test_a_vault_that_was_made_without_is_converted(daemon):
    """As where the server was given pgvector later; the daemon serves on."""
    client = daemon.client
    for number in range(20):
        client.put_document("r", f"{number:02}.md", document(f"before/{number}", 3))
    daemon.sql('ALTER TABLE vault."VaultEmbedding" ALTER COLUMN embedding TYPE real[];'
               ' ALTER TABLE vault."VaultEmbedding" ADD CONSTRAINT "VaultEmbedding_embedding_check"'
               " CHECK (cardinality(embedding) = 1536)")
    daemon.restart()
    assert client.status()["database"]["pgvector"] is False and column_type(daemon) == "real[]"
    found = [hit["id"] for hit in client.search(query="before", limit=10)]
    first = daemon.tekup("db", "pgvector")
    assert first.returncode == 0 and b"vectors of pgvector now, converted in" in first.stdout, first
    assert client.status()["database"]["pgvector"] is True and column_type(daemon) == "vector(1536)"
    # It reads and writes them as before, and SQL finds the same.
    assert [hit["id"] for hit in client.search(query="before", limit=10)] == found
    client.put_document("r", "00.md", document("after", 2))
    client.put_document("r", "new.md", document("new", 2))
    assert daemon.tekup("db", "verify").returncode == 0
    assert daemon.sql('SELECT count(*) FROM vault.match_documents((SELECT embedding FROM vault."VaultEmbedding"'
                      " LIMIT 1), -1, 100)") == [(21,)]
    again = daemon.tekup("db", "pgvector", "--json")
    assert again.returncode == 0 and b'"converted":false' in again.stdout, again
    daemon.restart()
    assert client.status()["database"]["pgvector"] is True
    daemon.counts()
