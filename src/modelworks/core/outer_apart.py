"""Steps that no graph does, held against the model: every name in them is spelt out."""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from modelworks.core.errors import InvalidError
from modelworks.core.steps import Axes, DecodeImage, InputSteps, Padding, Tokenize
from modelworks.core.tensor import Datatype, Signature, TensorSpec

FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64})


def apart_of(
    model: Signature, steps: Sequence[InputSteps]
) -> tuple[dict[str, InputSteps], set[str]]:
    """Items for plug-ins with every name spelt out, and the model's inputs that they make.

    Raises:
        InvalidError: they do not fit the model; `field` is the path.
    """
    specs = {spec.name: spec for spec in model.inputs}
    apart: dict[str, InputSteps] = {}
    made: set[str] = set()
    pairs = {item.tokenize.pair for item in steps if item.tokenize is not None}
    for place, item in enumerate(steps):
        where = f"inputs[{place}]"
        if item.tokenize is not None:
            step = _tokenize(item.tokenize, specs, f"{where}.tokenize")
            apart[item.name] = replace(item, tokenize=step)
            mine = {step.ids, step.mask, step.types} - {""}
        elif item.decode_image is not None:
            image = _image(item.decode_image, specs, f"{where}.decode_image")
            apart[item.name] = replace(item, decode_image=image)
            mine = {image.output}
        elif item.name in pairs:
            apart[item.name] = item
            mine = set()
        else:
            continue
        if twice := made & mine:
            raise InvalidError(
                f"steps: {where}: the model's input '{min(twice)}' is made twice", field=where
            )
        made |= mine
    if lost := pairs - {""} - set(apart):
        raise InvalidError(
            f"steps: the pair '{min(lost)}' is no input of the file: add it", field="steps"
        )
    return apart, made


def _tokenize(step: Tokenize, specs: dict[str, TensorSpec], where: str) -> Tokenize:
    default = Tokenize()
    ids = spec_of(step.ids, specs, f"{where}.ids")
    mask, types = step.mask, step.types
    if mask == default.mask and mask not in specs:
        mask = ""
    if types == default.types and types not in specs:
        types = ""
    for spec in (ids, *(spec_of(name, specs, where) for name in (mask, types) if name)):
        if len(spec.shape) != 2 or spec.datatype not in {Datatype.INT64, Datatype.INT32}:
            raise InvalidError(
                f"steps: {where}: the model's input '{spec.name}' is no matrix of INT64 or INT32",
                field=where,
            )
    length = ids.shape[1]
    if length is not None and (step.max_length, step.padding) != (length, Padding.MAX_LENGTH):
        raise InvalidError(
            f"steps: {where}: the model takes exactly {length} tokens: write max_length: {length} "
            "and padding: max_length",
            field=where,
        )
    return replace(step, mask=mask, types=types)


def _image(step: DecodeImage, specs: dict[str, TensorSpec], where: str) -> DecodeImage:
    pictures = [spec for spec in specs.values() if len(spec.shape) == 4]
    if step.output:
        spec = spec_of(step.output, specs, f"{where}.output")
    elif len(pictures) == 1:
        spec = pictures[0]
    else:
        raise InvalidError(
            f"steps: {where}.output: name the model's input that takes the pixels "
            f"({', '.join(specs)})",
            field=f"{where}.output",
        )
    size = (step.height, step.width)
    wanted = (step.channels, *size) if step.axes is Axes.NCHW else (*size, step.channels)
    fits = len(spec.shape) == 4 and all(
        a in {None, b} for a, b in zip(spec.shape[1:], wanted, strict=True)
    )
    if not fits or spec.datatype not in FLOATS | {Datatype.UINT8}:
        shape = ",".join("-1" if axis is None else str(axis) for axis in spec.shape)
        raise InvalidError(
            f"steps: {where}: the model's input '{spec.name}' is {spec.datatype}[{shape}], and the "
            f"image becomes {list(wanted)}",
            field=where,
        )
    if spec.datatype is Datatype.UINT8 and (step.rescale != 1.0 or step.mean or step.std):
        raise InvalidError(
            f"steps: {where}: the model's input '{spec.name}' takes whole numbers: write "
            "rescale: 1 and neither mean nor std",
            field=where,
        )
    return replace(step, output=spec.name)


def spec_of(name: str, specs: dict[str, TensorSpec], where: str) -> TensorSpec:
    """The model's input of that name.

    Raises:
        InvalidError: there is none; the message says what it may have been meant for.
    """
    if name in specs:
        return specs[name]
    close = difflib.get_close_matches(name, specs, 1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise InvalidError(
        f"steps: {where}: '{name}' is no input of the model; {hint}it takes "
        f"{', '.join(list(specs)[:8]) or 'nothing else'}",
        field=where,
    )
