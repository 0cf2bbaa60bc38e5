"""On which devices a model is loaded, and how many times: copies that answer side by side."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError

CPU: Final = "cpu"
DEVICE: Final = r"(cpu|cuda(:[0-9]{1,2})?|gpu(:[0-9]{1,2})?)"
"""`cuda:1` is NVIDIA's second one, `gpu:0` OpenVINO's first."""

MOST: Final = 64
"""Copies of one model in one server process."""

_DEVICE: Final = re.compile(DEVICE)
_ITEM: Final = re.compile(rf"(?P<device>{DEVICE})(\*(?P<count>[0-9]{{1,3}}))?")


@dataclass(frozen=True, slots=True)
class Instances:
    """So many copies on one device.

    Attributes:
        device: `cpu`, `cuda:0`, `gpu:0`.
        count: of copies, 1 or more.
    """

    device: str = CPU
    count: int = 1

    @property
    def number(self) -> int:
        """Of the device among those of its kind; 0 where none is said."""
        _, _, number = self.device.partition(":")
        return int(number or 0)


def checked(groups: Iterable[Instances], field: str) -> tuple[Instances, ...]:
    """The same.

    Raises:
        InvalidError: a device that is none, or too many copies.
    """
    found = tuple(groups)
    for one in found:
        if not _DEVICE.fullmatch(one.device):
            raise InvalidError(
                f"{field}: '{one.device[:40]}' is no device: cpu, cuda:0 or gpu:0 is wanted",
                field=field,
            )
    if any(one.count < 1 for one in found) or sum(one.count for one in found) > MOST:
        raise InvalidError(
            f"{field}: 1 to {MOST} copies are wanted, of each one or more", field=field
        )
    return found


def parsed(text: str, field: str = "instances") -> tuple[Instances, ...]:
    """Of `cuda:0*2,cpu`; nothing of an empty text.

    Raises:
        InvalidError: it is none.
    """
    found = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        match = _ITEM.fullmatch(part)
        if match is None:
            raise InvalidError(
                f"{field}: '{part[:40]}' is not like cuda:0*2: a device, and how many copies of "
                "the model there",
                field=field,
            )
        found.append(Instances(match["device"], int(match["count"] or 1)))
    return checked(found, field)


def told(groups: Iterable[Instances]) -> str:
    """As `parsed` reads it."""
    return ",".join(f"{one.device}*{one.count}" for one in groups)
