"""Erases what somebody wants gone, with a receipt: a document, a conversation, a visitor, a member, a whole tenant.

What is erased goes with everything that came from it, is looked for afterwards, and what the erasure does not reach
is said. A step that finds nothing to do is an error and not a success.
"""

from contextlib import suppress

from ruma.errors import KeyStoreError, StoreError
from ruma.tenant.conversing.visitors import VisitorRef, find_visitor
from ruma.tenant.erasing.erasures import Forget, erase, forget_nothing
from ruma.tenant.erasing.receipts import Kept, NotCovered
from ruma.tenant.erasing.tenant_receipts import (
    DeletedTenant,
    close_tenant_receipt,
    describe_tenant,
    open_tenant_receipt,
)
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import check_not_held
from ruma.tenant.keys.keys import key_store_of
from ruma.tenant.knowledge.pairs import read_pair
from ruma.tenant.knowledge.sources import document_ids_of, remove_empty_source
from ruma.tenant.tenant import Tenant

_COPIES = (
    NotCovered("copies", "Copies of the directory or of the home, file system snapshots included: they need the key."),
    NotCovered("recovery-key", "The recovery key, if someone kept it: with it such a copy can be read."),
    NotCovered("blocks", "Freed disk blocks may hold encrypted bytes until they are used again."),
)


def erase_document(tenant: Tenant, document_id: int, *, forget: Forget = forget_nothing) -> Kept:
    """Erase a document: its text, chunks, vectors, words, original, uploads, and the answers written from it.

    Raises:
        NotFoundError: There is no such document.
        HeldError: Everything must be kept, or a conversation that is held was answered from it.
    """
    return erase(tenant, "document", [document_id], forget=forget)


def erase_source(tenant: Tenant, source_id: int, *, forget: Forget = forget_nothing) -> Kept | None:
    """Erase a source with all its documents.

    Returns:
        The receipt; None where the source had no document, so that there was nothing but its name.

    Raises:
        NotFoundError: There is no such source.
        HeldError: Everything must be kept, or one of its documents; nothing was erased.
    """
    numbers = document_ids_of(tenant, source_id)
    if numbers:
        return erase(tenant, "document", numbers, forget=forget)
    remove_empty_source(tenant, source_id)
    return None


def erase_pair(tenant: Tenant, pair_id: int, *, forget: Forget = forget_nothing) -> Kept:
    """Erase a question with its answer, and what visitors were answered from it.

    Raises:
        NotFoundError: There is no such pair.
        HeldError: Everything must be kept, or a conversation that is held was answered from it.
    """
    return erase(tenant, "document", [read_pair(tenant, pair_id).id], forget=forget)


def erase_conversation(tenant: Tenant, conversation_id: int, *, forget: Forget = forget_nothing) -> Kept:
    """Erase a conversation with everything that was said in it.

    Raises:
        NotFoundError: There is no such conversation.
        HeldError: A legal hold is on it.
    """
    return erase(tenant, "conversation", [conversation_id], forget=forget)


def erase_visitor(tenant: Tenant, *visitors: VisitorRef, forget: Forget = forget_nothing) -> Kept:
    """Erase all conversations of a visitor, named by one or several of them or by an address.

    Raises:
        NotFoundError: One of the names leads to no conversation; nothing was erased.
        HeldError: A legal hold is on one of them; nothing was erased.
    """
    numbers = [number for visitor in visitors for number in find_visitor(tenant, visitor)]
    return erase(tenant, "visitor", numbers, forget=forget)


def erase_member(
    tenant: Tenant, member_id: int, *, keys_to: int | None = None, forget: Forget = forget_nothing
) -> Kept:
    """Erase a member: account, sessions, links, and the name at what the member wrote and added, which stays.

    API keys that the member made end, or go to the member *keys_to*.

    Raises:
        NotFoundError: There is no such member.
        ConflictError: It is the last owner.
    """
    return erase(tenant, "member", [member_id], keys_to=keys_to, forget=forget)


def erase_tenant(home: Home, name: str, *, forget: Forget = forget_nothing) -> DeletedTenant:
    """Delete a tenant and return its signed receipt: key first, then the directory, then a look at all of the home.

    A deletion that is killed is finished by the next command or server, and its receipt with it.

    Raises:
        NotFoundError: There is no tenant of that name.
        HeldError: A legal hold is on all of it.
        KeyStoreError: The key could not be destroyed, or the receipt cannot be written.
    """
    counts: dict[str, int] = {}
    missed: tuple[NotCovered, ...] = ()
    folder, manifest = home.find(name)
    # What cannot be opened can be deleted all the same; then its content is not counted.
    with suppress(KeyStoreError, StoreError), home.open(name) as tenant:
        check_not_held(tenant)
        counts, missed = describe_tenant(tenant)
    known = {one.what for one in _COPIES}
    note = key_store_of(home.settings, manifest.key_store).destruction_note
    missed = (*(one for one in missed if one.what not in known), *_COPIES, NotCovered("keyring", note))
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    # All of it before anything is deleted: a killed deletion's receipt is written by a command that only has the draft.
    draft = open_tenant_receipt(home.settings, manifest, {**counts, "file": len(sizes), "byte": sum(sizes)}, missed)
    home.delete(name)
    return close_tenant_receipt(home.settings, draft, forget())
