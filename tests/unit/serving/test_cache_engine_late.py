"""An engine that has a time-out of its own, behind a cache."""

import asyncio

import pytest

from kept_desk import Asked, Desk, Doubling
from modelworks.core.errors import DeadlineError

pytestmark = pytest.mark.unit


class Late(Doubling):
    """It never answers in time."""

    def infer(self, inputs):
        self.calls.append(inputs["x"][:, 0].tolist())
        raise DeadlineError("it took longer than 30 s for this request")


def test_all_who_asked_are_told_and_it_is_not_asked_again():
    async def main():
        desk = Desk(Late())
        members = [Asked(1), Asked(1)]
        for member in members:
            desk.cached.submit(member)
        for _ in range(30):
            await asyncio.sleep(0)
        assert [[type(answer) for answer in m.answers] for m in members] == [[DeadlineError]] * 2
        assert desk.session.calls == [[1]]
        assert desk.empty

    asyncio.run(asyncio.wait_for(main(), 30))
