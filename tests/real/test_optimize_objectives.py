"""The whole road with an objective of its own: energy by made counters, size by half precision."""

import importlib.util
import json
import os
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from modelworks.control.optimizing.asked import Asked
from modelworks.control.service import Factory
from modelworks.core.errors import ConflictError, CrashedError, InvalidError, UnsupportedError
from modelworks.core.optimizing.recipes import Recipe, RecipeStep
from modelworks.core.optimizing.variants import Ending, Goal, Objective
from modelworks.optimize import data, energy
from modelworks.testing import pass_models
from modelworks.testing.candidates import candidate

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
WIDE = (1024, 1024)


@pytest.fixture
def factory(home):
    with Factory(home, actor="ada") as factory:
        yield factory


@pytest.fixture
def net(factory, tmp_path):
    """A dense network of 1.2 million weights."""
    made = pass_models.mlp(tmp_path / "mlp", WIDE)
    data = (made.folder / "model.onnx").read_bytes()
    return factory.publish(candidate(tmp_path / "work", data, "net", signature=made.signature))


def search(factory, net, passes=(), recipe=None, **goal):
    """One form, or one pass with its settings: it ends long before the time is over."""
    asked = Asked(Goal(batches=(1, 16), budget_s=60.0, **goal), passes=passes, recipe=recipe)
    found = factory.optimizing.optimize(net.ref, asked, lambda _: None)
    assert found.kept, [(one.recipe.title, one.ending, one.why) for one in found.findings]
    return found


@contextmanager
def burning(folder, watts, most):
    """A package that takes so many watts, whatever is done; its counter begins again behind it."""
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    file = os.open(folder / "energy_uj", os.O_RDWR | os.O_CREAT, 0o444)
    os.pwrite(file, f"{0:015d}\n".encode(), 0)
    ended, began = threading.Event(), time.perf_counter()

    def run():
        while not ended.wait(0.001):
            used = int((time.perf_counter() - began) * watts * 1e6)
            os.pwrite(file, f"{used % most:015d}\n".encode(), 0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        os.close(file)


def test_the_form_that_takes_less_energy_is_kept(factory, net, tmp_path, monkeypatch):
    """A processor of 20 watts: what takes less time takes less energy."""
    monkeypatch.setattr(energy, "_RAPL", tmp_path / "powercap")
    with burning(tmp_path / "powercap/intel-rapl:0", watts=20, most=7_000_000):
        rounded = Recipe((RecipeStep("int8_dynamic"),))
        found = search(factory, net, (), rounded, objective=Objective.ENERGY, agreement=0.5)
    (best, *_) = found.kept
    own, source = best.measured.energy_j, found.source.energy_j
    at = {one.rows: one for one in best.measured.times}[16]
    # 20 W for the time of a call, shared by its 16 rows; on a busy machine a turn waits as well.
    assert 0.4 < own / (20 * at.wall_us[1] * 1e-6 / 16) < 20
    assert source / own > 1.05
    assert energy.NOTE in best.measured.notes
    assert json.dumps(best.gates[-1].summary).count("times less energy") == 1


def test_where_no_counter_can_be_read_it_is_refused_before_anything(
    factory, net, tmp_path, monkeypatch
):
    monkeypatch.setattr(energy, "_RAPL", tmp_path / "nothing")
    with pytest.raises(UnsupportedError, match="energy of this machine cannot be read"):
        search(factory, net, ("int8_dynamic",), objective=Objective.ENERGY)


def test_half_precision_is_kept_where_size_is_wanted(factory, net):
    found = search(factory, net, ("fp16",), objective=Objective.SIZE)
    kept = {one.recipe.title: one for one in found.kept}
    for title, one in kept.items():
        assert "size=True" in title
        assert one.measured.size_bytes < 0.55 * found.source.size_bytes
    tried = found.findings
    assert not [one for one in tried if one.ending is Ending.FAILED]


def make(factory, net, into, *steps):
    asked = Asked(recipe=Recipe(tuple(RecipeStep(*one) for one in steps)))
    return factory.optimizing.make(net.ref, asked, into, lambda _: None)


def test_files_of_a_form_that_cannot_be_run_here_are_written(factory, net, tmp_path):
    into = tmp_path / "plan"
    made = make(factory, net, into, ("tensorrt_plan", {"rows": 8}))
    assert made.files == ("model.onnx", "plan.json")
    assert "not run" in made.notes[0]
    plan = json.loads((into / "plan.json").read_text())
    assert plan["profiles"]["x"]["max"] == [8, 64]
    assert factory.variants(net.ref) == []
    with pytest.raises(ConflictError, match="is there"):
        make(factory, net, into, ("tensorrt_plan",))
    with pytest.raises(InvalidError, match="no setting 'nonsense'"):
        make(factory, net, tmp_path / "a", ("tensorrt_plan", {"nonsense": 1}))
    with pytest.raises(InvalidError, match="a recipe with passes"):
        make(factory, net, tmp_path / "a")
    with pytest.raises(CrashedError, match=r"cannot be made: fp16: .*size=true"):
        make(factory, net, tmp_path / "a", ("fp16",))
    assert not (tmp_path / "a").exists()


def test_a_pass_without_its_library_names_the_cure(factory, net, tmp_path):
    if importlib.util.find_spec("jax") is not None:
        pytest.skip("jax is installed here: nothing is missing")
    with pytest.raises(UnsupportedError, match=r'pip install "modelworks\[optimize-jax\]"'):
        make(factory, net, tmp_path / "jax", ("jax_export",))


def test_rows_that_are_given_for_passes_are_all_theirs(factory, net, tmp_path):
    file = tmp_path / "rows.npz"
    np.savez(file, x=np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32))
    recipe = Recipe((RecipeStep("int8_static"),))
    asked = Asked(rows=data.Asked(calibration=file), recipe=recipe)
    made = factory.optimizing.make(net.ref, asked, tmp_path / "int8", lambda _: None)
    assert "operators run in eight bits" in made.notes[0]
