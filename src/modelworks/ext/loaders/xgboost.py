"""Serves an XGBoost model as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.boosters import predictor
from modelworks.ext.importers.xgboost.native import describe, from_file
from modelworks.ext.loaders.opening import unpickled


class XgboostLoader:
    """Boosters and scikit-learn wrappers, in any of the library's forms."""

    name: ClassVar[str] = "xgboost"
    extra: ClassVar[str] = "xgboost"
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """See `core.seams.Loader.load`."""
        file = folder / model.source
        form = model.settings.get("format", "").rpartition("-")[2]
        opened = from_file(file, form) if form in {"json", "ubj"} else unpickled(file)
        return predictor(describe(opened), model.signature)
