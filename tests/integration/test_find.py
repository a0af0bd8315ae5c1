"""Search by words, by vectors and by both: modes, phrases, prefixes, highlights, groups, diversity."""

import pytest

from corpus import document
from daemon import wait_for
from vectors import octets, random_vector, unit

REPOSITORY = "find"
HIGHLIGHTS = ["chunk", "highlights"]

TEXTS = {
    "bell.md": "The audible bell of the terminal can be turned off.\nSet bell-style to none in your inputrc.",
    "visible.md": "A visible bell flashes. The bell is audible elsewhere; audible it is not here.",
    "install.md": "Installing is easy: the installer installs everything that was not installed before.",
    "code.c": "int set_prefer_visible_bell(const char *path); /* see /usr/share/doc/bash/README.md */",
    "danish.md": "Ferien på Ærø begynder i uge 28, og ÆRØSKØBING er smuk.",
    "html.md": "<script>alert('bell')</script> & <b>bold</b> \"quoted\" 'single' \\ backslash",
    "common.md": "To be or not to be: that is the question.",
    "other.md": "Nothing of this has to do with anything else.",
}


@pytest.fixture(scope="module")
def texts(client):
    for path, text in TEXTS.items():
        client.put_document(REPOSITORY, path, text, metadata={"letters": len(text), "kind": path[-2:]})
    return TEXTS


def ask(client, query, mode="text", **fields):
    answer = client.post("/v1/search", {"query": query, "mode": mode, "repository": REPOSITORY, **fields})
    assert answer.status == 200, answer
    assert answer.json["mode"] == mode
    assert answer.json["partial"] is None
    return answer.json["results"]


def paths(results):
    return [hit["path"] for hit in results]


def marked(hit):
    raw = hit["chunk"]["text"].encode()
    return [raw[part["start"]:part["end"]].decode() for part in hit["highlights"]]


# ---- Words ----


@pytest.mark.parametrize("query, found", [
    ("audible", {"bell.md", "visible.md"}),
    ("AUDIBLE Bells", {"bell.md", "visible.md"}),
    ("audible terminal", {"bell.md"}),
    ("audible nowhere", set()),
    ("install", {"install.md"}),
    ("the bell", {"bell.md", "visible.md", "code.c", "html.md"}),  # "the" is not asked for
    ('"audible bell"', {"bell.md"}),
    ('"bell audible"', set()),
    ('"the bell is audible"', {"visible.md"}),
    ("“audible bell”", {"bell.md"}),
    ('"to be or not to be"', {"common.md"}),
    ("to be or", {"common.md"}),
    ("termin*", {"bell.md"}),
    ("installa*", set()),
    ("installe*", {"install.md"}),
    ("ins* eas*", {"install.md"}),
    ("audible -terminal", {"visible.md"}),
    ('bell -"audible bell" -script', {"visible.md", "code.c"}),
    ("set_prefer_visible_bell", {"code.c"}),
    ("prefer", {"code.c"}),
    ("/usr/share/doc", {"code.c"}),
    ("readme.md", {"code.c"}),
    ("share doc", {"code.c"}),
    ('"share doc"', {"code.c"}),
    ('"doc share"', set()),
    ("ærøskøbing", {"danish.md"}),
    ("ærø ferien", {"danish.md"}),
    ("28", {"danish.md"}),
    ("script", {"html.md"}),
    ("bell's", set()),
    ("--bell", {"bell.md", "visible.md", "code.c", "html.md"}),
], ids=str)
def test_words_phrases_prefixes_and_what_is_not_wanted(client, texts, query, found):
    assert set(paths(ask(client, query))) == found


@pytest.mark.parametrize("query", [
    '"', '""', '"  "', "*", "**", "-", "--", "- -", "-*", '-"', '-""', "!!!", "'", "''", "\\", "\\'", "'; drop table",
    ":*", "a:*", "bell:*", "bell:A", "& | ! <->", "(bell", "bell)", "<2>", "bell <-> ", "\u0001\u0002", "\u200b", "�", "-bell",
    "日本語", "e\u0301", "%", "$1", "NUL", "x" * 3000, "-" * 1000, '"' * 999, "* " * 500, "word " * 5000,
    '"' + "word " * 20000 + '"', '"' + "x" * 3000 + ' bell"', " ".join(f"w{n}" for n in range(2000)), "bell " + "-x " * 300,
], ids=lambda query: ascii(query)[:20])
@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_there_is_no_wrong_query(client, texts, query, mode):
    for hit in ask(client, query, mode, include=HIGHLIGHTS):
        marked(hit)


