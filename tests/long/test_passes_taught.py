"""Int8 that is taught, where the same form without training loses too much, by the same gates."""

import numpy as np
import pytest

from modelworks.core.optimizing.variants import Goal
from modelworks.optimize import arrays
from modelworks.optimize.forms import Rows
from modelworks.optimize.judging import judge
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassCase
from uneven_nets import SMALL, uneven

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the exporter's own
]
METHODS = ("minmax", "percentile", "entropy")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return uneven(tmp_path_factory.mktemp("uneven") / "net", SMALL)


def judged(made, name, settings, folder):
    """By the gates as they are without any option of the command."""
    source, rows, truth = made
    case = PassCase(name, source, None, 0, {}, None, {})
    applied = case.apply(folder / "into", settings=settings)
    for what, where in (("before", source.folder), ("after", folder / "into")):
        [logits] = answers("onnxruntime", where, source.signature, {"image": rows})
        arrays.save(folder / f"{what}.npz", {"logits": logits})
    np.save(folder / "truth.npy", truth)
    held = Rows(folder / "rows.npz", len(rows), folder / "truth.npy")
    files = (folder / "before.npz", folder / "after.npz")
    return judge(*files, held, source.signature, Goal()), applied


@pytest.mark.parametrize("method", METHODS)
def test_ranges_that_were_seen_lose_too_much(net, tmp_path, method):
    found, _ = judged(net, "int8_static", {"method": method}, tmp_path)
    assert not found.passed


def test_what_was_taught_is_good_enough(net, tmp_path):
    found, applied = judged(net, "int8_trained", {}, tmp_path)
    assert found.passed, found.why
    assert any("of what int8_static loses" in note for note in applied.notes), applied.notes
    assert applied.figures["agreement"] >= applied.figures["agreement_untaught"]
