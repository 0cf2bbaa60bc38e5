"""A native version is served with the Python of the environment that it needs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelworks.control import serve
from modelworks.control.service import Factory
from modelworks.core.errors import UnavailableError
from modelworks.core.model import Evidence, Lineage, Verdict
from modelworks.core.native import NativeModel, write_native
from modelworks.sandbox import environments
from modelworks.testing.candidates import candidate, signature

pytestmark = pytest.mark.unit

LINES = ("tiny==1.0",)


@pytest.fixture
def factory(home):
    with Factory(home, actor="ana") as found:
        yield found


def environment(home) -> Path:
    """One that is there, as `make` leaves it."""
    folder = home.environments / environments.name_of(LINES)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    marker = {
        "name": folder.name, "requirements": list(LINES), "python": "3.11.7",
        "made_ns": 1, "size_bytes": 1, "folder": str(folder),
    }  # fmt: skip
    (folder / "modelworks-environment.json").write_text(json.dumps(marker))
    return folder / "bin" / "python"


def publish(factory, tmp_path, *, trusted=True):
    publication = candidate(tmp_path / "artifact")
    write_native(
        tmp_path / "artifact", NativeModel("keras", "model.onnx", signature(), requirements=LINES)
    )
    word = Evidence("trust", Verdict.ACCEPTED, "ana vouches for it", {"digest": "sha256:source"})
    factory.publish(
        replace(
            publication,
            format="native",
            lineage=Lineage(source_digest="sha256:source"),
            evidence=(word,) if trusted else (),
        )
    )


def test_the_environment_that_is_there_is_named(factory, home, tmp_path):
    python = environment(home)
    publish(factory, tmp_path)
    (model,) = factory.desired().models
    assert model.interpreter == str(python)
    assert model.trusted


def test_nothing_is_installed_without_the_owners_word(factory, home, tmp_path):
    publish(factory, tmp_path, trusted=False)
    (model,) = factory.desired().models
    assert model.interpreter == ""
    assert not home.environments.exists()


def test_one_that_cannot_be_made_is_not_tried_with_every_tick(factory, tmp_path, monkeypatch):
    tried = []

    def offline(lines, root, progress):
        tried.append(lines)
        raise UnavailableError("the package index does not answer")

    monkeypatch.setattr(serve, "make", offline)
    publish(factory, tmp_path)
    for _ in range(3):
        assert factory.desired().models == ()
    assert tried == [LINES]


def test_one_that_was_taken_away_is_asked_for_again(factory, home, tmp_path, monkeypatch):
    python = environment(home)
    publish(factory, tmp_path)
    before = factory.desired()
    assert factory.desired(before) is before
    python.unlink()
    made = tmp_path / "made"
    monkeypatch.setattr(serve, "make", lambda lines, root, progress: made)
    (model,) = factory.desired(before).models
    assert model.interpreter == str(made)
