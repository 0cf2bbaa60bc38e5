"""Reads a Keras configuration as text and lists every class and function that it names."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.scans import Danger, Finding
from modelworks.ext.importers.keras.lists import UNKNOWN, Verdict, judge_object, judge_operation
from modelworks.ext.importers.reasons import reason

_DEEP, _MANY, _LONG = 100, 2_000_000, 64 << 20
# Values that Keras writes as objects; what they hold is plain.
_VALUES = {
    "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__tuple__", "__slice__",
    "__keras_tensor__", "TensorShape", "TypeSpec", "CompositeTensor",
}  # fmt: skip
_CODE = Verdict(Danger.UNKNOWN, "", "holds Python code")
_FILE = Verdict(Danger.DANGEROUS, "dangerous", "reads a file that the configuration names")
_TENSORFLOW = {"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"}


class Named(NamedTuple):
    """One name in a configuration, and where it stands."""

    finding: Finding
    path: str


class _Place(NamedTuple):
    value: Any
    path: str
    depth: int


def parse(text: str | bytes, where: str) -> dict[str, Any]:
    """A configuration's JSON; a key that stands twice is refused: readers disagree over it.

    Raises:
        InvalidError: no JSON object.
        RefusedError: too long, too deep, or a key twice.
    """
    if len(text) > _LONG:
        raise RefusedError(f"{where}: longer than {_LONG >> 20} MiB")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key, _ in pairs if sum(k == key for k, _ in pairs) > 1)
            raise RefusedError(f"{where}: the key '{shown(twice)}' stands twice in one object")
        return found

    try:
        data = json.loads(text, object_pairs_hook=once)
    except RefusedError:
        raise
    except RecursionError as error:
        raise RefusedError(f"{where}: nested too deeply") from error
    except ValueError as error:
        raise InvalidError(f"{where}: no JSON ({reason(error)})", field="file") from error
    if not isinstance(data, dict):
        raise InvalidError(f"{where}: no JSON object", field="file")
    return data


def names(config: Any, where: str) -> list[Named]:
    """Every class and function in a configuration, wherever it stands.

    Inside wrappers, initializers, regularizers, call arguments and the compile part too.

    Raises:
        RefusedError: nested more than 100 deep, or longer than any model.
    """
    found: list[Named] = []
    todo = [_Place(config, "", 0)]
    count = 0
    while todo:
        place = todo.pop()
        count += 1
        if place.depth > _DEEP or count > _MANY:
            what = "nested too deeply" if place.depth > _DEEP else "more values than any model has"
            raise RefusedError(f"{where}: {what}", field="file")
        if isinstance(place.value, dict):
            path = _path(place)
            found += [Named(finding, path) for finding in _object(place.value)]
            inner = list(place.value.values())
        elif isinstance(place.value, list):
            path, inner = place.path, place.value
        else:
            continue
        todo += [_Place(value, path, place.depth + 1) for value in reversed(inner)]
    return found


def shown(name: str) -> str:
    """A name of the file's choosing, fit for one line."""
    return "".join(c if c.isprintable() else "?" for c in str(name)[:120])


def _path(place: _Place) -> str:
    """Names of the models and layers down to here: `net/block/double`."""
    if "class_name" not in place.value:
        return place.path
    config = place.value.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    if not isinstance(name, str):
        return place.path
    return f"{place.path}/{shown(name)}".lstrip("/")[-200:]


def _object(value: dict[str, Any]) -> Iterator[Finding]:
    """What one JSON object names, where it stands for a Python object."""
    vocabulary = value.get("vocabulary")
    if isinstance(vocabulary, str):
        yield _FILE.finding(f"vocabulary '{shown(vocabulary)}'")
    if "class_name" not in value:
        return
    name, module = value["class_name"], value.get("module") or ""
    if not isinstance(name, str) or not isinstance(module, str):
        yield UNKNOWN.finding("a class name that is no text")
        return
    config = value.get("config")
    # Keras 2 writes its own optimizers so; nobody else's class is registered where we read.
    name = name.removeprefix("Custom>")
    if name in _VALUES:
        return
    if name == "__lambda__" or (name == "Lambda" and not _foreign(module)):
        yield _CODE.finding("Lambda")
    elif name == "function":
        module = module or "builtins"
        called = config if isinstance(config, str) else str((config or {}).get("name", "?"))
        yield judge_object(module, called).finding(f"{module}.{shown(called)}")
    else:
        full = ".".join(part for part in (shown(module), shown(name)) if part)
        yield judge_object(module, name).finding(full)
    yield from _registered(value.get("registered_name"), name)
    if isinstance(config, dict):
        yield from _inside(name, config)


def _foreign(module: str) -> bool:
    return bool(module) and module.partition(".")[0] not in {"keras", "tf_keras", "tensorflow"}


def _registered(registered: Any, name: str) -> Iterator[Finding]:
    """A registered name is looked up before the module is, so it counts for itself."""
    if not registered or registered == name:
        return
    if not isinstance(registered, str) or ">" in registered:
        yield UNKNOWN.finding(f"registered name {shown(registered)}")
        return
    if registered not in {"function", "__lambda__"}:
        yield judge_object("", registered).finding(f"registered name {shown(registered)}")


def _inside(name: str, config: dict[str, Any]) -> Iterator[Finding]:
    """Layers of Keras 2 around TensorFlow's own functions and operations."""
    if name in _TENSORFLOW:
        for key in ("function", "method_name", "attr_name"):
            symbol = config.get(key)
            if isinstance(symbol, str):
                yield judge_object("tensorflow", symbol).finding(f"tensorflow.{shown(symbol)}")
    if name == "TensorFlowOpLayer":
        text = config.get("node_def")
        try:
            operation = str(json.loads(text)["op"]) if isinstance(text, str) else str(text["op"])  # type: ignore[index]
        except (ValueError, KeyError, TypeError):
            operation = "?"
        yield judge_operation(operation).finding(f"operation {shown(operation)}")
