"""The privacy policy: written from the settings in force, each sentence with the check that proves it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ruma.config import Plan, Settings
from ruma.offline import is_here
from ruma.tenant.agents import Agent, read_agent
from ruma.tenant.billing import read_customer
from ruma.tenant.connections import Recipient, list_recipients
from ruma.tenant.conversing.consents import read_keeping
from ruma.tenant.keeping.plans import read_plan
from ruma.tenant.policy_versions import Version, find_version, note_version
from ruma.tenant.profile import Profile, read_profile
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from ruma.privacy.policy_check import System

Format = Literal["text", "markdown", "html"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "html")


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
class Statement:
    """One thing that the policy says, and how it is proven.

    Either *check* returns what is not true about it ("" where it is true), or *unchecked* says why no program can tell.
    """

    name: str
    text: str
    check: "Callable[[System], str] | None" = None
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


def write_policy(tenant: Tenant, settings: Settings, *, keeps: bool = True) -> Policy:
    """Write the policy from what is in force now, and keep it as a new version where it changed.

    Args:
        tenant: Whose policy it is.
        settings: The operator's.
        keeps: Whether a changed text is kept; else it only has the number and the date that it would get now.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    from ruma.privacy.policy_formats import as_markdown
    from ruma.privacy.policy_statements import write_sections

    facts = gather_facts(tenant, settings)
    policy = Policy(f"Privacy policy of {facts.business}", write_sections(facts), Version(0, "", ""))
    text = as_markdown(policy)
    return replace(policy, version=note_version(tenant, text) if keeps else find_version(tenant, text))


def gather_facts(tenant: Tenant, settings: Settings) -> Facts:
    """Return what the policy is written from, as one state of the tenant."""
    with tenant.one_state():
        return Facts(
            tenant.name,
            settings,
            read_profile(tenant),
            read_agent(tenant),
            read_plan(tenant, settings),
            tuple(list_recipients(tenant)),
            read_keeping(tenant),
            bool(read_customer(tenant)),
        )
