"""Members of a failed batch run alone; each keeps its own, whatever the engine reuses."""

from dataclasses import dataclass

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Signature
from modelworks.serving.execute import Cut, execute, joined

pytestmark = pytest.mark.unit


@dataclass
class Asked:
    """One row of one number."""

    number: float
    rows: int = 1

    @property
    def inputs(self):
        return {"x": np.full((1, 1), self.number, np.float32)}


class Reusing:
    """Doubles; its outputs are those of its next call too. No batch with a 13 in it works."""

    signature = Signature((), ())
    apart = False

    def __init__(self):
        self._kept = {}

    def infer(self, inputs):
        x = inputs["x"]
        if 13 in x:
            raise ValueError("thirteen")
        kept = self._kept.setdefault(len(x), np.empty_like(x))
        np.multiply(x, 2, out=kept)
        return [kept]

    def close(self):
        pass


def answers(calls):
    return {
        member.number: float(rows[0].ravel()[0])
        for call in calls
        if call.error is None
        for member, rows in call.each()
    }


@pytest.mark.parametrize("place", range(5))
def test_who_runs_alone_keeps_its_own_outputs(place):
    members = [Asked(number) for number in (1, 2, 3, 4)]
    members.insert(place, Asked(13))
    calls = execute(Reusing(), members)
    assert answers(calls) == {1: 2, 2: 4, 3: 6, 4: 8}
    assert [call.members[0].number for call in calls if call.error is not None] == [13]
    assert {call.cut for call in calls} == {Cut.RETRY}


@pytest.mark.parametrize("place", range(5))
def test_who_has_no_inputs_is_refused_and_the_others_stay_together(place):
    members = [Asked(number) for number in (1, 2, 3, 4)]
    members.insert(place, Asked(-1))

    def gather(some):
        if any(member.number < 0 for member in some):
            raise InvalidError("no number")
        return joined(some)

    calls = execute(Reusing(), members, gather)
    assert answers(calls) == {1: 2, 2: 4, 3: 6, 4: 8}
    (refused,) = [call for call in calls if call.error is not None]
    assert [member.number for member in refused.members] == [-1]
    assert sorted(len(call.members) for call in calls) == [1, 4]


def test_where_only_the_whole_cannot_be_gathered_each_runs_alone():
    def gather(some):
        if len(some) > 1:
            raise MemoryError
        return joined(some)

    calls = execute(Reusing(), [Asked(1), Asked(2), Asked(3)], gather)
    assert answers(calls) == {1: 2, 2: 4, 3: 6}
