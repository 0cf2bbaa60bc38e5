"""Every file of the corpus ends as its table says: refused without a trace, or accepted."""

import importlib.util
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from corpus import table
from corpus.archives import TORCH
from corpus.tricks import PACKED
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.model import Verdict
from modelworks.ext.importers.pickles.judge import examine
from modelworks.ext.importers.sklearn.load import ALLOWED
from modelworks.intake.service import bring_in
from modelworks.sandbox.jobs import Warm
from modelworks.sandbox.limits import Limits

pytestmark = pytest.mark.real

HOSTILE = {case.title: case for case in table.hostile()}
HONEST = {case.title: case for case in table.honest()}
LIMITS = Limits(cpu_seconds=90, wall_seconds=110)
LIGHT = (
    "modelworks.intake.job",
    "modelworks.ext.importers.sklearn.convert",
    "modelworks.ext.importers.pickles.second",
    "modelworks.ext.importers.xgboost.read",
    "modelworks.ext.importers.lightgbm.read",
    "modelworks.ext.importers.onnx.check",
    "modelworks.ext.engines.onnxruntime",
)


@pytest.fixture(scope="module")
def light():
    with Warm(LIGHT) as host:
        yield host


@pytest.fixture(scope="module")
def torch():
    with Warm((*LIGHT, "modelworks.ext.importers.torch.read")) as host:
        yield host


def needed(case):
    """Skip what cannot be made here, and say what to install."""
    for package in filter(None, [case.needs]):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {package}")


def options_of(case, folder, *, trust=False):
    options = replace(case.options, trust=trust)
    if options.sample is not None:
        options = replace(options, sample=folder / options.sample)
    if (folder / "factory.py").exists():
        options = replace(options, factory=f"{folder / 'factory.py'}:build")
    return options


def brought(case, path, folder, request, tmp_path, *, trust=False):
    host = request.getfixturevalue("torch" if case.group in {TORCH, "PyTorch"} else "light")
    limits = getattr(case, "limits", None) or LIMITS
    options = options_of(case, folder, trust=trust)
    return bring_in(path, options, tmp_path / "work", runner=host.run, limits=limits)


def _refused():
    """Every hostile file; with its owner's word too where a scanner is asked and stays firm."""
    for title, case in HOSTILE.items():
        yield pytest.param(title, False, id=title)
        if case.verdict and not case.trusted:
            yield pytest.param(title, True, id=f"{title}-trust")


@pytest.mark.parametrize(("title", "trust"), list(_refused()))
def test_it_is_refused_and_nothing_ran(title, trust, request, tmp_path):
    case = HOSTILE[title]
    needed(case)
    folder, canary = tmp_path / "in", tmp_path / "canary"
    folder.mkdir()
    path = case.make(folder, canary)
    began = time.monotonic()
    with pytest.raises(ModelworksError) as caught:
        brought(case, path, folder, request, tmp_path, trust=trust)
    assert time.monotonic() - began < LIMITS.wall_seconds
    opened = trust and case.verdict == "unknown"  # and then there is no such name
    assert isinstance(caught.value, InvalidError if opened else case.error), repr(caught.value)
    assert opened or re.search(case.says, caught.value.message), caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 600
    assert not canary.exists()
    if case.verdict:
        assert examine(path, ALLOWED).danger == case.verdict
        assert not canary.exists()


def _believed(case, tmp_path):
    """Read a file as its author hopes; whether its code ran."""
    folder = tmp_path / re.sub(r"\W", "_", case.title)
    folder.mkdir()
    canary = folder / "canary"
    path = case.make(folder, canary)
    library = "joblib" if case.group == PACKED else "pickle"
    text = f"import {library}, sys; {library}.load(open(sys.argv[1], 'rb'))"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", text, str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    end = time.monotonic() + 100
    while process.poll() is None and not canary.exists() and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()  # one of them sings a million times
    process.communicate(timeout=100)  # and what it started has ended too
    return canary.exists()


@pytest.mark.timeout(600)  # a process for each of forty files
def test_the_canaries_would_have_sung(tmp_path):
    """The test above proves something only if the files do what they say."""
    cases = [case for case in HOSTILE.values() if case.sings]
    assert len(cases) >= 40
    for case in cases:
        needed(case)
    with ThreadPoolExecutor(2) as pool:
        ran = list(pool.map(lambda case: _believed(case, tmp_path), cases))
    assert [case.title for case, did in zip(cases, ran, strict=True) if not did] == []


@pytest.mark.parametrize("title", HONEST)
def test_it_is_accepted(title, request, tmp_path):
    case = HONEST[title]
    needed(case)
    folder = tmp_path / "in"
    folder.mkdir()
    found = brought(case, case.make(folder), folder, request, tmp_path)
    assert found.source_format == case.source_format
    scan = next(each for each in found.evidence if each.kind == "scan")
    assert scan.verdict is Verdict.PASSED
    if case.source_format.endswith(("-pickle", "-joblib")):
        assert scan.detail["danger"] == "clean"
        assert scan.detail["findings"]
        assert set(scan.detail["scanners"]) == {"modelworks", "picklescan"}


def test_there_are_enough():
    assert len(HOSTILE) == len(table.hostile()) >= 40
    assert len(HONEST) == len(table.honest()) >= 30
