import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import (
    DamagedError,
    InputError,
    KeyMissingError,
    NotFoundError,
    StoreError,
    WrongKeyError,
    WrongTenantError,
)
from ruma.tenant.home import Home
from ruma.tenant.knowledge.sources import add_source, list_sources


@pytest.fixture
def home(settings: Settings) -> Home:
    """Return a home with the tenants acme and beta."""
    home = Home(settings)
    home.create("acme")
    home.create("beta")
    return home


def test_a_new_tenant_can_be_opened_and_is_listed(home: Home) -> None:
    """A tenant that was made is listed by name with where its key is kept, and opens empty."""
    with home.open("acme") as tenant:
        assert list_sources(tenant) == []

    assert [info.name for info in home.tenants()] == ["acme", "beta"]
    assert home.tenants()[0].key_store == "sealed files (machine)"


def test_only_the_owner_may_read_what_is_written(settings: Settings) -> None:
    """Every file and folder is private whatever the umask says."""
    before = os.umask(0)
    try:
        Home(settings).create("acme")
    finally:
        os.umask(before)

    written = [settings.tenants_folder, settings.keys_folder, *settings.tenants_folder.rglob("*")]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in written)


def test_a_name_is_given_once(home: Home) -> None:
    """A second tenant of one name is refused and the first is untouched."""
    before = home.tenants()

    with pytest.raises(InputError, match="a tenant acme already"):
        home.create("acme")

    assert home.tenants() == before


def test_the_key_is_not_in_the_directory(home: Home, settings: Settings) -> None:
    """A stolen copy of the tenants does not open: the key lies elsewhere."""
    shutil.rmtree(settings.keys_folder)

    with pytest.raises(KeyMissingError, match="acme") as caught:
        home.open("acme")
    assert "ruma tenant recover acme" in caught.value.hint


def test_the_recovery_key_brings_a_tenant_back(settings: Settings) -> None:
    """A tenant whose key is lost opens again with its recovery key and holds what it held."""
    home = Home(settings)
    made = home.create("acme")
    with home.open("acme") as tenant:
        add_source(tenant, "text", "note")
    shutil.rmtree(settings.keys_folder)

    label = home.recover("acme", made.recovery_key.lower())

    assert label == "sealed files (machine)"
    with home.open("acme") as tenant:
        assert [source.location for source in list_sources(tenant)] == ["note"]


def test_recovering_into_another_key_source_leaves_no_key_behind(settings: Settings, tmp_path: Path) -> None:
    """After a recovery under another key source the key is there alone, so that a deletion destroys all of it."""
    made = Home(settings).create("acme")
    master = tmp_path / "master"
    master.write_bytes(os.urandom(32))
    master.chmod(0o600)
    moved = replace(settings, key_source="file", key_file=str(master))

    assert Home(moved).recover("acme", made.recovery_key) == "sealed files (file)"

    Home(moved).open("acme").close()
    Home(moved).delete("acme")
    assert not [path for path in settings.keys_folder.iterdir() if made.id in path.name]


def test_another_tenants_recovery_key_is_refused(settings: Settings) -> None:
    """A recovery key of another tenant changes nothing."""
    home = Home(settings)
    home.create("acme")
    other = home.create("beta")

    with pytest.raises(WrongKeyError, match="another tenant than acme"):
        home.recover("acme", other.recovery_key)

    home.open("acme").close()


def test_swapped_keys_are_told_from_damage(home: Home, settings: Settings) -> None:
    """With the manifest naming another tenant's key, the message speaks of the key and not of the file."""
    acme, beta = (settings.tenants_folder / name / "tenant.toml" for name in ("acme", "beta"))
    ids = {info.name: info.id for info in home.tenants()}
    acme.write_text(acme.read_text().replace(ids["acme"], ids["beta"]))

    with pytest.raises(WrongKeyError, match="another tenant, or is damaged"):
        home.open("acme")
    assert beta.exists()


def test_swapped_databases_are_refused(home: Home, settings: Settings) -> None:
    """A database put into another tenant's directory does not open there."""
    acme, beta = (settings.tenants_folder / name / "tenant.db" for name in ("acme", "beta"))
    acme.unlink()
    os.link(beta, acme)

    with pytest.raises((DamagedError, WrongTenantError)):
        home.open("acme")


