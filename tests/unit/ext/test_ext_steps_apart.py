"""Texts and images of strangers: what can be read is, what cannot is refused by row and name."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from modelworks.core.errors import InvalidError
from modelworks.core.made_up import png
from modelworks.core.steps import (
    Axes,
    Colour,
    DecodeImage,
    InputSteps,
    Padding,
    Resize,
    Side,
    Tokenize,
)
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.plugins.load import load

pytestmark = pytest.mark.unit


def objects(*values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


# -- texts


@pytest.fixture
def folder(tmp_path):
    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "a", "b", "c"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A:0 $B:1", special_tokens=[])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def tokenized(folder, values, pairs=None, datatype=Datatype.INT64, **told):
    step = Tokenize(pair="second" if pairs else "", types="types", mask="mask", ids="ids", **told)
    specs = tuple(TensorSpec(n, datatype, (None, None)) for n in ("ids", "mask", "types"))
    opened = load("steps", "tokenize")().open(
        InputSteps("text", tokenize=step), Signature(specs, ()), folder
    )
    inputs = {"text": objects(*values)}
    if pairs:
        inputs["second"] = objects(*pairs)
    return opened.run(inputs)


def test_texts_are_filled_up_to_the_longest(folder):
    made = tokenized(folder, [b"a", b"b zzz c"])
    np.testing.assert_array_equal(made["ids"], [[2, 0, 0], [3, 1, 4]])
    np.testing.assert_array_equal(made["mask"], [[1, 0, 0], [1, 1, 1]])
    assert made["ids"].dtype == np.int64


def test_sides_lengths_and_types_are_the_steps(folder):
    made = tokenized(
        folder, [b"a b c"], side=Side.LEFT, cut=Side.LEFT, max_length=2, datatype=Datatype.INT32
    )
    np.testing.assert_array_equal(made["ids"], [[3, 4]])
    assert made["ids"].dtype == np.int32
    made = tokenized(folder, [b"a"], side=Side.LEFT, padding=Padding.MAX_LENGTH, max_length=3)
    np.testing.assert_array_equal(made["ids"], [[0, 0, 2]])
    made = tokenized(folder, [b"a b c"], multiple=4, pad_id=1)
    np.testing.assert_array_equal(made["ids"], [[2, 3, 4, 1]])


def test_pairs_are_one_text(folder):
    made = tokenized(folder, [b"a"], [b"b c"])
    np.testing.assert_array_equal(made["ids"], [[2, 3, 4]])
    np.testing.assert_array_equal(made["types"], [[0, 1, 1]])


def test_the_empty_text_is_one_padding(folder):
    assert tokenized(folder, [b""])["ids"].tolist() == [[0]]


@pytest.mark.parametrize(
    ("value", "told", "says"),
    [
        (b"\xff\xfe", {}, "UTF-8"),
        (b"a" * 11, {"max_characters": 10}, "max_characters"),
        (b"a b c", {"max_length": 2, "truncation": False}, "3 tokens, at most 2"),
    ],
)
def test_texts_that_cannot_be_taken_are_named(folder, value, told, says):
    with pytest.raises(InvalidError, match=says) as caught:
        tokenized(folder, [b"a", value], **told)
    assert caught.value.field == "rows[1].text"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": {"type": "BPE"}}', "\0\0"])
def test_a_damaged_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InvalidError, match="no tokenizer"):
        tokenized(tmp_path, [b"a"])


def test_a_missing_tokenizer_is_refused(tmp_path):
    with pytest.raises(InvalidError, match="missing"):
        tokenized(tmp_path, [b"a"])


# -- images


def decoded(*values, datatype=Datatype.FP32, height=4, width=4, **told):
    step = DecodeImage(height, width, output="pixels", **told)
    spec = TensorSpec("pixels", datatype, (None, None, None, None))
    item = InputSteps("image", decode_image=step)
    opened = load("steps", "decode_image")().open(item, Signature((spec,), ()), None)
    return opened.run({"image": objects(*values)})["pixels"]


def file(image, form="PNG", **told):
    stream = io.BytesIO()
    image.save(stream, form, **told)
    return stream.getvalue()


def square(colour="red", size=(4, 4), mode="RGB"):
    return Image.new(mode, size, colour)


def test_pixels_are_scaled_and_ordered():
    made = decoded(file(square((255, 51, 0))))
    assert made.shape == (1, 3, 4, 4)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0, :, 0, 0], [1, 0.2, 0], atol=1e-6)
    made = decoded(
        file(square((255, 51, 0))),
        axes=Axes.NHWC,
        colour=Colour.BGR,
        mean=(0, 0.2, 1),
        std=(1, 1, 2),
    )
    np.testing.assert_allclose(made[0, 0, 0], [0, 0, 0], atol=1e-6)
    assert decoded(file(square()), colour=Colour.GREY).shape == (1, 1, 4, 4)


def test_whole_numbers_stay_whole():
    made = decoded(file(square((255, 51, 0))), datatype=Datatype.UINT8, rescale=1.0)
    assert made.dtype == np.uint8
    assert made[0, :, 0, 0].tolist() == [255, 51, 0]


def test_the_shorter_side_and_the_centre():
    wide = Image.new("RGB", (40, 20), "red")
    wide.paste("blue", (10, 0, 30, 20))
    made = decoded(file(wide), resize=Resize(shortest=8), height=8, width=8)
    np.testing.assert_allclose(made[0, :, 4, 4], [0, 0, 1], atol=0.01)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_formats_and_base64_of_them(form):
    data = file(square((0, 0, 255)), form)
    text = base64.b64encode(data)
    made = decoded(
        data, text, b"data:image/x;base64," + text, b"\n" + text[:20] + b"\n" + text[20:]
    )
    np.testing.assert_allclose(made[:, :, 1, 1], [[0, 0, 1]] * 4, atol=0.02)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    else:
        image = square("white").convert(mode)
    data = file(image, "JPEG" if mode == "CMYK" else "PNG")
    np.testing.assert_allclose(decoded(data)[0, :, 0, 0], [1, 1, 1], atol=0.02)


def test_images_are_turned_as_they_say():
    image = Image.new("RGB", (4, 4), "red")
    image.paste("blue", (0, 0, 4, 2))  # blue above
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    data = file(image, "JPEG", exif=exif, quality=100, subsampling=0)
    made = decoded(data)[0]
    assert made[2, 2, 3] > 0.5 > made[2, 2, 0]  # blue at the right
    assert decoded(data, orient=False)[0][2, 0, 2] > 0.5


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """A few bytes that claim to be a large image."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def animation(form):
    frames = [square("red"), square("blue")]
    return file(frames[0], form, save_all=True, append_images=frames[1:])


