import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ruma.config import Settings
from ruma.errors import InputError
from ruma.models.embedder import Embedder, Passage, engine_report, open_embedder
from ruma.models.model_folder import find_model_folder
from ruma.models.tokenizing import TokenizingEmbedder
from ruma.models.torch_embedder import SentenceTransformerEmbedder
from ruma.models.vectors import Vector, join_passage, mean_over_spans
from tests.small_model import write_small_model

ROOT = Path(__file__).parents[1]
OPEN = """
import sys
from pathlib import Path
from ruma.config import Settings
from ruma.models.embedder import open_embedder
embedder = open_embedder(Settings(home=Path(sys.argv[1])))
embedder.embed_question("When do you open?")
print(sorted({"torch", "transformers", "sentence_transformers", "nncf"} & set(sys.modules)))
"""


def passage(prefix: str, *sentences: str) -> Passage:
    """Return a passage of sentences with their spans."""
    spans, text = [], ""
    for sentence in sentences:
        start = len(text) + bool(text)
        text = f"{text} {sentence}" if text else sentence
        spans.append((start, len(text)))
    return Passage(prefix, text, spans)


PASSAGES = [
    passage("Bakery / Opening hours", "We open at 7 on weekdays.", "On Sundays the bakery opens at 8."),
    passage("", "Returns are free within 30 days.", "Keep the receipt, please!", "Worn shoes stay with you."),
    passage("Café Müller", "Süße Brötchen kosten 1,20 €; naïve façade 😀 tests.", "営業時間は九時からです。"),
    passage("Warranty", "x", *["The battery is covered for twelve months of ordinary use."] * 15),
]


@pytest.fixture(scope="module")
def reference(compiled_home: Settings) -> Embedder:
    """Return sentence-transformers in torch, which every other engine is measured by."""
    return SentenceTransformerEmbedder(find_model_folder(compiled_home), id="reference", threads=2)


def cosine(left: Vector, right: Vector) -> float:
    """Return the lowest cosine of two lists of unit vectors."""
    return float(np.min((left * right).sum(axis=-1)))


def test_default_embedder_is_named_by_its_weights(embedder: Embedder) -> None:
    """The id that databases record carries the published checksum, and the limits are the model's own."""
    assert embedder.id == "all-MiniLM-L6-v2@53aa51172d14"
    assert (embedder.dimension, embedder.max_tokens) == (384, 256)
    assert embedder.engine.startswith("openvino ")


def test_vectors_are_those_of_sentence_transformers(embedder: Embedder, reference: Embedder) -> None:
    """Passages, prefixes, sentences and questions come within cosine 0.985 of the reference engine's."""
    ours, theirs = embedder.embed_passages(PASSAGES), reference.embed_passages(PASSAGES)

    for one, other in zip(ours, theirs, strict=True):
        assert cosine(one.passage, other.passage) > 0.985
        assert cosine(one.sentences, other.sentences) > 0.98
        assert not one.prefix.any() if not other.prefix.any() else cosine(one.prefix, other.prefix) > 0.98
    question = "Wann öffnen Sie am Sonntag?"
    assert cosine(embedder.embed_question(question), reference.embed_question(question)) > 0.985


def test_questions_that_are_asked_at_once_get_their_own_vectors(embedder: Embedder) -> None:
    """Read in one go, short beside long, each question has the vector that it has alone."""
    asked = ["Open?", "What does the warranty cover, and for how long?", "Où est la boulangerie ?", "When? " * 40] * 3
    alone = [embedder.embed_question(text) for text in asked[:4]] * 3

    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(embedder.embed_question, asked))

    assert cosine(np.array(together), np.array(alone)) > 0.9999


def test_reference_is_sentence_transformers_own_encode(reference: Embedder) -> None:
    """The fallback engine gives what `SentenceTransformer.encode` gives, specials and all."""
    assert isinstance(reference, SentenceTransformerEmbedder)
    texts = [join_passage(one.prefix, one.text)[0] for one in PASSAGES]

    encoded = reference._encoder.encode(texts, normalize_embeddings=True)

    assert cosine(np.array([one.passage for one in reference.embed_passages(PASSAGES)]), encoded) > 0.99999


