"""The lists of what files may name: importable, reasoned, and apart from the list of dangers."""

import importlib
import os
import types

import pytest

from corpus import gadgets, table
from modelworks.core.errors import RefusedError
from modelworks.core.scans import Danger
from modelworks.ext.importers.pickles.allow import allow_list, danger_of, dangers
from modelworks.ext.importers.pickles.gate import Gate
from modelworks.ext.importers.pickles.judge import admit, examine
from modelworks.ext.importers.pickles.load import load_named

pytestmark = pytest.mark.unit

LISTS = ("stdlib", "numpy", "scipy", "joblib", "pandas", "sklearn", "xgboost", "lightgbm", "torch")


@pytest.mark.parametrize("name", LISTS)
def test_every_entry_is_there_is_what_it_says_and_has_a_reason(name):
    found = allow_list(name)
    for entry in found.exact:
        assert len(entry.reason) > 3
        for full in entry.names:
            module, _, attribute = full.rpartition(".")
            pytest.importorskip(module.partition(".")[0])
            thing = getattr(importlib.import_module(module), attribute)
            if entry.kind == "class":
                assert isinstance(thing, type), full
            elif entry.kind == "function":
                assert callable(thing), full
                assert not isinstance(thing, type), full
            else:
                assert entry.kind == "value"
                assert not callable(thing), full
    for entry in (*found.packages, *found.excluded):
        assert entry.reason


@pytest.mark.parametrize("name", LISTS)
def test_no_allowed_name_is_dangerous_to_us_or_to_picklescan(name):
    from picklescan.scanner import SafetyLevel, _build_scan_result_from_raw_globals

    names = {tuple(full.rpartition(".")[::2]) for full in allow_list(name).names()}
    assert [".".join(each) for each in names if danger_of(*each)] == []
    said = _build_scan_result_from_raw_globals(names, "lists").globals
    assert [each.name for each in said if each.safety is SafetyLevel.Dangerous] == []


def test_no_gadget_is_allowed_and_each_danger_has_a_reason():
    allowed = allow_list("sklearn").including(*map(allow_list, LISTS))
    for gadget in gadgets.GADGETS:
        module, _, name = gadget.title.rpartition(".")
        assert allowed.entry_of(module, name) is None or "sklearn" in module, gadget.title
    assert len(dangers()) > 200
    assert all(len(entry.reason) > 5 for each in dangers().values() for entry in each)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("os.path", "join"),
        ("torch", "os.system"),
        ("sklearn", "__builtins__"),
        ("anything", "a.__globals__.b"),
        ("numpy.f2py.crackfortran", "getlincoef"),
        ("my.module", "subprocess.run"),
    ],
)
def test_dangers_are_found_by_module_by_parent_and_on_the_way(module, name):
    assert danger_of(module, name)


def test_honest_names_are_not_dangerous():
    for module, name in (
        ("my_package.models", "Net"), ("uuid", "UUID"), ("pathlib", "PosixPath"),
        ("functools", "partial"), ("torch.nn.modules.linear", "Linear"), ("oslo", "system"),
    ):  # fmt: skip
        assert danger_of(module, name) == "", module


def test_what_a_name_leads_to_counts_and_not_what_it_is_called(tmp_path, monkeypatch):
    module = types.ModuleType("innocent")
    module.helper, module.inner = os.system, os
    monkeypatch.setitem(importlib.import_module("sys").modules, "innocent", module)
    gate = Gate("m.pkl", allow_list("sklearn"), trust=True)
    for name in ("helper", "inner"):
        with pytest.raises(RefusedError, match=r"--trust does not open it"):
            gate.resolve("innocent", name)


def test_trust_opens_what_is_unknown_and_records_it(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    path = tmp_path / "f.pkl"
    path.write_bytes(cloudpickle.dumps(lambda x: x + 1))
    allowed = allow_list("sklearn")
    scan = examine(path, allowed)
    assert scan.danger is Danger.UNKNOWN
    with pytest.raises(RefusedError, match="if you know it and vouch for the file"):
        load_named(path, allowed)
    function, scan = load_named(path, allowed, trust=True)
    assert function(1) == 2
    assert scan.opened
    assert {finding.second for finding in scan.findings} & {"dangerous", "suspicious"}


def test_a_scanner_that_fails_means_not_clean(tmp_path, monkeypatch):
    from modelworks.ext.importers.pickles import second

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(second, "scan_pickle_bytes", failing)
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04K\x01.")
    allowed = allow_list("sklearn")
    scan = examine(path, allowed)
    assert scan.danger is Danger.UNREADABLE
    for trust in (False, True):
        with pytest.raises(RefusedError, match="the second scanner"):
            admit(path.name, scan, allowed, trust=trust)


def test_a_disagreement_counts_as_unknown(tmp_path, monkeypatch):
    from modelworks.ext.importers.pickles import second

    def accusing(_: str, tapes: list) -> dict:
        return {name: "dangerous" for _, names in tapes for name in names}

    monkeypatch.setattr(second, "ask", accusing)
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02ccollections\nOrderedDict\n)R.")
    allowed = allow_list("sklearn")
    with pytest.raises(RefusedError, match="second scanner calls it dangerous"):
        load_named(path, allowed)
    assert load_named(path, allowed, trust=True)[1].opened


def test_the_page_of_hostile_files_is_as_the_corpus_is():
    assert table.PAGE.read_text() == table.page(), "run python tests/corpus/table.py"
