"""The duty that says how good answers were: hour by hour, and once more when labels come late."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.control.watching.duty import LATE_S, Done
from modelworks.core.errors import InvalidError, NotFoundError, UnsupportedError
from modelworks.core.files import replace_text
from modelworks.core.records import Scan
from modelworks.core.series import Series
from modelworks.core.tensor import Signature
from modelworks.evaluation.predictions import Task
from modelworks.monitor.feedback.joining import HOUR_NS, Join, Joined
from modelworks.monitor.quality.asked import Asked, planned
from modelworks.monitor.quality.estimator import Estimator, document, fit, restored
from modelworks.monitor.quality.plan import Plan, plan_of
from modelworks.monitor.quality.rows import TRUTH, rows_of
from modelworks.monitor.quality.window import windows
from modelworks.monitor.series.names import HOUR

LEARN_ROWS: Final = 500
"""Rows of a version with their truth from which it is learnt what its answers are worth."""
MOST_ROWS: Final = 100_000
"""Of one hour of one model; of more an even part is looked at."""
LEARN_HOURS: Final = 24 * 7
"""Hours before the newest label that are learnt from."""
BEHIND: Final = 24
"""Hours that are looked at after the worker was away."""

_ESTIMATED: Final = frozenset({Task.BINARY, Task.MULTICLASS, Task.REGRESSION})

Hour = tuple[str, int]
"""Model, and the beginning of the hour, UTC nanoseconds."""


class Quality:
    """Quality and outcomes of every model whose outputs are recorded.

    An hour is looked at `LATE_S` after its end, and again whenever feedback changes it. What was
    changed is noted in a file before the join forgets it, and struck out when the windows are kept:
    a run that is killed loses none.

    Args:
        join: of records and feedback.
        signature: of a version (`fraud:1.0.0`).
        folder: of what was learnt, and of the note.
        tenant: whose.
        asked: what people want watched of a model.
        budget_s: what does not fit into it waits for the next run.
    """

    name = "quality"
    every_s = 300.0
    deadline_s = 600.0

    def __init__(
        self,
        join: Callable[[], Join],
        signature: Callable[[str], Signature],
        folder: Path,
        tenant: str = "default",
        asked: Callable[[str], Asked] = lambda _model: Asked(),
        budget_s: float = 300.0,
    ) -> None:
        self._join = join
        self._signature = signature
        self._folder = folder
        self._tenant = tenant
        self._asked = asked
        self._unfit: dict[str, str] = {}
        self._budget = budget_s
        self._note = folder / f"{tenant}-changed.json"

    def run(self, now: float, state: Mapping[str, Any]) -> Done:
        """See `Duty`."""
        last = int(now - LATE_S) // HOUR * HOUR
        since = max(int(state.get("until", last - HOUR)), last - BEHIND * HOUR)
        number = int(state.get("run", 0)) + 1
        join, began = self._join(), time.monotonic()
        self._unfit = {}
        waiting = self._waiting(join, number, state, last * 10**9)
        found: list[Series] = []
        fresh = Scan(self._tenant, since_ns=since * 10**9, until_ns=last * 10**9)
        for joined in join.window(fresh):
            waiting.pop((joined.model, joined.since_ns), None)
            found += self._at(join, joined)
        while waiting and time.monotonic() - began < self._budget:
            (model, start), _ = waiting.popitem()
            for joined in join.window(Scan(self._tenant, model, "", start, start + HOUR_NS)):
                found += self._at(join, joined)
        said = [f"{len(waiting)} hours are left for the next run"] if waiting else []
        unfit = self._unfit.items()
        said += [f"{ref} is watched as its signature says: {why}" for ref, why in unfit]
        left = {"until": last, "run": number, "left": list(waiting)}
        return Done(found, HOUR, left, "; ".join(said))

    def _waiting(
        self, join: Join, number: int, state: Mapping[str, Any], before_ns: int
    ) -> dict[Hour, None]:
        """Hours that were left, that a run which was not kept worked on, or that changed since."""
        waiting = dict.fromkeys((str(m), int(s)) for m, s in state.get("left", ()))
        waiting |= dict.fromkeys(self._noted(number))
        for joined in join.join():
            if joined.since_ns + HOUR_NS <= before_ns:
                waiting.setdefault((joined.model, joined.since_ns))
                note = json.dumps({"run": number, "hours": list(waiting)})
                replace_text(self._note, note)
        return waiting

    def _noted(self, number: int) -> list[Hour]:
        """What a run of this number took from the join before."""
        try:
            data = json.loads(self._note.read_text())
            return [(str(m), int(s)) for m, s in data["hours"]] if data["run"] == number else []
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return []

    def _at(self, join: Join, joined: Joined) -> Iterator[Series]:
        """The windows of one hour, version by version."""
        columns = _part(joined.batch.columns, joined.batch.count)
        if not columns:
            return
        end = joined.until_ns // 10**9
        versions = np.array([str(one) for one in columns["version"].tolist()])
        for version in np.unique(versions).tolist():
            mine = versions == version
            own = {name: np.asarray(column)[mine] for name, column in columns.items()}
            plan = self._plan(joined.model, version)
            estimator = None
            if plan is not None:
                estimator = self._estimator(join, joined, version, plan)
            known = {} if estimator is None else {version: estimator}
            yield from windows(own, plan, float(end), {"model": joined.model}, known)

    def _plan(self, model: str, version: str) -> Plan | None:
        ref = f"{model}:{version}"
        try:
            signature = self._signature(ref)
        except (InvalidError, NotFoundError):
            return None  # deleted meanwhile, or never registered
        try:
            return planned(signature, self._asked(model))
        except InvalidError as error:  # asked of another version's columns
            self._unfit[ref] = error.message
            return plan_of(signature)

    def _estimator(self, join: Join, joined: Joined, version: str, plan: Plan) -> Estimator | None:
        """What was learnt of a version, or is now that there are labels enough."""
        if plan.task not in _ESTIMATED:
            return None
        ref = f"{joined.model}:{version}"
        name, of = f"{self._tenant}/{ref}", (plan.task, plan.label, plan.score, plan.classes)
        usual = plan_of(self._signature(ref))
        if usual is None or of != (usual.task, usual.label, usual.score, usual.classes):
            name += f"/{of}"  # of other columns something else is learnt
        path = self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
        try:
            return restored(json.loads(path.read_text()))
        except (FileNotFoundError, InvalidError, ValueError):
            pass
        told = joined.batch.columns.get(TRUTH)
        if told is None or not any(value is not None for value in told.tolist()):
            return None
        since = joined.until_ns - LEARN_HOURS * HOUR_NS
        wanted = Scan(self._tenant, joined.model, version, since, joined.until_ns)
        parts = [one.batch.columns for one in join.window(wanted) if one.batch.count]
        names = set.intersection(*(set(one) for one in parts)) if parts else set()
        rows = rows_of({n: np.concatenate([one[n] for one in parts]) for n in names}, plan)
        if rows is None or rows.known.sum() < LEARN_ROWS:
            return None
        try:
            made = fit(rows, plan)
        except (InvalidError, UnsupportedError):
            return None
        replace_text(path, json.dumps(document(made)))
        return made


def _part(columns: Mapping[str, Any], count: int) -> dict[str, Any]:
    """All rows, or an even part of very many."""
    if not count:
        return {}
    every = -(-count // MOST_ROWS)
    return {name: np.asarray(column)[::every] for name, column in columns.items()}
