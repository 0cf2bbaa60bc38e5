"""Steps that belong to a model and run before it: declared in its signature, run in the server.

A step knows no data of its own: what training fitted (a mean, the categories, a tokenizer's file)
is written down in it, so that training and serving cannot differ. The order is fixed: `validate`
sees what the caller sent, `impute` fills what is missing, then one of `scale`, `one_hot`,
`tokenize` and `decode_image` makes of it what the model takes.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import PurePosixPath

from modelworks.core.errors import InvalidError
from modelworks.core.patterns import longest_text, slow_pattern

Value = str | int | float | bool
MOST_CATEGORIES = 10_000


class Unknown(StrEnum):
    """What `one_hot` does with a value that is none of its categories."""

    ERROR = "error"  # the request is refused
    IGNORE = "ignore"  # every column is 0


class Strategy(StrEnum):
    """How the value that `impute` puts in was found; for the reader, the value is what counts."""

    CONSTANT = "constant"
    MEAN = "mean"
    MEDIAN = "median"
    MOST_FREQUENT = "most_frequent"


class Scaling(StrEnum):
    """Which numbers `scale` has."""

    STANDARD = "standard"  # (x - mean) / std
    MINMAX = "minmax"  # (x - min) / (max - min), stretched to `range`
    ROBUST = "robust"  # (x - median) / iqr


class Padding(StrEnum):
    """To which length `tokenize` fills up."""

    LONGEST = "longest"  # of the batch
    MAX_LENGTH = "max_length"


class Side(StrEnum):
    """Of a text: where it is filled up, or cut."""

    LEFT = "left"
    RIGHT = "right"


class Colour(StrEnum):
    """Channels that `decode_image` makes."""

    RGB = "RGB"
    BGR = "BGR"
    GREY = "L"


class Axes(StrEnum):
    """Order of the axes that `decode_image` makes."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class Centre(StrEnum):
    """Where a crop begins when an odd number of pixels is to spare."""

    DOWN = "down"  # Pillow, transformers
    EVEN = "even"  # torchvision: halves to the even number


class Resample(StrEnum):
    """How a pixel of the resized image is computed."""

    NEAREST = "nearest"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True, slots=True)
class Validate:
    """Rules that what callers send must keep; a request that breaks one is answered 400.

    Attributes:
        required: NaN, null and the empty text are refused. Otherwise no rule looks at them.
        finite: infinities are refused.
        min: smallest number, inclusive.
        max: largest number, inclusive.
        allowed: the only values.
        pattern: regular expression that the whole text must match; see `core.patterns`.
        min_length: characters of a text.
        max_length: the same.
    """

    required: bool = False
    finite: bool = False
    min: float | None = None
    max: float | None = None
    allowed: tuple[Value, ...] = ()
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class Impute:
    """NaN, null and the empty text become `value`."""

    value: float | str
    strategy: Strategy = Strategy.CONSTANT


@dataclass(frozen=True, slots=True)
class Scale:
    """A number moved and stretched, in float64, by numbers that training found.

    Attributes:
        kind: which of the others count.
        mean: of `standard`.
        std: the same.
        min: of `minmax`: smallest value of the training data.
        max: largest.
        range: what they become.
        clip: values beyond are cut off.
        median: of `robust`.
        iqr: distance of the quartiles.
    """

    kind: Scaling = Scaling.STANDARD
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    range: tuple[float, float] = (0.0, 1.0)
    clip: bool = False
    median: float | None = None
    iqr: float | None = None

    @property
    def affine(self) -> tuple[float, float, float, float]:
        """`(a, b, c, d)` of `(x - a) / b * c + d`."""
        if self.kind is Scaling.MINMAX:
            low, high = self.range
            least, most = self.min or 0.0, self.max or 0.0
            return least, most - least, high - low, low
        if self.kind is Scaling.ROBUST:
            return self.median or 0.0, 1.0 if self.iqr is None else self.iqr, 1.0, 0.0
        return self.mean or 0.0, 1.0 if self.std is None else self.std, 1.0, 0.0


@dataclass(frozen=True, slots=True)
class OneHot:
    """A value becomes as many columns as there are categories, one of them 1.

    Attributes:
        categories: in the order of the columns.
        unknown: what to do with any other value.
        drop: a category without a column.
    """

    categories: tuple[Value, ...]
    unknown: Unknown = Unknown.ERROR
    drop: Value | None = None

    @property
    def columns(self) -> tuple[Value, ...]:
        """The categories that have a column."""
        return tuple(c for c in self.categories if self.drop is None or c != self.drop)


