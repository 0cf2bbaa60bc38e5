"""Steps that contradict themselves are refused, with the path to what is wrong."""

import math
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from modelworks.core.errors import InvalidError
from modelworks.core.patterns import longest_text, slow_pattern
from modelworks.core.steps import (
    DecodeImage,
    Impute,
    InputSteps,
    OneHot,
    Scale,
    Scaling,
    Tokenize,
    Validate,
)

MOST_CATEGORIES = 10_000


def check_steps(inputs: tuple[InputSteps, ...]) -> None:
    """Refuse steps that contradict themselves.

    Raises:
        InvalidError: `field` is the path: `inputs[2].scale.std`.
    """
    seen: set[str] = set()
    for place, item in enumerate(inputs):
        where = f"inputs[{place}]"
        if not item.name or item.name in seen:
            raise _wrong(f"{where}.name", f"'{item.name}' is empty or there twice")
        seen.add(item.name)
        last = [n for n in item.names if n not in {"validate", "impute"}]
        if len(last) > 1:
            raise _wrong(where, f"{' and '.join(last)} exclude each other")
        if item.impute is not None and not item.in_graph:
            raise _wrong(f"{where}.impute", f"goes with numbers and categories, not {last[0]}")
        for path, reason in _problems(item):
            raise _wrong(f"{where}.{path}", reason)


def _wrong(path: str, reason: str) -> InvalidError:
    return InvalidError(f"steps: {path}: {reason}", field=path)


def _problems(item: InputSteps) -> Iterator[tuple[str, str]]:
    """Path and reason of everything that is wrong."""
    if item.validate is not None:
        yield from _validate(item.validate)
    if item.impute is not None:
        yield from _impute(item.impute, item)
    if item.scale is not None:
        yield from _scale(item.scale)
    if item.one_hot is not None:
        yield from _one_hot(item.one_hot)
    if item.tokenize is not None:
        yield from _tokenize(item.tokenize)
    if item.decode_image is not None:
        yield from _image(item.decode_image)


def _validate(step: Validate) -> Iterator[tuple[str, str]]:
    if step.min is not None and step.max is not None and step.min > step.max:
        yield "validate.min", f"{step.min:g} is above max {step.max:g}"
    for name in ("min_length", "max_length"):
        value = getattr(step, name)
        if value is not None and value < 0:
            yield f"validate.{name}", "lengths begin at 0"
    if step.pattern:
        try:
            re.compile(step.pattern)
        except re.error as error:
            yield "validate.pattern", f"no regular expression: {error}"
            return
        if trouble := slow_pattern(step.pattern):
            yield "validate.pattern", trouble
        elif (step.max_length or 0) > (most := longest_text(step.pattern)):
            yield "validate.max_length", f"texts of at most {most} can be held against the pattern"


def _impute(step: Impute, item: InputSteps) -> Iterator[tuple[str, str]]:
    if isinstance(step.value, float) and not math.isfinite(step.value):
        yield "impute.value", "a finite number is wanted"
    one_hot = item.one_hot
    if one_hot is not None and step.value not in one_hot.categories:
        yield "impute.value", f"{step.value!r} is none of one_hot's categories"
    if isinstance(step.value, str) and item.scale is not None:
        yield "impute.value", f"'{step.value}' is no number to be scaled"


def _scale(step: Scale) -> Iterator[tuple[str, str]]:
    own = {
        Scaling.STANDARD: ("mean", "std"),
        Scaling.MINMAX: ("min", "max"),
        Scaling.ROBUST: ("median", "iqr"),
    }
    for kind, names in own.items():
        for name in names:
            value = getattr(step, name)
            if kind is step.kind and (value is None or not math.isfinite(value)):
                yield f"scale.{name}", f"{kind} wants a finite number, as training found it"
            if kind is not step.kind and value is not None:
                yield f"scale.{name}", f"belongs to {kind}, and kind is {step.kind}"
    if step.kind is not Scaling.MINMAX and (step.clip or step.range != (0.0, 1.0)):
        yield "scale.clip", f"clip and range belong to minmax, and kind is {step.kind}"
    if step.affine[1] == 0:
        yield "scale", "the spread is 0: where a column is constant, write 1 (or a max above min)"


def _one_hot(step: OneHot) -> Iterator[tuple[str, str]]:
    if not 0 < len(step.categories) <= MOST_CATEGORIES:
        yield "one_hot.categories", f"1 to {MOST_CATEGORIES} are wanted"
    kinds = {isinstance(c, str) for c in step.categories}
    if len(kinds) > 1:
        yield "one_hot.categories", "either texts or numbers are wanted, not both"
    if len(set(step.categories)) != len(step.categories):
        yield "one_hot.categories", "one is there twice"
    if step.drop is not None and step.drop not in step.categories:
        yield "one_hot.drop", f"{step.drop!r} is none of the categories"
    if not step.columns:
        yield "one_hot.drop", "no column is left"


def _tokenize(step: Tokenize) -> Iterator[tuple[str, str]]:
    if not _inside(step.tokenizer):
        yield "tokenize.tokenizer", "a file's name is wanted, in the model's folder"
    for name in ("max_length", "multiple", "max_characters", "max_rows"):
        if getattr(step, name) < 1:
            yield f"tokenize.{name}", "begins at 1"
    if not step.ids:
        yield "tokenize.ids", "the model's input for the ids is wanted"


def _image(step: DecodeImage) -> Iterator[tuple[str, str]]:
    for name in ("height", "width"):
        if not 1 <= getattr(step, name) <= 16_384:
            yield f"decode_image.{name}", "1 to 16384 pixels are wanted"
    if step.max_rows < 1 or step.max_pixels < 1:
        yield "decode_image", "max_rows and max_pixels begin at 1"
    for name in ("mean", "std"):
        values = getattr(step, name)
        if values and len(values) != step.channels:
            yield f"decode_image.{name}", f"{step.channels} numbers are wanted, one a channel"
        if not all(math.isfinite(v) for v in values) or (name == "std" and 0.0 in values):
            yield f"decode_image.{name}", "finite numbers are wanted, and no std of 0"
    size = step.resize
    if size is not None and (size.shortest is None) == (size.height is None):
        yield "decode_image.resize", "either shortest, or height and width, are wanted"
    if size is not None and (size.height is None) != (size.width is None):
        yield "decode_image.resize", "height and width belong together"
    if size is not None and any(
        n is not None and not 1 <= n <= 16_384 for n in (size.height, size.width, size.shortest)
    ):
        yield "decode_image.resize", "1 to 16384 pixels are wanted"


def _inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and not path.is_absolute() and ".." not in path.parts and ":" not in name
