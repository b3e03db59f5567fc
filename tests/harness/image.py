"""A file system of its own in one file, which is looked through byte by byte once nothing holds it any more."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.residue import clear_pages

BLOCK = 4096
"""Of the file system; as large as a page of a database, so that every page that was written lies in one block."""
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def find_tool(name: str) -> str:
    """Return the path of a program, also of one that only root has in its PATH; "" where there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def make_image(file: Path, megabytes: int = 256) -> Path:
    """Make an empty ext4 file system in a new file, which takes as much of the disk as is written to it."""
    with file.open("xb") as image:
        image.truncate(megabytes << 20)
    owner = f"root_owner={os.getuid()}:{os.getgid()},nodiscard"
    command = [find_tool("mke2fs"), "-q", "-t", "ext4", "-b", str(BLOCK), "-E", owner, str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Give the folder in which an image's files are, and write all of them back at the end.

    Raises:
        subprocess.CalledProcessError: It cannot be mounted; or at the end something still holds a file of it.
    """
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        mount, unmount = ["mount", "-o", "loop", str(image), str(folder)], ["umount", str(folder)]
    else:
        mount, unmount = [find_tool("fuse2fs"), str(image), str(folder)], ["fusermount", "-u", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    except BaseException:
        subprocess.run(["umount", "-l", str(folder)] if os.geteuid() == 0 else [*unmount, "-z"], check=False)
        raise
    subprocess.run(unmount, check=True)


def read_image(image: Path) -> bytes:
    """Return every block of an image that holds anything but zeros, one behind the other."""
    found = []
    with image.open("rb") as file:
        end, at = image.stat().st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but holes up to the end
                break
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            file.seek(at)
            while at < hole:
                block = file.read(BLOCK)
                if block.count(0) < len(block):
                    found.append(block)
                at += BLOCK
    return b"".join(found)


def opened_pages(blocks: bytes, key: bytes, folder: Path) -> bytes:
    """Return each block as the page that it is to whoever has this key, and each frame of each log."""
    found = []
    for at in range(0, len(blocks), BLOCK):
        if at == 0 or blocks.startswith(_WAL_MAGIC, at):
            file = folder / ("log-wal" if at else "pages")
            file.write_bytes(blocks[at:])
            found += [page for _, page in clear_pages(file, key)]
            file.unlink()
    return b"".join(found)


def can_mount() -> bool:
    """Tell whether an image can be made, mounted, written to and unmounted here."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with mounted(make_image(folder / "image", 8), folder / "disk") as disk:
                (disk / "file").write_text("is it there?")
        except (OSError, subprocess.CalledProcessError):
            return False
    return True
