"""The verdict on a file that can run code: `judge(path, allowed, trust=...)` before it is opened.

    from modelworks.ext.importers.pickles.allow import allow_list
    from modelworks.ext.importers.pickles.judge import judge

    scan = judge(path, allow_list("sklearn"), trust=options.trust)   # raises, or may be opened
    model, scan = load_named(path, allow_list("sklearn"), trust=...)  # judges, then opens
    return Imported(..., scan=scan)                                   # becomes the evidence `scan`

Every name in the file is looked for in two lists of data (`allow`): allowed names are clean,
dangerous ones are never opened, and what stands on neither is opened only where the owner vouches
for the file (`trust`). picklescan is asked for a second opinion; where it calls dangerous what we
allow, the name counts as unknown. A scanner that fails, a damaged file, or bytes after the end
mean: unreadable, and not opened by anyone's word.

What is opened is opened by `load.load_named` (pickle, joblib) or by a `guard.PickleModule` (for
`torch.load`), which ask the same lists again, name by name, at the moment of loading.
"""

import pickle
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from modelworks.core.errors import InvalidError, MissingExtraError, RefusedError
from modelworks.core.scans import Danger, Finding, Scan
from modelworks.ext.importers.pickles.allow import AllowList, danger_of
from modelworks.ext.importers.pickles.gate import brings, refusal, shown
from modelworks.ext.importers.pickles.machine import Machine, Notes, Source
from modelworks.ext.importers.pickles.stream import LIMIT, Stream
from modelworks.ext.importers.reasons import reason

_OWN = "modelworks"
_MANY = 10_000  # names in one file


def judge(path: Path, allowed: AllowList, *, trust: bool = False, limit: int = LIMIT) -> Scan:
    """Scan a pickle or joblib file, compressed or not, and say whether it may be opened.

    Args:
        path: the file.
        allowed: what it may name.
        trust: the owner vouches for the file.
        limit: bytes of its inflated content.

    Returns:
        The scan; clean, or unknown and opened by the owner's word.

    Raises:
        RefusedError: it names what is dangerous, or what is unknown without trust, or does what no
            honest file does.
        InvalidError: damaged.
    """
    return admit(path.name, examine(path, allowed, limit=limit), allowed, trust=trust)


def examine(path: Path, allowed: AllowList, *, limit: int = LIMIT) -> Scan:
    """The same without a decision: whatever the file holds, it is described and not raised.

    Raises:
        InvalidError: there is no such file, or it is empty.
        MissingExtraError: the second scanner is not installed.
    """
    if not path.is_file():
        raise InvalidError(f"{path.name}: no such file", field="file")
    if path.stat().st_size == 0:
        raise InvalidError(f"{path.name}: empty file", field="file")
    try:
        stream = Stream(path, limit)
    except InvalidError as error:  # a compression that is not read
        refused = isinstance(error, RefusedError)
        return Scan(Danger.UNREADABLE, problem=error.message, refused=refused)
    with stream:
        return examine_stream(stream, allowed)


def examine_stream(
    source: Source, allowed: AllowList, *, pickles: int = 1, persistent: bool = False
) -> Scan:
    """The same of an open file.

    Args:
        source: read from its present position.
        allowed: what it may name.
        pickles: how many stand in a row; 0 = whatever follows the first is no concern of ours.
        persistent: whether persistent ids are expected, as in PyTorch's files.
    """
    notes = Notes()
    problem: InvalidError | None = None
    try:
        for _ in range(max(1, pickles)):
            Machine(source, notes, persistent=persistent).load()
        if pickles and source.leftover():
            problem = InvalidError(
                f"{source.name}: more follows after the end of the pickle, and what it is cannot "
                "be known; save one model a file"
            )
    except InvalidError as error:
        problem = error
    except MemoryError:
        problem = RefusedError(f"{source.name}: asks for more memory than is allowed")
    except (EOFError, pickle.UnpicklingError, ValueError, IndexError, KeyError) as error:
        problem = InvalidError(f"{source.name}: truncated or no pickle ({reason(error)})")
    except Exception as error:  # noqa: BLE001 - a scanner that fails is a file that is not clean
        problem = InvalidError(f"{source.name}: damaged, no scanner reads it ({reason(error)})")
    return _verdict(source.name, notes, allowed, problem)


def admit(file: str, scan: Scan, allowed: AllowList, *, trust: bool) -> Scan:
    """The scan, marked as opened where the owner's word was needed.

    Args:
        file: its name, for messages.
        scan: of it.
        allowed: what it may name.
        trust: the owner vouches for the file.

    Raises:
        RefusedError: it may not be opened; the worst name is in the message.
        InvalidError: it cannot be read.
    """
    worst = next(iter(scan.of(Danger.DANGEROUS)), None)
    if worst is not None:
        raise refusal(worst.name, allowed, worst.reason)
    unknown = scan.of(Danger.UNKNOWN)
    if unknown and not trust:
        first = unknown[0]
        if first.listed:
            raise RefusedError(
                f"{file}: {shown(first.name)} is on our allow-list, and the second scanner calls "
                "it dangerous: not clean, nothing was executed; --trust opens it in the sandbox",
                field="file",
            )
        raise refusal(first.name, allowed)
    if scan.danger in {Danger.DANGEROUS, Danger.UNREADABLE}:
        raise (RefusedError if scan.refused else InvalidError)(scan.problem, field="file")
    return replace(scan, opened=bool(unknown))


def find(module: str, name: str, allowed: AllowList, second: str = "") -> Finding:
    """What the lists say of one name.

    Args:
        module: in today's spelling.
        name: the same; dotted names are attribute traversals.
        allowed: the allow-list.
        second: what the second scanner calls it.
    """
    full = f"{module}.{name}"
    entry = brings(module, name, allowed)
    if entry is not None:
        danger = Danger.UNKNOWN if second == "dangerous" else Danger.CLEAN
        return Finding(full, danger, entry.listed or allowed.family, entry.reason, second)
    if why := danger_of(module, name):
        return Finding(full, Danger.DANGEROUS, "dangerous", why, second)
    return Finding(full, Danger.UNKNOWN, "", "", second)


def _verdict(file: str, notes: Notes, allowed: AllowList, problem: InvalidError | None) -> Scan:
    said: dict[tuple[str, str], str] = {}
    scanners = {_OWN: _version(_OWN)}
    tricked = isinstance(problem, RefusedError)
    if problem is None and len(notes.names) > _MANY:
        problem = RefusedError(f"{file}: names more than {_MANY} classes and functions")
    if problem is None:
        try:
            from modelworks.ext.importers.pickles import second  # noqa: PLC0415 - may be missing
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "the second scan of files that can run code", "platform", "picklescan"
            ) from error
        scanners[second.NAME] = second.VERSION
        try:
            said = second.ask(file, notes.tapes)
        except RefusedError as error:
            problem = error
    findings = tuple(
        find(module, name, allowed, said.get(written, ""))
        for (module, name), written in list(notes.names.items())[:_MANY]
    )
    if tricked or any(finding.danger is Danger.DANGEROUS for finding in findings):
        danger = Danger.DANGEROUS
    elif problem:
        danger = Danger.UNREADABLE
    elif any(finding.danger is Danger.UNKNOWN for finding in findings):
        danger = Danger.UNKNOWN
    else:
        danger = Danger.CLEAN
    return Scan(
        danger,
        findings,
        problem.message if problem else "",
        scanners,
        refused=isinstance(problem, RefusedError),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
