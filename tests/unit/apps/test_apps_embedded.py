"""`modelworks.load` over a registry on this machine: what it answers, follows and survives."""

import asyncio
import gc
import json
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import modelworks
from modelworks.apps import embedded
from modelworks.apps.embed import Settings, local
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError
from modelworks.core.home import Home
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.testing import onnx_models as models
from modelworks.testing.candidates import candidate
from modelworks.testing.fresh import told

pytestmark = pytest.mark.unit

SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3), allow_nan=False),),
    (TensorSpec("y", Datatype.FP32, (None, 3)),),
    Layout.MATRIX,
    ("a", "b", "c"),
)

HELD = """
import gc, json, os, sys
import modelworks
from modelworks.sandbox.vigil import resident

def once(name):
    session = modelworks.load(name, home=sys.argv[1], poll=0)
    held = resident(os.getpid())
    session.close()
    gc.collect()
    return held

once("fraud")  # what the libraries keep for good is there before the weights come
before = resident(os.getpid())
held = once("heavy")
print(json.dumps([before, held, resident(os.getpid())]))
"""


def answers(factor, row=(1, 2, 3)):
    return [{"outputs": {"y": [factor * value for value in row]}}]


@pytest.fixture
def factory(home):
    with Factory(home) as factory:
        yield factory


