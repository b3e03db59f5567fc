"""The catalogue of language models: which there are, and what is done before a new one is trusted.

A model file is a program's input of gigabytes from a stranger. Its header is checked here, its checksum must be
known or the operator must say that it is trusted, and it is opened in the model process alone.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from ruma.config import Settings
from ruma.errors import InputError, ModelError, StoreError
from ruma.models.generator import LocalGenerator
from ruma.models.gguf import Header, NotGgufError, read_header
from ruma.models.grounding import ITEMS, BuildTurns, Item, build_turns, check_grounding, share_passed
from ruma.models.language_models import (
    HASH_BLOCK,
    KNOWN_FILES,
    MODEL_FILE,
    PASS_SHARE,
    Model,
    default_model,
    find_model,
    is_taken,
    list_models,
    remove_model,
    write_manifest,
)

__all__ = ["Model", "add_model", "default_model", "find_model", "list_models", "remove_model"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_STAGING = ".adding-"


def add_model(
    settings: Settings,
    file: Path,
    *,
    name: str | None,
    licence: str = "unknown",
    trust: bool = False,
    build_turns: BuildTurns = build_turns,
    items: Sequence[Item] = ITEMS,
) -> Iterator[str | Model]:
    """Yield what is being done to add a model file, and at last the model; it is there whole or not at all.

    Args:
        settings: Where the models are.
        file: A GGUF file; it is copied.
        name: What it is to be called; None takes the file's name.
        licence: Its licence; "unknown" takes what the file itself states.
        trust: Open the file although its checksum is not a known one.
        build_turns: How a question is put to the model in the grounding check.
        items: The questions of the grounding check.

    Raises:
        InputError: The file is no GGUF model, is not trusted, or the name cannot be used.
        StoreError: There is no room for it, or the home cannot be written.
    """
    with _open_regular(file) as opened:
        header = _check_header(opened, file)
        chosen = _check_name(settings, file, name)
        yield f"Checking {file}."
        if not trust:
            _check_known(opened, file)
        with _staging_folder(settings) as staging:
            yield f"Copying it to {settings.models_folder / chosen}."
            model = _stage(opened, header, staging, name=chosen, licence=licence)
            yield "Loading it, and measuring how fast it is on this machine."
            model = yield from _try(model, settings, file, build_turns, items)
            _publish(model, staging, settings.models_folder / chosen)
    yield find_model(settings, chosen)


def _open_regular(file: Path) -> BufferedReader:
    """Open a regular file and nothing else: no device that never ends, no link that is changed meanwhile."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise InputError(
                f"{file} is a symbolic link.", hint=f"Give the file itself: {os.path.realpath(file)}"
            ) from exc
        raise InputError(f"{file} cannot be read: {exc.strerror}.") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{file} is not a regular file.")
    return os.fdopen(descriptor, "rb")


def _check_header(opened: BufferedReader, file: Path) -> Header:
    try:
        header = read_header(opened, os.fstat(opened.fileno()).st_size)
    except NotGgufError as exc:
        raise InputError(
            f"{file} is not a model file in GGUF format: {exc}.",
            hint="Language models in this format have names that end in .gguf.",
        ) from exc
    if header.parts > 1:
        raise InputError(
            f"{file} is one of {header.parts} parts of a model.",
            hint="Join them with `llama-gguf-split --merge` and add the result.",
        )
    return header


def _check_name(settings: Settings, file: Path, name: str | None) -> str:
    chosen = name if name is not None else re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem)[:64].strip("._-")
    if not _NAME.fullmatch(chosen):
        raise InputError(
            f"A model cannot be named {chosen!r}.",
            hint="`--name` takes up to 64 letters, digits, dots, dashes and underscores.",
        )
    if is_taken(settings, chosen):
        raise InputError(
            f"There is already a model named {chosen!r}.",
            hint=f"Give another one with `--name`, or remove it first: `ruma models remove {chosen}`.",
        )
    return chosen


