"""Chromium and how the tests use it: the sizes that pages are looked at in, and windows in which a member is signed in.

The running browser is the fixture `browser` of `tests/browser/conftest.py`, one for all files.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from ruma.tenant.home import Home
from tests.serving import Running, sign_in

_CHROMIUMS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]
CHROMIUM = next((path for path in _CHROMIUMS if path.exists()), _CHROMIUMS[0])
"""The Chromium without windows, which needs two thirds of the processor time, or the whole one."""

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")

Size = tuple[int, str]

_ALL: list[Size] = [(width, scheme) for width in (1280, 360, 390) for scheme in ("light", "dark")]


def _sizes(*often: Size) -> list[Any]:
    return [one if one in often else pytest.param(*one, marks=pytest.mark.nightly) for one in _ALL]


PHONE, DESK = _sizes((360, "dark")), _sizes((1280, "light"))
"""Widths and colour schemes that pages are looked at in: one of them in every run, all of them in the nightly one. The
pages share their parts, so some files take the phone and the dark, the others the desk and the light."""


def enter(browser: Browser, home: Home, server: Running, role: str = "editor", **options: Any) -> BrowserContext:
    """Return a window of its own in which a member of that role is signed in to the tenant acme."""
    with home.open("acme") as tenant:
        name, _, value = sign_in(tenant, role)["Cookie"].partition("=")
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", **options)
    cookie = {"name": name, "value": value, "domain": "127.0.0.1", "path": "/", "secure": True, "httpOnly": True}
    context.add_cookies([cookie])  # type: ignore[list-item]
    return context


@contextmanager
def watched_page(context: BrowserContext) -> Iterator[Page]:
    """Give a new page of a window; at the end nothing may have gone wrong in its scripts or against its policy."""
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Policy" in message.text else None)
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    yield page
    context.close()
    assert wrong == []
