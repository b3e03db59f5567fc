import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.business.mail import Mail, Outbox, is_set_up, send_mail
from ruma.config import Settings
from ruma.errors import MailError
from ruma.privacy.erasing import erase_conversation, erase_member
from ruma.tenant.audit import act_as, acting_as
from ruma.tenant.connections import list_connections
from ruma.tenant.conversing.conversations import begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person
from ruma.tenant.people.joining import accept_invitation, invite, make_reset_link
from ruma.tenant.people.links import withdraw_invitation
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.tenant import Tenant
from tests.harness.residue import make_canaries
from tests.ledgers import MemoryLedger
from tests.mailing import Mailbox, mail_server, make_certificate

MAIL = Mail(
    "ana@example.com", "Your answer", "Hello Ana,\n\n.\nwe open at 8:00 – see you!\n", reply_to="team@shop.example"
)


def settings_for(home: Path, mailbox: Mailbox, security: str = "none", **more: str) -> Settings:
    """Return settings that send through a mailbox's server."""
    return Settings(
        home=home,
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_security=security,
        mail_from="agent@shop.example",
        **more,  # type: ignore[arg-type]
    )


def wait_until(is_true: Callable[[], object]) -> None:
    """Wait until something is so, five seconds at most."""
    end = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_mail_arrives_as_it_was_written(tmp_path: Path) -> None:
    """Text with accents, with a line of one dot and with an answering address comes out at the other end whole."""
    with mail_server() as mailbox:
        send_mail(settings_for(tmp_path, mailbox), replace(MAIL, from_name="Bäckerei, Marrowby"), MemoryLedger())

    mail = mailbox.mails[0]
    assert mail.get_content().replace("\r\n", "\n") == MAIL.text
    assert mail.get_content_type() == "text/plain"
    assert (mail["Subject"], mail["To"], mail["Reply-To"]) == ("Your answer", "ana@example.com", "team@shop.example")
    assert mail["From"].addresses[0].display_name == "Bäckerei, Marrowby"
    assert mail["From"].addresses[0].addr_spec == "agent@shop.example"
    assert mail["Message-ID"].endswith("@shop.example>")
    assert mailbox.to == [["ana@example.com"]]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_through_tls_with_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    """With a certificate that the system trusts the connection is private, and the password is sent in it alone."""
    files = make_certificate(tmp_path)
    (tmp_path / "password").write_text("bread and butter\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with mail_server(
        security=security, files=files, password="bread and butter" if security == "starttls" else ""
    ) as mailbox:
        user = {"smtp_user": "ruma", "smtp_password_file": str(tmp_path / "password")} if security == "starttls" else {}
        send_mail(settings_for(tmp_path, mailbox, security, **user), MAIL, MemoryLedger())

    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("name", ["127.0.0.1", "127.0.0.2"])
def test_a_certificate_that_is_not_trusted_gets_no_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str, name: str
) -> None:
    """One that nobody vouches for, and one that is trusted for another address, end the connection."""
    files = make_certificate(tmp_path, name=name)
    if name != "127.0.0.1":
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with (
        mail_server(security=security, files=files) as mailbox,
        pytest.raises(MailError, match="not who it should be"),
    ):
        send_mail(settings_for(tmp_path, mailbox, security), MAIL, MemoryLedger())

    assert mailbox.mails == []


def test_a_server_without_tls_gets_no_mail_where_tls_is_asked_for(tmp_path: Path) -> None:
    """A server, or somebody in between, that hides STARTTLS is not given the mail in clear."""
    with mail_server() as mailbox, pytest.raises(MailError, match="does not offer"):
        send_mail(settings_for(tmp_path, mailbox, "starttls"), MAIL, MemoryLedger())

    assert mailbox.mails == []


def test_a_password_does_not_go_over_the_network_in_clear(tmp_path: Path) -> None:
    """Without TLS no password is sent to another machine; the name is not even looked up."""
    wanted = Settings(
        home=tmp_path, smtp_host="mail.invalid", smtp_security="none", smtp_user="u", mail_from="a@b.example"
    )

    with pytest.raises(MailError, match="go over the network"):
        send_mail(wanted, MAIL, MemoryLedger())


@pytest.mark.parametrize(
    ("mail", "shown"),
    [
        (replace(MAIL, subject="Hi\r\nBcc: all@example.com\n\nBody"), "Hi Bcc: all@example.com Body"),
        (replace(MAIL, from_name='x" <evil@example.com>\nBcc: all@example.com'), "Your answer"),
        (replace(MAIL, text="a\r\n.\r\nMAIL FROM:<x@example.com>\r.\rRCPT TO:<y@example.com>\0\x1b[2J"), "Your answer"),
    ],
)
def test_nothing_in_a_mail_becomes_a_header_or_a_command(tmp_path: Path, mail: Mail, shown: str) -> None:
    """Line ends and dots in what visitors write make no second recipient, no second mail and no other sender."""
    with mail_server() as mailbox:
        send_mail(settings_for(tmp_path, mailbox), mail, MemoryLedger())

    assert len(mailbox.mails) == 1
    assert mailbox.to == [["ana@example.com"]]
    got = mailbox.mails[0]
    assert got["Bcc"] is None
    assert got["Subject"] == shown
    assert got["From"].addresses[0].addr_spec == "agent@shop.example"
    assert len(got["From"].addresses) == 1
    assert "\x1b" not in got.get_content()


