"""Recognises XGBoost models; the reading is in `read`, which imports the library."""

import re
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import MissingExtraError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.seams import Sniffed
from modelworks.ext.importers.pickles.scan import scan

_JSON = re.compile(rb'\s*\{\s*"(?:learner"\s*:\s*\{|version"\s*:\s*\[)')
_UBJSON = re.compile(rb"\{(?:[iU]|I.|l.{3}|L.{7})?\x07learner\{", re.DOTALL)
_HEAD = 4096


class XgboostImporter:
    """`Booster`, `XGBClassifier`, `XGBRegressor`, `XGBRanker` and their forests."""

    name: ClassVar[str] = "xgboost"
    formats: ClassVar[tuple[str, ...]] = (
        "xgboost-json",
        "xgboost-ubj",
        "xgboost-pickle",
        "xgboost-joblib",
        "xgboost-binary",
    )
    extra: ClassVar[str] = "xgboost"
    experimental: ClassVar[bool] = False
    honours: ClassVar[frozenset[str]] = frozenset({"layout", "runtime"})

    def sniff(self, path: Path) -> Sniffed | None:
        """JSON and UBJSON by their first key, pickles by the class they begin with."""
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError:
            return None
        if _JSON.match(head) and b'"learner' in head:
            return Sniffed("xgboost-json", 100, runs_code=False)
        if _UBJSON.match(head):
            return Sniffed("xgboost-ubj", 100, runs_code=False)
        if head.startswith(b"binf"):
            return Sniffed("xgboost-binary", 100, runs_code=False)
        found = scan(path)
        if found.root.startswith("xgboost."):
            return Sniffed(f"xgboost-{found.writer}", 95, runs_code=True)
        return None

    def read(self, path: Path, into: Path, options: ImportOptions) -> Imported:
        """Convert to `into/model.onnx`, or keep it; see `core.seams.Importer.read`."""
        try:
            from modelworks.ext.importers.xgboost import read  # noqa: PLC0415 - imports XGBoost
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "reading XGBoost models", self.extra, str(error.name)
            ) from error
        sniffed = self.sniff(path)
        return read.read(path, into, options, sniffed.format if sniffed else "")
