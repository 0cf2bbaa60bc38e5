"""The classes that handlers derive from, written after TorchServe's documentation of them."""

import base64
import importlib
import io
from abc import ABC
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from modelworks.ext.loaders.torchserve.helpers import (
    list_classes_from_module,
    load_label_mapping,
    map_class_to_label,
)

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BaseHandler(ABC):  # noqa: B024 - handlers derive from it as they like
    """Loads the archive's model, and runs `preprocess`, `inference`, `postprocess`."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: dict[str, Any] | None = None
        self.map_location: str | None = None
        self.explain = False
        self.target = 0
        self.model_yaml_config: dict[str, Any] = {}

    def initialize(self, context: Any) -> None:
        """TorchScript, ONNX, or a state dict with the class of `modelFile`."""
        import torch  # noqa: PLC0415 - PyTorch is loaded with the model only

        self.context = context
        self.model_yaml_config = context.model_yaml_config
        self.manifest = context.manifest
        self.map_location = "cpu"
        self.device = torch.device("cpu")
        folder = Path(context.system_properties["model_dir"])
        described = context.manifest["model"]
        weights = described.get("serializedFile")
        self.model_pt_path = str(folder / weights) if weights else None
        if described.get("modelFile"):
            self.model = self._load_pickled_model(
                str(folder), described["modelFile"], self.model_pt_path
            )
            self.model.to(self.device)
            self.model.eval()
        elif self.model_pt_path is None:
            raise RuntimeError("the archive has no model file for the base handler to load")
        elif self.model_pt_path.endswith(".onnx"):
            import onnxruntime  # noqa: PLC0415 - for such a model only

            self.model = onnxruntime.InferenceSession(
                self.model_pt_path, providers=["CPUExecutionProvider"]
            )
        else:
            self.model = self._load_torchscript_model(self.model_pt_path)
            self.model.eval()
        self.mapping = load_label_mapping(str(folder / "index_to_name.json"))
        self.initialized = True

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        import torch  # noqa: PLC0415 - as above

        load: Any = torch.jit.load
        return load(model_pt_path, map_location=self.device)

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> Any:
        import torch  # noqa: PLC0415 - as above

        module = importlib.import_module(Path(model_file).stem)
        classes = list_classes_from_module(module)
        if len(classes) != 1:
            raise ValueError(f"one class is wanted in {model_file} of {model_dir}")
        model: Any = classes[0]()
        if model_pt_path:
            weights = torch.load(model_pt_path, map_location=self.device, weights_only=True)
            model.load_state_dict(weights)
        return model

    def preprocess(self, data: Any) -> Any:
        """Numbers as a tensor."""
        import torch  # noqa: PLC0415 - as above

        return torch.as_tensor(data, device=self.device)

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """The model, without gradients."""
        import torch  # noqa: PLC0415 - as above

        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    def postprocess(self, data: Any) -> Any:
        """A tensor as lists."""
        return data.tolist()

    def handle(self, data: Any, context: Any) -> Any:
        """The three steps."""
        self.context = context
        return self.postprocess(self.inference(self.preprocess(data)))

    def get_device(self) -> Any:
        """Always the CPU."""
        return self.device


def _standard(image: Any) -> Any:
    """Shorter side 256, centre 224 x 224, normalized as ImageNet's models want it."""
    import numpy as np  # noqa: PLC0415 - PyTorch brings it
    import torch  # noqa: PLC0415 - as above
    from PIL import Image  # noqa: PLC0415 - for images only

    image = image.convert("RGB")
    scale = 256 / min(image.size)
    size = tuple(int(side * scale) if side != min(image.size) else 256 for side in image.size)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    pixels = (pixels - np.asarray(_MEAN, np.float32)) / np.asarray(_STD, np.float32)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _plain(image: Any) -> Any:
    """Pixels between 0 and 1."""
    import numpy as np  # noqa: PLC0415 - as above
    import torch  # noqa: PLC0415 - as above

    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


class VisionHandler(BaseHandler):
    """Images, as files, base64 text or lists of numbers."""

    image_processing: ClassVar[Callable[..., Any]] = staticmethod(_standard)

    def preprocess(self, data: Any) -> Any:
        """One tensor of all images."""
        import torch  # noqa: PLC0415 - as above
        from PIL import Image  # noqa: PLC0415 - for images only

        found = []
        for row in data:
            image = row.get("data") or row.get("body")
            if isinstance(image, str):
                image = base64.b64decode(image)
            if isinstance(image, bytes | bytearray):
                found.append(self.image_processing(Image.open(io.BytesIO(image))))
            else:
                found.append(torch.FloatTensor(image))
        return torch.stack(found).to(self.device)


class ImageClassifier(VisionHandler):
    """The most likely classes by name."""

    topk = 5

    def set_max_result_classes(self, topk: int) -> None:
        """How many are answered."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """The same."""
        return self.topk

    def postprocess(self, data: Any) -> Any:
        """`{name: probability}` an image."""
        values, places = data.softmax(dim=1).topk(min(self.topk, data.shape[1]), dim=1)
        return map_class_to_label(values.tolist(), self.mapping, places.tolist())


class ImageSegmenter(VisionHandler):
    """Class and probability of each pixel."""

    def postprocess(self, data: Any) -> Any:
        """`[height, width, 2]` an image."""
        import torch  # noqa: PLC0415 - as above

        best = data["out"].softmax(dim=1).max(dim=1)
        return torch.stack([best.indices.type(best.values.dtype), best.values], dim=3).tolist()


class ObjectDetector(VisionHandler):
    """Boxes by name, where the model is sure enough."""

    image_processing: ClassVar[Callable[..., Any]] = staticmethod(_plain)
    threshold = 0.5

    def postprocess(self, data: Any) -> Any:
        """A list of `{name: box, "score": score}` an image."""
        answers = []
        for row in data:
            sure = row["scores"] >= self.threshold
            triples = zip(
                row["labels"][sure].tolist(),
                row["boxes"][sure].tolist(),
                row["scores"][sure].tolist(),
                strict=True,
            )
            answers.append(
                [
                    {(self.mapping[str(at)] if self.mapping else str(at)): box, "score": score}
                    for at, box, score in triples
                ]
            )
        return answers
