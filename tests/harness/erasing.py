"""Erases one thing after the other and says so after each: `python -m tests.harness.erasing TENANT KIND…`."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ruma.config import load_settings
from ruma.errors import NotFoundError
from ruma.privacy.erasing import erase_conversation, erase_document, erase_member, erase_visitor
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, read_for_member, reply
from ruma.tenant.conversing.visitors import VisitorRef, find_visitor
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, take_export
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import read_document, read_original_of, store_document
from ruma.tenant.knowledge.index import search_words
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload, take_upload
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.sessions import begin_session
from tests.making import EMBEDDER, make_document

if TYPE_CHECKING:
    from ruma.tenant.tenant import Tenant

MARKS = {
    "document": "mbkrvtxqzngdfwhjplcbxkmv",
    "conversation": "xwdnqgzvkbtrmfhcljpwxdnq",
    "visitor": "hgzpwkxcvbnmqdrtfljkhgzp",
    "member": "qvxzjkwbfgmhcdnptrlqvxzj",
}
EMAIL = "jo@example.com"


def fill(tenant: "Tenant") -> None:
    """Store one thing of each kind, numbered 1 but for the conversation, which is the third, and what came from them.

    An original, an upload, a written answer, replies, a session, and an export that waits to be fetched.
    """
    mark = MARKS["document"]
    name = f"{mark}.txt"
    receive_upload(tenant, name, [b"x" * 300], kind="upload", added_by="Bo", most_bytes=1000)
    taken = take_upload(tenant)
    assert taken
    with taken:
        texts = [f"Part {part} says {mark} of it. " for part in range(4)]
        number = store_document(
            tenant, add_source(tenant, "upload", name).id, make_document(name, *texts), embedder_id=EMBEDDER.id
        )
        taken.finish()
    create_member(tenant, email="a@example.com", name="Ada", role="owner", password="seven loaves under the oak")
    member = create_member(
        tenant, email="b@example.com", name=f"Bo {MARKS['member']}", role="editor", password="seven loaves under an oak"
    )
    begin_session(tenant, member.id, browser=MARKS["member"])
    for kind in ("visitor", "visitor", "conversation"):
        chat = begin_conversation()
        told = f"They say {MARKS['document']}."
        add_exchange(tenant, chat, f"I am {MARKS[kind]}", told, mode="write", is_declined=False,
                     citations=[(1, number, 0, 9)])  # fmt: skip
        ask_for_person(tenant, chat, name=MARKS[kind], email=EMAIL if kind == "visitor" else "", message="Hm.")
        reply(tenant, chat.id or 0, author=member.name, text=f"Dear {MARKS[kind]}")
    ask_export(tenant, Scope(), asked_by="Ada")
    making = take_export(tenant)
    assert making
    with making:
        making.write(b"".join(f"{word} ".encode() for word in MARKS.values()))
        making.finish()


def is_there(tenant: "Tenant", kind: str) -> bool:
    """Tell whether a thing is there, having read all of it."""
    try:
        if kind == "document":
            assert b"".join(read_original_of(tenant, 1))
            assert MARKS[kind] in read_document(tenant, 1).text
            assert search_words(tenant, [MARKS[kind]], 3)
        elif kind == "member":
            assert MARKS[kind] in find_member(tenant, 2).name
        else:
            numbers = [3] if kind == "conversation" else find_visitor(tenant, VisitorRef(email=EMAIL))
            assert numbers == ([3] if kind == "conversation" else [1, 2])
            for number in numbers:
                assert MARKS[kind] in str(read_for_member(tenant, number))
    except NotFoundError:
        return False
    return True


def main(tenant_name: str, *kinds: str) -> None:
    """Erase one after the other."""
    with Home(load_settings()).open(tenant_name) as tenant:
        erasers: dict[str, Callable[[], object]] = {
            "document": lambda: erase_document(tenant, 1),
            "conversation": lambda: erase_conversation(tenant, 3),
            "visitor": lambda: erase_visitor(tenant, VisitorRef(email=EMAIL)),
            "member": lambda: erase_member(tenant, 2),
        }
        for kind in kinds:
            erasers[kind]()
            print(kind, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
