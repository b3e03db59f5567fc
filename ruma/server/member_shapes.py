"""What the API takes and gives about members and API keys."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ruma.server.access import Scope
from ruma.tenant.people.api_keys import ApiKey
from ruma.tenant.people.links import Invitation
from ruma.tenant.people.members import Member, Role


@dataclass(frozen=True)
class MemberInfo:
    """A person of the business who signs in."""

    id: int
    email: str
    name: str
    role: Role
    is_disabled: bool
    has_second_factor: bool
    created_at: str
    last_seen_at: str | None


@dataclass(frozen=True)
class InvitationInfo:
    """An invitation that nobody has taken yet."""

    email: str
    role: Role
    ends_at: str


@dataclass(frozen=True)
class MemberList:
    """The members, owners first, and the open invitations."""

    members: list[MemberInfo]
    invitations: list[InvitationInfo]


@dataclass(frozen=True)
class MemberChange:
    """What is to be changed; what is left out stays. Another role, or disabling, ends the member's sessions."""

    name: str | None = None
    role: Role | None = None
    is_disabled: bool | None = None
    password: str = ""
    """The own password of the owner who asks, where somebody becomes an owner or a disabled owner gets in again."""


@dataclass(frozen=True)
class Confirmation:
    """That it is really an owner who asks: the owner's own password."""

    password: str


@dataclass(frozen=True)
class NewInvitation:
    """Whom to invite, and as what."""

    email: str
    role: Role
    password: str = ""
    """The own password of the owner who asks, where an owner is invited."""


@dataclass(frozen=True)
class Withdrawal:
    """Whose invitation is to be void."""

    email: str


@dataclass(frozen=True)
class OneTimeLink:
    """A link that works once. It is shown this once."""

    link: str
    is_mailed: bool
    """Whether it is on its way by mail; else it must be handed over."""


@dataclass(frozen=True)
class KeyInfo:
    """What is known of an API key: never the key itself."""

    id: int
    name: str
    beginning: str
    """Its first characters, to tell it from others."""
    scopes: list[Scope]
    created_by: str
    created_at: str
    last_used_at: str | None


@dataclass(frozen=True)
class KeyList:
    """The API keys, the newest first."""

    keys: list[KeyInfo]


@dataclass(frozen=True)
class NewKey:
    """What a new key is for, and what it may do."""

    name: str
    scopes: list[Scope]


@dataclass(frozen=True)
class MadeKey:
    """A new key. It is shown this once."""

    key: str
    info: KeyInfo


def member_of(member: Member) -> MemberInfo:
    """Return a member as the API shows it."""
    return MemberInfo(**asdict(member))


def invitation_of(invitation: Invitation) -> InvitationInfo:
    """Return an invitation as the API shows it."""
    ends_at = datetime.fromtimestamp(invitation.ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    role: Any = invitation.role
    return InvitationInfo(invitation.email, role, ends_at)


def key_of(key: ApiKey) -> KeyInfo:
    """Return an API key as the API shows it."""
    return KeyInfo(**{**asdict(key), "scopes": list(key.scopes)})
