"""Graphs drawn at random give what their steps give one by one, whoever asks at the same time."""

import random

import numpy as np
import pytest

from graph_desk import ask, graph, put, rows, scorer, serve, times
from modelworks.core.served import ServedList

pytestmark = pytest.mark.unit
FACTORS = {"two": 2.0, "three": 3.0}
X = {"name": "x", "datatype": "FP32", "shape": [None, 3]}


class Drawn:
    """Steps of a graph, and what each gives of an input, computed here.

    Args:
        numbers: what chance says.
    """

    def __init__(self, numbers):
        self.numbers = numbers
        self.steps = []
        self.known = {"$input.x": lambda x: x}

    def draw(self, count):
        kinds = (self.model, self.mean, self.switch, self.concat)
        for at in range(count):
            self.numbers.choice(kinds)(f"s{at}")

    def picked(self):
        return self.numbers.choice(list(self.known.items()))

    def model(self, name):
        (ref, value), model = self.picked(), self.numbers.choice(list(FACTORS))
        self.steps.append(ask(name, model, ref))
        self.known[f"steps.{name}.y"] = lambda x: FACTORS[model] * value(x)

    def mean(self, name):
        (one, first), (other, second) = self.picked(), self.picked()
        self.steps.append({"name": name, "mean": {"of": [one, other]}})
        self.known[f"steps.{name}"] = lambda x: (first(x) * 0.5) + (second(x) * 0.5)

    def concat(self, name):
        """Joined and cut again: the first columns of one and the last of the other."""
        (one, first), (other, second) = self.picked(), self.picked()
        both, cut = f"{name}_both", {"columns": [0, 4, 5]}
        self.steps.append({"name": both, "concat": {"of": [one, other]}})
        self.steps.append({"name": name, "select": {"of": f"steps.{both}", **cut}})
        self.known[f"steps.{name}"] = lambda x: np.concatenate(
            [first(x)[:, :1], second(x)[:, 1:]], axis=1
        )

    def switch(self, name):
        """By the mean of some tensor: one part as it is, the other through a model."""
        (on, decides), (one, first), (other, second) = (self.picked() for _ in range(3))
        bound = self.numbers.choice([-2, 0, 1, 5])
        model = self.numbers.choice(list(FACTORS))
        self.steps.append({"name": f"{name}_on", "model": "scorer", "inputs": {"x": on}})
        cases = [
            {"when": f"< {bound}", "outputs": {"y": one}},
            {"when": f">= {bound + 3}", "model": "two", "inputs": {"x": other}, "outputs": ["y"]},
        ]
        inner = [ask(f"{name}_in", model, other)]
        default = {"steps": inner, "outputs": {"y": f"steps.{name}_in.y"}}
        said = {"on": f"steps.{name}_on.score", "cases": cases, "default": default}
        self.steps.append({"name": name, "switch": said})

        def value(x):
            score = decides(x).mean(axis=1, keepdims=True)
            last = np.where(score >= bound + 3, 2 * second(x), FACTORS[model] * second(x))
            return np.where(score < bound, first(x), last)

        self.known[f"steps.{name}.y"] = value


@pytest.mark.parametrize("seed", range(2))
def test_a_graph_gives_what_its_steps_give(tmp_path, seed):
    numbers = random.Random(seed)
    base = [times(tmp_path, name, factor) for name, factor in FACTORS.items()]
    base.append(scorer(tmp_path))

    async def main(table):
        for generation in range(2, 10):
            drawn = Drawn(numbers)
            drawn.draw(numbers.randint(1, 7))
            outputs = {f"o{at}": ref for at, ref in enumerate(drawn.known)}
            digest = f"sha256:{generation}"
            line = graph(tmp_path, drawn.steps, outputs, (X,), digest=digest)
            await table.apply(ServedList(generation, (*base, line)))
            live = table.resolve("flow")
            asked = []
            for _ in range(8):
                values = [numbers.randint(-4, 8) for _ in range(numbers.randint(1, 6))]
                asked.append((rows(*values), put(live, rows(*values))))
            gone = put(live, rows(1, 2, 3))
            at_once = gone.event.is_set()  # where no model is asked
            live.batcher.cancel(gone)
            for given, member in asked:
                found = await member.answer()
                for value, array in zip(drawn.known.values(), found, strict=True):
                    assert np.allclose(array, value(given), rtol=1e-5)
            assert gone.event.is_set() == at_once
            assert not live.busy
            assert all(table.resolve(name).batcher.items == 0 for name in FACTORS)

    serve(base, main)
