"""The engine `by_rows` against the engine contract, and what is its own: which part runs."""

import json

import numpy as np
import pytest

from modelworks.core.by_rows import FILE, Part, read_by_rows, write_by_rows
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.seams import EngineOptions
from modelworks.core.stepped import MADE, Stepped, write_stepped
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.optimize.by_rows import join
from modelworks.optimize.forms import Form
from modelworks.plugins import load as plugins
from modelworks.plugins.opening import open_model
from modelworks.testing import onnx_models as models
from modelworks.testing.engines import EngineCase, EngineContract, one_line

pytestmark = pytest.mark.contract
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 3)),)
)


def part(folder, rows, **more):
    return Part(
        str(folder), more.get("format", "onnx"), "onnxruntime", more.get("options", ()), rows
    )


def factors(tmp_path, name="parts", *, first=2.0, second=3.0, upto=4):
    """Two models that can be told apart: a call says which of them answered."""
    folders = []
    for place, factor in enumerate((first, second)):
        folder = tmp_path / f"{name}-{place}"
        folder.mkdir()
        models.double(folder / "model.onnx", factor=factor)
        folders.append(folder)
    into = tmp_path / name
    into.mkdir()
    write_by_rows(into, [part(folders[0], upto), part(folders[1], 0)])
    return into


def load(path, **options):
    return plugins.load("engines", "by_rows")().load(path, EngineOptions(**options))


def spoilt(tmp_path, name, change):
    into = factors(tmp_path, name)
    told = json.loads((into / FILE).read_text())
    change(told)
    (into / FILE).write_text(json.dumps(told))
    return into


class TestByRows(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, heavy):
        broken = {
            what: factors(tmp_path, what) for what in ("empty", "truncated", "foreign", "gone")
        }
        whole = (broken["empty"] / FILE).read_bytes()
        (broken["empty"] / FILE).write_bytes(b"")
        (broken["truncated"] / FILE).write_bytes(whole[: len(whole) // 2])
        (broken["foreign"] / FILE).write_bytes(b"PK\x03\x04 this is a zip file")
        (broken["gone"] / "1" / "model.onnx").unlink()
        broken["missing"] = tmp_path / "nowhere"
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "model.onnx").write_bytes(heavy.read_bytes())
        weighty = tmp_path / "weighty"
        weighty.mkdir()
        write_by_rows(weighty, [part(tmp_path / "weights", 0)])
        return EngineCase(
            engine=plugins.load("engines", "by_rows")(),
            model=factors(tmp_path, "model", second=2.0),
            inputs=lambda rows: {
                "x": np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
            },
            broken=broken,
            weighty=weighty,
        )


@pytest.mark.parametrize(("rows", "factor"), [(0, 2), (1, 2), (4, 2), (5, 3), (64, 3)])
def test_the_part_is_taken_by_the_number_of_rows(tmp_path, rows, factor):
    session = load(factors(tmp_path))
    for one in (session, session.reusing()):
        [found] = one.infer({"x": np.ones((rows, 3), np.float32)})
        np.testing.assert_array_equal(found, np.full((rows, 3), factor, np.float32))
    session.close()


def test_parts_of_the_same_files_are_stored_once(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    models.double(folder / "model.onnx")
    into = tmp_path / "into"
    into.mkdir()
    quiet = (("optimization", "disabled"),)
    made = write_by_rows(into, [part(folder, 1, options=quiet), part(folder, 0)])
    assert [one.folder for one in made.parts] == ["0", "0"]
    assert sorted(p.name for p in into.iterdir()) == ["0", FILE]
    assert read_by_rows(into) == made
    assert dict(read_by_rows(into).parts[0].options) == dict(quiet)
    load(into).close()


def test_a_file_that_was_written_by_the_first_version_is_read(tmp_path):
    folder = factors(tmp_path)
    (folder / FILE).write_text(
        '{"parts": [{"engine": "onnxruntime", "folder": "0", "format": "onnx",'
        ' "options": [["arena", "off"]], "rows": 2},'
        ' {"engine": "onnxruntime", "folder": "1", "format": "onnx", "options": [], "rows": 0}],'
        ' "version": 1}'
    )
    session = load(folder)
    for rows, factor in ((2, 2), (3, 3)):
        [found] = session.infer({"x": np.ones((rows, 3), np.float32)})
        np.testing.assert_array_equal(found, np.full((rows, 3), factor, np.float32))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("version", lambda told: told.update(version=2)),
        ("rows", lambda told: told["parts"][1].update(rows=4)),
        ("rows", lambda told: told["parts"][0].update(rows=0)),
        ("rows", lambda told: told["parts"][0].update(rows=-1)),
        ("parts", lambda told: told["parts"].clear()),
        ("parts", lambda told: told["parts"].extend(told["parts"] * 10)),
        ("folder", lambda told: told["parts"][0].update(folder="../parts-0")),
        ("folder", lambda told: told["parts"][0].update(folder="..")),
        ("folder", lambda told: told["parts"][0].update(folder="/")),
        ("folder", lambda told: told["parts"][0].update(folder="")),
        ("folder", lambda told: told["parts"][0].update(folder="9")),
        ("format", lambda told: told["parts"][0].update(format="by-rows")),
        ("format", lambda told: told["parts"][0].update(format="tflite")),
    ],
)
def test_what_the_file_may_not_say_is_refused(tmp_path, field, change):
    with pytest.raises(InvalidError) as caught:
        load(spoilt(tmp_path, "spoilt", change))
    assert caught.value.field == field
    assert one_line(caught.value)