@dataclass(frozen=True, slots=True)
class Tokenize:
    """A text becomes token ids, by a `tokenizer.json` of Hugging Face's `tokenizers`.

    Attributes:
        tokenizer: the file, in the model's folder or beside the steps.
        max_length: tokens, special ones included.
        truncation: longer texts are cut; otherwise they are refused.
        padding: how short ones are filled up.
        side: where they are filled up.
        cut: where long ones are cut.
        pad_id: token that fills up.
        pad_type: its token type.
        multiple: the padded length is a multiple of it.
        ids: input of the model that takes the ids.
        mask: takes 1 for a token and 0 for padding; empty = none does.
        types: takes the token types; empty = none does.
        pair: another input of the caller's, tokenized as the second text.
        max_characters: longer texts are refused unread.
        max_rows: texts in one request.
    """

    tokenizer: str = "tokenizer.json"
    max_length: int = 512
    truncation: bool = True
    padding: Padding = Padding.LONGEST
    side: Side = Side.RIGHT
    cut: Side = Side.RIGHT
    pad_id: int = 0
    pad_type: int = 0
    multiple: int = 1
    ids: str = "input_ids"
    mask: str = "attention_mask"
    types: str = "token_type_ids"
    pair: str = ""
    max_characters: int = 100_000
    max_rows: int = 1024


@dataclass(frozen=True, slots=True)
class Resize:
    """The size before cropping.

    Attributes:
        height: pixels.
        width: pixels.
        shortest: length of the shorter side, the other in proportion; excludes the two.
        resample: how.
    """

    height: int | None = None
    width: int | None = None
    shortest: int | None = None
    resample: Resample = Resample.BILINEAR


@dataclass(frozen=True, slots=True)
class DecodeImage:
    """The bytes of a JPEG, PNG or WebP file, or their base64 text, become pixels.

    Attributes:
        height: of the result.
        width: of the result.
        resize: first; None = the image must have the result's size, or be cropped to it.
        colour: channels.
        rescale: each value of 0-255 is multiplied by it.
        mean: of each channel, subtracted afterwards; empty = none.
        std: each channel is divided by it; empty = none.
        axes: order of the result's axes.
        centre: how the crop is centred.
        orient: turn the image as its EXIF data say.
        output: input of the model that takes the pixels; empty = its only one.
        max_pixels: of one image as sent.
        max_rows: images in one request.
    """

    height: int
    width: int
    resize: Resize | None = None
    colour: Colour = Colour.RGB
    rescale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    axes: Axes = Axes.NCHW
    centre: Centre = Centre.DOWN
    orient: bool = True
    output: str = ""
    max_pixels: int = 50_000_000
    max_rows: int = 64

    @property
    def channels(self) -> int:
        """Of the result."""
        return 1 if self.colour is Colour.GREY else 3


@dataclass(frozen=True, slots=True)
class InputSteps:
    """What happens to one value that callers send.

    Attributes:
        name: of the input or feature, as callers write it.
        datatype: of it; "" = what the steps make natural.
        validate: rules.
        impute: what stands in for nothing.
        scale: for numbers.
        one_hot: for categories.
        tokenize: for texts.
        decode_image: for files of images.
    """

    name: str
    datatype: str = ""
    validate: Validate | None = None
    impute: Impute | None = None
    scale: Scale | None = None
    one_hot: OneHot | None = None
    tokenize: Tokenize | None = None
    decode_image: DecodeImage | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of its steps, in their order."""
        return tuple(f.name for f in fields(self)[2:] if getattr(self, f.name) is not None)

    @property
    def in_graph(self) -> bool:
        """Whether a graph of ONNX operators does it, or nothing has to be done."""
        return self.tokenize is None and self.decode_image is None

    @property
    def idle(self) -> bool:
        """Whether the model gets the value as it was sent."""
        return not set(self.names) - {"validate"}


@dataclass(frozen=True, slots=True)
class StepsFile:
    """What `--steps FILE` holds.

    Attributes:
        inputs: in the order in which the model's columns were made in training.
        schema: of this file.
    """

    inputs: tuple[InputSteps, ...]
    schema: int = 1


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
