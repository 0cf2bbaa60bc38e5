"""YAML as plain values with the place of each: what an error points at.

Scalars are those of YAML 1.2's core schema (yaml.org/spec/1.2.2, 10.3.2): `no` and `on` are words,
`12:30` is a text and `010` is ten. Of anything hostile nothing is built: tags of other languages
are refused, and an alias counts as often as it is used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from modelworks.protocol.manifest.problems import ManifestError, Mark, Path, Problem, spelt

LARGEST: Final = 1 << 20
"""Bytes of one file."""
MOST: Final = 50_000
"""Values of one file, those behind aliases as often as they are used."""
DEEPEST: Final = 40

_CORE: Final = "tag:yaml.org,2002:"
_STR, _MAP, _SEQ = (_CORE + name for name in ("str", "map", "seq"))
_NULL, _BOOL, _INT, _FLOAT = (_CORE + name for name in ("null", "bool", "int", "float"))
_WORDS: Final = {"true": True, "false": False}

Values: TypeAlias = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Composes nodes, and knows the scalars of YAML 1.2 only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's name


for _tag, _pattern, _first in (
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        _FLOAT,
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))


@dataclass(slots=True)
class Document:
    """One document of a file.

    Attributes:
        values: plain: dicts, lists, texts, numbers, truth values, None.
        marks: path of a value -> where its key stands, or where it does.
        start: of the document.
    """

    values: Any
    start: Mark
    marks: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """Where a value stands, or the nearest that is there and holds its place."""
        for length in range(len(path), 0, -1):
            found = self.marks.get(path[:length])
            if found is not None:
                return found
        return self.start


def read(text: bytes, file: str) -> list[Document]:
    """The documents of one file; empty ones are left out.

    Args:
        text: of the file.
        file: its name, for messages.

    Raises:
        ManifestError: no YAML, or more of it than a manifest can be.
    """
    if len(text) > LARGEST:
        message = f"{len(text):,} bytes: a manifest has {LARGEST:,} at most"
        raise ManifestError([Problem(Mark(file, 1, 1), "", message)])
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        message = "no UTF-8: save the file as UTF-8"
        raise ManifestError([Problem(Mark(file, line, 1), "", message)]) from None
    return list(_documents(decoded, file))


def _documents(text: str, file: str) -> Iterator[Document]:
    builder = _Builder(file)
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            document = Document(None, builder.mark(node))
            document.values = builder.build(node, (), document)
            if document.values is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(file, at.line + 1, at.column + 1) if at else Mark(file, 1, 1)
        words = " ".join(part for part in (error.context, error.problem) if part)
        raise ManifestError([Problem(mark, "", f"no YAML: {words}")]) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        message = f"no YAML: the character {error.character:#06x} is not allowed"
        raise ManifestError([Problem(Mark(file, line, 1), "", message)]) from None
    except RecursionError:
        message = f"nested deeper than {DEEPEST} levels"
        raise ManifestError([Problem(Mark(file, 1, 1), "", message)]) from None


class _Builder:
    """Nodes as values, counted."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._left = MOST

    def mark(self, node: Any) -> Mark:
        """Where a node begins."""
        return Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: Any, path: Path, into: Document) -> Any:
        """The value of a node; the marks of all within it."""
        self._left -= 1
        if self._left < 0:
            self._refuse(node, path, f"more than {MOST:,} values")
        if len(path) > DEEPEST:
            self._refuse(node, path, f"nested deeper than {DEEPEST} levels")
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path, into)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self._item(item, (*path, place), into) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._refuse(node, path, f"the tag {node.tag} is not allowed in a manifest")

    def _item(self, node: Any, path: Path, into: Document) -> Any:
        into.marks[path] = self.mark(node)
        return self.build(node, path, into)

    def _mapping(self, node: Any, path: Path, into: Document) -> Values:
        values: Values = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in {_STR, _INT, _BOOL}:
                self._refuse(key, path, "a key is a word")
            name = str(key.value)
            inner = (*path, name)
            if name in values:
                first = into.marks[inner].line
                self._refuse(key, inner, f"stands here twice: first on line {first}")
            into.marks[inner] = self.mark(key)
            values[name] = self.build(value, inner, into)
        return values

    def _scalar(self, node: Any, path: Path) -> Any:
        text: str = node.value
        if node.tag == _STR:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        try:
            if node.tag == _INT:
                return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
            if node.tag == _FLOAT:
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:  # `!!int x`, or thousands of digits
            pass
        return self._refuse(node, path, f"'{text[:40]}' is no value of the tag {node.tag}")

    def _refuse(self, node: Any, path: Path, message: str) -> Any:
        raise ManifestError([Problem(self.mark(node), spelt(path), message)])
