"""A fitted estimator on a port in one line: saved, imported as any file is, served."""

import atexit
import pickle
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from modelworks.apps.children import Child
from modelworks.apps.embed import local
from modelworks.client.data import DataPlane
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.home import Home
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.model import ModelVersion
from modelworks.core.reference import model_name
from modelworks.core.served import write_served


class Served:
    """A model that answers on a port of this machine until `close()` or the end of Python.

    Attributes:
        name: of the model in URLs.
        url: of the server: `POST {url}/predict/{name}`, `POST {url}/v2/models/{name}/infer`.
        version: what was imported, with its evidence (parity figures).
    """

    def __init__(self, name: str, version: ModelVersion, child: Child, folder: Any) -> None:
        self.name = name
        self.version = version
        self._child = child
        self._folder = folder
        self.url = child.wait_ready().url
        self._plane = DataPlane(self.url)
        atexit.register(self.close)

    def predict(self, rows: Any) -> list[Any]:
        """One answer a row.

        Args:
            rows: a list of mappings or lists, a numpy array or a data frame.
        """
        return list(self._plane.predict(self.name, rows)["predictions"])

    def infer(self, inputs: Any) -> dict[str, Any]:
        """Tensors in, tensors out; see `DataPlane.infer`."""
        return self._plane.infer(self.name, inputs)

    def close(self) -> None:
        """Drain and end the server, remove its files. Twice is quiet."""
        atexit.unregister(self.close)
        self._plane.close()
        self._child.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Served {self.name} at {self.url}>"


def serve(model: Any, sample: Any = None, *, name: str = "model", port: int = 0) -> Served:
    """Put a fitted model on a port of this machine.

        served = modelworks.serve(classifier)
        served.predict([[5.1, 3.5, 1.4, 0.2]])

    The model goes the way of every file: saved by its framework, imported in the sandbox,
    converted, checked against the original, served by a process of its own.

    Args:
        model: a fitted scikit-learn, XGBoost or LightGBM estimator, a booster, or a torch module.
        sample: example inputs: a data frame, an array, a list of rows; for a torch module the
            tensor, or tuple of tensors, that it is called with.
        name: of the model in URLs.
        port: 0 = a free one.

    Raises:
        UnsupportedError: no way is known to save such a model.
        RefusedError: it did not pass the checks; the message says which.
        MissingExtraError: the importer's libraries are not installed.
    """
    model_name(name)
    folder = tempfile.TemporaryDirectory(prefix="modelworks-serve-")
    child: Child | None = None
    try:
        root = Path(folder.name)
        home = Home(root / "home").create()
        file = _save(model, sample, root)
        told = None if file.suffix == ".pt2" else _save_sample(sample, root)
        served = home.run / "served.json"
        with local(home) as factory:
            version = factory.import_model(
                ImportRequest(file=file, name=name, options=ImportOptions(sample=told))
            )
            write_served(served, factory.resolve((version.ref,)))
        arguments = ["--served", str(served), "--port", str(port), "--with-parent"]
        log = home.logs / "server.log"
        child = Child("model server", "modelworks.apps.server", arguments, log)
        return Served(name, version, child, folder)
    except BaseException:
        if child is not None:
            child.stop()
        folder.cleanup()
        raise


def _save(model: Any, sample: Any, root: Path) -> Path:
    """The model as its framework writes it, or as a pickle where that is the framework's way.

    No framework is imported here: the caller has imported the one that the model is of.
    """
    families = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "torch" in families:
        return _save_torch(model, sample, root)
    if type(model).__name__ == "Booster" and families & {"xgboost", "lightgbm"}:
        file = root / ("model.json" if "xgboost" in families else "model.txt")
        model.save_model(str(file))
        return file
    if families & {"sklearn", "xgboost", "lightgbm"}:
        file = root / "model.pkl"
        with file.open("wb") as sink:
            pickle.dump(model, sink)
        return file
    raise UnsupportedError(
        f"serve() does not know how to save a {type(model).__module__}.{type(model).__name__}: "
        "save it yourself and use `modelworks import FILE`",
        field="model",
    )


def _save_torch(model: Any, sample: Any, root: Path) -> Path:
    """`torch.export` with a dynamic first axis on every input."""
    torch: Any = sys.modules["torch"]
    if sample is None:
        raise InvalidError(
            "a torch module needs a sample: the tensor that it is called with", field="sample"
        )
    given = sample if isinstance(sample, tuple) else (sample,)
    tensors = tuple(torch.as_tensor(one) for one in given)
    # Export specialises an axis of length one, so that the batch would be fixed.
    tensors = tuple(torch.cat([t, t]) if len(t) == 1 else t for t in tensors)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        model.eval(), tensors, dynamic_shapes=tuple({0: batch} for _ in tensors)
    )
    file = root / "model.pt2"
    torch.export.save(program, file)
    return file


def _save_sample(sample: Any, root: Path) -> Path | None:
    """Example rows as a file that the importers read."""
    if sample is None:
        return None
    if hasattr(sample, "to_csv") and hasattr(sample, "columns"):
        file = root / "sample.csv"
        sample.to_csv(file, index=False)
        return file
    file = root / "sample.npy"
    np.save(file, np.asarray(sample), allow_pickle=False)
    return file
