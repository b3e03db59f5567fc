"""Tests each statement of the privacy policy against the system as it is: what is not true is said by name."""

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ruma.connections import HomeLedger, open_connection
from ruma.errors import InputError
from ruma.offline import is_offline
from ruma.privacy.consent import STORAGE
from ruma.privacy.policy_pages import find_elsewhere, find_stores, listed, read_said
from ruma.privacy.policy_parts import Policy, System
from ruma.tenant.billing import read_customer
from ruma.tenant.connections import READS_SOURCE, list_recipients
from ruma.tenant.conversing.consents import PASSING_SECONDS
from ruma.tenant.policy_evidence import (
    count_weak_passwords,
    files_with_key,
    is_held_whole,
    list_tables,
    oldest_passing,
    oldest_records,
    owner_of_rows,
    readable_files,
    stored_networks,
)

GRACE = timedelta(days=2)
"""What is due is removed once a day, so something may be a day older than promised; another day for clocks."""

TABLES = {
    "visitors' conversations": {
        "conversation", "message", "citation", "feedback", "consent", "visitor_link",
    },
    "members' accounts": {
        "member", "recovery_code", "session", "link", "api_key", "attempt", "terms", "terms_acceptance",
        "terms_setting", "member_consent",
    },
    "the business's documents and settings": {
        "agent", "profile", "source", "document", "chunk", "vector", "sentence_vector", "search_index", "upload",
        "consent_setting", "retention", "billing", "hold", "retention_mark", "export", "file_key", "page_key",
    },
    "records that prove what was done": {
        "audit", "audit_start", "connection", "policy_version", "policy_check", "rights_request", "rights_request_step",
        "backup", "erasure", "receipt_signer", "correction", "removed_document",
    },
    "the database's own": {"ruma_identity", "pending_erasure", "kept_response"},
}  # fmt: skip
"""Every table, under the kind of data that the policy names for it."""

_CONVERSATION = {
    "id", "secret_hash", "channel", "website", "language", "started_at", "last_at", "visitor_name", "visitor_email",
    "wants_person_since", "answered_at", "is_read", "is_closed", "questions", "declined", "helpful", "unhelpful",
    "is_kept", "is_counted", "left_at",
}  # fmt: skip
_PAYMENT = re.compile(r"payment|invoice|card|iban|billing|stripe", re.IGNORECASE)
_REPORTING = {
    "SENTRY_DSN", "DD_AGENT_HOST", "DD_API_KEY", "NEW_RELIC_LICENSE_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "POSTHOG_API_KEY", "ROLLBAR_ACCESS_TOKEN", "HONEYBADGER_API_KEY",
}  # fmt: skip
_REPORTERS = ("sentry_sdk", "posthog", "ddtrace", "newrelic", "rollbar", "honeybadger", "bugsnag", "scout_apm")
_BY_OPERATOR = {"a website is checked for the widget", "the policy is checked against the running server"}
"""Connections that an operator's command opens, and that send nothing of anybody's."""


@dataclass(frozen=True)
class Finding:
    """What checking one statement found."""

    name: str
    text: str
    is_true: bool | None
    """None where no program can tell."""
    why: str = ""
    """What is not true about it, or why no program can tell."""


def check_policy(policy: Policy, system: System) -> list[Finding]:
    """Test every statement; what a check cannot find out counts as not true.

    Where a running server was asked, its own page must say the same: a server that was started with other settings,
    or was not started anew since they changed, makes other promises.
    """
    said = read_said(system.pages[0]) if system.asked else {}
    findings = []
    for statement in policy.statements:
        if system.asked and said.pop(statement.name, "") != " ".join(statement.text.split()):
            why = f"The page at {system.asked} says something else: start the server anew, with these settings."
            findings.append(Finding(statement.name, statement.text, False, why))
            continue
        if statement.check is None:
            findings.append(Finding(statement.name, statement.text, None, statement.unchecked))
            continue
        try:
            problem = statement.check(system)
        except Exception as exc:  # a check that breaks has proven nothing
            problem = f"It could not be checked: {type(exc).__name__}."
        findings.append(Finding(statement.name, statement.text, not problem, problem))
    why = f"Only the page at {system.asked} says this: start the server anew, with these settings."
    return [*findings, *(Finding(name, text, False, why) for name, text in said.items())]