@pytest.fixture
def put(factory, tmp_path):
    """Publish `y = factor x`, or broken bytes for a factor of None."""

    def put(factor, alias="", signature=SIGNATURE):
        file = tmp_path / "model.onnx"
        if factor is None:
            file.write_bytes(b"no model at all")
        else:
            models.double(file, factor=factor)
        version = candidate(
            tmp_path / "candidate", file.read_bytes(), alias=alias, signature=signature
        )
        return factory.publish(version)

    return put


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One session for all tests that change nothing."""
    folder = tmp_path_factory.mktemp("unchanged")
    data = models.double(folder / "model.onnx").read_bytes()
    home = Home(folder / "home")
    with Factory(home) as factory:
        factory.publish(
            candidate(folder / "candidate", data, alias="champion", signature=SIGNATURE)
        )
    with modelworks.load("fraud@champion", home=home.root, poll=0) as session:
        yield session


@pytest.fixture
def load(home):
    opened = []

    def load(ref="fraud@champion", **more):
        more.setdefault("poll", 0)
        opened.append(modelworks.load(ref, home=home.root, **more))
        return opened[-1]

    yield load
    for session in opened:
        session.close()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_rows_and_tensors(put, load):
    put(2.0, "champion")
    session = load()
    assert session.version == "1.0.0"
    assert session.signature == SIGNATURE
    assert session.problem == ""
    rows = (
        [[1, 2, 3]],
        [{"c": 3, "a": 1, "b": 2}],
        {"c": 3, "a": 1, "b": 2},
        np.array([[1, 2, 3]]),
        np.array([[1, 2, 3]], np.float64),
        pd.DataFrame({"c": [3], "b": [2], "a": [1]}),
    )
    for given in rows:
        found = session.predict(given)
        assert found == answers(2.0)
        assert found.version == "1.0.0"
        assert found.warnings == ()
        assert json.loads(json.dumps(found)) == found
    np.testing.assert_array_equal(session.infer({"x": [[1, 2, 3]]})["y"], [[2, 4, 6]])
    assert session.infer({"x": np.ones((5, 3))})["y"].shape == (5, 3)
    counted = session.statistics()
    assert (counted.requests, counted.rows, counted.failures) == (8, 12, 0)
    assert counted.mean_batch == 12 / counted.engine_calls
    assert "1.0.0" in repr(session)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([{"a": 1, "b": 2}], "rows[0].c"),
        ([[1, 2, 3], [1, "x", 3]], "rows[1].b"),
        ([[1, 2, 3], [1, None, 3]], "rows[1].b"),
        ([[1, 2, float("nan")]], "rows[0].c"),
        ([], "rows"),
        (7, "rows"),
        (np.ones((1, 2)), "rows[0]"),
        (np.ones((0, 3)), "rows"),
        (np.ones((10_001, 3)), "rows"),
        (np.array([[1, 2, 3], [1, np.nan, 3]]), "rows[1].b"),
        (np.array([["a", "b", "c"]]), "rows[0].a"),
    ],
)
def test_wrong_rows_are_named(opened, given, field):
    with pytest.raises(InvalidError) as caught:
        opened.predict(given)
    assert caught.value.field == field
    assert opened.predict([[1, 2, 3]]) == answers(2.0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "x"),
        ({"x": np.ones((1, 3)), "z": 1}, "z"),
        ({"x": np.ones((1, 4))}, "x.shape"),
        ({"x": np.ones(3)}, "x.shape"),
        ({"x": np.ones((0, 3))}, "x"),
        ({"x": np.ones((1, 3), complex)}, "x"),
        ({"x": [[1, 2], [3]]}, "x"),
        ([1, 2, 3], "inputs"),
    ],
)
def test_wrong_tensors_are_named(opened, given, field):
    with pytest.raises(InvalidError) as caught:
        opened.infer(given)
    assert caught.value.field == field


def test_the_environment_names_registry_and_stores(tmp_path, monkeypatch):
    monkeypatch.delenv("MODELWORKS_URL", raising=False)
    monkeypatch.setenv("MODELWORKS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELWORKS_ARTIFACTS", str(tmp_path / "elsewhere"))
    data = models.double(tmp_path / "model.onnx").read_bytes()
    with local(*stores_of_environment()) as factory:
        factory.publish(candidate(tmp_path / "candidate", data, signature=SIGNATURE))
    assert list((tmp_path / "elsewhere").iterdir())
    with modelworks.load("fraud") as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)


def stores_of_environment():
    found = Settings.read()
    return found.home, found.stores


def test_text_is_taken_as_text_or_bytes(factory, tmp_path, load):
    path = models.identity(tmp_path / "m.onnx", Datatype.BYTES)
    spec = (TensorSpec("x", Datatype.BYTES, (None, 2)),)
    signature = Signature(spec, (TensorSpec("y", Datatype.BYTES, (None, 2)),))
    factory.publish(candidate(tmp_path / "c", path.read_bytes(), signature=signature))
    session = load("fraud")
    for given in ([["é", b"b"]], np.array([["é", "b"]])):
        assert session.infer({"x": given})["y"].tolist() == [["é".encode(), b"b"]]
    with pytest.raises(InvalidError, match="takes text, got int") as caught:
        session.infer({"x": np.array([["a", 1]], object)})
    assert caught.value.field == "x"


def test_arrays_of_any_order_and_width(opened):
    wanted = np.arange(12, dtype=np.float32).reshape(4, 3)
    for given in (
        np.asfortranarray(wanted),
        wanted[::-1][::-1],
        wanted.astype(">f4"),
        wanted.astype(np.float64),
        wanted.astype(np.int16),
        wanted.tolist(),
        np.ma.masked_array(wanted),
    ):
        np.testing.assert_array_equal(opened.infer({"x": given})["y"], 2 * wanted)
        if not isinstance(given, list):
            assert [r["outputs"]["y"] for r in opened.predict(given)] == (2 * wanted).tolist()


def test_references_resolve_as_in_the_server(put, load):
    put(2.0)
    put(3.0)
    assert load("fraud").version == "1.1.0"  # the latest
    assert load("fraud:1.0.0").version == "1.0.0"
    put(4.0, "champion")
    put(5.0)
    assert load("fraud").version == "1.2.0"  # the champion
    with pytest.raises(NotFoundError, match="challenger"):
        load("fraud@challenger")
    with pytest.raises(NotFoundError, match="nobody"):
        load("nobody")
    with pytest.raises(InvalidError):
        load("no model name")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads", 0),
        ("max_batch_size", 0),
        ("max_queue_size", -1),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("poll", -1),
    ],
)
def test_impossible_settings_are_named(field, value):
    with pytest.raises(InvalidError) as caught:
        modelworks.load("fraud", **{field: value})
    assert caught.value.field == field


def test_a_time_out_of_a_call_is_checked(opened):
    with pytest.raises(InvalidError) as caught:
        opened.predict([[1, 2, 3]], timeout=-1)
    assert caught.value.field == "timeout"


def test_the_alias_is_followed(put, load, factory):
    put(2.0, "champion")
    session = load(poll=0.05)
    put(3.0)
    assert session.predict([[1, 2, 3]]) == answers(2.0)
    factory.set_alias("fraud", "champion", "1.1.0")
    until(lambda: session.version == "1.1.0")
    assert session.predict([[1, 2, 3]]) == answers(3.0)
    factory.set_alias("fraud", "champion", "1.0.0")
    until(lambda: session.version == "1.0.0")


def test_without_polling_a_refresh_follows(put, load, factory):
    put(2.0, "champion")
    session = load()
    put(3.0, "champion")
    time.sleep(0.1)
    assert session.version == "1.0.0"
    assert session.refresh() == session.version == "1.1.0"


def test_every_answer_under_a_moving_alias_is_of_one_version(put, load, factory):
    put(2.0, "champion")
    put(3.0)
    session = load(poll=0.01)
    stop = threading.Event()
    seen = set()

    def ask(i):
        while not stop.is_set():
            found = session.predict([[i, i, i]] * (1 + i % 3))
            factor = {"1.0.0": 2.0, "1.1.0": 3.0}[found.version]
            assert found == answers(factor, (i, i, i)) * (1 + i % 3)
            seen.add(found.version)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, i) for i in range(8)]
        for turn in range(6):
            factory.set_alias("fraud", "champion", ("1.1.0", "1.0.0")[turn % 2])
            time.sleep(0.1)
        stop.set()
        for one in asking:
            one.result(20)
    assert seen == {"1.0.0", "1.1.0"}
    assert session.statistics().failures == 0


def test_a_bad_version_leaves_the_old_one_and_says_so(put, load, factory, caplog):
    put(2.0, "champion")
    session = load()
    put(None, "champion")
    for _ in range(2):  # tried again, refused again, said once
        with pytest.raises(UnavailableError, match=r"version 1\.0\.0 goes on answering"):
            session.refresh()
    assert "ONNX" in session.problem
    assert "fraud@champion" in session.problem
    assert session.predict([[1, 2, 3]]) == answers(2.0)
    said = [r for r in caplog.records if r.name == "modelworks.embedded"]
    assert len(said) in {1, 2}  # the second time by the reason of the load itself
    put(3.0, "champion")
    assert session.refresh() == "1.2.0"
    assert session.problem == ""


def test_a_damaged_version_is_not_served(put, load, factory, home):
    put(2.0, "champion")
    session = load()
    version = put(3.0, "champion")
    [(_, digest)] = version.artifact.files
    stored = home.blobs / "sha256" / digest[7:9] / digest[7:]
    stored.chmod(0o600)
    stored.write_bytes(b"x" * stored.stat().st_size)
    with pytest.raises(UnavailableError, match="damaged"):
        session.refresh()
    assert session.predict([[1, 2, 3]]) == answers(2.0)


def test_an_alias_that_is_gone_and_comes_again(put, load, factory):
    put(2.0, "champion")
    session = load(poll=0.05)
    factory.remove_alias("fraud", "champion")
    until(lambda: "no alias" in session.problem)
    assert session.predict([[1, 2, 3]]) == answers(2.0)
    factory.set_alias("fraud", "champion", "1.0.0")
    until(lambda: session.problem == "")


def test_another_signature_is_followed(put, load, factory):
    put(2.0, "champion")
    session = load()
    renamed = Signature(SIGNATURE.inputs, SIGNATURE.outputs, Layout.MATRIX, ("d", "e", "f"))
    put(3.0, "champion", signature=renamed)
    session.refresh()
    assert session.predict([{"d": 1, "e": 2, "f": 3}]) == answers(3.0)
    with pytest.raises(InvalidError):
        session.predict([{"a": 1, "b": 2, "c": 3}])


def test_coroutines(put, load):
    put(2.0, "champion")
    session = load()

    async def every():
        rows = [session.apredict([[i, i, i]]) for i in range(50)]
        tensors = [session.ainfer({"x": np.full((1, 3), i)}) for i in range(50)]
        return await asyncio.gather(*rows), await asyncio.gather(*tensors)

    rows, tensors = asyncio.run(every())
    assert rows == [answers(2.0, (i, i, i)) for i in range(50)]
    assert [found["y"][0, 0] for found in tensors] == [2.0 * i for i in range(50)]
    assert session.statistics().mean_batch > 1


def of_ours(known):
    found = set(threading.enumerate()) - known
    return [thread for thread in found if thread.name in {"alias", "model-fraud"}]


def test_closing(put, load):
    known = set(threading.enumerate())
    put(2.0, "champion")
    with load(poll=0.05) as session:
        session.predict([[1, 2, 3]])
    session.close()
    assert "closed" in repr(session)
    with pytest.raises(UnavailableError, match="closed"):
        session.predict([[1, 2, 3]])
    with pytest.raises(UnavailableError, match="closed"):
        asyncio.run(session.apredict([[1, 2, 3]]))
    with pytest.raises(UnavailableError, match="closed"):
        _ = session.version
    until(lambda: not of_ours(known))


def test_a_session_that_is_dropped_ends(put, load, home):
    known = set(threading.enumerate())
    put(2.0, "champion")
    session = modelworks.load("fraud@champion", home=home.root, poll=0.05)
    dropped = weakref.ref(session)
    del session

    def gone():  # its thread may be at a look, which holds it
        gc.collect()
        return dropped() is None

    until(gone)
    until(lambda: not of_ours(known))


def test_what_cannot_be_served_leaves_nothing_behind(put, load):
    known = set(threading.enumerate())
    put(None, "champion")
    with pytest.raises(InvalidError, match="ONNX"):
        load()
    until(lambda: not of_ours(known))


def test_memory_comes_back(factory, tmp_path, put, home, heavy):
    wide = Signature(
        (TensorSpec("x", Datatype.FP32, (None, 1024)),),
        (TensorSpec("y", Datatype.FP32, (None, 1024)),),
    )
    put(2.0)
    factory.publish(candidate(tmp_path / "c", heavy.read_bytes(), name="heavy", signature=wide))
    before, held, after = told(HELD, home.root)
    assert held - before > heavy.stat().st_size / 2
    assert after - before < (held - before) / 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # what is tested
def test_a_child_of_a_fork_opens_the_model_for_itself(put, load, factory):
    put(2.0, "champion")
    session = load(poll=0.05)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # what goes wrong here is seen in what the parent reads
        try:
            found = [session.predict([[1, 2, 3]]), session.statistics().requests]
            os.write(writing, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert json.loads(told.read()) == [answers(2.0), 1]
    assert os.waitpid(child, 0)[1] == 0
    assert session.predict([[1, 2, 3]]) == answers(2.0)
    put(3.0, "champion")
    until(lambda: session.version == "1.1.0")  # the parent's loop and watcher are unharmed
    assert embedded._abandoned == []


def test_the_engine_may_have_a_process_of_its_own(home, put):
    put(2.0, alias="champion")
    with modelworks.load("fraud@champion", home=home.root, isolation="process") as session:
        assert session.predict([[1, 2, 3]]) == answers(2.0)
        [pid] = session._open().front.live.processes()
        assert Path(f"/proc/{pid}").exists()
        put(3.0, alias="champion")
        session.refresh()
        assert session.predict([[1, 2, 3]]) == answers(3.0)
        [second] = session._open().front.live.processes()
        assert second != pid
    assert not Path(f"/proc/{second}").exists()
    with pytest.raises(InvalidError, match="thread, process"):
        modelworks.load("fraud", home=home.root, isolation="thraed")
