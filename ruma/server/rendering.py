"""The only module that knows the templates. Every value is escaped; none is ever marked as safe."""

import hashlib
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ruma import __version__
from ruma.server.viewing import Piece, find_labels

_HERE = Path(__file__).parent
_IMPORT = re.compile(rb"""(?<=from ")(\./[a-z]+\.js)(?:\?v=[0-9a-f]+)?(?=")""")
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def render(template: str, **values: Any) -> str:
    """Return a page as HTML."""
    return _environment().get_template(template).render(values)


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the content and the media type of each file that pages may load; there are no others."""
    files = {
        file.name: (file.read_bytes(), _STATIC_TYPES[file.suffix])
        for file in (_HERE / "static").iterdir()
        if file.suffix in _STATIC_TYPES
    }
    version = _scripts_version(files)
    return {name: (_import_version(content, version), kind) for name, (content, kind) in files.items()}


@cache
def read_script(name: str) -> str:
    """Return a script that is filled in for each tenant, without its comments and indents."""
    text = (_HERE / "templates" / name).read_text(encoding="utf-8")
    return re.sub(r"^\s*(?://.*)?\n?", "", text, flags=re.MULTILINE)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = __version__
    environment.globals["static"] = static_url
    environment.globals["quote_parts"] = _quote_parts
    environment.globals["iso_time"] = _iso_time
    environment.globals["day_in_words"] = _day_in_words
    return environment


def _iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day_in_words(iso: str) -> str:
    """Return a day as English texts have it, for the pages that no script touches."""
    day = date.fromisoformat(iso[:10])
    return f"{day.day} {day:%B %Y}"


def _quote_parts(quote: str) -> list[tuple[str, bool]]:
    return list(Piece(quote, is_cited=False, labels=tuple(find_labels(quote))).parts)


def static_url(name: str) -> str:
    """Return the address of a static file; it changes with the content, so browsers may keep what they loaded."""
    content, kind = static_files()[name]
    version = _scripts_version(static_files()) if kind == _STATIC_TYPES[".js"] else _hash(content)
    return f"/static/{name}?v={version}"


def _scripts_version(files: dict[str, tuple[bytes, str]]) -> str:
    # One for all: modules import each other, and a module under two addresses would be two modules.
    scripts = sorted((name, content) for name, (content, _) in files.items() if name.endswith(".js"))
    return _hash(b"".join(_IMPORT.sub(rb"\1", content) for _, content in scripts))


def _import_version(content: bytes, version: str) -> bytes:
    return _IMPORT.sub(rb"\1?v=" + version.encode(), content)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
