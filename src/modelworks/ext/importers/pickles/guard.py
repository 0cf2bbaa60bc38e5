"""A stand-in for the module `pickle` whose unpicklers ask the lists: for `torch.load` and its kin.

    torch.load(path, weights_only=False, pickle_module=PickleModule(path.name, allowed, trust=True))

The machine underneath is the fast one of the standard library, so opcodes are not looked at one by
one, as `load` does; names are, at the moment of loading, and so is what they resolve to.
"""

import pickle
from pathlib import Path
from typing import Any, ClassVar

from modelworks.ext.importers.pickles.allow import AllowList
from modelworks.ext.importers.pickles.gate import Gate, modern


class PickleModule:
    """What a library takes for the module `pickle`.

    Args:
        file: its name, for messages.
        allowed: everything that it may name.
        trust: the owner vouches for the file.

    Attributes:
        Unpickler: a class to derive from or to use.
        gate: its `asked` tells the names that were resolved.
    """

    UnpicklingError: ClassVar[type[Exception]] = pickle.UnpicklingError
    HIGHEST_PROTOCOL: ClassVar[int] = pickle.HIGHEST_PROTOCOL
    __name__: str = Path(__file__).stem

    def __init__(self, file: str, allowed: AllowList, *, trust: bool = False) -> None:
        gate = Gate(file, allowed, trust=trust)

        class Unpickler(pickle.Unpickler):
            """Asks the gate for every name."""

            def find_class(self, module: str, name: str, /) -> Any:
                return gate.resolve(*modern(module, name, python2=True))

        self.gate = gate
        self.Unpickler = Unpickler

    def load(self, file: Any, **options: Any) -> Any:
        """As `pickle.load`."""
        return self.Unpickler(file, **options).load()
