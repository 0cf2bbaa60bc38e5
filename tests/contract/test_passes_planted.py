"""The planted forms are wrong as they say: a pass does its work, and answers are spoilt."""

import json

import numpy as np
import pytest

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.plugins.load import load
from modelworks.testing import planted
from modelworks.testing.pass_cases import answers

pytestmark = pytest.mark.contract


def made(case, into):
    """The spoilt form: of the pass, or as it lies there."""
    step = load("passes", case.step)()
    source = case.source
    settings = settled(step.facts, case.settings)
    into.mkdir()
    job = PassJob(
        source.folder, source.format, into, source.signature, settings, source.calibration
    )
    if case.form is None:
        step.apply(job)
        return into
    with pytest.raises(UnsupportedError):
        step.apply(job)
    return case.form


def both(case, into):
    """Answers of the source and of the spoilt form."""
    with np.load(case.rows) as held:
        rows = dict(held)
    signature = case.source.signature
    folders = (case.source.folder, made(case, into))
    return [answers("onnxruntime", folder, signature, rows)[0] for folder in folders]


def test_int8_hurts_one_slice_and_hardly_the_whole(tmp_path):
    case = planted.hurts_a_slice(tmp_path / "case")
    labels = np.load(case.labels)
    right = [found.argmax(1) == labels for found in both(case, tmp_path / "into")]
    places = json.loads(case.slices.read_text())
    assert right[0].all()
    assert right[1].mean() > 0.995
    assert right[1][places["small"]].mean() < 0.7
    assert right[1][places["large"]].mean() > 0.999


def test_smallest_and_largest_values_spoil_attention(tmp_path):
    case = planted.minmax_on_attention(tmp_path / "case")
    left, right = both(case, tmp_path / "into")
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(1) / norms
    assert cosines.mean() < 0.97
    assert cosines.min() < 0.9


def test_weights_beyond_half_precision_change_classes(tmp_path):
    case = planted.overflows(tmp_path / "case")
    labels = np.load(case.labels)
    right = [found.argmax(1) == labels for found in both(case, tmp_path / "into")]
    assert right[0].all()
    assert right[1].mean() < 0.95
