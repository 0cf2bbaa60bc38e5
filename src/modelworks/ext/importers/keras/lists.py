"""What Keras configurations and TensorFlow graphs may name: the lists of data in `lists/`."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from modelworks.core.scans import Danger, Finding
from modelworks.ext.importers.pickles.allow import danger_of

_LISTS = Path(__file__).with_name("lists")
_LEGACY = ""  # files of Keras 2 in HDF5 name no module


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the lists say of a name.

    Attributes:
        danger: clean, unknown or dangerous.
        listed: `keras`, `tensorflow`, `dangerous` or "".
        reason: of the entry.
    """

    danger: Danger
    listed: str = ""
    reason: str = ""

    def finding(self, name: str) -> Finding:
        """As evidence."""
        return Finding(name, self.danger, self.listed, self.reason)


@dataclass(frozen=True, slots=True)
class Savers:
    """Operations that save and restore: legal where nothing that runs leads to them.

    Attributes:
        reading: restore.
        writing: write or remove files.
        assets: read a file, legal for the model's own.
    """

    reading: frozenset[str]
    writing: frozenset[str]
    assets: frozenset[str]


UNKNOWN = Verdict(Danger.UNKNOWN)


def judge_object(module: str, name: str) -> Verdict:
    """A class or function that a configuration names.

    Args:
        module: as written; "" where the file names none.
        name: of the class or function.
    """
    if (why := _allowed().get((module, name))) is not None:
        return Verdict(Danger.CLEAN, "keras", why)
    if why := _danger(module, name) or danger_of(module or "builtins", name):
        return Verdict(Danger.DANGEROUS, "dangerous", why)
    return UNKNOWN


def judge_operation(name: str) -> Verdict:
    """An operation of a TensorFlow graph."""
    if (why := _operations().get(name)) is not None:
        return Verdict(Danger.CLEAN, "tensorflow", why)
    for entry in _load("dangerous")["operation"]:
        if any(fnmatchcase(name, pattern) for pattern in entry["names"]):
            return Verdict(Danger.DANGEROUS, "dangerous", entry["reason"])
    return UNKNOWN


@cache
def savers() -> Savers:
    """The operations that depend on where they stand."""
    data = _load("dangerous")
    return Savers(
        frozenset(n for e in data["saver"] if not e["writes"] for n in e["names"]),
        frozenset(n for e in data["saver"] if e["writes"] for n in e["names"]),
        frozenset(n for e in data["asset"] for n in e["names"]),
    )


@cache
def reason_of(operation: str) -> str:
    """Why an operation of `savers` is dangerous where it is not legal."""
    data = _load("dangerous")
    entries = (*data["saver"], *data["asset"])
    return next((str(e["reason"]) for e in entries if operation in e["names"]), "")


@cache
def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((_LISTS / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _allowed() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for entry in _load("objects")["allow"]:
        for name in entry["names"]:
            if entry["kind"] != "TensorFlow function":
                found[_LEGACY, name] = entry["reason"]
            for module in entry["modules"]:
                found[module, name] = entry["reason"]
    return found


@cache
def _operations() -> dict[str, str]:
    return {
        name: entry["reason"] for entry in _load("operations")["allow"] for name in entry["names"]
    }


def _danger(module: str, name: str) -> str:
    """Why Keras's or TensorFlow's own name is dangerous; "" = the list does not know it."""
    full = ".".join(part for part in (_public(module), name) if part)
    for entry in _load("dangerous")["danger"]:
        root = f"{entry['module']}."
        if not full.startswith(root):
            continue
        rest = full.removeprefix(root)
        if "names" not in entry or any(fnmatchcase(rest, pattern) for pattern in entry["names"]):
            return str(entry["reason"])
    return ""


def _public(module: str) -> str:
    """A module by Keras's or TensorFlow's public name; "" is where Keras 2 looks for layers."""
    if not module:
        return "keras.layers"
    for other, ours in (("tf_keras", "keras"), ("tensorflow.keras", "keras"), ("tf", "tensorflow")):
        if module == other or module.startswith(f"{other}."):
            return ours + module.removeprefix(other)
    return module
