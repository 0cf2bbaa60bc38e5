"""The step `decode_image`: the bytes of JPEG, PNG and WebP files to pixels, with Pillow.

What a stranger sends is bounded before it is decoded: the head of the file tells its size.
"""

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import InvalidError, MissingExtraError
from modelworks.core.steps import Axes, Centre, Colour, DecodeImage, InputSteps, Resample
from modelworks.core.tensor import Signature, Tensors
from modelworks.protocol.tensors import DTYPES

try:
    from PIL import Image, UnidentifiedImageError
except ModuleNotFoundError as error:
    raise MissingExtraError("the step 'decode_image'", "image", str(error.name)) from error

_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_DATA_URL: Final = re.compile(rb"data:[\w/+.-]{0,80};base64,")
_SPACE: Final = re.compile(rb"\s+")
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESAMPLE: Final = {
    Resample.NEAREST: Image.Resampling.NEAREST,
    Resample.BOX: Image.Resampling.BOX,
    Resample.BILINEAR: Image.Resampling.BILINEAR,
    Resample.HAMMING: Image.Resampling.HAMMING,
    Resample.BICUBIC: Image.Resampling.BICUBIC,
    Resample.LANCZOS: Image.Resampling.LANCZOS,
}
_DEEP: Final = frozenset({"I;16", "I;16B", "I;16L", "I"})


class ImageStep:
    """Opens the step; it has no files of its own."""

    name: ClassVar[str] = "decode_image"
    extra: ClassVar[str] = "image"
    experimental: ClassVar[bool] = False

    def open(self, item: InputSteps, model: Signature, folder: Path) -> "OpenImages":
        """See `core.seams.StepRunner.open`."""
        del folder
        if item.decode_image is None:
            raise InvalidError(f"'{item.name}' has no image to decode", field="steps")
        step = item.decode_image
        spec = next((s for s in model.inputs if s.name == step.output), None)
        if spec is None:
            raise InvalidError(f"the model has no input '{step.output}'", field="steps")
        return OpenImages(item.name, step, DTYPES[spec.datatype])


class OpenImages:
    """One model's way from files to pixels; see `core.seams.OpenStep`."""

    def __init__(self, name: str, step: DecodeImage, dtype: Any) -> None:
        self.outputs = (step.output,)
        self._name = name
        self._step = step
        self._dtype = dtype
        shape = (step.channels, 1, 1) if step.axes is Axes.NCHW else (step.channels,)
        self._mean = np.array(step.mean, np.float32).reshape(shape) if step.mean else None
        self._std = np.array(step.std, np.float32).reshape(shape) if step.std else None

    def run(self, inputs: Tensors) -> Tensors:
        """Files of all rows to one array; see `core.seams.OpenStep.run`."""
        items = inputs[self._name].reshape(-1).tolist()
        pictures = [
            self._pixels(item, f"rows[{row}].{self._name}") for row, item in enumerate(items)
        ]
        return {self._step.output: np.stack(pictures)}

    def _pixels(self, item: bytes, where: str) -> Any:
        """One image, ready for the model.

        Raises:
            InvalidError: no image, too large, damaged, animated.
        """
        data = _file(item, where)
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                self._bounded(image, where)
                if image.format == "PNG":  # decoding does not look at its checksums
                    image.verify()
                else:
                    return self._made(image, where)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return self._made(image, where)
        except InvalidError:
            raise
        except Exception as error:  # decoders raise whatever damaged bytes lead them to
            why = " ".join(str(error).split())[:120]
            if isinstance(error, UnidentifiedImageError):
                why = "neither JPEG nor PNG nor WebP"
            raise InvalidError(f"{where}: the image cannot be read: {why}", field=where) from error

    def _bounded(self, image: Image.Image, where: str) -> None:
        width, height = image.size
        if width * height > self._step.max_pixels:
            raise InvalidError(
                f"{where}: {width} x {height} pixels, at most {self._step.max_pixels} are taken "
                "(decode_image.max_pixels)",
                field=where,
            )
        # Telephones put a second picture behind a JPEG; the first one is what people see.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise InvalidError(f"{where}: an animation; send one still image", field=where)

    def _made(self, image: Image.Image, where: str) -> Any:
        step = self._step
        picture = image
        if step.orient:
            turn = _TURNS.get(_orientation(image))
            picture = image.transpose(turn) if turn is not None else image
        picture = self._sized(_coloured(picture, step.colour), where)
        array = np.asarray(picture)
        if step.colour is Colour.GREY:
            array = array[:, :, None]
        elif step.colour is Colour.BGR:
            array = array[:, :, ::-1]
        if step.axes is Axes.NCHW:
            array = array.transpose(2, 0, 1)
        if self._dtype == np.uint8:
            return array
        array = array.astype(np.float32) * np.float32(step.rescale)
        if self._mean is not None:
            array -= self._mean
        if self._std is not None:
            array /= self._std
        return array.astype(self._dtype, copy=False)

    def _sized(self, image: Image.Image, where: str) -> Image.Image:
        """Resized, then cropped around the centre."""
        step = self._step
        if step.resize is not None:
            size = _size(image.size, step)
            if size[0] * size[1] > step.max_pixels:
                raise InvalidError(
                    f"{where}: an image of {image.size[0]} x {image.size[1]} pixels becomes too "
                    "large when its shorter side is stretched",
                    field=where,
                )
            image = image.resize(size, _RESAMPLE[step.resize.resample], reducing_gap=None)
        spare = (image.width - step.width, image.height - step.height)
        if min(spare) < 0:
            raise InvalidError(
                f"{where}: {image.width} x {image.height} pixels are less than the "
                f"{step.width} x {step.height} that the model takes",
                field=where,
            )
        if spare == (0, 0):
            return image
        exact = step.centre is Centre.EVEN  # as torchvision does, others cut down
        left, top = (round(n / 2) if exact else n // 2 for n in spare)
        return image.crop((left, top, left + step.width, top + step.height))


def _file(item: bytes, where: str) -> bytes:
    """The file's bytes; JSON carries them as base64, with or without the head of a data URL."""
    if item.startswith(_MAGIC):
        return item
    if not item:
        raise InvalidError(f"{where}: an image is wanted, and there is nothing", field=where)
    text = item[head.end() :] if (head := _DATA_URL.match(item)) else item
    try:
        return base64.b64decode(_SPACE.sub(b"", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError(
            f"{where}: neither the bytes of a JPEG, PNG or WebP image nor their base64 text",
            field=where,
        ) from error


def _orientation(image: Image.Image) -> int:
    """As its EXIF data say; damaged ones say nothing, and the picture counts."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - whatever damaged data lead the parser to
        return 1


def _coloured(image: Image.Image, colour: Colour) -> Image.Image:
    if image.mode in _DEEP:  # 16 bits a channel: the upper eight
        values = np.asarray(image)
        image = Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
    return image.convert("L" if colour is Colour.GREY else "RGB")


def _size(size: tuple[int, int], step: DecodeImage) -> tuple[int, int]:
    wanted = step.resize
    width, height = size
    if wanted is None:
        return size
    if wanted.height is not None and wanted.width is not None:
        return wanted.width, wanted.height
    shortest = wanted.shortest or min(size)
    if width <= height:
        return shortest, int(shortest * height / width)
    return int(shortest * width / height), shortest
