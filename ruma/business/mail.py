"""Sends mail through the operator's SMTP server: the only module that speaks SMTP.

Mail waits in memory and is sent by a thread of its own, so no request waits for it and none fails by it.
"""

import logging
import queue
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Literal

from ruma.config import Settings
from ruma.connections import Ledger, open_connection
from ruma.errors import InputError, MailError, NotFoundError, RumaError, StoreError
from ruma.offline import is_here
from ruma.tenant.audit import current_actor
from ruma.tenant.connections import TenantLedger
from ruma.tenant.erasing.erasures import is_there
from ruma.tenant.people.links import peek_link
from ruma.tenant.people.members import find_member
from ruma.tenant.profile import clean_email, without_controls
from ruma.tenant.tenant import Tenant

log = logging.getLogger("ruma.mail")

TIMEOUT_SECONDS = 20.0
PAUSES = (5.0, 60.0, 300.0)
"""Seconds before each further try to send a mail."""
MOST_WAITING = 200
"""Mails that wait at most; what comes then is dropped, and the log says so."""
_CLOSING_SECONDS = 3.0
About = tuple[Literal["conversation", "member"], int] | tuple[Literal["invitation", "reset"], str]
"""What a mail is about, as a kind and a number; of a one-time link, its purpose and its secret."""


@dataclass(frozen=True)
class Mail:
    """One mail to one person, in plain text."""

    to: str
    subject: str
    text: str
    reply_to: str = ""
    """Where an answer to it goes; empty for the sender."""
    from_name: str = ""
    """What stands before the sender's address."""
    occasion: str = "a notice"
    """What it is for, as the ledger of connections says it: never to whom."""
    about: About | None = None
    """What it goes with while it waits."""


def is_set_up(settings: Settings) -> bool:
    """Tell whether the operator has said how mail is sent, and it may be: offline, by this machine alone."""
    is_named = bool(settings.smtp_host and settings.mail_from)
    return is_named and (not settings.offline or is_here(settings.smtp_host))


def send_mail(settings: Settings, mail: Mail, ledger: Ledger) -> None:
    """Send a mail now, through a connection that the ledger tells of.

    Raises:
        MailError: Mail is not set up, or its server cannot be reached, is not who it should be, or does not take it.
    """
    if not is_set_up(settings):
        is_kept = settings.offline and settings.smtp_host
        hint = "Ruma is offline." if is_kept else "The operator sets smtp_host and mail_from."
        raise MailError("Mail is not set up.", hint=hint)
    message = _write(settings, mail)
    host, port, security = settings.smtp_host, settings.smtp_port, settings.smtp_security
    if security == "none" and settings.smtp_user and not is_here(host):
        raise MailError(
            f"The password for {host} would go over the network as it is.",
            hint="Set smtp_security to starttls or tls.",
        )
    purpose = f"mail: {mail.occasion}"
    try:
        with (
            open_connection(host, port, purpose=purpose, ledger=ledger, timeout=TIMEOUT_SECONDS) as connection,
            _greet(settings, connection) as server,
        ):
            if settings.smtp_user:
                server.login(settings.smtp_user, _password(settings))
            server.send_message(message)
    except smtplib.SMTPException as exc:
        raise MailError(f"The mail server {settings.smtp_host} did not take a mail: {_reason(exc)}.") from exc
    except (ssl.SSLError, ssl.CertificateError) as exc:
        raise MailError(
            f"The mail server {settings.smtp_host} is not who it should be: its certificate is not trusted.",
            hint="Put its certificate's authority into the system's list, or correct smtp_host.",
        ) from exc
    except OSError as exc:
        raise MailError(
            f"The mail server {settings.smtp_host} cannot be reached at port {settings.smtp_port}.",
            hint="Check smtp_host, smtp_port and smtp_security.",
        ) from exc


@dataclass(frozen=True)
class _Posted:
    mail: Mail
    ledger: Ledger
    tenant: Tenant
    members: tuple[int, ...]
    """The member whom it goes to, and the one who had it sent, whose name it may hold."""

    @property
    def is_wanted(self) -> bool:
        """Whether what it is about is still there, its link still works, and its members were not erased."""
        about = self.mail.about
        try:
            if about and (about[0] == "invitation" or about[0] == "reset"):
                peek_link(self.tenant, about[0], about[1])
            elif about and not is_there(self.tenant, *about):
                return False
            return all(is_there(self.tenant, "member", number) for number in self.members)
        except NotFoundError:  # the link was made void or used, or the tenant itself is gone
            return False
        except StoreError:
            return True


