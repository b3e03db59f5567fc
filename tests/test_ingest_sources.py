import os
import socket
from pathlib import Path

import pytest

from ruma.errors import InputError
from ruma.ingest.sources import Item, clean_name, find_items, read_item

MOST = 1_000_000


def make(folder: Path, *names: str) -> None:
    """Make files that hold their own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names_in(folder: Path) -> list[str]:
    """Return what is found in a folder."""
    return [item.name for item in find_items(str(folder)).items]


def test_a_folder_gives_its_files_in_order(tmp_path: Path) -> None:
    """Names are relative, with slashes; hidden files and what only browsers read are left out."""
    make(tmp_path, "b.md", "a/z.txt", "a/b/c.md", ".git/config", ".hidden.md", "a.css", "node_modules/x.md")

    listing = find_items(str(tmp_path))

    assert [item.name for item in listing.items] == ["a/b/c.md", "a/z.txt", "b.md"]
    assert (listing.kind, listing.location) == ("folder", str(tmp_path))
    assert read_item(listing.items[0], MOST) == b"a/b/c.md"


def test_ignore_rules_are_gits(tmp_path: Path) -> None:
    """Patterns hold below their folder, the nearer and later rule wins, and can bring files back."""
    make(tmp_path, "old.md", "draft/a.md", "draft/keep.md", "sub/x.log", "sub/y.md", "sub/old.md", "theme.css")
    (tmp_path / ".gitignore").write_text("*.log\ndraft/*\n!draft/keep.md\n/old.md\n")
    (tmp_path / ".rumaignore").write_text("!theme.css\n")
    (tmp_path / "sub" / ".rumaignore").write_text("!x.log\ny.md\n")

    assert names_in(tmp_path) == ["draft/keep.md", "sub/old.md", "sub/x.log", "theme.css"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    """A link inside is a file, one out of it is refused, and one to a folder above ends nothing in a circle."""
    make(tmp_path / "outside", "secret.md")
    make(tmp_path / "in", "a.md", "sub/b.md")
    (tmp_path / "in/alias.md").symlink_to("a.md")
    (tmp_path / "in/leak.md").symlink_to(tmp_path / "outside/secret.md")
    (tmp_path / "in/leaks").symlink_to(tmp_path / "outside")
    (tmp_path / "in/sub/circle").symlink_to("..")

    items = {item.name: item.problem for item in find_items(str(tmp_path / "in")).items}

    assert sorted(name for name, problem in items.items() if not problem) == ["a.md", "alias.md", "sub/b.md"]
    assert all("link out of the folder" in items[name] for name in ("leak.md", "leaks", "sub/circle"))


def test_rumas_own_folder_is_never_read(tmp_path: Path) -> None:
    """A home folder that holds it is read without it, and to name it is an error."""
    make(tmp_path, "a.md", "ruma/keys/acme", "ruma/tenants/acme/tenant.toml")

    listing = find_items(str(tmp_path), home=tmp_path / "ruma")

    assert [item.name for item in listing.items] == ["a.md"]
    for inside in ("ruma", "ruma/keys", "ruma/tenants/acme/tenant.toml"):
        with pytest.raises(InputError, match="Ruma's own folder"):
            find_items(str(tmp_path / inside), home=tmp_path / "ruma")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe would block for ever and a device never ends; neither is opened."""
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        problems = {item.name: item.problem for item in find_items(str(tmp_path)).items}

    assert problems == {"pipe.md": "is a pipe, not a file.", "s": "is a socket, not a file."}
    with pytest.raises(InputError, match="is a device"):
        find_items("/dev/zero")
    with pytest.raises(InputError, match="is a pipe"):
        read_item(Item("pipe.md", str(tmp_path / "pipe.md")), MOST)


def test_a_missing_location_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(InputError, match=r"There is no file or folder .*nothing\."):
        find_items(str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="There is no file"):
        find_items("a\0b")


def test_names_are_data() -> None:
    """Accents are composed, bytes that are no UTF-8 become letters, and nothing else is changed."""
    assert clean_name("Cafe\u0301.md") == "Café.md"
    assert clean_name(os.fsdecode(b"caf\xe9.md")) == "café.md"
    assert clean_name("..\\x\n$HOME -rf \u202e.md") == "..\\x\n$HOME -rf \u202e.md"


def test_names_that_differ_only_in_their_accents_stay_two(tmp_path: Path) -> None:
    """Both files are read, under two names."""
    make(tmp_path, "caf\u00e9.md", "cafe\u0301.md")

    assert sorted(names_in(tmp_path)) == ["café (2).md", "café.md"] or sorted(names_in(tmp_path)) == [
        "café.md",
        "café.md (2)",
    ]


def test_a_text_has_a_name_of_its_own() -> None:
    """Standard input is a source of one document."""
    listing = find_items("-", standard_input=b"Hello.", text_name="notes.md")

    assert (listing.kind, listing.location) == ("text", "notes.md")
    assert read_item(listing.items[0], MOST) == b"Hello."
    assert find_items("-").location == "standard input"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    """The size is asked for before the content; a sparse file of a terabyte takes no time."""
    with (tmp_path / "big.txt").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(InputError, match="max_file_mb allows 1"):
        read_item(Item("big.txt", str(tmp_path / "big.txt")), MOST)
    with pytest.raises(InputError, match="max_file_mb"):
        read_item(Item("text", data=b"x" * (MOST + 1)), MOST)


@pytest.mark.parametrize("times", [1, 9])
def test_a_file_that_is_written_to_is_not_stored_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Bytes of two moments are never taken for one file: it is read once more, and then refused."""
    path = tmp_path / "log.txt"
    path.write_text("first")
    fstat, written = os.fstat, 0

    def write_after(descriptor: int) -> os.stat_result:
        nonlocal written
        result = fstat(descriptor)
        if written < times:
            written += 1
            os.truncate(path, result.st_size + 1)
        return result

    monkeypatch.setattr(os, "fstat", write_after)
    item = Item("log.txt", str(path))

    if times == 1:
        assert read_item(item, MOST) == b"first\0"
    else:
        with pytest.raises(InputError, match="was changed while it was read"):
            read_item(item, MOST)


def test_a_file_that_went_away_says_so(tmp_path: Path) -> None:
    """What was listed may be gone when its turn comes."""
    with pytest.raises(InputError, match="is not there any more"):
        read_item(Item("a.md", str(tmp_path / "a.md")), MOST)
