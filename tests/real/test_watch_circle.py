"""The whole circle: train, serve, shift a feature, be told of it, and see labels confirm the cost.

Time passes by a clock that the worker's duties are given; records, traffic and messages are real.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import notifier_cases
from desk import HTTP, Desk, until
from modelworks.control.service import Factory
from modelworks.control.watching.service import Watching
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.testing.notifiers import FakeService, NotifierCase, serving

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
SHIFTED = "mean radius"
FEATURES = [SHIFTED, "mean texture", "mean smoothness", "mean symmetry", "mean fractal dimension"]
ROWS, REQUEST = 1_200, 20
MINUTE, HOUR = 60, 3600


Services = list[tuple[NotifierCase, FakeService, dict[str, object]]]


class Clinic:
    """A model, and the people that it is asked about.

    It errs where radii are middling: who sends more of those pays for it, though nothing else has
    changed. That is what a drift's estimated cost foretells.
    """

    def __init__(self, folder: Path) -> None:
        data = load_breast_cancer(as_frame=True).frame
        train, held = train_test_split(data, test_size=0.6, random_state=3)
        model = make_pipeline(StandardScaler(), LogisticRegression())
        model.fit(train[FEATURES], train["target"])
        joblib.dump(model, folder / "cancer.joblib")
        train[FEATURES].head(100).to_csv(folder / "sample.csv", index=False)
        said = {"out.label": model.predict(held[FEATURES])}
        held[[*FEATURES, "target"]].assign(**said).to_csv(folder / "held.csv", index=False)
        self._held = held
        self.usual_error = float((model.predict(held[FEATURES]) != held["target"]).mean())

    def people(self, seed: int, *, middling: bool) -> tuple[pd.DataFrame, list[int]]:
        """Rows, and what is true of them."""
        off = (self._held[SHIFTED] - 14.5).to_numpy()
        weights = np.exp(-(off**2) / 2) + 0.02 if middling else None
        drawn = self._held.sample(ROWS, replace=True, weights=weights, random_state=seed)
        return drawn[FEATURES].reset_index(drop=True), drawn["target"].tolist()


class Clock:
    """UTC, and what the test has let pass."""

    passed = 0

    def __call__(self) -> int:
        return now_ns() + self.passed * 10**9


class Watched:
    """What the worker has found, asked as its readers do."""

    def __init__(self, watching: Watching, clock: Clock) -> None:
        self._watching = watching
        self._clock = clock

    def last(self, name: str, label: str, **wanted: str) -> dict[str, float]:
        """The newest value of each series, by a label."""
        now = self._clock() / 1e9
        found = self._watching.series.select(
            name, {"model": "cancer", **wanted}, now - 5 * HOUR, now
        )
        return {one.labels[label]: one.values[-1] for one in found}  # noqa: PD011 - no frame

    def windows(self) -> int:
        """Of drift, that were looked at."""
        now = self._clock() / 1e9
        wanted = {"model": "cancer", "feature": SHIFTED, "method": "js"}
        [*found] = self._watching.series.select("drift", wanted, now - HOUR, now)
        return len(found[0].times) if found else 0

    def troubles(self) -> list[str]:
        """What duties say."""
        return [f"{one.name}: {one.error}" for one in self._watching.duties() if one.error]


def ask(url: str, rows: pd.DataFrame) -> list[str]:
    """Requests of some rows each; their ids."""
    ids = []
    for start in range(0, len(rows), REQUEST):
        part = rows.iloc[start : start + REQUEST]
        ids.append(str(uuid.uuid4()))
        body, headers = {"rows": part.to_dict("records")}, {"X-Request-Id": ids[-1]}
        answer = HTTP.request("POST", f"{url}/predict/cancer", json=body, headers=headers)
        assert answer.status == 200, answer.data
    return ids


def next_minute() -> None:
    """Wait for it, and for a moment in it."""
    now = time.time()
    time.sleep(MINUTE - now % MINUTE + 0.5)


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """A fake of every service that can be told, and how a receiver names it."""
    found = []
    with ExitStack() as stack:
        for make in notifier_cases.CASES:
            case = make()
            (folder / case.name).mkdir()
            fake = FakeService(case.good)
            stack.enter_context(serving(fake))
            said = {
                "type": case.name,
                "settings": dict(case.settings(fake.url, folder / case.name)),
            }
            found.append((case, fake, said))
        yield found


def rules() -> list[dict[str, object]]:
    """Drift alone is no reason to wake anybody, nor is a cost without a cause."""
    own = {"model": "cancer", "feature": "mean*"}
    return [
        {
            "name": "Moved",
            "threshold": {"series": "drift", "where": {**own, "method": "js"}, "above": 0.3},
            "severity": "info",
        },
        {
            "name": "Costs",
            "threshold": {"series": "drift_loss", "where": own, "above": 0.02},
            "severity": "info",
        },
        {
            "name": "MovedAndCosts",
            "composite": {"on": ["feature"], "all": [{"rule": "Moved"}, {"rule": "Costs"}]},
            "summary": "{feature} moved, and it costs",
            "severity": "critical",
            "actions": ["go-back"],
        },
    ]


def written(folder: Path, told: list[dict[str, object]], action: dict[str, object]) -> str:
    """Rules and routing as a file."""
    routes = [{"match": {"rule": "MovedAndCosts"}, "receiver": "everybody", "group_wait": "0s"}]
    receivers = [{"name": "nobody"}, {"name": "everybody", "notifiers": told}]
    documents = [
        {"kind": "AlertRules", "metadata": {"name": "cancer"}, "spec": {"rules": rules()}},
        {
            "kind": "AlertRouting",
            "metadata": {"name": "all"},
            "spec": {
                "receivers": receivers,
                "route": {"receiver": "nobody", "routes": routes},
                "actions": [{"name": "go-back", "webhook": action}],
            },
        },
    ]
    path = folder / "alerts.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


@dataclass
class Circle:
    """What the steps share."""

    desk: Desk
    clock: Clock
    clinic: Clinic
    watched: Watched
    url: str
    everybody: Services
    undo: FakeService
    told: list[tuple[str, int, int]] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)

    def visit(self, seed: int, *, middling: bool) -> None:
        """A minute's people ask, and what is true of them becomes known, if later."""
        next_minute()
        rows, truth = self.clinic.people(seed, middling=middling)
        ids = ask(self.url, rows)
        self.told += [(ids[n // REQUEST], n % REQUEST, label) for n, label in enumerate(truth)]

    def waiting(self, room: str) -> list[Path]:
        """Files that are not in the store yet."""
        folder = self.desk.folder / "home" / "records" / room
        return [*folder.iterdir()] if folder.exists() else []


@contextmanager
def circle(folder: Path) -> Iterator[Circle]:
    """All that runs."""
    desk, clock, clinic = Desk(folder), Clock(), Clinic(folder)
    desk.mw("import", "cancer.joblib", "--name", "cancer", "--sample", "sample.csv")
    known = ("--labels", "target", "--prediction", "out.label")
    desk.mw("reference", "build", "held.csv", "-o", "ref.npz", *known)
    desk.mw("reference", "set", "cancer:1.0.0", "ref.npz")
    with ExitStack() as stack:
        everybody = stack.enter_context(services(folder))
        undo = FakeService((200, b""))
        stack.enter_context(serving(undo))
        file = written(folder, [said for *_, said in everybody], {"url": f"{undo.url}/go-back"})
        desk.mw("alerts", "lint", file)
        desk.mw("alerts", "rules", "apply", "-f", file)
        recorded = ("serve", "cancer:1.0.0", "--port", "0", "--record", "1.0")
        url = stack.enter_context(desk.running(*recorded)).said["url"]
        factory = stack.enter_context(Factory(Home(folder / "home"), clock=clock))
        runner = factory.watching.runner(factory.watched, MINUTE)
        runner.start()
        stack.callback(runner.close)
        watched = Watched(factory.watching, clock)
        yield Circle(desk, clock, clinic, watched, url, everybody, undo)


def others_come(found: Circle) -> None:
    """A minute of people as ever, then a minute of others: nobody is told of the first."""
    found.visit(1, middling=False)
    found.visit(2, middling=True)
    until("what was recorded is in the store", lambda: not found.waiting("segments"), 60)
    found.clock.passed += 3 * MINUTE
    until("the first window", lambda: found.watched.windows() == 1)
    assert not any(fake.received for _, fake, _ in found.everybody)
    found.clock.passed += MINUTE
    until("the second window", lambda: found.watched.windows() == 2)


def the_right_feature_is_named_first(found: Circle) -> None:
    """By what its shift costs."""
    found.losses = found.watched.last("drift_loss", "feature")
    assert max(FEATURES, key=found.losses.__getitem__) == SHIFTED, found.losses
    assert found.watched.last("drift", "feature", method="js")[SHIFTED] > 0.3


def one_alert_is_told_to_all(found: Circle) -> None:
    """Each is told as it wants to be, once; the action is called, once."""
    found.clock.passed += MINUTE
    until("the action is called", lambda: found.undo.received)
    until("all are told", lambda: all(fake.received for _, fake, _ in found.everybody))
    for _ in range(3):
        found.clock.passed += MINUTE
        time.sleep(2)
    for case, fake, _ in found.everybody:
        [message] = fake.received
        case.check(message)
        assert SHIFTED in message.raw.decode("unicode_escape"), case.name
    [call] = found.undo.received
    assert call.path == "/go-back"
    [listed] = found.desk.mw("alerts", "list", "-m", "rule=MovedAndCosts", "--json").json
    assert SHIFTED in str(listed)


def labels_confirm_the_cost(found: Circle) -> None:
    """They come late; half of the hour's people were the others."""
    found.clock.passed += HOUR
    columns = ["prediction", "item", "truth"]
    pd.DataFrame(found.told, columns=columns).to_csv(found.desk.folder / "told.csv", index=False)
    how = ("--model", "cancer", "--item", "item", "--truth", "truth")
    found.desk.mw("feedback", "import", "told.csv", *how)
    until("feedback is in the store", lambda: not found.waiting("inbox"), 60)
    found.clock.passed += 10 * MINUTE
    wanted = {"metric": "accuracy", "kind": "measured", "slice": "*"}
    until("it is measured", lambda: found.watched.last("quality", "version", **wanted))
    measured = 1 - found.watched.last("quality", "version", **wanted)["1.0.0"]
    foretold = found.clinic.usual_error + found.losses[SHIFTED] / 2
    assert measured == pytest.approx(foretold, abs=0.02)
    assert measured > found.clinic.usual_error + 0.01
    assert not found.watched.troubles()


def test_the_whole_circle(tmp_path: Path) -> None:
    with circle(tmp_path) as found:
        others_come(found)
        the_right_feature_is_named_first(found)
        one_alert_is_told_to_all(found)
        labels_confirm_the_cost(found)
