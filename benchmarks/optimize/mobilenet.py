"""MobileNetV2's layers, width 1.0, with a last layer of any width."""

import torch
from torch import nn

# Table 2 of Sandler et al. 2018: expansion, channels, repeats, stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
WIDE = 1280


def convolve(into, out, size, stride=1, groups=1, *, bend=True):
    """Convolution, normalisation, and ReLU6 if `bend`."""
    layer = nn.Conv2d(into, out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), *([nn.ReLU6()] if bend else []))


class Block(nn.Module):
    """Wider by a 1x1 convolution, one a channel, and narrow again; a shortcut where it fits."""

    def __init__(self, into, out, stride, expansion):
        super().__init__()
        wide = into * expansion
        first = [convolve(into, wide, 1)] if expansion > 1 else []
        self.inner = nn.Sequential(
            *first, convolve(wide, wide, 3, stride, wide), convolve(wide, out, 1, bend=False)
        )
        self.short = stride == 1 and into == out

    def forward(self, x):
        """As torch calls it."""
        return x + self.inner(x) if self.short else self.inner(x)


class MobileNet(nn.Module):
    """`[n, 3, side, side]` -> logits `[n, classes]`."""

    def __init__(self, classes):
        super().__init__()
        layers, channels = [convolve(3, 32, 3, 2)], 32
        for expansion, out, repeats, first in STAGES:
            for turn in range(repeats):
                layers.append(Block(channels, out, first if turn == 0 else 1, expansion))
                channels = out
        self.features = nn.Sequential(*layers, convolve(channels, WIDE, 1))
        self.head = nn.Linear(WIDE, classes)

    def forward(self, x):
        """As torch calls it."""
        return self.head(self.features(x).mean((2, 3)))


def settle(network, images):
    """Take the normalisations' statistics anew, from pictures of another size than trained on."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches
    with torch.no_grad():
        for batch in images.split(64):
            network(batch)
    network.eval()
