"""A keyring of `tests/doubles.py` as this machine's, and what a home holds to be compared."""

from pathlib import Path

import pytest

from ruma.tenant.keys import keyring_store
from tests.harness.process import ROOT


def use_keyring(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_allowed: bool = True) -> None:
    """Make one of the doubles this machine's keyring."""
    monkeypatch.setenv("RUMA_TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"tests.doubles.{name}")
    if is_allowed:
        monkeypatch.setattr(keyring_store, "ALLOWED", [f"tests.doubles.{name}"])


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder; the shared index of an open database is not content."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(("-shm", "-wal"))
    }
