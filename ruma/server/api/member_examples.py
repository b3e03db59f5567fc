"""Examples of what the API takes and gives about members and API keys."""

from typing import Any

from ruma.server.member_shapes import InvitationInfo, KeyInfo, KeyList, MadeKey, MemberInfo, MemberList, OneTimeLink

_MADE, _SEEN = "2026-03-02T09:15:04Z", "2026-03-09T16:40:21Z"
_ADA = MemberInfo(1, "ada@marrowby.example", "Ada Miller", "owner", False, True, _MADE, _SEEN)
_KEY = KeyInfo(3, "web shop", "ruma_pX4t0", ["chat"], "Ada Miller", _MADE, _SEEN)

EXAMPLES: dict[type, Any] = {
    MemberInfo: _ADA,
    MemberList: MemberList([_ADA], [InvitationInfo("bo@marrowby.example", "editor", "2026-03-10T09:00:00Z")]),
    OneTimeLink: OneTimeLink(
        "https://ask.marrowby.example/t/bakery/invitation/8Wq2mV0sJr7Kc1YtXb5LhNf9SgDa6iToZ4uPeR3yBvE", True
    ),
    KeyList: KeyList([_KEY]),
    MadeKey: MadeKey("ruma_pX4t0m3xJ8q1Yt5VbKc7RwUe2LhNp9SgDa6iTo4XyBv", _KEY),
}
SENT: dict[str, Any] = {
    "/t/{name}/api/members/{member_id}": {"role": "viewer"},
    "/t/{name}/api/members/{member_id}/reset": {"password": "correct horse battery staple"},
    "/t/{name}/api/members/{member_id}/second-factor/remove": {"password": "correct horse battery staple"},
    "/t/{name}/api/members/invitations": {"email": "bo@marrowby.example", "role": "editor"},
    "/t/{name}/api/members/invitations/withdraw": {"email": "bo@marrowby.example"},
    "/t/{name}/api/keys": {"name": "web shop", "scopes": ["chat"]},
}
