"""llama.cpp's functions as they are used here: errors as exceptions, texts as Python's.

Loaded in the model's own process only: a GGUF file is a stranger's, and llama.cpp reads it in C.
"""

import ctypes
from pathlib import Path
from typing import Any, Final

from llama_cpp import llama_cpp as api

from modelworks.core.errors import InvalidError, UnsupportedError

_REASON: Final = 240
_ERROR: Final = 4  # GGML_LOG_LEVEL_ERROR
_CONT: Final = 5  # GGML_LOG_LEVEL_CONT
_TEXT: Final = 256
_YES, _NO = True, False  # C functions take them by place
_said: list[str] = []


def _hear(level: int, text: bytes, _data: Any) -> None:
    if level == _ERROR or (level == _CONT and _said):
        _said.append(text.decode("utf-8", "replace"))
        del _said[:-8]


_HEARS: Final = api.llama_log_callback(_hear)  # it must live as long as the library
api.llama_log_set(_HEARS, ctypes.c_void_p(0))
api.llama_backend_init()


def why() -> str:
    """What llama.cpp said last of what went wrong; empty = nothing."""
    found = " ".join("".join(_said).split())[:_REASON]
    _said.clear()
    return found


def load(file: Path, *, check: bool, vocabulary: bool = False) -> Any:
    """A model's handle.

    Args:
        file: GGUF.
        check: every tensor is looked at: numbers that are none, sizes that cannot be.
        vocabulary: its texts and facts alone.

    Raises:
        InvalidError: it does not load.
        UnsupportedError: it is no decoder of text, or in several files.
    """
    wanted = api.llama_model_default_params()
    wanted.n_gpu_layers = 0
    wanted.check_tensors = check
    wanted.vocab_only = vocabulary
    why()
    model = api.llama_model_load_from_file(str(file).encode(), wanted)
    if not model:
        said = why().replace(str(file), file.name).replace(str(file.parent), "")
        raise InvalidError(f"llama.cpp cannot load {file.name}: {said}", field="file")
    kind = told(model, "general.architecture")
    if not vocabulary and (
        api.llama_model_has_encoder(model)
        or not api.llama_model_has_decoder(model)
        or api.llama_model_is_diffusion(model)
    ):
        raise UnsupportedError(f"{file.name}: '{kind}' is no decoder of text", field="file")
    if api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)) < 1:
        raise UnsupportedError(f"{file.name}: '{kind}' has no vocabulary", field="file")
    return model


def told(model: Any, key: str) -> str:
    """What the file says of a key; empty = nothing."""
    room = ctypes.create_string_buffer(_TEXT)
    size = api.llama_model_meta_val_str(model, key.encode(), room, _TEXT)
    return room.value.decode("utf-8", "replace") if size >= 0 else ""


def adapter(model: Any, name: str, file: Path) -> Any:
    """An adapter's handle.

    Raises:
        InvalidError: it does not load, or is no adapter of this model.
    """
    why()
    found = api.llama_adapter_lora_init(model, str(file).encode())
    if not found:
        said = why().replace(str(file), file.name)
        raise InvalidError(f"llama.cpp cannot load the adapter '{name}': {said}", field="adapters")
    return found


class Vocabulary:
    """A model's tokens.

    Args:
        model: its handle.

    Attributes:
        begin: token that a text begins with; -1 = none.
        ends: tokens that end an answer.
        widest: bytes of its longest token.
        marks: texts of special tokens that templates name.
    """

    def __init__(self, model: Any) -> None:
        self._model = model  # its memory holds the vocabulary
        self._vocab = api.llama_model_get_vocab(model)
        count = api.llama_vocab_n_tokens(self._vocab)
        texts = [api.llama_vocab_get_text(self._vocab, token) or b"" for token in range(count)]
        self.widest = max(map(len, texts), default=1)
        self.ends = tuple(
            token for token in range(count) if api.llama_vocab_is_eog(self._vocab, token)
        )
        bos, eos = api.llama_vocab_bos(self._vocab), api.llama_vocab_eos(self._vocab)
        self.begin = bos
        self.marks = {
            name: texts[token].decode("utf-8", "replace") if 0 <= token < count else ""
            for name, token in (("bos_token", bos), ("eos_token", eos))
        }
        self._room = ctypes.create_string_buffer(self.widest * 4 + 16)

    def read(self, text: str) -> list[int]:
        """A text as tokens, special ones included.

        Raises:
            InvalidError: it cannot be read.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 16  # no token stands for less than a byte, and few are added
        found = (api.llama_token * room)()
        count = api.llama_tokenize(self._vocab, data, len(data), found, room, _YES, _YES)
        if count < 0:
            raise InvalidError("the prompt cannot be read as tokens", field="prompt")
        return list(found[:count])

    def spell(self, token: int) -> bytes:
        """A token's bytes; empty for special ones."""
        size = api.llama_token_to_piece(self._vocab, token, self._room, len(self._room), 0, _NO)
        return self._room.raw[:size] if size > 0 else b""
