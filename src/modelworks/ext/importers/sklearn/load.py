"""Opens a scikit-learn file by its allow-list and says what the file asked for."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.scans import Scan
from modelworks.ext.importers.pickles.allow import allow_list
from modelworks.ext.importers.pickles.load import load_named

ALLOWED = allow_list("sklearn").including(allow_list("xgboost"), allow_list("lightgbm"))
_EXTRAS = {"xgboost", "lightgbm"}  # named like the libraries


@dataclass(frozen=True, slots=True)
class Loaded:
    """A fitted estimator.

    Attributes:
        estimator: unpickled.
        scan: what the file names, and the verdict.
        notes: what a user should know.
    """

    estimator: Any
    scan: Scan
    notes: tuple[str, ...]


def load(path: Path, source_format: str, *, trust: bool = False) -> Loaded:
    """The estimator in a file.

    Args:
        path: the file.
        source_format: as sniffed.
        trust: the owner vouches for the file.

    Raises:
        RefusedError: the file names something outside the allow-list.
        InvalidError: damaged, no estimator, or not fitted.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if source_format == "sklearn-skops":
            estimator, scan = _skops(path, trust=trust)
        else:
            estimator, scan = _pickle(path, trust=trust)
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
    return Loaded(estimator, scan, _version_notes(caught))


def _skops(path: Path, *, trust: bool) -> tuple[Any, Scan]:
    from modelworks.ext.importers.sklearn.archive import read  # noqa: PLC0415 - skops loads all of scikit-learn, torch too where it is

    try:
        return read(path, ALLOWED, trust=trust)
    except InvalidError as error:
        _check_installed(path, error.__cause__)
        raise


def _pickle(path: Path, *, trust: bool) -> tuple[Any, Scan]:
    try:
        return load_named(path, ALLOWED, trust=trust)
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
