"""From references to folders on this machine."""

import logging
from pathlib import Path

import pytest

from modelworks.control.service import Factory
from modelworks.core.errors import CorruptError, InvalidError, NotFoundError, UnsupportedError
from modelworks.core.semver import Semver
from modelworks.testing.candidates import candidate, signature

pytestmark = pytest.mark.unit


@pytest.fixture
def factory(home):
    with Factory(home) as factory:
        yield factory


@pytest.fixture
def put(factory, tmp_path):
    def put(name="fraud", content=b"model", **more):
        return factory.publish(candidate(tmp_path / "work", content, name, **more))

    return put


def brief(served):
    return [(m.name, m.version, m.default, m.aliases) for m in served.models]


def damage(factory, version):
    digest = version.artifact.files[0][1].removeprefix("sha256:")
    path = factory.home.blobs / "sha256" / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)


def test_references_become_folders(factory, put):
    version = put(alias="champion")
    served = factory.resolve(["fraud"])
    (model,) = served.models
    assert (model.name, model.version, model.format, model.engine) == (
        "fraud",
        "1.0.0",
        "onnx",
        "onnxruntime",
    )
    assert model.signature == signature()
    assert model.digest == version.artifact.digest
    assert (Path(model.path) / "model.onnx").read_bytes() == b"model"
    assert factory.materialise("fraud") == Path(model.path)


def test_a_bare_name_is_the_champion_or_the_latest(factory, put):
    put()
    put()
    assert brief(factory.resolve(["fraud"])) == [("fraud", "1.1.0", True, ())]
    factory.set_alias("fraud", "champion", "1.0.0")
    assert brief(factory.resolve(["fraud"])) == [("fraud", "1.0.0", True, ("champion",))]
    assert factory.show("fraud").version == Semver(1, 1, 0)


def test_several_versions_have_one_default(factory, put):
    for _ in range(3):
        put()
    put("churn")
    factory.set_alias("fraud", "champion", "1.1.0")
    assert brief(factory.resolve(["fraud:1.2.0", "fraud:1.0.0"])) == [
        ("fraud", "1.0.0", False, ()),
        ("fraud", "1.2.0", True, ()),
    ]
    assert brief(factory.resolve(["fraud:1.2.0", "fraud@champion", "churn", "fraud:1.1.0"])) == [
        ("churn", "1.0.0", True, ()),
        ("fraud", "1.1.0", True, ("champion",)),
        ("fraud", "1.2.0", False, ()),
    ]


@pytest.mark.parametrize(
    ("refs", "kind"),
    [
        ([], InvalidError),
        (["Fraud!"], InvalidError),
        (["fraud:1"], InvalidError),
        (["nobody"], NotFoundError),
        (["fraud@nobody"], NotFoundError),
        (["fraud", "fraud:9.9.9"], NotFoundError),
    ],
)
def test_references_to_nothing_are_refused(factory, put, refs, kind):
    put()
    with pytest.raises(kind) as caught:
        factory.resolve(refs)
    assert "\n" not in caught.value.message


def test_a_format_without_an_engine_is_refused(factory, tmp_path):
    wanted = candidate(tmp_path / "work")
    factory.publish(type(wanted)(wanted.name, wanted.folder, "tarot", wanted.signature))
    with pytest.raises(UnsupportedError, match="tarot"):
        factory.resolve(["fraud"])
    assert factory.desired().models == ()


def test_damaged_bytes_are_never_laid_out(factory, put):
    version = put()
    damage(factory, version)
    with pytest.raises(CorruptError, match=r"model\.onnx"):
        factory.resolve(["fraud"])
    assert list(factory.home.cache.iterdir()) == []
    assert not factory.verify("fraud").ok


def test_up_serves_the_rest_when_one_is_damaged_and_says_so_once(factory, put, caplog):
    put("fine", b"fine")
    damage(factory, put("broken", b"broken"))
    damage(factory, put("fine", b"other", alias="challenger"))
    factory.set_alias("fine", "champion", "1.0.0")
    with caplog.at_level(logging.ERROR):
        served = factory.desired()
        for _ in range(3):
            assert factory.desired(served) is served
    assert brief(served) == [("fine", "1.0.0", True, ("champion",))]
    assert len(caplog.records) == 2


def test_without_its_default_a_model_is_not_listed(factory, put):
    put(content=b"one", alias="challenger")
    damage(factory, put(content=b"two"))
    assert factory.desired().models == ()


def test_the_list_follows_the_registry(factory, put):
    put(alias="champion")
    first = factory.desired()
    assert first.generation == 1
    assert factory.desired(first) is first
    factory.annotate("fraud", ("note",), {})
    assert factory.desired(first) is first
    put()  # neither champion nor pointed at
    assert factory.desired(first) is first
    factory.set_alias("fraud", "challenger", "1.1.0")
    second = factory.desired(first)
    assert second.generation == 2
    assert brief(second) == [
        ("fraud", "1.0.0", True, ("champion",)),
        ("fraud", "1.1.0", False, ("challenger",)),
    ]
    factory.set_alias("fraud", "champion", "1.1.0")
    assert brief(factory.desired(second)) == [("fraud", "1.1.0", True, ("challenger", "champion"))]


def test_a_folder_that_was_deleted_is_laid_out_again(factory, put):
    put()
    first = factory.desired()
    folder = Path(first.models[0].path)
    (folder / "model.onnx").unlink()
    folder.rmdir()
    assert factory.desired(first) is not None
    assert (folder / "model.onnx").read_bytes() == b"model"


def test_collection_clears_folders_of_what_was_deleted(factory, put):
    put("fraud", b"one")
    put("churn", b"two")
    factory.desired()
    factory.delete("fraud")
    factory.collect()
    assert len(list(factory.home.cache.iterdir())) == 1
    assert brief(factory.desired()) == [("churn", "1.0.0", True, ())]


def test_verify_drops_a_damaged_laid_out_copy(factory, put):
    put()
    folder = factory.materialise("fraud")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").write_bytes(b"mudel")
    assert factory.verify("fraud").ok
    assert not folder.exists()
    assert (factory.materialise("fraud") / "model.onnx").read_bytes() == b"model"


def test_what_a_process_before_laid_out_is_hashed_once_and_healed(factory, put, home):
    put(alias="champion")
    before = factory.desired()
    served = Path(before.models[0].path) / "model.onnx"
    served.chmod(0o644)
    served.write_bytes(b"mudel")
    assert factory.desired(before) is before  # this process made it: it is not read again
    assert served.read_bytes() == b"mudel"
    with Factory(home) as again:
        assert again.desired(before) is before
        assert served.read_bytes() == b"model"


def test_what_is_damaged_here_and_in_the_store_is_named_and_not_served(factory, put, home, caplog):
    version = put(alias="champion")
    put("churn", b"other")
    before = factory.desired()
    served = Path(before.models[1].path) / "model.onnx"
    served.chmod(0o644)
    served.write_bytes(b"mudel")
    damage(factory, version)
    with Factory(home) as again, caplog.at_level(logging.ERROR):
        assert [m.name for m in again.desired(before).models] == ["churn"]
        digest = version.artifact.files[0][1][:19]
        assert "fraud:1.0.0 is not served: model.onnx: the stored file is damaged" in caplog.text
        assert digest in caplog.text
        with pytest.raises(CorruptError, match=r"fraud:1\.0\.0: model\.onnx: the stored file"):
            again.resolve(["fraud"])
