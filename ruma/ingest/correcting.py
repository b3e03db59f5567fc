"""Corrects the text of a stored document: split and embedded again, and put in the old one's place in one step."""

from dataclasses import dataclass, replace

from ruma.errors import ConflictError, InputError
from ruma.ingest.texts import embed_text, parse_again
from ruma.models.vectors import Embedder
from ruma.tenant.erasing.erasure import finish_erasure
from ruma.tenant.knowledge.documents import (
    NewDocument,
    check_embedder,
    read_document,
    read_original_of,
    read_stored,
    store_document,
)
from ruma.tenant.knowledge.pairs import MEDIA_TYPE as PAIR
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Corrected:
    """What a correction made."""

    document_id: int
    """The number that the document has from now on."""
    chunks: int
    replaced_original: bool


def correct_document(
    tenant: Tenant, document_id: int, text: str, embedder: Embedder, *, replace_original: bool = False
) -> Corrected:
    """Replace the text of a document, and return the number that it has from then on.

    The agent answers from the new text at once; what visitors were told from the old one is emptied, as when a document
    is replaced. Reading the same file again does not bring the old text back; a file that was changed does.

    Args:
        tenant: Whose document it is.
        document_id: Its number.
        text: The whole new text. Lines that were headings stay such, and so does a line that begins with `# `.
        embedder: What makes the vectors.
        replace_original: Store the text in the place of the original file, too: what was wrong is then in neither.

    Raises:
        NotFoundError: There is no such document.
        InputError: There is no text, or too much.
        ConflictError: It is a question with its answer, which is changed as such.
        NotReadyError: Another embedder made the tenant's vectors.
    """
    check_embedder(tenant, embedder.id)
    document = read_document(tenant, document_id)
    if document.media_type == PAIR:
        raise ConflictError("A question with its answer is changed on the page Questions and answers.")
    parsed = parse_again(document.title, text, document.media_type, document.text, document.chunks)
    if not parsed.text.strip():
        raise InputError("The text is empty.", hint="To take the document away, remove it.")
    stored = read_stored(tenant, document_id)
    made = NewDocument(
        name=document.name,
        title=document.title,
        media_type=document.media_type,
        content_hash=stored.content_hash,
        reader=stored.reader,
        size_bytes=document.size_bytes,
        chunks=embed_text(parsed, embedder),
        original=b"" if replace_original else b"".join(read_original_of(tenant, document_id)),
    )
    if replace_original:
        data = parsed.text.encode("utf-8", "replace")
        made = replace(made, original=data, size_bytes=len(data), media_type="text/plain")
    new_id = store_document(
        tenant,
        document.source_id,
        made,
        embedder_id=embedder.id,
        corrects=document_id,
        changed="text and original" if replace_original else "text",
    )
    finish_erasure(tenant)
    return Corrected(new_id, len(made.chunks), replace_original)
