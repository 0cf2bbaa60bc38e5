"""The whole corpus, and the page that shows it: `python tests/corpus/table.py` writes it."""

import sys
from itertools import groupby
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus import archives, benign, folders, gadgets, graphs, others, trees, tricks
from corpus.kinds import Benign, Hostile

PAGE = Path(__file__).parents[2] / "docs" / "hostile-files.md"
_HEAD = """# Hostile files

{hostile} files that mean harm, and {benign} honest ones of the same kinds. Every one is made by a
test (`tests/corpus/`, no file of anybody else's is kept), brought in as a user would, and must end
as this table says: refused with a message that names what is wrong, and with a canary (a file that
exists only where the code in the model ran) that is not there; or accepted. Those marked `*` are
proved to run their code when Python's own loader reads them.

Verdict: what the scanner says of the file (see
[Files that can run code](importing.md#files-that-can-run-code)). `clean` with a refusal: the names
are harmless, what is done with them is not, and the loader stops it. `-`: the format has no such
scanner, or the verdict depends on where the damage lies; the importer's own checks refuse it.

This page is written by `python tests/corpus/table.py`.
"""


def hostile() -> tuple[Hostile, ...]:
    """Every file that must be refused."""
    return (
        *gadgets.bypasses(), *tricks.tricks(), *tricks.packed(), *tricks.costs(),
        *archives.torches(), *archives.skops_files(), *archives.arrays(), *graphs.graphs(),
        *trees.forests(), *folders.folders(), *others.keras_files(), *others.others(),
    )  # fmt: skip


def honest() -> tuple[Benign, ...]:
    """Every file that must be accepted."""
    return (*benign.pickles(), *benign.data(), *benign.torches())


def page() -> str:
    """The table as Markdown."""
    bad, good = hostile(), honest()
    parts = [_HEAD.format(hostile=len(bad), benign=len(good))]
    for group, cases in groupby(bad, key=lambda case: case.group):
        parts.append(
            f"\n## {group}\n\n| file | tries | verdict | with `--trust` |\n|---|---|---|---|\n"
        )
        for case in cases:
            name = f"`{case.title}`{' *' if case.sings else ''}"
            trusted = "opened in the sandbox" if case.trusted else "refused"
            parts.append(f"| {name} | {case.tries} | {case.verdict or '-'} | {trusted} |\n")
    parts.append("\n## Accepted\n\n| file | holds | read as |\n|---|---|---|\n")
    parts += [f"| `{case.title}` | {case.holds} | {case.source_format} |\n" for case in good]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
