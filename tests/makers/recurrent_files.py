"""Recurrent networks of PyTorch as ONNX, and what they say to whole sequences at once.

python recurrent_files.py FOLDER: `lstm.onnx` (states with the batch on axis 1, as PyTorch has
them), `gru.onnx` (batch first, beginning with `begin.npy`), `rows.npz`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

SEQUENCES, STEPS, WIDE, HIDDEN = 6, 12, 4, 8


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.LSTM(WIDE, HIDDEN, num_layers=2, batch_first=True)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, x, h, c):
        found, (h, c) = self.net(x, (h, c))
        return self.head(found), h, c


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.GRUCell(WIDE, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x, h):
        h = self.net(x, h)
        return self.head(h), h


def main(folder):
    torch.manual_seed(3)
    lstm, gru = Lstm().eval(), Gru().eval()
    rows = torch.randn(SEQUENCES, STEPS, WIDE)
    first = torch.zeros(2, SEQUENCES, HIDDEN)
    begin = torch.randn(HIDDEN)
    torch.onnx.export(
        lstm,
        (rows[:2, :1], first[:, :2], first[:, :2]),
        str(folder / "lstm.onnx"),
        dynamo=False,
        input_names=["x", "h", "c"],
        output_names=["y", "h_out", "c_out"],
        dynamic_axes={
            "x": {0: "n", 1: "t"},
            "y": {0: "n", 1: "t"},
            **{name: {1: "n"} for name in ("h", "c", "h_out", "c_out")},
        },
    )
    torch.onnx.export(
        gru,
        (rows[:2, 0], begin.repeat(2, 1)),
        str(folder / "gru.onnx"),
        dynamo=False,
        input_names=["x", "h"],
        output_names=["y", "h_out"],
        dynamic_axes={name: {0: "n"} for name in ("x", "h", "y", "h_out")},
    )
    np.save(folder / "begin.npy", begin.numpy())
    with torch.no_grad():
        whole, *_ = lstm(rows, first, first)
        state, said = begin.repeat(SEQUENCES, 1), []
        for step in range(STEPS):
            answer, state = gru(rows[:, step], state)
            said.append(answer)
    np.savez(
        folder / "rows.npz",
        rows=rows.numpy(),
        lstm=whole.numpy(),
        gru=torch.stack(said, 1).numpy(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
