"""Modelworks: the factory that takes trained models to production and keeps them healthy there.

Public names: `Client` (everything the command line does), `load` (a registered model inside your
own program), `Embedded`, `serve` (a fitted estimator on a port in one line), `Served`,
`ModelworksError` and `__version__`. Each is loaded when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelworks.apps.embed import Client
    from modelworks.apps.embedded import Embedded, load
    from modelworks.apps.oneline import Served, serve
    from modelworks.core.errors import ModelworksError

    __version__: str

__all__ = ["Client", "Embedded", "ModelworksError", "Served", "__version__", "load", "serve"]

_HOMES = {
    "Client": "modelworks.apps.embed",
    "Embedded": "modelworks.apps.embedded",
    "ModelworksError": "modelworks.core.errors",
    "Served": "modelworks.apps.oneline",
    "load": "modelworks.apps.embedded",
    "serve": "modelworks.apps.oneline",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version("modelworks")
    if name not in _HOMES:
        raise AttributeError(f"module 'modelworks' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
