"""Converts a network by PyTorch's two exporters, and keeps the form that is right.

Dynamo's captures the program with its free axes, or says that it cannot. TorchScript's follows one
call of the network: what is decided by the size or the values of that call is baked in without an
error. So dynamo's goes first, TorchScript's is asked where that one fails or is wrong, and both are
held against the source on many shapes.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.imports import Attempt, Conversion, Exporter
from modelworks.core.tensor import TensorSpec
from modelworks.ext.importers.torch import export, parting, trial
from modelworks.ext.importers.torch.shapes import Shapes
from modelworks.ext.importers.torch.source import Source
from modelworks.ext.importers.torch.trial import Asked

_WAYS: Final = (Exporter.DYNAMO, Exporter.TORCHSCRIPT)
_WHY = 150  # characters of each reason, where there are two of them


class UnlikeError(UnsupportedError):
    """What an exporter wrote answers otherwise than the source, or not for every size."""


def ways(source: Source, asked: Exporter) -> tuple[Exporter, ...]:
    """The exporters to try, in order.

    Raises:
        InvalidError: the one that was asked for cannot read such a file.
    """
    only = Exporter.TORCHSCRIPT if source.format == "torch-script" else None
    if source.program is not None:  # its sizes are symbols, which no call can be followed with
        only = Exporter.DYNAMO
    if only is None:
        return (asked,) if asked in _WAYS else _WAYS
    if asked not in {Exporter.AUTO, only}:
        raise InvalidError(
            f"--exporter {asked} means nothing for this file, which only the exporter {only} "
            "reads; leave it out",
            field="exporter",
        )
    return (only,)


def convert(
    source: Source,
    shapes: Shapes,
    outputs: tuple[TensorSpec, ...],
    into: Path,
    exporter: Exporter = Exporter.AUTO,
) -> tuple[Conversion, Asked]:
    """Write `into/model.onnx` by the first exporter that is right.

    Args:
        source: the network.
        shapes: inputs to show and to try.
        outputs: what it gives.
        into: folder of the result; nothing stays there but what is kept.
        exporter: asked for.

    Raises:
        InvalidError: the network cannot be captured with free axes; `field` is `inputs`.
        UnlikeError: a form was written, and none answers as the source does.
        UnsupportedError: no form could be written.
    """
    order = ways(source, exporter)
    asked = Asked(source, shapes, outputs)
    attempts: list[Attempt] = []
    errors: list[ModelworksError] = []
    with tempfile.TemporaryDirectory(dir=into, prefix=".forms-") as forms:
        for by in order:
            if exporter is not Exporter.BOTH and any(_whole(a, asked) for a in attempts):
                break
            folder = Path(forms, by)
            folder.mkdir()
            attempt, error = _attempt(source, shapes, asked, by, folder)
            attempts.append(attempt)
            errors += [error] if error is not None else []
        chosen = _chosen(attempts, asked, exporter)
        if chosen is None:
            raise _failure(attempts, errors)
        for file in sorted(Path(forms, chosen.by).iterdir()):
            shutil.move(file, into / file.name)
    untried = order[len(attempts) :]
    return Conversion(chosen.by, tuple(attempts), tuple(untried)), asked


def _whole(attempt: Attempt, asked: Asked) -> bool:
    """Nothing speaks against it."""
    return not attempt.why and not attempt.doubt and (attempt.missing or asked.missing is None)


def _chosen(attempts: Sequence[Attempt], asked: Asked, exporter: Exporter) -> Attempt | None:
    """The first with nothing against it; else one that is right for all but missing values.

    A form in doubt is taken by the user's word alone: that exporter and no other was asked for.
    """
    right = [a for a in attempts if not a.why and (not a.doubt or exporter in _WAYS)]
    return next((a for a in right if _whole(a, asked)), right[0] if right else None)


def _attempt(
    source: Source, shapes: Shapes, asked: Asked, by: Exporter, folder: Path
) -> tuple[Attempt, ModelworksError | None]:
    path = folder / "model.onnx"
    began = time.process_time()
    try:
        doubt = export.export(source, shapes, [spec.name for spec in asked.outputs], path, by)
        export.tidy(path, asked.outputs, shapes.inputs)
    except (InvalidError, UnsupportedError) as error:
        return Attempt(by, error.message, cpu_seconds=_since(began)), error
    took = _since(began)
    held = trial.hold(asked, folder)
    where = "" if held.at is None else parting.told(source, folder, asked.inputs, held.at.inputs)
    said_so = f"the converted model does not hold: {held.why}{where and '; '}{where}"
    unlike = UnlikeError(said_so) if held.why else None
    attempt = Attempt(
        by,
        held.why,
        doubt,
        held.shapes,
        held.largest,
        held.missing,
        len(onnx.load(path, load_external_data=False).graph.node),
        sum(file.stat().st_size for file in folder.iterdir()),
        took,
        where,
    )
    return attempt, unlike


def _since(began: float) -> float:
    return round(time.process_time() - began, 2)


def _failure(attempts: Sequence[Attempt], errors: Sequence[ModelworksError]) -> ModelworksError:
    """One error for all of them."""
    doubtful = next((a for a in attempts if a.doubt and not a.why), None)
    if len(attempts) == 1 and errors:
        return errors[0]
    told = "; ".join(f"{a.by}: {_cut(a.why or a.doubt)}" for a in attempts)
    where = next((a.where for a in attempts[::-1] if a.where), "")
    told += f"; {where}" if where else ""
    if doubtful is not None:
        told += f"; --exporter {doubtful.by} takes its form all the same"
    message = f"no exporter of PyTorch's converts this network rightly; {told}"
    field = next((error.field for error in errors if error.field), None)
    if any(isinstance(error, UnlikeError) for error in errors):
        return UnlikeError(message, field=field)
    return UnsupportedError(message, field=field)


def _cut(text: str) -> str:
    return text if len(text) <= _WHY else text[: _WHY - 3] + "..."


def said(conversion: Conversion) -> str:
    """One sentence: by which exporter, and what the others did."""
    kept = next(a for a in conversion.attempts if a.by == conversion.by)
    parts = [f"Converted by the exporter {kept.by}, compared in {len(kept.shapes)} shapes"]
    if kept.doubt:
        parts.append(f"taken by the owner's word although {kept.doubt}")
    for attempt in conversion.attempts:
        if attempt is not kept:
            other = attempt.why or attempt.doubt
            verdict = f"was not ({_cut(other)})" if other else "was right as well"
            parts.append(f"{attempt.by} {verdict}")
    return "; ".join(parts) + "."
