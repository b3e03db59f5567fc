"""Compiles the embedding model once, in a process of its own so that torch's memory is given back."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ruma.config import Settings
from ruma.errors import ModelError
from ruma.models.compiled import (
    SENTENCE_TRANSFORMERS,
    TOKENIZER,
    Manifest,
    Measurement,
    checksum,
    describe_machine,
    embedders_folder,
    find_compiled,
)
from ruma.models.model_folder import ModelFolder, find_model_folder
from ruma.models.silence import QUIET_ENVIRONMENT

_STAGING, _WORK = ".staging-", "work"
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
# -I leaves the checkout, the working directory and the user's own packages out, so ruma's place is handed over.
_START = """
import sys
sys.path.append(sys.argv[1])
from ruma.models.silence import leave_network
leave_network()
from ruma.models.compile_process import main
main()
"""


def is_compiled(settings: Settings) -> bool:
    """Say whether the embedder of the settings can be opened without compiling it first."""
    return find_compiled(settings, find_model_folder(settings)) is not None


def compile_embedder(settings: Settings) -> Iterator[str]:
    """Yield a line a step while the embedder of the settings is compiled into the home.

    Two processes at once: the second waits and uses what the first made. Stopped at any moment, it leaves
    nothing that would be taken for a compiled embedder.

    Raises:
        InputError: The settings name no embedding model.
        ModelError: The model is damaged, or the home cannot be written.
    """
    model = find_model_folder(settings)
    try:
        with _only_one(settings) as waits:
            yield from waits
            if find_compiled(settings, model) is None:
                yield from _compile(settings, model)
    except OSError as exc:
        raise ModelError(
            f"The embedding model {model.name} cannot be compiled in {embedders_folder(settings)}: "
            f"{exc.strerror or exc}.",
            hint="It needs about 300 MB of disk there, and leave to write.",
        ) from exc


@contextmanager
def _only_one(settings: Settings) -> Iterator[Iterator[str]]:
    folder = embedders_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:

        def wait() -> Iterator[str]:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield "Another process compiles the embedding model; waiting for it."
                fcntl.flock(lock, fcntl.LOCK_EX)

        # Closing the file gives the lock back, whatever happens; so does the death of the process.
        yield wait()


def _compile(settings: Settings, model: ModelFolder) -> Iterator[str]:
    folder = embedders_folder(settings)
    for left in folder.glob(f"{_STAGING}*"):  # Of a process that was killed: we hold the lock.
        shutil.rmtree(left)
    yield f"Compiling the embedding model {model.name} for this processor, once."
    weights = model.checksum()
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        result: dict[str, Any] = {}
        if model.obstacle:
            result = {"engine": SENTENCE_TRANSFORMERS, "reason": f"OpenVINO cannot run it: {model.obstacle}."}
        else:
            yield from _run_child(settings, model, staging, result)
        _finish(folder, staging, model, weights, result)
        yield f"Ready: {result['engine']}. {result['reason']}"
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_child(settings: Settings, model: ModelFolder, staging: Path, result: dict[str, Any]) -> Iterator[str]:
    job = {"path": str(model.path), "name": model.name, "staging": str(staging), "threads": settings.thread_count}
    problem = ""
    with tempfile.TemporaryFile(dir=staging) as errors, _start_child(job, errors) as child:
        try:
            for line in child.stdout or ():
                message = json.loads(line)
                if "step" in message:
                    yield message["step"]
                problem = message.get("problem", problem)
                result |= message.get("result", {})
            child.wait()
        finally:
            child.kill()
        if not result:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            ended = f"the process that does it ended with {child.returncode}"
            raise ModelError(
                f"The embedding model {model.name} cannot be compiled: {problem or (said or [ended])[-1]}."
            )


def _start_child(job: dict[str, Any], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    work = Path(job["staging"]) / _WORK
    work.mkdir()
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    changed = {"HOME": str(work), "TMPDIR": str(work), "OMP_NUM_THREADS": str(job["threads"])}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, str(Path(__file__).parents[2]), json.dumps(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=kept | QUIET_ENVIRONMENT | changed,
        cwd=work,
    )


def _finish(folder: Path, staging: Path, model: ModelFolder, weights: str, result: dict[str, Any]) -> None:
    """Make the staging folder the compiled embedder, in one step."""
    shutil.rmtree(staging / _WORK, ignore_errors=True)
    if result["engine"] != SENTENCE_TRANSFORMERS:
        shutil.copyfile(model.transformer / TOKENIZER, staging / TOKENIZER)
    id = f"{model.name}@{weights[:12]}"
    Manifest(
        id=id,
        name=model.name,
        weights_sha256=weights,
        engine=result["engine"],
        reason=result["reason"],
        state=model.state(),
        machine=describe_machine(),
        measurements=[Measurement(**one) for one in result.get("measurements", [])],
        files={path.name: checksum(path) for path in staging.iterdir()},
    ).write(staging)
    for path in staging.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    if (folder / id).exists():  # Out of date; whoever has it open keeps reading what was removed.
        (folder / id).rename(folder / f"{_STAGING}old")
    staging.rename(folder / id)
    shutil.rmtree(folder / f"{_STAGING}old", ignore_errors=True)
