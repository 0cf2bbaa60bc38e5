"""Where embeddings lie and which words texts have: seen when it changes, and only then."""

import numpy as np
import pytest

from modelworks.monitor.drift import archive
from modelworks.monitor.drift.build import Recipe, build
from modelworks.monitor.drift.derive import Kind
from modelworks.monitor.drift.reference import Role
from modelworks.monitor.drift.report import report
from modelworks.monitor.drift.watching import Sums, Watch
from modelworks.monitor.drift.window import from_bytes, sketch
from modelworks.protocol.records.describing import of_images, of_text

pytestmark = pytest.mark.unit
WIDTH, TOPICS = 128, 6
CENTRES = np.random.default_rng(1).normal(size=(TOPICS + 1, WIDTH))
USUAL = [1 / TOPICS] * TOPICS + [0.0]


def spoken(seed, shares=USUAL, rows=600):
    """Embeddings of rows about topics; the last topic is one that nobody spoke of."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(TOPICS + 1, rows, p=shares)
    return (CENTRES[topics] + rng.normal(0, 0.9, (rows, WIDTH))).astype(np.float32)


def scores(reference, columns):
    """Evidence of an hour, by feature."""
    window = sketch(reference, columns)
    found = Watch(reference).evidence(Sums().add(3600.0, window))
    return {one.feature: one.score for one in found}


@pytest.fixture(scope="module")
def reference():
    return build({"out.e": spoken(2)})


def test_the_same_topics_raise_no_alarm_however_small_the_reference():
    for seed in range(20):
        small = build({"out.e": spoken(seed, rows=300)})
        found = scores(small, {"out.e": spoken(1000 + seed, rows=1000)})
        assert set(found) == {f"out.e.{n}" for n in ("distance", "norm", "cluster", "nearest")}
        assert max(found.values()) < 0, (seed, found)


def test_vectors_without_any_order_raise_none_either():
    """Few of many numbers: each is nearer to a mean that it is in than a new one is."""
    rng = np.random.default_rng(12)
    small = build({"e": rng.normal(size=(300, WIDTH)).astype(np.float32)})
    found = scores(small, {"e": rng.normal(size=(3000, WIDTH))})
    assert max(found.values()) < 0, found


def test_words_that_come_once_are_as_unknown_in_the_reference():
    rng = np.random.default_rng(13)

    def said(rows):
        texts = np.empty(rows, object)
        numbers = rng.integers(0, 10**9, rows)
        texts[:] = [
            f"order {n} of {a}" for n, a in zip(numbers, rng.choice([*"abc"], rows), strict=True)
        ]
        return texts

    made = build({"t": said(600)})
    assert made.feature("t.unknown").centre == pytest.approx(0.25)
    assert scores(made, {"t": said(2000)})["t.unknown"] < 0


def test_another_mix_of_the_same_topics_is_seen_by_clusters(reference):
    found = scores(reference, {"out.e": spoken(3, [0.45, 0.25, 0.1, 0.1, 0.05, 0.05, 0.0])})
    assert found["out.e.cluster"] > 0
    assert found["out.e.cluster"] == max(found.values())


def test_a_new_topic_is_far_from_all_clusters(reference):
    found = scores(reference, {"out.e": spoken(4, [0.12] * TOPICS + [0.28])})
    assert found["out.e.nearest"] > 0


def test_an_hours_sketch_keeps_clusters_and_the_file_what_they_are(reference):
    again = archive.from_bytes(archive.to_bytes(reference))
    columns = {"out.e": [*spoken(5)[:99].tolist(), None]}
    window = sketch(again, columns)
    assert window.sketches == sketch(reference, columns).sketches
    assert from_bytes(again, window.to_bytes()).sketches == window.sketches
    missing = again.feature("out.e.cluster").cells.present
    assert window.sketches["out.e.cluster"].counts[missing] == 1


def test_a_reference_of_before_clusters_were_counted_still_serves(reference):
    features = tuple(
        one for one in reference.features if one.name in {"out.e.distance", "out.e.norm"}
    )
    old = type(reference)(
        reference.rows, reference.sources, features, reference.blocks, reference.samples
    )
    read = archive.from_bytes(archive.to_bytes(old))
    assert not read.fitted
    found = report(read, {"out.e": spoken(6)})
    assert {one.feature for one in found.features} == {"out.e.distance", "out.e.norm"}
    assert not found.findings


def test_a_loss_is_known_by_cluster(reference):
    from modelworks.monitor.drift.losses import Loss

    rows = spoken(7)
    first = np.linalg.norm(rows - CENTRES[0], axis=1) < 13
    made = build({"out.e": rows}, loss=Loss("error", first.astype(float)))
    mixed = spoken(8, [0.6, 0.08, 0.08, 0.08, 0.08, 0.08, 0.0])
    found = {one.feature: one for one in report(made, {"out.e": mixed}).features}
    assert found["out.e.cluster"].impact.change > 0.2
    assert made.feature("out.e.cluster").role is Role.PREDICTION


def test_vectors_that_are_all_alike_are_one_cluster():
    made = build({"v": np.ones((100, 20), np.float32)})
    found = report(made, {"v": np.ones((500, 20), np.float32)})
    assert not found.drifted
    assert not found.findings


def test_texts_of_another_script_and_of_new_words_are_seen():
    rng = np.random.default_rng(9)

    def said(words, rows=500):
        texts = np.empty(rows, object)
        texts[:] = [" ".join(rng.choice(words, 6)) for _ in range(rows)]
        return texts

    english = ["order", "parcel", "invoice", "return", "money", "late"]
    russian = ["заказ", "посылка", "счёт", "возврат", "деньги", "поздно"]
    made = build({"t": said(english)}, Recipe(kinds={"t": Kind.TEXT}))
    calm = report(made, {"t": said(english)})
    assert not calm.drifted
    moved = report(made, {"t": said(russian)})
    assert {"t.letters", "t.unknown"} <= {one.feature for one in moved.drifted}
    letters = next(one for one in moved.features if one.feature == "t.letters")
    assert dict(letters.new_names).keys() == {"cyrillic"}


def test_descriptions_stand_for_what_they_describe():
    rng = np.random.default_rng(10)
    images = rng.integers(0, 200, (400, 8, 8))
    texts = np.array([f"word{n % 37} and {n % 11}" for n in range(400)], object)
    kinds = {"t": Kind.TEXT, "i": Kind.IMAGE}
    made = build({"t": texts, "i": images}, Recipe(kinds=kinds))
    whole = sketch(made, {"t": texts, "i": images})
    told = sketch(made, {**of_text("t", texts), **of_images("i", images)})
    assert set(whole.sketches) - set(told.sketches) == {"t.unknown"}
    assert all(whole.sketches[name] == one for name, one in told.sketches.items())
    dark = {**of_text("t", texts), **of_images("i", images // 4)}
    assert {one.source for one in report(made, dark).drifted} == {"i"}


def test_grey_images_where_there_were_coloured_ones_have_no_red():
    rng = np.random.default_rng(11)
    images = rng.integers(0, 200, (200, 8, 8, 3))
    found = report(build({"i": images}), {"i": images.mean(3)})
    assert ("i.red", "missing", 1.0) in {(f.feature, f.kind, f.share) for f in found.findings}
