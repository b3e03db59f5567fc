"""A forgotten password, the whole way: a server, a mail server, and the link that goes through both."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.people.members import create_member
from tests.mailing import Mailbox, mail_server, make_certificate
from tests.serving import FLAGS, Running, make_tenant

EMAIL, PASSWORD, OTHER = "anna@bakery.example", "harbour violin ticket 83", "lantern gravel opera 51"
SIGN_IN, RESET = "/t/acme/sign-in", "/t/acme/reset"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    """Return what a mail server gets that wants a password, and TLS before it."""
    with mail_server(security="starttls", files=make_certificate(tmp_path), password="s3cret words") as mailbox:
        yield mailbox


@pytest.fixture
def server(tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """Return a running server that sends its mail there, with a tenant that has a member."""
    password = tmp_path / "smtp-password"
    password.write_text("s3cret words\n")
    password.chmod(0o600)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "127.0.0.1.pem"))
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        create_member(tenant, email=EMAIL, name="Anna", role="owner", password=PASSWORD)
    mail = {
        "smtp_host": "127.0.0.1",
        "smtp_port": str(mailbox.port),
        "smtp_user": "ruma",
        "smtp_password_file": str(password),
        "mail_from": "agent@bakery.example",
    }
    with Running(home.settings.home, **mail) as server:
        yield server


def post(server: Running, path: str, **form: str) -> int:
    """Send a form that names another host, as an attacker would for a link to it (test 49); return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", "Connection": "close"}
    headers |= {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    try:
        connection.request("POST", path, urlencode(form), headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_forgotten_password_is_changed_by_mail(server: Running, mailbox: Mailbox) -> None:
    """A member gets one mail with a link that works once; a stranger gets none, and the same answer."""
    asked = [post(server, RESET, email=email) for email in ("nobody@bakery.example", EMAIL)]
    mailbox.wait(1)
    (mail,) = mailbox.mails
    (link,) = re.findall(r"http://\S+", mail.get_content())
    place = urlsplit(link)

    used = [post(server, place.path, password=password) for password in (OTHER, PASSWORD)]

    assert asked == [200, 200]
    assert (mail["To"], mailbox.to) == (EMAIL, [[EMAIL]])
    assert place.netloc == f"127.0.0.1:{server.port}"
    assert place.path.startswith(f"{RESET}/")
    assert used == [303, 404]
    assert post(server, SIGN_IN, email=EMAIL, password=PASSWORD) == 401
    assert post(server, SIGN_IN, email=EMAIL, password=OTHER) == 303
    assert len(mailbox.mails) == 1
