"""Variants in containers: an image brings the library of its form's engine, and answers as here.

The forms are real: a forest for our own kernel, which is compiled in the container, and a dense
network for LiteRT. Their figures are made up.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from containers import base_layout
from modelworks.client.data import DataPlane
from modelworks.control.forms import here
from modelworks.control.service import Factory
from modelworks.core.errors import ModelworksError
from modelworks.core.home import Home
from modelworks.core.model import Lineage
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.ext.importers.forest import Kind, Task
from modelworks.plugins.load import load
from modelworks.registry.publish import Publication
from modelworks.testing import pass_models
from modelworks.testing.candidates import measured, variant
from modelworks.testing.servers import serve_list
from store_servers import free_port
from tree_models import onnx_folder, rows

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]  # the first fetches the libraries
WALLS = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "10001"]
FORMS = {"forest": "trees", "network": "litert"}  # model -> pass, which is called as its engine


@pytest.fixture(scope="module")
def sent():
    return {"forest": rows(40), "network": pass_models.matrix_rows(40)["x"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder with both models and their variants; model -> its version's variant."""
    folder = tmp_path_factory.mktemp("models")
    forest = onnx_folder(folder / "forest", Task(Kind.BINARY, (0.1,), ("no", "yes")))
    network = pass_models.mlp(folder / "network")
    sources = {"forest": forest, "network": (network.folder, network.signature)}
    home, found = Home(tmp_path_factory.mktemp("home")).create(), {}
    with Factory(home, actor="ana") as factory:
        for name, (source, signature) in sources.items():
            version = factory.publish(Publication(name, source, "onnx", signature, Lineage()))
            found[name] = kept(factory, version, source, folder)
    return home, found


def kept(factory, version, source, folder):
    """The form of a version, as a variant of it."""
    name = FORMS[version.name]
    tool, into = load("passes", name)(), folder / f"{version.name}-form"
    into.mkdir()
    signature = version.signature
    tool.apply(PassJob(source, "onnx", into, signature, settled(tool.facts, {})))
    recipe = Recipe((RecipeStep(name),), Execution(tool.facts.engine))
    kind = here().hardware
    told = variant(
        version,
        name,
        recipe=recipe,
        artifact=replace(version.artifact, format=tool.facts.produces),
        measurement=measured(kind, 100.0),
        source=measured(kind, 300.0),
    )
    return factory.add_variant(told, into), into


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_layout(tmp_path_factory.mktemp("base") / "layout")


@pytest.fixture(scope="module")
def image(made, base, host_docker, tmp_path_factory):
    """Makes the image of a form, and gives it to the engine; its name there."""
    home, _ = made
    names = {}

    def image(model):
        if model not in names:
            output = tmp_path_factory.mktemp("image") / f"{model}.tar"
            words = ["package", f"{model}#{FORMS[model]}", "--base", base, "--output", output]
            done = subprocess.run(
                [sys.executable, "-m", "modelworks.cli.main", *map(str, words), "--json"],
                env={**os.environ, "MODELWORKS_HOME": str(home.root)},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            names[model] = json.loads(done.stdout)["name"]
            host_docker.docker("load", "-i", output)
            output.unlink()
        return names[model]

    yield image
    host_docker.clear()


def run(engine, name, *words):
    """A container of an image, walled in; the URL of its server."""
    port, container = free_port(), f"form-{free_port()}"
    variable = f"MODELWORKS_SERVER_PORT={port}"
    given = ["--name", container, "--network=host", "-e", variable, *WALLS, *words]
    engine.docker("run", "-d", *given, name)
    return f"http://127.0.0.1:{port}"


def asked(plane, model, inputs, *, but=()):
    """The outputs, once it answers; or its refusal, once that says one of these words."""
    end = time.monotonic() + 60
    while True:
        try:
            return plane.infer(model, inputs)
        except ModelworksError as error:
            if any(word in error.message for word in but):
                return error.message
            assert time.monotonic() < end, error.message
            time.sleep(0.05)


@pytest.mark.parametrize("model", ["forest", pytest.param("network", marks=pytest.mark.long)])
def test_its_image_answers_as_the_form_does_here(made, image, host_docker, sent, model):
    form, folder = made[1][model]
    name = image(model)
    assert name == f"{model}:1.0.0-{FORMS[model]}"
    inputs = {form.signature.inputs[0].name: sent[model]}
    with contextlib.closing(DataPlane(run(host_docker, name))) as plane:
        found = asked(plane, model, inputs)
        assert plane.metadata(model)["parameters"]["variant"] == form.name
    session = load("engines", form.recipe.run.engine)().load(
        folder, EngineOptions(signature=form.signature)
    )
    here_told = session.infer(inputs)
    session.close()
    for spec, one in zip(form.signature.outputs, here_told, strict=True):
        other = np.asarray(found[spec.name])
        if other.dtype.kind == "f":
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)
        else:
            assert other.tolist() == one.tolist()


def test_a_machine_without_the_library_is_told_the_extra(made, image, host_docker, sent, tmp_path):
    """The image of a forest has no LiteRT."""
    form, folder = made[1]["network"]
    tmp_path.chmod(0o755)
    listed = ServedModel(
        "network",
        "1.0.0",
        "/extra/form",
        form.artifact.digest,
        format=form.artifact.format,
        engine=form.recipe.run.engine,
        signature=form.signature,
    )
    serve_list(tmp_path / "served.json", [listed]).chmod(0o644)
    mounts = ["-v", f"{folder}:/extra/form:ro", "-v", f"{tmp_path}:/extra/list:ro"]
    told = ["-e", "MODELWORKS_SERVER_SERVED=/extra/list/served.json"]
    url = run(host_docker, image("forest"), *mounts, *told)
    with contextlib.closing(DataPlane(url)) as plane:
        inputs = {form.signature.inputs[0].name: sent["network"]}
        said = asked(plane, "network", inputs, but=["modelworks["])
    assert 'pip install "modelworks[litert]"' in said
