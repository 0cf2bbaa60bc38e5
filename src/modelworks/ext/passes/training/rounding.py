"""Rounding to eight bits that a net learns through: the gradient goes on as if nothing was rounded.

Ranges of activations are learned as in Esser et al. (2020), "Learned Step Size Quantization",
sections 2.1 and 2.2, of both ends apart; weights by their largest value, a channel each, as in
Krishnamoorthi (2018), "Quantizing deep convolutional networks for efficient inference", section 3.
"""

import math
from typing import Any, Final

import torch
from torch import nn
from torch.nn.utils import parametrize

_STEPS: Final = 255  # between the ends, eight bits without a sign
_WEIGHT_STEPS: Final = 127  # on either side of zero
_LEAST: Final = 1e-12  # of a range or a weight: below it nothing is to be told apart
_NARROWEST: Final = -4.0  # logarithm of what a range may become of its first size
_WIDEST: Final = 1.0


class Range(nn.Module):
    """Values cut to a range and rounded to 256 steps, of which one is zero.

    Args:
        low: of the range, at most 0.
        high: of it, at least 0.
        learned: whether the ends are; each stays on its side of zero.
        grows: whether they may leave the first range. What an activation cut off must not: the
            rounded graph leaves that to the range.
    """

    def __init__(self, low: float, high: float, *, learned: bool, grows: bool) -> None:
        super().__init__()
        self.register_buffer("first", torch.tensor([low, max(high, low + _LEAST)]))
        self.turn = nn.Parameter(torch.zeros(2), requires_grad=learned)
        self._widest = _WIDEST if grows else 0.0

    def ends(self) -> torch.Tensor:
        """Of the range: `[2]`, the lower one first."""
        held = self.turn.clamp(_NARROWEST, self._widest)
        turn = self.turn + (held - self.turn).detach()  # who has left the bounds can come back
        first: Any = self.first  # torch's types say it may be a module
        found: torch.Tensor = first * turn.exp()
        return found

    def limits(self) -> tuple[float, float]:
        """The same as numbers."""
        low, high = self.ends().tolist()
        return low, high

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The rounded values, of the same shape."""
        ends = self.ends()
        if ends.requires_grad:  # as many values as there are push at one number
            share = 1 / math.sqrt(max(1, values[0].numel()) * _STEPS)
            ends = ends * share + (ends * (1 - share)).detach()
        found: torch.Tensor = _Rounded.apply(values, ends)  # type: ignore[no-untyped-call]
        return found


class _Rounded(torch.autograd.Function):
    """`Range.forward`, and its gradient."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        low, high = ends.detach()
        step = ((high - low) / _STEPS).clamp_min(_LEAST)
        zero = (-low / step).round().clamp(0, _STEPS)
        made: torch.Tensor = ((values / step).round() + zero).clamp(0, _STEPS).sub(zero).mul(step)
        context.save_for_backward(values, made, step, zero)
        return made

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, made, step, zero = context.saved_tensors
        [gradient] = gradients
        below = values < (-zero - 0.5) * step
        above = values > (_STEPS - zero + 0.5) * step
        inner = gradient.masked_fill(below | above, 0)
        # Within, another step moves a value by what rounding took of it; beyond, an end is it.
        steps = (inner * (made - values)).sum() / step / _STEPS
        low = gradient.masked_fill(~below, 0).sum() - steps
        high = gradient.masked_fill(~above, 0).sum() + steps
        return inner, torch.stack([low, high])


class Weights(nn.Module):
    """Weights rounded to 255 steps around zero, in place of a module's own.

    Args:
        per_channel: with a scale for each of the first axis.
    """

    def __init__(self, *, per_channel: bool) -> None:
        super().__init__()
        self._per_channel = per_channel

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The rounded weights."""
        sizes = weight.detach().abs()
        if self._per_channel:
            largest = sizes.flatten(1).amax(dim=1).reshape(-1, *[1] * (weight.dim() - 1))
        else:
            largest = sizes.amax()
        step = (largest / _WEIGHT_STEPS).clamp_min(_LEAST)
        with torch.no_grad():
            off = (weight / step).round() * step - weight
        found: torch.Tensor = weight + off
        return found


def round_weights(module: nn.Module, *, per_channel: bool) -> None:
    """From now on a module computes with rounded weights, and learns those that are rounded."""
    parametrize.register_parametrization(module, "weight", Weights(per_channel=per_channel))
