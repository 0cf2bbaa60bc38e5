"""The rows that passes are given and forms are judged on: read once, kept apart, in files.

Rows of calibration never decide: where both files hold a row, or there is one file for both, a
seeded hash of the row says on which side it is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Ranges
from modelworks.core.stepped import read_stepped
from modelworks.core.tensor import Signature
from modelworks.evaluation.parity import as_text
from modelworks.evaluation.slices import cut
from modelworks.optimize import arrays
from modelworks.optimize.calls import fixed_rows
from modelworks.optimize.drawn import drawn
from modelworks.optimize.forms import Rows
from modelworks.optimize.inner import inner
from modelworks.optimize.run import DataFacts
from modelworks.optimize.sides import Table, overlap, shared, sides
from modelworks.plugins.load import load

CALIBRATION: Final = 512
"""Rows that passes are given, at most: more of them change scales by next to nothing."""
EVALUATION: Final = 10_000
"""Rows that decide, at most."""
GUIDE: Final = 1_000
"""Rows that guide the search and do not decide, at most."""
_ENOUGH: Final = 1_500
"""Rows that decide before any are taken from them to guide; until then those of calibration do."""
_FEW: Final = 200  # that guide: fewer say less than those of calibration
_FIFTH: Final = 0.2
_FEWEST: Final = 40
_BYTES: Final = 512 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller gives.

    Attributes:
        calibration: file of rows for passes; None = a part of `evaluation`.
        evaluation: file of rows that decide; None = a part of `calibration`.
        label: column with the truth; empty = it is not known.
        slices: columns, or two joined by `*`, whose values are judged apart.
        seed: of everything drawn.
        most: rows that decide, at most.
        ranges: of the features, where an import found them; for rows that are made up.
    """

    calibration: Path | None = None
    evaluation: Path | None = None
    label: str = ""
    slices: tuple[str, ...] = ()
    seed: int = 0
    most: int = EVALUATION
    ranges: Mapping[str, Ranges] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows in files.

    Attributes:
        calibration: for passes; None = there were too few rows to share.
        evaluation: that decide.
        facts: how they came to be.
        guide: by which forms are chosen before they are proved: of their own, or those for passes;
            None = there are too few rows.
    """

    calibration: Rows | None
    evaluation: Rows
    facts: DataFacts
    guide: Rows | None = None


def prepared(signature: Signature, asked: Asked, source: Path, into: Path) -> Prepared:
    """Read or draw rows, and bring them into the form in which the model itself takes them.

    Args:
        signature: of the version: what callers send.
        asked: files and columns.
        source: folder of the version's artifact: its steps lie there.
        into: an existing folder for the files.

    Returns:
        The tensors are the bare model's inputs where steps stand before it, else what callers send,
        in the signature's datatypes; labels as the file has them (numbers, or texts as `U`).

    Raises:
        InvalidError: a file or a column that does not fit, or slices and labels without a file.
        MissingExtraError: parquet, or a step, without its library.
    """
    if asked.calibration is None and asked.evaluation is None:
        return _made_up(signature, asked, source, into)
    tables, notes = _tables(signature, asked)
    notes += _fixed(signature)
    deciding, learning = tables
    guiding, deciding = _guiding(deciding, asked.seed, few=len(learning) < _FEWEST)
    deciding = deciding.some(asked.most, asked.seed)
    learning = learning.some(CALIBRATION, asked.seed + 1)
    size = max(1, fixed_rows(signature) or 1)
    deciding, learning, guiding = (one.whole(size) for one in (deciding, learning, guiding))
    if not len(deciding):
        raise InvalidError("no rows are left to judge by: give --eval a larger file", field="eval")
    calibration = None
    if len(learning) >= _FEWEST:
        calibration = _written("calibration", learning, signature, source, into)
    else:
        notes.append("too few rows to give passes any: those that need rows are left out")
    if not asked.label:
        notes.append(
            "the truth is not known (--label): only agreement with the source form is judged, "
            "which cannot show whether rows that changed became better or worse"
        )
    notes += _strange(signature, deciding.labels)
    parts = {one.name: one.rows for one in cut(deciding.columns, asked.slices)}
    evaluation = _written("evaluation", deciding, signature, source, into, parts)
    guide = calibration
    if len(guiding):
        places = {one.name: one.rows for one in cut(guiding.columns, asked.slices)}
        guide = _written("guide", guiding, signature, source, into, places)
    sizes = {name: len(rows) for name, rows in parts.items()}
    facts = DataFacts(
        evaluation.count,
        calibration.count if calibration is not None else 0,
        bool(asked.label),
        made_up=False,
        slices=sizes,
        notes=tuple(notes),
        guide=guide.count if guide is not None else 0,
    )
    return Prepared(calibration, evaluation, facts, guide)


def _guiding(table: Table, seed: int, *, few: bool) -> tuple[Table, Table]:
    """Rows that guide the search, and those that are left to decide.

    Args:
        table: all that could decide.
        seed: of the hash.
        few: there are none for passes, which guide where these are few too.
    """
    count = min(GUIDE, (len(table) - _ENOUGH) // 2)
    if count < _FEW:
        count = int(_FIFTH * len(table)) if few else 0
    if not count:
        return table.take(np.arange(0)), table
    return sides(table, seed + 2, count)


def for_passes(signature: Signature, asked: Asked, source: Path, into: Path) -> Prepared:
    """Rows for passes where nothing is judged: of the whole calibration file, if there is one.

    Args:
        signature: of the version: what callers send.
        asked: file, label and seed.
        source: folder of the version's artifact: its steps lie there.
        into: an existing folder for the files.

    Raises:
        InvalidError: as `prepared`.
        MissingExtraError: as `prepared`.
    """
    if asked.calibration is None:
        return prepared(signature, asked, source, into)
    table = _read(asked.calibration, signature, asked, "calibration")
    _strange(signature, table.labels)
    table = table.some(CALIBRATION, asked.seed + 1).whole(max(1, fixed_rows(signature) or 1))
    if not len(table):
        raise InvalidError("no rows for passes: give a larger file", field="calibration")
    rows = _written("calibration", table, signature, source, into)
    return Prepared(rows, rows, DataFacts(rows.count, rows.count, bool(asked.label)))


def plain(
    signature: Signature, file: Path | None, source: Path, into: Path, most: int, seed: int = 0
) -> Rows:
    """Rows to look at two forms with: nothing is judged by them, so all may be seen by all.

    Args:
        signature: of the version: what callers send.
        file: of rows; None = they are made up.
        source: folder of the version's artifact: its steps lie there.
        into: an existing folder for the file.
        most: rows, drawn by `seed` where there are more.
        seed: of everything drawn.

    Raises:
        InvalidError: a file that does not fit.
        MissingExtraError: parquet, or a step, without its library.
    """
    if file is None:
        return _made_up(signature, Asked(seed=seed), source, into).evaluation
    table = _read(file, signature, Asked(), "rows", others=False).some(most, seed)
    table = table.whole(max(1, fixed_rows(signature) or 1))
    if not len(table):
        raise InvalidError("there are no rows to compare by: give --rows a larger file")
    return _written("looked", table, signature, source, into)


def _tables(signature: Signature, asked: Asked) -> tuple[tuple[Table, Table], list[str]]:
    """Rows that decide, rows for passes, and what was done with them."""
    first = asked.evaluation or asked.calibration
    assert first is not None  # noqa: S101 - asked before
    deciding = _read(first, signature, asked, "eval")
    second = asked.calibration if asked.evaluation is not None else None
    if second is None or _same(first, second):
        learning, deciding = sides(deciding, asked.seed, CALIBRATION)
        given = "both files are the same" if second else "one file was given"
        note = (
            f"{given}: {len(learning)} of its rows are for passes and {len(deciding)} decide, by a "
            "hash of the row"
        )
        return (deciding, learning), [note]
    learning = _read(second, signature, asked, "calibration", others=False)
    twice = overlap(deciding, learning)
    if not twice.any():
        return (deciding, learning), []
    note = (
        f"{int(twice.sum())} rows of the calibration file are in the evaluation file too: they "
        "decide, and passes do not see them"
    )
    return (deciding, learning.take(np.flatnonzero(~twice))), [note]


def _fixed(signature: Signature) -> list[str]:
    """What is said of a model whose calls all have one number of rows."""
    size = fixed_rows(signature)
    if size is None:
        return []
    return [f"every call of this model has {size} rows: --batches does not matter"]


def _strange(signature: Signature, labels: Any) -> list[str]:
    """What is said of rows whose truth the model never says."""
    if labels is None or not signature.classes:
        return []
    told = as_text(labels)
    other = ~np.isin(told, [as_text(np.array([one]))[0] for one in signature.classes])
    if not other.any():
        return []
    names = ", ".join(sorted(set(told[other].tolist()))[:3])[:80]
    if other.all():
        raise InvalidError(
            f"no value of the truth ({names}) is a class of the model "
            f"({', '.join(map(str, signature.classes[:5]))}): is --label the right column?",
            field="label",
        )
    note = (
        f"{int(other.sum())} of the {len(told)} rows that decide have a truth that is no class of "
        f"the model ({names}): no form is right there, and what is lost elsewhere weighs less"
    )
    return [note]


def _same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second) or shared(first, second)
    except OSError:
        return False  # reading it says why


def _read(
    path: Path, signature: Signature, asked: Asked, field_: str, *, others: bool = True
) -> Table:
    """A file's rows; the columns of the truth and, where `others`, of slices have to be there."""
    try:
        file = load("tables", "rows")(path)
        if asked.label and (others or asked.label in file.columns):
            _known(asked.label, file.columns)
        names = [part.strip() for one in asked.slices for part in one.split("*")]
        tensors = file.tensors(signature, asked.label, names)
    except InvalidError as error:
        words = error.message.removeprefix(f"{path.name}: ")
        raise InvalidError(f"{path.name}: {words}", field=field_) from error
    labels = file.columns.get(asked.label) if asked.label else None
    found = Table(tensors, labels, dict(file.columns)).known()
    if labels is not None and not len(found):
        raise InvalidError(f"{path.name}: the column '{asked.label}' has no value", field=field_)
    return found


