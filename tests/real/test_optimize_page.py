"""The front of a run in a browser: menus move the points, a point lights its row."""

import pytest

from browsers import chromium
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.optimizing.variants import (
    BatchTime,
    Ending,
    Finding,
    Goal,
    Hardware,
    Measurement,
)
from modelworks.optimize.page import html
from modelworks.optimize.run import Run

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
HERE = Hardware("Some Processor", ("avx2",), 2, "x86-64 avx2")


def measured(first, second, size):
    times = tuple(
        BatchTime(rows, ratio, ratio, ratio, (1.0,) * 3, (1.0,) * 3, 9.0, 50)
        for rows, ratio in ((1, first), (16, second))
    )
    return Measurement(HERE, 1, times, 0.01, 1_000_000, size)


def test_the_front_answers_its_menus_and_its_points():
    forms = {"int8": measured(2.0, 3.0, 1_000_000), "fp16": measured(0.7, 1.5, 2_000_000)}
    recipes = {name: Recipe((RecipeStep(name),), Execution("onnxruntime")) for name in forms}
    found = tuple(
        Finding(recipes[name], Ending.KEPT if name == "int8" else Ending.SLOWER, "", (), form)
        for name, form in forms.items()
    )
    source = measured(1.0, 1.0, 4_000_000)
    text = html(Run("r", "net:1.0.0", "sha256:0", Goal(), HERE, source=source, findings=found))
    with chromium() as browser:
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - a bound method has no room for its mark
        page.on("request", lambda request: errors.append(request.url))
        page.set_content(text)
        dot = page.locator(f"circle[data-key='{recipes['fp16'].id}']")
        before = float(dot.get_attribute("cx"))
        own = float(page.locator("circle[data-key='source']").get_attribute("cx"))
        assert before < own  # slower than the source form at one row
        page.locator("#front select").first.select_option(label="times faster at 16 rows")
        after = float(dot.get_attribute("cx"))
        assert after > float(page.locator("circle[data-key='source']").get_attribute("cx"))
        dot.click()
        assert "fp16" in page.locator("#front-said").inner_text()
        row = page.locator(f"#f-{recipes['fp16'].id}")
        assert "lit" in row.get_attribute("class")
        assert errors == []
