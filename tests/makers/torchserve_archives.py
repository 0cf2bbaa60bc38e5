"""Writes model archives with torch-model-archiver itself.

Run by the tests in the archiver's own environment: `torchserve_archives.py FOLDER LIBRARIES`.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

FOLDER = Path(sys.argv[1])
SOURCE = FOLDER / "source"
sys.path.append(sys.argv[2])
warnings.simplefilter("ignore")

import torch  # noqa: E402 - after the path

MODEL = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x)
"""

CLASS_HANDLER = """
import json

import torch
from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException


class Rows(BaseHandler):
    def preprocess(self, data):
        rows = []
        for row in data:
            body = row.get("data") or row.get("body")
            if isinstance(body, (bytes, bytearray)):
                raise PredictionException("JSON is wanted", 415)
            rows.append(body["row"])
        return torch.tensor(rows, dtype=torch.float32)

    def postprocess(self, data):
        assert self.model_yaml_config["handler"]["unit"] == "cm"
        return [{"scores": scores, "together": len(data)} for scores in data.tolist()]
"""

FUNCTION_HANDLER = """
state = {}


def answer(data, context):
    if data is None:
        state["folder"] = context.system_properties["model_dir"]
        return None
    context.set_response_content_type(0, "text/plain")
    return [bytes(row["body"])[::-1] for row in data]
"""


class Pixels(torch.nn.Module):
    """Scores of three classes from an image."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 7, stride=32)

    def forward(self, x):
        return self.layer(x).mean((2, 3))


def write():
    SOURCE.mkdir()
    torch.manual_seed(0)
    (SOURCE / "archived_net.py").write_text(MODEL)
    sys.path.insert(0, str(SOURCE))
    import archived_net

    net = archived_net.Net().eval()
    torch.save(net.state_dict(), SOURCE / "weights.pth")
    torch.jit.script(net).save(str(SOURCE / "script.pt"))
    torch.jit.script(Pixels().eval()).save(str(SOURCE / "pixels.pt"))
    (SOURCE / "rows_handler.py").write_text(CLASS_HANDLER)
    (SOURCE / "turn_handler.py").write_text(FUNCTION_HANDLER)
    names = {"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "dog"]}
    (SOURCE / "index_to_name.json").write_text(json.dumps(names))
    (SOURCE / "settings.yaml").write_text(
        "batchSize: 2\nmaxBatchDelay: 50\nresponseTimeout: 120\nhandler:\n  unit: cm\n"
    )


def archive(name, handler, **options):
    files = {
        "serialized-file": options.pop("serialized", None),
        "model-file": options.pop("model", None),
        "extra-files": options.pop("extra", None),
        "config-file": options.pop("config", None),
    }
    command = [sys.executable, "-W", "ignore", "-m", "model_archiver.model_packaging"]
    command += ["--model-name", name, "--version", "1.2", "--export-path", str(FOLDER)]
    command += ["--handler", handler, "--archive-format", options.pop("form", "default")]
    for option, file in files.items():
        if file:
            command += [f"--{option}", str(SOURCE / file)]
    subprocess.run(command, check=True, capture_output=True)


write()
archive("script", "base_handler", serialized="script.pt")
archive("stored", "base_handler", serialized="script.pt", form="zip-store")
archive("packed", "base_handler", serialized="script.pt", form="tgz")
archive("plain", "base_handler", serialized="script.pt", form="no-archive")
archive("eager", "base_handler", serialized="weights.pth", model="archived_net.py")
archive(
    "image",
    "image_classifier",
    serialized="pixels.pt",
    extra="index_to_name.json",
    config="settings.yaml",
)
archive(
    "rows",
    str(SOURCE / "rows_handler.py"),
    serialized="weights.pth",
    model="archived_net.py",
    config="settings.yaml",
)
archive("turn", f"{SOURCE / 'turn_handler'}:answer")
