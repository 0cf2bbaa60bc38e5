"""Decides, name by name, what a pickle may bring to life: the one place that resolves them."""

import _compat_pickle
import importlib
import sys
from types import ModuleType
from typing import Any

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.ext.importers.pickles.allow import AllowList, Entry, danger_of


class Gate:
    """Resolves names by an allow-list.

    Args:
        file: its name, for messages.
        allowed: everything that it may name.
        trust: the owner vouches for the file: what no list knows is resolved as well, what is
            dangerous never.

    Attributes:
        asked: names that were resolved, in order.
    """

    def __init__(self, file: str, allowed: AllowList, *, trust: bool = False) -> None:
        self.file = file
        self.allowed = allowed
        self.trust = trust
        self.asked: dict[str, None] = {}
        self._names = allowed.names()

    def resolve(self, module: str, name: str) -> Any:
        """The object of a name in today's spelling (`modern`).

        Raises:
            RefusedError: it is not on the list, or it is dangerous.
            InvalidError: the installed libraries do not have it.
        """
        full = f"{module}.{name}"
        if "." not in name and full in self._names:
            found = self._import(module, name)
        elif "." not in name and (package := self.allowed.package_of(module)):
            found = self._import(module, name)
            if not _defined_in(found, package):
                found = self._unlisted(module, name)
        else:
            found = self._unlisted(module, name)
        self.asked[full] = None
        return found

    def refuse_dangerous(self, target: Any) -> None:
        """Refuse an object that is on the list of dangers, by whatever name it was reached.

        Raises:
            RefusedError: it is.
        """
        if isinstance(target, ModuleType):
            raise refusal(target.__name__, self.allowed, "a module, whose every attribute is open")
        for each in _faces(target):
            module, name = getattr(each, "__module__", None), _name(each)
            if isinstance(module, str) and name and (why := danger_of(module, name)):
                raise refusal(f"{module}.{name}", self.allowed, why)

    def _unlisted(self, module: str, name: str) -> Any:
        why = danger_of(module, name)
        if why or not self.trust:
            raise refusal(f"{module}.{name}", self.allowed, why)
        found: Any = None
        for step in name.split("."):
            found = self._import(module, step) if found is None else self._get(found, step)
            self.refuse_dangerous(found)
        return found

    def _import(self, module: str, name: str) -> Any:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError, TypeError) as error:
            raise self._absent(module, name) from error

    def _get(self, found: Any, step: str) -> Any:
        try:
            return getattr(found, step)
        except AttributeError as error:
            raise self._absent(_name(found), step) from error

    def _absent(self, module: str, name: str) -> InvalidError:
        root = module.partition(".")[0]
        if root == "__main__":
            return InvalidError(
                f"{self.file}: names {shown(name)}, which the script that wrote the file defined "
                "in itself; define it in a module that is installed, and save the model again",
                field="file",
            )
        version = getattr(sys.modules.get(root), "__version__", "")
        return InvalidError(
            f"{self.file}: names {shown(f'{module}.{name}')}, which the installed "
            f"{shown(root)} {version} does not have: install the version that wrote the file",
            field="file",
        )


def brings(module: str, name: str, allowed: AllowList) -> Entry | None:
    """The entry that permits a name; for an open package, only where it is one of its classes."""
    entry = allowed.entry_of(module, name)
    if entry is None or entry.kind:
        return entry
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError):
        return entry  # the loader says which version is missing
    return entry if _defined_in(found, allowed.package_of(module) or module) else None


def refusal(name: str, allowed: AllowList, danger: str = "") -> RefusedError:
    """The error for a name that may not be resolved.

    Args:
        name: `module.name`.
        allowed: the list that does not have it.
        danger: why it is dangerous; "" = it is unknown.
    """
    text = f"{shown(name)} is not on the allow-list of {allowed.family}: nothing was executed"
    if danger:
        text += f"; it is dangerous ({danger}), so --trust does not open it"
    else:
        text += "; if you know it and vouch for the file, --trust opens it in the sandbox"
    return RefusedError(text, field="file")


def modern(module: str, name: str, *, python2: bool) -> tuple[str, str]:
    """A written name in today's spelling.

    Args:
        module: as the file has it.
        name: the same.
        python2: protocols 0 to 2 write the names of Python 2.
    """
    if python2:
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        else:
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    if module == "numpy.core" or module.startswith("numpy.core."):
        module = module.replace("numpy.core", "numpy._core", 1)
    return module, name


def shown(name: str) -> str:
    """A name of the file's choosing, fit for one line."""
    return "".join(c if c.isprintable() else "?" for c in name[:120])


def _defined_in(found: Any, package: str) -> bool:
    """Whether `found` is a class, and one that the package itself defines."""
    home = getattr(found, "__module__", None)
    inside = isinstance(home, str) and (home == package or home.startswith(f"{package}."))
    return isinstance(found, type) and inside


def _faces(target: Any) -> tuple[Any, ...]:
    """What stands behind a callable: itself, a method's function, a partial's function."""
    found = [target]
    for attribute in ("__func__", "func", "__wrapped__"):
        behind = getattr(target, attribute, None)
        if callable(behind):
            found.append(behind)
    return tuple(found)


def _name(target: Any) -> str:
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None)
    return name if isinstance(name, str) else ""
