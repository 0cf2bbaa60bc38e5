"""Rows for passes where nothing is judged: none of them has to decide."""

from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize import arrays
from modelworks.optimize.data import Asked, for_passes

pytestmark = pytest.mark.unit
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 1)),)
)


def saved(folder: Path, rows: int) -> tuple[Path, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x)
    return folder / "rows.npz", x


def test_passes_are_given_every_row_of_the_file(tmp_path: Path):
    file, x = saved(tmp_path, 100)
    found = for_passes(SIGNATURE, Asked(calibration=file), tmp_path, tmp_path)
    np.testing.assert_array_equal(arrays.load(found.calibration.inputs)["x"], x)


def test_without_a_file_they_are_made_up_and_without_a_row_refused(tmp_path: Path):
    assert for_passes(SIGNATURE, Asked(), tmp_path, tmp_path).calibration.made_up
    fixed = Signature((TensorSpec("x", Datatype.FP32, (8, 3)),), SIGNATURE.outputs)
    file, _ = saved(tmp_path, 5)
    with pytest.raises(InvalidError, match="no rows for passes"):
        for_passes(fixed, Asked(calibration=file), tmp_path, tmp_path)
