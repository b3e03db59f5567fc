"""Corrections of what is stored about people: a visitor's name and address, a member's address."""

from ruma.errors import ConflictError, NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.conversing.conversations import GONE
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.people.members import Member, fold_email, read_row
from ruma.tenant.profile import clean_email, clean_line
from ruma.tenant.tenant import Tenant


def correct_visitor_details(
    tenant: Tenant, conversation_id: int, *, name: str | None = None, email: str | None = None
) -> None:
    """Change what a visitor gave as name and address in a conversation; "" takes it away, None leaves it as it is.

    Raises:
        NotFoundError: There is no such conversation.
        InputError: The name is too long, or the address is none.
    """
    changes = {}
    if name is not None:
        changes["visitor_name"] = clean_line(name, "name")
    if email is not None:
        changes["visitor_email"] = clean_email(email)
    with tenant.writing() as db:
        names = ", ".join(changes) or "1"
        before = db.execute(f"select {names} from conversation where id = ?", [conversation_id]).fetchone()
        if before is None:
            raise NotFoundError(GONE)
        changed = [column for column, old in zip(changes, before, strict=False) if changes[column] != old]
        if not changed:
            return
        for column in changed:
            db.execute(f"update conversation set {column} = ? where id = ?", [changes[column], conversation_id])
        what = " ".join(column.removeprefix("visitor_") for column in changed)
        note(db, "visitor.corrected", f"conversation {conversation_id}", changed=what)
        ask_erasure(db)
    finish_erasure(tenant)


def correct_email(tenant: Tenant, member_id: int, email: str) -> Member:
    """Change the address that a member signs in with. Links that went to the old one open nothing any more.

    Raises:
        NotFoundError: There is no such member.
        InputError: It is no address.
        ConflictError: Another member has it.
    """
    email = fold_email(email)
    with tenant.writing() as db:
        before = read_row(db, member_id)
        if before.email == email:
            return before
        if db.execute("select 1 from member where email = ?", [email]).fetchone():
            raise ConflictError(f"There is a member with the address {email} already.")
        db.execute("update member set email = ? where id = ?", [email, member_id])
        db.execute("delete from link where member_id = ? or email in (?, ?)", [member_id, before.email, email])
        note(db, "member.corrected", f"member {member_id}", changed="email")
        ask_erasure(db)
        after = read_row(db, member_id)
    finish_erasure(tenant)
    return after
