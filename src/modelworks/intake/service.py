"""A model file comes in: copied, opened in the sandbox, converted, compared, with evidence."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelworks.core import codec, digest
from modelworks.core.errors import CrashedError, InvalidError, RefusedError
from modelworks.core.ids import now_ns
from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.model import Evidence, Verdict
from modelworks.core.native import NATIVE
from modelworks.core.tensor import Signature
from modelworks.intake.copies import LARGEST, Copies, copy
from modelworks.intake.environment import prepared
from modelworks.intake.job import Answer, Brought, Order
from modelworks.intake.native import rehearse
from modelworks.sandbox import jobs
from modelworks.sandbox.jobs import Job
from modelworks.sandbox.limits import Limits
from modelworks.sandbox.watch import Outcome, Progress

Runner = Callable[[Job, Progress | None], Outcome]
"""`sandbox.jobs.run`, or the `run` of a `sandbox.jobs.Warm`."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that came in and may be published.

    Attributes:
        folder: the artifact's files.
        format: what they are (`onnx`).
        engine: that loaded them.
        source_format: of the file that came in.
        source_digest: of its bytes; of a folder's tree, or of both files where a second came along.
        source_name: its name, without folders.
        signature: inferred.
        evidence: everything that was checked.
        sample_digest: of the sample file; "" without one.
        environment: library -> version, of what read and converted it.
        origin: what the file says of where it comes from; `run` where it names its training run.
    """

    folder: Path
    format: str
    engine: str
    source_format: str
    source_digest: str
    source_name: str
    signature: Signature
    evidence: tuple[Evidence, ...]
    sample_digest: str
    environment: dict[str, str]
    origin: dict[str, str] = field(default_factory=dict)


def bring_in(  # noqa: PLR0913 - the first four are the question, the rest has defaults
    file: Path,
    options: ImportOptions,
    work: Path,
    progress: Progress | None = None,
    *,
    limits: Limits | None = None,
    runner: Runner = jobs.run,
    largest: int = LARGEST,
    actor: str = "",
    environments: Path | None = None,
) -> Candidate:
    """Import a model file or folder; nothing outside `work` is changed.

    Args:
        file: to import.
        options: how.
        work: an empty folder of the caller's, who removes it when the candidate is stored.
        progress: told each step.
        limits: of the sandbox.
        runner: runs the job; a warm sandbox for many imports in a row.
        largest: bytes of the file or folder.
        actor: who vouches for the file, where `options.trust` says that somebody does.
        environments: the folder of all environments; without it an importer that needs one of its
            own is refused.

    Raises:
        InvalidError: no such file, empty, too large, not understood, damaged.
        RefusedError: a link, unsafe content, a limit reached, or parity failed.
        MissingExtraError: a framework's library is not installed.
        CrashedError: the sandboxed process died.
        UnavailableError: the disk is full, or an environment cannot be made now.
        UnsupportedError: the file needs an environment, and there is no folder for it.
    """
    if options.runtime is Runtime.NATIVE:
        _demand_word(options, "a native model")
    limits = limits or Limits()
    say = progress or _quiet
    say(f"Copying {file.name}")
    copies = copy(file, options, work, largest)
    options, reads = _absolute(replace(options, sample=copies.sample, steps=copies.steps))
    order = Order(copies.file, copies.into, options)
    job = Job("modelworks.intake.job:run", codec.encode(order), work, limits, reads)
    outcome, brought, python = _brought(order, job, runner, environments, say)
    _check_artifact(copies.into)
    native = _native(copies.into, brought, options, python, say)
    trust = _trust(options, brought, actor, copies.digest)
    evidence = (*native, _sandbox(outcome, limits), _environment(brought), *trust)
    return _candidate(file.name, copies, brought, evidence)


def _quiet(_: str) -> None:
    """Nobody listens."""


def _demand_word(options: ImportOptions, what: str) -> None:
    """A model that stays as it is needs its owner's word.

    Raises:
        RefusedError: nobody vouches for it.
    """
    if not options.trust:
        raise RefusedError(
            f"{what} is served by its own framework and may run code: it needs --trust, by which "
            "you vouch for the file",
            field="trust",
        )


def _candidate(
    name: str, copies: Copies, brought: Brought, evidence: tuple[Evidence, ...]
) -> Candidate:
    return Candidate(
        folder=copies.into,
        format=brought.format,
        engine=brought.engine,
        source_format=brought.source_format,
        source_digest=copies.digest,
        source_name=name,
        signature=brought.signature,
        evidence=(*brought.evidence, *evidence),
        sample_digest=digest.of_file(copies.sample) if copies.sample is not None else "",
        environment=brought.environment,
        origin=brought.origin,
    )


def _brought(
    order: Order, job: Job, runner: Runner, environments: Path | None, say: Progress
) -> tuple[Outcome, Brought, Path | None]:
    """Run the job; where it asks for an environment of its own, once more in there.

    Returns:
        How it went, what it brought, and the Python of that environment.
    """
    python: Path | None = None
    outcome = runner(job, say)
    answer = codec.decode(Answer, outcome.value)
    if answer.needs is not None:
        python = prepared(answer.needs, order.options, environments, say)
        options = replace(order.options, importer=answer.needs.importer)
        again = codec.encode(replace(order, options=options, prepared=True))
        outcome = runner(replace(job, arguments=again, python=python), say)
        answer = codec.decode(Answer, outcome.value)
    if answer.brought is None:
        raise CrashedError("the import job answered with nothing")
    return outcome, answer.brought, python


def _native(
    into: Path, brought: Brought, options: ImportOptions, python: Path | None, say: Progress
) -> tuple[Evidence, ...]:
    """A model that stays as it is: started once as the server will start it.

    Raises:
        RefusedError: nobody vouches for it, or it does not answer as it did in the sandbox.
    """
    if brought.format != NATIVE:
        return ()
    _demand_word(options, brought.source_format)
    say("Starting the model's own process, as the server will")
    return (rehearse(into, python, brought.recorded, accept=options.accept_difference),)


def _absolute(options: ImportOptions) -> tuple[ImportOptions, tuple[Path, ...]]:
    """A factory's file named absolutely, and its folder readable in the sandbox."""
    if not options.factory:
        return options, ()
    name, colon, function = options.factory.rpartition(":")
    file = Path(name)
    if not colon or not function.isidentifier() or not file.is_file():
        raise InvalidError(
            f"'{options.factory}' is no factory: FILE.py:FUNCTION is wanted, of a file that exists",
            field="factory",
        )
    file = file.resolve()
    return replace(options, factory=f"{file}:{function}"), (file.parent,)


