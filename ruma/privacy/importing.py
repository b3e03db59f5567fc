"""An import: a new tenant from the export of another, which gives the same answers.

The file may be anybody's. It is read as rows that are checked one by one, and its tenant is there whole or not at all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ruma.errors import InputError
from ruma.privacy.archive_reading import ArchiveReader
from ruma.privacy.exporting import FORMAT, VERSION
from ruma.privacy.import_checks import CHECKS, check_conversation, check_document
from ruma.tenant.agents import change_agent, write_first_agent
from ruma.tenant.conversing.consents import change_keeping
from ruma.tenant.copying.arrivals import (
    finish_arrival,
    pack_chunks,
    store_conversations,
    store_document_row,
    store_members,
    store_rows,
    store_uploads,
    unpack_chunks,
)
from ruma.tenant.copying.contents import FLAT, Row
from ruma.tenant.database import create_database
from ruma.tenant.home import Home
from ruma.tenant.keys.envelopes import is_envelope, open_envelope
from ruma.tenant.knowledge.documents import NewChunk
from ruma.tenant.names import check_name
from ruma.tenant.profile import change_profile
from ruma.tenant.tenant import Tenant

NOT_IMPORTED = {
    "audit": "the new tenant's log begins with the import",
    "session": "who was signed in is not signed in here",
    "link": "a one-time link opens nothing here",
    "api_key": "a program's key is a secret that the export does not hold: make new ones",
    "export": "the files are not in the export",
    "backup": "the backups are another machine's",
    "connection": "the ledger is of this installation's connections",
    "policy_version": "the policy is of this installation",
    "erasure": "the receipts are signed by the tenant that erased; the export keeps them to be read",
    "retention": "the plan is the operator's to give",
    "billing": "the customer number is of the account at Stripe that the other operator has",
}
"""What is in an export to be read, and is not stored by an import, and why."""

_AT_ONCE = 500
_MOST_ORIGINAL = 4_000_000_000
_MOST_ABOUT = 256_000_000

Rebuild = Callable[[Row, str], Sequence[NewChunk]]
"""Makes chunks with new vectors from a document of an export and the kind of its source."""


@dataclass(frozen=True)
class Imported:
    """A tenant that was made from an export."""

    name: str
    id: str
    recovery_key: str
    key_store: str
    counts: dict[str, int]
    members: tuple[str, ...]
    """The addresses of the members who came along, disabled and without passwords."""
    is_embedded_anew: bool
    """Whether another model had made the export's vectors."""
    without_original: tuple[str, ...]
    """The documents whose original the export lacks: their text stands for it."""


def import_export(
    home: Home, file: Path, name: str | None, *, embedder_id: str, dimension: int, rebuild: Rebuild, password: str = ""
) -> Imported:
    """Make a new tenant from an export.

    Args:
        home: Where it is made.
        file: The zip, or the file of age that holds it.
        name: What it is called; None takes the name that it had.
        embedder_id: Which model searches here. Vectors of another one are made anew.
        dimension: How many numbers a vector of it has.
        rebuild: Makes them.
        password: What a file of age opens with.

    Raises:
        InputError: The file is none that Ruma wrote, is damaged or hostile, or the name is taken. Nothing is made.
        StoreError: The disk is full.
        KeyStoreError: No key source can keep the new tenant's key.
    """
    with _opened(file, password) as opened:
        archive = ArchiveReader(opened, file)
        about = _read_about(archive)
        name = check_name(name or str(about.get("tenant", "")))
        with home.building(name) as draft:
            create_database(draft.folder, draft.key, draft.id)
            with Tenant(name, draft.id, draft.folder, draft.key) as tenant:
                write_first_agent(tenant)
                filling = _Filling(archive, tenant, about, embedder_id, dimension, rebuild)
                filling.fill()
    return Imported(
        name,
        draft.id,
        draft.key.recovery_text(),
        draft.key_store,
        filling.counts,
        tuple(filling.members),
        filling.is_embedded_anew,
        tuple(filling.without_original),
    )


