import json
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ruma.config import Settings
from ruma.errors import InputError
from ruma.ingest.addresses import read_address
from ruma.ingest.pipeline import Outcome, ingest_listing
from ruma.ingest.reading import Reader
from ruma.ingest.robots import read_robots
from ruma.ingest.webpages import MOST_FAILURES, SiteLimits, WebPage, WebSite, find_pages
from ruma.tenant.connections import READS_SOURCE, list_connections
from ruma.tenant.knowledge.documents import list_documents, read_document, read_original_of, remove_documents
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.hostile import HostileServer, Page
from tests.running import read_json, run

EMBEDDER = HashEmbedder()
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Return a reader that all tests here share: its process takes longer to start than all of them read."""
    with Reader() as reader:
        yield reader


@pytest.fixture
def shop() -> Iterator[HostileServer]:
    """Return a small website."""
    server = HostileServer()
    server.pages |= {
        "/": page("Shop", "We bake bread.", "/hours", "prices.txt", "/logo.png", "http://elsewhere.example/", "#top"),
        "/hours": page("Hours", "We open at nine.", "/", "/deep/er?x=1"),
        "/deep/er?x=1": page("Deep", "Down here it is quiet.", "mailto:a@b.example", "javascript:alert(1)"),
        "/prices.txt": (200, {"Content-Type": "text/plain"}, b"Rye bread costs 4.80."),
    }
    yield server
    server.close()


@pytest.fixture
def near(settings: Settings, shop: HostileServer) -> Settings:
    """Return settings by which the website may be read, though it is on this machine."""
    return replace(settings, private_networks=f"127.0.0.1:{shop.port}")


def page(title: str, text: str, *links: str) -> Page:
    """Return an HTML page."""
    anchors = "".join(f'<a href="{link}">{link}</a>' for link in links)
    markup = (
        f"<html><head><title>{title}</title></head><body><main><p>{text}</p></main><nav>{anchors}</nav></body></html>"
    )
    return 200, HTML, markup.encode()


def read_page(tenant: Tenant, settings: Settings, reader: Reader, url: str) -> Outcome:
    """Read one page, and return what became of it."""
    listing = find_pages(url, tenant, settings, is_site=False)
    [outcome] = ingest_listing(listing, tenant, EMBEDDER, settings, reader=reader)
    return outcome


def read_site(
    tenant: Tenant, settings: Settings, reader: Reader, url: str, *, remove_missing: bool = False, **limits: Any
) -> dict[str, Outcome]:
    """Read a website without waiting between its pages, and return the outcomes by path."""
    site = WebSite(WebPage(read_address(url), tenant, settings), replace(SiteLimits(50, pause=0.0), **limits))
    outcomes = ingest_listing(site, tenant, EMBEDDER, settings, remove_missing=remove_missing, reader=reader)
    return {one.name.removeprefix(url): one for one in outcomes}


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Return the status of each name."""
    return {name: one.status for name, one in outcomes.items()}


