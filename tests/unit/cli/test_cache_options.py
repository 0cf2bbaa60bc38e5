"""`modelworks serve --cache` and `--sequences`: checked before a server is started."""

from pathlib import Path

import click
import pytest

from modelworks.cli.keeping import keeping_options
from modelworks.core.errors import InvalidError

pytestmark = pytest.mark.unit
STATED = '{"state": [{"input": "h", "output": "h_out"}]}'


def told(*arguments):
    @click.command()
    @keeping_options
    def serve(kept):
        return kept

    return serve.main(list(arguments), standalone_mode=False)


def test_what_a_server_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("states.json").write_text(STATED)
    assert told() == ()
    assert told("--cache", "on") == ("--cache", "on")
    assert told("--cache", '{"ttl_s": 1}') == ("--cache", '{"ttl_s": 1}')
    assert told("--sequences", "states.json") == ("--sequences", str(tmp_path / "states.json"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cache", "nowhere"], "nowhere cannot be read"),
        (["--sequences", '{"state": []}'], "none is named"),
        (["--sequences", STATED, "--cache", "on"], "say one of them"),
    ],
)
def test_what_is_refused(arguments, said):
    with pytest.raises(InvalidError, match=said):
        told(*arguments)
