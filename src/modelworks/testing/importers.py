"""Contract suite for importers: subclass `ImporterContract`, give it files, run it by pytest."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelworks.core import digest
from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.native import NATIVE
from modelworks.core.seams import Engine, EngineOptions, Importer, Session
from modelworks.core.tensor import Datatype, Role, Tensors
from modelworks.plugins.load import available, load

HEAVY = (
    "ai_edge_litert",
    "flatbuffers",
    "lightgbm",
    "onnx",
    "onnxruntime",
    "pandas",
    "skl2onnx",
    "sklearn",
    "torch",
    "xgboost",
)
_BATCHES = (1, 2, 7)
_CUTS = (0.02, 0.3, 0.7, 0.97)
_LONGEST_LINE = 600
_TOLERANCE = (1e-5, 1e-4)
_PLAIN = ImportOptions()
_TREES_OFF = 0.001  # share of rows that may fall on the other side of a threshold


@dataclass(frozen=True, slots=True)
class Good:
    """A file that must come in.

    Attributes:
        path: the model file.
        format: that `sniff` must name.
        inputs: rows to try, by input name, in the signature's datatypes.
        options: for reading it.
    """

    path: Path
    format: str
    inputs: Tensors
    options: ImportOptions = _PLAIN


@dataclass(frozen=True, slots=True)
class Bad:
    """A file that must not come in.

    Attributes:
        path: the file.
        says: a word of the reason.
        canary: a path that exists only if the file's code has run.
        options: for reading it.
    """

    path: Path
    says: str
    canary: Path | None = None
    options: ImportOptions = _PLAIN


@dataclass(frozen=True, slots=True)
class Read:
    """A good file, read once for the whole suite."""

    good: Good
    imported: Imported
    folder: Path


class ImporterContract:
    """What every importer owes.

    Subclasses give four class-scoped fixtures: `importer`, `goods` (list of `Good`), `bads` (list
    of `Bad`: hostile and unconvertible files) and `foreign` (list of paths: other families' files).
    """

    @pytest.fixture(scope="class")
    @classmethod
    def reads(
        cls, importer: Importer, goods: list[Good], tmp_path_factory: pytest.TempPathFactory
    ) -> list[Read]:
        """Every good file, converted once."""
        found = []
        for good in goods:
            folder = tmp_path_factory.mktemp("into")
            found.append(Read(good, importer.read(good.path, folder, good.options), folder))
        return found

    def test_describes_itself(self, importer: Importer, goods: list[Good]) -> None:
        assert importer.name
        assert set(importer.formats) >= {good.format for good in goods}
        assert type(importer)() is not None
        assert importer.experimental in {True, False}

    def test_recognises_its_files(self, importer: Importer, goods: list[Good]) -> None:
        for good in goods:
            sniffed = importer.sniff(good.path)
            assert sniffed is not None, good.path.name
            assert sniffed.format == good.format
            assert 0 < sniffed.confidence <= 100

    def test_leaves_other_families_alone(
        self, importer: Importer, goods: list[Good], foreign: list[Path]
    ) -> None:
        sure = min(_confidence(importer, good.path) for good in goods)
        for path in foreign:
            assert _confidence(importer, path) < sure, path.name

    def test_sniff_never_raises(
        self, importer: Importer, goods: list[Good], tmp_path: Path
    ) -> None:
        for path in (tmp_path, tmp_path / "absent", *_broken(goods, tmp_path)):
            importer.sniff(path)

    def test_sniff_is_light(self, importer: Importer, goods: list[Good]) -> None:
        kind = type(importer)
        script = (
            "import sys\nfrom pathlib import Path\n"
            f"from {kind.__module__} import {kind.__name__} as I\n"
            "for name in sys.argv[1:]: I().sniff(Path(name))\n"
            f"print(*(m for m in {HEAVY!r} if m in sys.modules))"
        )
        command = [sys.executable, "-c", script, *(str(good.path) for good in goods)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == []

    def test_writes_only_where_it_is_told(
        self,
        importer: Importer,
        goods: list[Good],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        good = goods[0]
        elsewhere, into = tmp_path / "cwd", tmp_path / "into"
        elsewhere.mkdir()
        into.mkdir()
        monkeypatch.chdir(elsewhere)
        before = _state(good.path)
        importer.read(good.path, into, good.options)
        assert _state(good.path) == before
        assert list(elsewhere.iterdir()) == []
        assert any(into.iterdir())

    def test_same_predictions_before_and_after(self, reads: list[Read]) -> None:
        for read in reads:
            for session in _sessions(read):
                for size in (*_BATCHES, _rows(read.good)):
                    _compare(read, session, size)

    def test_signature_is_truthful(self, reads: list[Read]) -> None:
        for read in reads:
            wanted = read.imported.signature
            for session in _sessions(read):
                for mine, its in zip(wanted.inputs, session.signature.inputs, strict=True):
                    assert (mine.name, mine.datatype) == (its.name, its.datatype)
                rows = _rows(read.good)
                given = {s.name: np.asarray(read.good.inputs[s.name]) for s in wanted.inputs}
                for spec in wanted.inputs:
                    assert _fits(given[spec.name].shape, spec.shape), spec
                outputs = session.infer(given)
                for spec, array in zip(wanted.outputs, outputs, strict=True):
                    assert _fits(np.asarray(array).shape, spec.shape), spec
                    assert spec.shape[:1] in {(None,), (rows,), ()}, spec
            probabilities = wanted.output(Role.PROBABILITIES)
            if probabilities is not None and wanted.classes:
                assert probabilities.shape[1] == len(wanted.classes)
            if wanted.features and len(wanted.inputs) == 1:
                assert wanted.inputs[0].shape[1] == len(wanted.features)

    def test_says_what_read_it(self, reads: list[Read]) -> None:
        for read in reads:
            assert read.imported.source_format == read.good.format
            assert read.imported.environment
            assert all(note == _one_line(note) for note in read.imported.notes)

    def test_reading_twice_gives_the_same(
        self, importer: Importer, reads: list[Read], tmp_path: Path
    ) -> None:
        first = reads[0]
        again = importer.read(first.good.path, tmp_path, first.good.options)
        assert again.signature == first.imported.signature
        if _tree(tmp_path) != _tree(first.folder):
            for session in _sessions(Read(first.good, first.imported, tmp_path)):
                _compare(first, session, _rows(first.good))

    def test_refuses_with_a_reason_and_runs_nothing(
        self, importer: Importer, bads: list[Bad], tmp_path: Path
    ) -> None:
        for bad in bads:
            with pytest.raises(ModelworksError) as caught:
                importer.read(bad.path, tmp_path, bad.options)
            _one_reason(caught.value)
            assert bad.says.lower() in caught.value.message.lower(), caught.value.message
            assert bad.canary is None or not bad.canary.exists(), bad.path.name

    def test_damage_is_told_in_one_line(
        self, importer: Importer, goods: list[Good], tmp_path: Path
    ) -> None:
        into = tmp_path / "into"
        into.mkdir()
        for path in (tmp_path / "absent", into, *_broken(goods[:1], tmp_path)):
            with pytest.raises(ModelworksError) as caught:
                importer.read(path, into, goods[0].options)
            assert isinstance(caught.value, InvalidError | RefusedError)
            _one_reason(caught.value)


def _confidence(importer: Importer, path: Path) -> int:
    sniffed = importer.sniff(path)
    return 0 if sniffed is None else sniffed.confidence


def _broken(goods: list[Good], folder: Path) -> Iterator[Path]:
    """Empty, foreign and cut files under the good ones' names."""
    for number, good in enumerate(goods):
        if not good.path.is_file():
            continue
        data = good.path.read_bytes()
        noise = np.random.default_rng(number).bytes(4096)
        cuts = [data[: max(1, int(len(data) * cut))] for cut in _CUTS]
        for position, content in enumerate((b"", noise, data[:16] + noise, *cuts)):
            path = folder / f"{number}-{position}-{good.path.name}"
            path.write_bytes(content)
            yield path


def _state(path: Path) -> tuple[str, list[str]]:
    mine = digest.of_file(path) if path.is_file() else str(digest.tree(path))
    return mine, sorted(item.name for item in path.parent.iterdir())


def _tree(folder: Path) -> str:
    return digest.of_entries(digest.tree(folder))


def _rows(good: Good) -> int:
    return len(next(iter(good.inputs.values())))


def _sessions(read: Read) -> Iterator[Session]:
    """The result in every engine that runs its format."""
    opened = 0
    for name in available("engines"):
        engine: Engine = load("engines", name)()
        if read.imported.format in engine.formats:
            native = read.imported.format == NATIVE
            options = EngineOptions(
                signature=read.imported.signature,
                trusted=read.good.options.trust,
                extra=(("spare", "off"),) if native else (),
            )
            session = engine.load(read.folder, options)
            opened += 1
            try:
                yield session
            finally:
                session.close()
    assert opened, f"no engine runs {read.imported.format}"


def _compare(read: Read, session: Session, size: int) -> None:
    imported, good = read.imported, read.good
    specs = imported.signature.inputs
    fixed = next((s.shape[0] for s in specs if s.shape and s.shape[0] is not None), None)
    if fixed is not None and size != fixed:
        return
    given = {spec.name: np.asarray(good.inputs[spec.name])[:size] for spec in specs}
    got = dict(zip((s.name for s in imported.signature.outputs), session.infer(given), strict=True))
    wanted = imported.predict(given) if imported.predict else got
    assert set(wanted) == set(got)
    absolute, relative = imported.tolerance or _TOLERANCE
    for spec in imported.signature.outputs:
        mine, its = np.asarray(got[spec.name]), np.asarray(wanted[spec.name])
        assert mine.shape == its.shape, spec
        if spec.datatype is Datatype.BYTES or mine.dtype.kind not in "fc":
            off = _rows_off(mine != its)
        else:
            close = np.isclose(mine, its, rtol=relative, atol=absolute, equal_nan=True)
            off = _rows_off(~close)
        assert off <= (_TREES_OFF if imported.kind == "trees" else 0.0), (spec, off)


def _rows_off(different: Any) -> float:
    if different.size == 0:
        return 0.0
    return float(different.reshape(len(different), -1).any(axis=1).mean())


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(w is None or n == w for n, w in zip(shape, wanted, strict=True))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _one_reason(error: ModelworksError) -> None:
    assert error.message == _one_line(error.message)
    assert 10 < len(error.message) <= _LONGEST_LINE, error.message
