"""Which lines an environment is made from, and what an installer's failure means."""

from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError, UnavailableError
from modelworks.sandbox import environments
from modelworks.sandbox.install import explain

pytestmark = pytest.mark.unit


def test_lines_are_sorted_without_comments():
    text = ["# all", "", "numpy==2.4.6  # why", "pandas[parquet]>=2,<3", "numpy==2.4.6",
            "six; python_version < '3.13'", "torch==2.13.0+cpu", "scikit-learn ~= 1.9"]  # fmt: skip
    assert environments.requirements(text) == (
        "numpy==2.4.6", "pandas[parquet]>=2,<3", "scikit-learn ~= 1.9",
        "six; python_version < '3.13'", "torch==2.13.0+cpu",
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt", "--index-url http://x", "-e .", "--extra-index-url=x", "./wheel.whl",
        "/tmp/x.whl", "git+https://x/y", "x @ https://x/y.whl", "https://x/y.whl", "x==1\nos",
        "x; import os\\", "--no-deps x", "x==$(id)", "x" * 400, "..", "x==1 --hash=sha256:00",
    ],
)  # fmt: skip
def test_options_addresses_and_paths_are_refused(line):
    with pytest.raises(InvalidError, match="is no requirement") as caught:
        environments.requirements([line])
    assert caught.value.field == "requirements"


def test_the_name_depends_on_what_is_in_it_and_not_on_the_order():
    one = environments.name_of(("a==1", "b==2"))
    assert one == environments.name_of(("b==2", "a==1", "a==1"))
    assert one != environments.name_of(("a==1", "b==2", environments.WHOLE))
    assert len(one) == 32


def test_nothing_is_listed_where_nothing_is(tmp_path):
    assert environments.listed(tmp_path / "absent") == []
    (tmp_path / "half").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "modelworks-environment.json").write_text("{}")
    assert environments.listed(tmp_path) == []


OFFLINE = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(<x>: "
    "[Errno -3] Temporary failure in name resolution')': /simple/x/\n"
    "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n"
    "ERROR: No matching distribution found for x==1\n"
)
NONE = (
    "Looking in indexes: https://user:secret@index.example/simple\n"
    "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 1, 2)\n"
    "ERROR: No matching distribution found for x==9\n"
)
CLASH = (
    "ERROR: Cannot install a==1 and b==2 because these package versions have conflicting "
    "dependencies.\nERROR: ResolutionImpossible: for help visit https://pip.example\n"
)
UV = (
    "  x No solution found when resolving dependencies:\n  `-> Because a==1 depends on c==1 "
    "and b==2 depends on c==2, we can conclude that a==1 and b==2 are incompatible.\n"
)
UV_NONE = (
    "  x No solution found when resolving dependencies:\n  `-> Because there is no version of x==9 "
    "and you require x==9, we can conclude that your requirements are unsatisfiable.\n"
)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (OFFLINE, UnavailableError, "--wheels DIR"),
        (NONE, InvalidError, "no wheel of x==9 is to be had"),
        (CLASH, InvalidError, r"contradict each other \(a==1 and b==2\)"),
        (UV, InvalidError, "contradict each other"),
        (UV_NONE, InvalidError, "no wheel of x==9"),
        ("OSError: [Errno 28] No space left on device", UnavailableError, "free some"),
        ("something else", UnavailableError, "something else"),
        ("", UnavailableError, "no word of why"),
    ],
)
def test_a_failure_is_one_line_with_its_cure(text, kind, says):
    error = explain(text)
    assert type(error) is kind
    assert "\n" not in error.message
    assert "secret" not in error.message
    with pytest.raises(kind, match=says):
        raise error


def test_where_only_a_folder_was_asked_it_is_named():
    assert "is in /media/wheels" in explain(NONE, Path("/media/wheels")).message
    assert "is in /media/wheels" in explain(OFFLINE, Path("/media/wheels")).message
