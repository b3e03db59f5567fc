from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browsing import CHROMIUM, SWITCHES


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a running Chromium, one a file: each test opens windows of its own in it.

    Beyond the file it must not go on: while it does, nothing else in this thread may run an event loop.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()
