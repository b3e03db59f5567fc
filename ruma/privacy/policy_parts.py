"""What the privacy policy is made of: the facts, the statements, and the system that they are checked against."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ruma.config import Plan, Settings
from ruma.offline import is_here
from ruma.privacy.policy_pages import Page
from ruma.tenant.agents import Agent
from ruma.tenant.connections import Recipient
from ruma.tenant.policy_versions import Version
from ruma.tenant.profile import Profile
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Facts:
    """What the policy is written from."""

    tenant: str
    settings: Settings
    profile: Profile
    agent: Agent
    plan: Plan
    recipients: tuple[Recipient, ...]
    keeping: str
    is_customer: bool
    """Whether Stripe gave the business a number that is stored here."""

    @property
    def business(self) -> str:
        """What the business is called."""
        return self.profile.business_name or self.tenant

    @property
    def sends_mail(self) -> bool:
        """Whether the operator has said how mail is sent, and it may be."""
        is_named = bool(self.settings.smtp_host and self.settings.mail_from)
        return is_named and (not self.settings.offline or is_here(self.settings.smtp_host))

    @property
    def stripe_hosts(self) -> set[str]:
        """Where Stripe is asked, and was; empty where nothing is paid and nothing was."""
        hosts = {one.host for one in self.recipients if one.purpose.startswith("billing: ")}
        if self.settings.takes_payments:
            hosts.add(urlsplit(self.settings.stripe_api).hostname or "")
        return hosts


@dataclass(frozen=True)
class System:
    """The running system as the checks see it."""

    tenant: Tenant
    facts: Facts
    pages: tuple[Page, ...]
    """What visitors and members are shown, with the scripts and styles of it: the answers to real requests."""
    signed_in: Page
    """What a member who signs in is answered."""
    account: Page
    """What that member is then shown of the account; the terms, where they must be accepted first."""
    log_line: str
    """The line in the log of a request from 203.0.113.77."""
    sessions_end: str
    """What is not true of how long sessions live; empty where it is."""
    transport: str
    """What is not private about how the server is reached; empty where it is."""
    own_hosts: frozenset[str]
    """The names that the server and the websites that show the widget are known by."""
    asked: str = ""
    """The address of the running server that was asked; empty where the application was."""


@dataclass(frozen=True)
class Statement:
    """One thing that the policy says, and how it is proven.

    Either *check* returns what is not true about it ("" where it is true), or *unchecked* says why no program can tell.
    """

    name: str
    text: str
    check: Callable[[System], str] | None = None
    unchecked: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    """A table below the text; its first row is the heading."""


@dataclass(frozen=True)
class Section:
    """One part of the policy."""

    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Policy:
    """The policy in force."""

    title: str
    sections: tuple[Section, ...]
    version: Version

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement, in its order."""
        return tuple(one for section in self.sections for one in section.statements)
