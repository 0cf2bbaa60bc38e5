"""How many callers each arm has, where its route keeps them: only they were shared out by chance.

They are told apart by the header that the route goes by, as records have it. A policy that hashes
it is enough (`fields: [{field: header:X-User, act: hash}]`); one that does not keep it leaves the
callers unknown, and the split unchecked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

MOST: Final = 200_000
"""Callers of all arms that are told apart; then nobody more is counted, of any arm."""


@dataclass(slots=True)
class Callers:
    """Who asked since a step began.

    Attributes:
        arms: version -> hashes of its callers.
    """

    arms: dict[str, set[int]] = field(default_factory=dict)

    def add(
        self, columns: Mapping[str, Any], arms: Sequence[str], header: str, direct: Any
    ) -> None:
        """Count some requests' callers.

        Args:
            columns: of records.
            arms: versions.
            header: column that names callers.
            direct: which records are no copies and were not counted before, [n].
        """
        if header not in columns:
            return
        names, versions = columns[header], columns["version"]
        for place in np.flatnonzero(direct):
            if sum(map(len, self.arms.values())) >= MOST:
                return
            if names[place] and versions[place] in arms:
                self.arms.setdefault(str(versions[place]), set()).add(hash(names[place]))

    def units(self, arm: str) -> int:
        """Callers of one arm; 0 = not known."""
        return len(self.arms.get(arm, ()))
