"""What runs in the sandbox: recognise the file, read and convert it, load the result, compare.

Everything that touches the file's content happens here. Importers and engines are reached by entry
point. The answer is JSON values (`core.codec`), judged again by the parent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from modelworks.core import codec
from modelworks.core.errors import (
    InvalidError,
    MissingExtraError,
    ModelworksError,
    RefusedError,
    UnsupportedError,
)
from modelworks.core.imports import Imported, ImportOptions, Runtime, refuse_unread
from modelworks.core.model import Evidence, Verdict
from modelworks.core.native import NATIVE
from modelworks.core.seams import Engine, EngineOptions, Importer, Inside, Session, Sniffed
from modelworks.core.served import ENGINES
from modelworks.core.tensor import Signature
from modelworks.evaluation.parity import tolerance_for
from modelworks.evaluation.probes import Probe, generate, known_range
from modelworks.evaluation.trial import against_itself, against_source
from modelworks.intake import findings, steps
from modelworks.intake.environment import Needs, needs
from modelworks.intake.native import InsideEngine, Recorded, record
from modelworks.intake.where import where
from modelworks.plugins.load import available, load
from modelworks.plugins.opening import open_model
from modelworks.plugins.sniffing import ask
from modelworks.sandbox.report import MESSAGE_LIMIT, one_line

Progress = Callable[[str], None]
_ROWS, _TREE_ROWS, _SAMPLE_ROWS = 256, 2048, 4096
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Order:
    """What the job is asked.

    Attributes:
        file: the private copy of the model file or folder.
        into: an empty folder for the result.
        options: as the user gave them, paths made absolute.
        prepared: the job runs in the environment that the importer asked for.
    """

    file: Path
    into: Path
    options: ImportOptions
    prepared: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What came in.

    Attributes:
        format: of the result.
        source_format: of the file.
        runs_code: whether reading it may have run code.
        importer: plug-in that read it.
        engine: plug-in that loaded the result.
        signature: inferred.
        environment: libraries.
        evidence: parity, scan, sample, signature, origin.
        origin: what the file says of where it comes from.
        recorded: of a native model: some rows and their answer.
    """

    format: str
    source_format: str
    runs_code: bool
    importer: str
    engine: str
    signature: Signature
    environment: dict[str, str]
    evidence: tuple[Evidence, ...]
    origin: dict[str, str] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the job answers: one of the two.

    Attributes:
        brought: the model came in.
        needs: run the job again, in an environment with these requirements.
    """

    brought: Brought | None = None
    needs: Needs | None = None


def run(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The sandboxed function: an `Order` in, an `Answer` out, as JSON values.

    Raises:
        InvalidError: not recognised, damaged, or contradicting the options.
        RefusedError: unsafe, or parity failed and the difference was not accepted.
        MissingExtraError: a library is not installed.
    """
    order = codec.decode(Order, arguments)
    importer, sniffed = recognise(order.file, order.options)
    refuse_unread(order.options, importer.honours, f"the importer '{importer.name}'")
    wanted = None if order.prepared else needs(importer, order.file, order.options)
    if wanted is not None:
        asked: dict[str, Any] = codec.encode(Answer(needs=wanted))
        return asked
    progress(f"Reading {order.file.name} as {sniffed.format}")
    with _curing(importer, order.options):
        imported = _with_ragged(_read(importer, sniffed, order), order.options)
        engine_name, session = _open(imported, order.into)
    try:
        progress("Comparing predictions before and after")
        probes = _probes(imported, order.options)
        with _curing(importer, order.options):
            parity = _parity(imported, session, probes, order.options)
        evidence = [
            parity,
            *findings.scan(imported, sniffed),
            *findings.conversion(imported),
            *findings.sample(imported, _for_importer(order.options), _SAMPLE_ROWS),
            findings.signature(importer, imported),
            *findings.origin(imported),
        ]
        recorded = record(session, probes) if imported.format == NATIVE else Recorded()
        signature = imported.signature
        declared = steps.declared(imported, order.options, order.file, order.into)
        if declared:
            progress("Putting the steps before the model")
            again = partial(_load, engine_name, order.into)
            composed = steps.compose(imported, declared, session, order.into, again, order.options)
            signature = composed.signature
            evidence.append(composed.evidence)
    finally:
        session.close()
    brought = Brought(
        format=imported.format,
        source_format=imported.source_format,
        runs_code=sniffed.runs_code,
        importer=importer.name,
        engine=engine_name,
        signature=signature,
        environment=imported.environment,
        evidence=tuple(evidence),
        origin=imported.origin,
        recorded=recorded,
    )
    answer: dict[str, Any] = codec.encode(Answer(brought=brought))
    return answer


