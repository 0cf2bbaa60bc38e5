"""Models of transformers as plain modules: tensors in by name, tensors out by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from modelworks.core.errors import UnsupportedError
from modelworks.core.tensor import Role

Named = dict[str, torch.Tensor]
Finish = Callable[[Any, Named], Named]
"""What the model gave, and what it was given -> outputs by name."""


@dataclass(frozen=True, slots=True)
class Head:
    """What becomes of a model's outputs.

    Attributes:
        finish: makes the served outputs.
        role: of the first of them.
        classes: labels, where it is probabilities.
        note: for the user; "" = nothing to say.
    """

    finish: Finish
    role: Role = Role.TENSOR
    classes: tuple[str, ...] = ()
    note: str = ""


class Wrapped(torch.nn.Module):
    """A model whose forward takes its inputs by position.

    Args:
        model: of transformers.
        names: of its inputs, in order.
        head: makes the outputs.
    """

    def __init__(self, model: torch.nn.Module, names: Sequence[str], head: Head) -> None:
        super().__init__()
        self.model = model
        self.modules_after = torch.nn.ModuleList(getattr(head.finish, "modules", ()))
        self._names = tuple(names)
        self._finish = head.finish

    def _by_name(self, *tensors: torch.Tensor) -> Named:
        given = dict(zip(self._names, tensors, strict=True))
        return self._finish(self.model(**given, return_dict=True), given)


class One(Wrapped):
    """Of one input; capturing wants arguments that are counted."""

    def forward(self, first: torch.Tensor) -> Named:
        """Outputs by name."""
        return self._by_name(first)


class Two(Wrapped):
    """Of two inputs."""

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> Named:
        """Outputs by name."""
        return self._by_name(first, second)


class Three(Wrapped):
    """Of three inputs."""

    def forward(self, first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> Named:
        """Outputs by name."""
        return self._by_name(first, second, third)


def wrapped(model: torch.nn.Module, names: Sequence[str], head: Head) -> Wrapped:
    """The module for so many inputs.

    Raises:
        UnsupportedError: there are none, or more than three.
    """
    kinds = {1: One, 2: Two, 3: Three}
    if len(names) not in kinds:
        raise UnsupportedError(f"a model of {len(names)} inputs ({', '.join(names)}) is not served")
    return kinds[len(names)](model, names, head).eval()


def head_of(architecture: str, config: Any, classes: tuple[str, ...], *, pooler: bool) -> Head:
    """What a class of transformers gives, by its name's end.

    Args:
        architecture: `BertForSequenceClassification`.
        config: of the model.
        classes: labels of its configuration.
        pooler: the pooled output has weights of its own.
    """
    if architecture.endswith(("ForSequenceClassification", "ForImageClassification")):
        if config.num_labels == 1:
            return Head(_score, Role.SCORE)
        if config.problem_type == "multi_label_classification":
            note = "labels do not exclude each other: each has a score of its own (sigmoid)"
            return Head(_scores, classes=classes, note=note)
        note = "probabilities are the softmax of the logits; labels are those of the configuration"
        return Head(_probabilities, Role.PROBABILITIES, classes, note)
    if architecture.endswith("ForTokenClassification"):
        note = "one row of probabilities a token, special tokens and padding among them"
        return Head(_probabilities, classes=classes, note=note)
    return Head(_Plain(pooler=pooler), note="outputs are as the model gives them")


def _score(found: Any, _given: Named) -> Named:
    return {"score": found.logits}


def _scores(found: Any, _given: Named) -> Named:
    return {"scores": torch.sigmoid(found.logits)}


def _probabilities(found: Any, _given: Named) -> Named:
    return {"probabilities": torch.softmax(found.logits, dim=-1)}


class _Plain:
    """Every tensor of the model's own output."""

    def __init__(self, *, pooler: bool) -> None:
        self._without = () if pooler else ("pooler_output",)

    def __call__(self, found: Any, _given: Named) -> Named:
        """Outputs by name."""
        return {
            name: tensor
            for name, tensor in found.items()
            if isinstance(tensor, torch.Tensor) and name not in self._without
        }


class Sentence:
    """The modules of sentence-transformers after the model: pooling, layers, length one.

    Args:
        poolings: of the tokens' vectors, joined.
        layers: matrix, bias and activation of each dense layer.
        normalize: vectors of length one.
    """

    def __init__(
        self, poolings: Sequence[str], layers: Sequence[torch.nn.Module], *, normalize: bool
    ) -> None:
        self.modules = tuple(layers)
        self._poolings = tuple(poolings)
        self._normalize = normalize

    def __call__(self, found: Any, given: Named) -> Named:
        """One vector a text."""
        tokens = found.last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1).to(tokens.dtype)
        parts = [POOLINGS[name](tokens, mask) for name in self._poolings]
        vector = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        for layer in self.modules:
            vector = layer(vector)
        if self._normalize:
            vector = functional.normalize(vector, p=2.0, dim=1)
        return {"sentence_embedding": vector}


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def _root(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt()


def _first(tokens: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
    return tokens[:, 0]


def _largest(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(mask == 0, -1e9).max(1).values


POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _first,
    "mean": _mean,
    "max": _largest,
    "mean_sqrt_len_tokens": _root,
}
