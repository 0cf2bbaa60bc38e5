"""Who waits for the engine, and who is taken together: in order of arrival inside a level.

Three lines of one form: `OneLine` where all requests fit together, `ShapeLine` where they may not,
`LevelLine` where some go first. A batcher picks the simplest that will do, once.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, TypeAlias

from modelworks.serving.batcher.member import Member
from modelworks.serving.execute import Cut

Taken: TypeAlias = tuple[list[Member], int, Cut]
"""A batch, its rows, and why it is not larger."""
_IDLE: Final = Cut.IDLE


class Group:
    """Members that may share a call, in order of arrival.

    Attributes:
        shape: of all of them.
        members: never empty while the group is in a line.
        rows: of all of them.
    """

    __slots__ = ("members", "rows", "shape")

    def __init__(self, shape: Hashable) -> None:
        self.shape = shape
        self.members: deque[Member] = deque()
        self.rows = 0

    def pull(self, room: int) -> list[Member]:
        """Take members off the head, as long as the next one fits."""
        members = self.members
        taken = []
        while members and members[0].rows <= room:
            member = members.popleft()
            room -= member.rows
            self.rows -= member.rows
            taken.append(member)
        return taken


class Line(ABC):
    """What a batcher asks of those who wait.

    Attributes:
        put: adds a member at its place.
    """

    __slots__ = ()

    put: Callable[[Member], None]

    @abstractmethod
    def take(self, size: int, items: int, group: Group | None = None) -> Taken:
        """Take the next batch off a line that is not empty.

        Args:
            size: rows it may have; one member that is larger goes alone.
            items: rows of all that wait.
            group: the one that is to go, where that was decided; None = whose turn it is.
        """

    def ahead(self, member: Member, items: int) -> int:  # noqa: ARG002 - where there are levels
        """Rows that go before a member that comes now; `items` wait in all."""
        return items

    @abstractmethod
    def remove(self, member: Member) -> None:
        """Take out one that waits."""

    @abstractmethod
    def groups(self) -> Iterator[Group]:
        """Those who may go together, the next in turn first."""

    @abstractmethod
    def __iter__(self) -> Iterator[Member]:
        """All that wait."""


def why_full(size: int) -> Cut:
    """Why a batch ends that has as many rows as it may."""
    return Cut.FULL if size > 1 else Cut.SINGLE


class OneLine(Line):
    """One queue for requests that all fit together: the usual model, and the shortest way."""

    __slots__ = ("_members", "put")

    def __init__(self) -> None:
        self._members: deque[Member] = deque()
        self.put = self._members.append

    def take(self, size: int, items: int, group: Group | None = None) -> Taken:  # noqa: ARG002 - there is one
        """See `Line.take`."""
        members = self._members
        if items <= size:
            batch = list(members)
            members.clear()
            return batch, items, _IDLE if items < size else why_full(size)
        batch = [members.popleft()]
        rows = batch[0].rows
        while members and rows + members[0].rows <= size:
            member = members.popleft()
            rows += member.rows
            batch.append(member)
        return batch, rows, why_full(size) if rows >= size else Cut.ROOM

    def remove(self, member: Member) -> None:
        """See `Line.remove`."""
        self._members.remove(member)

    def groups(self) -> Iterator[Group]:
        """Nobody chooses here: a batcher that waits for company has another line."""
        return iter(())

    def __iter__(self) -> Iterator[Member]:
        """See `Line.__iter__`."""
        return iter(self._members)


class ShapeLine(Line):
    """A queue a shape; shapes take turns, so that none starves."""

    __slots__ = ("_groups", "put")

    def __init__(self) -> None:
        self._groups: dict[Hashable, Group] = {}
        self.put = self._put

    def _put(self, member: Member) -> None:
        group = self._groups.get(member.shape)
        if group is None:
            group = self._groups[member.shape] = Group(member.shape)
        group.members.append(member)
        group.rows += member.rows

    def take(self, size: int, items: int, group: Group | None = None) -> Taken:  # noqa: ARG002 - groups know theirs
        """See `Line.take`."""
        group = group or next(iter(self._groups.values()))
        first = group.members.popleft()
        group.rows -= first.rows
        batch = [first, *group.pull(size - first.rows)]
        rows = sum([member.rows for member in batch])
        self.keep(group)
        if rows >= size:
            return batch, rows, why_full(size)
        if group.members:
            return batch, rows, Cut.ROOM
        return batch, rows, Cut.SHAPE if self._groups else _IDLE

    def keep(self, group: Group) -> None:
        """Send a group behind the others; one that is empty goes."""
        del self._groups[group.shape]
        if group.members:
            self._groups[group.shape] = group

    def of(self, shape: Hashable) -> Group | None:
        """The group of a shape, if anybody of it waits."""
        return self._groups.get(shape)

    def remove(self, member: Member) -> None:
        """See `Line.remove`."""
        group = self._groups[member.shape]
        group.members.remove(member)
        group.rows -= member.rows
        if not group.members:
            del self._groups[member.shape]

    def groups(self) -> Iterator[Group]:
        """See `Line.groups`."""
        return iter(self._groups.values())

    def __iter__(self) -> Iterator[Member]:
        """See `Line.__iter__`."""
        for group in self._groups.values():
            yield from group.members

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._groups)


class LevelLine(Line):
    """A line a priority: the first that is not empty goes, and others ride along where it is cheap.

    Args:
        levels: how many; members say 1 (first) to this, or 0: the last.
        beside: rows of a batch -> rows that it may grow to by members of lower levels.
    """

    __slots__ = ("_beside", "_levels", "put")

    def __init__(self, levels: int, beside: Callable[[int], int]) -> None:
        self._levels = tuple(ShapeLine() for _ in range(levels))
        self._beside = beside
        self.put = self._put

    def _put(self, member: Member) -> None:
        self._levels[member.priority - 1].put(member)

    def take(self, size: int, items: int, group: Group | None = None) -> Taken:
        """See `Line.take`."""
        place, level = next((i, level) for i, level in enumerate(self._levels) if level)
        own = group if group is not None and level.of(group.shape) is group else None
        batch, rows, cut = level.take(size, items, own)
        if cut in {Cut.FULL, Cut.SINGLE, Cut.ROOM}:
            return batch, rows, cut
        lower = self._levels[place + 1 :]
        room = min(size, self._beside(rows)) - rows if any(lower) else 0
        for other in lower:
            riders = self._riders(other, batch[0].shape, room)
            taken = sum([member.rows for member in riders])
            batch += riders
            rows += taken
            room -= taken
        if rows >= size:
            return batch, rows, why_full(size)
        return batch, rows, Cut.PRIORITY if any(lower) else cut

    def _riders(self, line: ShapeLine, shape: Hashable, room: int) -> list[Member]:
        group = line.of(shape) if room > 0 else None
        if group is None:
            return []
        riders = group.pull(room)
        if riders:
            line.keep(group)
        return riders

    def ahead(self, member: Member, items: int) -> int:  # noqa: ARG002 - not all go before
        """See `Line.ahead`."""
        levels = self._levels[: member.priority] if member.priority else self._levels
        return sum(group.rows for level in levels for group in level.groups())

    def remove(self, member: Member) -> None:
        """See `Line.remove`."""
        self._levels[member.priority - 1].remove(member)

    def groups(self) -> Iterator[Group]:
        """See `Line.groups`."""
        for level in self._levels:
            yield from level.groups()

    def __iter__(self) -> Iterator[Member]:
        """See `Line.__iter__`."""
        for level in self._levels:
            yield from level
