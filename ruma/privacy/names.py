"""The names that files in an export have. All are made here and none is anybody's words, so none can lead elsewhere."""

import re

NAMES = re.compile(
    r"export\.json|index\.html|originals\.html"
    r"|data/[a-z_]{1,40}\.jsonl"
    r"|data/(?:conversations|documents|vectors)/[0-9]{4,9}\.jsonl"
    r"|conversations/[0-9]{4,9}\.html|records/[a-z_]{1,40}-[0-9]{4,9}\.html|documents/[0-9]{6,19}\.html"
    r"|originals/(?:upload-)?[0-9]{6,19}(?:\.[a-z0-9]{1,8})?"
)
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def suffix_of(name: str) -> str:
    """Return the ending of a file's name that says what it is, in lower case; empty where it says nothing."""
    _, dot, ending = name.rpartition(".")
    suffix = f"{dot}{ending}".lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def original_name(document_id: int, name: str) -> str:
    """Return what a document's original is called in an export."""
    return f"originals/{document_id:06}{suffix_of(name)}"


def upload_name(upload_id: int, name: str) -> str:
    """Return what a file that was not read yet is called in an export."""
    return f"originals/upload-{upload_id:06}{suffix_of(name)}"


def document_page(document_id: int) -> str:
    """Return the address of a document's page in an export."""
    return f"documents/{document_id:06}.html"
