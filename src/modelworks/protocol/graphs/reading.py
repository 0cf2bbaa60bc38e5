"""A graph's file as a graph: what stands there in the wrong way is refused with its place."""

import difflib
import re
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Final

import orjson

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.graphs import (
    FILE,
    MOST_STEPS,
    Branch,
    Graph,
    Input,
    ModelStep,
    Named,
    OperationStep,
    Ref,
    SplitStep,
    Step,
    SwitchStep,
    When,
    every,
)
from modelworks.core.reference import model_name, parse_ref
from modelworks.core.tensor import Datatype
from modelworks.protocol.graphs.operations import NAMES as OPERATIONS

KIND: Final = "Graph"
API_VERSION: Final = "modelworks/v1"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TENSOR: Final = re.compile(r"[^\s.$]{1,128}(?:\.[^\s.$]{1,128})*")
_TEST: Final = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*")
_DEEPEST: Final = 8
_LARGEST: Final = 1 << 20


def read_graph(path: Path) -> Graph:
    """The graph of an artifact.

    Args:
        path: its file, or the folder that holds `graph.json`.

    Raises:
        NotFoundError: there is none.
        InvalidError: it is no graph; `field` says where.
    """
    file = path / FILE if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"no graph at {file}", field="path") from error
    if len(text) > _LARGEST:
        raise InvalidError(f"{file} is larger than a graph may be (1 MiB)", field="path")
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"{file} is no JSON: {error}", field="path") from error
    return graph_of(values)


def graph_of(values: Any) -> Graph:
    """The graph that a document declares.

    Args:
        values: plain: of JSON, or of YAML.

    Raises:
        InvalidError: it declares none; `field` is the path to what is wrong.
    """
    document = _mapping(values, "", ("apiVersion", "kind", "metadata", "spec"))
    if document.get("kind") != KIND:
        raise _wrong(f"kind is '{document.get('kind')}', and '{KIND}' is wanted", "kind")
    if document.get("apiVersion") != API_VERSION:
        raise _wrong(f"'{document.get('apiVersion')}' is not known: {API_VERSION}", "apiVersion")
    metadata = _mapping(document.get("metadata"), "metadata", ("name", "description"))
    spec = _mapping(document.get("spec"), "spec", ("inputs", "steps", "outputs"))
    name = _text(metadata.get("name"), "metadata.name")
    try:
        model_name(name)
    except InvalidError as error:
        raise _wrong(error.message, "metadata.name") from error
    graph = Graph(
        name=name,
        inputs=tuple(_inputs(spec.get("inputs"), "spec.inputs")),
        steps=_steps(spec.get("steps"), "spec.steps", 0),
        outputs=_named(spec.get("outputs"), "spec.outputs"),
        description=_text(metadata.get("description", ""), "metadata.description", empty=True),
    )
    _once((put.name for put in graph.inputs), "input", "spec.inputs")
    steps = list(every(graph.steps))
    if len(steps) > MOST_STEPS:
        raise _wrong(f"{len(steps)} steps are more than {MOST_STEPS}", "spec.steps")
    _once((step.name for step in steps), "step", "spec.steps")
    if not graph.outputs:
        raise _wrong("a graph has at least one output", "spec.outputs")
    return graph


# -- inputs and references


def _inputs(values: Any, where: str) -> Iterable[Input]:
    for place, value in enumerate(_list(values, where)):
        here = f"{where}[{place}]"
        if isinstance(value, str):
            yield Input(_tensor_name(value, here))
            continue
        found = _mapping(value, here, ("name", "datatype", "shape"))
        datatype = None
        if "datatype" in found:
            text = _text(found["datatype"], f"{here}.datatype")
            try:
                datatype = Datatype(text)
            except ValueError as error:
                words = f"'{text[:40]}' is no datatype: {', '.join(Datatype)}"
                raise _wrong(words, f"{here}.datatype") from error
        shape = _shape(found["shape"], f"{here}.shape") if "shape" in found else None
        yield Input(_tensor_name(found.get("name"), f"{here}.name"), datatype, shape)


def _shape(values: Any, where: str) -> tuple[int | None, ...]:
    found: list[int | None] = []
    for place, value in enumerate(_list(values, where)):
        plain = value is None or (isinstance(value, int) and not isinstance(value, bool))
        if not plain or (value is not None and value < 0):
            raise _wrong("an axis is a number from 0, or null for any", f"{where}[{place}]")
        found.append(value)
    if not found or found[0] is not None:
        raise _wrong("the first axis is that of the rows: write null there", where)
    return tuple(found)


