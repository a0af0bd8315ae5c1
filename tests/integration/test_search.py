"""POST /v1/search and /v1/search/batch: every field does what API.md says it does."""

import json
from datetime import datetime

import pytest

from client import target
from corpus import document
from vectors import DIMENSIONS, base64_of, cosine, octets, random_vector, unit

REPOSITORY = "search/texts"
VECTORS = "search/vectors"


@pytest.fixture(scope="module")
def texts(client):
    """{path: text} of documents that the daemon embedded itself: two repositories, two sources."""
    texts = {}
    for number in range(30):
        path = f"guide/{number:02}.md" if number % 2 else f"notes/{number:02}.md"
        texts[path] = document(f"search/{number}", 1, 400)
        client.put_document(REPOSITORY, path, texts[path], metadata={
            "number": number, "tags": ["even" if number % 2 == 0 else "odd", "all"],
            "nested": {"deep": {"third": number % 3}},
        })
    client.put_document("search/other", "guide/00.md", document("other", 1, 400), source="elsewhere")
    return texts


@pytest.fixture(scope="module")
def vectors(client):
    """{path: vector} of documents that brought their own embedding."""
    vectors = {}
    for number in range(40):
        path = f"v{number:02}"
        vectors[path] = random_vector(f"vectors/{number}")
        client.put_document(VECTORS, path, f"The text of {path}.", embedding=vectors[path])
    return vectors


def places(results):
    return [(hit["source"], hit["repository"], hit["path"]) for hit in results]


def paths(results):
    return [hit["path"] for hit in results]


# ---- What is found ----


def test_the_text_itself_has_similarity_1(client, texts):
    for path in ("guide/01.md", "notes/14.md"):
        best = client.search(query=texts[path], repository=REPOSITORY, limit=1)[0]
        assert best["path"] == path
        assert best["similarity"] == pytest.approx(1, abs=1e-3)


def test_a_rare_word_finds_its_document(client, texts):
    client.put_document("search/words", "hedgehog", "Hedgehogs hibernate from November to March.")
    client.put_document("search/words", "swallow", "Swallows fly south when September ends.")
    assert client.search(query="where do swallows fly", repository="search/words")[0]["path"] == "swallow"
    assert client.search(query="hibernate hedgehogs", repository="search/words")[0]["path"] == "hedgehog"


def test_similarities_are_cosines_in_descending_order(client, vectors):
    query = random_vector("query")
    results = client.search(embedding=query, repository=VECTORS, limit=40)
    assert len(results) == len(vectors)
    for hit in results:
        assert hit["similarity"] == pytest.approx(cosine(query, vectors[hit["path"]]), abs=1e-3)
    similarities = [hit["similarity"] for hit in results]
    assert similarities == sorted(similarities, reverse=True)
    exact = sorted(vectors, key=lambda path: -cosine(query, vectors[path]))
    assert paths(results)[:10] == exact[:10]


def test_the_length_of_an_embedding_does_not_matter(client, vectors):
    long = [1000 * x for x in vectors["v07"]]
    best = client.search(embedding=long, repository=VECTORS, limit=1)[0]
    assert best["path"] == "v07"
    assert best["similarity"] == pytest.approx(1, abs=1e-3)


def test_opposite_vectors_have_similarity_minus_1(client):
    client.put_document("search/opposite", "x", "x", embedding=unit(3, -2.0))
    hit = client.search(embedding=unit(3), repository="search/opposite")[0]
    assert hit["similarity"] == pytest.approx(-1, abs=1e-3)


