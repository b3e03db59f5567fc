"""A home whose keys are sealed, and what opens them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.keys.master_keys import forget_masters
from tests.sealing import Open, open_sealed


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Let no test see what another one unlocked."""
    forget_masters()
    yield
    forget_masters()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a new home."""
    (tmp_path / "home").mkdir(mode=0o700)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def opened(settings: Settings, tmp_path: Path) -> Open:
    """Return a function that opens them with a key from one of the places, as after a new start."""
    return partial(open_sealed, settings, tmp_path)
