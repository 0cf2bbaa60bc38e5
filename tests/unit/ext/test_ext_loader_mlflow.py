"""What models of MLflow answer becomes tensors."""

import numpy as np
import pandas as pd
import pytest

from modelworks.ext.loaders.mlflow import tensors

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("found", "name", "wanted"),
    [
        (np.array([1.5, 2]), "predictions", [1.5, 2]),
        (pd.Series(["a", "b"]), "predictions", [b"a", b"b"]),
        (pd.DataFrame({"p": [1, 2]}), "p", [1, 2]),
        ({"p": [1, 2]}, "p", [1, 2]),
        ([[1, 2], [3, 4]], "predictions", [[1, 2], [3, 4]]),
        ([{"a": 1}, {"a": None}], "predictions", [b'{"a": 1}', b'{"a": null}']),
        ([[1], [2, 3]], "predictions", [b"[1]", b"[2, 3]"]),
        ({"answer": "yes"}, "predictions", [b'{"answer": "yes"}']),
        ("yes", "predictions", [b"yes"]),
        (np.array(["2026-11-22"], "datetime64[D]"), "predictions", [b"2026-11-22"]),
    ],
)
def test_an_answer_becomes_tensors(found, name, wanted):
    answer = tensors(found)
    assert list(answer) == [name]
    assert answer[name].tolist() == wanted


def test_each_column_of_a_frame_is_an_output():
    answer = tensors(pd.DataFrame({"score": [0.5], "tag": ["x"]}))
    assert {name: array.tolist() for name, array in answer.items()} == {
        "score": [0.5],
        "tag": [b"x"],
    }
