"""The privacy policy: written from the settings in force, each sentence with the check that proves it."""

from dataclasses import replace

from ruma.config import Settings
from ruma.privacy.policy_formats import as_markdown
from ruma.privacy.policy_parts import Facts, Policy
from ruma.privacy.policy_statements import write_sections
from ruma.tenant.agents import read_agent
from ruma.tenant.billing import read_customer
from ruma.tenant.connections import list_recipients
from ruma.tenant.conversing.consents import read_keeping
from ruma.tenant.keeping.plans import read_plan
from ruma.tenant.policy_versions import Version, find_version, note_version
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant


def write_policy(tenant: Tenant, settings: Settings, *, keeps: bool = True) -> Policy:
    """Write the policy from what is in force now, and keep it as a new version where it changed.

    Args:
        tenant: Whose policy it is.
        settings: The operator's.
        keeps: Whether a changed text is kept; else it only has the number and the date that it would get now.

    Raises:
        InputError: The plans in the settings are not understood.
    """
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
