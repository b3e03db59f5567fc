import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.models.embedder import Embedder, compile_embedder, open_embedder
from ruma.tenant.audit import acting_as
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.hashing import QUICK, REAL, hash_with

# A shell that runs the tests in the background has Ctrl-C ignored, and commands would inherit that from us.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where Python may keep no bytecode, every command that a test starts would compile all of Ruma, and
# every worker would rewrite all assertions.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

COMPILES = "test_embedder.py"
"""The first file of all: on a new machine it compiles the embedder, and the others have something else to do."""

LONG = (
    "test_server_deadlines.py",
    "attack/test_a_crash.py",
    "attack/test_a_ingest.py",
    "test_compiling.py",
    "browser/",
    "attack/test_b_keyrings.py",
    "attack/test_d_uploads.py",
    "test_generator.py",
    "attack/test_f_accounts.py",
    "attack/test_f_routes.py",
)
"""The files that take longest and need no compiled embedder: a long one that came last would leave the cores idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files into the order in which several workers finish first; within a file nothing changes."""
    waiting = {item.path for item in items if "compiled_home" in getattr(item, "fixturenames", ())}

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        if name == COMPILES:
            return 0
        if item.path in waiting:
            return len(LONG) + 1
        return next((at for at, one in enumerate(LONG, 1) if name.startswith(one)), len(LONG) + 2)

    items.sort(key=place)


def pytest_configure(config: pytest.Config) -> None:
    """Collect no garbage while thousands of tests are found: there is hardly any, and all of them are looked at."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector pass over the tests and modules themselves from now on, in forked servers as well."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def clean_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting and no keyring of this machine into a test.

    A tenant's key is kept in a sealed file: asking whether there is a keyring starts a process, several times as long
    as making the tenant takes. Tests about the choice set `auto`.
    """
    for name in list(os.environ):
        if name.startswith("RUMA_"):
            monkeypatch.delenv(name)
    for name in ("CREDENTIALS_DIRECTORY", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUMA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUMA_KEY_SOURCE", "machine")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> None:
    """Let nobody wait for the hash of a password that no test is about; those that are take `real_passwords`."""
    hash_with(QUICK)


@pytest.fixture
def real_passwords() -> Iterator[None]:
    """Hash passwords with the work that the product asks for."""
    hash_with(REAL)
    yield
    hash_with(QUICK)


@pytest.fixture(autouse=True)
def nobody_acts() -> Iterator[None]:
    """Let nobody be who acts because an earlier test said so."""
    with acting_as("ruma"):
        yield


@pytest.fixture
def settings(clean_environ: None) -> Settings:
    """Return the settings of an empty home."""
    return load_settings()


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a home with a new tenant, to be copied: that takes a tenth of the time of making one."""
    home = tmp_path_factory.mktemp("made") / "home"
    Home(Settings(home=home, key_source="machine")).create("acme")
    return home


@pytest.fixture
def tenant(settings: Settings, made_home: Path) -> Iterator[Tenant]:
    """Return a new, open tenant."""
    shutil.copytree(made_home, settings.home, dirs_exist_ok=True)
    with Home(settings).open("acme") as tenant:
        yield tenant


@pytest.fixture(scope="session")
def compiled_home(pytestconfig: pytest.Config) -> Settings:
    """Return the settings of a home with the compiled embedder; it is kept between runs, for compiling takes long."""
    settings = Settings(home=Path(pytestconfig.cache.mkdir("embedder")))
    for _ in compile_embedder(settings):
        pass
    return settings


@pytest.fixture(scope="session")
def embedder(compiled_home: Settings) -> Embedder:
    """Return the real embedder, opened once: it keeps nothing of what it read."""
    return open_embedder(compiled_home)


@pytest.fixture
def compiled_settings(settings: Settings, compiled_home: Settings) -> Settings:
    """Return the settings of an empty home in which the embedder needs no compiling."""
    settings.models_folder.mkdir(parents=True, exist_ok=True)
    (settings.models_folder / "embedders").symlink_to(compiled_home.models_folder / "embedders")
    return settings
