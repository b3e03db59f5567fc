"""The compiled embedder against `SentenceTransformer.encode` of the same texts, in turns so that noise hits both.

Run: python -m tests.bench.bench_embedder [TEXTS]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ruma.config import Settings
from ruma.models.embedder import Passage, compile_embedder, engine_report, open_embedder
from ruma.models.model_folder import find_model_folder

DATA = Path(__file__).parents[3] / "shared" / "data" / "squad2-dev"
ROUNDS = 4
COLD = """
import json, sys, time
from pathlib import Path
from ruma.config import Settings
from ruma.models.embedder import Passage, open_embedder
def memory(): return int(next(l for l in open("/proc/self/status") if "VmRSS" in l).split()[1]) // 1024
embedder = open_embedder(Settings(home=Path(sys.argv[1])))
embedder.embed_question("When do you open on Sundays?")
opened, ready = memory(), time.time()
embedder.embed_passages([Passage("", text) for text in json.load(sys.stdin)])
print(json.dumps([ready, opened, memory()]))
"""


def main() -> None:
    """Print compile time, speed and cosine beside the reference's, question latency, cold start and memory."""
    if not DATA.is_dir():
        sys.exit(f"Skipped: {DATA} is missing.")
    rows = [json.loads(line) for line in (DATA / "corpus.jsonl").read_text().splitlines()]
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    texts = [f"{row['title']}\n{row['text']}" for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        started = time.perf_counter()
        for _ in compile_embedder(settings):
            pass
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        print(f"compiled in {time.perf_counter() - started:.1f} s, its process used up to {peak} MB")
        print("\n".join(engine_report(settings)))
        embedder = open_embedder(settings)
        fit = [text for text in texts if embedder.count_tokens(text) + 2 <= embedder.max_tokens][:count]
        tokens = sum(embedder.count_tokens(text) + 2 for text in fit) / len(fit)
        print(f"{len(fit)} texts of {tokens:.0f} tokens on average")
        compare(settings, embedder, fit)
        ask(embedder, DATA)
        start_cold(settings, fit)


def compare(settings: Settings, embedder: Any, texts: list[str]) -> None:
    """Embed a share of the texts with each engine in turn."""
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(find_model_folder(settings).path), device="cpu")
    engines: dict[str, Callable[[list[str]], Any]] = {
        embedder.engine: lambda some: np.array(
            [one.passage for one in embedder.embed_passages([Passage("", text) for text in some])]
        ),
        "sentence-transformers": lambda some: reference.encode(some, normalize_embeddings=True),
    }
    seconds = dict.fromkeys(engines, 0.0)
    vectors: dict[str, list[Any]] = {name: [] for name in engines}
    for encode in engines.values():
        encode(texts[:32])
    for start in range(ROUNDS):
        for name, encode in engines.items():
            started = time.perf_counter()
            vectors[name].append(encode(texts[start::ROUNDS]))
            seconds[name] += time.perf_counter() - started
    for name, spent in seconds.items():
        print(f"{name:24} {len(texts) / spent:7.1f} texts/s")
    ours, theirs = (np.concatenate(some) for some in vectors.values())
    cosines = (ours * theirs).sum(axis=1)
    ratio = seconds["sentence-transformers"] / seconds[embedder.engine]
    print(f"ratio {ratio:.2f}, cosine {cosines.mean():.4f} (lowest {cosines.min():.4f})")


def ask(embedder: Any, data: Path) -> None:
    """Embed questions one by one."""
    questions = [json.loads(line)["text"] for line in (data / "queries.sample.jsonl").read_text().splitlines()]
    times = []
    for question in questions[:300]:
        started = time.perf_counter()
        embedder.embed_question(question)
        times.append(1000 * (time.perf_counter() - started))
    tokens = np.mean([embedder.count_tokens(question) + 2 for question in questions[:300]])
    print(f"question of {tokens:.0f} tokens: median {np.median(times):.1f} ms, p95 {np.percentile(times, 95):.1f} ms")


def start_cold(settings: Settings, texts: list[str]) -> None:
    """Start a process, open the embedder and ask; then embed everything in it."""
    found = []
    for _ in range(3):
        started = time.time()
        done = subprocess.run(
            [sys.executable, "-c", COLD, str(settings.home)],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
        )
        ready, opened, after = json.loads(done.stdout)
        found.append((ready - started, opened, after))
    cold, opened, after = min(found)
    print(f"new process to its first question's vector: {cold:.2f} s (best of 3)")
    print(f"memory: {opened} MB opened, {after} MB after {len(texts)} texts")


if __name__ == "__main__":
    main()