def _known(name: str, columns: Mapping[str, Any]) -> None:
    if name not in columns:
        has = ", ".join(list(columns)[:12])
        raise InvalidError(f"no column '{name}' (there are {has})")
    if np.ndim(columns[name]) != 1:
        raise InvalidError(f"the column '{name}' has lists: one value a row is wanted")


def _made_up(signature: Signature, asked: Asked, source: Path, into: Path) -> Prepared:
    """Rows drawn from what the signature says."""
    if asked.slices or asked.label:
        raise InvalidError(
            "--slices and --label name columns of a file: give --eval as well", field="eval"
        )
    deciding = Table(drawn(signature, asked.ranges, asked.seed, missing=True))
    learning = Table(drawn(signature, asked.ranges, asked.seed + 1, missing=False))
    evaluation = _written("evaluation", deciding, signature, source, into, made_up=True)
    calibration = _written("calibration", learning, signature, source, into, made_up=True)
    note = (
        "no rows were given: they were made up from what the signature says of the inputs, without "
        "a truth. Agreement on them cannot show what becomes of the model's quality, or of its "
        "answers to rows as callers send them: give --eval (and --label)"
    )
    notes = (note, *_fixed(signature))
    count = calibration.count
    facts = DataFacts(evaluation.count, count, made_up=True, notes=notes, guide=count)
    return Prepared(calibration, evaluation, facts, calibration)


