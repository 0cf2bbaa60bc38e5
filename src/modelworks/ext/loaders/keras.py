"""Runs a Keras model or SavedModel by TensorFlow itself, in the environment that it brings."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors


class KerasLoader:
    """Looks the file through once more, then loads it: what is dangerous is opened by no word."""

    name: ClassVar[str] = "keras"
    extra: ClassVar[str] = ""  # TensorFlow comes with the model's own requirements
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """As `core.seams.Loader.load`.

        Raises:
            InvalidError: TensorFlow is not in this environment, or cannot load the file.
            RefusedError: it names what is dangerous.
        """
        try:
            from modelworks.ext.importers.keras import scan  # noqa: PLC0415 - with TensorFlow
            from modelworks.ext.importers.keras.load import load  # noqa: PLC0415 - the same
        except ModuleNotFoundError as error:
            raise InvalidError(
                f"the environment of this model lacks {error.name}: import the model again"
            ) from error
        path = folder / model.source
        looked = scan.look(path, trust=True)
        loaded = load(path, looked)
        wanted = [spec.name for spec in model.signature.outputs]
        if [port.spec.name for port in loaded.outputs] != wanted:
            raise InvalidError(f"{path.name}: its outputs are no longer {', '.join(wanted)}")
        return loaded.predict
