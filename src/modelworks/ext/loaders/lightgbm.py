"""Serves a LightGBM model as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import lightgbm

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.boosters import predictor
from modelworks.ext.importers.lightgbm.native import describe
from modelworks.ext.importers.reasons import reason
from modelworks.ext.loaders.opening import unpickled


class LightgbmLoader:
    """Boosters and scikit-learn wrappers, as text or pickled."""

    name: ClassVar[str] = "lightgbm"
    extra: ClassVar[str] = "lightgbm"
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """See `core.seams.Loader.load`."""
        file = folder / model.source
        if model.settings.get("format") != "lightgbm-txt":
            return predictor(describe(unpickled(file)), model.signature)
        try:
            booster = lightgbm.Booster(model_file=file)
        except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
            raise InvalidError(f"{file.name} does not load: {reason(error)}") from error
        return predictor(describe(booster), model.signature)