def _written(
    name: str,
    table: Table,
    signature: Signature,
    source: Path,
    into: Path,
    parts: Mapping[str, Any] | None = None,
    *,
    made_up: bool = False,
) -> Rows:
    stepped = read_stepped(source)
    file = into / f"{name}.npz"
    bare = signature if stepped is None else stepped.model
    if stepped is None or stepped.simple:
        arrays.save(file, arrays.narrowed(table.tensors, bare.inputs))
        count = len(table)
    else:
        count = inner(table.tensors, source, file)
    if file.stat().st_size > _BYTES:
        raise InvalidError(
            f"the rows of {name} take more than {_BYTES >> 20} MiB: give fewer rows", field="eval"
        )
    labels = slices = None
    if table.labels is not None:
        labels = into / f"{name}.labels.npy"
        np.save(labels, _texts(table.labels), allow_pickle=False)
    if parts:
        slices = into / f"{name}.slices.json"
        slices.write_text(json.dumps({n: np.asarray(r).tolist() for n, r in parts.items()}))
    return Rows(file, count, labels, slices, made_up)


def _texts(labels: Any) -> Any:
    """Texts in an array of fixed width: no pickle."""
    if labels.dtype != object:
        return labels
    texts = [str(value) for value in labels.tolist()]
    longest = max(map(len, texts), default=0)
    if 4 * longest * len(texts) > arrays.MOST_TEXT:
        raise InvalidError(
            f"a value of --label is {longest} characters long: is it the right column?",
            field="label",
        )
    return np.array(texts)


def read_slices(rows: Rows) -> dict[str, Sequence[int]]:
    """Names and rows of the slices; empty where there are none."""
    if rows.slices is None:
        return {}
    found: dict[str, Sequence[int]] = json.loads(rows.slices.read_text())
    return found
