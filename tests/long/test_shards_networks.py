"""Real networks in stages, each in its process: every bit of the whole, by many callers at once.

The small networks of `tests/contract/test_passes_shard.py` are the short form.
"""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.ext.engines.stages import StagesEngine
from shards import cut

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks" / "optimize"
CACHE = Path.home() / ".cache" / "modelworks-benchmarks"


@pytest.fixture(scope="module")
def made():
    sys.path.insert(0, str(BENCHMARKS))
    from models import make

    yield lambda key: make(key, CACHE)
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("by", ["bytes", "time"])
@pytest.mark.parametrize("key", ["mlp", "cnn", "minilm"])
def test_stages_give_the_bits_of_a_real_network(tmp_path, made, key, by):
    source = made(key)
    with np.load(source.evaluation) as file:
        rows = {name: file[name][:64] for name in file.files}
    parts = [{name: array[at : at + 8] for name, array in rows.items()} for at in range(0, 64, 8)]
    whole = OnnxRuntimeEngine().load(source.form, EngineOptions())
    wanted = [[one.copy() for one in whole.infer(part)] for part in parts]
    whole.close()
    session = StagesEngine().load(
        cut(source.form, tmp_path / "cut", stages=3, by=by), EngineOptions()
    )
    found = {}

    def ask(place):
        found[place] = session.infer(parts[place])

    try:
        threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(parts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    finally:
        session.close()
    for place, answers in enumerate(wanted):
        for one, other in zip(found[place], answers, strict=True):
            np.testing.assert_array_equal(one, other)
