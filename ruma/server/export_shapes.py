"""What the API takes and gives about exports and corrections."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ruma.errors import InputError
from ruma.tenant.conversing.visitors import find_visitor, parse_visitor
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import Export
from ruma.tenant.people.members import find_member
from ruma.tenant.tenant import Tenant

Kind = Literal["tenant", "member", "visitor"]


@dataclass(frozen=True)
class NewExport:
    """What shall be exported: everything, one member's data or one visitor's."""

    kind: Kind = "tenant"
    member: str = ""
    """A member's number or e-mail address, where `kind` is `member`."""
    visitor: str = ""
    """A conversation's number or an e-mail address, where `kind` is `visitor`."""
    password: str = ""
    """What the file shall open with, in the format age; without one it is a plain zip. It is not kept."""


@dataclass(frozen=True)
class ExportInfo:
    """An export that was asked for."""

    id: int
    kind: Kind
    member_id: int | None
    conversations: list[int]
    state: Literal["waiting", "making", "done", "failed"]
    reason: str
    size_bytes: int
    has_password: bool
    file_name: str
    asked_by: str
    asked_at: str
    made_at: str | None
    ends_on: str
    """The day on which its file is removed."""


@dataclass(frozen=True)
class ExportList:
    """The exports that were asked for, the newest first."""

    exports: list[ExportInfo]


@dataclass(frozen=True)
class CorrectedText:
    """A document's new text."""

    text: str
    """The whole text. Lines that were headings stay such, and so does a line that begins with `# `."""
    replace_original: bool = False
    """Whether the text is stored in the place of the original file, too."""


@dataclass(frozen=True)
class DocumentCorrected:
    """What a correction made."""

    document_id: int
    """The number that the document has from now on."""
    chunks: int
    replaced_original: bool


def scope_of(tenant: Tenant, wanted: NewExport) -> Scope:
    """Return what is to be exported.

    Raises:
        NotFoundError: There is no such member or visitor.
        InputError: It is not said what or who is meant.
    """
    if wanted.kind not in get_args(Kind):
        raise InputError("Say what to export: everything (tenant), a member's data or a visitor's.")
    if wanted.kind == "member":
        if not wanted.member.strip():
            raise InputError("Say which member: a number or an e-mail address.")
        who = wanted.member.strip()
        return Scope("member", member_id=find_member(tenant, int(who) if who.isdecimal() and len(who) < 19 else who).id)
    if wanted.kind == "visitor":
        found = find_visitor(tenant, parse_visitor(wanted.visitor))
        return Scope("visitor", conversations=tuple(found))
    return Scope()


def info_of(export: Export, days: int) -> ExportInfo:
    """Return an export as the API gives it, where exports are kept for so many days."""
    return ExportInfo(
        id=export.id,
        kind=export.scope.kind,
        member_id=export.scope.member_id or None,
        conversations=list(export.scope.conversations),
        state=export.state,
        reason=export.reason,
        size_bytes=export.size_bytes,
        has_password=export.has_password,
        file_name=export.file_name,
        asked_by=export.asked_by,
        asked_at=export.asked_at,
        made_at=export.made_at,
        ends_on=export.ends_on(days),
    )


_EXPORT = ExportInfo(
    3, "tenant", None, [], "done", "", 5182034, False, "ruma-all-2026-03-02.zip", "Ada Miller",
    "2026-03-02T09:15:04Z", "2026-03-02T09:15:09Z", "2026-03-09",
)  # fmt: skip
EXAMPLES: dict[type, Any] = {
    ExportInfo: _EXPORT,
    ExportList: ExportList([_EXPORT]),
    DocumentCorrected: DocumentCorrected(9, 3, False),
}
SENT: dict[str, Any] = {
    "/t/{name}/api/documents/{document_id}/text": {"text": "In August we open at nine."},
    "/t/{name}/api/exports": {"kind": "visitor", "visitor": "jo@example.com"},
}
