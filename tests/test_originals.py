import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruma.errors import DamagedError, StoreError
from ruma.tenant.keys.keys import Key
from ruma.tenant.knowledge.originals import BLOCK, read_original, seal_original

HEADER = 9 + 24
SEALED = BLOCK + 17


@pytest.fixture
def key() -> Key:
    """Return a file's key."""
    return Key.random()


def seal(tmp_path: Path, key: Key, data: bytes, *, name: str = "a") -> Path:
    """Seal *data* in the test's folder."""
    path = tmp_path / name
    seal_original([data], path, key)
    return path


def unseal(path: Path, key: Key) -> bytes:
    """Return the whole content."""
    return b"".join(read_original(path, key))


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5_000_000])
def test_what_was_sealed_is_read_back(tmp_path: Path, key: Key, size: int) -> None:
    """Any size comes back byte for byte, an empty file and whole blocks included."""
    data = os.urandom(size)

    path = seal(tmp_path, key, data)

    assert unseal(path, key) == data


def test_the_cut_of_the_input_does_not_matter(tmp_path: Path, key: Key) -> None:
    """Blocks of any sizes, empty ones too, give one file whose blocks are the format's own."""
    data = os.urandom(3 * BLOCK + 5)
    pieces = [data[:1], b"", data[1 : BLOCK + 9], data[BLOCK + 9 : BLOCK + 10], data[BLOCK + 10 :], b""]

    seal_original(pieces, tmp_path / "a", key)

    assert [len(block) for block in read_original(tmp_path / "a", key)] == [BLOCK, BLOCK, BLOCK, 5]
    assert unseal(tmp_path / "a", key) == data


def test_nothing_readable_is_on_the_disk(tmp_path: Path, key: Key) -> None:
    """The file shows neither the text nor that two files are the same, and its mode is 0600 whatever the umask."""
    before = os.umask(0)
    try:
        first = seal(tmp_path, key, b"canary " * 1000, name="a")
    finally:
        os.umask(before)
    second = seal(tmp_path, key, b"canary " * 1000, name="b")

    assert b"canary" not in first.read_bytes()
    assert first.read_bytes()[HEADER:] != second.read_bytes()[HEADER:]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_file_cut_short_is_noticed(tmp_path: Path, key: Key, blocks: int, more: int) -> None:
    """A cut before, at and after each block's end is damage, and never a shorter document."""
    path = seal(tmp_path, key, os.urandom(3 * BLOCK))
    os.truncate(path, HEADER + blocks * SEALED + more)

    with pytest.raises(DamagedError):
        unseal(path, key)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 10, HEADER - 1, HEADER, HEADER + 16])
def test_a_file_cut_to_almost_nothing_is_noticed_at_once(tmp_path: Path, key: Key, size: int) -> None:
    """An empty file, and one that ends inside its header, is damage before the first block is asked for."""
    path = seal(tmp_path, key, b"text")
    os.truncate(path, size)

    with pytest.raises(DamagedError):
        read_original(path, key)


def test_a_missing_final_block_is_noticed(tmp_path: Path, key: Key) -> None:
    """A file that ends with a whole genuine block that is not the final one was cut short."""
    path = seal(tmp_path, key, os.urandom(2 * BLOCK + 1))
    os.truncate(path, HEADER + 2 * SEALED)

    with pytest.raises(DamagedError, match="cut short"):
        unseal(path, key)


def test_reordered_blocks_are_noticed(tmp_path: Path, key: Key) -> None:
    """Two genuine blocks in the other order are damage."""
    path = seal(tmp_path, key, os.urandom(3 * BLOCK))
    sealed = path.read_bytes()
    first, second = sealed[HEADER : HEADER + SEALED], sealed[HEADER + SEALED : HEADER + 2 * SEALED]
    path.write_bytes(sealed[:HEADER] + second + first + sealed[HEADER + 2 * SEALED :])

    with pytest.raises(DamagedError):
        unseal(path, key)


@pytest.mark.parametrize("what", ["repeated", "dropped", "appended", "byte after the end"])
def test_blocks_cannot_be_added_or_taken_away(tmp_path: Path, key: Key, what: str) -> None:
    """A block twice, a block less, and anything after the final block are damage."""
    path = seal(tmp_path, key, os.urandom(3 * BLOCK))
    sealed = path.read_bytes()
    first, rest = sealed[: HEADER + SEALED], sealed[HEADER + SEALED :]
    altered = {
        "repeated": first + first[HEADER:] + rest,
        "dropped": sealed[:HEADER] + rest,
        "appended": sealed + rest[-SEALED:],
        "byte after the end": sealed + b"x",
    }
    path.write_bytes(altered[what])

    with pytest.raises(DamagedError):
        unseal(path, key)


@pytest.mark.parametrize("place", [0, 5, 8, 9, 20, HEADER - 1, HEADER, HEADER + 1, HEADER + 500, -17, -1])
def test_a_flipped_bit_is_noticed(tmp_path: Path, key: Key, place: int) -> None:
    """One bit anywhere, in the header, the tag or the text, is damage."""
    path = seal(tmp_path, key, os.urandom(1000))
    sealed = bytearray(path.read_bytes())
    sealed[place] ^= 1
    path.write_bytes(sealed)

    with pytest.raises(DamagedError):
        unseal(path, key)


