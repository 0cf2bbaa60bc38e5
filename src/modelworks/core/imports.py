"""What is asked of an import, and what an importer hands back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from modelworks.core.errors import InvalidError
from modelworks.core.ragged import Ragged
from modelworks.core.scans import Scan
from modelworks.core.semver import Bump, Semver
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Layout, Signature, Tensors, TensorSpec


class Runtime(StrEnum):
    """What serves the model."""

    CONVERT = "convert"  # an engine of ours, after conversion to a format that holds data only
    NATIVE = "native"  # its own framework, as it is, in a process of its own; needs `trust`


class Exporter(StrEnum):
    """Which of PyTorch's two exporters writes the ONNX file."""

    AUTO = "auto"  # dynamo, and torchscript where that one fails or is wrong
    DYNAMO = "dynamo"  # the newer one: captures the program with its free axes
    TORCHSCRIPT = "torchscript"  # the older one: follows one call, or reads a script
    BOTH = "both"  # as auto, and the other one is tried all the same, for the evidence


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user may tell an importer.

    Attributes:
        importer: plug-in name; empty = the one that recognises the file.
        sample: csv, parquet, npy, npz or json file with example inputs; its columns are features.
        inputs: input tensors where the file does not say (`--input x:FP32[-1,3,32,32]`).
        layout: one matrix or named columns; None = what the file suggests.
        factory: `file.py:function` that builds a torch module for a bare state dict.
        trust: the owner vouches for the file: what the allow-lists do not know is opened, in the
            sandbox all the same; who said so, when and of which bytes is kept as evidence.
        runtime: convert the model, or keep it as it is.
        steps: yaml or json file of the signature's steps, run before the model.
        ragged: the axis along which requests may differ in length; None = as the file says.
        accept_difference: a failed parity check is recorded instead of refusing.
        seed: of generated rows.
        exporter: of PyTorch, for a network that is converted.
    """

    importer: str = ""
    sample: Path | None = None
    inputs: tuple[TensorSpec, ...] = ()
    layout: Layout | None = None
    factory: str = ""
    trust: bool = False
    accept_difference: bool = False
    seed: int = 0
    runtime: Runtime = Runtime.CONVERT
    steps: Path | None = None
    ragged: Ragged | None = None
    exporter: Exporter = Exporter.AUTO


def refuse_unread(
    options: ImportOptions, honours: frozenset[str], reader: str, what: str = "this file"
) -> None:
    """What the user said and the importer would not read is refused, never passed over.

    Args:
        options: as the user gave them.
        honours: names of those that the importer reads.
        reader: the importer, in words.
        what: it is to read.

    Raises:
        InvalidError: `field` is the option.
    """
    for name, given in (
        ("inputs", bool(options.inputs)),
        ("layout", options.layout is not None),
        ("factory", bool(options.factory)),
        ("runtime", options.runtime is Runtime.NATIVE),
        ("exporter", options.exporter is not Exporter.AUTO),
    ):
        if given and name not in honours:
            option, why = f"--{name.removesuffix('s')}", "takes what the file says"
            if name == "runtime":
                option, why = "--runtime native", "knows no native form of it"
            elif name == "exporter":
                why = "has none of PyTorch's to choose from"
            raise InvalidError(
                f"{option} means nothing for {what}: {reader} {why}; leave it out", field=name
            )
    if options.runtime is Runtime.NATIVE and options.exporter is not Exporter.AUTO:
        raise InvalidError(
            "--exporter means nothing with --runtime native: nothing is converted; leave it out",
            field="exporter",
        )


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """One `modelworks import`.

    Attributes:
        file: the model file or folder.
        name: of the model in the registry.
        version: exact version wanted; excludes `bump`.
        bump: which part to raise; None = minor, or major when callers must change.
        options: for the importer.
        parent: `name:version` this one derives from.
        run: name of the training run.
        data_digest: of the training data.
        tags: free words.
        labels: key = value; `environment` and `experiment` are the customary keys.
        alias: alias to point at the new version, in the same transaction.
        git_commit: of the user's folder; whoever takes the request there fills it in.
        git_branch: the same.
    """

    file: Path
    name: str
    version: Semver | None = None
    bump: Bump | None = None
    options: ImportOptions = ImportOptions()
    parent: str = ""
    run: str = ""
    data_digest: str = ""
    tags: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    alias: str = ""
    git_commit: str = ""
    git_branch: str = ""


@dataclass(frozen=True, slots=True)
class Ranges:
    """How generated rows for one feature may look: inclusive bounds or known values."""

    low: float | None = None
    high: float | None = None
    values: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to convert a model, and how its result answered beside the source.

    Attributes:
        by: the converter.
        why: what is wrong with it: it does not convert, or the result answers otherwise; "" = the
            result is right.
        doubt: why a right result is not to be relied upon; "" = nothing speaks against it.
        shapes: of inputs that were tried, each as `x[2,3,32,32]`.
        largest: difference between two numbers.
        missing: rows with missing values are answered as by the source.
        nodes: operators in the graph.
        size: bytes of the file.
        cpu_seconds: that converting took.
        where: it parts from the source first, one clause; "" = it does not, or it cannot be told.
    """

    by: str
    why: str = ""
    doubt: str = ""
    shapes: tuple[str, ...] = ()
    largest: float = 0.0
    missing: bool = False
    nodes: int = 0
    size: int = 0
    cpu_seconds: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a model was converted where there is more than one way.

    Attributes:
        by: the converter whose result is kept.
        attempts: every way that was tried, in order.
        untried: ways that were not, because one was right before them.
    """

    by: str
    attempts: tuple[Attempt, ...]
    untried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What `Importer.read` hands back; the converted model lies in the folder it was given.

    Attributes:
        format: of what was written (`onnx`).
        source_format: of what was read (`sklearn-joblib`).
        signature: inferred.
        predict: the source model itself: input tensors -> the signature's output tensors. None
            where source and artifact are the same bytes run by the same engine.
        environment: library name -> version, of what read and converted it.
        ranges: by feature (MATRIX, COLUMNS) or input name; what generated rows should look like.
        notes: choices made, one sentence each, shown to the user and kept as evidence.
        tolerance: (absolute, relative) for parity; None = the datatype's own.
        kind: `trees`, `network`, `linear`...: parity allows a share of rows off for `trees`.
        sample: the sample file's rows as input tensors, floats as float64; parity runs on them.
        wide_inputs: `predict` takes floats as float64, as callers hold them, so that parity sees
            what rounding them to the signature's FP32 costs. False = the signature's datatypes.
        scanned: names that the source file asked for, where reading it could run code and no
            scanner gives a verdict.
        steps: what the source says is done to inputs before the model; the files that they name
            lie in the same folder as the model. `signature` and `predict` are the bare model's.
        scan: what the scanners say of a file that could run code.
        origin: what the source says of where it comes from (`run`, `mlflow_version`...): kept as
            evidence; `run` is the lineage's where the user named none.
        conversion: by which of several ways it was converted; None = there is but one.
        lengths: two lengths of the free axes beside the batch; generated rows have them.
        parting: rows on which source and result differ -> where they part first, one clause, "" =
            it cannot be told; never raises. None = nobody can tell.
    """

    format: str
    source_format: str
    signature: Signature
    predict: Callable[[Tensors], Tensors] | None
    environment: dict[str, str]
    ranges: dict[str, Ranges] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tolerance: tuple[float, float] | None = None
    kind: str = ""
    sample: Tensors | None = None
    wide_inputs: bool = False
    scanned: tuple[str, ...] = ()
    scan: Scan | None = None
    steps: tuple[InputSteps, ...] = ()
    origin: dict[str, str] = field(default_factory=dict)
    conversion: Conversion | None = None
    lengths: tuple[int, int] = (3, 5)
    parting: Callable[[Tensors], str] | None = None
