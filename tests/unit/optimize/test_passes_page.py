"""docs/passes.md has every pass of this installation, and no other."""

import re
from pathlib import Path

from modelworks.plugins.load import available

PAGE = Path(__file__).parents[3] / "docs/passes.md"


def test_every_pass_has_a_row():
    table = PAGE.read_text().partition("## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == available("passes").keys()
