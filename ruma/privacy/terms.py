"""The terms of use that the operator asks members to accept. A new version is asked for again."""

import hashlib
from pathlib import Path

from ruma.config import Settings
from ruma.errors import InputError
from ruma.tenant.people.terms import Terms

_MOST_BYTES = 1_000_000


def read_terms(settings: Settings) -> Terms | None:
    """Return the terms in force; None where the operator asks for none.

    Raises:
        InputError: The file cannot be read, or the address is none.
    """
    place = settings.terms.strip()
    if not place:
        return None
    if "://" in place:
        if not place.startswith("https://") or " " in place or not place.isprintable():
            raise InputError("The setting terms is no address that begins with https://.", hint="Or name a file.")
        return Terms(settings.terms_version or _version(place), "", place)
    try:
        content = Path(place).expanduser().read_bytes()
        if len(content) > _MOST_BYTES:
            raise InputError(f"The terms in {place} are longer than {_MOST_BYTES} bytes.")
        text = content.decode().strip()
    except OSError as exc:
        raise InputError(f"The terms in {place} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"The terms in {place} are not written in UTF-8.") from exc
    if not text:
        raise InputError(f"The terms in {place} are empty.")
    return Terms(settings.terms_version or _version(text), text, "")


def _version(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]
