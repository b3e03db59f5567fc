"""The people of the business who sign in, and what each may do."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.people.passwords import check_password, hash_password, needs_rehash, verify_password
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Role = Literal["owner", "editor", "viewer"]
ROLES: tuple[Role, ...] = ("owner", "editor", "viewer")
"""Each may do what those after it may."""

LONGEST_NAME = 80
_GONE = "This member is not there any more."
_EMAIL = re.compile(r"[^\s@<>()\[\]\\,;:\"]{1,64}@[\w-]+(\.[\w-]+)*")
_COLUMNS = """id, email, name, role, is_disabled, totp_secret is not null, created_at, last_seen_at"""


@dataclass(frozen=True)
class Member:
    """A person of the business."""

    id: int
    email: str
    name: str
    role: Role
    is_disabled: bool
    has_second_factor: bool
    created_at: str
    last_seen_at: str | None


def create_member(tenant: Tenant, *, email: str, name: str, role: str, password: str) -> Member:
    """Add a member.

    Raises:
        InputError: The address, the name, the role or the password cannot be used.
        ConflictError: There is a member with that address.
    """
    row = prepare_member(email=email, name=name, role=role, password=password)
    with tenant.writing() as db:
        return insert_member(db, row)


def prepare_member(*, email: str, name: str, role: str, password: str) -> dict[str, Any]:
    """Return a new member's row, checked and with the password hashed, which takes long: outside of any write.

    Raises:
        InputError: The address, the name, the role or the password cannot be used.
    """
    email, name, role = fold_email(email), check_member_name(name), check_role(role)
    check_password(password, email=email, name=name)
    return {"email": email, "name": name, "role": role, "password_hash": hash_password(password)}


def insert_member(db: "Database", row: dict[str, Any]) -> Member:
    """Store a row of `prepare_member` inside a write.

    Raises:
        ConflictError: There is a member with that address.
    """
    if db.execute("select 1 from member where email = ?", [row["email"]]).fetchone():
        raise ConflictError(f"There is a member with the address {row['email']} already.")
    db.execute("delete from link where email = ?", [row["email"]])
    stored = db.execute(
        "insert into member (email, name, role, password_hash, created_at) values (?, ?, ?, ?, ?)",
        [row["email"], row["name"], row["role"], row["password_hash"], now()],
    )
    note(db, "member.added", f"member {stored.lastrowid}", role=row["role"])
    return read_row(db, stored.lastrowid or 0)


def list_members(tenant: Tenant) -> list[Member]:
    """Return the members: owners first, then by name."""
    with tenant.reading() as db:
        rows = db.execute(f"select {_COLUMNS} from member").fetchall()
    return sorted(map(member_of, rows), key=lambda one: (ROLES.index(one.role), one.name.casefold(), one.id))


def find_member(tenant: Tenant, who: int | str) -> Member:
    """Return a member by number or e-mail address.

    Raises:
        NotFoundError: There is none.
    """
    with tenant.reading() as db:
        if isinstance(who, int):
            return read_row(db, who)
        row = db.execute(f"select {_COLUMNS} from member where email = ?", [simplify_email(who)]).fetchone()
    if row is None:
        raise NotFoundError(
            f"There is no member with the address {who}.",
            hint="`ruma members list` lists them. Who is only invited is invited anew for another link.",
        )
    return member_of(row)


def has_owner(tenant: Tenant) -> bool:
    """Tell whether the tenant has an owner who can sign in."""
    with tenant.reading() as db:
        return count_owners(db) > 0


def check_sign_in(tenant: Tenant, email: str, password: str) -> Member | None:
    """Return the member whose address and password these are, or None; both take the same time.

    Whether a second factor is asked for as well is the caller's to see.
    """
    with tenant.reading() as db:
        row = db.execute(
            f"select {_COLUMNS}, password_hash from member where email = ?", [simplify_email(email)]
        ).fetchone()
    kept = row[-1] if row else None
    is_right = verify_password(kept, password)
    if not is_right or row is None or row[4]:
        return None
    if needs_rehash(row[-1]):
        with tenant.writing() as db:
            sql = "update member set password_hash = ? where id = ? and password_hash = ?"
            db.execute(sql, [hash_password(password), row[0], kept])
    return member_of(row[:-1])


def is_password_of(tenant: Tenant, member_id: int, password: str) -> bool:
    """Tell whether this is the member's password: asked again before something that matters."""
    with tenant.reading() as db:
        row = db.execute("select password_hash from member where id = ?", [member_id]).fetchone()
    return verify_password(row[0] if row else None, password)


