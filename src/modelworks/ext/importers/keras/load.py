"""Loads what was looked through, by the library that wrote it."""

from pathlib import Path

from modelworks.ext.importers.keras import saved
from modelworks.ext.importers.keras.files import Format
from modelworks.ext.importers.keras.scan import Looked
from modelworks.ext.importers.keras.source import Source


def load(path: Path, looked: Looked) -> Source:
    """The model with its inputs and outputs by name.

    Raises:
        InvalidError: it does not load, or says nothing of its inputs.
        UnsupportedError: inputs or outputs that are not served.
    """
    if looked.format is Format.SAVED_MODEL:
        return saved.load(path)
    from modelworks.ext.importers.keras import network  # noqa: PLC0415 - Keras, where it is needed

    return network.load(path, looked)
