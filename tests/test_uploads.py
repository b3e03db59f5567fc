import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import ConflictError, DamagedError, InputError, NotFoundError
from ruma.privacy.erasing import erase_document, erase_source
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import finish_interrupted, remove_documents, store_document
from ruma.tenant.knowledge.sources import add_source, list_sources
from ruma.tenant.knowledge.uploads import (
    MOST_TRIES,
    Kind,
    Taken,
    Upload,
    begin_upload,
    clean_upload_name,
    count_uploads,
    discard_upload,
    find_upload,
    has_waiting_files,
    list_uploads,
    read_upload,
    receive_upload,
    retry_upload,
    take_upload,
)
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_plaintext, find_residue, make_canaries
from tests.making import EMBEDDER, make_document

MB = 1_000_000


def hand_over(
    tenant: Tenant, name: str = "hours.md", data: bytes = b"We open at nine.", kind: Kind = "upload"
) -> Upload:
    """Hand over a file."""
    return receive_upload(tenant, name, [data], kind=kind, added_by="Ada", most_bytes=MB)


def take(tenant: Tenant) -> Taken:
    """Take the next upload; there must be one."""
    taken = take_upload(tenant)
    assert taken is not None
    return taken


def store_as_document(tenant: Tenant, taken: Taken) -> int:
    """Do what reading does: store the document and note that it was read."""
    source = add_source(tenant, "upload", taken.upload.name)
    document = make_document(taken.upload.name, "We open at nine.")
    document_id = store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
    taken.finish()
    return document_id


def files(tenant: Tenant) -> list[str]:
    """Return the names of the sealed uploads."""
    return sorted(os.listdir(tenant.uploads_folder)) if tenant.uploads_folder.exists() else []


