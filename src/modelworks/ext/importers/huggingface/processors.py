"""Tokenizer and image processor of a snapshot as steps, from their configurations alone."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelworks.core.ragged import Ragged
from modelworks.core.steps import (
    DecodeImage,
    InputSteps,
    Resample,
    Resize,
    Side,
    Tokenize,
)
from modelworks.core.tensor import TensorSpec
from modelworks.ext.importers.huggingface.snapshot import Snapshot, read_json

FOLDER = "steps"
_RESAMPLE = {
    0: Resample.NEAREST,
    1: Resample.LANCZOS,
    2: Resample.BILINEAR,
    3: Resample.BICUBIC,
    4: Resample.BOX,
    5: Resample.HAMMING,
}
_UNLIMITED = 1_000_000  # tokenizers without a bound of their own say 1e30
_STRANGE = ("crop_pct", "do_pad", "do_thumbnail", "size_divisor", "do_flip_channel_order")


@dataclass(frozen=True, slots=True)
class Found:
    """What could be inferred.

    Attributes:
        steps: none or one.
        notes: why not, or what was chosen.
    """

    steps: tuple[InputSteps, ...] = ()
    notes: tuple[str, ...] = ()


def tokenizer(snapshot: Snapshot, into: Path, inputs: tuple[str, ...], text: str = "") -> Found:
    """The step `tokenize` of a text model; `tokenizer.json` is laid into the artifact.

    Args:
        snapshot: the folder.
        into: of the artifact.
        inputs: of the model.
        text: of the tokenizer's file; "" = as it lies in the folder.

    Raises:
        InvalidError: the tokenizer's file is damaged.
    """
    if "input_ids" not in inputs:
        return Found()
    file = snapshot.folder / "tokenizer.json"
    if not text and not file.is_file():
        return Found(
            notes=("there is no tokenizer.json: callers send token ids (input_ids)",),
        )
    target = into / FOLDER / file.name
    target.parent.mkdir(exist_ok=True)
    if text:
        target.write_text(text)
    else:
        shutil.copyfile(file, target)
    told = snapshot.json("tokenizer_config.json")
    data = read_json(target)
    length = _length(snapshot, told)
    pad = _pad(told, snapshot.config, data)
    step = Tokenize(
        tokenizer=f"{FOLDER}/{file.name}",
        max_length=length,
        side=_side(told.get("padding_side")),
        cut=_side(told.get("truncation_side")),
        pad_id=pad,
        pad_type=_number(told.get("pad_token_type_id"), 0),
        mask="attention_mask" if "attention_mask" in inputs else "",
        types="token_type_ids" if "token_type_ids" in inputs else "",
    )
    notes = [f"texts are tokenized in the server, cut at {length} tokens"]
    return Found((InputSteps("text", tokenize=step),), tuple(notes))


def ragged(snapshot: Snapshot, inputs: tuple[TensorSpec, ...]) -> Ragged | None:
    """How token ids of different lengths share a call; None where the model reads no mask."""
    free = {spec.name for spec in inputs if spec.shape == (None, None)}
    if not {"input_ids", "attention_mask"} <= free:
        return None
    pad = _number(snapshot.config.get("pad_token_id"), 0)
    return Ragged("attention_mask", values=(("input_ids", float(pad)),) if pad else ())


def _length(snapshot: Snapshot, told: dict[str, Any]) -> int:
    """The least of what tokenizer, model and sentence-transformers allow."""
    config = snapshot.config
    sentence = snapshot.json("sentence_bert_config.json")
    positions = _number(config.get("max_position_embeddings"), _UNLIMITED)
    if config.get("model_type") in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        positions -= 2  # counted from behind the padding's own position
    lengths = [
        positions,
        _number(told.get("model_max_length"), _UNLIMITED),
        _number(sentence.get("max_seq_length"), _UNLIMITED),
    ]
    length = min(n for n in lengths if n > 0)
    return length if length < _UNLIMITED else 512


def _pad(told: dict[str, Any], config: dict[str, Any], data: dict[str, Any]) -> int:
    """The id that short texts are filled up with; a model that reads the mask ignores it."""
    token = told.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    for added in data.get("added_tokens") or ():
        if isinstance(added, dict) and added.get("content") == token:
            return _number(added.get("id"), 0)
    model = data.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict) and token in vocabulary:
        return _number(vocabulary[token], 0)
    return _number(config.get("pad_token_id"), 0)


def _side(value: Any) -> Side:
    return Side.LEFT if value == "left" else Side.RIGHT


def _number(value: Any, default: int) -> int:
    """A whole number of a configuration; the tokenizers' "no bound" is a float of 30 digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return int(min(value, _UNLIMITED)) if value == value and value >= 0 else default  # noqa: PLR0124 - NaN


def image(snapshot: Snapshot, inputs: tuple[str, ...]) -> Found:
    """The step `decode_image` of a vision model, where its configuration says all of it."""
    if "pixel_values" not in inputs:
        return Found()
    told = snapshot.json("preprocessor_config.json") or snapshot.json("processor_config.json")
    if not told:
        return Found(notes=("there is no preprocessor_config.json: callers send pixels",))
    strange = [key for key in _STRANGE if told.get(key)]
    size = _size(told)
    result = _crop(told) or (size and (size.height, size.width))
    if strange or not result or result[0] is None or result[1] is None:
        why = f"{strange[0]} is not known" if strange else "no size is said"
        note = f"the image processor was not taken over ({why}): declare it with --steps"
        return Found(notes=(note,))
    normalise = told.get("do_normalize", True)
    step = DecodeImage(
        height=result[0],
        width=result[1],
        resize=size,
        rescale=float(told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1.0,
        mean=_channels(told.get("image_mean")) if normalise else (),
        std=_channels(told.get("image_std")) if normalise else (),
    )
    note = f"images are decoded in the server and become {result[0]} x {result[1]} pixels"
    return Found((InputSteps("image", decode_image=step),), (note,))


def _size(told: dict[str, Any]) -> Resize | None:
    if not told.get("do_resize", True):
        return None
    resample = _RESAMPLE.get(told.get("resample", 2), Resample.BILINEAR)
    size = told.get("size")
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if not isinstance(size, dict):
        return None
    if isinstance(size.get("shortest_edge"), int):
        return Resize(shortest=size["shortest_edge"], resample=resample)
    if isinstance(size.get("height"), int) and isinstance(size.get("width"), int):
        return Resize(size["height"], size["width"], resample=resample)
    return None


def _crop(told: dict[str, Any]) -> tuple[int, int] | None:
    if not told.get("do_center_crop", False):
        return None
    size = told.get("crop_size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and isinstance(size.get("height"), int):
        width = size.get("width", size["height"])
        return size["height"], width if isinstance(width, int) else size["height"]
    return None


def _channels(value: Any) -> tuple[float, ...]:
    if isinstance(value, list) and len(value) == 3:
        return tuple(float(v) for v in value)
    return ()
