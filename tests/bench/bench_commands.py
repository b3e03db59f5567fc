"""How long a person waits for the command itself, beside the start of Python alone.

Run: python -m tests.bench.bench_commands
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ruma.config import load_settings
from ruma.models.embedder import open_embedder

EXAMPLES = Path(__file__).parents[2] / "examples" / "bakery"
RUMA = [sys.executable, "-m", "ruma"]


def main() -> None:
    """Time `--help` and `ask`, each in processes of their own, with the embedder compiled before."""
    settings = load_settings()
    open_embedder(settings)
    compiled = settings.models_folder
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "RUMA_HOME": folder, "RUMA_KEY_SOURCE": "machine"}
        Path(folder, "models").symlink_to(compiled)
        # What it says goes to the terminal, so that a failure explains itself.
        subprocess.run([*RUMA, "ingest", str(EXAMPLES)], env=environ, check=True)
        python = _time([sys.executable, "-c", ""], environ)
        print(f"python -c ''   {python:.3f} s")
        for words in (["--help"], ["ask", "--mode", "quote", "What are the opening hours?"]):
            taken = _time([*RUMA, *words], environ)
            print(f"ruma {words[0]:9} {taken:.3f} s   ratio {taken / python:.1f}")


def _time(command: list[str], environ: dict[str, str]) -> float:
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run(command, env=environ, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


if __name__ == "__main__":
    main()
