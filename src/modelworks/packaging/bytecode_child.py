"""Compiles the modules of wheels into a folder: `python -I bytecode_child.py INTO WHEEL...`.

In a process of its own, so that what it writes depends on the wheels and on this Python alone.
"""

import importlib.util
import marshal
import sys
import warnings
import zipfile
from pathlib import Path

_UNCHECKED = 0b01  # by hash, and never looked at again (PEP 552)
_PASSED_OVER = (".data/", "/tests/")  # lies elsewhere in the end; is never imported by a server
_FORM = 2  # later forms of marshal tell how often a value is used elsewhere in this process


def main(into: Path, wheels: list[str], site: str) -> None:
    """Write a `.pyc` for every module that compiles, where its importer looks for it."""
    warnings.simplefilter("ignore")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".py") and not any(part in name for part in _PASSED_OVER):
                    _write(into, name, archive.read(name), site)


def _write(into: Path, name: str, source: bytes, site: str) -> None:
    try:
        code = compile(source, f"{site}/{name}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return  # a template, or for another Python; whoever imports it is told
    path = into / importlib.util.cache_from_source(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED.to_bytes(4, "little")
    path.write_bytes(head + importlib.util.source_hash(source) + marshal.dumps(code, _FORM))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[3:], sys.argv[2])
