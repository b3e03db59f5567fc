"""What the README promises in ten minutes, with nothing but the commands, the real models and a browser."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO

import pytest
from playwright.sync_api import Browser, expect

from ruma.config import Settings
from tests.browsing import needs_chromium
from tests.serving import PASSWORD

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
QUESTION = "How much is delivery in Marrowby?"
ANSWER = "Delivery in Marrowby town costs £2.50"

pytestmark = needs_chromium


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return the origin and the folder of a website that runs on this machine."""
    folder = tmp_path / "website"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}", folder
        server.shutdown()


def read_on(terminal: TextIO) -> None:
    """Read what is written on a terminal until its program is gone, which is an error there."""
    with suppress(OSError):
        terminal.read()


def test_from_documents_to_an_answering_website(
    compiled_settings: Settings, website: tuple[str, Path], browser: Browser
) -> None:
    """Ingest, serve, set-up link, allow the website, put the line on its page, ask there, read it in the inbox."""
    origin, folder = website
    environ = {**os.environ, "RUMA_HOME": str(compiled_settings.home), "RUMA_KEY_SOURCE": "machine", "COLUMNS": "200"}
    ruma = [sys.executable, "-m", "ruma"]
    subprocess.run([*ruma, "ingest", str(EXAMPLES / "bakery")], env=environ, cwd=ROOT, check=True, capture_output=True)
    ours, theirs = os.openpty()  # a person sits at a terminal: only there is the link shown
    said = open(ours, encoding="utf-8")  # noqa: SIM115 - read by a thread as long as the server runs
    server = subprocess.Popen([*ruma, "serve", "--port", "0"], env=environ, cwd=ROOT, stderr=theirs)
    os.close(theirs)
    try:
        link = next(line.strip() for line in said if "/setup/" in line)
        address = link.partition("/t/")[0]
        rest = threading.Thread(target=read_on, args=(said,), daemon=True)
        rest.start()
        member = browser.new_context(viewport={"width": 1280, "height": 900})
        page = member.new_page()

        page.goto(link)
        page.get_by_label("Your name").fill("Olive Marrow")
        page.get_by_label("E-mail address").fill("olive@bakery.example")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")

        page.get_by_role("link", name="Agent", exact=True).click()
        page.locator("[name=websites]").fill(origin)
        page.get_by_role("button", name=re.compile("Save")).first.click()
        expect(page.get_by_role("status").first).to_contain_text("Saved")

        line = subprocess.run(
            [*ruma, "widget", "line", "--address", address],
            env=environ, cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        html = (EXAMPLES / "website" / "index.html").read_text()
        (folder / "index.html").write_text(re.sub(r"<script src=.*</script>", line.strip(), html))
        guest = browser.new_context()
        visitor = guest.new_page()
        visitor.goto(origin)
        visitor.get_by_role("button").click()
        frame = visitor.frame_locator("iframe")
        frame.get_by_role("checkbox").first.check()  # the visitor lets it be kept: else it is in no inbox
        frame.get_by_role("textbox").first.fill(QUESTION)
        frame.get_by_role("textbox").first.press("Enter")
        expect(frame.get_by_text(ANSWER).first).to_be_visible()

        page.get_by_role("link", name="Conversations").click()
        page.get_by_role("link", name=QUESTION).click()
        expect(page.get_by_text(ANSWER).first).to_be_visible()
        for window in (member, guest):
            window.close()
        server.terminate()
        rest.join()
    finally:
        server.kill()
        server.wait()
        said.close()
