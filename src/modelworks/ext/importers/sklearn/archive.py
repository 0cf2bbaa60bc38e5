"""Opens skops archives: types by the allow-list, sizes by a bound."""

from pathlib import Path
from typing import Any

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.scans import Danger, Finding, Scan
from modelworks.ext.importers import archives
from modelworks.ext.importers.pickles.allow import AllowList
from modelworks.ext.importers.pickles.judge import admit, find
from modelworks.ext.importers.reasons import reason


def read(path: Path, allowed: AllowList, *, trust: bool) -> tuple[Any, Scan]:
    """The object in an archive, and what is known of the types that skops does not trust by itself.

    Args:
        path: the archive.
        allowed: types beyond those that skops trusts.
        trust: the owner vouches for the file.

    Raises:
        RefusedError: a type is not on the list, or the archive is a bomb.
        InvalidError: damaged; its cause is what skops said.
    """
    try:
        scan = admit(path.name, examine(path, allowed), allowed, trust=trust)
        return skops.io.load(path, trusted=list(scan.names)), scan
    except (ModelworksError, MemoryError):
        raise
    except UntrustedTypesFoundException as error:
        raise RefusedError(f"{path.name}: {reason(error)}", field="file") from error
    except Exception as error:
        raise InvalidError(
            f"{path.name}: truncated or no skops file ({reason(error)})", field="file"
        ) from error


def examine(path: Path, allowed: AllowList) -> Scan:
    """The types in an archive that skops does not trust by itself, by our own lists."""
    archives.check(path).close()
    findings = tuple(_find(name, allowed) for name in skops.io.get_untrusted_types(file=path))
    worst = (Danger.DANGEROUS, Danger.UNKNOWN)
    found = {finding.danger for finding in findings}
    danger = next((each for each in worst if each in found), Danger.CLEAN)
    return Scan(danger, findings, "", {"skops": skops.__version__})


def _find(name: str, allowed: AllowList) -> Finding:
    module, _, own = name.rpartition(".")
    return find(module, own, allowed)
