import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant


@pytest.fixture(autouse=True)
def clean_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting and no keyring of this machine into a test."""
    for name in list(os.environ):
        if name.startswith("RUMA_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("RUMA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture
def settings(clean_environ: None) -> Settings:
    """Return the settings of an empty home."""
    return load_settings()


@pytest.fixture
def tenant(settings: Settings) -> Iterator[Tenant]:
    """Return a new, open tenant."""
    home = Home(settings)
    home.create("acme")
    with home.open("acme") as tenant:
        yield tenant