def recognise(file: Path, options: ImportOptions) -> tuple[Importer, Sniffed]:
    """The importer that is surest of the file, or the one that was asked for.

    Raises:
        InvalidError: nobody knows the file.
        NotFoundError: no importer of the name asked for.
    """
    if options.importer:
        chosen: Importer = load("importers", options.importer)()
        return chosen, chosen.sniff(file) or Sniffed(chosen.formats[0], 1, runs_code=True)
    asked = ask(file)
    if asked.best is None:
        raise InvalidError(
            f"{file.name} is no model file that is understood here; understood are "
            f"{', '.join(asked.formats) or 'none'}{asked.absent}",
            field="file",
        )
    return asked.best


@contextmanager
def _curing(importer: Importer, options: ImportOptions) -> Iterator[None]:
    """What does not convert, or not rightly, can be served as it is: the refusal says so."""
    try:
        yield
    except (UnsupportedError, DiffersError) as error:
        if "runtime" not in importer.honours or options.runtime is Runtime.NATIVE:
            raise
        cure = "; --trust --runtime native serves it as it is, by its own framework"
        message = one_line(error.message, MESSAGE_LIMIT - len(cure)) + cure
        kind = UnsupportedError if isinstance(error, UnsupportedError) else RefusedError
        raise kind(message, field=error.field) from error


class DiffersError(RefusedError):
    """The converted model does not run, or does not predict what the source predicts."""


def _read(importer: Importer, sniffed: Sniffed, order: Order) -> Imported:
    """The importer's own errors pass; whatever else a library throws is the file's fault."""
    name = order.file.name
    try:
        return importer.read(order.file, order.into, _for_importer(order.options))
    except (ModelworksError, MemoryError, OSError):
        raise
    except ModuleNotFoundError as error:
        root = str(error.name).partition(".")[0]
        if importer.extra and root != "modelworks":
            raise MissingExtraError(
                f"reading {name} ({sniffed.format})", importer.extra, root
            ) from error
        raise InvalidError(f"{name} names a module that is not there: {error.name}") from error
    except Exception as error:
        raise InvalidError(
            f"{name} could not be read as {sniffed.format}: {_told(error)}", field="file"
        ) from error


def _with_ragged(imported: Imported, options: ImportOptions) -> Imported:
    """The declared axis in the signature.

    Raises:
        InvalidError: the mask, or an input with a value, is no input with that axis dynamic.
    """
    ragged = options.ragged
    if ragged is None:
        return imported
    axes = {s.name: s.shape[ragged.axis : ragged.axis + 1] for s in imported.signature.inputs}
    for name in (ragged.mask, *(name for name, _ in ragged.values)):
        if axes.get(name) != (None,):
            fit = [name for name, axis in axes.items() if axis == (None,)]
            raise InvalidError(
                f"ragged: '{name}' is no input whose axis {ragged.axis} is dynamic; such are "
                f"{', '.join(fit) or 'none'}",
                field="ragged",
            )
    return replace(imported, signature=replace(imported.signature, ragged=ragged))