@pytest.mark.parametrize(
    "to", ["", "ana", "a@b.example, c@d.example", "a@b.example\nBcc: c@d.example", "<a@b.example>"]
)
def test_a_mail_has_one_recipient(tmp_path: Path, to: str) -> None:
    """What is not the address of one mailbox is not sent to."""
    with mail_server() as mailbox, pytest.raises(MailError, match="no address"):
        send_mail(settings_for(tmp_path, mailbox), replace(MAIL, to=to), MemoryLedger())

    assert mailbox.mails == []


def test_what_goes_wrong_is_named(tmp_path: Path) -> None:
    """No settings, no server, no password's file and a refusal: each has its sentence; none repeats the mail."""
    assert not is_set_up(Settings(home=tmp_path))
    with pytest.raises(MailError, match="not set up"):
        send_mail(Settings(home=tmp_path), MAIL, MemoryLedger())
    with mail_server() as mailbox:
        wanted = settings_for(tmp_path, mailbox)
        assert is_set_up(wanted)
        mailbox.answers = ["550 No: ana@example.com wrote Hello Ana"]
        with pytest.raises(MailError, match="code 550") as caught:
            send_mail(wanted, MAIL, MemoryLedger())
        assert "ana" not in str(caught.value).lower()
        with pytest.raises(MailError, match="password cannot be read"):
            send_mail(replace(wanted, smtp_user="u", smtp_password_file=str(tmp_path / "none")), MAIL, MemoryLedger())
    with pytest.raises(MailError, match="cannot be reached"):
        send_mail(wanted, MAIL, MemoryLedger())


def test_the_outbox_sends_in_the_background(tmp_path: Path, tenant: Tenant) -> None:
    """Posting takes no time, whatever the server does; closing still sends what is due."""
    with mail_server() as mailbox:
        outbox = Outbox(settings_for(tmp_path, mailbox))
        began = time.monotonic()
        assert all(outbox.post(MAIL, tenant) for _ in range(5))
        assert time.monotonic() - began < 0.5
        outbox.close()

    assert len(mailbox.mails) == 5
    assert not outbox.post(MAIL, tenant)


def test_a_mail_that_fails_is_tried_again(tmp_path: Path, tenant: Tenant) -> None:
    """What the server refuses for now arrives with a later try, and another mail does not wait for it."""
    with mail_server() as mailbox:
        mailbox.answers = ["451 Later", "451 Later"]
        outbox = Outbox(settings_for(tmp_path, mailbox), pauses=(0.05, 0.1))
        outbox.post(MAIL, tenant)
        outbox.post(replace(MAIL, subject="Second"), tenant)
        wait_until(lambda: len(mailbox.mails) == 2)
        outbox.close()

    assert {mail["Subject"] for mail in mailbox.mails} == {"Your answer", "Second"}