class Outbox:
    """The mails that wait to be sent. Safe to use from several threads.

    A mail that the server does not take is tried again a few times, and then dropped; the log says that it was, and
    never to whom or what.
    """

    def __init__(self, settings: Settings, *, pauses: Sequence[float] = PAUSES, limit: int = MOST_WAITING) -> None:
        self.is_set_up = is_set_up(settings)
        self._settings, self._pauses = settings, tuple(pauses)
        self._waiting: queue.PriorityQueue[tuple[float, int, int, _Posted]] = queue.PriorityQueue()
        self._limit, self._number = limit, 0
        self._lock, self._wake, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def post(self, mail: Mail, tenant: Tenant) -> bool:
        """Take a mail of a tenant to be sent, and return at once. The connection is its, and of whoever acts now.

        Returns:
            False where mail is not set up or too many mails wait: this one will not be sent.
        """
        if not self.is_set_up or self._closed.is_set():
            return False
        with self._lock:
            if self._waiting.qsize() >= self._limit:
                log.warning("A mail was dropped: %d wait already.", self._limit)
                return False
            self._put(0.0, 0, _Posted(mail, TenantLedger(tenant), tenant, _members_of(mail, tenant)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ruma-mail", daemon=True)
                self._thread.start()
        return True

    @property
    def waiting(self) -> int:
        """How many mails wait."""
        return self._waiting.qsize()

    def forget(self, tenant: Tenant) -> None:
        """Drop the mails of a tenant that wait and are about what is gone, or go to or come from who is."""
        with self._lock:
            kept = []
            while not self._waiting.empty():
                one = self._waiting.get_nowait()
                if one[-1].tenant.id != tenant.id or one[-1].is_wanted:
                    kept.append(one)
            for one in kept:
                self._waiting.put(one)

    def close(self, *, seconds: float = _CLOSING_SECONDS) -> None:
        """Send what is due for a moment longer, and stop. What waits for a further try is dropped."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
        if left := self._waiting.qsize():
            log.warning("%d mails were not sent before the end.", left)

    def _put(self, due: float, tries: int, posted: _Posted) -> None:
        self._number += 1
        self._waiting.put((due, self._number, tries, posted))
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:  # so that `forget` sees every mail that waits
                found, left = self._take_due()
            if found is not None:
                self._send(*found)
                continue
            if self._closed.is_set():
                return
            self._wake.wait(left)

    def _take_due(self) -> tuple[tuple[_Posted, int] | None, float | None]:
        """Return the mail to send now and how often it was tried; else the seconds until one is due, if any waits."""
        try:
            due, number, tries, posted = self._waiting.get_nowait()
        except queue.Empty:
            return None, None
        left = due - time.monotonic()
        if left > 0:
            self._waiting.put((due, number, tries, posted))
            return None, left
        return (posted, tries), None

    def _send(self, posted: _Posted, tries: int) -> None:
        try:
            if not posted.is_wanted:
                return
            send_mail(self._settings, posted.mail, posted.ledger)
        except MailError as exc:
            # Messages of MailError name the server and its code, never the mail.
            if tries < len(self._pauses) and posted.is_wanted:
                with self._lock:
                    self._put(time.monotonic() + self._pauses[tries], tries + 1, posted)
                log.warning("A mail waits for another try. %s", exc)
            else:
                log.error("A mail was dropped after %d tries. %s", tries + 1, exc)
        except RumaError as exc:  # the tenant is gone, or its ledger cannot be written: nothing is sent unwritten
            log.error("A mail was dropped. %s", exc)
        except Exception as exc:  # the thread must go on, or no mail is ever sent again
            log.error("A mail was dropped: %s.", type(exc).__name__)


class _Server(smtplib.SMTP):
    """The mail server at the other end of a connection that is there already."""

    def __init__(self, connection: socket.socket, host: str, port: int, *, name: str) -> None:
        self._connection = connection
        # Named, or smtplib would ask the network what this machine is called.
        super().__init__(host, port, local_hostname=name, timeout=TIMEOUT_SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connection


def _members_of(mail: Mail, tenant: Tenant) -> tuple[int, ...]:
    members = [current_actor().member_id]
    with suppress(NotFoundError, StoreError):
        members.append(find_member(tenant, mail.to).id)
    return tuple(number for number in members if number)


def _greet(settings: Settings, connection: socket.socket) -> smtplib.SMTP:
    host, security = settings.smtp_host, settings.smtp_security
    if security == "tls":
        connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    server = _Server(connection, host, settings.smtp_port, name=settings.mail_from.rpartition("@")[2])
    if security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            # A connection that did not become safe says nothing more, not even goodbye.
            server.close()
            raise
    return server


def _write(settings: Settings, mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(_one_line(mail.from_name), addr_spec=settings.mail_from)
    try:
        to, reply_to = clean_email(mail.to), clean_email(mail.reply_to)
    except InputError as exc:
        raise MailError("A mail has no address that can be written to.") from exc
    if not to:
        raise MailError("A mail has no address that can be written to.")
    message["To"] = Address(addr_spec=to)
    if reply_to:
        message["Reply-To"] = Address(addr_spec=reply_to)
    message["Subject"] = _one_line(mail.subject)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=settings.mail_from.rpartition("@")[2])
    # So that no absence note comes back, and none is written to lists.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(without_controls(mail.text), cte="quoted-printable")
    return message


def _password(settings: Settings) -> str:
    if not settings.smtp_password_file:
        return ""
    try:
        return Path(settings.smtp_password_file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise MailError("The file with the mail server's password cannot be read.") from exc


def _reason(exc: smtplib.SMTPException) -> str:
    # A server may repeat the mail in its message, so only its code is told.
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        code = next(iter(exc.recipients.values()), (0, b""))[0]
        return f"it refused the address (code {code})"
    if isinstance(exc, smtplib.SMTPAuthenticationError):
        return f"it does not know this user and password (code {exc.smtp_code})"
    if isinstance(exc, smtplib.SMTPNotSupportedError):
        return "it does not offer what smtp_security or smtp_user ask for"
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"it answered with code {exc.smtp_code}"
    return "it ended the connection"


def _one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:200]