def every_table_is_named(system: System) -> str:
    """Check that the database has no table that the policy has no name for."""
    named = set().union(*TABLES.values())
    return listed("The database has tables that the policy does not name", list_tables(system.tenant).keys() - named)


def conversations_hold_no_address(system: System) -> str:
    """Check that a conversation has no column beyond those that the policy tells of."""
    more = set(list_tables(system.tenant)["conversation"]) - _CONVERSATION
    return listed("A conversation also holds", more)


def passwords_are_hashed(system: System) -> str:
    """Check how members' passwords are kept."""
    count = count_weak_passwords(system.tenant)
    return f"{count} passwords are kept as something else." if count else ""


def stored_addresses_are_shortened(system: System) -> str:
    """Check the form of every network address in the database."""
    whole = {one for one in stored_networks(system.tenant) if not one.endswith(("/24", "/48"))}
    return f"{len(whole)} network addresses are stored whole." if whole else ""


def log_is_shortened(system: System) -> str:
    """Check a line of the log, written for a request of which all is known."""
    if "203.0.113.77" in system.log_line or "canary" in system.log_line:
        return "The log holds a whole network address, or what was asked."
    return "" if "203.0.113.0/24" in system.log_line else "The log does not show the network."


def no_payment_data(system: System) -> str:
    """Check that no table and no column is about payments, but the one customer number where that is told of."""
    tables = list_tables(system.tenant)
    names = {
        f"{table}.{column}"
        for table, columns in tables.items()
        for column in (table, *columns)
        if _PAYMENT.search(column)
    } - {"billing.billing"}
    names |= {f"billing.{column}" for column in tables.get("billing", ()) if column not in ("id", "customer")}
    customer = read_customer(system.tenant)
    if customer and not re.fullmatch(r"cus_[A-Za-z0-9]{1,100}", customer):
        names.add("something in place of a customer number")
    if customer and not (system.facts.is_customer or system.facts.settings.takes_payments):
        names.add("a customer number, of which the policy says nothing")
    return listed("The database has", names)


def directory_is_one_tenants(system: System) -> str:
    """Check whose database it is."""
    others = set(owner_of_rows(system.tenant)) - {system.tenant.id}
    return listed("The database also belongs to", others)


def files_are_encrypted(system: System) -> str:
    """Check the bytes of every file of the tenant's directory."""
    return listed("These files can be read as they are", readable_files(system.tenant))


def key_is_elsewhere(system: System) -> str:
    """Check that no file of the directory has the key."""
    return listed("The key is in", files_with_key(system.tenant))


def transport_is_private(system: System) -> str:
    """Check how the server is reached."""
    return system.transport


def sessions_end(system: System) -> str:
    """Check that sessions that are too old, or were not used for too long, are over."""
    return system.sessions_end


def retention_of(kind: str) -> Callable[[System], str]:
    """Return the check that no record of a kind is older than promised."""

    def check(system: System) -> str:
        days = getattr(system.facts.plan, kind)
        oldest = oldest_records(system.tenant).get(kind)
        if oldest is None or is_held_whole(system.tenant):
            return ""
        limit = datetime.now(UTC) - timedelta(days=days) - GRACE
        return f"The oldest is of {oldest[:10]}." if oldest < limit.strftime("%Y-%m-%dT%H:%M:%SZ") else ""

    return check


def passing_conversations_end(system: System) -> str:
    """Check that no conversation that is not kept is still there long after it was over."""
    oldest = oldest_passing(system.tenant)
    limit = datetime.now(UTC) - timedelta(seconds=PASSING_SECONDS) - GRACE
    is_late = oldest is not None and oldest < limit.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"The last message of one that is still there is of {oldest[:10]}." if oldest and is_late else ""


def ledger_is_as_said(system: System) -> str:
    """Check that the ledger has no recipient but those that the policy names, as written when it was checked."""
    named = {one.host for one in system.facts.recipients} | {system.facts.settings.smtp_host}

    def is_named(purpose: str) -> bool:
        return purpose.startswith("mail: ") or purpose == READS_SOURCE

    strange = {
        f"{one.host}:{one.port} ({one.purpose})"
        for one in list_recipients(system.tenant)
        if one.purpose not in _BY_OPERATOR
        and not (is_named(one.purpose) and one.host in named)
        and not (one.purpose.startswith("billing: ") and one.host in system.facts.stripe_hosts)
    }
    return listed("The ledger has connections that the policy does not name", strange)


