import threading

import numpy as np
import pytest

from ruma.config import Settings
from ruma.errors import NotReadyError
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import remove_documents, store_document
from ruma.tenant.knowledge.index import (
    compare,
    count_chunks,
    document_frequencies,
    load_passages,
    pack_spans,
    search_vectors,
    search_words,
    unpack_spans,
)
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.vectors import VectorCache, pack, unpack
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document


def store(tenant: Tenant, name: str, *texts: str, title: str = "") -> int:
    """Store a document in the tenant's one folder."""
    source = add_source(tenant, "folder", "/shop")
    return store_document(tenant, source.id, make_document(name, *texts, title=title), embedder_id=EMBEDDER.id)


@pytest.mark.parametrize("term", ['" OR 1=1 --', "NEAR(", "text:", "bread*", "^bread", 'a"b', "\0", "-", "(", "AND"])
def test_terms_are_words_and_never_syntax(tenant: Tenant, term: str) -> None:
    """What FTS5 would take for an operator, a column or a quote is searched as a word or not at all."""
    store(tenant, "a.md", "Bread is baked daily.")

    found = search_words(tenant, [term, "baked"], 5)

    assert len(found) == 1
    assert search_words(tenant, ["-", "("], 5) == []


def test_words_in_the_title_weigh_more(tenant: Tenant) -> None:
    """Of two documents with a word, the one that has it in its title comes first."""
    store(tenant, "a.md", "We bake bread in the morning with care.", title="About us")
    titled = store(tenant, "b.md", "We bake it in the morning with care.", title="Bread")

    first = load_passages(tenant, [search_words(tenant, ["bread"], 2)[0][0]])[0]

    assert first.document_id == titled


def test_frequencies_count_stems(tenant: Tenant) -> None:
    """A word counts in every form that the index takes for the same."""
    store(tenant, "a.md", "One cake.", "Two cakes.", "No bread.")

    assert document_frequencies(tenant, ["cakes", "bread", "tea", '"']) == {"cakes": 2, "bread": 1, "tea": 0, '"': 0}


def test_passages_come_in_the_order_asked_for(tenant: Tenant) -> None:
    """Ids that are gone are left out, and the others keep their order, vectors and places."""
    store(tenant, "a.md", "One cake.", "Two cakes.")
    ids = [found[0] for found in search_words(tenant, ["cake"], 5)]

    passages = load_passages(tenant, [ids[1], 999, ids[0]])

    assert [passage.id for passage in passages] == [ids[1], ids[0]]
    second = next(passage for passage in passages if passage.text == "Two cakes.")
    assert (second.start, second.sentences) == (9, ((0, 10),))
    np.testing.assert_allclose(second.vector, EMBEDDER.embed_question("Two cakes."), atol=0.01)
    assert second.sentence_vectors.shape == (1, EMBEDDER.dimension)


def test_another_process_sees_what_was_written(settings: Settings) -> None:
    """A tenant opened twice finds, in both, what the other stored and removed."""
    home = Home(settings)
    home.create("acme")
    with home.open("acme") as one, home.open("acme") as two:
        question = EMBEDDER.embed_question("cakes")
        assert search_vectors(one, question, 3) == []

        ids = [store(two, f"{number}.md", f"Cakes number {number}.") for number in range(3)]
        assert len(search_vectors(one, question, 5)) == 3

        remove_documents(two, ids[:2])
        store(two, "9.md", "More cakes.")
        assert [found for found, _ in search_vectors(one, question, 5)] == [
            found for found, _ in search_vectors(two, question, 5)
        ]
        assert count_chunks(one) == 2


def test_vectors_of_another_length_are_an_error(tenant: Tenant) -> None:
    """A question from a model of another length is told what to do, not compared."""
    store(tenant, "a.md", "Cakes.")

    with pytest.raises(NotReadyError, match="64 numbers, and this model makes 8"):
        search_vectors(tenant, np.ones(8, np.float32), 3)


def test_packed_vectors_keep_their_direction() -> None:
    """One byte a number keeps the cosine to the original above 0.999, also for a vector of zeros."""
    vectors = np.random.default_rng(1).standard_normal((50, 384)).astype(np.float32)
    vectors[7] = 0

    back = unpack(pack(vectors), 384)

    assert back[7].tolist() == [0.0] * 384
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(back, axis=1)
    cosines = (vectors * back).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    assert cosines.min() > 0.999


def test_spans_survive_packing() -> None:
    """Spans are the same after packing, none included."""
    assert unpack_spans(pack_spans([(0, 5), (5, 70_000)])) == ((0, 5), (5, 70_000))
    assert unpack_spans(pack_spans([])) == ()


def test_the_bits_find_what_an_exact_search_finds(tenant: Tenant) -> None:
    """Among more vectors than are ranked one by one, the nearest are those of an exact search."""
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((200, 64)).astype(np.float32)
    vectors = centres[rng.integers(0, 200, 20_000)] + 0.5 * rng.standard_normal((20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store(tenant, "a.md", "Cakes.")
    with tenant.writing() as db:
        chunk = db.execute("select document_id from chunk").fetchone()[0]
        rows = [(chunk, 0, 1, "", None, "x", b"")] * len(vectors)
        db.conn.executemany(
            'insert into chunk (document_id, start, "end", heading, page, text, sentences) values (?,?,?,?,?,?,?)', rows
        )
        ids = [row[0] for row in db.execute("select id from chunk order by id").fetchall()][1:]
        db.conn.executemany(
            "insert into vector values (?, ?)", zip(ids, (pack(one[None]) for one in vectors), strict=True)
        )
        db.execute("update search_index set revision = revision + 1")

    found, exact = [], []
    for question in vectors[:40] + 0.1 * rng.standard_normal((40, 64)).astype(np.float32):
        found.append({number for number, _ in search_vectors(tenant, question, 10)})
        exact.append({ids[place] for place in np.argsort(-(vectors @ question))[:10]})

    assert isinstance(tenant.vectors, VectorCache)
    assert np.mean([len(one & two) / 10 for one, two in zip(found, exact, strict=True)]) >= 0.95


def test_chunks_are_compared_as_their_vectors_are(tenant: Tenant) -> None:
    """All at once or one by one, the cosines of whole, heading and sentences are the same."""
    store(tenant, "a.md", "Bread is baked at noon. Cakes are not.", "Two cakes.", title="Our bread")
    asked = EMBEDDER.embed_question("When are cakes baked?")
    chunks = load_passages(tenant, [number for number, _ in search_vectors(tenant, asked, 5)])

    compared = compare(chunks, asked)

    assert [chunk.sentences for chunk in chunks] == [((0, 38),), ((0, 10),)]
    for place, chunk in enumerate(chunks):
        assert compared.wholes[place] == pytest.approx(float(chunk.vector @ asked), abs=1e-5)
        assert compared.parts[compared.edges[place]] == pytest.approx(float(chunk.prefix_vector @ asked), abs=1e-5)
        np.testing.assert_allclose(compared.of_sentences(place), chunk.sentence_vectors @ asked, atol=1e-5)


def test_readings_within_one_state_do_not_see_what_comes_between(tenant: Tenant) -> None:
    """What one reading found is there for the next, whatever is stored or removed meanwhile; after it, no more."""
    first = store(tenant, "a.md", "One cake.")

    with tenant.one_state():
        before = count_chunks(tenant)
        writer = threading.Thread(target=lambda: remove_documents(tenant, [first]))
        writer.start()
        writer.join()
        assert count_chunks(tenant) == before == 1

    assert count_chunks(tenant) == 0