def test_a_mail_is_dropped_in_the_end_and_the_log_says_nothing_of_it(
    tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last try it is dropped; the log names the server, never the person, the subject or the words."""
    name, words = make_canaries(2)
    caplog.set_level(logging.DEBUG)
    with mail_server() as mailbox:
        mailbox.answers = [f"550 {name}@example.com {words}"] * 9
        outbox = Outbox(settings_for(tmp_path, mailbox), pauses=(0.01,))
        outbox.post(Mail(f"{name}@example.com", words, words), tenant)
        wait_until(lambda: "dropped after 2 tries" in caplog.text)
        mailbox.answers = []
        assert outbox.post(MAIL, tenant)
        wait_until(lambda: mailbox.mails)
        outbox.close()

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("ruma"))
    assert name not in ours
    assert words not in ours
    assert "127.0.0.1" in ours


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not-told"])
def test_a_mail_that_waits_goes_with_what_it_is_about(tmp_path: Path, tenant: Tenant, is_told: bool) -> None:
    """Erased in this process or in another one: it is never sent, and once told nothing of it waits; others do."""
    numbers = []
    for _ in "ab":
        chat = begin_conversation()
        ask_for_person(tenant, chat, name="", email="ana@example.com", message="Please ring.")
        numbers.append(chat.id or 0)
    with mail_server() as mailbox:
        mailbox.answers = ["451 Later"] * 2
        outbox = Outbox(settings_for(tmp_path, mailbox), pauses=(0.6,))
        for number in numbers:
            outbox.post(replace(MAIL, subject=str(number), about=("conversation", number)), tenant)
        wait_until(lambda: not mailbox.answers and outbox.waiting == 2)

        erase_conversation(tenant, numbers[0])
        if is_told:
            outbox.forget(tenant)
            assert outbox.waiting <= 1

        wait_until(lambda: len(mailbox.mails) == 1 and not outbox.waiting)
        outbox.close()
    assert [mail["Subject"] for mail in mailbox.mails] == [str(numbers[1])]


def test_a_mail_that_waits_goes_with_its_reader_or_its_invitation(tmp_path: Path, tenant: Tenant) -> None:
    """To or by a member who is erased, and of a link that is withdrawn, taken or made void; others are sent."""
    for name in ("ada", "bob"):
        create_member(tenant, email=f"{name}@example.com", name=name, role="owner", password="harbour violin ticket 83")
    secrets = {name: invite(tenant, email=f"{name}@example.com", role="viewer") for name in ("eve", "cleo", "dan")}
    reset = make_reset_link(tenant, "bob@example.com")
    with mail_server() as mailbox:
        mailbox.answers = ["451 Later"] * 8
        outbox = Outbox(settings_for(tmp_path, mailbox), pauses=(2.0,))
        for name in ("ada", "bob", "visitor"):
            outbox.post(replace(MAIL, to=f"{name}@example.com"), tenant)
        for name, secret in secrets.items():
            outbox.post(replace(MAIL, to=f"{name}@example.com", about=("invitation", secret)), tenant)
        with acting_as("member", find_member(tenant, "ada@example.com").id):
            outbox.post(replace(MAIL, to="asker@example.com", text="Ada answers you."), tenant)
        outbox.post(replace(MAIL, to="first@example.com", about=("reset", reset)), tenant)
        wait_until(lambda: not mailbox.answers and outbox.waiting == 8)
        newer = make_reset_link(tenant, "bob@example.com")
        outbox.post(replace(MAIL, to="second@example.com", about=("reset", newer)), tenant)

        erase_member(tenant, find_member(tenant, "ada@example.com").id)
        withdraw_invitation(tenant, "eve@example.com")
        accept_invitation(tenant, secrets["cleo"], name="Cleo", password="harbour violin ticket 83")
        outbox.forget(tenant)
        assert outbox.waiting <= 4

        wait_until(lambda: len(mailbox.mails) == 4 and not outbox.waiting)
        outbox.close()
    assert {mail["To"] for mail in mailbox.mails} == {
        f"{name}@example.com" for name in ("bob", "dan", "visitor", "second")
    }


def test_mails_that_wait_have_a_limit(tmp_path: Path, tenant: Tenant) -> None:
    """Where the server is away, mails do not fill the memory: beyond the limit they are refused."""
    with mail_server() as mailbox:
        wanted = settings_for(tmp_path, mailbox)
    outbox = Outbox(wanted, pauses=(60.0,), limit=3)

    taken = [outbox.post(MAIL, tenant) for _ in range(20)]

    assert 3 <= taken.count(True) <= 4  # the fourth, if the first is in hand by then
    outbox.close()
    assert not Outbox(Settings(home=tmp_path)).post(MAIL, tenant)


def test_every_try_is_in_the_tenants_ledger(tmp_path: Path, tenant: Tenant) -> None:
    """A refused try and the one that went through: host, port, purpose, bytes and who acted, never to whom."""
    ada = create_member(tenant, email="ada@example.com", name="Ada", role="owner", password="harbour violin ticket 83")
    act_as("member", ada.id)
    with mail_server() as mailbox:
        mailbox.answers = ["451 Later"]
        outbox = Outbox(settings_for(tmp_path, mailbox), pauses=(0.01,))
        outbox.post(replace(MAIL, occasion="a reply to a visitor"), tenant)
        act_as("ruma")
        wait_until(lambda: mailbox.mails)
        outbox.close()

    late, early = list_connections(tenant)
    assert (early.ending.outcome, early.ending.reason) == ("failed", "SMTPDataError")
    assert (late.ending.outcome, late.ending.address) == ("done", "127.0.0.1")
    assert (late.attempt.host, late.attempt.port) == ("127.0.0.1", mailbox.port)
    assert late.attempt.purpose == "mail: a reply to a visitor"
    assert (late.actor.kind, late.actor.id) == ("member", ada.id)
    assert late.ending.bytes_out > len(MAIL.text)
    assert late.ending.bytes_in > 100
    assert "ana" not in repr(late)


def test_offline_no_mail_goes_to_another_machine(tmp_path: Path) -> None:
    """With `offline` only a mail server on this machine counts as set up."""
    there = Settings(home=tmp_path, smtp_host="mail.example.com", mail_from="a@b.example", offline=True)

    assert not is_set_up(there)
    assert is_set_up(replace(there, smtp_host="127.0.0.1"))
    with pytest.raises(MailError, match="not set up") as caught:
        send_mail(there, MAIL, MemoryLedger())
    assert caught.value.hint == "Ruma is offline."
