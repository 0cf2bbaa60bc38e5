"""A second opinion: what picklescan says of the same opcodes. It never decides alone."""

import io
import logging
from collections.abc import Iterable
from importlib.metadata import version

from picklescan.scanner import ScanResult, scan_pickle_bytes

from modelworks.core.errors import RefusedError

NAME = "picklescan"
VERSION = version("picklescan")

_log = logging.getLogger("picklescan")  # it reports to whoever runs it, and we report ourselves
_log.addHandler(logging.NullHandler())
_log.propagate = False


def ask(
    file: str, tapes: Iterable[tuple[bytearray, set[tuple[str, str]]]]
) -> dict[tuple[str, str], str]:
    """What picklescan calls each name, as written in the file.

    Args:
        file: its name, for messages.
        tapes: opcodes of each pickle, and the names that our own machine saw in it.

    Returns:
        (module, name) -> `innocuous`, `suspicious` or `dangerous`.

    Raises:
        RefusedError: it fails, or it reads other names than we do; either means that the file is
            not what it seems.
    """
    said: dict[tuple[str, str], str] = {}
    for data, names in tapes:
        result = _scan(file, bytes(data))
        found = {(item.module, item.name): item.safety.value for item in result.globals}
        if result.scan_err or set(found) != names:
            odd = sorted(".".join(name) for name in set(found) ^ names)[:3]
            what = f"reads other names than we do ({', '.join(odd)[:120]})" if odd else "fails"
            raise RefusedError(
                f"{file}: the second scanner ({NAME} {VERSION}) {what}, so the file is not clean: "
                "nothing was executed",
                field="file",
            )
        said.update(found)
    return said


def _scan(file: str, data: bytes) -> ScanResult:
    try:
        return scan_pickle_bytes(io.BytesIO(data), file)
    except MemoryError:
        raise
    except Exception as error:
        raise RefusedError(
            f"{file}: the second scanner ({NAME} {VERSION}) fails "
            f"({type(error).__name__}), so the file is not clean: nothing was executed",
            field="file",
        ) from error
