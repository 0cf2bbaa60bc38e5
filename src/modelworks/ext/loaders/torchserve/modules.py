"""Stands in for the package `ts` of TorchServe where it is not installed: what handlers import.

It has the context, the base classes and the helpers that handlers derive from or call; metrics are
taken and forgotten, explanations are not offered.
"""

import sys
from types import ModuleType
from typing import Any

from modelworks.ext.loaders.torchserve import handlers, helpers
from modelworks.ext.loaders.torchserve.context import Context, Metrics, RequestProcessor

_VERSION = "0.12.0"
_MODULES: dict[str, dict[str, Any]] = {
    "ts": {"__version__": _VERSION},
    "ts.version": {"__version__": _VERSION},
    "ts.context": {"Context": Context, "RequestProcessor": RequestProcessor},
    "ts.utils": {},
    "ts.utils.util": {
        "PredictionException": helpers.PredictionException,
        "list_classes_from_module": helpers.list_classes_from_module,
        "load_label_mapping": helpers.load_label_mapping,
        "map_class_to_label": helpers.map_class_to_label,
    },
    "ts.handler_utils": {},
    "ts.handler_utils.timer": {"timed": helpers.timed},
    "ts.metrics": {},
    "ts.metrics.metrics_store": {"MetricsStore": Metrics},
    "ts.metrics.dimension": {"Dimension": Metrics},
    "ts.torch_handler": {},
    "ts.torch_handler.base_handler": {"BaseHandler": handlers.BaseHandler},
    "ts.torch_handler.vision_handler": {"VisionHandler": handlers.VisionHandler},
    "ts.torch_handler.image_classifier": {"ImageClassifier": handlers.ImageClassifier},
    "ts.torch_handler.image_segmenter": {"ImageSegmenter": handlers.ImageSegmenter},
    "ts.torch_handler.object_detector": {"ObjectDetector": handlers.ObjectDetector},
}


def install() -> None:
    """Make the package importable under its names, in a process of the model's own."""
    for name, members in _MODULES.items():
        if name in sys.modules:
            continue
        module = ModuleType(name)
        module.__path__ = []
        vars(module).update(members)
        for member in members.values():
            if isinstance(member, type) and name.startswith("ts.torch_handler."):
                member.__module__ = name  # so that the module is seen to define it
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
