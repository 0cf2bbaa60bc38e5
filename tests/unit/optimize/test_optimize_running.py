"""Options of engines: tried where the machine has what they need, and never where it has not."""

from dataclasses import replace

import pytest

from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Goal, Objective
from modelworks.optimize import planning, racing, running
from modelworks.optimize.applying import Workshop
from modelworks.optimize.hardware import accelerators, this_machine
from optimize_fakes import facts, ground, recipe

pytestmark = pytest.mark.unit
SMALL = facts("openvino", produces="openvino-ir", engine="openvino", exact=True)
HALF = facts("fp16")


def plan(*passes, features=("avx2",), **more):
    """A plan for a machine that has these features."""
    made = ground(*passes)
    hardware = replace(made.have.hardware, features=features)
    return replace(made, have=replace(made.have, hardware=hardware), **more)


def options(candidates):
    return {one.recipe.run.options for one in candidates}


def words(candidates):
    return {value for given in options(candidates) for _, value in given}


def test_a_gpu_is_used_where_there_is_one_and_nowhere_else():
    assert options(planning.singles(plan(HALF))) == {()}
    found = planning.singles(plan(HALF, features=("avx2", "cuda")))
    assert {(one.recipe.title) for one in found} == {
        "fp16 @ onnxruntime",
        "fp16 @ onnxruntime provider=cuda",
        "fp16 @ onnxruntime provider=tensorrt",
        "as it is @ onnxruntime provider=cuda",
        "as it is @ onnxruntime provider=tensorrt",
    }
    good = [recipe("int8_static")]
    assert "provider=cuda" in str(
        planning.varied(plan(features=("cuda",)), good, ())[0].recipe.title
    )
    assert planning.varied(plan(), good, ()) == []


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (("avx2", "avx512_vnni"), set()),
        (("avx512_bf16",), {"bf16"}),
        (("amx_bf16",), {"bf16"}),
        (("bf16",), {"bf16"}),  # of ARM
        (("avx512_fp16", "avx512_bf16"), {"bf16", "f16"}),
    ],
)
def test_numbers_of_few_bits_are_computed_where_there_are_units_for_them(features, expected):
    assert words(planning.singles(plan(SMALL, features=features))) == expected
    assert words(planning.varied(plan(features=features), [_ir("nncf_int8")], ())) == expected


def _ir(name):
    return recipe(name, engine="openvino")


def test_sizes_that_come_often_go_with_them():
    made = plan(SMALL, features=("avx512_bf16",), often=())
    assert options(planning.singles(made)) == {
        (("reshape", "1,16"),),
        (("precision", "bf16"), ("reshape", "1,16")),
    }
    found = options(planning.varied(made, [_ir("openvino")], ()))
    assert found == {
        (("reshape", "1,16"),),
        (("precision", "bf16"), ("reshape", "1,16")),
    }
    memory = replace(made, goal=Goal(objective=Objective.MEMORY))
    assert options(planning.singles(memory)) == {(), (("arena", "off"),)}


def test_what_rounds_by_the_way_it_is_run_is_judged_as_what_rounds():
    shop = Workshop.__new__(Workshop)
    shop._facts = {"openvino": SMALL}
    plain = _ir("openvino")
    coarse = replace(plain, run=Execution("openvino", (("precision", "bf16"),)))
    assert shop.exact(plain)
    assert not shop.exact(coarse)
    assert not shop.exact(Recipe(run=Execution("onnxruntime", (("provider", "cuda"),))))
    assert not shop.exact(Recipe(parts=(plain, coarse), rows=(1, 0), run=Execution("by_rows")))
    assert shop.exact(Recipe(run=Execution("onnxruntime", (("provider", "cpu"),))))


def test_where_size_is_wanted_passes_work_for_the_size_alone():
    from modelworks.core.optimizing.passes import Setting

    own = facts("fp16", settings=(Setting("size", default=False, help="for the size alone"),))
    other = facts("distil", settings=(Setting("size", "small", "of the student"),))
    made = plan(own, other)
    asked = replace(made, goal=Goal(objective=Objective.SIZE))
    told = {one.recipe.steps[-1].name: one.recipe.steps[-1] for one in planning.singles(asked)}
    assert told["fp16"].settings == {"size": True}
    assert told["distil"].settings == {}
    assert all(not step.settings for one in planning.singles(made) for step in one.recipe.steps)


def test_a_form_beside_the_processor_is_judged_by_the_clock():
    source, form = racing.Runner(None), racing.Runner(None)
    source.cpu, source.wall = [10.0, 10.0] * 6, [12.0, 12.0] * 6
    form.cpu, form.wall = [1.0] * 6, [6.0] * 6
    source.walls = form.walls = [1, 2, 3]
    assert racing.figures(source, form, 1)["ratio"] == pytest.approx(10)
    told = racing.figures(source, form, 1, by_clock=True)
    assert told["ratio"] == pytest.approx(2)
    assert told["wall_ratio"][0] == pytest.approx(2)
    assert running.beside(Recipe(run=Execution("onnxruntime", (("provider", "tensorrt"),))))
    assert not running.beside(Recipe(run=Execution("openvino", (("precision", "bf16"),))))


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ((), False),
        (("nvidiactl", "nvidia-uvm"), False),  # a driver without a card
        (("nvidia0", "nvidiactl", "nvidia-uvm"), True),
        (("nvidia12",), True),
    ],
)
def test_a_gpu_is_there_where_its_file_can_be_opened(tmp_path, files, there):
    (tmp_path / "dev/nvidia-caps").mkdir(parents=True)
    (tmp_path / "dev/null").touch()
    for name in files:
        (tmp_path / "dev" / name).touch()
    assert [one.name for one in accelerators(tmp_path)] == sorted(files)
    found = this_machine(tmp_path)
    assert ("cuda" in found.features) is there
    assert found.kind.endswith(" cuda") is there
