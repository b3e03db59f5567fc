"""Reads what a server answered for the check of the privacy policy: what its pages load, hold and say."""

import html
import re
from collections.abc import Set
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from ruma.privacy.consent import STORAGE

_OURS = {"'self'", "'none'"}
_LOADING = {
    "default-src", "script-src", "style-src", "img-src", "font-src", "connect-src", "media-src", "object-src",
    "frame-src", "child-src", "worker-src", "manifest-src", "form-action",
}  # fmt: skip
_ABROAD = re.compile(r"""(?:\b(?:https?|wss?)://|["'`(]//)([a-z0-9-]+(?:\.[a-z0-9-]+)+)""", re.IGNORECASE)
_IMPORT = re.compile(r"""\bfrom\s*["'](\.[^"']+)["']""")
_NAMESPACE = "www.w3.org"
"""Names of XML vocabularies are written like addresses; nothing is loaded from there."""

_OTHER_STORES = re.compile(r"document\.cookie|cookieStore|indexedDB|openDatabase|serviceWorker|\bcaches\.|\.storage\.")
_KEPT = re.compile(r"""(?:local|session)Storage\.setItem\(\s*["'`]([^"'`]*)["'`]""")
_NEVER_KEPT = {"htmx-history-cache"}
"""A key that is in the code of htmx, and that the pages switch off (a size of 0)."""

_SAID = re.compile(r'<p id="says-([a-z-]+)">(.*?)</p>', re.DOTALL)


@dataclass(frozen=True)
class Page:
    """What the server answered to one request."""

    path: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str = ""

    def header(self, name: str) -> str:
        """Return a header's value; empty where it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def cookies(self) -> list[str]:
        """The cookies that it sets, as they were sent."""
        return [value for key, value in self.headers if key.lower() == "set-cookie"]

    @property
    def kind(self) -> str:
        """Its media type, such as `text/html`."""
        return self.header("content-type").partition(";")[0].strip().lower()


def find_own(page: Page) -> list[str]:
    """Return the paths of what a page makes a browser load from the same server."""
    if page.kind == "text/html":
        reader = _Loads()
        reader.feed(page.body)
        found = {address for address in reader.found if not _is_elsewhere(address)}
    else:
        found = set(_IMPORT.findall(page.body)) if page.kind == "text/javascript" else set()
    return sorted(urlsplit(urljoin(page.path, address)).path for address in found if not address.startswith("data:"))


def find_elsewhere(page: Page, own_hosts: Set[str]) -> str:
    """Return what a page loads from another server, or might; empty where it is nothing.

    Args:
        page: A page, a script or a style.
        own_hosts: The names that this server and the websites that show the widget are known by.
    """
    if page.status >= 400:
        return f"{page.path} answered with {page.status}."
    if page.kind != "text/html":
        named = {host.lower() for host in _ABROAD.findall(page.body)} - own_hosts - {_NAMESPACE}
        return listed(f"{page.path} names other servers", named)
    directives = {
        part.split()[0]: set(part.split()[1:])
        for part in page.header("content-security-policy").split(";")
        if part.split()
    }
    if "default-src" not in directives:
        return f"{page.path} has no content policy."
    for name, sources in directives.items():
        if name in _LOADING and sources - _OURS:
            return f"{page.path} may load from {', '.join(sorted(sources - _OURS))}."
    reader = _Loads()
    reader.feed(page.body)
    return listed(f"{page.path} loads", filter(_is_elsewhere, reader.found))


def find_stores(page: Page) -> str:
    """Return where a script keeps something in the browser that the policy's table does not have; empty for nowhere."""
    if page.kind != "text/javascript":
        return ""
    known = {one.name for one in STORAGE} | _NEVER_KEPT
    return listed(f"{page.path} keeps things in the browser, by", _OTHER_STORES.findall(page.body)) or listed(
        f"{page.path} keeps in the browser", set(_KEPT.findall(page.body)) - known
    )


def read_said(page: Page) -> dict[str, str]:
    """Return the statements that a page with a policy makes, by their names."""
    return {name: " ".join(html.unescape(text).split()) for name, text in _SAID.findall(page.body)}


class _Loads(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": ("href",), "a": ()}.get(tag, ("src", "srcset", "poster", "data", "href"))
        self.found |= {value.strip() for name, value in attrs if name in wanted and value}


def _is_elsewhere(address: str) -> bool:
    return bool(re.match(r"(?:[a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE))


def listed(what: str, names: object) -> str:
    """Return a sentence that names the first few of what was found; empty where nothing was."""
    found = sorted({str(name) for name in names})  # type: ignore[attr-defined]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"{what}: {', '.join(found[:5])}{more}." if found else ""
