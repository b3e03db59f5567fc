"""The only module that knows llama_cpp: a model file, its vocabulary, and a context of several sequences.

It uses the thin layer of llama-cpp-python alone; its `Llama` class would compile every template in the file.
Loaded in the model process and nowhere else.
"""

import ctypes
import re
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from ruma.models.batching import BATCH, Entry

_ERROR, _CONTINUED = 4, 5
_REASON_CHARACTERS = 160
_KEY_VALUE_BYTES = 2 * 2


class LoadError(Exception):
    """The model file cannot be used; the message says why, in the words of llama.cpp."""


class _Log:
    """Keeps the first complaint of llama.cpp, the most precise one, and prints nothing."""

    def __init__(self) -> None:
        self.complaint = ""
        self._is_error = False
        self._callback = llama_cpp.llama_log_callback(self._take)
        llama_cpp.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes | None, _: Any) -> None:
        if level != _CONTINUED:
            self._is_error = level == _ERROR
        line = re.sub(r"[^\x20-\x7e]+", " ", (text or b"").decode("utf-8", "replace")).strip()
        if self._is_error and line and not self.complaint:
            self.complaint = re.sub(r"^\w+: ", "", line)[:_REASON_CHARACTERS]


class LlamaFile:
    """A model file in memory, with its vocabulary."""

    def __init__(self, descriptor: int) -> None:
        """Load the file that is open at *descriptor*.

        Raises:
            LoadError: llama.cpp cannot use it.
        """
        self.log = _Log()
        llama_cpp.llama_backend_init()
        libc = ctypes.CDLL(None)
        libc.fdopen.restype = ctypes.c_void_p
        file = libc.fdopen(descriptor, b"rb")
        self.pointer = llama_cpp.llama_model_load_from_file_ptr(file, llama_cpp.llama_model_default_params())
        if not self.pointer:
            raise LoadError(self.log.complaint or "llama.cpp cannot load it")
        if not llama_cpp.llama_model_has_decoder(self.pointer):
            raise LoadError("it does not write text")
        vocabulary = llama_cpp.llama_model_get_vocab(self.pointer)
        if not vocabulary or llama_cpp.llama_vocab_n_tokens(vocabulary) < 1:
            raise LoadError("it has no vocabulary")
        self._vocabulary = vocabulary
        self.tokens = llama_cpp.llama_vocab_n_tokens(vocabulary)

    @property
    def template(self) -> str:
        """The text of the file's own chat template, to look at and never to run."""
        found: Any = llama_cpp.llama_model_chat_template(self.pointer, None)
        return found.decode("utf-8", "replace") if found else ""

    @property
    def trained_tokens(self) -> int:
        """How many tokens the model was trained to read at once."""
        return int(llama_cpp.llama_model_n_ctx_train(self.pointer))

    @property
    def cell_bytes(self) -> int:
        """How much memory a context takes for each token that it holds."""
        heads = max(int(llama_cpp.llama_model_n_head(self.pointer)), 1)
        size = int(llama_cpp.llama_model_n_embd(self.pointer)) // heads
        shared = max(int(llama_cpp.llama_model_n_head_kv(self.pointer)), 1)
        return max(int(llama_cpp.llama_model_n_layer(self.pointer)) * shared * size * _KEY_VALUE_BYTES, 1)

    @property
    def first_token(self) -> int | None:
        """The token that every prompt must begin with, if there is one."""
        if not llama_cpp.llama_vocab_get_add_bos(self._vocabulary):
            return None
        return int(llama_cpp.llama_vocab_bos(self._vocabulary))

    def tokenize(self, text: str, *, has_markers: bool) -> list[int]:
        """Return the tokens of *text*; markers in it become control tokens only where *has_markers*."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        while True:
            buffer = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), buffer, room, False, has_markers)
            if count >= 0:
                return buffer[:count]
            room = -count

    def is_control(self, token: int) -> bool:
        """Tell whether the token means something to the model that is not text."""
        return bool(llama_cpp.llama_vocab_is_control(self._vocabulary, token)) or self.is_end(token)

    def is_declared(self, token: int) -> bool:
        """Tell whether the file declares the token as a marker of its own."""
        marks = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(llama_cpp.llama_vocab_get_attr(self._vocabulary, token) & marks)

    def is_end(self, token: int) -> bool:
        """Tell whether the token ends an answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, which may be a part of a character; nothing for a control token."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count


class LlamaContext:
    """The memory of several sequences of tokens that go through the model together."""

    def __init__(self, file: LlamaFile, *, cells: int, sequences: int, has_flash_attention: bool) -> None:
        """Reserve the memory.

        Raises:
            LoadError: There is not enough of it, or the model cannot be run.
        """
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = cells
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_seq_max = sequences
        # The default reserves room for an opinion on every token of a step: 100 MB and more.
        parameters.n_outputs_max = sequences
        # One memory for all: a long conversation may use what the others leave, and instructions that
        # conversations share lie in it once.
        parameters.kv_unified = True
        parameters.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if has_flash_attention else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        parameters.no_perf = True
        file.log.complaint = ""
        self._pointer = llama_cpp.llama_init_from_model(file.pointer, parameters)
        if not self._pointer:
            raise LoadError(file.log.complaint or "llama.cpp cannot run it")
        self.cells = int(llama_cpp.llama_n_ctx(self._pointer))
        self._tokens = file.tokens
        self._memory = llama_cpp.llama_get_memory(self._pointer)
        self._batch: Any = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def decode(self, entries: Sequence[Entry], threads: int) -> None:
        """Put tokens of any sequences through the model, at most `BATCH`.

        Raises:
            RuntimeError: llama.cpp failed; what the sequences hold is then unknown.
        """
        batch = self._batch
        for place, entry in enumerate(entries):
            batch.token[place] = entry.token
            batch.pos[place] = entry.position
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = entry.sequence
            batch.logits[place] = entry.has_logits
        batch.n_tokens = len(entries)
        llama_cpp.llama_set_n_threads(self._pointer, threads, threads)
        if status := llama_cpp.llama_decode(self._pointer, batch):
            raise RuntimeError(f"llama_decode returned {status}")

    def logits(self, place: int) -> NDArray[np.float32]:
        """Return the scores of all tokens as the next one after that place of the last step; may be changed."""
        pointer: Any = llama_cpp.llama_get_logits_ith(self._pointer, place)
        return np.ctypeslib.as_array(pointer, shape=(self._tokens,))

    def copy(self, source: int, target: int) -> None:
        """Let an empty sequence begin with all that another one holds."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int) -> None:
        """Empty a sequence."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def wipe(self) -> None:
        """Empty all sequences and overwrite what they held."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Give the memory back."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._pointer)
