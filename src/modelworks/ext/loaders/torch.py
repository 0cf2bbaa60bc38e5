"""Serves a PyTorch model as it is: exported program, TorchScript, or weights with their code."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from modelworks.core.errors import InvalidError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch.call import predictor
from modelworks.ext.importers.torch.source import load


class TorchLoader:
    """What the importer `torch` reads, run by PyTorch."""

    name: ClassVar[str] = "torch"
    extra: ClassVar[str] = "torch"
    experimental: ClassVar[bool] = True  # no file of an older PyTorch was tried

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """See `core.seams.Loader.load`."""
        factory = model.settings.get("factory", "")
        source = load(folder / model.source, f"{folder}/{factory}" if factory else "", trust=True)
        predict = predictor(source, model.signature.inputs)

        def answer(inputs: Tensors) -> Tensors:
            try:
                return predict(inputs)
            except (RuntimeError, IndexError) as error:  # PyTorch's words for shapes and values
                if "allocate" in str(error):
                    raise MemoryError from error
                raise InvalidError(f"the model refuses this input: {reason(error)}") from error

        return answer
