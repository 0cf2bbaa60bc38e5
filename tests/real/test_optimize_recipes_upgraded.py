"""A pass is raised to another version between two commands: nothing is silently another thing.

The upgrade is planted where an installation remembers what its passes say of themselves.
"""

import json

import pytest

from desk import Desk, predict
from digits_desk import digits_desk

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
ROWS = ("--eval", "test.csv", "--label", "digit", "--batches", "1", "--budget", "40s")
RECIPE = {"steps": [{"name": "int8_dynamic"}], "run": {"engine": "onnxruntime"}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A network that reads digits with a form in eight bits, and rows that it was not shown."""
    desk = digits_desk(tmp_path_factory.mktemp("upgrades"), epochs=12, rows=16)
    write(desk, RECIPE)
    done = desk.mw("optimize", "apply", "recipe.json", "net", *ROWS, "--json").json
    desk.notes["name"] = done["findings"][0]["variant"]
    assert desk.notes["name"], done["findings"][0]["why"]
    return desk


def write(desk: Desk, recipe: dict) -> None:
    (desk.folder / "recipe.json").write_text(json.dumps(recipe))


def raised(desk: Desk, version: int) -> None:
    """From now on the installed pass is of that version."""
    file = desk.folder / "home" / "optimize" / "facts.json"
    known = json.loads(file.read_text())
    known["int8_dynamic"]["facts"]["version"] = version
    file.write_text(json.dumps(known))


def test_an_older_form_is_served_as_it_is_and_its_recipe_applied_with_a_note(desk: Desk):
    ref = f"net#{desk.notes['name']}"
    written = json.loads(desk.mw("optimize", "recipe", ref).out)
    now = written["steps"][0]["version"]
    assert now >= 1
    assert "made by" not in desk.mw("optimize", "explain", ref).out

    raised(desk, now + 1)
    told = desk.mw("optimize", "explain", ref).out
    assert f"made by int8_dynamic {now}, which is {now + 1} here" in told
    with desk.running("serve", ref, "--port", "0") as server:
        assert len(predict(server.said["url"], "net", desk.notes["rows"])["predictions"]) == 16
        server.drain()

    forms = desk.folder / "home" / "optimize" / "cache"
    before = set(forms.iterdir())
    write(desk, written)
    run = desk.mw("optimize", "apply", "recipe.json", "net", *ROWS, "--json").json
    assert any(f"int8_dynamic {now}, and here is {now + 1}" in note for note in run["notes"])
    assert len(set(forms.iterdir()) - before) == 1, "the form of the older version was taken"


def test_what_the_pass_here_does_not_know_is_refused_with_the_cure(desk: Desk):
    raised(desk, 2)
    step = {"name": "int8_dynamic", "version": 1, "settings": {"blocks": 4}}
    write(desk, RECIPE | {"steps": [step]})
    old = desk.mw("optimize", "apply", "recipe.json", "net", *ROWS, code=4).err
    assert "no setting 'blocks'" in old
    assert "take the setting out" in old
    write(desk, RECIPE | {"steps": [{"name": "int8_dynamic", "version": 3}]})
    new = desk.mw("optimize", "apply", "recipe.json", "net", *ROWS, code=4).err
    assert "int8_dynamic 3, and here is 2: update Modelworks" in new
