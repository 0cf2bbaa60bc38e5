"""Which values of two graphs should be the same: by name, by operator, through steps of rounding.

Passes and exporters keep the names of values (ONNX Runtime, OpenVINO and LiteRT keep those of the
ONNX graph), so a name that both graphs make is the same value. Between them stands what has no
counterpart: a fused operator, an operator that became five.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from modelworks.core.optimizing.insides import Inside, Operator

_OF_PAIR: Final = "QuantizeLinear"  # its integers mean something after the operator below only
ROUNDING: Final = (_OF_PAIR, "FakeQuantize", "QUANTIZE")
"""Operators after which a value has fewer bits, by engine."""
_BACK: Final = ("DequantizeLinear", "DEQUANTIZE")


class Stage(StrEnum):
    """Which of its moments a value is looked at in."""

    STORED = "stored"  # in the file: a weight
    MADE = "made"  # by its operator
    ROUNDED = "rounded"  # to fewer bits, as it is read


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of the first graph, and what stands for it in the second.

    Attributes:
        first: its name in the first graph.
        second: its name in the second.
        stage: of the second.
        operator: of the first graph that makes it, or reads what is stored; None = an input.
        other: the same of the second graph; of what is rounded, the operator that rounds.
        parents: values of the second graph, each with a pair, that it is computed from.
    """

    first: str
    second: str
    stage: Stage
    operator: Operator | None
    other: Operator
    parents: tuple[str, ...]


class Graph:
    """A graph, asked by the names of values.

    Args:
        inside: of the form.
    """

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.makers = {name: one for one in inside.operators for name in one.outputs if name}

    @cached_property
    def fixed(self) -> frozenset[str]:
        """Names of the values that no row changes: what is stored, and what comes of that alone."""
        found = set(self.inside.constants)
        for one in self.inside.operators:
            read = [name for name in one.inputs if name]
            if read and found.issuperset(read):
                found.update(name for name in one.outputs if name)
        return frozenset(found)

    @cached_property
    def readers(self) -> dict[str, list[Operator]]:
        """Value -> the operators that read it."""
        found: dict[str, list[Operator]] = {}
        for one in self.inside.operators:
            for name in dict.fromkeys(one.inputs):
                found.setdefault(name, []).append(one)
        return found

    @cached_property
    def named(self) -> dict[str, Operator]:
        """Operators by their names, where no other has the same."""
        found: dict[str, Operator] = {}
        twice = set()
        for one in self.inside.operators:
            twice |= {one.name} & found.keys()
            found[one.name] = one
        return {name: one for name, one in found.items() if name and name not in twice}

    def rounded(self, name: str) -> Iterator[tuple[str, Operator]]:
        """What readers get of a value that is rounded for them, and the operator that rounds."""
        for one in self.readers.get(name, []):
            if one.kind in ROUNDING and one.inputs[0] == name:
                value = one.outputs[0]
                for after in self.readers.get(value, []):
                    if after.kind in _BACK and after.inputs[0] == value:
                        yield after.outputs[0], one
                        break
                else:
                    if one.kind != _OF_PAIR:
                        yield value, one


def pairs(first: Inside, second: Inside) -> tuple[Pair, ...]:
    """Everything that can be held against each other, in the first graph's order.

    A value of the second graph may have several pairs: where operators were joined, its name does
    not say which of their values it is. The one that is nearest is meant (`deciding.nearest`).
    Values that no row changes are left out, but for weights that both graphs give to the same
    operator.
    """
    return tuple(_Pairing(Graph(first), Graph(second)).run())


def own(inside: Inside) -> tuple[Pair, ...]:
    """Every value of one graph beside itself: to be looked at in two ways."""
    graph = Graph(inside)
    known: set[str] = set()
    found: list[Pair] = []
    for operator in inside.operators:
        parents = tuple(sorted(known.intersection(operator.inputs)))
        for name in operator.outputs:
            if name and name not in graph.fixed:
                known.add(name)
                found.append(Pair(name, name, Stage.MADE, operator, operator, parents))
    return tuple(found)