def test_the_order_is_by_the_score(client, texts):
    results = ask(client, "bell", limit=8)
    scores = [hit["score"] for hit in results]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True) and all(score > 0 for score in scores)
    assert all(hit["similarity"] is None for hit in results)


def test_filters_limit_and_include_hold_for_words_too(client, texts):
    assert paths(ask(client, "bell", pathPrefix="b")) == ["bell.md"]
    assert paths(ask(client, "bell", metadata={"kind": ".c"})) == ["code.c"]
    assert ask(client, "bell", source="elsewhere") == []
    assert len(ask(client, "bell", limit=2)) == 2
    hit = ask(client, "terminal", include=[])[0]
    assert set(hit) == {"id", "similarity", "score", "source", "repository", "path", "embeddingId"}
    hit = ask(client, "terminal", include=["content", "metadata"])[0]
    assert hit["content"] == TEXTS["bell.md"] and hit["metadata"]["kind"] == "md"


# ---- Highlights ----


@pytest.mark.parametrize("query, path, wanted", [
    ("audible bell", "bell.md", ["audible", "bell", "bell"]),
    ('"audible bell"', "bell.md", ["audible bell"]),
    ('"audible bell" style', "bell.md", ["audible bell", "style"]),
    ("install", "install.md", ["Installing", "installer", "installs", "installed"]),
    ("install*", "install.md", ["Installing", "installer", "installs", "installed"]),
    ("the install", "install.md", ["Installing", "installer", "installs", "installed"]),
    ("set_prefer_visible_bell", "code.c", ["set_prefer_visible_bell"]),
    ("ærø", "danish.md", ["Ærø"]),
    ("ærø*", "danish.md", ["Ærø", "ÆRØSKØBING"]),
    ("script quoted backslash", "html.md", ["script", "script", "quoted", "backslash"]),
    ("question -zebra", "common.md", ["question"]),
], ids=str)
def test_what_was_found_is_marked(client, texts, query, path, wanted):
    results = ask(client, query, include=HIGHLIGHTS)
    assert marked(next(hit for hit in results if hit["path"] == path)) == wanted


def test_highlights_come_in_every_mode_and_without_the_chunk(client, texts):
    for mode in ("vector", "hybrid"):
        hit = next(hit for hit in ask(client, "terminal", mode, include=HIGHLIGHTS) if hit["path"] == "bell.md")
        assert marked(hit) == ["terminal"]
    hit = ask(client, "terminal", include=["highlights"])[0]
    assert "chunk" not in hit
    assert hit["highlights"] == [{"start": 24, "end": 32}]
    for hit in client.search(embedding=random_vector("q"), repository=REPOSITORY, include=["highlights"]):
        assert hit["highlights"] == []


# ---- Both ----


def test_hybrid_finds_what_either_finds_and_first_what_both_do(client, texts):
    results = ask(client, "audible bell", "hybrid", limit=8)
    assert paths(results)[:2] in (["bell.md", "visible.md"], ["visible.md", "bell.md"])
    assert len(results) == len(TEXTS)
    scores = [hit["score"] for hit in results]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= 2 / 61 + 1e-6
    assert all(-1 <= hit["similarity"] <= 1 for hit in results)


def test_a_question_finds_by_some_of_its_words(client, texts):
    assert ask(client, "how is everything easily configured with zebras") == []
    vector = unit(5)  # far from everything
    answer = client.post("/v1/search", {"query": "who flashes zebras", "embedding": vector, "mode": "hybrid",
                                        "repository": REPOSITORY, "limit": 1})
    assert answer.status == 200 and paths(answer.json["results"]) == ["visible.md"]


def test_phrases_and_what_is_not_wanted_hold_for_every_result(client, texts):
    assert paths(ask(client, '"audible bell" terminal', "hybrid")) == ["bell.md"]
    assert set(paths(ask(client, "bell -audible", "hybrid"))) == set(TEXTS) - {"bell.md", "visible.md"}


def test_similarity_and_threshold_are_those_of_vectors(client, texts):
    by_vector = {hit["path"]: hit["similarity"] for hit in ask(client, "audible bell", "vector", limit=8)}
    for hit in ask(client, "audible bell", "hybrid", limit=8):
        assert hit["similarity"] == pytest.approx(by_vector[hit["path"]], abs=2e-4)
    least = sorted(by_vector.values())[-2] - 0.001
    assert len(ask(client, "audible bell", "hybrid", threshold=least)) == 2