def ref_of(value: Any, where: str) -> Ref:
    """A reference.

    Raises:
        InvalidError: it is none.
    """
    text = _text(value, where)
    if text.startswith("$input."):
        return Ref("", _tensor_name(text.removeprefix("$input."), where))
    if text.startswith("steps."):
        step, _, name = text.removeprefix("steps.").partition(".")
        if _NAME.fullmatch(step) and (not name or _TENSOR.fullmatch(name)):
            return Ref(step, name)
    raise _wrong(f"'{text[:60]}' is no reference: write $input.NAME or steps.STEP.OUTPUT", where)


def _named(values: Any, where: str) -> Named:
    found = values if isinstance(values, dict) else None
    if found is None:
        raise _wrong("names with references are wanted here (name: $input.x)", where)
    return tuple(
        (_tensor_name(name, f"{where}.{name}"), ref_of(value, f"{where}.{name}"))
        for name, value in found.items()
    )


# -- steps


def _steps(values: Any, where: str, depth: int) -> tuple[Step, ...]:
    if depth > _DEEPEST:
        raise _wrong(f"branches lie deeper than {_DEEPEST} in each other", where)
    return tuple(
        _step(value, f"{where}[{place}]", depth) for place, value in enumerate(_list(values, where))
    )


def _step(value: Any, where: str, depth: int) -> Step:
    if not isinstance(value, dict):
        raise _wrong("a step is a mapping: name, and model, switch, split or an operation", where)
    name = _text(value.get("name"), f"{where}.name")
    if not _NAME.fullmatch(name):
        raise _wrong(
            f"'{name[:64]}' is no name of a step: letters, digits, _ and -, at most 64",
            f"{where}.name",
        )
    kinds = ("model", "switch", "split", *OPERATIONS)
    said = [key for key in value if key in kinds]
    if len(said) != 1:
        unknown = [str(key) for key in value if key not in {"name", "inputs", *kinds}]
        close = difflib.get_close_matches(unknown[0], kinds, 1) if unknown else []
        hint = f": did you mean '{close[0]}'?" if close else f": {', '.join(kinds)}"
        words = f"step '{name}' is to be one thing, and is {' and '.join(said) or 'none'}{hint}"
        raise _wrong(words, where)
    kind = said[0]
    if kind == "model":
        found = _mapping(value, where, ("name", "model", "inputs"))
        return _model(name, found["model"], found.get("inputs"), where)
    found = _mapping(value, where, ("name", kind))
    here = f"{where}.{kind}"
    if kind == "switch":
        return _switch(name, found[kind], here, depth, where)
    if kind == "split":
        return _split(name, found[kind], here, depth, where)
    settings = _mapping(found[kind], here, None)
    inputs, rest = _operands(kind, settings, here)
    return OperationStep(name, kind, inputs, rest, where)


def _model(name: str, model: Any, inputs: Any, where: str) -> ModelStep:
    text = _text(model, f"{where}.model")
    try:
        ref = parse_ref(text)
    except InvalidError as error:
        raise _wrong(f"step '{name}': {error.message}", f"{where}.model") from error
    version = str(ref.version) if ref.version is not None else ""
    return ModelStep(
        name, ref.name, version, ref.alias or "", _named(inputs, f"{where}.inputs"), where
    )


def _operands(kind: str, settings: Mapping[str, Any], where: str) -> tuple[Named, dict[str, Any]]:
    """What an operation is done to, and how: `of` is one reference, a list, or names with them."""
    if "of" not in settings:
        raise _wrong("'of' is missing: what the operation is done to", where)
    of, here = settings["of"], f"{where}.of"
    if isinstance(of, dict):
        inputs = _named(of, here)
    elif isinstance(of, list):
        inputs = tuple((str(at), ref_of(one, f"{here}[{at}]")) for at, one in enumerate(of))
    else:
        inputs = (("0", ref_of(of, here)),)
    if not inputs:
        raise _wrong("it needs at least one tensor", here)
    if isinstance(of, dict) != (kind == "rename"):
        raise _wrong(
            "new names with references are wanted" if kind == "rename" else "names mean nothing",
            here,
        )
    return inputs, {key: value for key, value in settings.items() if key != "of"}


# -- routers


def _switch(name: str, values: Any, here: str, depth: int, where: str) -> SwitchStep:
    found = _mapping(values, here, ("on", "cases", "default"))
    if "default" not in found:
        raise _wrong(f"step '{name}' says nothing of rows that no case takes: add a default", here)
    cases = []
    for place, value in enumerate(_list(found.get("cases"), f"{here}.cases")):
        at = f"{here}.cases[{place}]"
        case = _mapping(value, at, ("when", "model", "inputs", "steps", "outputs"))
        when = _when(case.get("when"), f"{at}.when")
        cases.append((when, _branch(f"{name}_{place}", case, at, depth)))
    if not cases:
        raise _wrong("a switch has at least one case", f"{here}.cases")
    default = _branch(f"{name}_default", found["default"], f"{here}.default", depth)
    return SwitchStep(name, ref_of(found.get("on"), f"{here}.on"), tuple(cases), default, where)


