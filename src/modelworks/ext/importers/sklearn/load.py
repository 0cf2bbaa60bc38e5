"""Opens a scikit-learn file by its allow-list and says what the file asked for."""

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn
import skops.io
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted
from skops.io.exceptions import UntrustedTypesFoundException

from modelworks.core.errors import InvalidError, MissingExtraError, ModelworksError, RefusedError
from modelworks.ext.importers.lightgbm.allow import ALLOWED as LIGHTGBM
from modelworks.ext.importers.pickles.load import load_allowed
from modelworks.ext.importers.pickles.scan import globals_in
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.sklearn.allow import SKLEARN
from modelworks.ext.importers.xgboost.allow import ALLOWED as XGBOOST

ALLOWED = SKLEARN.including(XGBOOST, LIGHTGBM)
_EXTRAS = {"xgboost", "lightgbm"}  # named like the libraries
_BOMB_RATIO, _BOMB_FLOOR = 200, 64 << 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """A fitted estimator.

    Attributes:
        estimator: unpickled.
        scanned: names in the head of the file.
        notes: what a user should know.
    """

    estimator: Any
    scanned: tuple[str, ...]
    notes: tuple[str, ...]


def load(path: Path, source_format: str) -> Loaded:
    """The estimator in a file.

    Raises:
        RefusedError: the file names something outside the allow-list.
        InvalidError: damaged, no estimator, or not fitted.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if source_format == "sklearn-skops":
            estimator, scanned = _skops(path)
        else:
            estimator, scanned = _pickle(path), globals_in(path)
    if not isinstance(estimator, BaseEstimator):
        kind = type(estimator)
        raise InvalidError(
            f"{path.name} holds a {kind.__module__}.{kind.__name__}, which is no scikit-learn "
            "estimator; save the fitted estimator itself",
            field="file",
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise InvalidError(
            f"{path.name}: the {type(estimator).__name__} is not fitted; fit it, then save it",
            field="file",
        ) from error
    except TypeError:  # an estimator without fit has nothing to be fitted
        pass
    return Loaded(estimator, scanned, _version_notes(caught))


def _pickle(path: Path) -> Any:
    try:
        return load_allowed(path, ALLOWED)
    except InvalidError as error:
        _check_installed(path, error.__cause__)
        raise


def _check_installed(path: Path, cause: BaseException | None) -> None:
    """Say which extra is missing, where a library that the file names is not installed."""
    name = cause.name if isinstance(cause, ModuleNotFoundError) else None
    if name in _EXTRAS:
        raise MissingExtraError(f"{path.name}: reading a step of it", name, name) from cause


def _version_notes(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    written = sorted(
        {
            warning.message.original_sklearn_version
            for warning in caught
            if isinstance(warning.message, InconsistentVersionWarning)
        }
    )
    if not written:
        return ()
    note = (
        f"written by scikit-learn {', '.join(written)}, read by {sklearn.__version__}: the parity "
        "check compares with what the reading version predicts"
    )
    return (note,)


def _skops(path: Path) -> tuple[Any, tuple[str, ...]]:
    try:
        unknown = _audit(path)
        return skops.io.load(path, trusted=unknown), tuple(unknown)
    except (ModelworksError, MemoryError):
        raise
    except UntrustedTypesFoundException as error:
        raise RefusedError(f"{path.name}: {reason(error)}", field="file") from error
    except Exception as error:
        _check_installed(path, error)
        raise InvalidError(
            f"{path.name}: truncated or no skops file ({reason(error)})", field="file"
        ) from error


def _audit(path: Path) -> list[str]:
    """The types in a skops file that skops does not trust by itself; all are on the list.

    Raises:
        RefusedError: one is not, or the archive is a bomb.
    """
    with zipfile.ZipFile(path) as archive:
        inflated = sum(item.file_size for item in archive.infolist())
    if inflated > max(_BOMB_FLOOR, path.stat().st_size * _BOMB_RATIO):
        raise RefusedError(f"{path.name}: a decompression bomb", field="file")
    unknown = skops.io.get_untrusted_types(file=path)
    names = ALLOWED.names()
    for name in unknown:
        if name not in names and ALLOWED.package_of(name.rpartition(".")[0]) is None:
            raise RefusedError(
                f"{name[:120]} is not on the allow-list of scikit-learn: nothing was executed",
                field="file",
            )
    return list(unknown)