def _check_artifact(into: Path) -> None:
    """What the job left behind is files and nothing else; it is not trusted to have said so.

    Raises:
        RefusedError: links or nothing at all.
    """
    try:
        entries = digest.tree(into)
    except InvalidError as error:
        raise RefusedError(f"the importer left something that is no file: {error}") from error
    if not entries:
        raise RefusedError("the importer wrote no model")


def _sandbox(outcome: Outcome, limits: Limits) -> Evidence:
    walls = outcome.isolation
    summary = (
        f"opened in a process of its own in {outcome.wall_seconds:.1f} s "
        f"with {outcome.peak_bytes >> 20} MiB"
    )
    if walls.complete:
        summary += ", without network, other files, other processes or privileges"
    else:
        summary += f"; not every wall stands: {'; '.join(walls.reasons)}"
    detail = {
        "limits": codec.encode(limits),
        "isolation": codec.encode(walls),
        "attempts": list(outcome.attempts),
        "peak_bytes": outcome.peak_bytes,
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "wall_seconds": round(outcome.wall_seconds, 3),
    }
    return Evidence("sandbox", Verdict.PASSED, summary, detail)


def _environment(brought: Brought) -> Evidence:
    versions = {
        **brought.environment,
        "python": platform.python_version(),
        "modelworks": _own_version(),
    }
    text = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    return Evidence("environment", Verdict.PASSED, text, dict(sorted(versions.items())))


def _own_version() -> str:
    try:
        return version("modelworks")
    except PackageNotFoundError:
        return "unknown"


def _trust(
    options: ImportOptions, brought: Brought, actor: str, source: str
) -> tuple[Evidence, ...]:
    """The owner's word: whose, when, of which bytes."""
    if not options.trust:
        return ()
    what = "may run code" if brought.runs_code else "runs no code"
    by = actor or "the owner"
    how = (
        "it is served as it is, in a process of its own"
        if brought.format == NATIVE
        else "what no allow-list knows was opened, in the sandbox"
    )
    summary = f"{by} vouches for the file ({brought.source_format}, which {what}): {how}"
    runtime = Runtime.NATIVE if brought.format == NATIVE else Runtime.CONVERT
    detail = {"by": by, "at_ns": now_ns(), "digest": source, "runtime": runtime.value}
    return (Evidence("trust", Verdict.ACCEPTED, summary, detail),)