def test_a_page_is_a_source_by_its_address(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command reads it, a second one says that nothing changed, a third stores what did; the ledger has all."""
    shop.pages["/hours.html"] = (200, {**HTML, "ETag": '"1"'}, page("Hours", "We open at nine.")[2])
    monkeypatch.setenv("RUMA_PRIVATE_NETWORKS", near.private_networks)

    [first] = read_json("ingest", f"{shop.url}/hours.html#today")["documents"]
    again = read_page(tenant, near, reader, f"{shop.url}/hours.html")
    shop.pages["/hours.html"] = page("Hours", "We open at ten.")
    changed = read_page(tenant, near, reader, f"{shop.url}/hours.html")

    assert [first["status"], again.status, changed.status] == ["added", "unchanged", "changed"]
    [source] = list_sources(tenant)
    [info] = list_documents(tenant)
    assert (source.kind, source.location, info.name) == ("page", f"{shop.url}/hours.html", f"{shop.url}/hours.html")
    assert (info.title, info.media_type) == ("Hours", "text/html")
    assert read_document(tenant, info.id).text == "We open at ten."
    assert b"We open at ten." in b"".join(read_original_of(tenant, info.id))
    connections = list_connections(tenant)
    assert [one.attempt.purpose for one in connections] == [READS_SOURCE] * 3
    assert 'If-None-Match: "1"' in shop.asked


def test_what_is_not_modified_is_not_sent(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """A server that knows its versions answers 304; with --reindex all is asked for anew."""

    def hours(headers: dict[str, str]) -> Page:
        if (
            headers.get("if-none-match") == '"1"'
            and headers.get("if-modified-since") == "Mon, 02 Mar 2026 09:00:00 GMT"
        ):
            return 304, {}, b""
        versions = {"ETag": '"1"', "Last-Modified": "Mon, 02 Mar 2026 09:00:00 GMT"}
        return 200, {**HTML, **versions}, page("Hours", "We open at nine.")[2]

    shop.pages["/hours"] = hours

    assert [read_page(tenant, near, reader, f"{shop.url}/hours").status for _ in range(2)] == ["added", "unchanged"]


@pytest.mark.parametrize(
    ("path", "headers", "body", "media_type", "title"),
    [
        ("/price-list", {"Content-Type": "text/html"}, b"<p>Rye costs 4.80.</p>", "text/html", "Price list"),
        ("/notes", {"Content-Type": "text/plain"}, b"# Not a heading\n\nText.", "text/plain", "Notes"),
        ("/read.md", {"Content-Type": "text/plain"}, b"# Hours\n\nAt nine.", "text/markdown", "Hours"),
        ("/table?a=1", {"Content-Type": "text/csv"}, b"Bread,Price\nRye,4.80\n", "text/csv", "Table"),
        ("/page.php", {"Content-Type": "text/html"}, b"<title>Hi</title><p>Hello there.", "text/html", "Hi"),
    ],
)
def test_a_page_is_read_by_what_it_is(
    tenant: Tenant,
    near: Settings,
    shop: HostileServer,
    reader: Reader,
    path: str,
    headers: dict[str, str],
    body: bytes,
    media_type: str,
    title: str,
) -> None:
    """Its type helps to tell what it is, as a file's name does, and its address gives it a title where it has none."""
    shop.pages[path] = (200, headers, body)

    outcome = read_page(tenant, near, reader, shop.url + path)

    assert (outcome.status, outcome.reason) == ("added", "")
    [info] = list_documents(tenant)
    assert (info.media_type, info.title) == (media_type, title)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "answered with 404."),
        ("/picture", "is a PNG picture"),
        ("/302?to=http://10.0.0.5/", "is not on the public internet"),
        ("/garbage", "gave an answer that is not HTTP"),
        ("/empty", "is empty."),
    ],
)
def test_a_page_that_cannot_be_read_says_why(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader, path: str, said: str
) -> None:
    """What a server answers instead, and what it only says to be a page; nothing of it is stored."""
    shop.pages["/picture"] = (200, HTML, b"\x89PNG\r\n\x1a\n" + bytes(50))
    shop.pages["/empty"] = (200, HTML, b"")

    outcome = read_page(tenant, near, reader, shop.url + path)

    assert outcome.status == "failed"
    assert said in outcome.reason
    assert list_sources(tenant) == []


def test_an_address_that_is_none_and_offline_are_said_at_once(tenant: Tenant, near: Settings) -> None:
    """Nothing is made and nobody is asked: one sentence each."""
    odd = run("ingest", "https://user:word@shop.example/")
    offline = run("--offline", "ingest", "https://shop.example/a")
    folder = run("ingest", "--site", ".")

    assert "has a name or a password in it" in odd.stderr
    assert offline.stderr.startswith("Error: https://shop.example/a was not read: Ruma is offline.")
    assert "Only a web address has a whole website." in folder.stderr
    assert {odd.exit_code, offline.exit_code, folder.exit_code} == {1}
    assert list_connections(tenant) == []
    with pytest.raises(InputError, match="private_networks"):
        find_pages(
            "https://a.example/", tenant, Settings(home=tenant.files_folder, private_networks="x"), is_site=False
        )