def test_the_mode_that_nobody_named(client, texts):
    def mode(**fields):
        return client.post("/v1/search", {"repository": REPOSITORY, **fields}).json["mode"]

    assert mode(query="bell") == "hybrid"
    assert mode(embedding=random_vector("q")) == "vector"
    answer = client.post(f"/v1/search?mode=hybrid&query=audible&repository={REPOSITORY}&limit=2&group=chunk",
                         octets(random_vector("q")), content_type="application/octet-stream")
    assert answer.status == 200 and answer.json["mode"] == "hybrid"
    assert set(paths(answer.json["results"])) & {"bell.md", "visible.md"}


@pytest.mark.parametrize("fields, field", [
    ({"mode": "fuzzy", "query": "x"}, "mode"),
    ({"mode": 1, "query": "x"}, "mode"),
    ({"mode": "text", "embedding": [1] + [0] * 1535}, "mode"),
    ({"mode": "hybrid", "embedding": [1] + [0] * 1535}, "mode"),
    ({"mode": "text", "query": "x", "embedding": [1] + [0] * 1535}, "query"),
    ({"mode": "vector", "query": "x", "embedding": [1] + [0] * 1535}, "query"),
    ({"mode": "text", "query": "x", "threshold": 0.5}, "threshold"),
    ({"mode": "hybrid"}, "query"),
    ({"group": "page", "query": "x"}, "group"),
    ({"diversity": 1.5, "query": "x"}, "diversity"),
    ({"diversity": -0.1, "query": "x"}, "diversity"),
    ({"diversity": "much", "query": "x"}, "diversity"),
], ids=str)
def test_what_is_wrong_is_named(client, fields, field):
    answer = client.post("/v1/search", fields)
    assert answer.status == 400 and answer.json["error"]["field"] == field, answer


# ---- Groups and diversity ----


def test_every_chunk_is_a_result(client):
    text = "\n\n".join(f"# Part {n}\n\n" + document(f"part {n}", 1, 1200) + "\nzebra" for n in range(5))
    client.put_document("find/chunks", "long.md", text)
    client.put_document("find/chunks", "short.md", "One zebra alone.")
    for mode in ("vector", "text", "hybrid"):
        fields = {"query": "zebra", "mode": mode, "repository": "find/chunks", "limit": 50}
        documents = client.search(**fields)
        chunks = client.search(**fields, group="chunk")
        assert sorted(paths(documents)) == ["long.md", "short.md"]
        assert len(chunks) >= 6 and len({hit["embeddingId"] for hit in chunks}) == len(chunks)
        assert {hit["embeddingId"] for hit in documents} <= {hit["embeddingId"] for hit in chunks}
        assert len(client.search(**fields | {"limit": 3}, group="chunk")) == 3


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_near_duplicates_do_not_fill_a_page(client, mode):
    repository = f"find/copies/{mode}"
    for number in range(8):
        client.put_document(repository, f"copy{number}", f"The okapi lives in the forest of Ituri. Copy {number}.")
    client.put_document(repository, "zoo", "An okapi was seen by visitors to a zoological garden, behind glass.")
    client.put_document(repository, "book", "Our library has one book that mentions the okapi in passing.")
    fields = {"query": "okapi forest" if mode != "text" else "okapi", "mode": mode, "repository": repository, "limit": 4}
    plain = client.search(**fields)
    diverse = client.search(**fields, diversity=0.5)
    assert len(plain) == len(diverse) == 4
    assert diverse[0]["path"] == plain[0]["path"]
    copies = [path for path in paths(diverse) if path.startswith("copy")]
    assert len(copies) <= 2 and {"zoo", "book"} <= set(paths(diverse))
    assert client.search(**fields, diversity=0) == plain


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_a_third_of_diversity_is_enough_against_copies(client, mode):
    """Also where other texts stand far behind them by the words, and close behind them by their place."""
    repository = f"find/licences/{mode}"
    for number in range(12):
        client.put_document(repository, f"copy{number}", "Permission is hereby granted, free of charge, to any person"
                            " obtaining a copy of this software, to deal in the software without restriction.")
    others = {
        "library": "Permission to borrow books for a month is, by the rules of the house, hereby explained to readers:"
                   " it is granted at the desk, free for children, at a small charge for a grown person.",
        "parking": "Parking on the north side is free in the evening. A person who stays longer needs permission from"
                   " the office, hereby opened on Mondays too; where none was granted there is a charge.",
        "archive": "The archive keeps maps of the old town. A map is lent free to each person whose permission was"
                   " granted by the council; hereby we also announce that copies are made without a charge.",
        "garden": "The garden is open and free until sunset; no charge for dogs. A person may camp at the lake with"
                  " permission of the warden, which is hereby, and until further notice, not granted in winter."}
    for path, text in others.items():
        client.put_document(repository, path, text)
    fields = {"query": "permission hereby granted free charge person", "mode": mode, "repository": repository, "limit": 6}
    plain = paths(client.search(**fields))
    assert all(path.startswith("copy") for path in plain), plain
    diverse = paths(client.search(**fields, diversity=0.3))
    assert diverse[0] == plain[0] and set(others) <= set(diverse), diverse


