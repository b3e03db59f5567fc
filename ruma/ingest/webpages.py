"""What is at a web address: one page, or all that a website links to on its own host, within limits.

Nothing that a page says is believed: links are addresses that are checked like typed ones, and the parser process is
the one that finds them.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import unquote

from ruma.config import Settings
from ruma.errors import InputError, RumaError
from ruma.ingest.addresses import Reach, WebAddress, follow, read_address
from ruma.ingest.fetching import Answer, Door, Limits, fetch
from ruma.ingest.reading import Links, Reader
from ruma.ingest.robots import Robots, read_orders, read_robots
from ruma.ingest.sniffing import SUFFIXES
from ruma.ingest.sources import Item, Listing
from ruma.tenant.connections import READS_SOURCE, TenantLedger
from ruma.tenant.knowledge.documents import StoredState, read_original_of
from ruma.tenant.tenant import Tenant

TYPES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/plain": ".txt",
}
"""What of a website is read, by its type, and the suffix of a file of that type."""

MOST_SITE_BYTES = 500_000_000
MOST_PAGE_BYTES = 50_000_000
"""Of one page of a website; one that is asked for by itself may be as large as any file."""
MOST_SITE_SECONDS = 3600.0
DEEPEST = 10
"""How many links away from its first page a website is read."""
MOST_FAILURES = 5
"""After so many pages in a row that could not be had, the server is left alone."""
PAUSE_SECONDS = 0.5
"""Between two requests; a website's `robots.txt` may ask for more."""

_NAME_NETWORK = "The operator opens an intranet with the setting `private_networks`."
_LONGEST_PAUSE = 10.0
_MOST_WAITING = 10_000
_MOST_SITEMAPS = 20
_SMALL = Limits(most_bytes=10_000_000, seconds=30.0)
_NEVER_READ = {
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp", ".tif", ".tiff", ".css", ".js",
    ".mjs", ".map", ".json", ".xml", ".rss", ".atom", ".woff", ".woff2", ".ttf", ".otf", ".eot", ".mp3", ".mp4",
    ".m4a", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".ogg", ".wav", ".flac", ".zip", ".gz", ".tgz", ".bz2", ".xz",
    ".7z", ".rar", ".tar", ".dmg", ".exe", ".msi", ".apk", ".deb", ".rpm", ".iso", ".xlsx", ".xls", ".pptx", ".ppt",
    ".doc", ".epub", ".ics", ".vcf",
}  # fmt: skip
"""What a website links to and no document is."""

_MOST_RULE_BYTES = 500_000
_GONE = (404, 410)
_UNSAID = ("", "application/octet-stream", "binary/octet-stream")


@dataclass(frozen=True)
class SiteLimits:
    """What of a website is read at most."""

    pages: int
    bytes: int = MOST_SITE_BYTES
    seconds: float = MOST_SITE_SECONDS
    depth: int = DEEPEST
    pause: float = PAUSE_SECONDS
    page: Limits = field(default_factory=Limits)
    """What one page may take."""


def find_pages(location: str, tenant: Tenant, settings: Settings, *, is_site: bool) -> Listing:
    """Return what is to be read at a web address, before anything is asked for.

    Raises:
        InputError: It is no address of a web page, or Ruma is offline.
    """
    address = check_location(location, settings)
    page = WebPage(address, tenant, settings)
    if not is_site:
        return page
    most = min(MOST_PAGE_BYTES, settings.max_file_mb * 1_000_000)
    return WebSite(page, SiteLimits(settings.max_site_pages, page=Limits(most_bytes=most)))


def check_location(location: str, settings: Settings) -> WebAddress:
    """Return a source's address, before anything is asked for.

    Raises:
        InputError: It is no address of a web page, or Ruma is offline.
    """
    address = read_address(location)
    if settings.offline:
        raise InputError(f"{address} was not read: Ruma is offline.", hint="Switch off the setting `offline`.")
    reach = Reach(settings.private_networks)
    with suppress(ValueError):
        # A name has its addresses looked up later; a number is one already.
        if reason := reach.refusal(str(ip_address(address.host)), address.port):
            raise InputError(f"{address} was not read: its host {reason}.", hint=_NAME_NETWORK)
    return address


