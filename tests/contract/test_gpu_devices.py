"""Devices: what nvidia-smi says, what is refused with the cure, what ONNX Runtime is handed.

No GPU has run this: a program that prints what nvidia-smi prints stands in its place.
"""

import onnxruntime as ort
import pytest

from modelworks.core.deployment import Revision, Support
from modelworks.core.errors import InvalidError, UnavailableError, UnsupportedError
from modelworks.core.instances import parsed
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.ext.engines import gpus, providers
from modelworks.ext.targets.containers import table as containers
from modelworks.ext.targets.kubernetes import capabilities as kubernetes
from modelworks.ext.targets.local import table as local
from modelworks.plugins import load as plugins
from modelworks.protocol.manifest.deployment import DeploymentSpec
from modelworks.protocol.manifest.server import Places, variables
from modelworks.serving.loading import load_model
from modelworks.testing import onnx_models as models
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase

pytestmark = pytest.mark.contract
TWO = """\
0, GPU-11aa, NVIDIA L4, 22000, 23034
1, GPU-22bb, NVIDIA L4, 1000, 23034
"""


def program(folder, text, code=0):
    folder.mkdir(exist_ok=True)
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {code}\n")
    file.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_what_is_printed_is_read(tmp_path):
    first, second = gpus.found(program(tmp_path, TWO))
    assert (first.index, first.uuid, first.name) == (0, "GPU-11aa", "NVIDIA L4")
    assert (second.free, second.total) == (1000 << 20, 23034 << 20)


@pytest.mark.parametrize(
    "text", ["", "No devices were found\n", "0, GPU-1, x, [N/A], 5\n", "a,b,c,d,e\n", ",,,,\n"]
)
def test_what_is_no_card_is_left_out(tmp_path, text):
    assert gpus.found(program(tmp_path, text)) == []


def test_without_the_program_nobody_knows(tmp_path):
    assert gpus.found({"PATH": str(tmp_path)}) is None
    gpus.admit(7, 1 << 60, "device=cuda:7", {"PATH": str(tmp_path)})  # the engine finds out


def test_a_driver_that_fails_is_no_card(tmp_path):
    assert gpus.found(program(tmp_path, TWO, code=9)) == []


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("1", [1]),
        ("1,0", [1, 0]),
        ("GPU-22", [1]),
        ("0,7,1", [0]),
        ("-1", []),
        ("", []),
        (None, [0, 1]),
    ],
)
def test_cuda_counts_what_is_visible(told, wanted):
    assert [gpu.index for gpu in gpus.visible(gpus.read(TWO), told)] == wanted


def test_a_device_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        gpus.admit(2, 0, "device=cuda:2", program(tmp_path, TWO))
    assert "cuda:0 is NVIDIA L4 with 22000 of 23034 MiB free; cuda:1 is" in caught.value.message
    assert "device=cpu" in caught.value.message
    hidden = program(tmp_path, TWO) | {"CUDA_VISIBLE_DEVICES": "1"}
    with pytest.raises(UnsupportedError, match=r"\(CUDA_VISIBLE_DEVICES=1\)"):
        gpus.admit(1, 0, "device=cuda:1", hidden)


def test_a_model_without_room_is_told_the_numbers(tmp_path):
    environment = program(tmp_path, TWO)
    gpus.admit(0, 10 << 30, "device=cuda:0", environment)
    with pytest.raises(UnavailableError, match="1000 of 23034 MiB free") as caught:
        gpus.admit(1, 1 << 30, "device=cuda:1", environment)
    assert "1536 MiB" in caught.value.message


def place(**extra):
    return providers.place_of(extra)


def test_a_device_alone_means_cuda():
    assert place() == providers.Place()
    assert place(device="cpu") == providers.Place()
    assert place(device="cuda:1") == providers.Place("cuda", 1)
    assert place(device="cuda:2", provider="tensorrt") == providers.Place("tensorrt", 2)


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"device": "rocm:0"}, "device"),
        ({"device": "cuda:x"}, "device"),
        ({"device": "gpu:0"}, "device"),
        ({"provider": "cpu", "device": "cuda:0"}, "device"),
        ({"tf32": "on"}, "tf32"),
        ({"gpu_memory_mib": "5"}, "gpu_memory_mib"),
        ({"device": "cuda:0", "tf32": "perhaps"}, "tf32"),
        ({"device": "cuda:0", "gpu_memory_mib": "-1"}, "gpu_memory_mib"),
        ({"device": "cuda:0", "cudnn_search": "best"}, "cudnn_search"),
    ],
)
def test_settings_that_cannot_be_are_named(extra, field):
    with pytest.raises(InvalidError) as caught:
        place(**extra)
    assert caught.value.field == field


