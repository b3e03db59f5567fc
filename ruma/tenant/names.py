"""The one policy for tenants' names: a name that passes is also a safe folder, URL part and cookie name."""

import re
import unicodedata

from ruma.errors import InputError

LONGEST_NAME = 40

_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)

# Windows gives these to devices in every folder, so a home that is copied there would lose the tenant.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin", "conout", "clock"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in range(10)]
)
# Words that Ruma's own addresses, folders and commands use, or may use, where a name could stand.
_RESERVED = frozenset(
    [
        "account",
        "admin",
        "all",
        "api",
        "app",
        "assets",
        "auth",
        "config",
        "default",
        "demo",
        "docs",
        "favicon",
        "files",
        "health",
        "healthz",
        "help",
        "home",
        "index",
        "keys",
        "localhost",
        "login",
        "logout",
        "me",
        "members",
        "metrics",
        "models",
        "new",
        "none",
        "null",
        "openapi",
        "operator",
        "policy",
        "privacy",
        "public",
        "root",
        "ruma",
        "schema",
        "server",
        "settings",
        "setup",
        "static",
        "status",
        "system",
        "t",
        "tenant",
        "tenants",
        "test",
        "tmp",
        "undefined",
        "visitor",
        "well-known",
        "widget",
        "www",
    ]
) - {"demo", "test"}


def check_name(name: str) -> str:
    """Return *name* if it can be a tenant's name.

    Nothing is folded or mended on the way: two names are the same tenant only if they are the same text, and
    an upper-case or accented variant of a name is refused, so no two names can differ by case or by Unicode form.

    Raises:
        InputError: It cannot; the message says why and the hint offers a name that could be meant.
    """
    if _PATTERN.fullmatch(name) and name not in _DEVICES and name not in _RESERVED:
        return name
    if name in _DEVICES or name in _RESERVED:
        reason = "is a reserved word and cannot be a tenant's name"
    elif not name:
        raise InputError("A tenant's name cannot be empty.", hint=_hint(""))
    elif len(name) > LONGEST_NAME:
        reason = f"is too long for a tenant's name ({len(name)} characters, {LONGEST_NAME} at most)"
    else:
        reason = "cannot be a tenant's name"
    raise InputError(f"{quote_name(name)} {reason}.", hint=_hint(suggest_name(name)))


def suggest_name(text: str) -> str:
    """Return a name that passes `check_name` and reads like *text*, or "" where there is none.

    The operator chooses; nothing in Ruma takes the suggestion by itself.
    """
    letters = unicodedata.normalize("NFKD", text[:400]).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", letters.replace("'", "")).strip("-")[:LONGEST_NAME].rstrip("-")
    is_usable = bool(slug) and slug not in _DEVICES and slug not in _RESERVED
    return slug if is_usable else ""


def quote_name(name: str) -> str:
    """Return *name* in quotes for a message: shortened, with every character that could act escaped."""
    return repr(name if len(name) <= 60 else name[:57] + "…")


def _hint(suggestion: str) -> str:
    rule = f"Use 1 to {LONGEST_NAME} lower-case letters (a to z), digits and hyphens, with no hyphen at the ends"
    return f"{rule}, for example: {suggestion}" if suggestion else f"{rule}."