def test_an_upload_is_kept_sealed_and_reads_back(tenant: Tenant) -> None:
    """It waits under its name with the bytes that came in; on the disk is only ciphertext, for the owner alone."""
    data = b"canary" + os.urandom(200_000) + b"canary"

    upload = receive_upload(tenant, "hours.md", [data[:9], b"", data[9:]], kind="upload", added_by="Ada", most_bytes=MB)

    assert (upload.name, upload.kind, upload.state, upload.size_bytes) == ("hours.md", "upload", "waiting", len(data))
    assert (upload.added_by, upload.reason, upload.document_id) == ("Ada", "", None)
    assert b"".join(read_upload(tenant, upload)) == data
    assert list_uploads(tenant) == [upload] == [find_upload(tenant, upload.id)]
    [file] = tenant.uploads_folder.iterdir()
    assert file.name == upload.sealed_id
    assert b"canary" not in file.read_bytes()
    assert stat.S_IMODE(tenant.uploads_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_limit_is_on_what_comes_in(tenant: Tenant) -> None:
    """An upload that grows over the limit is refused at that byte, and nothing of it is kept; at the limit it is."""

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(100_000)

    with pytest.raises(InputError, match=r"big\.pdf is larger than 1 MB") as caught:
        receive_upload(tenant, "big.pdf", endless(), kind="upload", added_by="Ada", most_bytes=MB)

    assert "max_file_mb" in caught.value.hint
    assert (files(tenant), list_uploads(tenant)) == ([], [])
    assert hand_over(tenant, data=bytes(MB)).size_bytes == MB


def test_an_upload_that_breaks_off_leaves_nothing(tenant: Tenant) -> None:
    """When the sender goes away in the middle, there is neither a file nor a name of it."""

    def breaking() -> Iterator[bytes]:
        yield bytes(300_000)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        receive_upload(tenant, "hours.md", breaking(), kind="upload", added_by="Ada", most_bytes=MB)

    assert (files(tenant), list_uploads(tenant)) == ([], [])


def test_what_a_killed_process_was_receiving_is_swept(settings: Settings) -> None:
    """A process that dies while it receives leaves nothing that the next opening would not take away at once."""
    home = Home(settings)
    home.create("acme")
    script = (
        "import os, sys\nfrom ruma.config import load_settings\nfrom ruma.tenant.home import Home\n"
        "from ruma.tenant.knowledge.uploads import begin_upload\n"
        "tenant = Home(load_settings()).open('acme')\n"
        "receiving = begin_upload(tenant, 'a.md', kind='upload', added_by='', most_bytes=9_000_000)\n"
        "receiving.write(bytes(1_000_000))\nos._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], check=False)
    folder = settings.tenants_folder / "acme" / "uploads"
    assert [name[-5:] for name in os.listdir(folder)] == [".part"]

    with home.open("acme") as tenant:
        assert (files(tenant), list_uploads(tenant)) == ([], [])


def test_a_sweep_leaves_what_is_being_received(tenant: Tenant) -> None:
    """Another command that opens the tenant meanwhile takes nothing from the hands of the one that receives."""
    receiving = begin_upload(tenant, "hours.md", kind="upload", added_by="Ada", most_bytes=MB)
    receiving.write(b"We open")

    finish_interrupted(tenant)
    receiving.write(b" at nine.")
    upload = receiving.finish()

    finish_interrupted(tenant)
    assert b"".join(read_upload(tenant, upload)) == b"We open at nine."
    assert files(tenant) == [upload.sealed_id]


def test_nothing_is_kept_of_a_removed_tenant(tenant: Tenant) -> None:
    """An upload that comes in while its tenant is removed ends with the tenant, and makes no directory anew."""
    import shutil

    receiving = begin_upload(tenant, "hours.md", kind="upload", added_by="Ada", most_bytes=MB)
    receiving.write(b"We open at nine.")
    shutil.rmtree(tenant.folder)

    with pytest.raises(NotFoundError):
        receiving.finish()
    with pytest.raises(NotFoundError):
        begin_upload(tenant, "hours.md", kind="upload", added_by="Ada", most_bytes=MB)

    assert not tenant.folder.exists()


def test_uploads_are_taken_in_their_order_and_by_one_reader(tenant: Tenant) -> None:
    """The oldest first, and none by two: not by another thread, and not by another process."""
    first, second = hand_over(tenant, "a.md"), hand_over(tenant, "b.md")

    with take(tenant) as one, take(tenant) as two:
        assert (one.upload.id, two.upload.id) == (first.id, second.id)
        assert take_upload(tenant) is None
        assert {upload.state for upload in list_uploads(tenant)} == {"reading"}
        assert one.read() == b"We open at nine."

    assert take(tenant).upload.id == first.id  # let go of without an end: it was interrupted


def test_a_read_upload_leaves_its_bytes_to_the_document(tenant: Tenant) -> None:
    """What was read is done, knows its document, and is no longer among what waits or in the folder."""
    upload = hand_over(tenant)

    with take(tenant) as taken:
        document_id = store_as_document(tenant, taken)

    done = find_upload(tenant, upload.id)
    assert (done.state, done.document_id) == ("done", document_id)
    assert done.ended_at is not None
    assert (list_uploads(tenant), files(tenant), take_upload(tenant)) == ([], [], None)
    assert count_uploads(tenant) == {"waiting": 0, "reading": 0, "done": 1, "failed": 0}


def test_only_the_last_upload_of_a_document_is_remembered(tenant: Tenant) -> None:
    """The same name again leaves one note that it was done, not one for each time."""
    for _ in range(3):
        hand_over(tenant)
        with take(tenant) as taken:
            store_as_document(tenant, taken)

    assert count_uploads(tenant)["done"] == 1


def test_a_failed_upload_can_be_tried_again(tenant: Tenant) -> None:
    """It says why, keeps its bytes, and waits anew when asked to; what did not fail cannot be tried again."""
    upload = hand_over(tenant)
    with take(tenant) as taken:
        taken.fail("is protected by a password.")
    failed = find_upload(tenant, upload.id)
    assert (failed.state, failed.reason) == ("failed", "is protected by a password.")
    assert take_upload(tenant) is None

    assert retry_upload(tenant, upload.id).state == "waiting"

    with pytest.raises(ConflictError, match="did not fail"):
        retry_upload(tenant, upload.id)
    with take(tenant) as taken:
        assert taken.read() == b"We open at nine."


def test_an_upload_that_ends_the_reader_is_given_up(tenant: Tenant) -> None:
    """Begun three times without an end, it fails instead of taking the server down once more."""
    upload = hand_over(tenant)
    for _ in range(MOST_TRIES):
        take(tenant).release()

    assert take_upload(tenant) is None

    assert find_upload(tenant, upload.id).state == "failed"
    assert "given up" in find_upload(tenant, upload.id).reason


def test_being_put_back_is_no_try(tenant: Tenant) -> None:
    """A server that is stopped in good order may be so any number of times."""
    hand_over(tenant)

    for _ in range(2 * MOST_TRIES):
        with take(tenant) as taken:
            taken.put_back()

    assert find_upload(tenant, 1).state == "waiting"


def test_a_discarded_upload_is_gone(tenant: Tenant) -> None:
    """Name and bytes go; not while it is being read, and not when it is a document already."""
    [word] = make_canaries(1)
    upload = hand_over(tenant, f"{word}.md")
    with take(tenant), pytest.raises(ConflictError, match="is being read"):
        discard_upload(tenant, upload.id)
    assert word in find_residue(tenant.folder, tenant.key.raw, [word])

    discard_upload(tenant, upload.id)

    assert (list_uploads(tenant), files(tenant)) == ([], [])
    assert find_residue(tenant.folder, tenant.key.raw, [word]) == {}
    with pytest.raises(NotFoundError):
        discard_upload(tenant, upload.id)


def test_a_read_upload_cannot_be_discarded(tenant: Tenant) -> None:
    """Its document is what can be removed."""
    upload = hand_over(tenant)
    with take(tenant) as taken:
        store_as_document(tenant, taken)

    with pytest.raises(ConflictError, match="remove its document"):
        discard_upload(tenant, upload.id)


@pytest.mark.parametrize("way", ["document", "source", "with source"])
def test_a_removed_document_takes_its_uploads_along(tenant: Tenant, way: str) -> None:
    """Neither the upload that it came from nor a failed one of its name stays, in the database or as a file."""
    words = make_canaries(2)
    name = f"{words[0]}.md"
    hand_over(tenant, name)
    with take(tenant) as taken:
        document_id = store_as_document(tenant, taken)
    hand_over(tenant, name, b"\0" * 100)
    with take(tenant) as taken:
        taken.fail(f"is a binary file about {words[1]}.")
    other = hand_over(tenant, "other.md")
    assert set(find_residue(tenant.folder, tenant.key.raw, words)) == set(words)

    if way == "document":
        remove_documents(tenant, [document_id])
        erase_source(tenant, add_source(tenant, "upload", name).id)
    elif way == "source":
        erase_source(tenant, list_sources(tenant)[0].id)
    else:
        assert erase_document(tenant, document_id).signed

    assert find_residue(tenant.folder, tenant.key.raw, words) == {}
    assert not find_plaintext([tenant.folder], words)
    assert list_uploads(tenant) == [other]
    assert files(tenant) == [other.sealed_id]
    assert list_sources(tenant) == []


def test_damage_is_noticed(tenant: Tenant) -> None:
    """Altered bytes are an error and never another text; a lost file fails with the reason."""
    upload = hand_over(tenant)
    path = tenant.uploads_folder / upload.sealed_id
    sealed = bytearray(path.read_bytes())
    sealed[-1] ^= 1
    path.write_bytes(sealed)
    with take(tenant) as taken, pytest.raises(DamagedError):
        taken.read()

    path.unlink()

    assert take_upload(tenant) is None
    assert "was lost" in find_upload(tenant, upload.id).reason


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Preise 2024.pdf", "Preise 2024.pdf"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("cafe\u0301.md", "caf\u00e9.md"),
        ("a\nb\0c\x1b[2J.md", "a b c [2J.md"),
        ("a\u2028b\udcff.md", "a b .md"),
        ("  \t ", "unnamed"),
        ("", "unnamed"),
        ("x" * 300 + ".docx", "x" * 250 + ".docx"),
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
    ids=ascii,
)
def test_names_are_data(name: str, kept: str) -> None:
    """Any name is taken: in one line, with composed accents, and with its suffix when it is cut."""
    assert clean_upload_name(name) == kept


def test_waiting_uploads_are_seen_without_a_key(tenant: Tenant) -> None:
    """A server finds at its start where something waits, before it opens any tenant."""
    assert not has_waiting_files(tenant.folder)
    receiving = begin_upload(tenant, "a.md", kind="upload", added_by="", most_bytes=MB)
    assert not has_waiting_files(tenant.folder)

    receiving.finish()

    assert has_waiting_files(tenant.folder)
    assert not has_waiting_files(tenant.folder / "nowhere")


def test_many_senders_at_once(tenant: Tenant) -> None:
    """Eight at a time all get their own, whole."""
    failures: list[BaseException] = []

    def send(number: int) -> None:
        try:
            upload = hand_over(tenant, f"{number}.md", bytes([number]) * 200_000)
            assert b"".join(read_upload(tenant, upload)) == bytes([number]) * 200_000
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=send, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(list_uploads(tenant)) == len(files(tenant)) == 8
