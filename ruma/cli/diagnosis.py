"""`ruma doctor`: what is well on this machine and what is not, each with what to do."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import typer

from ruma import __version__
from ruma.cli.options import HomeOption, JsonOption
from ruma.cli.output import note, plural, print_json, print_row, showing_steps, size
from ruma.cli.parts import Parts
from ruma.errors import RumaError
from ruma.offline import is_offline, landlock_version, wall

if TYPE_CHECKING:
    from ruma.tenant.tenant import Tenant

MINIMUMS = {
    "litestar": "2.25.0",
    "multipart": "1.3.1",
    "h11": "0.16.0",
    "jinja2": "3.1.6",
    "sqlcipher3": "0.6.4",
    "sqlite-utils": "4.2.1",
    "pypdf": "6.16.1",
    "lxml": "6.1.0",
    "llama-cpp-python": "0.3.36",
}
"""Packages whose older versions have known holes, and the first version without them."""

LEAST_SQLITE = "3.53.2"
"""Older ones can damage a write-ahead log that two processes reset."""

LEAST_FREE = 1_000_000_000

Status = Literal["well", "absent", "notice", "problem"]
_MARKS = {"well": "ok", "absent": "-", "notice": "notice", "problem": "PROBLEM"}


@dataclass(frozen=True)
class Finding:
    """One line of the examination. What is absent need not be there, a notice is worth knowing: neither fails."""

    subject: str
    status: Status
    text: str
    hint: str = ""


def doctor(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Check this machine and every tenant.

    Each line that is not well ends with what to do, and any problem makes the exit code 1.
    """
    with Parts(ctx, home=home) as parts:
        findings = []
        for finding in examine_all(parts):
            findings.append(finding)
            if not as_json:
                _print(finding)
    problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        print_json({"is_well": not problems, "version": __version__, "findings": [asdict(one) for one in findings]})
    else:
        note(f"{plural(problems, 'problem')}." if problems else "All is well.", style="bold")
    if problems:
        raise typer.Exit(1)


def examine_all(parts: Parts) -> Iterator[Finding]:
    """Yield every finding, from the ground up; a check that fails does not stop those after it."""
    for check in (
        _check_versions, _check_network, _check_cipher, _check_home, _check_disk, _check_keys,
        _check_embedder, _check_parser, _check_model, _check_tenants,
    ):  # fmt: skip
        try:
            yield from check(parts)
        except RumaError as exc:
            yield Finding(check.__name__.removeprefix("_check_"), "problem", str(exc), exc.hint)


def find_old_packages(minimums: Mapping[str, str]) -> list[str]:
    """Return a clause for each package that is missing, or older than it must be."""
    old = []
    for name, minimum in minimums.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            old.append(f"{name} is missing")
            continue
        if _numbers(found) < _numbers(minimum):
            old.append(f"{name} is {found}, and {minimum} is needed")
    return old


def _check_versions(_: Parts) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ruma", "well", f"{__version__} on Python {python}")
    if old := find_old_packages(MINIMUMS):
        yield Finding("packages", "problem", "; ".join(old) + ".", "pip install --upgrade ruma")
    else:
        yield Finding("packages", "well", f"{len(MINIMUMS)} packages are at or above the versions they must have")


def _check_network(parts: Parts) -> Iterator[Finding]:
    walls = {
        "network namespace": "the kernel gives this process no network at all",
        "Landlock": "the kernel lets it reach no port but the mail server's",
        "none": "an audit hook in the process sees to it",
    }
    if parts.settings.offline and is_offline():
        text, hint = f"offline: {walls[wall()]}", ""
        if wall() == "none":
            hint = "Linux 6.7 has Landlock for networks; or allow unprivileged user namespaces."
        yield Finding("network", "well" if not hint else "notice", text, hint)
        return
    could = f"Landlock {landlock_version()}" if landlock_version() else "no Landlock"
    text = f"connections go through one door and are in `ruma ledger`; for --offline the kernel has {could}"
    yield Finding("network", "well", text)


def _check_cipher(_: Parts) -> Iterator[Finding]:
    from ruma.tenant.database import library_versions

    sqlite, cipher = library_versions()
    if not cipher:
        text = f"SQLite {sqlite} has no cipher, so nothing can be stored."
        yield Finding("database", "problem", text, "pip install --force-reinstall 'sqlcipher3>=0.6.4'")
    elif _numbers(sqlite) < _numbers(LEAST_SQLITE):
        text = f"SQLite {sqlite} can damage a database; {LEAST_SQLITE} is needed."
        yield Finding("database", "problem", text, "pip install --upgrade 'sqlcipher3>=0.6.4'")
    else:
        yield Finding("database", "well", f"SQLite {sqlite} with SQLCipher {cipher}")


