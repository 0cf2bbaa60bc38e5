"""What the folders of language models have in common: a tokenizer, a template, names of adapters.

They come from anywhere: everything is bounded, and nothing of it is run here.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec

SIGNATURE: Final = Signature(
    (TensorSpec("text_input", Datatype.BYTES, (None,)),),
    (TensorSpec("text_output", Datatype.BYTES, (None,)),),
)
"""Of every one: texts, and how each goes on."""
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TEMPLATE: Final = "chat_template.jinja"
ADAPTERS: Final = "adapters"
LONGEST_TEMPLATE: Final = 256 << 10
NAME: Final = 64
"""Characters of a name that a model gives."""
_LONGEST: Final = 4 << 20
_MOST_TOKENS: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before it is loaded.

    Attributes:
        context: tokens that a prompt and its answer may have together.
        ends: tokens that end an answer.
        begin: token that a text begins with; -1 = none.
        decoder: name of its file; empty = several.
        kind: of the model (`llama`).
        adapters: name -> file.
        template: how a conversation is written (Jinja); empty = the folder says nothing.
        marks: texts of special tokens that templates name: `bos_token`, `eos_token`.
        token_bytes: that the model keeps of one token (keys and values of every layer, as FP32).
    """

    context: int
    ends: tuple[int, ...]
    begin: int
    decoder: str
    kind: str
    adapters: dict[str, Path]
    template: str
    marks: dict[str, str]
    token_bytes: int


def tokens_of(value: Any, file: str, field: str) -> tuple[int, ...]:
    """One token, or several, that a configuration names.

    Raises:
        InvalidError: it names none.
    """
    listed = value if isinstance(value, list) else [value]
    found = tuple(each for each in listed if type(each) is int and 0 <= each < _MOST_TOKENS)
    if not found or len(found) != len(listed):
        raise InvalidError(f"{file}: {field.rpartition('.')[2]} names no token", field=field)
    return found


def adapter(name: str) -> str:
    """The name of an adapter, as a caller will write it.

    Raises:
        InvalidError: it is none.
    """
    if not name or len(name) > NAME or not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidError(
            f"adapter '{name[:NAME]}': letters, digits, - and _ make a name", field=ADAPTERS
        )
    return name


def copied(path: Path, into: Path, name: str) -> None:
    """Copy one file of a folder.

    Raises:
        InvalidError: it is a link to elsewhere.
    """
    file = path / name
    if file.resolve().parent != file.parent.resolve():
        raise InvalidError(f"{name} is a link to elsewhere: copy the file", field="file")
    shutil.copyfile(file, into / name)


def template_of(folder: Path, said: dict[str, Any]) -> str:
    """How a conversation is written: a file of its own, or a field of the tokenizer's settings.

    Raises:
        InvalidError: it is too long, or no UTF-8.
    """
    file = folder / TEMPLATE
    text = ""
    if file.is_file():
        if file.stat().st_size > LONGEST_TEMPLATE:
            raise InvalidError(f"{TEMPLATE} is longer than {LONGEST_TEMPLATE} bytes", field="file")
        try:
            text = file.read_text()
        except UnicodeError as error:
            raise InvalidError(f"{TEMPLATE} is no UTF-8", field="file") from error
    elif isinstance(said.get("chat_template"), str):
        text = said["chat_template"]
    if len(text) > LONGEST_TEMPLATE:
        raise InvalidError("the chat template is too long", field="chat_template")
    return text


def mark_of(value: Any) -> str:
    """The text of a special token; empty = it has none."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def count_of(data: dict[str, Any], key: str, file: str) -> int:
    """A count of a configuration.

    Raises:
        InvalidError: it is none.
    """
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
        raise InvalidError(f"{file}: {key} is no count", field=key)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key stands twice: the library would obey the one that we do not see."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def json_of(file: Path, *, wanted: bool = True) -> dict[str, Any]:
    """The object in a file; empty where it is not there and not wanted.

    Raises:
        InvalidError: it is missing, too long, or no JSON object.
    """
    if not file.is_file():
        if wanted:
            raise InvalidError(f"no {file.name} in the folder", field="path")
        return {}
    if file.stat().st_size > _LONGEST:
        raise InvalidError(f"{file.name} is longer than {_LONGEST} bytes", field="file")
    try:
        data = json.loads(file.read_bytes(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidError(
            f"{file.name} is no JSON, or has a key twice in an object", field="file"
        ) from error
    if not isinstance(data, dict):
        raise InvalidError(f"{file.name} is no JSON object", field="file")
    return data
