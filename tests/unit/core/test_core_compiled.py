"""Which form of the request path runs is told truly."""

from pathlib import Path

import pytest

from modelworks.core.compiled import compiled
from modelworks.serving import batcher, cost, infer

pytestmark = pytest.mark.unit


def test_it_tells_what_was_imported():
    suffixes = {Path(module.__file__).suffix for module in (cost, infer, batcher.batcher)}
    assert suffixes == ({".so"} if compiled() else {".py"})


def test_a_checkout_has_no_compiled_module_beside_its_source():
    import modelworks

    here = Path(modelworks.__file__).parent
    if (here.parent.parent / "pyproject.toml").exists():
        assert not list(here.rglob("*.so"))