def _split(name: str, values: Any, here: str, depth: int, where: str) -> SplitStep:
    found = _mapping(values, here, ("key", "salt", "branches"))
    weights, branches = [], []
    for place, value in enumerate(_list(found.get("branches"), f"{here}.branches")):
        at = f"{here}.branches[{place}]"
        branch = _mapping(value, at, ("weight", "model", "inputs", "steps", "outputs"))
        weight = branch.get("weight")
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 < float(weight or 0) < float("inf"):
            raise _wrong("a weight is a number above 0", f"{at}.weight")
        weights.append(float(weight or 0))
        branches.append(_branch(f"{name}_{place}", branch, at, depth))
    if len(branches) < 2:
        raise _wrong("a split has at least two branches", f"{here}.branches")
    key = ref_of(found["key"], f"{here}.key") if "key" in found else None
    salt = _text(found.get("salt", name), f"{here}.salt")
    if "\0" in salt:
        raise _wrong("a salt has no zero byte", f"{here}.salt")
    return SplitStep(name, key, salt, tuple(weights), tuple(branches), where)


def _branch(name: str, value: Any, where: str, depth: int) -> Branch:
    """A branch; one that names a model is that one step, and gives what `outputs` says."""
    found = _mapping(value, where, ("when", "weight", "model", "inputs", "steps", "outputs"))
    if "model" in found:
        if "steps" in found:
            raise _wrong("a branch is a model, or steps: not both", where)
        step = _model(name, found["model"], found.get("inputs"), where)
        given = _of_model(found.get("outputs"), f"{where}.outputs")
        return Branch((step,), tuple((new, Ref(name, old)) for new, old in given), where)
    if "inputs" in found:
        raise _wrong("inputs go with a model", f"{where}.inputs")
    steps = _steps(found.get("steps", []), f"{where}.steps", depth + 1)
    outputs = _named(found.get("outputs"), f"{where}.outputs")
    if not outputs:
        raise _wrong("a branch gives at least one output", f"{where}.outputs")
    return Branch(steps, outputs, where)


def _of_model(value: Any, where: str) -> list[tuple[str, str]]:
    """What a branch gives of its one model's outputs, and the model's name for each."""
    if isinstance(value, list):
        value = {_text(one, f"{where}[{at}]"): one for at, one in enumerate(value)}
    if not isinstance(value, dict) or not value:
        words = "name the model's outputs that the branch gives: outputs: [label] or {new: label}"
        raise _wrong(words, where)
    return [
        (_tensor_name(new, f"{where}.{new}"), _tensor_name(old, f"{where}.{new}"))
        for new, old in value.items()
    ]


def _when(value: Any, where: str) -> When:
    """`"< 0.8"`, `"== cat"`; a plain value is that value, a list one of them."""
    if isinstance(value, list):
        if not value or not all(_scalar(one) for one in value):
            raise _wrong("a list of numbers, texts or truth values is wanted", where)
        return When("in", tuple(value))
    if isinstance(value, str) and (found := _TEST.fullmatch(value)):
        return When(found[1], _literal(found[2]))
    if _scalar(value):
        return When("==", value)
    raise _wrong('a test is wanted: "< 0.8", a value, or a list of values', where)


def _literal(text: str) -> Any:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if quoted:
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _scalar(value: Any) -> bool:
    """NaN equals nothing, and JSON, which a graph is kept as, has no endless numbers."""
    return isinstance(value, str | int | float) and not (
        isinstance(value, float) and not isfinite(value)
    )


# -- what every part is made of


def _mapping(value: Any, where: str, known: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("is missing" if value is None else "a mapping is wanted", where)
    for key in value:
        if not isinstance(key, str):
            raise _wrong(f"{key!r} is no name", where)
        if known is not None and key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
            raise _wrong(f"there is no key '{key[:60]}': {hint}", f"{where}.{key}".lstrip("."))
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong("is missing" if value is None else "a list is wanted", where)
    return value


def _text(value: Any, where: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise _wrong("is missing" if value is None else "a text is wanted", where)
    return value


def _tensor_name(value: Any, where: str) -> str:
    text = _text(value, where)
    if not _TENSOR.fullmatch(text):
        raise _wrong(f"'{text[:60]}' is no name of a tensor", where)
    return text


def _once(names: Iterable[str], what: str, where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _wrong(f"{what} '{name}' is there twice", where)
        seen.add(name)


def _wrong(words: str, where: str) -> InvalidError:
    return InvalidError(f"{where}: {words}" if where else words, field=where or None)
