"""Who asks, and what they may. The one place that decides it: every route names one of the policies here.

A member comes with a session's cookie, a program with an API key, a visitor with nothing.
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from ruma.errors import ForbiddenError, SignInError, TermsError
from ruma.privacy.terms import read_terms
from ruma.server.addresses import PublicAddress
from ruma.server.guarding import SAFE_METHODS
from ruma.tenant.agents import Agent, read_agent
from ruma.tenant.audit import act_as
from ruma.tenant.people.api_keys import ApiKey, find_api_key, is_valid
from ruma.tenant.people.attempts import note_wrong_secret
from ruma.tenant.people.members import Member
from ruma.tenant.people.sessions import Session, find_session, is_open
from ruma.tenant.people.terms import has_accepted
from ruma.tenant.tenant import Tenant

Connection = ASGIConnection[Any, Any, Any, Any]
Role = Literal["viewer", "editor", "owner"]
Scope = Literal["chat", "read", "write", "conversations", "manage"]

ROLES: tuple[Role, ...] = ("viewer", "editor", "owner")
"""Each may do what those before it may."""

CSRF_HEADER = "x-ruma-csrf"
_KEY_START = "Bearer "
CHECK_SECONDS = 0.25
"""How long whoever was let in may go on before it is looked at again: what is revoked ends within a second."""


@dataclass(frozen=True)
class Policy:
    """Who may call a route."""

    name: str
    role: Role | None = None
    """The lowest role of a member who may; None where no member is meant."""
    scope: Scope | None = None
    """The scope of an API key that may; None where no key is meant."""
    admits_visitors: bool = False
    """Whether visitors may too, as long as the agent is open to them."""


PUBLIC = Policy("public")
"""Anyone. What is called so is on a list that a test knows."""
VISITOR = Policy("visitor", "viewer", "chat", admits_visitors=True)
CHAT = Policy("chat", "viewer", "chat")
READ = Policy("read", "viewer", "read")
WRITE = Policy("write", "editor", "write")
INBOX_READ = Policy("inbox-read", "viewer", "conversations")
INBOX = Policy("inbox", "editor", "conversations")
MANAGE = Policy("manage", "owner", "manage")
OWNER = Policy("owner", "owner")
"""An owner in person: what a key may not do, or it would be as strong as an owner."""
OWN = Policy("own", "viewer")
"""A member's own account: no API key stands for a person."""
POLICIES = (PUBLIC, VISITOR, CHAT, READ, WRITE, INBOX_READ, INBOX, MANAGE, OWNER, OWN)


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    kind: Literal["member", "key", "visitor"]
    session: Session | None = None
    key: ApiKey | None = None
    address: str = ""
    """The network address of the asker."""

    @property
    def member(self) -> Member | None:
        """The member, where it is one."""
        return self.session.member if self.session else None

    @property
    def number(self) -> int:
        """The member's or the key's number; 0 for a visitor."""
        return self.session.member.id if self.session else self.key.id if self.key else 0

    @property
    def name(self) -> str:
        """What is written down as who did something."""
        if self.session:
            return self.session.member.name
        return f"API key {self.key.name}" if self.key else "visitor"

    @property
    def csrf(self) -> str:
        """What a member's page must send back with every change; empty for the others."""
        return self.session.csrf if self.session else ""

    def may(self, policy: Policy) -> bool:
        """Tell whether a policy lets this one in as a member or as a key."""
        if self.session:
            return policy.role is not None and ROLES.index(self.session.member.role) >= ROLES.index(policy.role)
        return self.key is not None and policy.scope in self.key.scopes

    def watch(self, tenant: Tenant, *, website: str = "") -> Callable[[], None]:
        """Return a check for what goes on for long: it raises SignInError once its asker may no longer.

        That is when the session or the key has ended; for a visitor, when the agent is not open to visitors any
        more, or not on their website. It looks four times a second at most, however often it is called.

        Args:
            tenant: Whose it is.
            website: The allowed website on which a visitor asks, where it is known.
        """
        checked = time.monotonic()

        def check() -> None:
            nonlocal checked
            tenant.check_present()
            if time.monotonic() - checked < CHECK_SECONDS:
                return
            checked = time.monotonic()
            if self.session or self.key:
                if not self._is_there(tenant):
                    raise SignInError("You were signed out.", hint="Sign in again.")
            elif not is_open_to_visitors(read_agent(tenant), website):
                raise SignInError("The agent is not open to visitors any more.")

        return check

    def _is_there(self, tenant: Tenant) -> bool:
        if self.session:
            return is_open(tenant, self.session.id)
        return self.key is not None and is_valid(tenant, self.key.id)


def is_open_to_visitors(agent: Agent, website: str = "") -> bool:
    """Tell whether visitors may ask an agent: on its page or some website, or on this one where one is named."""
    return website in agent.websites if website else agent.is_published or bool(agent.websites)


