"""Which names a pickle may bring to life: lists of data in `lists/`, with a reason for each entry.

`dangerous` is the other list: names that are refused even where the owner vouches for the file.
What stands on neither is unknown.
"""

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One permission.

    Attributes:
        names: `module.name` each, or packages.
        reason: why they are harmless and needed.
        listed: the list that it stands on.
        kind: what each name is: `class`, `function` or `value`; "" for packages.
    """

    names: tuple[str, ...]
    reason: str
    listed: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class AllowList:
    """What a family of model files may name; anything else is refused.

    Attributes:
        family: as shown to users (`scikit-learn`).
        exact: objects by full name: classes and the very few functions.
        packages: any class that is defined in such a package; never a function or an instance.
        excluded: packages inside `packages` that stay closed.
    """

    family: str
    exact: tuple[Entry, ...] = ()
    packages: tuple[Entry, ...] = ()
    excluded: tuple[Entry, ...] = ()

    def including(self, *others: "AllowList") -> "AllowList":
        """This list and the others', under this family's name."""
        return AllowList(
            self.family,
            self.exact + tuple(entry for other in others for entry in other.exact),
            self.packages + tuple(entry for other in others for entry in other.packages),
            self.excluded + tuple(entry for other in others for entry in other.excluded),
        )

    def names(self) -> frozenset[str]:
        """Every exact name."""
        return frozenset(name for entry in self.exact for name in entry.names)

    def package_of(self, module: str) -> str | None:
        """The open package that a module lies in, if there is one."""
        closed = (name for entry in self.excluded for name in entry.names)
        if any(_inside(module, name) for name in closed):
            return None
        opened = (name for entry in self.packages for name in entry.names)
        return next((name for name in opened if _inside(module, name)), None)

    def entry_of(self, module: str, name: str) -> Entry | None:
        """The entry that permits a name; None = the list does not know it.

        A package's entry permits its classes only, which is not known before it is imported.
        """
        if "." in name:  # attribute traversal: `numpy` + `ndarray.dump`
            return None
        full = f"{module}.{name}"
        found = next((entry for entry in self.exact if full in entry.names), None)
        if found is not None:
            return found
        package = self.package_of(module)
        return next((entry for entry in self.packages if package in entry.names), None)


@dataclass(frozen=True, slots=True)
class Danger:
    """One entry of the list of what is never opened.

    Attributes:
        module: by its full name.
        names: shell patterns; "*" takes the submodules too.
        reason: what it can do.
    """

    module: str
    names: tuple[str, ...]
    reason: str


@functools.cache
def allow_list(name: str) -> AllowList:
    """The list of a framework with all that it includes: `sklearn`, `xgboost`, `torch`...

    Raises:
        FileNotFoundError: there is no such list.
    """
    data = _read(name)
    own = AllowList(
        data["family"],
        tuple(
            Entry(
                tuple(f"{item['module']}.{each}" for each in item["names"]),
                item["reason"],
                name,
                item["kind"],
            )
            for item in data.get("allow", ())
        ),
        tuple(Entry((item["package"],), item["reason"], name) for item in data.get("open", ())),
        tuple(Entry((item["package"],), item["reason"], name) for item in data.get("closed", ())),
    )
    return own.including(*(allow_list(other) for other in data["includes"]))


@functools.cache
def dangers() -> dict[str, tuple[Danger, ...]]:
    """Every entry of the list `dangerous`, by its module."""
    found: dict[str, tuple[Danger, ...]] = {}
    for item in _read("dangerous")["danger"]:
        entry = Danger(item["module"], tuple(item.get("names", ("*",))), item["reason"])
        found[entry.module] = (*found.get(entry.module, ()), entry)
    return found


def danger_of(module: str, name: str) -> str:
    """Why a name is dangerous; "" = the list does not know it.

    Dotted names (`torch` + `os.system`) are judged by their parts as well: whatever passes through
    a dangerous module or through Python's special attributes is dangerous.
    """
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for entry in dangers().get(".".join(parts[:length]), ()):
            whole = "*" in entry.names
            rest = ".".join((*parts[length:], name))
            if whole or any(fnmatchcase(rest, pattern) for pattern in entry.names):
                return entry.reason
    steps = name.split(".")
    if any(step.startswith("__") and step.endswith("__") for step in steps):
        return "a special attribute, which leads behind every object"
    for at, step in enumerate(steps[:-1]):
        if any("*" in entry.names for entry in dangers().get(step, ())):
            return danger_of(step, ".".join(steps[at + 1 :]))
    return ""


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _read(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("lists", f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)