class _Pairing:
    def __init__(self, first: Graph, second: Graph) -> None:
        self._first, self._second = first, second
        self._found: dict[tuple[str, str], Pair] = {}
        self._known: set[str] = set()  # values of the second graph that have a pair

    def run(self) -> list[Pair]:
        for name in self._first.inside.inputs:
            self._rounded(name, name, None)
        for operator in self._first.inside.operators:
            same, alike = self._counterparts(operator)
            if same is not None or alike is not None:
                self._weights(operator, same if same is not None else alike)
            for place, name in enumerate(operator.outputs):
                if not name or name in self._first.fixed:
                    continue
                if alike is not None and place < len(alike.outputs):
                    self._made(name, alike.outputs[place], operator)
                if name in self._second.makers:
                    self._made(name, name, operator)
        return list(self._found.values())

    def _counterparts(self, operator: Operator) -> tuple[Operator | None, Operator | None]:
        """The operator of the second graph that makes the same, and the one that is called so.

        They may be two: where a Relu went into the rounding after a convolution, the convolution
        makes what is called as the Relu's value.
        """
        names = [name for name in operator.outputs if name in self._second.makers]
        same = self._second.makers[names[0]] if names else None
        if same is not None:
            same = self._unrounded(same)[1] or same
        alike = self._second.named.get(operator.name)
        if alike is None or alike.kind != operator.kind:
            return same, None
        return (alike if same is not None and same.kind != operator.kind else same), alike

    def _made(self, name: str, value: str, operator: Operator) -> None:
        if not value:
            return
        maker = self._second.makers[value]
        rounding, inner = self._unrounded(maker)
        if rounding is not None and inner is not None:  # an output that was rounded on its way
            made = rounding.inputs[0]
            self._add(Pair(name, made, Stage.MADE, operator, inner, self._parents(inner)))
            self._add(Pair(name, value, Stage.ROUNDED, operator, rounding, (made,)))
            return
        self._add(Pair(name, value, Stage.MADE, operator, maker, self._parents(maker)))
        self._rounded(name, value, operator)

    def _unrounded(self, back: Operator) -> tuple[Operator | None, Operator | None]:
        """The operator that rounds before this one, and the one before that."""
        rounding = self._second.makers.get(back.inputs[0]) if back.kind in _BACK else None
        if rounding is None or rounding.kind not in ROUNDING:
            return None, None
        return rounding, self._second.makers.get(rounding.inputs[0])

    def _rounded(self, name: str, value: str, operator: Operator | None) -> None:
        if next(self._first.rounded(name), None) is not None:
            return  # the first graph does so itself: its rounded value has a name of its own
        for after, rounding in self._second.rounded(value):
            parents = (value,) if value in self._known else ()
            self._add(Pair(name, after, Stage.ROUNDED, operator, rounding, parents))

    def _weights(self, operator: Operator, other: Operator | None) -> None:
        if other is None or operator.kind != other.kind:
            return
        for mine, theirs in zip(operator.inputs, other.inputs, strict=False):
            if mine in self._first.fixed and theirs in self._second.fixed:
                self._add(Pair(mine, theirs, Stage.STORED, operator, other, ()))

    def _add(self, pair: Pair) -> None:
        self._found.setdefault((pair.first, pair.second), pair)
        self._known.add(pair.second)

    def _parents(self, operator: Operator) -> tuple[str, ...]:
        """The nearest values with a pair that an operator's come from."""
        found, seen = set(), set()
        edge = [name for name in operator.inputs if name]
        while edge:
            name = edge.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self._known:
                found.add(name)
            elif name in self._second.makers:
                edge += [one for one in self._second.makers[name].inputs if one]
        return tuple(sorted(found))