def _check_home(parts: Parts) -> Iterator[Finding]:
    home = parts.settings.home
    if not home.exists():
        yield Finding("home", "notice", f"{home} is not there yet", "The first `ruma ingest FOLDER` makes it.")
        return
    mode = stat.S_IMODE(home.stat().st_mode)
    if home.stat().st_uid != os.geteuid():
        yield Finding("home", "problem", f"{home} belongs to another user.", "Run Ruma as its owner, or chown it.")
    elif mode & 0o077:
        text = f"Other users of this machine have access to {home} (mode {mode:04o})."
        yield Finding("home", "problem", text, f"chmod 700 {home}")
    elif not os.access(home, os.W_OK | os.X_OK):
        yield Finding("home", "problem", f"{home} cannot be written.", f"chmod 700 {home}, or check the disk.")
    else:
        yield Finding("home", "well", f"{home}, open to its owner alone")


def _check_disk(parts: Parts) -> Iterator[Finding]:
    home = parts.settings.home
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        yield Finding("disk", "problem", f"Only {size(free)} are free.", "Free some space, or move the home.")
    else:
        yield Finding("disk", "well", f"{size(free)} free")


def _check_keys(parts: Parts) -> Iterator[Finding]:
    from ruma.tenant.keys.keys import available_key_sources

    chosen = parts.settings.key_source
    sources = available_key_sources(parts.settings)
    if chosen != "auto" and not any(is_usable for name, is_usable, _ in sources if name == chosen):
        reason = next(reason for name, _, reason in sources if name == chosen)
        yield Finding("key source", "problem", f"{chosen} cannot be used: {reason}.", "Set key_source to another one.")
    for name, is_usable, reason in sources:
        yield Finding(f"key source {name}", "well" if is_usable else "absent", reason)


def _check_embedder(parts: Parts) -> Iterator[Finding]:
    from ruma.models import embedder

    if not embedder.is_compiled(parts.settings):
        yield Finding(
            "embedding model", "notice", f"{parts.settings.embedder} is not prepared on this machine yet",
            "`ruma init` does it, or the first ingest.",
        )  # fmt: skip
        return
    lines = embedder.engine_report(parts.settings)
    is_fallback = "sentence-transformers." in lines[0]
    yield Finding("embedding model", "notice" if is_fallback else "well", lines[0])
    for line in lines[1:]:
        yield Finding("embedding model", "well", line)


def _check_parser(_: Parts) -> Iterator[Finding]:
    from ruma.ingest.reading import Reader

    with Reader() as reader:
        reader.start()
        if reader.is_fully_confined:
            yield Finding("parser process", "well", "has limits, no keys and no network")
        else:
            yield Finding(
                "parser process", "notice", "has limits and no keys, but this system gives it no namespace of its own",
                "Allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1",
            )  # fmt: skip


def _check_model(parts: Parts) -> Iterator[Finding]:
    from ruma.models.catalogue import default_model

    model = default_model(parts.settings)
    if model is None:
        yield Finding("language model", "notice", "there is none, so agents quote", "ruma models add FILE.gguf")
    elif model.is_grounded:
        yield Finding("language model", "well", f"{model.name} may write answers")
    else:
        text = f"{model.name} has not passed the grounding check, so agents in mode auto quote"
        yield Finding("language model", "notice", text, "Add another one: ruma models add FILE.gguf")


def _check_tenants(parts: Parts) -> Iterator[Finding]:
    from ruma.tenant.health import examine

    for name in parts.home.names():
        subject = f"tenant {name}"
        try:
            with showing_steps(f"Examining {name}"), parts.home.open(name) as tenant:
                health, policy = examine(tenant), _policy_finding(tenant)
        except RumaError as exc:
            yield Finding(subject, "problem", str(exc), exc.hint)
            continue
        for problem in health.problems:
            yield Finding(subject, "problem", problem, "Ingest the document again, or restore a backup.")
        yield policy
        if not health.problems:
            yield Finding(subject, "well", f"{plural(health.documents, 'document')}, all whole")


def _policy_finding(tenant: "Tenant") -> Finding:
    from ruma.tenant.policy_versions import read_check

    subject, hint = f"policy of {tenant.name}", f"ruma policy --check -t {tenant.name}"
    last = read_check(tenant)
    if last is None:
        return Finding(subject, "absent", "its privacy policy was not checked yet", hint)
    untrue = [finding["name"] for finding in last.findings if finding["is_true"] is False]
    if untrue:
        return Finding(subject, "problem", f"not true on {last.checked_at[:10]}: {', '.join(untrue)}", hint)
    return Finding(subject, "well", f"every statement that can be checked was true on {last.checked_at[:10]}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _print(finding: Finding) -> None:
    style = {"absent": "dim", "problem": "bold red"}.get(finding.status, "")
    hint = f" → {finding.hint}" if finding.hint else ""
    print_row(_MARKS[finding.status], finding.subject, finding.text + hint, widths=(7, 22), style=style)