def test_a_site_is_its_own_pages(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """What its pages link to on its host, in whatever depth; not pictures, other hosts, or what is no page."""
    outcomes = read_site(tenant, near, reader, shop.url)

    assert statuses(outcomes) == dict.fromkeys(("/", "/hours", "/prices.txt", "/deep/er?x=1"), "added")
    [source] = list_sources(tenant)
    assert (source.kind, source.location, source.documents) == ("site", f"{shop.url}/", 4)
    assert sorted(shop.paths) == sorted(["/", "/hours", "/prices.txt", "/deep/er?x=1", "/robots.txt", "/sitemap.xml"])
    assert {one.attempt.host for one in list_connections(tenant)} == {"127.0.0.1"}


def test_robots_and_sitemaps_are_honoured(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """A sitemap names pages that nothing links to, packed or in parts; what robots.txt forbids is not asked for."""
    inner = f"<urlset><url><loc>{shop.url}/lonely</loc></url><url><loc>http://elsewhere.example/</loc></url></urlset>"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    index = f"<sitemapindex><sitemap><loc>{shop.url}/inner.xml.gz</loc></sitemap></sitemapindex>"
    shop.pages |= {
        "/robots.txt": (200, {}, f"User-agent: *\nDisallow: /deep\nSitemap: {shop.url}/index.xml\n".encode()),
        "/index.xml": (200, {"Content-Type": "text/xml"}, index.encode()),
        "/inner.xml.gz": (200, {}, packer.compress(inner.encode()) + packer.flush()),
        "/lonely": page("Lonely", "Nobody links here."),
    }

    outcomes = read_site(tenant, near, reader, shop.url)

    assert set(outcomes) == {"/", "/hours", "/prices.txt", "/lonely"}
    assert "/deep/er?x=1" not in shop.paths


def test_what_pages_ask_of_programs_is_heeded(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """Neither stored nor gone on from, by a tag, a header or a single link; what was stored before counts as gone."""

    def telling(tag: str, *links: str, **headers: str) -> Page:
        body = page("Shop", f"We bake bread. {tag}", *links)[2].replace(b"<head>", b"<head>" + tag.encode())
        return 200, {**HTML, **headers}, body

    shop.pages["/hours"] = telling('<meta name="Robots" content="NOINDEX, follow">', "/after")
    shop.pages["/after"] = telling('<meta name="robots" content="nofollow">', "/never")
    shop.pages["/by-header"] = telling("", "/never", **{"X-Robots-Tag": "none"})
    shop.pages["/for-others"] = telling(
        '<meta name="otherbot" content="none">', **{"X-Robots-Tag": "otherbot: noindex"}
    )
    shop.pages["/"] = telling('<a rel="ugc nofollow" href="/never">no</a>', "/hours", "/by-header", "/for-others")
    shop.pages["/never"] = page("Never", "Nobody asks for this.")

    outcomes = read_site(tenant, near, reader, shop.url)
    shop.pages["/after"] = telling('<meta name="ruma" content="noindex">')
    read_site(tenant, near, reader, shop.url, remove_missing=True)

    assert statuses(outcomes) == {"/": "added", "/after": "added", "/for-others": "added"}
    names = {one.name.removeprefix(shop.url) for one in list_documents(tenant)}
    assert names == {"/", "/for-others"}


def test_a_first_page_that_is_not_to_be_kept_is_said(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """Nothing is stored of it, and the reason is named."""
    shop.pages["/"] = (200, {**HTML, "X-Robots-Tag": "noindex"}, page("Shop", "We bake bread.")[2])

    assert "(noindex)" in read_site(tenant, near, reader, shop.url)["/"].reason


@pytest.mark.parametrize(
    ("charset", "encoding", "body"),
    [
        (
            "windows-1251",
            "cp1251",
            "<html><body><p>\u041c\u044b \u043e\u0442\u043a\u0440\u044b\u0442\u044b \u0441 9.</p>",
        ),
        (
            '"Windows-1250"',
            "cp1250",
            "<html><meta charset=iso-8859-1><p>P\u0159\u00edli\u0161 \u017elu\u0165ou\u010dk\u00fd.</p>",
        ),
        ("iso-8859-1", "utf-8", "<html><body><p>Caf\u00e9 \u00e0 neuf heures.</p>"),
    ],
)
def test_the_servers_word_for_the_encoding_counts(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader, charset: str, encoding: str, body: str
) -> None:
    """Where only the header names it, and where the page says something else; what is UTF-8 is read as that."""
    shop.pages["/page"] = (200, {"Content-Type": f"text/html; charset={charset}"}, body.encode(encoding))

    read_page(tenant, near, reader, f"{shop.url}/page")

    [info] = list_documents(tenant)
    assert read_document(tenant, info.id).text == body.partition("<p>")[2].removesuffix("</p>")


def test_a_site_that_does_not_want_it_is_left_alone(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """robots.txt forbids everything to this program, or cannot be had: nothing but itself is asked for."""
    for status, text in ((200, b"User-agent: ruma\nDisallow: /\n\nUser-agent: *\nAllow: /\n"), (503, b"")):
        shop.asked.clear()
        shop.pages["/robots.txt"] = (status, {}, text)
        [outcome] = read_site(tenant, near, reader, shop.url).values()
        assert "robots.txt" in outcome.reason
        assert shop.paths == ["/robots.txt"]


def test_read_again_a_site_is_as_it_is_now(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """Changed pages are replaced, new ones added; one is removed only where the server says that it is gone."""
    read_site(tenant, near, reader, shop.url)
    shop.pages["/hours"] = page("Hours", "We open at ten.", "/new")
    shop.pages["/new"] = page("New", "We have a new oven.")
    shop.pages["/deep/er?x=1"] = (503, {}, b"")  # and nothing links to it any more
    del shop.pages["/prices.txt"]

    kept = read_site(tenant, near, reader, shop.url)
    removed = read_site(tenant, near, reader, shop.url, remove_missing=True)

    assert statuses(kept) == {"/": "unchanged", "/hours": "changed", "/new": "added", "/deep/er?x=1": "failed"}
    assert "What was stored of it before is kept" in kept["/deep/er?x=1"].reason
    assert removed["/prices.txt"].status == "removed"
    assert [one.name.removeprefix(shop.url) for one in list_documents(tenant)] == [
        "/",
        "/deep/er?x=1",
        "/hours",
        "/new",
    ]


def test_a_site_in_maintenance_loses_nothing(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """Every page leads elsewhere for now, or to a page for visitors who are to agree first: all of it is kept."""
    read_site(tenant, near, reader, shop.url)
    for path in list(shop.pages):
        shop.pages[path] = (302, {"Location": "/closed"}, b"")
    shop.pages["/closed"] = page("Closed", "We are back soon.")

    outcomes = read_site(tenant, near, reader, shop.url, remove_missing=True)
    shop.pages.clear()  # as where a host is taken over by another website
    empty = read_site(tenant, near, reader, shop.url, remove_missing=True)

    assert "removed" not in statuses(outcomes).values()
    assert statuses(empty) == {"/": "failed"}
    assert len(list_documents(tenant)) == 5


def test_a_page_that_moved_for_good_is_stored_once(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """Under its new address; the old one goes with those that are gone."""
    read_site(tenant, near, reader, shop.url)
    shop.pages["/times"], shop.pages["/hours"] = shop.pages["/hours"], (301, {"Location": "/times"}, b"")

    outcomes = read_site(tenant, near, reader, shop.url, remove_missing=True)

    assert (outcomes["/hours"].status, outcomes["/times"].status) == ("removed", "added")


def test_a_site_at_another_host_of_its_own(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """Its first page leads to another host, as example.com to www.example.com: that one is read, by its own rules."""
    front = HostileServer()
    front.pages["/"] = (301, {"Location": f"{shop.url}/"}, b"")
    both = replace(near, private_networks=f"{near.private_networks} 127.0.0.1:{front.port}")
    shop.pages["/robots.txt"] = (200, {}, b"User-agent: *\nDisallow: /deep\n")

    outcomes = read_site(tenant, both, reader, front.url)
    front.close()

    assert {name.removeprefix(shop.url) for name in outcomes} == {"/", "/hours", "/prices.txt"}


def test_e44_traps_end_at_the_limits(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """A calendar without end stops at so many pages, links, bytes or seconds, and what was read until then stays."""
    url = f"{shop.url}/calendar/0"
    few = read_site(tenant, near, reader, url, pages=4)
    flat = read_site(tenant, near, reader, url, depth=6)
    small = read_site(tenant, near, reader, url, bytes=300)
    short = read_site(tenant, near, reader, url, seconds=0.0)

    assert "was read up to 4 pages" in few[""].reason or "was read up to 4 pages" in few[f"{url}"].reason
    assert len(flat) == 7
    assert any("limit of 0 MB" in one.reason for one in small.values())
    assert any("is the limit" in one.reason for one in short.values())
    assert len(list_documents(tenant)) == 7


def test_e44_sitemaps_that_are_traps(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """One that names itself, one of very many pages, one that laughs and reads files: the site is read all the same."""
    evil = (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
        b"<urlset><url><loc>" + shop.url.encode() + b"/&a;&c;</loc></url></urlset>"
    )
    itself = f"<sitemapindex><sitemap><loc>{shop.url}/sitemap.xml</loc></sitemap></sitemapindex>".encode()
    million = b"<urlset>" + b"".join(
        b"<url><loc>%s/calendar/%d</loc></url>" % (shop.url.encode(), number) for number in range(3_000)
    )
    for body in (evil, itself, million + b"</urlset>"):
        shop.asked.clear()
        shop.pages["/sitemap.xml"] = (200, {"Content-Type": "text/xml"}, body)
        read_site(tenant, near, reader, shop.url, pages=3)
        assert len(shop.paths) <= 10
        assert not any("root" in path or "haha" in path for path in shop.paths)


def test_e44_a_storm_of_errors_ends_it(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """A server that only says 429 is left alone after a few pages; each is said, and what is stored is kept."""
    shop.pages["/"] = page("Shop", "We bake bread.", *(f"/busy/{number}" for number in range(50)))
    shop.pages |= {f"/busy/{number}": (429, {"Retry-After": "1"}, b"") for number in range(50)}

    outcomes = read_site(tenant, near, reader, shop.url)

    assert sum(path.startswith("/busy") for path in shop.paths) == MOST_FAILURES
    assert any("was left alone" in one.reason for one in outcomes.values())


def test_e44_reading_a_site_is_stopped_within_two_seconds(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """Closed while the server says nothing, it is over at once, and no thread is left."""
    shop.pages["/"] = page("Shop", "We bake bread.", "/silent")
    site = WebSite(WebPage(read_address(shop.url), tenant, near), SiteLimits(50, pause=0.0))
    outcomes = ingest_listing(site, tenant, EMBEDDER, near, reader=Reader())
    assert next(outcomes).status == "added"
    begun = time.monotonic()

    outcomes.close()  # type: ignore[attr-defined]

    assert time.monotonic() - begun < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ruma-")]


def test_a_stored_page_that_was_removed_meanwhile_is_read_anew(
    tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader
) -> None:
    """A person took a page away: the next reading of the site brings it back, as with folders."""
    read_site(tenant, near, reader, shop.url)
    remove_documents(tenant, [one.id for one in list_documents(tenant) if one.name.endswith("/hours")])

    assert read_site(tenant, near, reader, shop.url)["/hours"].status == "added"


@pytest.mark.parametrize(
    ("rules", "target", "is_allowed"),
    [
        ("User-agent: *\nDisallow: /", "/", False),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/c", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf?z", True),
        ("User-agent: *\nDisallow: /*?*sort=", "/list?a=1&sort=up", False),
        ("User-agent: *\nDisallow: /a$", "/ab", True),
        ("User-agent: other\nUser-agent: Ruma\nDisallow: /x\n\nUser-agent: *\nDisallow: /", "/y", True),
        ("User-agent: other\nDisallow: /", "/", True),
        ("# nothing\nDisallow: /", "/", True),
        ("User-agent: *\nDisallow: /a # why\nallow : /a", "/a", True),
        ("<html>not found</html>", "/", True),
    ],
)
def test_the_rules_of_robots_are_read_as_the_rfc_has_them(rules: str, target: str, is_allowed: bool) -> None:
    """The longest pattern decides, * and $ mean what they do, and a group with this program's name is its own."""
    assert read_robots(rules).allows(target) == is_allowed


def test_no_rule_takes_long() -> None:
    """A pattern made to be tried in a million ways is tried in one."""
    robots = read_robots("User-agent: *\n" + f"Disallow: /{'a*' * 900}b$\n" * 100 + "Crawl-delay: 1e99\n")
    begun = time.process_time()

    assert robots.allows("/" + "a" * 1900)
    assert time.process_time() - begun < 1
    assert robots.pause == 3600


def test_a_reader_finds_links_in_its_own_process(reader: Reader) -> None:
    """Links as they stand there, each once, with what they begin with; too many are cut, a broken page is said."""
    found = reader.read_links(b'<base href="/b/"><a href=" x ">1</a><a href="x">2</a><area href="y"><a href="#z">3</a>')
    many = reader.read_links(b"<a href=/a%d>a</a>" % 1 + b"".join(b"<a href=/%d>a</a>" % at for at in range(25_000)))

    assert (found.links, found.base) == (("x", "y"), "/b/")
    assert len(many.links) == 20_000
    with pytest.raises(InputError, match="is no sitemap"):
        reader.read_sitemap(b"<html><p>not found")
    json.dumps(found.links)


def test_e42_a_site_never_leaves_its_host(tenant: Tenant, near: Settings, shop: HostileServer, reader: Reader) -> None:
    """Rules, sitemap, pages, a base and a refresh that lead elsewhere: nobody elsewhere is asked at all."""
    away = {"Location": "http://169.254.169.254/latest/meta-data/"}
    shop.pages |= dict.fromkeys(("/robots.txt", "/sitemap.xml", "/out"), (302, away, b""))
    links = '<base href="http://10.0.0.5/"><meta http-equiv="refresh" content="0;url=file:///etc/passwd"><a href="x">'
    shop.pages["/"] = page("Shop", "We bake bread.", "/out", "/based")
    shop.pages["/based"] = (200, HTML, f"<html><head>{links}</head><body><p>Hello there.</p></body></html>".encode())

    outcomes = read_site(tenant, near, reader, shop.url)

    assert statuses(outcomes) == {"/": "added", "/based": "added"}
    assert {one.attempt.host for one in list_connections(tenant)} == {"127.0.0.1"}