class WebPage(Listing):
    """One page of the web, whatever of what Ruma reads it is."""

    def __init__(self, address: WebAddress, tenant: Tenant, settings: Settings) -> None:
        """Ask for nothing yet."""
        super().__init__("page", str(address))
        self.address = address
        self._tenant = tenant
        self._is_gone = False
        self._stopped = threading.Event()
        self._door = Door(
            TenantLedger(tenant), READS_SOURCE, Reach(settings.private_networks), is_stopped=self._stopped.is_set
        )
        self._limits = Limits(most_bytes=settings.max_file_mb * 1_000_000)

    @property
    def count(self) -> int:
        """There is one."""
        return 1

    def each(self, reader: Reader, states: Mapping[str, StoredState]) -> Iterator[Item]:
        """Give the page, as it is now."""
        name = str(self.address)
        try:
            answer = self.get(self.address, states.get(name))
        except InputError as exc:
            yield Item(name, problem=str(exc))
            return
        self._is_gone = answer.status in _GONE
        yield make_item(name, answer)

    def is_gone(self, name: str) -> bool:
        """Tell whether the server said that the page is there no more."""
        return self._is_gone

    def stop(self) -> None:
        """End what is being fetched."""
        self._stopped.set()

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether there is to be more."""
        return not self._stopped.wait(seconds)

    def get(
        self,
        address: WebAddress,
        state: StoredState | None = None,
        *,
        limits: Limits | None = None,
        follows: Callable[[WebAddress], bool] | None = None,
    ) -> Answer:
        """Return what is at an address, or the answer 304 where it is as it was stored.

        Raises:
            InputError: It cannot be had; the message continues a sentence that begins with the address.
        """
        headers = {"Accept": f"{', '.join(TYPES)}, */*;q=0.1"}
        if state and state.etag:
            headers["If-None-Match"] = state.etag
        if state and state.last_modified:
            headers["If-Modified-Since"] = state.last_modified
        return fetch(address, self._door, limits or self._limits, headers, follows=follows)

    def stored(self, state: StoredState) -> bytes:
        """Return the original of a stored page; nothing where it was removed meanwhile."""
        with suppress(RumaError):
            return b"".join(read_original_of(self._tenant, state.document_id))
        return b""


class WebSite(Listing):
    """The pages of one host: those that its sitemap names, and those that they link to."""

    def __init__(self, page: WebPage, limits: SiteLimits) -> None:
        """Ask for nothing yet."""
        super().__init__("site", page.location)
        self._page, self._limits = page, limits
        self._waiting: deque[tuple[WebAddress, int]] = deque()
        self._seen: set[str] = set()
        self._hashes: set[str] = set()
        self._gone: set[str] = set()
        self._given = self._bytes = self._failures = 0
        self._until = 0.0
        self._pause = limits.pause
        self._robots = Robots(())
        self._home = page.address
        self._first: Answer | None = None

    @property
    def count(self) -> int:
        """How many are known so far."""
        return min(self._given + len(self._waiting), self._limits.pages)

    def is_gone(self, name: str) -> bool:
        """Tell whether the server said that a page is there no more: one that was only not reached may be there."""
        return name in self._gone

    def stop(self) -> None:
        """End what is being fetched."""
        self._page.stop()

    def each(self, reader: Reader, states: Mapping[str, StoredState]) -> Iterator[Item]:
        """Give the pages, those first that are nearest to the first one."""
        self._until = time.monotonic() + self._limits.seconds
        try:
            first = self._begin(reader, states)
        except InputError as exc:
            yield Item(self.location, problem=str(exc))
            return
        # What is stored and nothing links to any more is asked for in the end: so it is known what is gone.
        for names in ((), tuple(states)):
            for name in names:
                with suppress(InputError):
                    self._add(read_address(name), self._limits.depth)
            while self._waiting and self._may_go_on():
                address, depth = self._waiting.popleft()
                if not self._page.wait(self._pause):
                    return
                yield from self._read(address, depth, states, reader, is_first=str(address) == first)

    def _begin(self, reader: Reader, states: Mapping[str, StoredState]) -> str:
        """Find the site's rules, its host and its sitemap, and return the address of its first page.

        Raises:
            InputError: The site does not answer, or does not want to be read.
        """
        self._home = self._page.address
        sitemaps = self._ask_for_rules()
        answer = self._page.get(self._home, states.get(self.location), limits=self._limits.page)
        if answer.status not in (200, 304):
            # A host that is set up wrongly says so of every page, and all that is stored would seem to be gone.
            raise InputError(f"answered with {answer.status}.")
        if answer.address.authority != self._home.authority:
            # As example.com leads to www.example.com: that is the site, and has rules of its own.
            self._home = answer.address
            sitemaps = self._ask_for_rules()
        self._home, self._first = answer.address, answer
        self._add(self._home, 0)
        for address in self._read_sitemaps(sitemaps, reader):
            self._add(address, 1)
        return str(self._home)

    def _ask_for_rules(self) -> list[WebAddress]:
        """Note the site's rules for programs, and return where its sitemaps are.

        Raises:
            InputError: It does not want its first page to be read, or its rules cannot be had.
        """
        place = replace(self._home, target="/robots.txt")
        answer = self._page.get(place, limits=_SMALL, follows=self._is_ours)
        if answer.status >= 500 or answer.status == 429:
            raise InputError(f"was not read: its robots.txt answered with {answer.status}; try again later.")
        text = answer.body[:_MOST_RULE_BYTES].decode("utf-8", "replace") if answer.status == 200 else ""
        self._robots = read_robots(text)
        if not self._robots.allows(self._home.target):
            raise InputError("was not read: its robots.txt asks programs not to.")
        self._pause = max(self._limits.pause, min(self._robots.pause, _LONGEST_PAUSE))
        return [replace(self._home, target="/sitemap.xml"), *self._resolve(self._home, self._robots.sitemaps)]

    def _read_sitemaps(self, waiting: list[WebAddress], reader: Reader) -> Iterator[WebAddress]:
        """Give the pages that the sitemaps name, and those that they name."""
        seen: set[str] = set()
        while waiting and len(seen) < _MOST_SITEMAPS and len(self._waiting) < _MOST_WAITING:
            place = waiting.pop(0)
            if str(place) in seen or not self._page.wait(self._pause):
                continue
            seen.add(str(place))
            with suppress(InputError):
                answer = self._page.get(place, limits=_SMALL, follows=self._is_ours)
                if answer.status != 200:
                    continue
                found = reader.read_sitemap(answer.body)
                waiting += self._resolve(place, found.sitemaps)
                yield from self._resolve(place, found.pages)

    def _read(
        self, address: WebAddress, depth: int, states: Mapping[str, StoredState], reader: Reader, *, is_first: bool
    ) -> Iterator[Item]:
        """Give the page at an address, unless it is none that Ruma reads, and note where it links to."""
        name = str(address)
        state = states.get(name)
        try:
            answer = self._take_first() if is_first else None
            answer = answer or self._page.get(address, state, limits=self._limits.page, follows=self._may_follow)
        except InputError as exc:
            yield self._fail(name, str(exc))
            return
        self._bytes += len(answer.body)
        if answer.status >= 500 or answer.status == 429:
            yield self._fail(name, f"answered with {answer.status}.")
            return
        self._failures = 0
        if str(answer.address) != name:
            # What it leads to is the page.
            if answer.is_moved:
                self._gone.add(name)
            name, state = str(answer.address), states.get(str(answer.address))
            if name in self._seen:
                return
            self._seen.add(name)
        item = make_item(name, answer)
        if answer.status == 304 and state:
            yield from self._take(item, answer, self._page.stored(state), depth, reader, is_known=True)
        elif answer.status != 200:
            if answer.status in _GONE:
                self._gone.add(name)
            if is_first or (state and answer.status not in _GONE):
                yield self._give(item)
        elif _is_read(answer) or state:
            digest = hashlib.sha256(answer.body).hexdigest()
            if digest not in self._hashes or state:
                self._hashes.add(digest)
                yield from self._take(item, answer, answer.body, depth, reader, is_known=bool(state))

    def _take_first(self) -> Answer | None:
        answer, self._first = self._first, None
        return answer

    def _give(self, item: Item) -> Item:
        self._given += 1
        return item

    def _fail(self, name: str, problem: str) -> Item:
        self._failures += 1
        return self._give(Item(name, problem=problem))

    def _take(
        self, item: Item, answer: Answer, body: bytes, depth: int, reader: Reader, *, is_known: bool
    ) -> Iterator[Item]:
        """Give a page, and note where it links to, as far as it lets programs."""
        orders = read_orders(value for key, value in answer.headers if key == "x-robots-tag")
        found = Links((), "")
        if _type_of(answer) in ("text/html", "application/xhtml+xml", ""):
            with suppress(InputError):
                found = reader.read_links(body)
        if found.is_indexed and "noindex" not in orders:
            yield self._give(item)
        elif is_known:
            self._gone.add(item.name)
        elif depth == 0:
            yield self._give(Item(item.name, problem="was not stored: it asks programs not to (noindex)."))
        if "nofollow" in orders or depth >= self._limits.depth:
            return
        with suppress(InputError):
            base = follow(answer.address, found.base) if found.base else answer.address
            for address in self._resolve(base, found.links):
                self._add(address, depth + 1)

    def _resolve(self, base: WebAddress, links: tuple[str, ...]) -> Iterator[WebAddress]:
        for link in links:
            with suppress(InputError):
                address = follow(base, link)
                if address.host == self._home.host and address.port in (80, 443, self._home.port):
                    # http and https are the same site, and the first page says which one it is.
                    yield replace(address, scheme=self._home.scheme, port=self._home.port)

    def _add(self, address: WebAddress, depth: int) -> None:
        name = str(address)
        is_page = PurePosixPath(address.target.partition("?")[0]).suffix.lower() not in _NEVER_READ
        if (
            name not in self._seen
            and is_page
            and len(self._waiting) < _MOST_WAITING
            and self._is_ours(address)
            and self._robots.allows(address.target)
        ):
            self._seen.add(name)
            self._waiting.append((address, depth))

    def _is_ours(self, address: WebAddress) -> bool:
        return (address.host, address.port) == (self._home.host, self._home.port) or (
            address.host == self._home.host and address.port in (80, 443)
        )

    def _may_follow(self, address: WebAddress) -> bool:
        return self._is_ours(address) and self._robots.allows(address.target)

    def _may_go_on(self) -> bool:
        """Tell whether no limit is reached; else say which one."""
        if self._given >= self._limits.pages:
            self.note = f"was read up to {self._limits.pages:,} pages, which is what the setting max_site_pages allows."
        elif self._bytes >= self._limits.bytes:
            self.note = f"was read up to the limit of {self._limits.bytes // 1_000_000:,} MB."
        elif time.monotonic() > self._until:
            self.note = f"was read for {self._limits.seconds / 60:.0f} minutes, which is the limit."
        elif self._failures >= MOST_FAILURES:
            self.note = f"was left alone: {MOST_FAILURES} pages in a row could not be had."
        return not self.note


def make_item(name: str, answer: Answer) -> Item:
    """Return the document to be that an answer holds, or why it holds none."""
    if answer.status == 304:
        return Item(name, is_unchanged=True)
    if answer.status != 200:
        return Item(name, problem=f"answered with {answer.status}.")
    return Item(
        name,
        data=answer.body,
        file_name=_file_name(answer),
        charset=_charset(answer),
        etag=answer.header("etag")[:300],
        last_modified=answer.header("last-modified")[:100],
    )


def _type_of(answer: Answer) -> str:
    return answer.header("content-type").partition(";")[0].strip().lower()


def _charset(answer: Answer) -> str:
    """Return the encoding that the server names for a text; empty where it names none."""
    message = Message()
    message["content-type"] = answer.header("content-type")
    is_text = message.get_content_maintype() == "text" or message.get_content_type() == "application/xhtml+xml"
    return (message.get_content_charset() or "")[:40] if is_text else ""


def _is_read(answer: Answer) -> bool:
    kind = _type_of(answer)
    suffix = PurePosixPath(answer.address.target.partition("?")[0]).suffix.lower()
    return kind in TYPES or (kind in _UNSAID and suffix in SUFFIXES)


def _file_name(answer: Answer) -> str:
    """Return a file's name for a page: what it is called, with the suffix of what the server says it is."""
    address = answer.address
    path = PurePosixPath(unquote(address.target.partition("?")[0]).strip("/") or f"{address.host}.html")
    suffix = TYPES.get(_type_of(answer), "")
    is_told = not suffix or (suffix == ".txt" and path.suffix.lower() in SUFFIXES)
    try:
        return str(path if is_told else path.with_suffix(suffix))
    except ValueError:
        return f"{address.host}{suffix}"
