"""Looking for pip changes nothing in the process that looks."""

import sys
from types import ModuleType

import pytest

from modelworks.sandbox import install

pytestmark = pytest.mark.unit


def test_distutils_that_somebody_loaded_stays_when_pip_is_looked_for(monkeypatch):
    """Setuptools' finder would warn, which is an error here, and drop it."""
    loaded = ModuleType("distutils")
    monkeypatch.setitem(sys.modules, "distutils", loaded)
    monkeypatch.setattr(install, "_uv", lambda: None)
    assert install.pip_is_here()
    assert sys.modules["distutils"] is loaded