def cookie_name(tenant_name: str) -> str:
    """Return the name of a tenant's session cookie. The prefix binds it to this host, to TLS and to the path `/`."""
    return f"__Host-ruma-{tenant_name}"


async def check_access(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let through who the route's policy admits, and note who it is for the dependency `principal`.

    Raises:
        NotFoundError: There is no such tenant.
        SignInError: Nobody who may is known from the request.
        ForbiddenError: It is known who asks, and they may not; or the change did not come from our own page.
        TermsError: The member must accept the terms first.
        TooManyError: Keys were tried too often from this address.
    """
    if connection.scope.get("method") == "OPTIONS":
        return  # the framework's own answer: which methods there are
    policy: Policy = handler.opt["policy"]
    if policy != PUBLIC:
        principal = await sync_to_thread(_admit, connection, policy)
        if principal.member and not policy.admits_visitors and not handler.opt.get("without_terms"):
            await sync_to_thread(_check_terms, connection, principal.member)
        connection.scope["ruma_principal"] = principal  # type: ignore[typeddict-unknown-key]
        act_as(principal.kind, principal.number, address=principal.address)
    else:
        act_as("visitor", address=_address(connection))


def principal_of(connection: Connection) -> Principal:
    """Return who asks, as `check_access` noted it; on a public route, a visitor."""
    found: Principal | None = connection.scope.get("ruma_principal")  # type: ignore[assignment]
    return found or Principal("visitor", address=_address(connection))


async def tenant_of(connection: Connection, name: str) -> Tenant:
    """Return the tenant that the address names; the guard has opened it, except on a public route.

    Raises:
        NotFoundError: There is none.
    """
    noted: Tenant | None = connection.scope.get("ruma_tenant")  # type: ignore[assignment]
    if noted is not None:
        return noted
    opened: Tenant = await sync_to_thread(connection.app.state.resources.tenant, name)
    connection.scope["ruma_tenant"] = opened  # type: ignore[typeddict-unknown-key]
    return opened


def identify(connection: Connection, tenant: Tenant) -> Principal:
    """Return who asks, by what the request carries.

    Raises:
        SignInError: There is an API key, and it is none of this tenant's.
        TooManyError: Keys were tried too often from this address.
    """
    address = _address(connection)
    sent = connection.headers.get("authorization", "")
    if sent:
        secret = sent[len(_KEY_START) :].strip() if sent.startswith(_KEY_START) else ""
        key = find_api_key(tenant, secret)
        if key is None:
            note_wrong_secret(tenant, "api-key", address=address)
            raise SignInError("This API key is not valid here.", hint="Owners make keys on the page Members and keys.")
        return Principal("key", key=key, address=address)
    secret = connection.cookies.get(cookie_name(tenant.name), "")
    session = find_session(tenant, secret) if secret else None
    if session is None:
        return Principal("visitor", address=address)
    return Principal("member", session=session, address=address)


def sent_by_our_page(connection: Connection, principal: Principal) -> bool:
    """Tell whether a member's change carries the mark that only our own pages know; compared as bytes."""
    if principal.session is None or connection.scope.get("method") in SAFE_METHODS:
        return True
    sent = connection.headers.get(CSRF_HEADER, "").encode("utf-8", "replace")
    return hmac.compare_digest(sent, principal.csrf.encode())


def _admit(connection: Connection, policy: Policy) -> Principal:
    tenant = connection.app.state.resources.tenant(connection.path_params["name"])
    connection.scope["ruma_tenant"] = tenant  # type: ignore[typeddict-unknown-key]
    principal = identify(connection, tenant)
    connection.scope["ruma_principal"] = principal  # type: ignore[typeddict-unknown-key] # for the page that refuses
    is_ours = sent_by_our_page(connection, principal)
    if principal.may(policy) and is_ours:
        return principal
    if policy.admits_visitors and principal.kind != "key" and is_open_to_visitors(read_agent(tenant)):
        return Principal("visitor", address=principal.address)
    if principal.kind == "visitor":
        raise SignInError("Please sign in.", hint="Programs send an API key: Authorization: Bearer ruma_…")
    if not is_ours:
        raise ForbiddenError("This page is out of date.", hint="Load it again, and try once more.")
    if principal.key:
        raise ForbiddenError(
            f"The API key {principal.key.name} may not do this.",
            hint=f"It needs the scope {policy.scope}." if policy.scope else "Only a member who is signed in may.",
        )
    raise ForbiddenError("Your role may not do this.", hint=f"An owner can make you {policy.role}.")


def _check_terms(connection: Connection, member: Member) -> None:
    terms = read_terms(connection.app.state.resources.home.settings)
    tenant: Tenant = connection.scope["ruma_tenant"]  # type: ignore[typeddict-item]
    if terms is not None and not has_accepted(tenant, member.id, terms.version):
        raise TermsError("The terms of use must be accepted first.", hint=f"Open /t/{tenant.name}/terms in a browser.")


def _address(connection: Connection) -> str:
    public: PublicAddress = connection.app.state.public
    return public.client_address(connection.scope)
