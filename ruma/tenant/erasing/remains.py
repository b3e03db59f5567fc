"""Looks, long after, whether anything of an erasure is left: in a tenant that goes on, or of one that was deleted."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruma.config import Settings
from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.erasing.erasures import read_fingerprints
from ruma.tenant.erasing.receipts import ErasedKind
from ruma.tenant.erasing.residue import Fingerprints, Place, find_in_pages, hash_term, read_terms
from ruma.tenant.erasing.traces import INDEXES, ROOTS, find_in_rows, word_list
from ruma.tenant.keys.keyring_store import SystemKeyring, find_keyring
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True)
class Remains:
    """What was looked through, and what was found."""

    pages: int
    """How many pages were decrypted, frames of the log among them."""
    words: int
    """How many words the full-text indexes hold."""
    digest: str
    """SHA-256 of the fingerprints that were looked for."""
    places: tuple[Place, ...]
    """Pages that hold a piece which is in no living record."""
    left_words: int
    """Erased words that an index still holds, and no living record."""
    left_rows: tuple[int, ...]
    """Numbers of what was erased that are there again."""
    elsewhere: tuple[tuple[str, int], ...]
    """Living records, as table and row, in which the same words stand."""


def find_remains(tenant: Tenant, number: str, kind: ErasedKind, numbers: tuple[int, ...]) -> Remains:
    """Decrypt every page of a tenant's database and log, and look for an erasure's pieces and words.

    Raises:
        NotFoundError: The tenant has no such erasure.
        StoreError: The database cannot be read.
    """
    looked_for = read_fingerprints(tenant, number)
    hits, pages = find_in_pages(tenant.database_file, tenant.key.raw, looked_for)
    with tenant.reading() as db:
        elsewhere = find_in_rows(db, looked_for, set(hits)) if hits else {}
        words, left_words, said_again = _find_words(db, looked_for)
        marked = ",".join("?" * len(numbers))
        table = ROOTS[kind] if kind != "tenant" else "ruma_identity"
        rows = db.execute(f"select rowid from {table} where rowid in ({marked})", list(numbers)).fetchall()
    left = [place for piece, found in hits.items() if piece not in elsewhere for place in found]
    living = {row for found in elsewhere.values() for row in found} | said_again
    return Remains(
        pages=pages,
        words=words,
        digest=looked_for.digest,
        places=tuple(dict.fromkeys(left)),
        left_words=left_words,
        left_rows=tuple(row[0] for row in rows),
        elsewhere=tuple(sorted(living)),
    )


def find_tenant_remains(settings: Settings, tenant_id: str, key_item: str) -> tuple[int, list[str]]:
    """Return how many names in the home were looked at, and what is left there of a deleted tenant, in words.

    Looked for are a directory, a key in every key source, whatever is named by its id, and a copy of its directory.
    """
    left, looked_at = [], 0
    for path in sorted(settings.home.rglob("*")):
        looked_at += 1
        if tenant_id in path.name:
            left.append(f"{path} is named by its id")
        elif path.name == "tenant.toml":
            with suppress(OSError):
                if tenant_id in path.read_text(encoding="utf-8", errors="replace"):
                    left.append(f"{path.parent} is a directory of it")
    return looked_at, [*left, *_find_key(tenant_id, key_item)]


def _find_words(db: "Database", looked_for: Fingerprints) -> tuple[int, int, set[tuple[str, int]]]:
    """Return how many words the indexes hold, how many erased ones are left, and the records that say one again."""
    wanted = {int(term) for term in looked_for.terms}
    count, left, again = 0, 0, set[tuple[str, int]]()
    for table, index in INDEXES.items():
        words = set(read_terms(db, index)) | {row[0] for row in db.execute(f"select term from {word_list(db, index)}")}
        count += len(words)
        for word in (word for word in words if hash_term(word, looked_for.secret) in wanted):
            places = word_list(db, index, "instance")
            # An entry without its row is left over; one with a row is a word that was said anew.
            sql = f"select id from {table} where id in (select doc from {places} where term = ?)"
            rows = {(table, row[0]) for row in db.execute(sql, [word])}
            again |= rows
            left += not rows
    return count, left, again


def _find_key(*items: str) -> list[str]:
    """Return what the system's keyring says of items; sealed keys are files of the home, found by their name."""
    try:
        backend = find_keyring()
    except KeyStoreError as exc:
        return [f"the system's keyring could not be asked ({str(exc).rstrip('.')})"]
    found = []
    for item in dict.fromkeys(item for item in items if item and backend):
        try:
            SystemKeyring(backend or "").read(item)
            found.append(f"the system's keyring holds its key, as {item}")
        except KeyMissingError:
            pass
        except WrongKeyError:
            found.append(f"the system's keyring has an item {item}")
        except KeyStoreError as exc:
            found.append(f"the system's keyring could not be asked ({str(exc).rstrip('.')})")
    return found
