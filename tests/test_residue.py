"""Looking for pieces by their fingerprints: every page, every row and every place on it counts."""

import secrets

import pytest

from ruma.tenant.erasing.residue import WINDOW, choose_pieces, find_in_contents, find_in_pages, make_fingerprints
from ruma.tenant.tenant import Tenant
from tests.test_erasures import tenant  # noqa: F401 - a fixture


@pytest.mark.parametrize("at", [0, 1, 7, 8, 4000])
def test_a_piece_is_found_wherever_it_begins(at: int) -> None:
    """At each distance from a page's start, up to its last byte, and only in the page that it is on."""
    piece = secrets.token_bytes(WINDOW)
    pages = [secrets.token_bytes(4016) for _ in range(5)]
    pages[3] = pages[3][:at] + piece + pages[3][at + WINDOW :]

    assert find_in_contents(pages, make_fingerprints([piece], [])) == [(0, 3)]


def test_a_piece_across_two_pages_is_none() -> None:
    """What ends one page and begins the next was never one piece."""
    piece = secrets.token_bytes(WINDOW)

    assert find_in_contents([b"x" * 50 + piece[:9], piece[9:] + b"y" * 50], make_fingerprints([piece], [])) == []


def test_short_and_empty_values_have_no_pieces() -> None:
    """What is shorter than a piece, or all one byte, is left to the search for whole words."""
    assert choose_pieces("Hello") == []
    assert choose_pieces(bytes(200)) == []
    assert len(choose_pieces("a text that is long enough to be found again")) == 6


def test_no_page_is_left_out(tenant: Tenant) -> None:  # noqa: F811
    """A piece in each single page of a database is found in exactly that page."""
    with tenant.writing() as db:
        db.execute("create table scratch (text text)")
        words = [secrets.token_hex(1900) for _ in range(80)]
        for word in words:
            db.execute("insert into scratch values (?)", [word])
    with tenant.unbound() as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()

    hits, looked_at = find_in_pages(tenant.database_file, tenant.key.raw, make_fingerprints(words, []))

    assert len(hits) == len(make_fingerprints(words, []).pieces)
    assert len({place.page for places in hits.values() for place in places}) >= 80
    assert looked_at == tenant.database_file.stat().st_size // 4096
