"""What a child is told of the forms that it measures: much of it they share."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Goal
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.timing import _Order, _told_once

pytestmark = pytest.mark.unit
MOST = 128 << 10  # bytes that the sandbox hands to a child
X = TensorSpec("x", Datatype.FP32, (None, 3, 224, 224))
Y = TensorSpec("y", Datatype.FP32, (None, 1000))
NAMES = tuple(f"class number {n}, or as others call it" for n in range(1000))


def test_forms_of_a_model_of_a_thousand_classes_can_be_measured_together(tmp_path: Path):
    signature = Signature((X,), (Y,), classes=NAMES)
    forms = [
        Form(Recipe(run=Execution("onnxruntime", (("number", str(n)),))), tmp_path, "onnx", one)
        for n, one in enumerate([*[signature] * 8, replace(signature, inputs=())])
    ]
    order = _Order(forms[0], Rows(tmp_path / "rows.npz", 50), Goal(), tmp_path, 1.0)
    told = order.arguments(forms[:8])
    assert len(json.dumps(told)) < MOST
    assert _told_once(told["forms"]) == forms[:8]
    assert _told_once(order.arguments(forms)["forms"]) == forms  # one that takes something else