@pytest.fixture
def built_for_gpus(monkeypatch):
    """As the build for GPUs says it; this one still has none of it."""
    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: every)


def test_what_onnxruntime_is_handed(tmp_path, built_for_gpus):
    told = place(device="cuda:1", gpu_memory_mib="512", tf32="on", cudnn_search="heuristic")
    chain = dict(providers.chain("cuda", tmp_path, told)[:-1])
    assert chain["CUDAExecutionProvider"] == {
        "use_tf32": "1",
        "device_id": "1",
        "gpu_mem_limit": str(512 << 20),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    both = dict(
        providers.chain("tensorrt", tmp_path, place(provider="tensorrt", device="cuda:1"))[:-1]
    )
    assert both["TensorrtExecutionProvider"] == {"device_id": "1"}
    assert both["CUDAExecutionProvider"]["device_id"] == "1"


def test_a_session_is_refused_before_anything_is_loaded(tmp_path, built_for_gpus, monkeypatch):
    environment = program(tmp_path / "bin", TWO)
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    model = models.double(tmp_path / "model.onnx")
    engine = plugins.load("engines", "onnxruntime")()
    with pytest.raises(UnsupportedError, match="device=cuda:5: no such device"):
        engine.load(model, EngineOptions(extra=(("device", "cuda:5"),)))
    many = (("device", "cuda:0"), ("gpu_memory_mib", "30000"))
    with pytest.raises(UnavailableError, match="30512 MiB"):
        engine.load(model, EngineOptions(extra=many))


def test_an_instance_on_a_gpu_that_is_not_there_loads_nothing(tmp_path):
    model = models.double(tmp_path / "model.onnx")
    line = ServedModel("m", "1.0.0", str(model), digest="", instances=parsed("cpu,cuda:0"))
    with pytest.raises(UnsupportedError, match="provider=cuda|no such device"):  # noqa: RUF043
        load_model(line, threads=1)


def test_openvino_names_the_devices_that_it_finds(tmp_path):
    source = pass_models.mlp(tmp_path / "mlp")
    case = PassCase("openvino", source, None, 0, {}, None, {})
    (tmp_path / "ir").mkdir()
    case.apply(tmp_path / "ir")
    engine = plugins.load("engines", "openvino")()
    with pytest.raises(UnsupportedError, match="OpenVINO finds CPU here"):
        engine.load(tmp_path / "ir", EngineOptions(extra=(("device", "gpu:3"),)))
    with pytest.raises(InvalidError, match="no device of gpu"):
        engine.load(tmp_path / "ir", EngineOptions(extra=(("device", "npu"),)))
    session = engine.load(tmp_path / "ir", EngineOptions(extra=(("device", "cpu"),)))
    assert len(session.infer(pass_models.matrix_rows(2))) == 1
    session.close()


def test_every_target_honours_gpus_or_refuses_them():
    assert local.TABLE["resources.gpu"].support is Support.REFUSED
    assert containers.TABLE["resources.gpu"].support is Support.REFUSED
    assert kubernetes.FIELDS["resources.gpu"].support is Support.HONOURED
    for table in (local.TABLE, containers.TABLE, kubernetes.FIELDS):
        check = table["server.instances[].device"].refuses
        assert check("cpu", {"resources": {"gpu": 0}}) == ""
        assert "resources.gpu: 2" in check("cuda:1", {"resources": {"gpu": 1}})
        assert check("cuda:1", {"resources": {"gpu": 2}}) == ""


def spec(**server):
    whole = {"model": "m:1.0.0", "target": "kubernetes", "resources": {"gpu": 1}, "server": server}
    return DeploymentSpec.model_validate(whole)


def test_a_manifest_says_copies_to_the_server():
    said = spec(instances=[{"device": "cuda:0", "count": 2}, {}])
    assert variables(said, Places())["MODELWORKS_SERVER_INSTANCES"] == "cuda:0*2,cpu*1"
    assert "MODELWORKS_SERVER_INSTANCES" not in variables(spec(), Places())
    with pytest.raises(ValueError, match="device"):
        spec(instances=[{"device": "tpu"}])


def test_a_revision_of_an_earlier_build_keeps_its_digest():
    line = ServedModel("m", "1.0.0", "/nowhere", digest="sha256:1")
    now = spec().model_dump(mode="json")
    before = {key: value for key, value in now.items() if key not in {"cache", "sequences"}}
    before["server"] = {k: v for k, v in now["server"].items() if k != "instances"}
    assert Revision("m", 1, now, line).digest == Revision("m", 1, before, line).digest
    more = spec(instances=[{"count": 2}]).model_dump(mode="json")
    assert Revision("m", 1, more, line).digest != Revision("m", 1, now, line).digest