def nothing_phones_home(system: System) -> str:
    """Check that nothing tried to go around the door, and that nothing is set up to report to anybody."""
    tried = {
        f"{attempt.host}:{attempt.port}"
        for _, attempt, _ in HomeLedger(system.facts.settings.home).read()
        if attempt.purpose.startswith("unknown")
    }
    set_up = _REPORTING & os.environ.keys()
    loaded = {name for name in _REPORTERS if name in sys.modules or importlib.util.find_spec(name) is not None}
    return (
        listed("Something tried to reach, around the ledger", tried)
        or listed("The environment names somebody to report to", set_up)
        or listed("Packages are installed that report to others", loaded)
    )


def is_offline_now(system: System) -> str:
    """Check that the door is closed in this process."""
    if not is_offline():
        return "This process is not offline."
    try:
        with open_connection("192.0.2.1", 9, purpose="a check", ledger=_Nowhere(), timeout=0.1):
            return "A connection could be opened."
    except InputError:
        return ""
    except OSError:
        return "A connection was tried."


def cookies_are_as_said(system: System) -> str:
    """Check every cookie of real responses: its name, and who gets it; and where scripts keep things."""
    known = {one.name.replace("{tenant}", system.tenant.name) for one in STORAGE if one.place == "cookie"}
    by_visitors = [cookie.partition("=")[0] for page in system.pages for cookie in page.cookies]
    if by_visitors:
        return listed("Visitors are given cookies", by_visitors)
    stores = next(filter(None, map(find_stores, system.pages)), "")
    if stores:
        return stores
    if not system.signed_in.cookies:
        return "Signing in set no cookie, so nothing could be checked."
    for cookie in system.signed_in.cookies:
        pair, *attributes = (part.strip() for part in cookie.split(";"))
        name = pair.partition("=")[0]
        found = {one.partition("=")[0].lower(): one.partition("=")[2].lower() for one in attributes}
        if name not in known:
            return f"Members are given the cookie {name}, which the policy does not name."
        missing = [word for word in ("secure", "httponly") if word not in found]
        if missing or found.get("samesite") not in ("lax", "strict"):
            return f"The cookie {name} lacks {', '.join(missing) or 'SameSite'}."
        if "domain" in found or {"max-age", "expires"} & found.keys():
            return f"The cookie {name} goes to more hosts, or stays longer, than the policy says."
    return ""


def pages_load_nothing_from_elsewhere(system: System) -> str:
    """Check what pages, scripts and styles refer to, and what the pages' content policy would let them load."""
    found = (find_elsewhere(page, system.own_hosts) for page in system.pages)
    return next(filter(None, found), "")


def chat_has_its_menu(system: System) -> str:
    """Check that the pages with a chat have the menu that the policy speaks of."""
    chats = [page for page in system.pages if 'class="chat' in page.body]
    if not chats and (system.facts.agent.websites or system.facts.agent.is_published):
        return "No page with a chat was shown."
    wanted = ['id="menu"', 'value="data"', *(['id="link"'] if system.facts.sends_mail else [])]
    without = [page.path for page in chats if not all(one in page.body for one in wanted)]
    return listed("There is no such menu on", without)


def members_have_their_rights(system: System) -> str:
    """Check that the page of a member's account has what hands it out, corrects and erases it.

    Where terms must be accepted first, their page has to have what lets a member go without accepting them.
    """
    page = system.account
    if page.status != 200:
        return "Nobody could sign in, so nothing could be checked."
    wanted = ["data", "remove", *([] if page.path.endswith("/terms") else ["name", "email", "password"])]
    without = [one for one in wanted if not re.search(f'(?:href|action)="[^"]*/account/{one}"', page.body)]
    return listed(f"There is nothing on {page.path} that leads to", [f"account/{one}" for one in without])


class _Nowhere:
    """A ledger for a connection that is not opened."""

    def begin(self, attempt: object) -> int:
        return 0

    def end(self, number: int, ending: object) -> None:
        pass
