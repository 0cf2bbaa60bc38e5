"""What the demo says when a command of its own does not end, or ends badly."""

import pytest

from modelworks.cli.demo import shell
from modelworks.cli.output import Output
from modelworks.core.errors import CrashedError, DeadlineError

pytestmark = pytest.mark.unit


@pytest.fixture
def typed(tmp_path):
    return shell.Shell(Output(as_json=True), tmp_path, {})


def test_a_command_that_does_not_end_is_one_line(typed, monkeypatch):
    monkeypatch.setattr(shell, "COMMAND_SECONDS", 0.2)
    with pytest.raises(DeadlineError, match=r"python was not finished within 0 s: is the machine"):
        typed.python("-c", "import time; time.sleep(60)")


def test_a_command_that_fails_says_its_last_words(typed):
    with pytest.raises(CrashedError, match="python ended with code 1: last words"):
        typed.python("-c", "import sys; sys.exit('first\\nlast words')")
    assert typed.python("-c", "print(7)") == "7\n"
