"""Targets on a real engine under test: images of versions, made in seconds, and what is left.

The libraries are those of this environment, which fit the base image's Python; how images are made
for users is another test's matter (`test_packaging_images.py`).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

import certificates
import containers
import modelworks
from containers import BASE, DOCKER, Engine
from modelworks.core.deployment import Revision
from modelworks.core.served import ServedModel
from modelworks.packaging import bundle
from modelworks.testing.targets import TargetCase
from store_servers import free_port

_RUNTIME = "local/modelworks:test"
_SERVING = ("click", "httptools", "mypy-extensions", "numpy", "onnxruntime", "orjson", "protobuf")
_SERVING += ("pysimdjson", "rich", "urllib3", "uvloop")
_DOCKERFILE = f"""
FROM {BASE}
COPY site {bundle.SITE}
ENV PYTHONPATH={bundle.SITE} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 MODELWORKS_SERVER_SERVED={bundle.SERVED} \
    MODELWORKS_SERVER_HOST=0.0.0.0 MODELWORKS_SERVER_PORT=8080
USER 10001:10001
WORKDIR /
ENTRYPOINT ["python3", "-m", "modelworks.apps.server"]
"""
_MODEL = f"FROM {_RUNTIME}\nCOPY root /\n"


def image_of(engine: Engine, model: ServedModel, folder: Path) -> str:
    """Name of an image that serves a version; made once an engine.

    Args:
        engine: that is to have it.
        model: a model file.
        folder: to work in.
    """
    if _RUNTIME not in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        _make_runtime(engine, folder / "runtime")
    name = f"local/{model.name}:{model.version}"
    context = folder / f"{model.name}-{model.version}"
    inside = context / "root" / str(bundle.place(model)).lstrip("/")
    inside.mkdir(parents=True)
    shutil.copy(model.path, inside)
    entry = bundle.list_entry([model])
    (context / "root" / str(bundle.SERVED).lstrip("/")).write_bytes(entry.data or b"")
    _build(engine, name, context, _MODEL)
    return name


def identity(engine: Engine, name: str) -> str:
    """The engine's own name of an image, which is a digest."""
    return json.loads(engine.docker("inspect", name))[0]["Id"]


def _make_runtime(engine: Engine, context: Path) -> None:
    site = context / "site"
    site.mkdir(parents=True)
    for name in sorted(_needed(_SERVING)):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                there = site / file
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), there)  # with its time, or what is compiled is too old
    here = Path(modelworks.__file__).parent
    shutil.copytree(here, site / "modelworks")
    # What says which engines there are.
    for file in distribution("modelworks").files or ():
        if file.name in {"METADATA", "entry_points.txt"}:
            there = site / file
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.locate(), there)  # with its time, or what is compiled is too old
    _build(engine, _RUNTIME, context, _DOCKERFILE)


def _needed(names: tuple[str, ...]) -> set[str]:
    return set(_closure(names, set()))


def _closure(names: tuple[str, ...], seen: set[str]) -> Iterator[str]:
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        yield name
        wanted = [Requirement(text) for text in distribution(name).requires or ()]
        plain = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
        yield from _closure(tuple(one.name for one in plain), seen)


def _build(engine: Engine, name: str, context: Path, text: str) -> None:
    (context / "Dockerfile").write_text(text)
    engine.run(
        [DOCKER, "build", "-q", "--network=none", "-t", name, str(context)],
        variables={"DOCKER_BUILDKIT": "0"},
    )


def case_on(
    engine: Engine, kind: type, folder: Path, settings: dict[str, str], disturb: Callable
) -> TargetCase:
    """What the contract of targets asks for, of an engine.

    Args:
        engine: where.
        kind: the target.
        folder: for what it keeps, and to make images in.
        settings: of the target beside `host`.
        disturb: gets the names of containers of a deployment, and changes one.
    """
    images: dict[str, str] = {}
    pair = certificates.Authority(folder / "certificates").pair("server")

    def revise(name: str, number: int, model: ServedModel, spec: dict) -> Revision:
        if model.version not in images:
            images[model.version] = image_of(engine, model, folder / "images")
        image = images[model.version]
        return Revision(name, number, spec, model, image if kind.rolls else identity(engine, image))

    def of(name: str) -> list[str]:
        return [one for one in engine.containers() if one.startswith(f"modelworks-{name}")]

    def leftovers(name: str) -> list[str]:
        label = f"label=modelworks.deployment={name}"
        volumes = engine.docker("volume", "ls", "-q", "--filter", label).split()
        return [*of(name), *volumes, *(folder / "kept").glob(f"{name}*")]

    return TargetCase(
        kind,
        {"host": engine.host, **settings},
        folder / "kept",
        free_port(),
        free_port(),
        revise,
        leftovers,
        lambda name: disturb(of(name)),
        enter=lambda: join(engine),
        # A busy machine takes its time to start Python, which is how health is asked.
        common={"probes": {"period_s": 1, "timeout_s": 10, "failures": 5}},
        certificate=(pair.certificate, pair.key),
    )


def handing_on(engine: Engine) -> Engine:
    """An engine in whose network connections are handed on that wait for a listener that ends.

    What the target sets in a network of its own; of a machine's it is the owner's to set.
    """
    engine.run(["sysctl", "-q", "-w", "net.ipv4.tcp_migrate_req=1"])
    return engine


def join(engine: Engine) -> None:
    """This thread into the engine's network, where it stays."""
    if engine.namespace:
        with Path(engine.namespace).open("rb") as there:
            containers._enter(there.fileno())