def test_sentence_vectors_are_the_means_of_their_own_tokens(embedder: Embedder) -> None:
    """A sentence's vector is nearer to the same sentence read alone than to its neighbour."""
    (found,) = embedder.embed_passages([PASSAGES[1]])
    alone = np.array([embedder.embed_question(PASSAGES[1].text[start:end]) for start, end in PASSAGES[1].sentences])

    assert (found.sentences @ alone.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_vectors_have_unit_length_and_empty_parts_are_zeros(embedder: Embedder) -> None:
    """Every vector is float32 of length 1; a missing prefix and an empty span give zeros."""
    (found,) = embedder.embed_passages([Passage("", "We open at 8.", [(0, 13), (13, 13)])])

    assert {found.passage.dtype, found.prefix.dtype, found.sentences.dtype} == {np.dtype(np.float32)}
    assert np.linalg.norm(found.passage) == pytest.approx(1)
    assert not found.prefix.any()
    assert np.linalg.norm(found.sentences, axis=1).tolist() == pytest.approx([1, 0])
    assert np.linalg.norm(embedder.embed_question("")) == pytest.approx(1)


def test_prefix_gives_the_passage_its_context(embedder: Embedder) -> None:
    """A passage under a heading is nearer to a question about that heading than without it."""
    text = "Monday to Friday 9 to 17, Saturday 10 to 13."
    plain, headed = embedder.embed_passages([Passage("", text), Passage("Dentist Dr. Brown", text)])
    question = embedder.embed_question("When can I see the dentist?")

    assert headed.passage @ question > plain.passage @ question + 0.1


@pytest.mark.nightly
def test_many_passages_keep_their_order(embedder: Embedder) -> None:
    """Passages of all lengths come back in their order, each as if it had been read alone."""
    many = [Passage("Part", " ".join(["word"] * (place * 37 % 200)) + f" {place}") for place in range(60)]

    together = embedder.embed_passages(many)

    alone = [embedder.embed_passages([one])[0] for one in many]
    assert cosine(np.array([x.passage for x in together]), np.array([x.passage for x in alone])) > 0.995


def test_no_passages_give_no_vectors(embedder: Embedder) -> None:
    """An empty list and a passage without sentences are no special case."""
    assert embedder.embed_passages([]) == []
    assert embedder.embed_passages([Passage("", "text")])[0].sentences.shape == (0, 384)


def test_passage_over_the_limit_is_refused(embedder: Embedder, reference: Embedder) -> None:
    """A passage that the model would cut silently is an error, in both engines; one just fitting is not."""
    for engine in (embedder, reference):
        engine.embed_passages([Passage("", "word " * 254)])
        with pytest.raises(ValueError, match="257 tokens"):
            engine.embed_passages([Passage("", "word " * 255)])


@pytest.mark.parametrize("engine", ["embedder", "reference"])
def test_long_question_is_read_to_its_end(engine: str, request: pytest.FixtureRequest) -> None:
    """A question of several times the model's length has a vector, and its last words count."""
    embedder: Embedder = request.getfixturevalue(engine)
    start = "When do you open? " * 100

    vector, other = embedder.embed_question(start), embedder.embed_question(start + "walnut bread " * 200)

    assert np.linalg.norm(vector) == pytest.approx(1)
    bread = embedder.embed_question("walnut bread")
    assert other @ bread > vector @ bread + 0.1


def test_windows_of_a_question_lose_nothing(embedder: Embedder) -> None:
    """Windows hold all of a question, and each fits, also where words are cut in two."""
    assert isinstance(embedder, TokenizingEmbedder)
    text = "Übergrößenträger-ab9cöß7xZq" * 60

    windows = embedder._windows(text, "")

    assert "".join(windows) == text
    assert all(embedder.count_tokens(window) + 2 <= embedder.max_tokens for window in windows)
    assert np.linalg.norm(embedder.embed_question(text)) == pytest.approx(1)


def test_question_of_100000_characters_is_no_error(embedder: Embedder) -> None:
    """However long a question is, it has a vector, its last words count, and it costs 16 passes at most."""
    assert isinstance(embedder, TokenizingEmbedder)
    question = "open? " * 16_000 + "walnut bread " * 400

    vector = embedder.embed_question(question)

    assert len(embedder._windows(question, "")) == 16
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector @ embedder.embed_question("open? " * 100) < 0.999


def test_token_spans_point_into_the_text(embedder: Embedder) -> None:
    """Each span holds its token's characters, whatever the script, and specials are left out."""
    text = "Süße Brötchen, 1,20 € 😀 ok"

    spans = embedder.token_spans(text)

    assert [text[start:end] for start, end in spans][-1] == "ok"
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert embedder.count_tokens(text) == len(spans)
    assert embedder.token_spans("") == []
    assert len(embedder.token_spans("word " * 1000)) == 1000


def test_threads_do_not_mix_their_texts(embedder: Embedder) -> None:
    """Questions and passages from many threads at once get the vectors that they get alone."""
    questions = [f"What does number {place} cost?" for place in range(40)]
    expected = [embedder.embed_question(one) for one in questions]
    passages = embedder.embed_passages(PASSAGES)

    with ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(embedder.embed_passages, PASSAGES) for _ in range(6)]
        found = list(pool.map(embedder.embed_question, questions))

    assert cosine(np.array(found), np.array(expected)) > 0.9999
    for job in jobs:
        assert (
            cosine(np.array([one.passage for one in job.result()]), np.array([one.passage for one in passages]))
            > 0.9999
        )


