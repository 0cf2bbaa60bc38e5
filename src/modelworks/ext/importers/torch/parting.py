"""Where does an exported network part from its source? Outputs of modules beside ONNX values.

Both exporters leave in an operator's name which module it belongs to (`/layer2/conv/Conv`, see
`export.tidy`). The value of a module is the one that its operators make and others read; where that
is exactly one, and the module was called once, the two are held side by side.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch

from modelworks.core.errors import ModelworksError
from modelworks.core.optimizing.insides import Inside
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Tensors, TensorSpec
from modelworks.evaluation.diverging.found import EXACT, said
from modelworks.evaluation.diverging.meters import Meter
from modelworks.ext.importers.torch import call
from modelworks.ext.importers.torch.source import Source
from modelworks.plugins.load import load

WRAPPED: Final = "inner"
"""Under this name a source lies in what TorchScript's exporter is shown."""
_MOST: Final = 512  # modules that are followed
_LONGEST: Final = 80


def told(source: Source, folder: Path, inputs: Sequence[TensorSpec], given: Tensors) -> str:
    """The first module whose output differs, in one clause; "" = it cannot be told.

    Args:
        source: the network.
        folder: with `model.onnx`.
        inputs: of both.
        given: rows on which they differ.
    """
    if not isinstance(source.module, torch.nn.Module) or source.format == "torch-script":
        return ""  # a script calls no hooks; of a program the modules are gone
    try:
        tensors = [call.tensor(given[spec.name], spec) for spec in inputs]
        made, kinds = _outputs(source, tensors)
        view = load("viewers", "onnx")().open(folder, EngineOptions())
        values = _values(view.inside, made)
        look = view.watch([value for value, _ in values], served=False)
        found = look({spec.name: given[spec.name] for spec in inputs})
    except (ModelworksError, RuntimeError, ValueError, TypeError, KeyError, IndexError):
        return ""  # this explains an error: it must not become another one
    before = 0.0
    for value, name in values:
        meter = Meter()
        meter.add(list(range(len(made[name]))), made[name], found.get(value))
        far = meter.apart()
        if meter.misfit or far > EXACT:
            how = f"it gives {meter.misfit}" if meter.misfit else f"{said(far)} of its size apart"
            within = f" within {before:.1g}" if before else ""
            return (
                f"they part first at the module {name[:_LONGEST]} ({kinds[name]}), {how}; what is "
                f"before it agrees{within}"
            )
        before = max(before, far)
    last = f" after {values[-1][1][:_LONGEST]}" if values else ""
    return f"every module that could be followed agrees: they part{last}" if values else ""


def _outputs(
    source: Source, tensors: Sequence[torch.Tensor]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What modules give that are called once, and their classes, by name."""
    made: dict[str, Any] = {}
    calls: Counter[str] = Counter()

    def caught(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            calls[name] += 1
            if isinstance(output, torch.Tensor) and output.ndim:
                made[name] = output.detach().clone().numpy()

        return hook

    modules = [(name, one) for name, one in source.module.named_modules() if name][:_MOST]
    with ExitStack() as stack:
        for name, module in modules:
            handle = module.register_forward_hook(caught(name))
            stack.callback(handle.remove)
        call.run(source, tensors)
    kinds = {name: type(module).__name__ for name, module in modules}
    return {name: array for name, array in made.items() if calls[name] == 1}, kinds


def _values(inside: Inside, made: dict[str, Any]) -> list[tuple[str, str]]:
    """ONNX values and the modules that they are of, in the graph's order; the innermost module."""
    homes = [module_of(one.name) for one in inside.operators]
    readers: dict[str, set[int]] = {}
    for place, one in enumerate(inside.operators):
        for name in one.inputs:
            readers.setdefault(name, set()).add(place)
    ends = set(inside.outputs)
    found: dict[str, tuple[int, str]] = {}
    for name in sorted(made, key=len):
        own = {i for i, home in enumerate(homes) if home == name or home.startswith(f"{name}.")}
        leaving = [
            (value, place)
            for place in sorted(own)
            for value in inside.operators[place].outputs
            if value in ends or readers.get(value, set()) - own
        ]
        if len(leaving) == 1:
            value, place = leaving[0]
            found[value] = (place, name)
    ordered = sorted((place, value, name) for value, (place, name) in found.items())
    return [(value, name) for _, value, name in ordered]


def module_of(name: str) -> str:
    """The module that an operator belongs to, by its name; "" = the network itself.

    `/layer1/layer1.0/conv/Conv` and `/layer1.0.conv/Conv` are of `layer1.0.conv`.
    """
    path = ""
    parts = name.split("/")[1:-1]
    for part in parts[1:] if parts[:1] == [WRAPPED] else parts:
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path
