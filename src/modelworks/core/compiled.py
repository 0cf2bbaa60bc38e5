"""Whether this install's request path is compiled: the same modules, built by mypyc."""

from importlib.util import find_spec
from typing import Final

_ONE_OF_THEM: Final = "modelworks.serving.cost"  # all are compiled, or none


def compiled() -> bool:
    """Whether the modules named in pyproject.toml run as machine code, not as Python."""
    found = find_spec(_ONE_OF_THEM)
    return found is not None and not str(found.origin).endswith(".py")
