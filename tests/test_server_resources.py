import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import DamagedError, KeyMissingError, ModelError, NotFoundError
from ruma.models.generator import Generator
from ruma.server.resources import Resources
from ruma.tenant.agents import read_agent
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.serving import ScriptedGenerator


class ClosingGenerator(ScriptedGenerator):
    """Remembers whether it was closed."""

    is_closed = False

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True


class SlowHome(Home):
    """Takes its time to open a tenant."""

    def open(self, name: str) -> Tenant:
        """Wait before opening it."""
        time.sleep(0.05)
        return super().open(name)


def resources_of(settings: Settings, generators: Sequence[Generator | None] = ()) -> Resources:
    """Return the resources of a home, with these language models in the order that they are opened."""
    waiting = list(generators)
    return Resources(Home(settings), HashEmbedder, lambda _: waiting.pop(0))


def test_a_tenant_is_opened_once(settings: Settings) -> None:
    """Every request gets the same open tenant, whose connections and vectors are warm."""
    resources = resources_of(settings)
    resources.home.create("acme")

    assert resources.tenant("acme") is resources.tenant("acme")
    resources.close()


def test_requests_at_once_open_a_tenant_once(settings: Settings) -> None:
    """Eight threads that ask for the same tenant at the same moment get one."""
    resources = resources_of(settings)
    resources.home.create("acme")
    resources.home = SlowHome(settings)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(id(resources.tenant("acme")))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    resources.close()


def test_a_tenant_that_was_removed_is_closed(settings: Settings) -> None:
    """Its directory is gone, so the server lets go of it."""
    resources = resources_of(settings)
    resources.home.create("acme")
    tenant = resources.tenant("acme")

    shutil.rmtree(settings.tenants_folder / "acme")

    with pytest.raises(NotFoundError):
        resources.tenant("acme")
    with pytest.raises(NotFoundError):
        read_agent(tenant)


def test_a_tenant_made_anew_is_another_one(settings: Settings) -> None:
    """A directory of the same name, which often gets the same inode number, is opened with its own key."""
    resources = resources_of(settings)
    resources.home.create("acme")
    first = resources.tenant("acme").id

    shutil.rmtree(settings.tenants_folder / "acme")
    resources.home.create("acme")

    second = resources.tenant("acme")
    assert second.id != first
    assert read_agent(second).name
    resources.close()


def test_a_directory_that_was_filled_anew_is_looked_at_again(settings: Settings) -> None:
    """Files that were written over, which keeps their inode numbers, are not taken for the ones that were opened."""
    resources = resources_of(settings)
    resources.home.create("acme")
    resources.tenant("acme")

    (settings.tenants_folder / "acme" / "tenant.toml").write_text("something else")

    with pytest.raises(DamagedError):
        resources.tenant("acme")
    resources.close()


@pytest.mark.parametrize("name", ["nobody", "../acme", "", "ACME", "acme\0", "x" * 300, "lock"])
def test_what_is_not_there_is_not_found_and_names_nobody(settings: Settings, name: str) -> None:
    """A missing tenant and a name that none can have give the same error, without the names of others."""
    resources = resources_of(settings)
    resources.home.create("acme")

    with pytest.raises(NotFoundError) as caught:
        resources.tenant(name)

    assert str(caught.value) == "There is nothing at this address."
    assert caught.value.hint == ""


def test_a_tenant_without_its_key_is_not_missing(settings: Settings) -> None:
    """A key that is gone is the operator's problem and is not told as a wrong address."""
    resources = resources_of(settings)
    resources.home.create("acme")
    for file in settings.keys_folder.iterdir():
        if file.is_file():
            os.remove(file)

    with pytest.raises(KeyMissingError):
        resources.tenant("acme")


def test_closing_gives_everything_back(settings: Settings) -> None:
    """Models and tenants are closed, those that are none are passed over, and closing twice is harmless."""
    generator = ClosingGenerator()
    resources = resources_of(settings, [generator, None])
    resources.home.create("acme")
    tenant = resources.tenant("acme")

    assert resources.generator("one") is generator
    assert resources.generator("two") is None
    resources.close()
    resources.close()

    assert generator.is_closed
    with pytest.raises(NotFoundError):
        read_agent(tenant)


def test_a_model_that_could_not_be_opened_is_tried_again(settings: Settings) -> None:
    """A model file that was put right is used by the next question."""
    tries: list[str] = []

    def open_generator(name: str) -> Generator:
        tries.append(name)
        if len(tries) == 1:
            raise ModelError("The model is damaged.")
        return ScriptedGenerator()

    resources = Resources(Home(settings), HashEmbedder, open_generator)

    with pytest.raises(ModelError):
        resources.generator("small")
    assert resources.generator("small") is resources.generator("small")
    assert tries == ["small", "small"]


def test_the_files_of_a_tenant_are_not_held_by_name(settings: Settings, tmp_path: Path) -> None:
    """A tenant that was moved away and put back is opened anew, and answers."""
    resources = resources_of(settings)
    resources.home.create("acme")
    resources.tenant("acme")
    folder = settings.tenants_folder / "acme"

    folder.rename(tmp_path / "aside")
    with pytest.raises(NotFoundError):
        resources.tenant("acme")
    (tmp_path / "aside").rename(folder)

    assert read_agent(resources.tenant("acme")).name
    resources.close()
