"""A pass of another version: forms that it made before are not those that it makes now."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from modelworks.core import codec
from modelworks.core.optimizing.passes import Applied
from modelworks.core.optimizing.recipes import Recipe
from modelworks.optimize.applying import Stock, Workshop
from modelworks.optimize.forms import Form
from modelworks.optimize.memory import Cache
from optimize_fakes import HARDWARE, SIGNATURE, facts, recipe

OLD = facts("rounds")
NEW = replace(OLD, version=2)


def form_of(cache: Cache, source: Form, version, asked: Recipe) -> tuple[str, bool, Workshop]:
    """What lies in the form, whether the pass was run for it, and by which workshop."""
    ran = []

    def runner(job, progress):
        del progress
        ran.append(job)
        (Path(job.arguments["job"]["into"]) / "model").write_text(f"by {version.version}")
        return SimpleNamespace(value={"applied": codec.encode(Applied("onnx"))})

    stock = Stock(SIGNATURE, "sha256:0", HARDWARE)
    shop = Workshop(cache, {"rounds": version}, source, stock, runner)
    made = shop.make(asked, math.inf, lambda _: None)
    assert isinstance(made, Form)
    return (made.folder / "model").read_text(), bool(ran), shop


def test_a_form_in_the_cache_is_of_its_version(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model").write_text("source")
    source = Form(Recipe(), folder, "onnx", SIGNATURE)
    with Cache(tmp_path / "cache") as cache:
        assert form_of(cache, source, OLD, recipe("rounds"))[:2] == ("by 1", True)
        assert form_of(cache, source, NEW, recipe("rounds"))[:2] == ("by 2", True)
    with Cache(tmp_path / "cache") as cache:
        assert form_of(cache, source, OLD, recipe("rounds"))[:2] == ("by 1", False)
        text, ran, shop = form_of(cache, source, NEW, recipe("rounds"))
        assert (text, ran) == ("by 2", False)
    assert [step.version for step in shop.stamped(recipe("rounds")).steps] == [2]
