"""API keys: what lets a program in. Each may do what its scopes say, is shown once and kept as a hash."""

import hashlib
import json
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ruma.errors import InputError, NotFoundError
from ruma.tenant.audit import current_actor, note
from ruma.tenant.clock import now
from ruma.tenant.tenant import Tenant

SCOPES = ("chat", "read", "write", "conversations", "manage")
BEGINNING = "ruma_"
_LONGEST_NAME = 80
_SHOWN = 10
_USED_EVERY = 60
_COLUMNS = "id, name, beginning, scopes, created_by, created_at, last_used_at"


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key: never the key itself."""

    id: int
    name: str
    beginning: str
    """Its first characters, to tell it from others."""
    scopes: tuple[str, ...]
    created_by: str
    created_at: str
    last_used_at: str | None


def make_api_key(tenant: Tenant, name: str, scopes: Sequence[str], *, created_by: str) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is not kept.

    Raises:
        InputError: The name cannot be used, or there is no scope, or an unknown one.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"A key's name has 1 to {_LONGEST_NAME} characters, all of them visible.")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        said = f"There is no scope {unknown[0][:80]!r}." if unknown else "A key needs at least one scope."
        raise InputError(said, hint=f"Scopes: {', '.join(SCOPES)}.")
    secret = BEGINNING + secrets.token_urlsafe(32)
    kept = [scope for scope in SCOPES if scope in scopes]
    with tenant.writing() as db:
        stored = db.execute(
            """insert into api_key (name, secret_hash, beginning, scopes, created_by, created_by_id, created_at)
               values (?, ?, ?, ?, ?, ?, ?)""",
            [name, _hash(secret), secret[:_SHOWN], json.dumps(kept), created_by, current_actor().member_id, now()],
        )
        row = db.execute(f"select {_COLUMNS} from api_key where id = ?", [stored.lastrowid]).fetchone()
        note(db, "api-key.made", f"key {stored.lastrowid}", scopes=" ".join(kept))
    return _key(row), secret


def find_api_key(tenant: Tenant, secret: str) -> ApiKey | None:
    """Return the key of that secret, or None. That it was used is written once a minute at most."""
    if not secret.startswith(BEGINNING):
        return None
    with tenant.reading() as db:
        row = db.execute(f"select {_COLUMNS} from api_key where secret_hash = ?", [_hash(secret)]).fetchone()
    if row is None:
        return None
    key = _key(row)
    if key.last_used_at is None or _age(key.last_used_at) >= _USED_EVERY:
        with tenant.writing() as db:
            db.execute("update api_key set last_used_at = ? where id = ?", [now(), key.id])
    return key


def is_valid(tenant: Tenant, key_id: int) -> bool:
    """Tell whether a key still lets in: for an answer that is under way when it is revoked."""
    with tenant.reading() as db:
        return db.execute("select 1 from api_key where id = ?", [key_id]).fetchone() is not None


def list_api_keys(tenant: Tenant) -> list[ApiKey]:
    """Return the keys, the newest first."""
    with tenant.reading() as db:
        rows = db.execute(f"select {_COLUMNS} from api_key order by id desc").fetchall()
    return [_key(row) for row in rows]


def revoke_api_key(tenant: Tenant, key_id: int) -> None:
    """Let a key in no more, from the next request on.

    Raises:
        NotFoundError: There is no such key.
    """
    with tenant.writing() as db:
        if not db.execute("delete from api_key where id = ?", [key_id]).rowcount:
            raise NotFoundError("This key is not there any more.", hint="`ruma api-keys list` lists them.")
        note(db, "api-key.revoked", f"key {key_id}")


def _key(row: Sequence[Any]) -> ApiKey:
    return ApiKey(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:])


def _age(time: str) -> float:
    # Also where the clock was set back: then the use is written anew.
    return abs((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
