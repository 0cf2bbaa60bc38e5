"""What a form answers to rows: asked in a process of its own, which may crash."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.seams import Engine, EngineOptions, Session
from modelworks.core.tensor import Signature
from modelworks.optimize import arrays, running
from modelworks.optimize.calls import cuts, in_child, refuse_empty, sizes_of
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.hardware import accelerators
from modelworks.plugins.load import load

ANSWERS: Final = "answers.npz"
MOST_BYTES: Final = 1 << 30
"""Of the answers to all rows: gates hold several times as much."""


def answers(
    form: Form,
    rows: Rows,
    into: Path,
    threads: int = 1,
    *,
    batches: Sequence[int] = (1, 16),
    seconds: float = 300.0,
) -> Path:
    """Ask a form for all rows.

    Args:
        form: to be asked.
        rows: for it.
        into: an existing folder for the file.
        threads: of a call.
        batches: numbers of rows in a call; they take turns, see `calls.cuts`.
        seconds: until it is given up.

    Returns:
        npz, an array an output of the signature, first axis = row; BYTES as `arrays` has them.

    Raises:
        InvalidError: the engine does not load it or refuses rows, or outputs have not as many rows.
        RefusedError: it takes too long or too much memory.
        CrashedError: the engine died.
        MissingExtraError: the engine is not installed.
    """
    refuse_empty(rows.count)
    sizes = sizes_of(form.signature, batches)
    arguments = {
        "form": told(form),
        "rows": str(rows.inputs.resolve()),
        "threads": threads,
        "sizes": list(sizes),
    }
    reads = (form.folder, rows.inputs)
    call = f"{__name__}:run"
    devices = accelerators() if running.beside(form.recipe) else ()
    in_child(call, arguments, into, reads=reads, seconds=seconds, threads=threads, devices=devices)
    return into / ANSWERS


def told(form: Form) -> dict[str, Any]:
    """A form as JSON values, for a child: how it is run, and not how it came to be.

    The names of the operators that stay in float alone may be longer than what a child is told.
    """
    value: dict[str, Any] = codec.encode(replace(form, recipe=Recipe(run=form.recipe.run)))
    value["folder"] = str(form.folder.resolve())
    return value


def opened(form: Form, threads: int) -> Session:
    """Load a form as it is run; its signature is that of the model, steps left out.

    Raises:
        InvalidError: the engine does not load it.
        MissingExtraError: the engine is not installed.
    """
    run = form.recipe.run
    engine: Engine = load("engines", run.engine)()
    return engine.load(
        form.folder, EngineOptions(threads=threads, signature=form.signature, extra=run.options)
    )


def run(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The sandboxed function: ask, and write the answers into the work folder."""
    form = codec.decode(Form, arguments["form"])
    inputs = arrays.load(Path(arguments["rows"]), form.signature.inputs)
    count = min(len(array) for array in inputs.values())
    session = opened(form, arguments["threads"])
    try:
        progress("asking")
        found = asked(session, form.signature, inputs, cuts(count, arguments["sizes"]))
    finally:
        session.close()
    arrays.save(Path(arguments["work"]) / ANSWERS, found)
    return {"rows": count}


def asked(
    session: Session,
    signature: Signature,
    inputs: dict[str, Any],
    parts: Sequence[slice],
    most: int = MOST_BYTES,
) -> dict[str, Any]:
    """The answers to those parts of the rows, in their order; of at most so many bytes.

    Raises:
        InvalidError: an output has not one row a row of inputs, or all take too much memory.
    """
    names = [spec.name for spec in signature.outputs]
    found: dict[str, list[Any]] = {name: [] for name in names}
    size = 0
    for part in parts:
        given = {name: array[part] for name, array in inputs.items()}
        for name, array in zip(names, session.infer(given), strict=True):
            rows = part.stop - part.start
            if np.shape(array)[:1] != (rows,):
                raise InvalidError(
                    f"output '{name}' has shape {list(np.shape(array))} for {rows} rows: only "
                    "models that answer row by row can be judged",
                    field=name,
                )
            found[name].append(np.array(array))  # an engine may use the memory again
            size += found[name][-1].nbytes
        if size > most:
            raise InvalidError(
                f"the answers to {part.stop} rows take more than {most >> 20} MiB: give fewer rows",
                field="eval",
            )
    return {name: joined(parts_) for name, parts_ in found.items()}


def joined(parts: Sequence[Any]) -> Any:
    """Arrays one after another; where other axes differ, the shorter ones end in zeros."""
    shapes = {np.shape(part)[1:] for part in parts}
    if len(shapes) == 1:
        return np.concatenate(parts)
    if len({len(shape) for shape in shapes}) > 1:
        raise InvalidError("answers of different numbers of axes", field="outputs")
    rest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    filled = []
    for part in parts:
        spaces = [(0, 0), *((0, most - n) for most, n in zip(rest, part.shape[1:], strict=True))]
        filled.append(np.pad(part, spaces))
    return np.concatenate(filled)
