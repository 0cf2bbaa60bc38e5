"""Who may say what is installed: an importer's own pins, or the owner of the file."""

from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError, RefusedError, UnsupportedError
from modelworks.core.imports import ImportOptions
from modelworks.ext.importers.keras import pins
from modelworks.intake.environment import Needs, needs, prepared
from modelworks.plugins.load import load

pytestmark = pytest.mark.unit


def quiet(step):
    """Nobody listens."""


def test_an_importer_of_this_environment_needs_none(tmp_path):
    assert needs(load("importers", "onnx")(), tmp_path / "m.onnx", ImportOptions()) is None


def test_lines_that_are_none_of_the_importers_own_want_the_owners_word(tmp_path):
    """Also where the job, which read a file that nobody vouched for, says otherwise."""
    root = tmp_path / "environments"
    for lines in (("evil==1.0",), (*pins.requirements(), "evil==1.0"), pins.requirements()[:-1]):
        with pytest.raises(RefusedError, match="--trust") as caught:
            prepared(Needs("keras", lines), ImportOptions(), root, quiet)
        assert caught.value.field == "trust"
    assert not root.exists()


def test_its_own_pins_want_nobodys_word_but_a_folder(tmp_path):
    wanted = Needs("keras", tuple(reversed(pins.requirements())))
    with pytest.raises(UnsupportedError, match="environment of its own"):
        prepared(wanted, ImportOptions(), None, quiet)


def test_a_job_cannot_smuggle_an_option_of_the_installer(tmp_path):
    with pytest.raises(InvalidError, match="is no requirement"):
        prepared(
            Needs("keras", ("--index-url=http://127.0.0.1/",)),
            ImportOptions(trust=True),
            Path(tmp_path),
            quiet,
        )
