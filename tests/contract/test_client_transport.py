"""The verbs of the control plane mean the same in-process and over HTTP."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from onnx import TensorProto, helper, load, save

from modelworks.api.app import create_app
from modelworks.client.http import HttpTransport
from modelworks.client.transport import Transport
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.errors import (
    ConflictError,
    CorruptError,
    InvalidError,
    ModelworksError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.semver import Bump, Semver
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.testing.candidates import variant

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x w, as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 2.0])],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(found, folder / "w\u00e9ights 1.onnx")
    return folder / "w\u00e9ights 1.onnx"


@pytest.fixture(params=["in-process", "http"])
def transport(request: pytest.FixtureRequest, home: Home) -> Iterator[Transport]:
    with Factory(home, actor="ana") as factory:
        if request.param == "in-process":
            yield factory
            return
        watch = Watch(home)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(16)
            app = create_app(factory, watch)
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            transport = HttpTransport(f"http://127.0.0.1:{listening.getsockname()[1]}")
            try:
                yield transport
            finally:
                transport.close()
                server.should_exit = True
                thread.join(timeout=20)
                watch.close()


def test_the_whole_life_of_a_model(transport: Transport, model: Path):
    steps: list[str] = []
    first = transport.import_model(
        ImportRequest(
            file=model,
            name="line",
            run="run-7",
            data_digest="sha256:abc",
            tags=("new",),
            labels={"environment": "test"},
            alias="champion",
        ),
        steps.append,
    )
    assert first.ref == "line:1.0.0"
    assert first.lineage.source_name == model.name
    assert (first.lineage.run, first.lineage.data_digest) == ("run-7", "sha256:abc")
    assert (first.tags, first.labels) == (("new",), {"environment": "test"})
    assert [e.kind for e in first.evidence if e.kind == "parity"] == ["parity"]
    assert steps
    second = transport.import_model(
        ImportRequest(file=model, name="line", bump=Bump.MAJOR, parent="line@champion")
    )
    assert second.ref == "line:2.0.0"
    assert second.lineage.parent == "line:1.0.0"
    third = transport.import_model(
        ImportRequest(file=model, name="line", version=Semver(2, 3, 4), parent="line:2.0.0")
    )
    assert [v.ref for v in transport.versions("line")] == ["line:2.3.4", "line:2.0.0", "line:1.0.0"]
    assert transport.show("line") == third
    assert transport.show("line@champion") == first
    before = now_ns()
    moved = transport.set_alias("line", "champion", "2.0.0", "better")
    assert (moved.name, str(moved.version)) == ("champion", "2.0.0")
    summary = transport.models()
    assert [(m.name, m.versions, str(m.latest)) for m in summary] == [("line", 3, "2.3.4")]
    assert summary[0].aliases == (moved,)
    changes = transport.history("line")
    assert [(str(c.version), c.reason) for c in changes] == [
        ("1.0.0", "published"),
        ("2.0.0", "better"),
    ]
    assert transport.history("line", "champion") == changes
    assert transport.alias_at("line", "champion", before) == changes[0]
    with pytest.raises(NotFoundError):
        transport.alias_at("line", "champion", 0)
    found = transport.compare("line:1.0.0", "line@champion")
    assert found.compatible
    noted = transport.annotate("line:2.0.0", ("a",), {"k": "v / w"})
    assert (noted.tags, noted.labels) == (("a",), {"k": "v / w"})
    assert transport.verify("line:2.0.0").ok
    with pytest.raises(ConflictError):
        transport.delete("line:2.0.0")
    transport.remove_alias("line", "champion", "over")
    assert transport.history("line", "champion")[-1].version is None
    assert transport.delete("line:2.3.4") == ["line:2.3.4"]
    assert sorted(transport.delete("line")) == ["line:1.0.0", "line:2.0.0"]
    assert transport.collect().blobs == 1
    assert transport.models() == []


def test_the_variants_of_a_version(transport: Transport, home: Home, model: Path):
    version = transport.import_model(ImportRequest(file=model, name="line", alias="champion"))
    assert transport.variants("line") == []
    with Factory(home) as factory:
        folder = factory.materialise("line")
        made = [factory.add_variant(variant(version, name), folder) for name in ("a", "b")]
    for ref in ("line", "line@champion", "line:1.0.0"):
        assert transport.variants(ref) == made
    assert transport.delete("line@champion#a") == ["line:1.0.0#a"]
    assert transport.variants("line") == made[1:]
    for wrong, kind in (("line#b", InvalidError), ("line:2.0.0", NotFoundError)):
        with pytest.raises(kind):
            transport.variants(wrong)
    with pytest.raises(NotFoundError, match="there are: b"):
        transport.delete("line#a")
    with pytest.raises(InvalidError):
        transport.verify("line#b")
    assert transport.delete("line:1.0.0#b") == ["line:1.0.0#b"]


def _reaching_out(model: Path, into: Path) -> Path:
    """The model with its weights said to lie outside its folder; refused without a framework."""
    found = load(model)
    weights = found.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    into.write_bytes(found.SerializeToString())
    return into


def test_errors_are_the_same_errors(transport: Transport, model: Path, tmp_path: Path):
    transport.import_model(ImportRequest(file=model, name="line"))
    hostile = _reaching_out(model, tmp_path / "hostile.onnx")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(model.read_bytes()[:40])
    cases: list[tuple[type[ModelworksError], ImportRequest]] = [
        (RefusedError, ImportRequest(file=hostile, name="x")),
        (InvalidError, ImportRequest(file=torn, name="x")),
        (InvalidError, ImportRequest(file=tmp_path / "nope", name="x")),
        (ConflictError, ImportRequest(file=model, name="line", version=Semver(1, 0, 0))),
        (NotFoundError, ImportRequest(file=model, name="x", parent="nobody:1.0.0")),
        (InvalidError, ImportRequest(file=model, name="x", tags=("two\nlines",))),
    ]
    for kind, request in cases:
        with pytest.raises(kind) as caught:
            transport.import_model(request)
        assert "\n" not in caught.value.message
    assert [m.name for m in transport.models()] == ["line"]
    for verb, words in (
        ("show", ("nope",)),
        ("versions", ("nope",)),
        ("history", ("nope",)),
        ("verify", ("line:9.9.9",)),
        ("delete", ("line@nobody",)),
        ("set_alias", ("line", "a", "9.9.9")),
    ):
        with pytest.raises(NotFoundError):
            getattr(transport, verb)(*words)
    with pytest.raises(InvalidError) as caught:
        transport.show("../etc/passwd")
    assert caught.value.field


def test_rotten_bytes_are_told(transport: Transport, model: Path, home: Home):
    version = transport.import_model(ImportRequest(file=model, name="line"))
    digest = version.artifact.files[0][1]
    stored = next(p for p in home.blobs.rglob("*") if p.is_file() and digest[-20:] in str(p))
    stored.chmod(0o600)
    stored.write_bytes(b"rotten")
    found = transport.verify("line")
    assert not found.ok
    assert found.problems


def test_a_sample_and_an_input_travel_along(transport: Transport, model: Path, tmp_path: Path):
    sample = tmp_path / "rows.csv"
    sample.write_text("a,b\n1,2\n3,4\n")
    options = ImportOptions(sample=sample, seed=3)
    version = transport.import_model(ImportRequest(file=model, name="line", options=options))
    assert version.signature.inputs[0].name == "x"
    assert version.lineage.data_digest
    told = replace(options, inputs=(TensorSpec("x", Datatype.FP32, (None, 2)),))
    with pytest.raises(InvalidError, match="--input means nothing") as caught:
        transport.import_model(ImportRequest(file=model, name="line", options=told))
    assert caught.value.field == "inputs"


def test_steps_travel_along(transport: Transport, model: Path, tmp_path: Path):
    steps = tmp_path / "steps.yaml"
    steps.write_text("inputs: [{name: age, impute: {value: 3.5}}, {name: pay}]")
    options = ImportOptions(steps=steps)
    version = transport.import_model(ImportRequest(file=model, name="line", options=options))
    assert version.signature.features == ("age", "pay")
    assert transport.show("line").signature.steps[0].names == ("impute",)
    assert {file for file, _ in version.artifact.files} >= {"model.onnx", "steps.json"}


def test_a_folder_cannot_be_sent(tmp_path: Path):
    transport = HttpTransport("http://127.0.0.1:9")
    (tmp_path / "saved").mkdir()
    with pytest.raises(InvalidError, match="folder"):
        transport.import_model(ImportRequest(file=tmp_path / "saved", name="x"))
    transport.close()


def test_nobody_there_says_what_to_start():
    with socket.socket() as held:  # bound and not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        transport = HttpTransport(f"http://127.0.0.1:{held.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="modelworks up"):
            transport.models()
        assert time.monotonic() - began < 30
        transport.close()


def test_corrupt_is_corrupt_over_the_wire():
    # The mapping itself is a unit; here only that the class survives.
    from modelworks.client.wire import problem

    error = problem(500, b'{"detail": "rotten", "kind": "CorruptError"}', {}, "control plane")
    assert isinstance(error, CorruptError)
