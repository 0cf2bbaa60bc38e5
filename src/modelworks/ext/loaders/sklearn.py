"""Serves a scikit-learn model as it is: pickle, joblib or skops, opened by the owner's word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.sklearn.native import bind, model_file
from modelworks.ext.importers.usercode import first_on_path
from modelworks.ext.loaders.opening import unpickled


class SklearnLoader:
    """Any fitted estimator; a folder may bring the modules of its own classes."""

    name: ClassVar[str] = "sklearn"
    extra: ClassVar[str] = "sklearn"
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """See `core.seams.Loader.load`."""
        source = folder / model.source
        if source.is_dir():
            first_on_path(source)
        file = model_file(source)
        estimator = _opened(file)
        known, methods = bind(estimator, model)
        return lambda inputs: known.ask(methods, inputs)


def _opened(file: Path) -> Any:
    if file.suffix.lower() != ".skops" and file.read_bytes()[:4] != b"PK\x03\x04":
        return unpickled(file)
    from skops import io  # noqa: PLC0415 - it loads all of scikit-learn

    try:
        return io.load(file, trusted=io.get_untrusted_types(file=file))
    except Exception as error:
        raise InvalidError(f"{file.name} does not load: {reason(error)}") from error
