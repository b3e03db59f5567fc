"""A visitor with a browser that holds no secret: from the chat's menu over the mail to everything with the address."""

import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from ruma.config import load_settings
from ruma.tenant.conversing.conversations import begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, list_conversations
from ruma.tenant.home import Home
from tests.browsing import needs_chromium, watched_page
from tests.mailing import mail_server
from tests.serving import FLAGS, Running, make_tenant

pytestmark = needs_chromium


def test_a_visitor_reaches_what_another_browser_wrote(browser: Browser, tmp_path: Path) -> None:
    """The link's secret leaves the address at once; reading, correcting and deleting work, and nothing is stored."""
    home = Home(load_settings({"home": tmp_path, **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        written = begin_conversation("widget", is_kept=True)
        ask_for_person(tenant, written, name="Ana", email="ana@example.com", message="Please call me.")
    with mail_server() as mailbox:
        mail = {"smtp_host": "127.0.0.1", "smtp_port": str(mailbox.port), "mail_from": "ruma@acme.example"}
        with Running(tmp_path, **mail, smtp_security="none") as server, watched_page(browser.new_context()) as page:
            page.goto(f"http://127.0.0.1:{server.port}/t/acme/")
            page.get_by_label("More").click()
            page.locator("#menu").get_by_role("button", name="My data").click()
            page.get_by_text("I wrote from another browser").click()
            page.locator("#link").get_by_label("Your e-mail address").fill("ana@example.com")
            page.get_by_role("button", name="Send me a link").click()
            expect(page.get_by_role("status").filter(has_text="a link is on its way")).to_be_visible()
            mailbox.wait(1)
            (link,) = re.findall(r"http://\S+", mailbox.mails[0].get_content())

            page.goto(link)
            page.get_by_role("button", name="Show my data").click()
            page.locator("summary", has_text="Read it").click()
            expect(page.get_by_text("Please call me.")).to_be_visible()
            assert "#" not in page.url
            page.locator("summary", has_text="Correct my details").click()
            page.get_by_label("Your name").fill("Ana Costa")
            page.get_by_role("button", name="Save").click()
            expect(page.locator(".facts")).to_contain_text("Ana Costa")
            page.get_by_role("button", name="Delete all of it").click()
            page.get_by_role("button", name="Delete", exact=True).click()
            expect(page.get_by_role("button", name="Download the receipt")).to_be_visible()

            held = page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]")
            assert held == [[], [], ""]
            assert not [one for one in server.requests if link.partition("#")[2] in str(one)]
    with home.open("acme") as tenant:
        assert list_conversations(tenant).total == 0
