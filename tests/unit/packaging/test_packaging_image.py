"""Versions as an image: what lies where, what it says, and that it is the same every time."""

import gzip
import io
import json
import tarfile

import pytest
from wheel_maker import simple

from modelworks.core import codec
from modelworks.core.digest import of_file
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.served import ServedList, ServedModel
from modelworks.packaging.image import USER, About, build
from modelworks.packaging.oci import Change, Layout, extend
from modelworks.packaging.wheels import read_wheels

pytestmark = pytest.mark.unit


@pytest.fixture
def models(tmp_path):
    file = tmp_path / "artifact" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(b"onnx")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"more")
    (folder / "steps.json").write_text("{}")
    return (
        ServedModel("fraud", "1.4.0", str(file), of_file(file)),
        ServedModel("text", "1.0.0", str(folder), "sha256:0", aliases=("champion",)),
    )


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    simple(folder, "modelworks", files={"modelworks/__init__.py": b"", "modelworks/x.py": b"x"})
    simple(folder, "numpy", "2.1")
    return read_wheels(folder)


def made(folder, models, wheels, **more):
    layout = Layout.create(folder)
    base = extend(layout, None, [], Change(environment={"PATH": "/bin"}, command=("bash",)))
    return layout, build(layout, base, models, wheels, About("fraud:1.4.0", **more))


def files(layout, image):
    found = {}
    for layer in image.layers:
        data = gzip.decompress(layout.path(layer).read_bytes())
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for info in tar.getmembers():
                if info.isfile():
                    found[f"/{info.name}"] = tar.extractfile(info).read()
    return found


def test_everything_lies_where_the_list_says(tmp_path, models, wheels):
    layout, image = made(tmp_path / "layout", models, wheels)
    found = files(layout, image)
    served = codec.decode(ServedList, json.loads(found["/opt/modelworks/served.json"]))
    first, second = served.models
    assert found[first.path] == b"onnx"
    assert found[f"{second.path}/model.onnx"] == b"more"
    assert found[f"{second.path}/steps.json"] == b"{}"
    assert second.aliases == ("champion",)
    assert found["/opt/modelworks/site/modelworks/x.py"] == b"x"
    bill = json.loads(found["/opt/modelworks/sbom.cdx.json"])
    assert [one["name"] for one in bill["components"]] == ["fraud", "text", "modelworks", "numpy"]
    assert not [path for path in found if str(tmp_path) in found[path].decode(errors="replace")]


def test_it_runs_the_server_as_nobody(tmp_path, models, wheels):
    said = {"org.opencontainers.image.version": "1.4.0"}
    _, image = made(tmp_path / "layout", models, wheels, annotations=said)
    config = image.config["config"]
    assert config["Entrypoint"] == ["python3", "-m", "modelworks.apps.server"]
    assert "Cmd" not in config
    assert config["User"] == f"{USER}:{USER}"
    assert "PATH=/bin" in config["Env"]
    assert "MODELWORKS_SERVER_PORT=8080" in config["Env"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["Labels"] == said
    assert config["Healthcheck"]["Test"][-1] == "modelworks.apps.health"


def test_the_same_inputs_make_the_same_image(tmp_path, models, wheels):
    first = made(tmp_path / "one", models, wheels, time=5)[1]
    assert made(tmp_path / "two", models, wheels, time=5)[1] == first
    assert made(tmp_path / "three", models, wheels, time=6)[1] != first
    assert made(tmp_path / "four", models[:1], wheels, time=5)[1].layers[0] == first.layers[0]


def test_what_no_image_can_be_made_of_is_refused(tmp_path, models, wheels):
    first = models[0]
    with pytest.raises(InvalidError, match="one model at least"):
        made(tmp_path / "a", [], wheels)
    with pytest.raises(InvalidError, match="no wheel of modelworks"):
        made(tmp_path / "b", models, wheels[1:])
    with pytest.raises(InvalidError, match="listed twice"):
        made(tmp_path / "c", [first, first], wheels)
    native = ServedModel("n", "1.0.0", first.path, "sha256:0", format="native")
    with pytest.raises(UnsupportedError, match="own framework"):
        made(tmp_path / "d", [native], wheels)
    gone = ServedModel("g", "1.0.0", str(tmp_path / "gone"), "sha256:0")
    with pytest.raises(InvalidError, match="nothing lies at"):
        made(tmp_path / "e", [gone], wheels)