def test_what_is_genuine_before_the_damage_is_read(tmp_path: Path, key: Key) -> None:
    """Blocks before a damaged one come out, so that a person can save them, and the end never passes for complete."""
    data = os.urandom(3 * BLOCK)
    path = seal(tmp_path, key, data)
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)
    blocks = read_original(path, key)

    assert next(blocks) + next(blocks) == data[: 2 * BLOCK]
    with pytest.raises(DamagedError):
        next(blocks)


def test_another_files_content_is_noticed(tmp_path: Path, key: Key) -> None:
    """Two documents' files of one tenant, exchanged by name, do not open: each has a key of its own."""
    first = seal(tmp_path, key, b"prices", name="a")
    second = seal(tmp_path, Key.random(), b"recipes", name="b")
    first.rename(tmp_path / "c")
    second.rename(first)

    with pytest.raises(DamagedError, match="another document or tenant"):
        read_original(first, key)


def test_a_block_of_another_file_is_noticed(tmp_path: Path, key: Key) -> None:
    """A block cannot be moved between files, at the same place and of the same size neither."""
    first = seal(tmp_path, key, os.urandom(2 * BLOCK), name="a")
    second = seal(tmp_path, key, os.urandom(2 * BLOCK), name="b")
    first.write_bytes(first.read_bytes()[: HEADER + SEALED] + second.read_bytes()[HEADER + SEALED :])

    with pytest.raises(DamagedError):
        unseal(first, key)


def test_another_key_does_not_open_it(tmp_path: Path, key: Key) -> None:
    """Another file's key is known to be wrong before the first byte is given out."""
    path = seal(tmp_path, key, b"text")

    with pytest.raises(DamagedError):
        read_original(path, Key.random())


def test_an_unknown_version_is_named(tmp_path: Path, key: Key) -> None:
    """A file of a later format says so, and is not taken for damage alone."""
    path = seal(tmp_path, key, b"text")
    sealed = bytearray(path.read_bytes())
    sealed[8] = 2
    path.write_bytes(sealed)

    with pytest.raises(DamagedError, match="newer Ruma"):
        read_original(path, key)


def test_a_missing_file_is_noticed_at_once(tmp_path: Path, key: Key) -> None:
    """A file that is not there is an error before the first block is asked for, and names the file."""
    with pytest.raises(DamagedError, match=r"a1b2 is missing"):
        read_original(tmp_path / "a1b2", key)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, key: Key, kind: str) -> None:
    """A link to a genuine file, a named pipe and a folder in the file's place are refused, and nothing hangs."""
    genuine = seal(tmp_path, key, b"text", name="b")
    path = tmp_path / "a"
    if kind == "link":
        path.symlink_to(genuine)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    with pytest.raises(DamagedError):
        read_original(path, key)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_nothing_that_exists_is_overwritten(tmp_path: Path, key: Key, kind: str) -> None:
    """Sealing to a name that is taken fails and leaves what is there, also where a link leads."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    path = victim
    if kind == "link":
        path = tmp_path / "a"
        path.symlink_to(victim)

    with pytest.raises(StoreError):
        seal_original([b"text"], path, key)

    assert victim.read_bytes() == b"mine"


def test_nothing_is_left_when_the_input_fails(tmp_path: Path, key: Key) -> None:
    """An error while the blocks are being made removes the half-written file, and is not taken for a disk error."""

    def blocks() -> Iterator[bytes]:
        yield os.urandom(3 * BLOCK)
        raise OSError(28, "No space left on the source")

    with pytest.raises(OSError, match="source"):
        seal_original(blocks(), tmp_path / "a", key)

    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named() -> None:
    """When the disk is full the error says so and names the path."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from ruma.tenant.knowledge import originals

    with open("/dev/full", "wb", 0) as full, pytest.raises(StoreError, match="disk is full: /data/x"):
        originals.Sealer(full, Path("/data/x"), bytes(32)).begin()


def test_a_write_that_takes_a_part_is_continued(tmp_path: Path, key: Key) -> None:
    """A disk that takes fewer bytes than it was given loses none."""

    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data)[:1000])

    from ruma.tenant.knowledge import originals

    data = os.urandom(BLOCK + 1)
    with Slow(tmp_path / "a", "wb") as file:
        sealer = originals.Sealer(file, tmp_path / "a", key.raw)
        sealer.begin()
        sealer.write(data)
        sealer.finish()

    assert unseal(tmp_path / "a", key) == data


def test_a_reader_that_leaves_closes_the_file(tmp_path: Path, key: Key) -> None:
    """Reading can be given up at any block without an open file being left."""
    path = seal(tmp_path, key, os.urandom(3 * BLOCK))
    before = len(os.listdir("/proc/self/fd"))

    read_original(path, key)
    blocks = read_original(path, key)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]

    assert len(os.listdir("/proc/self/fd")) == before
