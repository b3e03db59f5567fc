"""`ruma ingest` of a real handbook, the whole command, against embedding the same chunks and nothing else.

Run: python -m tests.bench.bench_ingest [FOLDER]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruma.config import Settings, load_settings
from ruma.errors import InputError
from ruma.ingest.reading import Reader
from ruma.ingest.sources import find_items, read_item
from ruma.ingest.splitting import split
from ruma.models.embedder import Embedder, compile_embedder, is_compiled, open_embedder
from ruma.models.model_folder import find_model_folder
from ruma.models.vectors import join_passage

DATA = Path(__file__).parents[3] / "shared" / "data" / "site-18f-handbook-md" / "files"
RUMA = [sys.executable, "-m", "ruma"]
SAMPLE_SECONDS = 0.02


def main() -> None:
    """Print the seconds of both, their ratio, the seconds of reading alone, and the command's peak memory."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    if not folder.is_dir():
        sys.exit(f"Skipped: {folder} is missing.")
    settings = load_settings()
    if not is_compiled(settings):
        for line in compile_embedder(settings):
            print(line)
    embedder = open_embedder(settings)
    started = time.perf_counter()
    texts = read_texts(folder, embedder)
    print(f"read and split: {time.perf_counter() - started:.1f} s")
    tokens = sum(embedder.count_tokens(text) + 2 for text in texts)
    print(f"{len(texts)} chunks of {tokens / len(texts):.0f} tokens on average")
    # In turns, so that what else the machine does hits both.
    whole, alone = [], []
    for _ in range(2):
        whole.append(run_command(folder, settings))
        alone.append(encode(texts, settings))
    seconds, peak = min(one[0] for one in whole), max(one[1] for one in whole)
    print(f"ruma ingest, the whole command:     {' '.join(f'{one[0]:.1f}' for one in whole)} s")
    print(f"SentenceTransformer.encode alone:   {' '.join(f'{one:.1f}' for one in alone)} s")
    print(f"ratio of the best:                  {min(alone) / seconds:.2f}")
    print(f"peak memory, all its processes:     {peak / 1e6:.0f} MB")


def read_texts(folder: Path, embedder: Embedder) -> list[str]:
    """Return what an ingest of the folder gives the embedder."""
    texts = []
    with Reader() as reader:
        for item in find_items(str(folder)).items:
            try:
                document = reader.read(read_item(item, 1 << 30), item.name)
            except InputError:
                continue
            passages = (chunk.passage for chunk in split(document, embedder))
            texts += [join_passage(passage.prefix, passage.text)[0] for passage in passages]
    return texts


def run_command(folder: Path, settings: Settings) -> tuple[float, int]:
    """Return how long `ruma ingest` takes in a new home, and the most memory that all its processes had."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "RUMA_HOME": home, "RUMA_KEY_SOURCE": "machine"}
        Path(home, "models").symlink_to(settings.models_folder)
        started = time.perf_counter()
        with subprocess.Popen(
            [*RUMA, "ingest", str(folder)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            peak = 0
            while run.poll() is None:
                peak = max(peak, sum(map(memory_of, family_of(run.pid))))
                time.sleep(SAMPLE_SECONDS)
            seconds = time.perf_counter() - started
            output, errors = run.communicate()
    # The handbook has a few files that hold no text, so the command ends with 1.
    if run.returncode not in (0, 1) or b"chunks" not in output:
        sys.exit(errors.decode())
    return seconds, peak


def encode(texts: list[str], settings: Settings) -> float:
    """Return how long the library's own way takes, its loading and warming up not counted."""
    script = (
        "import sys, json, time, torch\n"
        "from sentence_transformers import SentenceTransformer\n"
        "torch.set_num_threads(int(sys.argv[2]))\n"
        "model = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "texts = json.load(sys.stdin)\nmodel.encode(texts[:32])\nstarted = time.perf_counter()\n"
        "model.encode(texts)\nprint(time.perf_counter() - started)\n"
    )
    command = [sys.executable, "-c", script, str(find_model_folder(settings).path), str(settings.thread_count)]
    run = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def family_of(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: set[int] = set()
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children.update(map(int, (thread / "children").read_text().split()))
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family_of(child))]


def memory_of(pid: int) -> int:
    """Return the memory of a process; what it shares with another counts for both."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
