"""Networks that PyTorch's exporters treat differently, and their weights with a factory."""

import math
from pathlib import Path

import torch
from torch import nn


class Sized(nn.Module):
    """Takes the number of rows for a plain number: whoever follows one call bakes it in."""

    def __init__(self):
        super().__init__()
        self.end = nn.Linear(6, 3)

    def forward(self, row):
        return self.end(row.reshape(math.floor(row.shape[0]), 6))


class Long(nn.Module):
    """Takes the length of a text for a plain number; dynamo's form of it does not load."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 4)

    def forward(self, words):
        places = torch.arange(math.floor(words.shape[1]), dtype=torch.float32)
        return self.words(words).mean(1) + places.sum()


class Choice(nn.Module):
    """Goes one of two ways by the values it is given."""

    def __init__(self):
        super().__init__()
        self.end = nn.Linear(3, 2)

    def forward(self, row):
        if row.abs().max() > 1e9:  # beyond what an import tries
            return self.end(row.clamp(-1, 1))
        return self.end(row)


class Filled(nn.Module):
    """Fills missing values in by itself."""

    def __init__(self):
        super().__init__()
        self.end = nn.Linear(3, 2)

    def forward(self, row):
        return self.end(torch.nan_to_num(row, nan=0.5))


class Images(nn.Module):
    """Images of any size, from 32 pixels on: halved five times; a layer for training only."""

    def __init__(self):
        super().__init__()
        halves = [part for n in range(5) for part in (nn.Conv2d(3, 3, 1), nn.MaxPool2d(2))]
        self.layers = nn.Sequential(*halves, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout())

    def forward(self, image):
        return self.layers(image)


class Recurrent(nn.Module):
    """Numbers in steps; both the answer and the last state, whose first axis is no row."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(4, 5, num_layers=2, batch_first=True)

    def forward(self, steps):
        answer, state = self.layer(steps)
        return {"answer": answer[:, -1], "state": state}


class Unknown(nn.Module):
    """An operator that ONNX has not."""

    def __init__(self):
        super().__init__()
        self.end = nn.Linear(3, 3)

    def forward(self, row):
        return torch.linalg.eigvals(self.end(row) @ row.transpose(1, 2)).real


def weights(model: nn.Module, folder: Path) -> dict[str, object]:
    """The file of its weights, and what an import is told of it."""
    name = type(model).__name__
    torch.save(model.state_dict(), folder / "weights.pt")
    here = Path(__file__)
    (folder / "make.py").write_text(
        f"import sys\nsys.path.append({str(here.parent)!r})\n"
        f"from {here.stem} import {name}\n\ndef make():\n    return {name}()\n"
    )
    return {"path": folder / "weights.pt", "factory": f"{folder}/make.py:make"}
