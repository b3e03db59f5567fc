"""A tenant's deletion, judged by the disk: the blocks of a file system that holds the home, freed ones among them."""

import json
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import DamagedError
from ruma.privacy.erasing import erase_tenant
from ruma.tenant.erasing.receipts import Receipt, installation_seed, read_receipt, receipts_folder
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.rotation import rotate_key
from ruma.tenant.keys.sealed_keys import is_overwritten, master_of_bridge
from ruma.tenant.knowledge.originals import read_original
from tests.harness.erasing import MARKS, fill
from tests.harness.forking import COMMAND, run_forked
from tests.harness.image import BLOCK, make_image, mounted, opened_pages, read_image
from tests.harness.keyrings import use_keyring
from tests.harness.needs import needs
from tests.harness.process import RUMA, environ_of
from tests.harness.residue import Needles, make_canaries
from tests.harness.strace import under_strace

pytestmark = needs("image", "strace")

DELETE = [*RUMA, "tenant", "delete", "acme", "--yes"]
ROTATE = [*RUMA, "keys", "rotate-master"]
SEALED = b"RUMAKEY\x01"
LOOSE = make_canaries(1)[0]
"""In a file that lies in clear beside the home: a search that misses it misses everything."""

nightly = pytest.mark.nightly


@dataclass(frozen=True)
class Disk:
    """A file system with a home, in which the tenant acme is to be deleted and its neighbour is to stay."""

    image: Path
    folder: Path
    key: bytes
    """The tenant's data key, which nobody has any more once it is deleted."""
    files: dict[str, bytes]
    """What its sealed files hold on the disk, an export among them."""
    file_keys: tuple[bytes, ...]

    @property
    def settings(self) -> Settings:
        """The settings of its home, which is there while the disk is mounted."""
        return Settings(home=self.folder / "home")

    def environ(self) -> dict[str, str]:
        """Return the environment of a command, whose temporary files lie on the disk as well."""
        return environ_of(self.settings.home, TMPDIR=str(self.folder / "temporary"))


def fill_disk(folder: Path, **settings: str) -> Disk:
    """Fill a new disk; it is not mounted when this returns."""
    disk = Disk(make_image(folder / "image"), folder / "disk", b"", {}, ())
    with mounted(disk.image, disk.folder):
        (disk.folder / "temporary").mkdir()
        (disk.folder / "loose").write_text(LOOSE)
        home = Home(replace(disk.settings, **settings))
        for name in ("acme", "other"):
            home.create(name)
        with home.open("acme") as tenant:
            fill(tenant)
            with tenant.reading() as db:
                keys = tuple(row[0] for row in db.execute("select raw from file_key"))
            sealed = [*tenant.files_folder.iterdir(), *tenant.exports_folder.iterdir()]
            files = {file.name: file.read_bytes() for file in sealed}
            disk = replace(disk, key=tenant.key.raw, files=files, file_keys=keys)
    return disk


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Return a disk whose keys are in sealed files."""
    return fill_disk(tmp_path_factory.mktemp("filled"), key_source="machine")


def copy_of(disk: Disk, folder: Path) -> Disk:
    """Return a copy of a disk that is not mounted, in the place of an earlier one."""
    image = folder / "image"
    image.unlink(missing_ok=True)
    subprocess.run(["cp", "--sparse=always", disk.image, image], check=True)
    return replace(disk, image=image, folder=folder / "disk")


def key_items(disk: Disk) -> set[str]:
    """Return the names of the sealed keys that are there, each of which goes into what seals it."""
    return {file.stem for file in disk.settings.keys_folder.glob("*.key")}


def living_keys(disk: Disk) -> list[Key]:
    """Return every key that is left: master keys, also across a bridge, the neighbour's, and what signs receipts."""
    masters = [Key(bytes.fromhex(file.read_text())) for file in disk.settings.keys_folder.glob("machine.key")]
    for bridge in disk.settings.keys_folder.glob("*.bridge"):
        if not is_overwritten(bridge):
            masters += master_of_bridge(bridge, masters[0])[:2]
    with Home(disk.settings).open("other") as tenant:
        return [*masters, tenant.key, tenant.page_key, Key(installation_seed(disk.settings))]


