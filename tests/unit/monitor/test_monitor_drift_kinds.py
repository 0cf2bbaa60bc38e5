"""Texts, vectors and images become plain columns, and their drift is seen."""

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.monitor.drift.build import Recipe, build
from modelworks.monitor.drift.derive import Kind, kind_of
from modelworks.monitor.drift.report import report
from modelworks.protocol.records.describing import of_images, of_text


def _texts(seed, words, rows=600):
    rng = np.random.default_rng(seed)
    found = np.empty(rows, object)
    found[:] = [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(rows)]
    return found


MONEY = [f"money{place}" for place in range(60)]
SPORT = [f"sport{place}" for place in range(60)]


@pytest.mark.parametrize(
    "case",
    [
        (np.arange(60.0), Kind.NUMBER),
        (np.array([True, False]), Kind.CATEGORY),
        (np.array(["a", "b"] * 40, object), Kind.CATEGORY),
        (np.array([1, 2.5, None], object), Kind.NUMBER),
        (np.array([True, None], object), Kind.CATEGORY),
        (_texts(0, MONEY), Kind.TEXT),
        (np.zeros((9, 4)), Kind.VECTOR),
        ([[1.0, 2.0], [3.0, 4.0]], Kind.VECTOR),
        (np.zeros((9, 8, 8, 3)), Kind.IMAGE),
    ],
)
def test_kinds_are_seen_in_the_values(case):
    column, wanted = case
    assert kind_of(column) is wanted


def test_words_of_texts_drift_where_their_subject_changes():
    reference = build({"note": _texts(1, MONEY)})
    assert not report(reference, {"note": _texts(2, MONEY)}).drifted
    found = report(reference, {"note": _texts(3, SPORT)})
    assert [one.feature for one in found.drifted] == ["note.unknown", "note.words"]
    longer = np.array([f"{text} {text}" for text in _texts(4, MONEY)], object)
    assert [one.feature for one in report(reference, {"note": longer}).drifted] == ["note.length"]


def test_the_words_of_a_text_are_the_same_every_time_and_of_any_script():
    texts = ["これは機械学習の文章です", "这是一个句子", "ein Satz, zwei", "...", "", None, 7]
    first, again = (of_text("t", texts)["t.words"].tolist() for _ in range(2))
    assert first == again
    assert first[3:] == ["(none)", "(none)", None, None]
    assert all(word.startswith("#") for word in first[:3])
    spread = {of_text("t", [f"今日は天気{n}がいい"])["t.words"][0] for n in range(200)}
    assert len(spread) > 3


def test_embeddings_drift_as_a_whole():
    rng = np.random.default_rng(5)
    reference = build({"emb": rng.normal(size=(1500, 64)).astype(np.float32)})
    names = ["emb.distance", "emb.norm", "emb.cluster", "emb.nearest"]
    assert [one.name for one in reference.features] == names
    calm = report(reference, {"emb": rng.normal(size=(800, 64))})
    assert calm.together[0].p_value > 0.001
    assert calm.together[0].centroid < 0.1
    moved = rng.normal(size=(800, 64)) + np.eye(64)[3] * 0.8
    found = report(reference, {"emb": list(moved)}).together[0]
    assert found.name == "emb"
    assert found.p_value < 1e-6
    assert found.centroid > calm.together[0].centroid


def test_short_vectors_are_a_column_each():
    rng = np.random.default_rng(6)
    reference = build({"out.p": rng.dirichlet([2, 3, 4], 400)})
    assert [one.name for one in reference.features] == ["out.p[0]", "out.p[1]", "out.p[2]"]
    found = report(reference, {"out.p": rng.dirichlet([6, 3, 4], 400)})
    assert found.drifted[0].feature == "out.p[0]"


def test_vectors_of_another_width_or_none_are_missing():
    rng = np.random.default_rng(7)
    reference = build({"out.p": rng.normal(size=(400, 3))})
    odd = [[1.0, 2.0, 3.0]] * 50 + [[1.0]] * 30 + [None] * 10 + [["a", "b", "c"]] * 10
    found = report(reference, {"out.p": odd})
    assert found.features[0].missing == pytest.approx(0.5)
    assert ("out.p[0]", "missing") in {(one.feature, one.kind) for one in found.findings}


@pytest.mark.parametrize("channels_first", [True, False])
def test_images_drift_in_what_changed_of_them(channels_first):
    rng = np.random.default_rng(8)

    def images(brighter):
        made = rng.integers(60, 120, (300, 8, 8, 3)) + rng.integers(-20, 20, (300, 1, 1, 1))
        made[..., 2] += brighter
        return np.moveaxis(made, 3, 1) if channels_first else made

    reference = build({"image": images(0)})
    names = {one.name for one in reference.features}
    assert names == {
        f"image.{name}" for name in ("brightness", "contrast", "sharpness", "red", "green", "blue")
    }
    assert not report(reference, {"image": images(0)}).drifted
    found = {one.feature for one in report(reference, {"image": images(60)}).drifted}
    assert {"image.blue", "image.brightness"} <= found
    assert not {"image.red", "image.green"} & found


def test_grey_images_and_what_are_none():
    assert set(of_images("i", np.zeros((4, 5, 5)))) == {
        "i.brightness",
        "i.contrast",
        "i.sharpness",
    }
    odd = of_images("i", [np.ones((2, 2)), None, np.ones((3, 3, 3)), "x", [[1], [1, 2]], 7.0])
    assert np.array_equal(np.isnan(odd["i.brightness"]), [False, True, False, True, True, True])
    assert np.array_equal(np.isnan(odd["i.red"]), [True, True, False, True, True, True])
    with pytest.raises(InvalidError, match="holds no numbers"):
        build({"i": np.zeros(40)}, Recipe(kinds={"i": Kind.IMAGE}))
    with pytest.raises(InvalidError, match="holds no vectors"):
        build({"v": np.full((40, 3), np.nan)})
