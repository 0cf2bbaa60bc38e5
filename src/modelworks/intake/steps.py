"""Puts declared steps before an imported model, and checks that they do what they say."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError, MissingExtraError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.made_up import values_for
from modelworks.core.model import Evidence, Verdict
from modelworks.core.outer import Plan, plan
from modelworks.core.seams import OpenStep, Session, StepRunner
from modelworks.core.steps import InputSteps, StepsFile
from modelworks.core.tensor import Signature, Tensors
from modelworks.evaluation.parity import Tolerance, tolerance_for
from modelworks.evaluation.probes import Probe, generate, narrow
from modelworks.evaluation.stepwise import likely, reference
from modelworks.evaluation.trial import against_itself, against_source
from modelworks.plugins.load import load

FOLDER = "steps"
"""Folder of the artifact for the files that steps name."""
_NAMES = ("steps.yaml", "steps.yml", "steps.json")
_LARGEST, _LARGEST_FILE = 16 << 20, 64 << 20
_ROWS, _SAMPLE_ROWS = 256, 4096


@dataclass(frozen=True, slots=True)
class Composed:
    """A model with its steps.

    Attributes:
        signature: what callers send.
        evidence: that the steps in the artifact do what they say.
    """

    signature: Signature
    evidence: Evidence


def declared(
    imported: Imported, options: ImportOptions, file: Path, into: Path
) -> tuple[InputSteps, ...]:
    """The steps of the source and of `--steps`; the files that they name are laid into `into`.

    An input of `--steps` takes the place of the source's; one that has rules only adds them.

    Raises:
        InvalidError: the file cannot be understood, or names a file that is not there.
    """
    if options.steps is None:
        return imported.steps
    given = read(options.steps)
    places = [options.steps if options.steps.is_dir() else options.steps.parent]
    if file.is_dir():
        places.insert(0, file)
    own = tuple(_laid(item, places, into) for item in given)
    inferred = {item.name: item for item in imported.steps}
    merged = []
    for item in own:
        known = inferred.pop(item.name, None)
        rules_only = item.idle and item.validate is not None
        merged.append(replace(known, validate=item.validate) if known and rules_only else item)
    return (*merged, *inferred.values())


def read(path: Path) -> tuple[InputSteps, ...]:
    """The steps of a yaml or json file, or of `steps.yaml` in a folder.

    Raises:
        InvalidError: the place is named: `inputs[2].scale.std`.
    """
    if path.is_dir():
        found = next((path / name for name in _NAMES if (path / name).is_file()), None)
        if found is None:
            raise InvalidError(f"{path.name}: no {_NAMES[0]} in the folder", field="steps")
        path = found
    if path.stat().st_size > _LARGEST:
        raise InvalidError(f"{path.name}: more than 16 MiB", field="steps")
    try:
        text = path.read_text()
        data = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise InvalidError(f"{path.name} cannot be read: {why}", field="steps") from error
    try:
        found_steps = codec.decode(StepsFile, data)
    except InvalidError as error:
        raise InvalidError(f"{path.name}: {error.message}", field=error.field) from error
    if found_steps.schema != 1:
        raise InvalidError(f"{path.name}: schema {found_steps.schema} is not known", field="schema")
    return found_steps.inputs


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - json needs no library
    except ModuleNotFoundError as error:
        raise MissingExtraError("a yaml file of steps", "platform", str(error.name)) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _laid(item: InputSteps, places: Sequence[Path], into: Path) -> InputSteps:
    """The same step, its file in the artifact."""
    if item.tokenize is None:
        return item
    name = item.tokenize.tokenizer
    found = next((place / name for place in places if (place / name).is_file()), None)
    inside = found is not None and any(
        found.resolve().is_relative_to(place.resolve()) for place in places
    )
    if found is None or not inside:
        raise InvalidError(
            f"steps: the tokenizer '{name}' of '{item.name}' is neither in the model's folder nor "
            "beside the steps: put both into one folder and name that",
            field="steps",
        )
    if found.stat().st_size > _LARGEST_FILE:
        raise InvalidError(f"steps: '{name}' is larger than 64 MiB", field="steps")
    target = into / FOLDER / Path(name).name
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(found, target)
    told = target.relative_to(into).as_posix()
    return replace(item, tokenize=replace(item.tokenize, tokenizer=told))


def compose(
    imported: Imported,
    steps: tuple[InputSteps, ...],
    bare: Session,
    into: Path,
    reopen: Callable[[Signature], Session],
    options: ImportOptions,
) -> Composed:
    """Put the steps before the model in `into`, and compare.

    Args:
        imported: the bare model.
        steps: as declared.
        bare: the bare model, loaded.
        into: folder of the artifact; its model file may be written anew.
        reopen: loads the artifact with its steps.
        options: seed and sample.

    Raises:
        InvalidError: the steps do not fit the model.
        RefusedError: what was composed does not give what the steps and the bare model give.
    """
    planned = plan(imported.signature, steps)
    composer = load("steps", "graph")()
    composer.compose(planned, imported.signature, into, imported.format)
    session = reopen(planned.outer)
    try:
        evidence = _compared(imported, planned, bare, session, into, options)
    finally:
        session.close()
    return Composed(planned.outer, evidence)


def _compared(
    imported: Imported,
    planned: Plan,
    bare: Session,
    session: Session,
    into: Path,
    options: ImportOptions,
) -> Evidence:
    kinds = ", ".join(f"{item.name}: {' and '.join(item.names)}" for item in planned.outer.steps)
    detail: dict[str, Any] = {
        "steps": [codec.encode(item) for item in planned.outer.steps],
        "notes": list(planned.notes),
    }
    verdict, said = Verdict.PASSED, []
    probes = _probes(imported, planned, options, constant=True)
    if planned.targets:
        runners = [_runner(item, imported.signature, into) for item in planned.apart]
        predict = _reference(planned, bare, runners)
        exact = Tolerance(1e-6, 1e-5, why="the same numbers in the same precision")
        near = tolerance_for(imported.kind)
        trees = replace(exact, share=near.share, agreement=near.agreement)
        report = against_source(predict, session, probes, trees)
        detail["parity"] = codec.encode(report)
        if report.verdict is Verdict.FAILED:
            raise RefusedError(
                f"the model with its steps does not predict what the steps say: {report.summary}",
                field="steps",
            )
        said.append(f"as computed step by step: {report.summary}")
    if planned.apart:
        # Where an output is as long as the longest row, only rows of one length can be compared.
        ragged = any(None in spec.shape[1:] for spec in planned.outer.outputs)
        probes = _probes(imported, planned, options, constant=ragged)
        repeated, batchable = against_itself(session, probes)
        detail["repeated"] = codec.encode(repeated)
        if repeated.verdict is not Verdict.PASSED:
            raise RefusedError(
                f"the model with its steps does not run: {repeated.summary}"
                f"{'; '.join(('', *repeated.skipped))}",
                field="steps",
            )
        rows = "alone and in batches alike" if batchable else "rows of a batch influence each other"
        said.append(f"{repeated.rows} made-up rows ran, {rows}")
    summary = "; ".join(
        [kinds if len(kinds) < 160 else f"{len(planned.outer.steps)} inputs", *said]
    )
    return Evidence("steps", verdict, summary, detail)


def _runner(item: InputSteps, model: Signature, folder: Path) -> OpenStep:
    runner: StepRunner = load("steps", next(n for n in item.names if n != "validate"))()
    return runner.open(item, model, folder)


def _reference(
    planned: Plan, bare: Session, runners: Sequence[OpenStep]
) -> Callable[[Tensors], Tensors]:
    """Steps by NumPy, then the bare model."""
    names = [spec.name for spec in bare.signature.outputs]

    def predict(inputs: Tensors) -> Tensors:
        given = reference(planned, inputs)
        for runner in runners:
            given.update(runner.run(inputs))
        wanted = {spec.name: given[spec.name] for spec in bare.signature.inputs}
        return dict(zip(names, bare.infer(wanted), strict=True))

    return predict


def _probes(
    imported: Imported, planned: Plan, options: ImportOptions, *, constant: bool
) -> list[Probe]:
    """Rows of what callers send; a plug-in's input has one value throughout where `constant`."""
    outer = planned.outer
    ranges = {**imported.ranges, **likely(planned)}
    probes = generate(outer, ranges, options.seed, _ROWS if not planned.apart else 32)
    if planned.apart:
        probes = [p for p in probes if p.name in {"range", "missing"}]
        random = np.random.default_rng(options.seed)
        probes = [replace(p, inputs=_readable(p.inputs, outer, random, constant)) for p in probes]
    if options.steps is not None and options.sample is not None and not planned.apart:
        sample = load("steps", "graph")().sample(options.sample, outer)
        rows = {name: array[:_SAMPLE_ROWS] for name, array in sample.items()}
        probes.insert(0, Probe("sample", narrow(rows, outer), optional=False))
    return probes


def _readable(
    inputs: Tensors,
    outer: Signature,
    random: np.random.Generator,
    constant: bool,  # noqa: FBT001
) -> dict[str, Any]:
    result = dict(inputs)
    for spec in outer.inputs:
        values = values_for(outer.steps, spec.name)
        if values:
            shape = np.shape(result[spec.name])
            pool = np.empty(len(values), object)
            pool[:] = values
            places = np.zeros(shape, int) if constant else random.integers(0, len(values), shape)
            result[spec.name] = pool[places]
    return result
