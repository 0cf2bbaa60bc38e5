"""A registry with two models, made without the import road, and a way to type commands."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelworks.cli.main import main
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.model import Evidence, Lineage, Verdict
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.registry.publish import Publication

SIGNATURE = Signature(
    inputs=(TensorSpec("input", Datatype.FP32, (None, 2)),),
    outputs=(TensorSpec("label", Datatype.INT64, (None,), Role.LABEL),),
    layout=Layout.MATRIX,
    features=("age", "income"),
    classes=(0, 1),
)


@dataclass(frozen=True)
class Typed:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def filled(home: Home, tmp_path: Path) -> Home:
    """fraud 1.0.0, 1.1.0 (champion) and churn 1.0.0."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    evidence = (Evidence("parity", Verdict.PASSED, "512 rows, largest difference 3e-07"),)
    with Factory(home, actor="ana") as factory:
        for name, alias in (("fraud", ""), ("fraud", "champion"), ("churn", "")):
            (folder / "model.onnx").write_text(f"{name} {alias}")
            factory.publish(
                Publication(
                    name,
                    folder,
                    "onnx",
                    SIGNATURE,
                    Lineage(source_format="sklearn-joblib", source_name="m.joblib"),
                    evidence,
                    alias=alias,
                )
            )
    return home


@pytest.fixture
def type_(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Home
) -> Callable[..., Typed]:
    """Type a command line on this test's home."""
    monkeypatch.setenv("MODELWORKS_HOME", str(home.root))
    for name in ("MODELWORKS_URL", "MODELWORKS_SERVER", "MODELWORKS_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def typed(*words: str) -> Typed:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Typed(code, out, err)

    return typed
