"""The page of commands names every command, and its tables hold together."""

import re
from pathlib import Path

import pytest

from modelworks.cli.main import COMMANDS

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[3] / "docs" / "command-line.md"


def test_every_command_is_on_the_page():
    page = PAGE.read_text()
    assert [name for name in COMMANDS if not re.search(rf"`modelworks {name}[ `\[]", page)] == []


def test_no_bar_cuts_a_row_of_the_page():
    width, crooked = 0, []
    for line in PAGE.read_text().splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        width = cells and (width or cells)
        if cells != width:
            crooked.append(line)
    assert crooked == []
