"""Opens pickles by the owner's word: what a native model's own process may do, and nobody else."""

import warnings
from pathlib import Path
from typing import Any

import joblib

from modelworks.core.errors import InvalidError
from modelworks.ext.importers.reasons import reason


def unpickled(file: Path) -> Any:
    """The object in a pickle or joblib file.

    Raises:
        InvalidError: damaged, or of other versions than those installed; one line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told at the import, kept as a note
            return joblib.load(file)
    except MemoryError:
        raise
    except Exception as error:
        raise InvalidError(f"{file.name} does not load: {reason(error)}") from error
