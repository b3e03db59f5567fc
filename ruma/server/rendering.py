"""The only module that knows the templates. Every value is escaped; none is ever marked as safe."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ruma import __version__
from ruma.server.viewing import Piece, find_labels

_HERE = Path(__file__).parent
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def render(template: str, **values: Any) -> str:
    """Return a page as HTML."""
    return _environment().get_template(template).render(values)


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the content and the media type of each file that pages may load; there are no others."""
    return {
        file.name: (file.read_bytes(), _STATIC_TYPES[file.suffix])
        for file in (_HERE / "static").iterdir()
        if file.suffix in _STATIC_TYPES
    }


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
    environment.globals["static"] = _static_url
    environment.globals["quote_parts"] = _quote_parts
    return environment


def _quote_parts(quote: str) -> list[tuple[str, bool]]:
    return list(Piece(quote, is_cited=False, labels=tuple(find_labels(quote))).parts)


def _static_url(name: str) -> str:
    # The hash of the content makes a browser load a changed file although it may keep the old one.
    return f"/static/{name}?v={hashlib.sha256(static_files()[name][0]).hexdigest()[:12]}"
