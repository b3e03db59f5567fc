import subprocess
import sys
from pathlib import Path

import pytest

from ruma.errors import DamagedError
from ruma.tenant.erasing.residue import find_in_pages, make_fingerprints
from ruma.tenant.keys.data_key import Key
from ruma.tenant.policy_evidence import files_with_key, readable_files
from ruma.tenant.raw_files import read_blocks
from ruma.tenant.tenant import Tenant

_LOCKS = """
import os, sys
inode = os.stat(sys.argv[1]).st_ino
print(sum(line.split()[5].endswith(f":{inode}") for line in open("/proc/locks")))
"""


def count_locks(file: Path) -> int:
    """Return how many locks there are on a file, as another process sees them."""
    shown = subprocess.run([sys.executable, "-c", _LOCKS, str(file)], capture_output=True, text=True, check=True)
    return int(shown.stdout)


def test_blocks_are_those_of_the_file(tmp_path: Path) -> None:
    """One after the other from a place on, or those that are asked for; the last may be short."""
    file = tmp_path / "file"
    file.write_bytes(bytes(range(100)))

    assert b"".join(read_blocks(file, 7)) == file.read_bytes()
    assert list(read_blocks(file, 40, start=10)) == [bytes(range(10, 50)), bytes(range(50, 90)), bytes(range(90, 100))]
    assert list(read_blocks(file, 4, places=[8, 96, 200])) == [bytes(range(8, 12)), bytes(range(96, 100))]
    assert list(read_blocks(file, 4, places=[])) == []
    with pytest.raises(DamagedError, match="gone cannot be read"):
        list(read_blocks(tmp_path / "gone", 4))


def test_looking_into_the_files_of_an_open_database_keeps_its_locks(tenant: Tenant) -> None:
    """A file that is closed takes the locks of the process with it; here they stay, before the eyes of others."""
    with tenant.writing() as db:
        db.execute("update profile set business_name = 'Bakery'")
        files = [tenant.database_file, tenant.database_file.with_name(f"{tenant.database_file.name}-shm")]
        before = [count_locks(file) for file in files]

        assert find_in_pages(tenant.database_file, tenant.key.raw, make_fingerprints(["Bakery in the mill"], []))[1]
        assert readable_files(tenant) == []
        assert files_with_key(tenant) == []

        assert [count_locks(file) for file in files] == before
    assert all(before)


def test_a_key_across_two_blocks_is_found(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in a file it stands."""
    monkeypatch.setattr("ruma.tenant.policy_evidence._BLOCK", 64)
    (tenant.folder / "note").write_bytes(bytes(50) + tenant.key.raw)
    (tenant.folder / "other").write_bytes(bytes(50) + Key.random().raw)

    assert files_with_key(tenant) == ["note"]
