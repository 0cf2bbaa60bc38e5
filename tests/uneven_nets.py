"""Depthwise separable networks whose channels differ widely, on digits: what rounding spoils.

Normalisation begins with uneven scales, so that after training, when it is joined with the
convolutions, some channels of a tensor reach a hundred times further than others. A step for the
whole tensor is too coarse for the small ones: Nagel et al. (2019), "Data-Free Quantization Through
Weight Equalization and Bias Correction", section 3, found the same in MobileNetV2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.testing.passes import PassSource

SPREAD = 1.1  # standard deviation of the logarithm of a channel's scale


@dataclass(frozen=True, slots=True)
class Plan:
    """What a network is like.

    Attributes:
        side: of its pictures: 8 as they are, or larger.
        stride: of the first convolution.
        blocks: channels and stride of each block behind it.
        epochs: of training.
        rows: to learn from.
        others: that it never saw.
    """

    side: int
    stride: int
    blocks: tuple[tuple[int, int], ...]
    epochs: int
    rows: int
    others: int


SMALL = Plan(8, 1, ((32, 1), (64, 2), (64, 1)), 20, 1000, 1500)
WIDE = Plan(32, 2, ((64, 1), (128, 2), (128, 1), (256, 2)), 20, 1000, 1500)


def uneven(folder: Any, plan: Plan) -> tuple[PassSource, Any, Any]:
    """A trained network with its calibration rows and their labels; other rows; their labels."""
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers, into = _layers(1, 32, 3, plan.stride), 32
    for wide, stride in plan.blocks:
        layers += [*_layers(into, into, 3, stride, into), *_layers(into, wide, 1)]
        into = wide
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 10))
    net = nn.Sequential(*layers, *head)
    train, rest = _digits()
    given, wanted = _sized(train[0], plan.side), torch.from_numpy(train[1])
    steps = plan.epochs * -(-len(given) // 64)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(plan.epochs):
        for some in torch.randperm(len(given)).split(64):
            light = torch.rand(len(some), 1, 1, 1) * 0.3 + 0.8
            rows = given[some] * light + 0.05 * torch.randn(len(some), 1, plan.side, plan.side)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows), wanted[some]).backward()
            optimizer.step()
            course.step()
    folder.mkdir(parents=True)
    torch.onnx.export(
        net.eval(), (given[:2],), str(folder / "model.onnx"), dynamo=False, input_names=["image"],
        output_names=["logits"], dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip
    torch.set_num_threads(threads)
    signature = Signature(
        (TensorSpec("image", Datatype.FP32, (None, 1, plan.side, plan.side)),),
        (TensorSpec("logits", Datatype.FP32, (None, 10)),),
        classes=tuple(range(10)),
    )
    files = [folder.with_name(f"{folder.name}-{name}") for name in ("rows.npz", "labels.npy")]
    rows, labels = _varied(*train, plan.rows, 2)
    np.savez(files[0], image=_sized(rows, plan.side).numpy())
    np.save(files[1], labels)
    others, truth = _varied(*rest, plan.others, 1)
    return PassSource(folder, "onnx", signature, *files), _sized(others, plan.side).numpy(), truth


def _layers(into: int, wide: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
    import torch
    from torch import nn

    norm = nn.BatchNorm2d(wide)
    with torch.no_grad():
        norm.weight.copy_((torch.randn(wide) * SPREAD).exp())
    conv = nn.Conv2d(into, wide, size, stride, size // 2, groups=groups, bias=False)
    return [conv, norm, nn.ReLU()]


def _digits() -> Any:
    """Pictures `[n, 8, 8]` from 0 to 1 with labels: to train on, and others."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images, labels = (found.images / 16).astype(np.float32)[order], found.target[order]
    return (images[:1100], labels[:1100]), (images[1100:], labels[1100:])


def _varied(images: Any, labels: Any, rows: int, seed: int) -> Any:
    """So many pictures, each a little darker or lighter and with some noise."""
    numbers = np.random.default_rng(seed)
    places = np.resize(numbers.permutation(len(images)), rows)
    light = numbers.uniform(0.8, 1.1, (rows, 1, 1))
    noise = numbers.normal(0, 0.03, (rows, *images.shape[1:]))
    return np.clip(images[places] * light + noise, 0, 1).astype(np.float32), labels[places]


def _sized(images: Any, side: int) -> Any:
    import torch
    from torch.nn.functional import interpolate

    found = torch.from_numpy(images)[:, None]
    return found if side == found.shape[-1] else interpolate(found, (side, side), mode="bilinear")
