"""Manifest files as checked documents: every problem of all of them at once, with its line."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from modelworks.protocol.manifest.deployment import Deployment
from modelworks.protocol.manifest.fields import API_VERSION, Part
from modelworks.protocol.manifest.overlay import Overlay, merge
from modelworks.protocol.manifest.problems import ManifestError, Path, Problem, spelt
from modelworks.protocol.manifest.route import Route
from modelworks.protocol.manifest.tree import Document, read

D = TypeVar("D", bound=Part)
Kinds: TypeAlias = Mapping[str, type[Part]]

KINDS: Final[Kinds] = {"Deployment": Deployment, "Route": Route}
"""What a manifest may hold beside overlays."""

_PART: Final = 3  # letters of a word that may be part of the one that was meant
_OWN: Final = "value_error"
_TYPES: Final = {
    "string_type": "is no text",
    "int_type": "is no whole number",
    "float_type": "is no number",
    "bool_type": "is neither true nor false",
    "list_type": "is no list",
    "dict_type": "is no mapping",
    "model_type": "is no mapping",
}
_KIND_OF: Final = {
    str: "a text",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """One document, checked.

    Attributes:
        document: what it says; of one of the kinds.
        source: where each of its values stands.
    """

    document: Any
    source: Document

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return self.document.kind, self.document.metadata.name


@dataclass(frozen=True, slots=True)
class Manifest:
    """All documents of some files, overlays put on.

    Attributes:
        documents: in the order of the files.
        environment: whose overlays are on; empty = none.
        environments: that have overlays.
    """

    documents: tuple[Loaded, ...]
    environment: str = ""
    environments: tuple[str, ...] = ()

    def of(self, kind: type[D]) -> tuple[D, ...]:
        """The documents of one kind."""
        return tuple(
            loaded.document for loaded in self.documents if isinstance(loaded.document, kind)
        )


def load(
    files: Sequence[tuple[str, bytes]], environment: str = "", kinds: Kinds = KINDS
) -> Manifest:
    """Read and check.

    Args:
        files: name and content of each.
        environment: whose overlays are put on; empty = no overlay is.
        kinds: that may stand there.

    Raises:
        ManifestError: all that is wrong.
    """
    problems: list[Problem] = []
    bases: dict[tuple[str, str], Document] = {}
    overlays: list[tuple[Overlay, Document]] = []
    for source in _sources(files, problems):
        kind = _kind(source, kinds, problems)
        if kind is Overlay:
            overlay = _checked(Overlay, source, problems)
            if overlay is not None:
                overlays.append((overlay, source))
        elif kind is not None:
            _keep(source, bases, problems)
    _put_on(overlays, bases, environment, problems)
    found = []
    for (name, _), source in bases.items():
        document = _checked(kinds[name], source, problems)
        if document is not None:
            found.append(Loaded(document, source))
    if not problems and not found:
        where = ", ".join(name for name, _ in files) or "nothing"
        raise ManifestError([Problem(_nowhere(files), "", f"no document in {where}")])
    manifest = Manifest(
        tuple(found), environment, tuple(sorted({o.spec.environment for o, _ in overlays}))
    )
    if not problems:
        problems += _dangling(manifest)
    if problems:
        raise ManifestError(problems)
    return manifest


def _nowhere(files: Sequence[tuple[str, bytes]]) -> Any:
    from_file = files[0][0] if files else "-"
    return read(b"a: 1", from_file)[0].start


def _sources(files: Sequence[tuple[str, bytes]], problems: list[Problem]) -> Iterator[Document]:
    for name, text in files:
        try:
            yield from read(text, name)
        except ManifestError as error:
            problems += error.problems


def _kind(source: Document, kinds: Kinds, problems: list[Problem]) -> type[Part] | None:
    values = source.values
    if not isinstance(values, dict):
        problems.append(Problem(source.start, "", f"{_name_of(values)}, not a document"))
        return None
    known: dict[str, type[Part]] = {**kinds, "Overlay": Overlay}
    name = values.get("kind")
    if isinstance(name, str) and name in known:
        return known[name]
    if name is None:
        words = f"no kind: one of {', '.join(known)} is wanted"
    else:
        words = f"'{name}' is no kind{nearest(str(name), known)}"
    problems.append(Problem(source.mark(("kind",)), "kind", words))
    return None


def _keep(
    source: Document, bases: dict[tuple[str, str], Document], problems: list[Problem]
) -> None:
    metadata = source.values.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    key = source.values["kind"], str(name)
    if name is not None and key in bases:
        first = bases[key].mark(("metadata", "name"))
        message = f"there is a {key[0]} '{name}' already: {first}"
        problems.append(Problem(source.mark(("metadata", "name")), "metadata.name", message))
    else:
        bases[key if name is not None else (key[0], f"\0{len(bases)}")] = source


def _put_on(
    overlays: Sequence[tuple[Overlay, Document]],
    bases: Mapping[tuple[str, str], Document],
    environment: str,
    problems: list[Problem],
) -> None:
    """Those of the environment; all others are checked for whose they are."""
    known = {overlay.spec.environment for overlay, _ in overlays}
    if environment and environment not in known:
        has = f"overlays are of {', '.join(sorted(known))}" if known else "there is no overlay"
        words = f"nothing is said of the environment '{environment}': {has}"
        start = next(iter(bases.values())).start if bases else None
        if start is not None:
            problems.append(Problem(start, "", words + nearest(environment, known)))
    for overlay, source in overlays:
        patched = overlay.spec.of
        base = bases.get((patched.kind, patched.name))
        if base is None:
            names = [name for kind, name in bases if kind == patched.kind]
            words = f"there is no {patched.kind} '{patched.name}'{nearest(patched.name, names)}"
            problems.append(Problem(source.mark(("spec", "of")), "spec.of", words))
        elif overlay.spec.environment == environment:
            merge(base, source)


def _checked(kind: type[D], source: Document, problems: list[Problem]) -> D | None:
    try:
        return kind.model_validate(source.values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems.extend(_problem(kind, source, one) for one in found)
    return None


def _problem(kind: type[Part], source: Document, error: Any) -> Problem:
    path = _path(error["loc"], source)
    code, value = error["type"], error["input"]
    if code == "extra_forbidden":
        known = _fields(kind, path[:-1])
        message = f"there is no such key{nearest(str(path[-1]), known)}"
    elif code == "missing":
        message = "is missing"
    elif code == _OWN:
        message = str(error["ctx"]["error"])
    elif code in _TYPES:
        message = f"{_name_of(value)} {_TYPES[code]}"
        if code == "string_type" and isinstance(value, int | float):
            message += ": put quotes around it"
    elif code == "literal_error" and path == ("apiVersion",):
        message = f"{_name_of(value)} is not known here: {API_VERSION}"
    else:
        words = error["msg"]
        message = f"{_name_of(value)}: {words[:1].lower()}{words[1:]}"
    return Problem(source.mark(path), spelt(path), message)


def _path(location: Sequence[str | int], source: Document) -> Path:
    """Without what pydantic adds for keys and members of unions: names that are no keys here."""
    path: list[str | int] = []
    value: Any = source.values
    for place, part in enumerate(location):
        last = place == len(location) - 1
        if isinstance(value, dict):
            if part not in value and not last:
                continue
            path.append(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
    if path and path[-1] == "[key]":
        path.pop()
    return tuple(path)


def _fields(kind: type[BaseModel], path: Path) -> list[str]:
    """Names of the keys that may stand at a path."""
    found: Any = kind
    for part in path:
        models = list(_models(found))
        if isinstance(part, int):
            continue
        fields = {key: field for model in models for key, field in _keys(model).items()}
        if part in fields:
            found = fields[part].annotation
    return [key for model in _models(found) for key in _keys(model)]


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """As they are written: `for` is no name in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The mappings that an annotation speaks of."""
    if get_origin(annotation) in {Union, types.UnionType, Annotated, list, tuple, dict}:
        for inner in get_args(annotation):
            yield from _models(inner)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _dangling(manifest: Manifest) -> Iterator[Problem]:
    """Names in routes that look misspelt: deployments may stand in other manifests."""
    names = [one.metadata.name for one in manifest.of(Deployment)]
    for loaded in manifest.documents:
        if not isinstance(loaded.document, Route) or not names:
            continue
        for place, backend in enumerate(loaded.document.spec.backends):
            near = difflib.get_close_matches(backend.deployment, names, 1, 0.75)
            if backend.deployment not in names and near:
                path: Path = ("spec", "backends", place, "deployment")
                words = f"no Deployment '{backend.deployment}' here: did you mean '{near[0]}'?"
                yield Problem(loaded.source.mark(path), spelt(path), words)


def nearest(word: str, known: Any) -> str:
    """What was meant most likely, or what there is: the end of a message."""
    names = list(known)
    simple = {name.replace("_", "").lower(): name for name in names}
    plain = word.replace("_", "").lower()
    near = difflib.get_close_matches(plain, simple, 1, 0.6) or [
        name for name in simple if len(plain) >= _PART and plain in name
    ]
    if near:
        return f": did you mean '{simple[near[0]]}'?"
    return f": known are {', '.join(sorted(names)[:20])}" if names else ""


def _name_of(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value[:60]}'"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value}"
    return _KIND_OF.get(type(value), type(value).__name__)