def test_a_copied_directory_is_refused(home: Home, settings: Settings) -> None:
    """A tenant's directory under a second name is named as the copy it is."""
    shutil.copytree(settings.tenants_folder / "acme", settings.tenants_folder / "acme2")

    with pytest.raises(DamagedError, match="copy of the tenant acme"):
        home.open("acme2")


def test_a_linked_directory_is_refused(home: Home, settings: Settings) -> None:
    """A link in place of a tenant's directory is not followed."""
    shutil.rmtree(settings.tenants_folder / "acme")
    (settings.tenants_folder / "acme").symlink_to(settings.tenants_folder / "beta")

    with pytest.raises(DamagedError, match="link"):
        home.open("acme")


@pytest.mark.parametrize("content", ["", "format = 'x", "name = 'acme'"])
def test_a_damaged_manifest_is_named(home: Home, settings: Settings, content: str) -> None:
    """An unreadable or incomplete manifest gives a sentence with its path, and the others stay listed."""
    (settings.tenants_folder / "acme" / "tenant.toml").write_text(content)

    with pytest.raises(DamagedError, match=r"acme/tenant\.toml"):
        home.open("acme")
    assert [info.name for info in home.tenants()] == ["beta"]


def test_a_newer_directory_is_left_alone(home: Home, settings: Settings) -> None:
    """A directory of a later format is refused with both versions."""
    manifest = settings.tenants_folder / "acme" / "tenant.toml"
    manifest.write_text(manifest.read_text().replace("format = 1", "format = 9"))

    with pytest.raises(StoreError, match="format 9, this one knows 2"):
        home.open("acme")


def test_deleting_destroys_the_key_and_the_directory(home: Home, settings: Settings) -> None:
    """After a deletion neither the directory nor the key is there, and the receipt says so."""
    key_files = set(settings.keys_folder.iterdir())

    receipt = home.delete("acme")

    assert receipt.key_destroyed
    assert receipt.directory_removed
    assert receipt.files >= 2
    assert [path.name for path in settings.tenants_folder.iterdir()] == ["beta"]
    assert len(key_files - set(settings.keys_folder.iterdir())) == 1
    home.open("beta").close()


def test_a_name_can_be_used_again_after_deleting(home: Home) -> None:
    """A new tenant of a deleted one's name has another id and sees nothing old."""
    with home.open("acme") as tenant:
        add_source(tenant, "text", "old")
    old = home.delete("acme")

    made = home.create("acme")

    assert made.id != old.id
    with home.open("acme") as tenant:
        assert list_sources(tenant) == []


def test_an_interrupted_deletion_is_finished(home: Home, settings: Settings) -> None:
    """A directory that a killed deletion put aside is deleted, key first, by the next command."""
    info = home.tenants()[0]
    (settings.tenants_folder / "acme").rename(settings.tenants_folder / f".deleting-{info.id}")

    again = Home(settings)

    assert again.names() == ["beta"]
    assert not list(settings.tenants_folder.glob(".*"))
    assert not [path for path in settings.keys_folder.iterdir() if info.id in path.name]


def test_an_interrupted_creation_leaves_nothing(home: Home, settings: Settings) -> None:
    """A tenant that was being made when the command was killed is taken away with its key."""
    info = home.tenants()[0]
    (settings.tenants_folder / "acme").rename(settings.tenants_folder / f".creating-{info.id}")

    again = Home(settings)

    assert again.names() == ["beta"]
    assert not [path for path in settings.keys_folder.iterdir() if info.id in path.name]


def test_removing_the_directory_ends_an_open_tenant(home: Home, settings: Settings) -> None:
    """`rm -rf` under an open tenant makes its next use an error, not an answer from what is gone."""
    tenant = home.open("acme")
    list_sources(tenant)

    shutil.rmtree(settings.tenants_folder / "acme")

    with pytest.raises(NotFoundError, match="not there any more"):
        list_sources(tenant)
    open_files = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    assert not [name for name in open_files if name.startswith(str(settings.home))]


def test_an_unknown_tenant_is_answered_with_those_there_are(home: Home) -> None:
    """A tenant that does not exist gives the names of those that do."""
    with pytest.raises(NotFoundError, match="no tenant nobody") as caught:
        home.open("nobody")
    assert "acme, beta" in caught.value.hint
