"""What the API gives about the privacy policy and about connections."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PolicyText:
    """The privacy policy in force."""

    version: int
    since: str
    markdown: str


@dataclass(frozen=True)
class StatementFinding:
    """What checking one statement found."""

    name: str
    text: str
    is_true: bool | None
    """Null where no program can tell."""
    why: str


@dataclass(frozen=True)
class PolicyCheck:
    """What checking the policy found."""

    checked_at: str
    is_true: bool
    statements: list[StatementFinding]


@dataclass(frozen=True)
class ConnectionInfo:
    """One connection that was opened."""

    id: int
    at: str
    purpose: str
    host: str
    port: int
    outcome: str
    """`open`, `done`, `failed` or `refused`."""
    reason: str
    address: str
    bytes_out: int
    bytes_in: int
    milliseconds: int
    actor: str
    actor_id: int


@dataclass(frozen=True)
class ConnectionList:
    """Connections, the newest first."""

    connections: list[ConnectionInfo]


_AT = "2026-03-02T09:15:04Z"
EXAMPLES: dict[type, Any] = {
    PolicyText: PolicyText(3, _AT, "# Privacy policy of Marrowby Bakery\n\n## 1. What is collected\n\n…"),
    PolicyCheck: PolicyCheck(
        _AT, True, [StatementFinding("key", "The key is not kept with them.", True, "")]
    ),
    ConnectionList: ConnectionList(
        [
            ConnectionInfo(
                12, _AT, "mail: a reply to a visitor", "mail.marrowby.example", 587, "done", "", "192.0.2.25",
                2941, 3120, 214, "member", 1,
            )
        ]
    ),
}  # fmt: skip
