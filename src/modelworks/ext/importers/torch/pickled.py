"""Opens a whole pickled module: only where the owner vouches for it, and only after a scan.

`torch.save(model)` pickles the module by the names of its classes. Those of PyTorch are there; the
user's own are looked for in the file that `--factory FILE.py:CLASS` names, which stands for the
training script (`__main__`), and in that file's folder.
"""

import importlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.scans import Danger, Scan
from modelworks.ext.importers.pickles.allow import allow_list
from modelworks.ext.importers.pickles.guard import PickleModule
from modelworks.ext.importers.pickles.judge import admit, examine_stream
from modelworks.ext.importers.pickles.stream import Stream
from modelworks.ext.importers.reasons import disk_is_full, reason
from modelworks.ext.importers.torch.container import DAMAGE, Found

_SCRIPT = "__main__"
_LEGACY_PICKLES = 5  # number, version, system, object, keys; raw storages follow


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in a pickle.

    Attributes:
        value: a module, or a checkpoint of more than tensors.
        scan: of the pickle.
        code: the Python files of the user's that were imported for it.
    """

    value: Any
    scan: Scan
    code: tuple[Path, ...]


def open_pickled(path: Path, scan: Scan, factory: str, *, trust: bool) -> Opened:
    """Unpickle a module, or a checkpoint.

    Args:
        path: the file.
        scan: of it, by `examine`.
        factory: `FILE.py:CLASS`; "" = its classes are PyTorch's or installed.
        trust: the owner vouches for it.

    Raises:
        RefusedError: nobody vouches for it, or it names what is never opened.
        InvalidError: damaged, or classes that are not to be found.
    """
    if not trust:
        first = scan.of(Danger.UNKNOWN)[0].name
        raise RefusedError(
            f"{path.name}: holds a whole pickled module ({first[:80]}), which runs code when it is "
            "loaded; save it with torch.export.save, or its state dict with "
            "torch.save(model.state_dict(), ...), or vouch for it: --trust opens it in the sandbox",
            field="file",
        )
    with _code(factory) as script:
        _check_found(path, scan, script)
        return Opened(_load(path), scan, _files(factory))


def examine(path: Path, found: Found) -> Scan:
    """Look at every name in a file of weights, before anything is made.

    Returns:
        Clean: tensors and plain values. Unknown: there is more, and only the owner's word opens it.

    Raises:
        RefusedError: a name is dangerous.
        InvalidError: damaged.
    """
    allowed = allow_list("torch")
    if found.format == "torch-legacy":
        with Stream(path) as stream:
            scans = [
                examine_stream(stream, allowed, pickles=0, persistent=True)
                for _ in range(_LEGACY_PICKLES)
            ]
    else:
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder, path.name)
            _extract(path, found, inner)
            with Stream(inner) as stream:
                scans = [examine_stream(stream, allowed, persistent=True)]
    admitted = [admit(path.name, scan, allowed, trust=True) for scan in scans]
    return max(admitted, key=lambda scan: (scan.opened, len(scan.findings)))


def _extract(path: Path, found: Found, target: Path) -> None:
    """Copy the pickle out of the archive, which was found to be no bomb."""
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(f"{found.root}data.pkl") as member,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(member, file)
    except DAMAGE as error:
        if disk_is_full(error):
            raise
        raise InvalidError(
            f"{path.name}: truncated or damaged archive ({str(error)[:120]})", field="file"
        ) from error


def _check_found(path: Path, scan: Scan, script: ModuleType | None) -> None:
    """Say which means is missing where a class of the user's cannot be found.

    Raises:
        InvalidError: the script's own classes without the script, or a module that is not there.
    """
    for finding in scan.findings:
        module, _, name = finding.name.rpartition(".")
        root = finding.name.partition(".")[0]
        if root == _SCRIPT:
            name = finding.name.split(".")[1]
        if root == _SCRIPT and script is None:
            raise InvalidError(
                f"{path.name}: its class {name[:80]} was defined in the script that saved it; name "
                f"the file that defines it: --factory FILE.py:{name[:80]} (what it does at import "
                "is run, in the sandbox)",
                field="factory",
            )
        if root == _SCRIPT and not hasattr(script, name):
            raise InvalidError(
                f"{path.name}: names {name[:80]} of the script that saved it, and the file of "
                "--factory does not define it",
                field="factory",
            )
        if root not in sys.modules and importlib.util.find_spec(root) is None:
            raise InvalidError(
                f"{path.name}: names {finding.name[:120]}, and no module {root[:80]} is installed; "
                f"--factory FILE.py:{name[:80]} names the file with its classes, in whose folder "
                f"{module[:80]} is looked for too",
                field="factory",
            )


@contextmanager
def _code(factory: str) -> Iterator[ModuleType | None]:
    """The user's file stands for the script that saved the module, and its folder is searched."""
    if not factory:
        yield None
        return
    text, _, name = factory.rpartition(":")
    file = Path(text)
    before = sys.modules[_SCRIPT]
    sys.path.insert(0, str(file.parent))
    try:
        script = _imported(file)
        if not hasattr(script, name):
            raise InvalidError(f"{file.name} has no {name}", field="factory")
        sys.modules[_SCRIPT] = script
        yield script
    finally:
        sys.modules[_SCRIPT] = before
        sys.path.remove(str(file.parent))


def _imported(file: Path) -> ModuleType:
    """Run the file under its own name: `if __name__ == "__main__"` stays closed."""
    try:
        return importlib.import_module(file.stem)
    except Exception as error:
        raise InvalidError(
            f"{file.name} cannot be imported ({reason(error)})", field="factory"
        ) from error


def _files(factory: str) -> tuple[Path, ...]:
    """The Python files in the folder of the user's file that were imported."""
    if not factory:
        return ()
    folder = Path(factory.rpartition(":")[0]).parent
    named = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = {Path(name).resolve() for name in named if name}
    return tuple(sorted(path for path in paths if path.is_relative_to(folder)))


def _load(path: Path) -> Any:
    gate = PickleModule(path.name, allow_list("torch"), trust=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files tell that the source has changed
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=gate)
    except ModelworksError:
        raise
    except MemoryError as error:
        raise InvalidError(f"{path.name}: more weights than memory", field="file") from error
    except Exception as error:
        raise InvalidError(
            f"{path.name}: PyTorch {torch.__version__} cannot open the module ({reason(error)})",
            field="file",
        ) from error