def _for_importer(options: ImportOptions) -> ImportOptions:
    """With steps, a sample shows what callers send, not what the bare model takes."""
    return options if options.steps is None else replace(options, sample=None)


def _open(imported: Imported, into: Path) -> tuple[str, Session]:
    """Load the result as the server will.

    Raises:
        RefusedError: no engine loads it.
    """
    absent: list[str] = []
    # The one that serves the format first: importing the others costs a second each.
    for name in sorted(available("engines"), key=lambda n: (n != ENGINES.get(imported.format), n)):
        try:
            engine = _engine(name)
        except MissingExtraError as error:  # most often another format's
            absent.append(error.message)
            continue
        if imported.format in engine.formats:
            try:
                return name, _load(name, into, imported.signature)
            except InvalidError as error:
                if imported.format == NATIVE:
                    raise
                raise DiffersError(
                    f"the engine {name} cannot run this model: {error.message}"
                ) from error
    missing = f" ({'; '.join(absent)})" if absent else ""
    raise RefusedError(f"no installed engine runs the format {imported.format}{missing}")


def _engine(name: str) -> Engine:
    """The plug-in; no process can be started in here, and this one is the model's own."""
    if name == ENGINES[NATIVE]:
        return InsideEngine()
    engine: Engine = load("engines", name)()
    return engine.inside() if isinstance(engine, Inside) else engine


def _load(engine: str, into: Path, signature: Signature) -> Session:
    return open_model(_engine(engine), into, EngineOptions(signature=signature))


def _probes(imported: Imported, options: ImportOptions) -> list[Probe]:
    """Rows to compare on: the sample first, then generated ones."""
    trees = imported.kind == "trees"
    rows = _TREE_ROWS if trees else _ROWS
    probes = generate(imported.signature, imported.ranges, options.seed, rows, imported.lengths)
    if imported.sample is not None:
        given = {name: array[:_SAMPLE_ROWS] for name, array in imported.sample.items()}
        # What rows look like is known now: generated ones may be refused.
        others = [Probe(probe.name, probe.inputs) for probe in probes[1:]]
        probes = [Probe("sample", given, optional=False), Probe(probes[0].name, probes[0].inputs)]
        probes += others
    return probes


def _parity(
    imported: Imported, session: Session, probes: list[Probe], options: ImportOptions
) -> Evidence:
    tolerance = tolerance_for(imported.kind, imported.tolerance)
    if imported.predict is None:
        return _repeatability(session, probes)
    report = against_source(
        imported.predict,
        session,
        probes,
        tolerance,
        wide_inputs=imported.wide_inputs,
        known_range=imported.sample is not None or known_range(imported.signature, imported.ranges),
    )
    verdict, summary = report.verdict, report.summary
    if verdict is Verdict.FAILED:
        summary += where(imported, probes, report)
        if not options.accept_difference:
            raise DiffersError(
                f"the converted model does not predict what the source predicts: {summary}; "
                "--accept-difference imports it all the same and records this",
                field="file",
            )
        verdict = Verdict.ACCEPTED
    return Evidence("parity", verdict, summary, codec.encode(report))


def _repeatability(session: Session, probes: list[Probe]) -> Evidence:
    report, batchable = against_itself(session, probes)
    detail = codec.encode(report) | {"batchable": batchable}
    if report.verdict is Verdict.SKIPPED:
        summary = f"no conversion took place; {report.summary}"
        return Evidence("parity", Verdict.SKIPPED, summary, detail)
    if report.verdict is Verdict.FAILED:
        summary = f"no conversion took place; the model does not repeat itself: {report.summary}"
        return Evidence("parity", Verdict.SKIPPED, summary, detail)
    summary = f"no conversion took place; {report.rows} generated rows ran twice with equal results"
    if batchable:
        summary += ", alone and in batches"
    elif session.signature.batch_axis:
        summary += "; rows of one batch influence each other"
    return Evidence("parity", Verdict.PASSED, summary, detail)


def _told(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}", _LONGEST)