def change_member(
    tenant: Tenant,
    member_id: int,
    *,
    name: str | None = None,
    role: str | None = None,
    is_disabled: bool | None = None,
) -> Member:
    """Change what is given and return the member as it is then. Another role, or disabling, ends the member's sessions.

    Raises:
        NotFoundError: There is no such member.
        InputError: The name or the role cannot be used.
        ConflictError: Nobody would be left who can manage the tenant.
    """
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = check_member_name(name)
    if role is not None:
        changes["role"] = check_role(role)
    if is_disabled is not None:
        changes["is_disabled"] = int(is_disabled)
    with tenant.writing() as db:
        before = read_row(db, member_id)
        for column, value in changes.items():
            db.execute(f"update member set {column} = ? where id = ?", [value, member_id])
        after = read_row(db, member_id)
        check_owner_left(db, before)
        if (before.role, before.is_disabled) != (after.role, after.is_disabled):
            end_access(db, member_id)
        _note_change(db, before, after)
    return after


def change_password(tenant: Tenant, member_id: int, password: str) -> None:
    """Set a member's password, and end every session and open link of the member.

    Raises:
        NotFoundError: There is no such member.
        InputError: The password cannot be used.
    """
    member = find_member(tenant, member_id)
    check_password(password, email=member.email, name=member.name)
    kept = hash_password(password)
    with tenant.writing() as db:
        store_password(db, member_id, kept)


def store_password(db: "Database", member_id: int, kept: str) -> None:
    """Store a hashed password inside a write, and end every session and open link of the member."""
    read_row(db, member_id)
    db.execute("update member set password_hash = ? where id = ?", [kept, member_id])
    end_access(db, member_id)
    note(db, "password.changed", f"member {member_id}")


def remove_member(tenant: Tenant, member_id: int) -> None:
    """Remove a member with sessions, links and recovery codes, from the file as well.

    Raises:
        NotFoundError: There is no such member.
        ConflictError: Nobody would be left who can manage the tenant.
    """
    with tenant.writing() as db:
        before = read_row(db, member_id)
        db.execute("delete from member where id = ?", [member_id])
        check_owner_left(db, before)
        note(db, "member.removed", f"member {member_id}")
        ask_erasure(db)
    finish_erasure(tenant)


def end_access(db: "Database", member_id: int) -> None:
    """End every session and open link of a member, inside a write."""
    db.execute("update member set session_epoch = session_epoch + 1 where id = ?", [member_id])
    db.execute("delete from session where member_id = ?", [member_id])
    db.execute("delete from link where member_id = ?", [member_id])


def read_row(db: "Database", member_id: int) -> Member:
    """Return a member inside a read or write.

    Raises:
        NotFoundError: There is no such member.
    """
    row = db.execute(f"select {_COLUMNS} from member where id = ?", [member_id]).fetchone()
    if row is None:
        raise NotFoundError(_GONE)
    return member_of(row)


def fold_email(email: str) -> str:
    """Return an address as it is stored: two ways of writing it are one.

    Raises:
        InputError: It is no address.
    """
    folded = simplify_email(email)
    if len(folded) > 254 or not _EMAIL.fullmatch(folded) or not folded.isprintable():
        raise InputError("This is not an e-mail address.", hint="It looks like: name@example.com")
    return folded


def check_member_name(name: str) -> str:
    """Return a person's name without blanks around it.

    Raises:
        InputError: It is empty, too long, or has characters that cannot be seen.
    """
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name:
        raise InputError("The name cannot be empty.")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(f"The name can have at most {LONGEST_NAME} characters, all of them visible.")
    return name


def check_role(role: str) -> Role:
    """Return the role.

    Raises:
        InputError: There is no such role.
    """
    if role not in ROLES:
        raise InputError(f"There is no role {role[:80]!r}.", hint=f"Roles: {', '.join(ROLES)}.")
    return role


def simplify_email(email: str) -> str:
    """Return what was typed as an address so that it can be compared, whether it is one or not."""
    return unicodedata.normalize("NFKC", email[:1000]).strip().lower()


def count_owners(db: "Database") -> int:
    """Return how many owners can sign in, inside a read or write."""
    row = db.execute("select count(*) from member where role = 'owner' and not is_disabled").fetchone()
    return int(row[0])


def _note_change(db: "Database", before: Member, after: Member) -> None:
    subject = f"member {after.id}"
    if before.name != after.name:
        note(db, "member.renamed", subject)
    if before.role != after.role:
        note(db, "role.changed", subject, before=before.role, role=after.role)
    if before.is_disabled != after.is_disabled:
        note(db, "member.disabled" if after.is_disabled else "member.enabled", subject)


def check_owner_left(db: "Database", before: Member) -> None:
    """Make sure, inside a write that changed or removed a member, that somebody can still manage the tenant.

    Raises:
        ConflictError: That was the last owner.
    """
    if before.role == "owner" and not before.is_disabled and not count_owners(db):
        raise ConflictError(
            f"{before.name} is the last owner, and somebody must be able to manage this.",
            hint="Make another member an owner first.",
        )


def member_of(row: Sequence[Any]) -> Member:
    """Return the member that a row holds."""
    return Member(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5]), row[6], row[7])
