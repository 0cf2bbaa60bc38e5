"""What an import finds in a file, as evidence: its scan, its sample, its signature, its origin."""

from modelworks.core import codec
from modelworks.core.errors import RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.model import Evidence, Verdict
from modelworks.core.native import NATIVE
from modelworks.core.scans import Danger, Scan
from modelworks.core.seams import Importer, Sniffed


def scan(imported: Imported, sniffed: Sniffed) -> list[Evidence]:
    """Whether reading the file could run code, and what the scanners say of it.

    Raises:
        RefusedError: it is not clean, and nobody's word opens it: an importer forgot to ask.
    """
    if not sniffed.runs_code:
        summary = f"{imported.source_format} holds data only: reading it runs nothing"
        return [Evidence("scan", Verdict.PASSED, summary)]
    if imported.scan is not None:
        return [_verdict(imported.scan)]
    if imported.format == NATIVE and not imported.scanned:
        summary = f"{imported.source_format} is code: no list knows it; it runs by the owner's word"
        return [Evidence("scan", Verdict.ACCEPTED, summary)]
    names = list(imported.scanned)
    summary = f"opened with an allow-list; the file names {len(names)} classes and functions"
    return [Evidence("scan", Verdict.PASSED, summary, {"names": names})]


def _verdict(scan: Scan) -> Evidence:
    """The scanners' verdict; a file that is not clean was opened by the owner's word."""
    by = " and ".join(f"{name} {version}" for name, version in sorted(scan.scanners.items()))
    count = len(scan.findings)
    detail = codec.encode(scan)
    if scan.danger is Danger.CLEAN:
        summary = f"clean: {count} classes and functions, each on an allow-list (scanned by {by})"
        return Evidence("scan", Verdict.PASSED, summary, detail)
    unknown = [finding.name for finding in scan.of(Danger.UNKNOWN)]
    if scan.danger is not Danger.UNKNOWN or not scan.opened:
        raise RefusedError(f"the scan says {scan.danger}: {scan.problem or unknown[:1]}")
    named = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
    summary = (
        f"not clean: {len(unknown)} of {count} classes and functions are on no list "
        f"({named[:200]}); opened in the sandbox by the owner's word (scanned by {by})"
    )
    return Evidence("scan", Verdict.ACCEPTED, summary, detail)


def sample(imported: Imported, options: ImportOptions, compared: int) -> list[Evidence]:
    """What became of the sample file, where there is one; at most `compared` rows of it are."""
    if options.sample is None:
        return []
    if imported.sample is None:
        summary = (
            f"{options.sample.name} was not needed by the importer of {imported.source_format}"
        )
        return [Evidence("sample", Verdict.SKIPPED, summary)]
    rows = max((len(array) for array in imported.sample.values()), default=0)
    summary = f"{rows} rows of {options.sample.name}"
    if rows > compared:
        summary += f", the first {compared} of them compared"
    return [Evidence("sample", Verdict.PASSED, summary, {"rows": rows})]


def conversion(imported: Imported) -> list[Evidence]:
    """By which of several converters, what became of the others, and what was compared."""
    made = imported.conversion
    if made is None:
        return []
    kept = next(attempt for attempt in made.attempts if attempt.by == made.by)
    verdict = Verdict.ACCEPTED if kept.doubt else Verdict.PASSED
    summary = f"by {kept.by}, as the source in {len(kept.shapes)} shapes of inputs"
    if kept.doubt:
        summary += f"; taken by the owner's word although {kept.doubt}"
    for attempt in made.attempts:
        if attempt is not kept:
            wrong = attempt.why or attempt.doubt
            summary += f"; {attempt.by}: {wrong[:200] if wrong else 'right as well'}"
    if made.untried:
        summary += f"; {', '.join(made.untried)}: not tried"
    return [Evidence("conversion", verdict, summary, codec.encode(made))]


def signature(importer: Importer, imported: Imported) -> Evidence:
    """The choices that the importer made."""
    notes = list(imported.notes)
    if importer.experimental:
        notes.append(f"the importer '{importer.name}' is experimental")
    summary = notes[0] if notes else "as the file says"
    if len(notes) > 1:
        summary += f" (and {len(notes) - 1} more)"
    return Evidence("signature", Verdict.PASSED, summary, {"notes": notes})


def origin(imported: Imported) -> list[Evidence]:
    """What the file says of where it comes from: told, not checked."""
    if not imported.origin:
        return []
    facts = ", ".join(f"{key} {value}" for key, value in imported.origin.items())
    return [Evidence("origin", Verdict.PASSED, f"the file says: {facts}", dict(imported.origin))]