class _Filling:
    """One import: what is read, where it goes, and what was done so far."""

    def __init__(
        self, archive: ArchiveReader, tenant: Tenant, about: Row, embedder_id: str, dimension: int, rebuild: Rebuild
    ) -> None:
        used = about.get("embedder")
        used = used if isinstance(used, dict) else {}
        self.is_embedded_anew = used.get("embedder_id") not in ("", embedder_id)
        self.counts: dict[str, int] = {}
        self.members: list[str] = []
        self.without_original: list[str] = []
        self._archive, self._tenant, self._rebuild = archive, tenant, rebuild
        self._embedder_id, self._dimension = embedder_id, dimension
        self._kinds: dict[int, str] = {}

    def fill(self) -> None:
        """Store everything, in the order in which rows point to each other."""
        self._store_settings()
        for table in ("member", "source"):
            self._store_table(table)
        self._store_documents()
        self._store_conversations()
        for table in (
            "upload",
            "consent",
            "terms",
            "terms_acceptance",
            "rights_request",
            "rights_request_step",
            "hold",
        ):
            self._store_table(table)
        finish_arrival(self._tenant, self._embedder_id, self._dimension, self.counts)

    def _store_settings(self) -> None:
        for name, change in (("profile", change_profile), ("agent", change_agent)):
            for row in self._rows(f"data/{name}.jsonl"):
                change(self._tenant, **CHECKS[name](row))
        for row in self._rows("data/consent_setting.jsonl"):
            change_keeping(self._tenant, str(row.get("keeping", "")))

    def _store_table(self, name: str) -> None:
        table = next(one for one in FLAT if one.name == name)
        rows = map(CHECKS[name], self._rows(f"data/{name}.jsonl"))
        while batch := list(islice(rows, _AT_ONCE)):
            if name == "member":
                self.members += [row["email"] for row in batch]
                store_members(self._tenant, table, batch)
            elif name == "upload":
                batch = [row for row in batch if row.get("state") == "done"]
                store_uploads(self._tenant, table, batch)
            else:
                if name == "source":
                    self._kinds |= {row["id"]: row["kind"] for row in batch}
                store_rows(self._tenant, table, batch)
            self.counts[name] = self.counts.get(name, 0) + len(batch)

    def _store_documents(self) -> None:
        for part in self._parts("documents"):
            vectors = self._archive.rows(part.replace("/documents/", "/vectors/"))
            for row, made in _in_step(self._archive.rows(part), vectors, part):
                self._store_document(row, made)
                self.counts["documents"] = self.counts.get("documents", 0) + 1

    def _store_document(self, row: Row, vectors: Row) -> None:
        row = check_document(row)
        if vectors.get("document_id") != row["id"]:
            raise InputError(f"The vectors of {row['name']} are another document's.")
        if self.is_embedded_anew:
            chunks = pack_chunks(self._rebuild(row, self._kinds.get(row["source_id"], "")))
        else:
            chunks = unpack_chunks(row, vectors, self._dimension)
        is_bare = not row["file"]
        if is_bare:
            self.without_original.append(row["name"])
            original: Iterator[bytes] = iter(["".join(one.text for one in chunks).encode("utf-8", "replace")])
        else:
            original = self._archive.blocks(row["file"], _MOST_ORIGINAL)
        columns = {key: value for key, value in row.items() if key not in ("chunks", "file")}
        store_document_row(self._tenant, columns, chunks, original, is_bare=is_bare)

    def _store_conversations(self) -> None:
        for part in self._parts("conversations"):
            rows = map(check_conversation, self._archive.rows(part))
            while batch := list(islice(rows, _AT_ONCE)):
                store_conversations(self._tenant, batch)
                self.counts["conversations"] = self.counts.get("conversations", 0) + len(batch)

    def _parts(self, kind: str) -> list[str]:
        return [name for name in self._archive.names if name.startswith(f"data/{kind}/")]

    def _rows(self, name: str) -> Iterator[Row]:
        return self._archive.rows(name) if name in self._archive.names else iter(())


@contextmanager
def _opened(file: Path, password: str) -> Iterator[BinaryIO]:
    try:
        raw = file.open("rb")
    except OSError as exc:
        raise InputError(f"The file {file} cannot be read: {exc.strerror}.") from exc
    with raw:
        start = raw.read(64)
        raw.seek(0)
        if not is_envelope(start):
            yield raw
            return
        if not password:
            raise InputError(
                f"{file} opens with a password alone.", hint="Add --ask-password, or --password-file with a file."
            )
        with open_envelope(raw, password) as opened:
            yield opened


def _read_about(archive: ArchiveReader) -> Row:
    about = archive.read_json("export.json", _MOST_ABOUT)
    if not isinstance(about, dict) or about.get("format") != FORMAT or type(about.get("version")) is not int:
        raise InputError("This is no export of Ruma.")
    if about["version"] > VERSION:
        raise InputError(
            f"The export was made by a newer Ruma (version {about['version']}, this one reads {VERSION}).",
            hint="Update Ruma: pip install --upgrade ruma",
        )
    if about["version"] < 1:
        raise InputError("This is no export of Ruma.")
    scope = about.get("scope")
    if not isinstance(scope, dict) or scope.get("kind") != "tenant":
        raise InputError("This is an export of one person's data; only one of a whole tenant can be imported.")
    known = {table.name for table in FLAT} | {"reply"}
    for name in archive.names:
        if name.startswith("data/") and name.count("/") == 1 and name[5:-6] not in known:
            raise InputError(f"The export holds {name}, which this Ruma does not know.", hint="Update Ruma.")
    return about


def _in_step(rows: Iterator[Row], others: Iterator[Row], part: str) -> Iterator[tuple[Row, Row]]:
    try:
        yield from zip(rows, others, strict=True)
    except ValueError as exc:
        raise InputError(f"{part} and its vectors have different numbers of documents.") from exc