SHADES = png(64, 64, 3)
BAD = {
    "nothing": (b"", "nothing"),
    "words": (b"not an image", "base64"),
    "base64 of words": (base64.b64encode(b"not an image at all"), "neither JPEG"),
    "gif": (file(square(), "GIF"), "base64"),
    "gif in base64": (base64.b64encode(file(square(), "GIF")), "neither JPEG"),
    "tiff": (base64.b64encode(file(square(), "TIFF")), "neither JPEG"),
    "bomb": (bomb(20_000, 20_000), "max_pixels|cannot be read"),
    "small bomb": (bomb(8_000, 8_000), "max_pixels"),
    "cut jpeg": (file(square(size=(64, 64)), "JPEG")[:300], "cannot be read"),
    "cut png": (png(64, 64, 3)[:100], "cannot be read"),
    "cut webp": (file(square(size=(64, 64)), "WEBP")[:30], "cannot be read"),
    "damaged png": (SHADES[:60] + b"\xff" * 60 + SHADES[120:], "cannot be read"),
    "moving webp": (animation("WEBP"), "animation"),
    "moving png": (animation("PNG"), "animation"),
    "small": (file(square(size=(3, 4))), "less than"),
    "riff": (b"RIFF" + b"\0" * 40, "neither JPEG"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # our bound is told
def test_images_that_cannot_be_taken_are_named(name):
    data, says = BAD[name]
    with pytest.raises(InvalidError, match=says) as caught:
        decoded(file(square()), data, max_pixels=1_000_000)
    assert caught.value.field == "rows[1].image"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


def test_a_thread_of_pixels_does_not_grow_when_stretched():
    thin = file(Image.new("RGB", (1, 900_000)))
    with pytest.raises(InvalidError, match="too large"):
        decoded(thin, resize=Resize(shortest=256), height=4, width=4, max_pixels=1_000_000)
