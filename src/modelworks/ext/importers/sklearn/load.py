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
from modelworks.ext.importers.lightgbm.allow import ALLOWED as LIGHTGBM
from modelworks.ext.importers.pickles.load import load_allowed
from modelworks.ext.importers.pickles.scan import globals_in
from modelworks.ext.importers.sklearn.allow import SKLEARN
from modelworks.ext.importers.xgboost.allow import ALLOWED as XGBOOST

ALLOWED = SKLEARN.including(XGBOOST, LIGHTGBM)
_EXTRAS = {"xgboost", "lightgbm"}  # named like the libraries


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


def _skops(path: Path) -> tuple[Any, tuple[str, ...]]:
    from modelworks.ext.importers.sklearn.archive import read  # noqa: PLC0415 - skops loads all of scikit-learn, torch too where it is

    try:
        return read(path, ALLOWED)
    except InvalidError as error:
        _check_installed(path, error.__cause__)
        raise


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
