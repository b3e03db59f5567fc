"""The header of a GGUF model file, read with every number checked before it is used.

llama.cpp had a heap overflow in this parser once a year, so no file reaches it before it made sense here.
Nothing of what is read is executed; the chat template is only text.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_FIELDS = 10_000
MAX_TENSORS = 100_000
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 255
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
KEPT_TEXT_BYTES = 1 << 18
"""Longer texts (a template of megabytes) are stepped over and their beginning is kept."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

_TENSOR_TYPES = {  # number: (values in a block, bytes of a block)
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip


class NotGgufError(ValueError):
    """The file is no GGUF file that can be used; the message says why, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself; none of it is to be trusted."""

    version: int
    tensors: int
    fields: dict[str, Any] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The name of the kind of network, e.g. "llama"."""
        return self._text("general.architecture")

    @property
    def licence(self) -> str:
        """The licence that the file states, or ""."""
        return self._text("general.license")

    @property
    def context_tokens(self) -> int:
        """How many tokens the model was trained to read at once, 0 if the file does not say."""
        value = self.fields.get(f"{self.architecture}.context_length", 0)
        return value if isinstance(value, int) else 0

    @property
    def parts(self) -> int:
        """How many files the model is split into."""
        value = self.fields.get("split.count", 1)
        return value if isinstance(value, int) else 1

    def _text(self, key: str) -> str:
        value = self.fields.get(key, "")
        return value if isinstance(value, str) else ""


def read_header(file: BinaryIO, size: int) -> Header:
    """Return the header of *file*, which is *size* bytes long.

    Raises:
        NotGgufError: The file is something else, cut short, or does not make sense.
    """
    reader = _Reader(file, size)
    if reader.take(4) != b"GGUF":
        raise NotGgufError("it does not begin with GGUF")
    version = reader.number("I")
    if version not in {2, 3}:
        raise NotGgufError(f"its format version is {version}, and only 2 and 3 are known")
    tensors, fields = reader.number("Q"), reader.number("Q")
    if not 0 < tensors <= MAX_TENSORS or not 0 < fields <= MAX_FIELDS:
        raise NotGgufError(f"it claims {tensors} tensors and {fields} fields")
    values: dict[str, Any] = {}
    for _ in range(fields):
        key = reader.text(MAX_KEY_BYTES)
        values[key] = reader.value(reader.number("I"))
    header = Header(version, tensors, values)
    if not header.architecture:
        raise NotGgufError("it does not name an architecture")
    _check_tensors(reader, header)
    return header


def _check_tensors(reader: "_Reader", header: Header) -> None:
    """Refuse tensors without values, with more than fit in the file, or beyond its end."""
    alignment = header.fields.get("general.alignment", 32)
    is_power = isinstance(alignment, int) and alignment > 0 and alignment & (alignment - 1) == 0
    if not is_power or not 8 <= alignment <= MAX_ALIGNMENT:
        raise NotGgufError(f"its alignment is {str(alignment)[:40]}")
    end = 0
    for _ in range(header.tensors):
        name = reader.text(MAX_NAME_BYTES)
        values = 1
        count = reader.number("I")
        if not 0 < count <= MAX_DIMENSIONS:
            raise NotGgufError(f"the tensor {name!r} has {count} dimensions")
        for _ in range(count):
            length = reader.number("Q")
            values *= length
            if not 0 < values < 1 << 48:
                raise NotGgufError(f"the tensor {name!r} has a dimension of {length}")
        kind, offset = reader.number("I"), reader.number("Q")
        if offset % alignment:
            raise NotGgufError(f"the tensor {name!r} begins at an odd place")
        block, size = _TENSOR_TYPES.get(kind, (256, 0))
        end = max(end, offset + values * size // block)
    begin = -(-reader.position // alignment) * alignment
    if begin + end > reader.size:
        raise NotGgufError(f"it is cut short: {begin + end} bytes are described, and it has {reader.size}")


class _Reader:
    """Reads numbers and texts, never beyond the end and never more than a length that was checked."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > self.size - self.position:
            raise NotGgufError("it is cut short, or claims more than it has")
        data = self._file.read(count)
        if len(data) != count:
            raise NotGgufError("it is cut short")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        if count > self.size - self.position:
            raise NotGgufError("it is cut short, or claims more than it has")
        self._file.seek(count, 1)
        self.position += count

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self, limit: int | None = None) -> str:
        length = self.number("Q")
        if limit is not None and length > limit:
            raise NotGgufError(f"it has a name of {length} bytes")
        kept = self.take(min(length, KEPT_TEXT_BYTES))
        self.skip(length - len(kept))
        return kept.decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._step_over_array()
        if kind not in _SCALARS:
            raise NotGgufError(f"it has a field of the unknown type {kind}")
        return self.number(_SCALARS[kind])

    def _step_over_array(self) -> None:
        """Arrays (the vocabulary) are only checked: nothing here needs them."""
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            if count > self.size // 8:
                raise NotGgufError(f"it claims a list of {count} texts")
            for _ in range(count):
                self.skip(self.number("Q"))
        elif kind in _SCALARS:
            self.skip(count * struct.calcsize("<" + _SCALARS[kind]))
        else:
            raise NotGgufError(f"it has a list of the type {kind}")