def unsealed(blocks: bytes, master: Key, items: set[str]) -> set[bytes]:
    """Return every data key that a sealed key somewhere in the blocks gives to whoever has this master key."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    boxes = [SecretBox(master.derive(b"ruma sealed key1", item.encode())) for item in items]
    found, at = set(), blocks.find(SEALED)
    while at >= 0:
        for box in boxes:
            with suppress(CryptoError):
                found.add(bytes(box.decrypt(blocks[at + len(SEALED) + 8 :][: box.NONCE_SIZE + box.MACBYTES + 32])))
        at = blocks.find(SEALED, at + 1)
    return found


def marks_in(blocks: bytes, key: bytes, folder: Path) -> set[str]:
    """Return which marks are in the pages of databases among the blocks, opened with a key."""
    pages = opened_pages(blocks, key, folder)
    return {kind for kind, mark in MARKS.items() if mark[-16:].encode() in pages}


def check_blocks(disk: Disk, keys: list[Key], items: set[str], folder: Path) -> None:
    """Look through all of a disk: nothing is in clear, and no key that is left opens anything of the tenant."""
    blocks = read_image(disk.image)
    secrets = [disk.key, *disk.file_keys]
    in_clear = Needles([*MARKS.values(), LOOSE], [*secrets, *(key.hex().encode() for key in secrets)])
    assert set(in_clear.find([("disk", blocks)])) == {LOOSE}
    # Besides the keys that are files, whatever could be one among the blocks: a master key's file holds 64 digits.
    lying = {bytes.fromhex(found.decode()) for found in re.findall(rb"(?<!\w)[0-9a-f]{64}(?!\w)", blocks)}
    assert lying
    for key in map(Key, {*lying, *(key.raw for key in keys)}):
        assert marks_in(blocks, key.raw, folder) == set()
        assert disk.key not in unsealed(blocks, key, items)
        for name, content in disk.files.items():
            (folder / name).write_bytes(content)
            with pytest.raises(DamagedError):
                b"".join(read_original(folder / name, key))
    # The control: what is left would open with the key that nobody has any more.
    assert marks_in(blocks, disk.key, folder) == set(MARKS)


def check_receipt(disk: Disk) -> Receipt:
    """Return the one receipt of a deletion, which says that nothing is left, and what it did not reach."""
    (file,) = receipts_folder(disk.settings).glob("[0-9]*.json")
    receipt = read_receipt(file.read_text()).receipt
    assert receipt.is_complete, receipt.checks
    assert {"backups", "exports", "recovery-key", "keyring"} <= {one.what for one in receipt.not_covered}
    return receipt


def test_c24_before_the_deletion_the_disk_gives_everything_to_its_keys(filled: Disk, tmp_path: Path) -> None:
    """The controls: of the living tenant nothing is in clear; the master key gives its key, and that all the rest."""
    blocks = read_image(filled.image)
    disk = copy_of(filled, tmp_path)
    with mounted(disk.image, disk.folder):
        keys, items = living_keys(disk), key_items(disk)

    assert set(Needles([*MARKS.values(), LOOSE]).find([("disk", blocks)])) == {LOOSE}
    assert marks_in(blocks, filled.key, tmp_path) == set(MARKS)
    assert filled.key in unsealed(blocks, keys[0], items)
    assert all(content[:BLOCK] in blocks for content in filled.files.values())


@pytest.mark.parametrize(
    ("call", "points"),
    [
        ("unlink", [3]),
        *(pytest.param(call, range(1, 200), marks=nightly, id=f"{call}-all") for call in ("fsync", "unlink", "rename")),
    ],
)
def test_c24_nothing_on_the_disk_opens_after_a_deletion(
    filled: Disk, tmp_path: Path, call: str, points: Sequence[int]
) -> None:
    """Killed anywhere and finished by the next command, or never killed: what is left opens with no key that is."""
    for point in points:
        disk = copy_of(filled, tmp_path)
        with mounted(disk.image, disk.folder):
            items = key_items(disk)
            run = under_strace(DELETE, tmp_path / "trace", f"{call}:signal=SIGKILL:when={point}", env=disk.environ())
            listed = run_forked([COMMAND, "tenant", "list", "--json"], env=disk.environ())
            if [one["name"] for one in json.loads(listed.stdout)] == ["acme", "other"]:  # it had not begun
                assert erase_tenant(Home(disk.settings), "acme").signed.receipt.is_complete
            check_receipt(disk)
            assert not list((disk.folder / "temporary").iterdir())
            keys = living_keys(disk)
        check_blocks(disk, keys, items, tmp_path)
        if run.returncode == 0:
            assert point > 1
            return
        assert run.returncode == -signal.SIGKILL


@nightly
def test_c24_nothing_on_the_disk_opens_whose_key_was_in_a_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the keyring keeps an item twice both go, and the disk never had the key."""
    use_keyring("Duplicating", tmp_path, monkeypatch)
    disk = fill_disk(tmp_path, key_source="keyring")
    keyring = tmp_path / "keyring.json"
    assert keyring.read_text().count(disk.key.hex()) == 2
    with mounted(disk.image, disk.folder):
        erase_tenant(Home(disk.settings), "acme")
        check_receipt(disk)
        keys = living_keys(disk)

    assert disk.key.hex() not in keyring.read_text()
    check_blocks(disk, keys, {"acme"}, tmp_path)


@nightly
def test_c24_nothing_on_the_disk_opens_whose_key_was_rotated(filled: Disk, tmp_path: Path) -> None:
    """The database under the key from before is as unreadable as the one under the new key."""
    disk = copy_of(filled, tmp_path)
    with mounted(disk.image, disk.folder):
        items, home = key_items(disk), Home(disk.settings)
        list(rotate_key(home, "acme"))
        items |= key_items(disk)
        with home.open("acme") as tenant:
            new = tenant.key.raw
        erase_tenant(home, "acme")
        check_receipt(disk)
        keys = living_keys(disk)

    for key in (disk.key, new):
        check_blocks(replace(disk, key=key), keys, items, tmp_path)


@pytest.mark.parametrize("points", [[0], pytest.param(range(1, 100), marks=nightly, id="all")])
def test_c24_nothing_on_the_disk_opens_after_an_interrupted_new_master_key(
    filled: Disk, tmp_path: Path, points: Sequence[int]
) -> None:
    """Killed anywhere while keys are sealed anew, it leaves none behind that the deletion does not find."""
    for point in points:
        disk = copy_of(filled, tmp_path)
        with mounted(disk.image, disk.folder):
            home, items = Home(disk.settings), key_items(disk)
            # 0: when the new file of this very tenant is written, and has not taken the old one's place.
            place = sorted(items - {"machine"}).index(home.find("acme")[1].key_item) + 1
            fault = f"fsync:signal=SIGKILL:when={point}" if point else f"rename:signal=SIGKILL:when={place}"
            run = under_strace(ROTATE, tmp_path / "trace", fault, env=disk.environ())
            assert point or list(disk.settings.keys_folder.glob("*.key.part"))
            erase_tenant(home, "acme")
            check_receipt(disk)
            keys = living_keys(disk)
        check_blocks(disk, keys, items, tmp_path)
        if run.returncode == 0:
            return
