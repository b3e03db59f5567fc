"""What a file is, by its first bytes before its name; and a sentence for each kind that is not read."""

import io
import re
import zipfile
from pathlib import PurePosixPath
from typing import Literal

from ruma.errors import InputError
from ruma.ingest.decoding import decode

Format = Literal["markdown", "text", "html", "pdf", "word", "csv"]

READS = "Ruma reads Markdown, text, HTML, PDF, Word (.docx) and CSV"

SUFFIXES: dict[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".mkd": "markdown", ".mdx": "markdown",
    ".txt": "text", ".text": "text", ".log": "text",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".pdf": "pdf", ".docx": "word", ".csv": "csv", ".tsv": "csv", ".tab": "csv",
}  # fmt: skip

MEDIA_NAMES = {
    "text/markdown": "Markdown",
    "text/plain": "text",
    "text/html": "HTML",
    "application/pdf": "PDF",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
    "text/csv": "CSV",
}
"""What people call the kinds that are read."""

# Text that is not written for readers, or not in a format of ours; the words follow "is".
_OTHER_TEXT = {
    ".json": "a JSON file", ".jsonl": "a JSON file", ".ndjson": "a JSON file", ".ipynb": "a notebook",
    ".xml": "an XML file", ".xsl": "an XML file", ".xsd": "an XML file", ".rss": "a feed", ".atom": "a feed",
    ".yaml": "a YAML file", ".yml": "a YAML file", ".toml": "a settings file", ".ini": "a settings file",
    ".cfg": "a settings file", ".conf": "a settings file", ".env": "a settings file", ".svg": "an SVG picture",
    ".css": "a style sheet", ".js": "a script", ".mjs": "a script", ".ts": "a script", ".php": "a script",
    ".py": "a script", ".sh": "a script", ".bat": "a script", ".rb": "a script", ".pl": "a script",
    ".c": "source code", ".h": "source code", ".cpp": "source code", ".java": "source code",
    ".go": "source code", ".rs": "source code", ".sql": "an SQL file", ".eml": "an e-mail", ".mbox": "a mailbox",
    ".vcf": "a contact card", ".ics": "a calendar", ".tex": "a LaTeX file", ".bib": "a BibTeX file",
    ".rst": "a reStructuredText file", ".org": "an Org file", ".adoc": "an AsciiDoc file", ".map": "a source map",
}  # fmt: skip

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"BM", "a bitmap picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"8BPS", "a Photoshop picture"),
    (b"%!PS", "a PostScript file"),
    (b"{\\rtf", "an RTF file; save it as .docx or PDF"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"BZh", "a compressed file (bzip2)"),
    (b"\xfd7zXZ\x00", "a compressed file (xz)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"ID3", "a sound file"),
    (b"OggS", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
    (b"\x00\x01\x00\x00", "a font"),
)
_SHORTEST_SURE_MAGIC = 3

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_NAMES = (
    ("EncryptedPackage", "is protected by a password; save it without one."),
    ("WordDocument", "is an old Word file (.doc); save it as .docx."),
    ("Workbook", f"is an old Excel file (.xls); {READS}."),
    ("PowerPoint Document", f"is an old PowerPoint file (.ppt); {READS}."),
    ("VisioDocument", f"is a Visio file; {READS}."),
    ("__substg1.0", f"is an Outlook message; {READS}."),
)
_HTML = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(r"\s*<\?xml|\s*<(?:svg|rss|feed|urlset)\b", re.I)
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|\S[^\n]*\n(?:={3,}|-{3,})\s*$|```|---\n\w+:)", re.M)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.05
_HEAD = 4096


def sniff(data: bytes, name: str) -> Format:
    """Return the format in which a file is to be read.

    Raises:
        InputError: It is of a kind that is not read, or not what its name says.
    """
    if not data.strip():
        raise InputError("is empty.")
    suffix = PurePosixPath(name).suffix.lower()
    if _is_pdf(data, suffix):
        return "pdf"
    if data.startswith(_ZIP_STARTS):
        return _sniff_zip(data)
    if data.startswith(_OLE_START):
        raise InputError(_describe_ole(data))
    _refuse_binary(data, suffix)
    head = _decode_head(data)
    if _HTML.match(head) or (suffix in {".html", ".htm", ".xhtml"} and "<" in head):
        return "html"
    return _sniff_text(head, suffix)


def _is_pdf(data: bytes, suffix: str) -> bool:
    at = data[:1024].find(b"%PDF-")
    return at >= 0 and (suffix == ".pdf" or not data[:at].strip(b"\xef\xbb\xbf \r\n\t\x00"))


def _sniff_text(head: str, suffix: str) -> Format:
    if suffix in {".pdf", ".docx", ".doc", ".xlsx", ".xls", ".pptx", ".png", ".jpg", ".jpeg", ".gif", ".zip"}:
        raise InputError(f"is named {suffix} but holds plain text; it may be damaged, or name it .txt.")
    if suffix in _OTHER_TEXT:
        raise InputError(f"is {_OTHER_TEXT[suffix]}; {READS}.")
    if _XML.match(head) and suffix not in SUFFIXES:
        raise InputError(f"is an XML file; {READS}.")
    if suffix in SUFFIXES:
        found = SUFFIXES[suffix]
        return "text" if found == "html" else found
    return "markdown" if not suffix and _MARKDOWN.search(head) else "text"


def _sniff_zip(data: bytes) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError) as exc:
        raise InputError("is a damaged ZIP archive or Office file.") from exc
    if "word/document.xml" in names or (
        "[Content_Types].xml" in names and any(name.startswith("word/") for name in names)
    ):
        return "word"
    what = "a ZIP archive; unpack it first"
    for start, described in (("xl/", "an Excel file"), ("ppt/", "a PowerPoint file"), ("visio/", "a Visio file")):
        if any(name.startswith(start) for name in names):
            what = described
    if b"epub" in kind:
        what = "an EPUB book"
    elif b"opendocument" in kind:
        what = "an OpenDocument file"
    raise InputError(f"is {what}; {READS}.")


def _describe_ole(data: bytes) -> str:
    for name, sentence in _OLE_NAMES:
        if name.encode("utf-16-le") in data:
            return sentence
    return f"is an old Office file; {READS}."


def _refuse_binary(data: bytes, suffix: str) -> None:
    for magic, what in _MAGIC:
        if data.startswith(magic) and (len(magic) >= _SHORTEST_SURE_MAGIC or _has_controls(data)):
            raise InputError(f"is {what}{'.' if ';' in what else f'; {READS}.'}")
    if data[:4] == b"RIFF" or data[4:8] == b"ftyp":
        raise InputError(f"is a picture, sound or video file; {READS}.")
    if _has_controls(data):
        raise InputError(f"is a binary file; {READS}." if suffix != ".pdf" else "is not a PDF; it may be damaged.")


def _has_controls(data: bytes) -> bool:
    """Tell whether a text file could not hold these bytes."""
    try:
        head = _decode_head(data)
    except InputError:
        return data.count(b"\0", 0, _HEAD) > 0
    controls = len(_CONTROLS.findall(head))
    return ("\0" in head and controls > 1) or controls > _MOST_CONTROLS * len(head)


def _decode_head(data: bytes) -> str:
    # Cut at the last ASCII byte, so that a letter of several bytes is not cut in two.
    head = data[:_HEAD]
    if len(data) > _HEAD:
        cut = next((at for at in range(len(head), len(head) - 8, -1) if head[at - 1] < 128), len(head))
        head = head[: cut - cut % 4]
    return decode(head, is_markup=True)