def test_an_engine_that_nobody_has_is_refused(tmp_path):
    folder = spoilt(tmp_path, "spoilt", lambda told: told["parts"][1].update(engine="nobody"))
    with pytest.raises(ModelworksError, match="nobody"):
        load(folder)


def test_a_link_is_no_part(tmp_path):
    folder = factors(tmp_path)
    outside = tmp_path / "parts-0"
    (folder / "2").symlink_to(outside)
    told = json.loads((folder / FILE).read_text())
    told["parts"][0]["folder"] = "2"
    (folder / FILE).write_text(json.dumps(told))
    with pytest.raises(InvalidError) as caught:
        load(folder)
    assert caught.value.field == "folder"


def test_parts_have_to_take_the_same(tmp_path):
    for name, width in (("a", 3), ("b", 3)):
        (tmp_path / name).mkdir()
        models.double(tmp_path / name / "model.onnx", width=width)
    models.identity(tmp_path / "b" / "model.onnx", Datatype.INT64)
    into = tmp_path / "into"
    into.mkdir()
    write_by_rows(into, [part(tmp_path / "a", 1), part(tmp_path / "b", 0)])
    with pytest.raises(InvalidError, match="part 1") as caught:
        load(into)
    assert caught.value.field == "x"


def test_steps_before_the_model_stand_above_all_parts(tmp_path):
    folders = []
    outer = Signature((TensorSpec("sent", Datatype.FP32, (None, 3)),), SIGNATURE.outputs)
    for place, factor in enumerate((2.0, 3.0)):
        folder = tmp_path / str(place)
        folder.mkdir()
        models.double(folder / "model.onnx", factor=factor)
        ends = [models.info(n, Datatype.FP32, (None, 3)) for n in ("sent", f"{MADE}x")]
        node = models.helper.make_node("Neg", ["sent"], [f"{MADE}x"])
        models.write(folder / "steps.onnx", [node], ends[:1], ends[1:])
        write_stepped(folder, Stepped(outer, SIGNATURE, front=True))
        folders.append(folder)
    into = tmp_path / "into"
    into.mkdir()
    recipes = [Recipe(), Recipe(run=Execution("onnxruntime", (("arena", "off"),)))]
    forms = [Form(r, f, "onnx", outer) for r, f in zip(recipes, folders, strict=True)]
    made = join(forms, (2, 0), into)
    assert made.format == "by-rows"
    assert made.recipe.parts == tuple(recipes)
    assert made.recipe.rows == (2, 0)
    assert sorted(p.name for p in (into / "0").iterdir()) == ["model.onnx"]
    engine = plugins.load("engines", made.recipe.run.engine)()
    session = open_model(engine, into, EngineOptions(signature=outer))
    for rows, factor in ((1, -2), (3, -3)):
        [found] = session.infer({"sent": np.ones((rows, 3), np.float32)})
        np.testing.assert_array_equal(found, np.full((rows, 3), factor, np.float32))
    session.close()


def test_forms_and_rows_have_to_fit(tmp_path):
    with pytest.raises(InvalidError) as caught:
        join([Form(Recipe(), tmp_path, "onnx", SIGNATURE)], (1, 0), tmp_path)
    assert caught.value.field == "rows"