def _check_known(opened: BufferedReader, file: Path) -> None:
    opened.seek(0)
    digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest not in KNOWN_FILES:
        raise InputError(
            f"{file} is not a file that Ruma knows: its sha256 is {digest}.",
            hint="Compare it with what the publisher states, then add it with `--trust-model`.",
        )


def _licence(given: str, header: Header) -> str:
    stated = re.sub(r"[^\x20-\x7e]+", " ", header.licence)[:80].strip()
    return stated if given == "unknown" and stated else given


@contextlib.contextmanager
def _staging_folder(settings: Settings) -> Iterator[Path]:
    """Lend a folder beside the models; whatever is still in it afterwards is removed."""
    try:
        settings.models_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clear_abandoned(settings.models_folder)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=settings.models_folder))
    except OSError as exc:
        raise StoreError(f"{settings.models_folder} cannot be written: {exc.strerror}.") from exc
    descriptor = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that it is in use, also if we are killed
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(descriptor)


def _clear_abandoned(folder: Path) -> None:
    """Remove what a process left that was killed while it added or removed a model."""
    for abandoned in [*folder.glob(_STAGING + "*"), *folder.glob(".removed-*")]:
        with contextlib.suppress(OSError):
            descriptor = os.open(abandoned, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(abandoned, ignore_errors=True)
            finally:
                os.close(descriptor)


def _stage(opened: BufferedReader, header: Header, staging: Path, *, name: str, licence: str) -> Model:
    """Copy the file into the staging folder, safely on disk, and return what is known of it so far."""
    copy = staging / MODEL_FILE
    digest = hashlib.sha256()
    opened.seek(0)
    try:
        with copy.open("xb") as target:
            while block := opened.read(HASH_BLOCK):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
    except OSError as exc:
        raise StoreError(
            f"The model cannot be copied to {staging.parent}: {exc.strerror}.",
            hint="It needs as much room there as the file has.",
        ) from exc
    sha256 = digest.hexdigest()
    return Model(
        name=name,
        file=copy,
        sha256=sha256,
        licence=KNOWN_FILES.get(sha256, _licence(licence, header)),
        size_bytes=copy.stat().st_size,
        origin="added",
        architecture=header.architecture,
        context_tokens=header.context_tokens,
        added_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        changed_ns=copy.stat().st_mtime_ns,
    )


def _try(
    model: Model, settings: Settings, file: Path, build_turns: BuildTurns, items: Sequence[Item]
) -> Generator[str, None, Model]:
    """Run the model in its process, saying what comes out, and return it with its speed and its grounding."""
    generator = LocalGenerator(model, threads=settings.thread_count, is_trial=True)
    try:
        with contextlib.closing(generator):
            facts = generator.facts
            reads, writes = float(facts["reads"]), float(facts["writes"])
            yield f"It reads {reads:.0f} and writes {writes:.0f} tokens a second."
            yield f"Asking it {len(items)} questions to see whether it keeps to the evidence."
            share = share_passed(check_grounding(generator, build_turns, items))
    except ModelError as exc:
        raise InputError(f"{file} cannot be used as a language model: {generator.reason}.") from exc
    model = replace(
        model,
        read_per_second=round(reads, 1),
        tokens_per_second=round(writes, 1),
        has_flash_attention=bool(facts["has_flash_attention"]),
        grounding=round(share, 3),
    )
    behaviour = "writes with it" if model.is_grounded else "will quote"
    yield f"{share:.0%} of the answers kept to the evidence ({PASS_SHARE:.0%} are needed): mode `auto` {behaviour}."
    return model


def _publish(model: Model, staging: Path, target: Path) -> None:
    """Write the manifest and give the finished folder its name, safely on disk."""
    try:
        write_manifest(model, staging)
        os.rename(staging, target)
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StoreError(f"The model cannot be kept as {target}: {exc.strerror}.") from exc