def test_one_result_for_each_document_and_it_is_its_best_chunk(client):
    text = document("many chunks", 12)
    put = client.put_document("search/chunks", "long.md", text)
    client.put_document("search/chunks", "short.md", "Quite another matter.")
    assert put["chunks"] > 5
    section = text.index("# ", len(text) // 2)
    wanted = text[section:section + 1000]
    results = client.search(query=wanted, repository="search/chunks", limit=10)
    assert sorted(paths(results)) == ["long.md", "short.md"]
    assert results[0]["path"] == "long.md"
    chunk = results[0]["chunk"]
    raw = text.encode()
    assert chunk["text"] == raw[chunk["start"]:chunk["end"]].decode()
    assert wanted[20:200] in chunk["text"]
    assert 0 < chunk["ordinal"] < put["chunks"]


# ---- The shape of the answer ----


def test_the_answer_has_every_field(client, texts):
    answer = client.post("/v1/search", {"query": "anything", "repository": REPOSITORY, "limit": 3}).json
    assert set(answer) == {"results", "count", "model", "mode", "tookMs", "partial"}
    assert answer["mode"] == "hybrid"
    assert answer["count"] == len(answer["results"]) == 3
    assert answer["model"] == "hash-1536-v1"
    assert answer["tookMs"] >= 0
    assert answer["partial"] is None
    for hit in answer["results"]:
        assert set(hit) == {"id", "similarity", "score", "source", "repository", "path", "embeddingId", "chunk",
                            "metadata", "sha", "createdAt", "updatedAt"}
        assert set(hit["chunk"]) == {"ordinal", "start", "end", "text"}
        assert isinstance(hit["embeddingId"], int)
        for moment in (hit["createdAt"], hit["updatedAt"]):
            assert moment.endswith("Z")
            datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ")


def test_include_decides_what_comes(client, texts):
    path = "guide/03.md"

    def keys(include):
        hit = client.search(query=texts[path], repository=REPOSITORY, limit=1, include=include)[0]
        assert hit["path"] == path
        return hit, set(hit)

    always = {"id", "similarity", "score", "source", "repository", "path", "embeddingId"}
    metadata = {"metadata", "sha", "createdAt", "updatedAt"}
    assert keys([])[1] == always
    assert keys(["chunk"])[1] == always | {"chunk"}
    assert keys(["metadata"])[1] == always | metadata
    hit, names = keys(["chunk", "content", "metadata"])
    assert names == always | metadata | {"chunk", "content"}
    assert hit["content"] == texts[path]
    assert hit["metadata"]["number"] == 3


# ---- Filters ----


def test_limit(client, texts):
    assert len(client.search(query="text")) == 10
    for limit in (1, 7, 1000):
        results = client.search(query="text", repository=REPOSITORY, limit=limit)
        assert len(results) == min(limit, len(texts))


def test_source_and_repository(client, texts):
    everything = places(client.search(query="text", limit=1000))
    assert len(set(everything)) == len(everything)
    assert {source for source, _, _ in everything} >= {"test", "elsewhere"}
    assert places(client.search(query="text", source="elsewhere")) == [
        ("elsewhere", "search/other", "guide/00.md")
    ]
    assert set(paths(client.search(query="text", repository=REPOSITORY, limit=1000))) == set(texts)
    assert client.search(query="text", source="elsewhere", repository=REPOSITORY) == []
    assert client.search(query="text", source="nowhere") == []
    assert client.search(query="text", repository="search/text") == []  # no prefix of a name


def test_path_prefix(client, texts):
    guide = client.search(query="text", repository=REPOSITORY, pathPrefix="guide/", limit=1000)
    assert set(paths(guide)) == {path for path in texts if path.startswith("guide/")}
    assert client.search(query="text", repository=REPOSITORY, pathPrefix="uide/") == []
    wild = client.search(query="text", repository=REPOSITORY, pathPrefix="guide_", limit=1000)
    assert wild == []  # LIKE's wildcards mean nothing here
    assert client.search(query="text", repository=REPOSITORY, pathPrefix="%") == []


@pytest.mark.parametrize("metadata, expected", [
    ({"number": 4}, {4}),
    ({"tags": ["odd"]}, set(range(1, 30, 2))),
    ({"tags": ["all"], "nested": {"deep": {"third": 1}}}, set(range(1, 30, 3))),
    ({}, set(range(30))),
    ({"number": "4"}, set()),
    ({"missing": None}, set()),
])
def test_metadata_is_containment(client, texts, metadata, expected):
    results = client.search(query="text", repository=REPOSITORY, metadata=metadata, limit=1000)
    assert {hit["metadata"]["number"] for hit in results} == expected


def test_filters_together(client, texts):
    results = client.search(query="text", source="test", repository=REPOSITORY, pathPrefix="notes/",
                            metadata={"nested": {"deep": {"third": 0}}}, limit=1000)
    assert {hit["metadata"]["number"] for hit in results} == set(range(0, 30, 6))


def test_a_narrow_filter_still_fills_the_limit(client, texts):
    """The filter is applied while searching, not to the first `limit` hits."""
    query = texts["guide/01.md"]
    results = client.search(query=query, repository=REPOSITORY, metadata={"number": 28}, limit=1)
    assert [hit["metadata"]["number"] for hit in results] == [28]


def test_threshold(client, vectors):
    query = vectors["v11"]
    every = client.search(embedding=query, repository=VECTORS, limit=1000)
    middle = (every[9]["similarity"] + every[10]["similarity"]) / 2
    above = client.search(embedding=query, repository=VECTORS, limit=1000, threshold=middle)
    assert paths(above) == paths(every)[:10]
    assert paths(client.search(embedding=query, repository=VECTORS, threshold=0.99)) == ["v11"]
    assert len(client.search(embedding=query, repository=VECTORS, threshold=-1, limit=1000)) == 40
    other = random_vector("far from everything")
    assert client.search(embedding=other, repository=VECTORS, threshold=1) == []


def test_ef_takes_its_whole_range(client, vectors):
    for ef in (1, 64, 65536):
        results = client.search(embedding=vectors["v20"], repository=VECTORS, limit=5, ef=ef)
        assert len(results) == 5
    assert results[0]["path"] == "v20"


# ---- The forms of an embedding ----


def test_array_base64_and_octet_stream_are_the_same(client, vectors):
    query = random_vector("forms")
    array = client.post("/v1/search", {"embedding": query, "limit": 20, "repository": VECTORS}).json
    base64 = client.post(
        "/v1/search", {"embedding": base64_of(query), "limit": 20, "repository": VECTORS}).json
    stream = client.post(
        target("/v1/search", limit=20, repository=VECTORS), octets(query),
        content_type="application/octet-stream").json
    assert len(array["results"]) == 20
    assert array["results"] == base64["results"] == stream["results"]


def test_octet_stream_takes_its_fields_from_the_query_string(client, vectors, texts):
    def search(**query):
        answer = client.post(target("/v1/search", **query), octets(vectors["v05"]),
                             content_type="application/octet-stream")
        assert answer.status == 200, answer
        return answer.json["results"]

    assert paths(search(repository=VECTORS, limit=1)) == ["v05"]
    assert paths(search(threshold="0.99")) == ["v05"]
    assert set(paths(search(repository=VECTORS, pathPrefix="v1", limit=1000, ef=500))) == {
        f"v1{digit}" for digit in range(10)}
    assert places(search(source="elsewhere")) == [("elsewhere", "search/other", "guide/00.md")]
    hit = search(repository=VECTORS, limit=1, include="chunk,content")[0]
    assert hit["content"] == "The text of v05." and hit["chunk"]["text"] == hit["content"]
    assert "metadata" not in hit
    assert "chunk" not in search(repository=VECTORS, limit=1, include="")[0]
    escaped = client.put_document("search/a b&c=d", "p+q", "x", embedding=vectors["v05"])
    assert search(repository="search/a b&c=d")[0]["id"] == escaped["id"]


def test_numbers_in_every_spelling(client, vectors):
    """JSON allows exponents, a sign and no fraction; they all are the same float32."""
    query = [0.0] * DIMENSIONS
    query[0], query[1], query[2] = 1.0, -0.5, 0.25
    spelled = ["0"] * DIMENSIONS
    spelled[0], spelled[1], spelled[2] = "1e0", "-5E-1", "2.5e-01"
    spelled[3], spelled[4] = "-0", "1e-300"
    body = '{"embedding": [\n' + " ,\t".join(spelled) + '\r], "repository": "%s", "limit": 9}' % VECTORS
    expected = client.search(embedding=query, repository=VECTORS, limit=9)
    answer = client.post("/v1/search", body)
    assert answer.status == 200, answer
    assert answer.json["results"] == expected


# ---- Batch ----


def test_a_batch_answers_each_in_order(client, vectors, texts):
    searches = [
        {"embedding": vectors["v02"], "repository": VECTORS, "limit": 3},
        {"query": texts["guide/05.md"], "repository": REPOSITORY, "limit": 1, "include": ["content"]},
        {"embedding": base64_of(vectors["v03"]), "repository": VECTORS, "threshold": 0.9},
        {"query": "text", "metadata": {"number": 6}},
    ]
    answer = client.post("/v1/search/batch", {"searches": searches})
    assert answer.status == 200, answer
    responses = answer.json["responses"]
    alone = [client.post("/v1/search", search).json for search in searches]
    assert [response["results"] for response in responses] == [one["results"] for one in alone]
    assert [response["count"] for response in responses] == [3, 1, 1, 1]


def test_a_failed_search_of_a_batch_leaves_the_others_alone(client, vectors):
    answer = client.post("/v1/search/batch", {"searches": [
        {"embedding": vectors["v02"], "repository": VECTORS, "limit": 1},
        {"embedding": vectors["v02"], "limit": 0},
        {"query": "text", "colour": "red"},
        {"embedding": vectors["v03"], "repository": VECTORS, "limit": 1},
    ]})
    assert answer.status == 200, answer
    first, second, third, fourth = answer.json["responses"]
    assert paths(first["results"]) == ["v02"] and paths(fourth["results"]) == ["v03"]
    assert second["error"]["code"] == "invalid" and "limit" in second["error"]["field"]
    assert third["error"]["code"] == "invalid" and "colour" in third["error"]["field"]


def test_a_batch_of_256_and_not_one_more(client, vectors):
    search = {"embedding": base64_of(vectors["v01"]), "repository": VECTORS, "limit": 1, "include": []}
    answer = client.post("/v1/search/batch", {"searches": [search] * 256})
    assert answer.status == 200, answer
    assert len(answer.json["responses"]) == 256
    assert all(paths(response["results"]) == ["v01"] for response in answer.json["responses"])
    answer = client.post("/v1/search/batch", {"searches": [search] * 257})
    assert answer.status == 400 and answer.error["field"] == "searches"


def test_an_empty_batch(client):
    answer = client.post("/v1/search/batch", {"searches": []})
    assert answer.status == 400 and answer.error["field"] == "searches"


# ---- Around it ----


def test_a_kept_connection_serves_many_searches(daemon, client, vectors):
    with type(client)(daemon.socket) as kept:
        for number in range(40):
            assert paths(kept.search(embedding=vectors[f"v{number:02}"], repository=VECTORS,
                                     limit=1)) == [f"v{number:02}"]


def test_text_in_every_script_comes_back_as_it_went_in(client):
    text = "Smørrebrød på brødet — 寿司と味噌汁 🍣 \U0001f469\u200d\U0001f680 \u202eright\u202c \"quoted\" \\ \t\x7f"
    client.put_document("search/scripts", "ø/寿司.md", text, metadata={"ключ": "значение 🍣"})
    hit = client.search(query="寿司と味噌汁", repository="search/scripts", pathPrefix="ø/",
                        include=["content", "metadata", "chunk"])[0]
    assert hit["content"] == text
    assert hit["chunk"]["text"] == text[:len(hit["chunk"]["text"])]
    assert hit["metadata"] == {"ключ": "значение 🍣"}
    assert hit["path"] == "ø/寿司.md"


def test_the_figures_count_searches(client, vectors):
    before = client.status()["index"]["searches"]
    client.search(embedding=vectors["v01"])
    after = client.status()["index"]["searches"]
    assert after > before
    assert json.dumps(after).isdigit()


def test_the_index_mirrors_the_database(daemon, vectors, texts):
    documents, embeddings, chunks = daemon.counts()
    assert documents >= len(vectors) + len(texts)
    assert embeddings >= documents and chunks == embeddings
