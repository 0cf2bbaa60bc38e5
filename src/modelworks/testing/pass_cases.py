"""What a pass's test provides, and what its contract suite does with it."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from modelworks.core import digest
from modelworks.core.errors import ModelworksError
from modelworks.core.optimizing.passes import Applied, PassJob, settled
from modelworks.core.seams import Engine, EngineOptions, Pass
from modelworks.core.stepped import FRONT, MADE, Stepped, write_stepped
from modelworks.core.tensor import Signature, Tensors
from modelworks.plugins.load import load
from modelworks.plugins.opening import open_model
from modelworks.testing.onnx_models import info, write

LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class PassSource:
    """A form of a model that a pass is given.

    Attributes:
        folder: of the artifact.
        format: of it.
        signature: of it.
        calibration: npz, as `PassJob.calibration`.
        labels: npy.
    """

    folder: Path
    format: str
    signature: Signature
    calibration: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class PassCase:
    """What a pass's test provides.

    Attributes:
        name: of the pass: its entry point.
        good: that it does well; its first axis is dynamic everywhere.
        inputs: makes so many rows for it, as callers send them.
        tolerance: how far answers may be from those of the source: norm of the difference over the
            norm of the source's answer, an output; of outputs that are no floats the share of
            other values.
        others: setting -> settings that make other bytes than the same ones without that setting.
        asked: setting -> settings by which `fits` says something else than without it; the bytes
            need not differ.
        unfit: that `fits` says no to; None = it fits everything that it consumes.
        broken: what is wrong -> a source that `apply` fails on; files cut short are tried anyway.
        settings: everywhere, besides `others`; the cheapest there are.
        differs: why the same job gives other bytes each time; empty = the same ones.
        alone: relative difference of a row by itself from the same row in a batch.
        modules: imported once for all jobs in the sandbox.
    """

    name: str
    good: PassSource
    inputs: Callable[[int], dict[str, Any]]
    tolerance: float
    others: dict[str, dict[str, Any]]
    unfit: PassSource | None
    broken: dict[str, PassSource]
    settings: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    differs: str = ""
    alone: float = 1e-4
    modules: tuple[str, ...] = ("onnx", "onnxruntime.quantization")

    @property
    def step(self) -> Pass:
        """The pass, as everybody gets it."""
        found: Pass = load("passes", self.name)()
        return found

    def job(self, into: Path, source: PassSource | None = None, **more: Any) -> PassJob:
        """A job as the shop makes it: settings complete and checked.

        Args:
            into: for the result; made.
            source: the good one unless given.
            more: further fields of `PassJob`; `settings` are laid over the case's own.
        """
        source = source or self.good
        into.mkdir(parents=True, exist_ok=True)
        given = {**self.settings, **more.pop("settings", {})}
        job = PassJob(
            source=source.folder,
            format=source.format,
            into=into,
            signature=source.signature,
            settings=settled(self.step.facts, given),
            calibration=source.calibration,
            labels=source.labels,
        )
        return replace(job, **more)

    def apply(self, into: Path, source: PassSource | None = None, **more: Any) -> Applied:
        """Run it here; see `job`."""
        return self.step.apply(self.job(into, source, **more))


def state(folder: Path) -> list[tuple[str, int, int, str]]:
    """Of every file: path, bytes, when it was changed, digest."""
    return [
        (name, found.stat().st_size, found.stat().st_mtime_ns, sha)
        for name, sha in digest.tree(folder)
        for found in [folder / name]
    ]


def same_bytes(left: Path, right: Path) -> bool:
    """Whether two folders hold the same."""
    return digest.tree(left) == digest.tree(right)


def one_line(error: ModelworksError) -> bool:
    """Whether a message is one short line."""
    return 0 < len(error.message) <= LONGEST_MESSAGE and "\n" not in error.message


def answers(engine: str, folder: Path, signature: Signature, inputs: Tensors) -> list[Any]:
    """What a form says, by its engine, with the version's signature."""
    runs: Engine = load("engines", engine)()
    session = open_model(runs, folder, EngineOptions(signature=signature))
    try:
        return [np.array(one) for one in session.infer(inputs)]
    finally:
        session.close()


def distance(wanted: list[Any], got: list[Any]) -> float:
    """The worst output's; see `PassCase.tolerance`. Infinite where shapes or kinds differ."""
    if len(wanted) != len(got):
        return math.inf
    return max(_apart(left, right) for left, right in zip(wanted, got, strict=True))


def _apart(left: Any, right: Any) -> float:
    if left.shape != right.shape or left.dtype != right.dtype:
        return math.inf
    if left.dtype.kind != "f":
        return float((left != right).mean()) if left.size else 0.0
    if not np.array_equal(np.isfinite(left), np.isfinite(right)):
        return math.inf
    known = np.isfinite(left)
    wide, other = left[known].astype(np.float64), right[known].astype(np.float64)
    return float(np.linalg.norm(wide - other) / max(float(np.linalg.norm(wide)), 1e-12))


def with_steps(source: PassSource, folder: Path) -> PassSource:
    """The same model behind a step that gives its first input on, and a file that a step reads."""
    shutil.copytree(source.folder, folder)
    first = source.signature.inputs[0]
    sent, made = "sent", f"{MADE}{first.name}"
    node = helper.make_node("Identity", [sent], [made])
    ends = [info(name, first.datatype, first.shape) for name in (sent, made)]
    write(folder / FRONT, [node], ends[:1], ends[1:])
    (folder / "words.json").write_text(json.dumps(["a", "b"]))
    inputs = (replace(first, name=sent), *source.signature.inputs[1:])
    outer = replace(source.signature, inputs=inputs)
    write_stepped(folder, Stepped(outer, source.signature, front=True))
    return replace(source, folder=folder, signature=outer)


def cut_short(source: PassSource, folder: Path) -> dict[str, PassSource]:
    """The same with each of its larger files cut to a half, and with it empty."""
    found: dict[str, PassSource] = {}
    for name, _ in digest.tree(source.folder):
        if (source.folder / name).stat().st_size < 256:
            continue
        for what in ("half", "empty"):
            place = folder / f"{name.replace('/', '_')}-{what}"
            shutil.copytree(source.folder, place)
            data = (place / name).read_bytes()
            (place / name).write_bytes(data[: len(data) // 2] if what == "half" else b"")
            found[f"{name}: {what}"] = replace(source, folder=place)
    return found