def test_an_error_in_a_batch_does_not_stop_the_next(embedder: Embedder) -> None:
    """After a refused passage the embedder goes on, also from another thread."""
    with pytest.raises(ValueError, match="tokens"):
        embedder.embed_passages([*PASSAGES, Passage("", "word " * 300)])

    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(embedder.embed_passages, PASSAGES).result(timeout=20)) == len(PASSAGES)


def test_compiled_embedder_loads_no_torch(compiled_home: Settings) -> None:
    """Opening and asking imports neither torch nor anything that takes seconds to import."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(compiled_home.home)], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_opening_looks_for_no_network(compiled_home: Settings, tmp_path: Path) -> None:
    """The embedder's process opens no internet socket, and leaves nothing in the home directory."""
    trace, home = tmp_path / "trace", tmp_path / "user"
    home.mkdir()
    command = ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace), sys.executable, "-c", OPEN]

    subprocess.run([*command, str(compiled_home.home)], cwd=ROOT, env=os.environ | {"HOME": str(home)}, check=True)

    assert "exited with 0" in trace.read_text()
    assert "AF_INET" not in trace.read_text()
    assert list(home.iterdir()) == []


def test_model_that_openvino_cannot_run_is_run_by_sentence_transformers(settings: Settings, tmp_path: Path) -> None:
    """A model with a further module works, with sentence-transformers, and the report says why."""
    model = write_small_model(tmp_path / "projected", dense=True, query="question: ")
    settings = Settings(home=settings.home, embedder=str(model))

    embedder = open_embedder(settings)

    assert (embedder.engine, embedder.dimension, embedder.max_tokens) == ("sentence-transformers", 16, 64)
    (found,) = embedder.embed_passages([PASSAGES[0]])
    assert np.linalg.norm(found.sentences, axis=1).tolist() == pytest.approx([1, 1])
    assert np.linalg.norm(embedder.embed_question("word " * 500)) == pytest.approx(1)
    assert "Dense" in engine_report(settings)[0]


def test_missing_model_folder_is_said_plainly(settings: Settings, tmp_path: Path) -> None:
    """A folder that is not there, or holds something else, is an error that names it."""
    for path, problem in ((tmp_path / "nothing", "There is no embedding model in "), (tmp_path, "modules.json")):
        with pytest.raises(InputError, match=problem) as caught:
            open_embedder(Settings(home=settings.home, embedder=str(path)))
        assert str(path) in str(caught.value)


def test_token_belongs_to_the_span_of_its_last_character() -> None:
    """A token that begins with the space before its word is not counted to the sentence before."""
    outputs = np.eye(4, dtype=np.float32)
    ends = np.array([2, 5, 8, 9])  # "ab", " cd", " ef", "."

    means = mean_over_spans(outputs, ends, [(0, 2), (3, 9), (4, 4), (6, 8)])

    assert means[0].tolist() == [1, 0, 0, 0]
    assert means[1] == pytest.approx(np.array([0, 1, 1, 1]) / np.sqrt(3))
    assert means[2].tolist() == [0, 0, 0, 0]
    assert means[3].tolist() == [0, 0, 1, 0]
