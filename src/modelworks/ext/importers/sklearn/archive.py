"""Opens skops archives: types by the allow-list, sizes by a bound."""

import zipfile
from pathlib import Path
from typing import Any

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.ext.importers.pickles.allow import AllowList
from modelworks.ext.importers.reasons import reason

_BOMB_RATIO, _BOMB_FLOOR = 200, 64 << 20


def read(path: Path, allowed: AllowList) -> tuple[Any, tuple[str, ...]]:
    """The object in an archive, and the types that skops did not trust by itself.

    Raises:
        RefusedError: a type is not on the list, or the archive is a bomb.
        InvalidError: damaged; its cause is what skops said.
    """
    try:
        unknown = _audit(path, allowed)
        return skops.io.load(path, trusted=unknown), tuple(unknown)
    except (ModelworksError, MemoryError):
        raise
    except UntrustedTypesFoundException as error:
        raise RefusedError(f"{path.name}: {reason(error)}", field="file") from error
    except Exception as error:
        raise InvalidError(
            f"{path.name}: truncated or no skops file ({reason(error)})", field="file"
        ) from error


def _audit(path: Path, allowed: AllowList) -> list[str]:
    """The types in an archive that skops does not trust by itself; all are on the list."""
    with zipfile.ZipFile(path) as archive:
        inflated = sum(item.file_size for item in archive.infolist())
    if inflated > max(_BOMB_FLOOR, path.stat().st_size * _BOMB_RATIO):
        raise RefusedError(f"{path.name}: a decompression bomb", field="file")
    unknown = skops.io.get_untrusted_types(file=path)
    names = allowed.names()
    for name in unknown:
        if name not in names and allowed.package_of(name.rpartition(".")[0]) is None:
            raise RefusedError(
                f"{name[:120]} is not on the allow-list of scikit-learn: nothing was executed",
                field="file",
            )
    return list(unknown)
