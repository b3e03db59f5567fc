"""Bytes to text: what the file says first, then UTF-8, then the one legacy encoding that is safe to guess."""

import codecs
import re

from ruma.errors import InputError

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What web pages declare, as the web's encoding standard reads it. Only these: Python also has codecs that are
# no encodings of text.
ENCODINGS = {
    "ascii": "cp1252", "us-ascii": "cp1252", "latin1": "cp1252", "iso-8859-1": "cp1252", "windows-1252": "cp1252",
    "utf-8": "utf-8", "utf8": "utf-8", "utf-16": "utf-8", "utf-16le": "utf-8", "utf-16be": "utf-8",
    "iso-8859-9": "cp1254", "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932",
    "euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp", "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030",
    "big5": "big5hkscs", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "koi8-r": "koi8_r", "koi8-u": "koi8_u",
    "macintosh": "mac_roman", "tis-620": "cp874",
    **{f"windows-{page}": f"cp{page}" for page in (874, 1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258)},
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
}  # fmt: skip

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_:.-]{2,30})""", re.IGNORECASE)
_DECLARED_WITHIN = 2048
_MOST_FOREIGN = 0.25
_FEW = 20
_SAMPLE = 100_000
_LEGACY_BYTES = "ruma-legacy-bytes"


def decode(data: bytes, *, is_markup: bool = False) -> str:
    """Return the text of a file.

    Args:
        is_markup: Believe the encoding that an HTML file declares in its head.

    Raises:
        InputError: The encoding is not known; guessing would fill the index with garbled words.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if (wide := _wide_encoding(data)) is not None:
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    declared = _declared_encoding(data) if is_markup else ""
    if declared and declared != "utf-8":
        return data.decode(declared, "replace")
    return _decode_mixed(data) or _decode_legacy(data, is_declared=bool(declared))


def as_utf8(data: bytes, charset: str) -> bytes:
    """Return a text in UTF-8 that a web server says is in another encoding, which counts before what the text says.

    Left as it is where it begins with a mark, is UTF-8 already, or the encoding is none that the web knows.
    """
    encoding = ENCODINGS.get(charset.strip().lower(), "utf-8")
    if encoding == "utf-8" or data.startswith(tuple(mark for mark, _ in _MARKS)):
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace").encode()
    return data


def _declared_encoding(data: bytes) -> str:
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    return ENCODINGS.get(found[1].decode("ascii").lower(), "") if found else ""


def _wide_encoding(data: bytes) -> str | None:
    """Return UTF-16 for a file without a mark where every other byte is NUL, as Latin text in it is."""
    sample = data[: 2 * (min(len(data), 4096) // 2)]
    if len(sample) < 4 or 0 not in sample:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    most = 0.7 * len(sample) / 2
    if odd >= most and not even:
        return "utf-16-le"
    return "utf-16-be" if even >= most and not odd else None


def _decode_mixed(data: bytes) -> str:
    """Return UTF-8 with some bytes of another encoding in it, as pasted text leaves them; or nothing."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if sum(letter > "\x7f" for letter in text) - broken <= broken:
        return ""
    return data.decode("utf-8", _LEGACY_BYTES)


def _decode_legacy(data: bytes, *, is_declared: bool) -> str:
    # Western European files are by far the most common ones that are not UTF-8, and those of old cash
    # registers use bytes that Windows does not. Others, read so, look like a text of accented letters.
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("cp850")
    letters = [letter for letter in text[:_SAMPLE] if not letter.isspace()]
    foreign = sum(letter > "\x7f" for letter in letters)
    if foreign > max(_FEW, _MOST_FOREIGN * len(letters)) and not is_declared:
        raise InputError("is in an encoding that Ruma cannot tell; save it as UTF-8.")
    return text


def _decode_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_LEGACY_BYTES, _decode_bytes)
