"""The modules of the comparison with other servers, which lie outside the package."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def peers_module(name):
    """One of `benchmarks/peers`."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"benchmarks.peers.{name}")
