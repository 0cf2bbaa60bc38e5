"""Steps that belong to a model and run before it: declared in its signature, run in the server.

A step knows no data of its own: what training fitted (a mean, the categories, a tokenizer's file)
is written down in it, so that training and serving cannot differ. The order is fixed: `validate`
sees what the caller sent, `impute` fills what is missing, then one of `scale`, `one_hot`,
`tokenize` and `decode_image` makes of it what the model takes.
"""

from dataclasses import dataclass, fields
from enum import StrEnum

Value = str | int | float | bool


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