# ---- Whoever writes ----


def test_what_is_replaced_and_deleted_is_not_found_any_more(client):
    put = client.put_document("find/moves", "a", "A wombat digs.")
    client.put_document("find/moves", "a", "A numbat eats.")
    assert client.search(query="wombat", mode="text", repository="find/moves") == []
    assert len(client.search(query="numbat", mode="text", repository="find/moves")) == 1
    client.delete(f"/v1/documents/{put['id']}")
    assert client.search(query="numbat", mode="text", repository="find/moves") == []


def test_what_other_programs_write_is_found_by_its_words(client, daemon):
    def found(query):
        return client.search(query=query, mode="text", repository="find/others", include=HIGHLIGHTS)

    daemon.sql("""INSERT INTO vault."VaultDocument" (id, source, repository, path, content, "updatedAt")
                  VALUES ('others', 'sql', 'find/others', 'a', 'A quokka smiles: Æblegrød.', now())""")
    daemon.sql("""INSERT INTO vault."VaultEmbedding" ("documentId", embedding)
                  SELECT 'others', array_fill(1::real, ARRAY[1536])""")
    hit, = found('"quokka smiles" æblegrød')
    assert marked(hit) == ["quokka smiles", "Æblegrød"]
    daemon.sql("""UPDATE vault."VaultDocument" SET content = 'A bilby hops.' WHERE id = 'others'""")
    assert found("quokka") == [] and len(found("bilby")) == 1
    daemon.sql("""UPDATE vault."VaultDocument" SET id = 'others2' WHERE id = 'others'""")
    assert [hit["id"] for hit in found("bilby")] == ["others2"]
    daemon.sql("""DELETE FROM vault."VaultDocument" WHERE id = 'others2'""")
    assert found("bilby") == []
    assert daemon.sql("""SELECT count(*) FROM tekupdb."ChunkWords" WHERE "documentId" LIKE 'others%%'""") == [(0,)]


def test_a_long_text_and_one_whose_words_are_all_different(client, daemon):
    text = "".join(f"w{n}-x{n}-y{n} " for n in range(60000)) + "latecomer"
    client.put_document("find/long", "long", text, embedding=unit(3))
    assert len(client.search(query="w5 x6", mode="text", repository="find/long")) == 1
    hit, = client.search(query='"w5 x5"', mode="text", repository="find/long", include=HIGHLIGHTS)
    assert marked(hit) == ["w5-x5"]


def test_words_of_what_was_there_before_are_made_in_the_background(make_daemon):
    """As after an update from a version that had none."""
    daemon = make_daemon().start()
    client = daemon.client
    for number in range(250):
        client.put_document("find/old", f"{number:03}", f"Passage {number} about a platypus.")
    with daemon.connect() as connection, connection.cursor() as cursor:
        cursor.execute('DELETE FROM tekupdb."ChunkWords"')
        cursor.execute('UPDATE tekupdb."WordsState" SET "complete" = false, "last" = -2147483648')
    daemon.restart()
    found = 0
    while found < 250:
        answer = client.post("/v1/search", {"query": "platypus", "mode": "text", "limit": 1000})
        assert answer.status == 200, answer
        found = len(answer.json["results"])
        assert found == 250 or "their words are still being taken in" in answer.json["partial"]
    wait_for(lambda: client.post("/v1/search", {"query": "platypus"}).json["partial"] is None, "the words")
    assert daemon.sql('SELECT count(*) FROM tekupdb."ChunkWords"') == [(250,)]
