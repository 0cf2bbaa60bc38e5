"""The frame: help, exit codes, errors, and that it is light."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from modelworks.cli import main as frame
from modelworks.cli.exits import MEANINGS, Exit, of_error
from modelworks.core import errors

pytestmark = pytest.mark.unit

HEAVY = (
    "alembic",
    "fastapi",
    "jinja2",
    "modelworks.control",
    "numpy",
    "onnxruntime",
    "pydantic",
    "rich",
    "sqlalchemy",
    "urllib3",
    "uvloop",
)


def _python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env=os.environ | environ,
    )


@pytest.mark.real
def test_help_takes_under_150_ms_of_cpu():
    def cpu() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "modelworks.cli.main", "--help"]
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu() for _ in range(5)) < 0.150


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from modelworks.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = _python(code)
    assert done.stderr.strip() == "[]"


def test_import_modelworks_loads_nothing_heavy_and_names_are_lazy():
    code = (
        "import sys, modelworks\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert 'Client' in dir(modelworks)\n"
        "assert modelworks.Client.__name__ == 'Client' and callable(modelworks.serve)\n"
        "assert modelworks.__version__[0].isdigit()\n"
        "try:\n    modelworks.nonsense\nexcept AttributeError as error:\n    print(error)\n"
    )
    done = _python(code)
    assert done.returncode == 0, done.stderr
    assert "nonsense" in done.stdout


def test_help_lists_every_command_and_every_exit_code(type_):
    text = type_("--help").out
    for name, (_, _, short) in frame.COMMANDS.items():
        assert name in text
        assert short.split(",")[0].split(":")[0][:30] in text
    for code in Exit:
        assert str(int(code)) in text
        assert MEANINGS[code].split(" (")[0][:30] in text
    assert "MODELWORKS_HOME" in text


def _commands() -> list[tuple[str, ...]]:
    groups = {"alias", "ci", "environments", "keys", "manifest", "records", "feedback", "reference"}
    groups |= {"alerts", "experiment", "observability", "proxies", "quality", "rollout", "routes"}
    groups |= {"graph", "jobs"}
    return [(name,) for name in frame.COMMANDS if name not in groups] + [
        *(("jobs", name) for name in ("submit", "list", "show", "result", "cancel")),
        *(("graph", name) for name in ("check", "add")),
        ("alias", "set"),
        ("alias", "remove"),
        ("ci", "init"),
        ("observability", "init"),
        ("experiment", "power"),
        *(
            ("optimize", name)
            for name in ("run", "apply", "report", "explain", "recipe", "diverge")
        ),
        ("optimize", "make"),
        ("proxies", "list"),
        *(("rollout", name) for name in ("plan", "start", "status", "watch", "pause", "resume")),
        *(("rollout", name) for name in ("promote", "abort", "history", "report")),
        ("proxies", "write"),
        *(("routes", name) for name in ("check", "share", "key", "revoke")),
        *(("alerts", name) for name in ("lint", "test", "list", "show", "ack")),
        *(("alerts", "silence", name) for name in ("add", "list", "expire")),
        *(("alerts", "rules", name) for name in ("apply", "list", "remove", "export")),
        ("environments", "list"),
        ("environments", "make"),
        ("environments", "remove"),
        ("keys", "add"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("feedback", "import"),
        ("records", "list"),
        ("records", "show"),
        ("records", "export"),
        ("records", "erase"),
        ("records", "compact"),
        ("records", "query"),
        ("records", "forward"),
        *(("records", "receivers", name) for name in ("add", "list", "remove")),
        ("manifest", "lint"),
        ("manifest", "schema"),
        *(("quality", name) for name in ("set", "show", "list", "remove")),
        ("reference", "build"),
        ("reference", "set"),
        ("reference", "list"),
        ("reference", "remove"),
    ]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_has_an_example_and_json(type_, words):
    done = type_(*words, "--help")
    assert done.code == Exit.OK
    assert f"modelworks {' '.join(words)}" in " ".join(done.out.split())[10:]
    assert "--json" in done.out


def test_version(type_):
    assert type_("--version").out.startswith("modelworks 0.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("models", "--bogus"), "No such option"),
        (("show",), "Missing argument 'REF'"),
        (("import", "x"), "--name"),
        (("verify",), "--all"),
        (("serve",), "--file"),
        (("serve", "a", "--file", "b"), "--file"),
        (("serve", "a", "--name", "b"), "--name goes with --file"),
        (("predict", "m"), "--rows or --csv"),
        (("import", "x", "--name", "m", "--bump", "huge"), "huge"),
        (("import", "x", "--name", "m", "--bump", "major", "--version", "1.0.0"), "exclude"),
    ],
)
def test_wrong_use_ends_with_2(type_, words, says):
    plain = type_(*words)
    assert plain.code == Exit.USAGE
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    assert says in plain.err
    assert plain.err.count("\n") == 1
    told = type_(*words, "--json")
    assert told.code == Exit.USAGE
    assert told.json["kind"] == "usage"
    assert told.json["exit_code"] == 2
    assert told.err == ""


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (errors.InvalidError("x", field="f"), 4, "invalid"),
        (errors.RefusedError("x"), 4, "refused"),
        (errors.UnsupportedError("x"), 4, "unsupported"),
        (errors.NotFoundError("x"), 3, "not_found"),
        (errors.ConflictError("x"), 5, "conflict"),
        (errors.UnavailableError("x"), 6, "unavailable"),
        (errors.DeadlineError("x"), 6, "deadline"),
        (errors.MissingExtraError("a", "b", "c"), 7, "missing_extra"),
        (errors.CorruptError("x"), 8, "corrupt"),
        (errors.CrashedError("x"), 1, "crashed"),
        (errors.ModelworksError("x"), 1, "failure"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_code_and_word(error, code, word):
    assert of_error(error) == (code, word)


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Put a command that raises into the table's place."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(as_json: bool) -> None:
        raise error

    monkeypatch.setattr(frame.LazyGroup, "get_command", lambda *_: fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("two\nlines"), Exit.FAILURE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (click.Abort(), Exit.INTERRUPTED),
        (errors.CorruptError("rotten \x1b[31mred"), Exit.CORRUPT),
        (MemoryError(), Exit.FAILURE),
    ],
    ids=repr,
)
def test_no_error_shows_a_traceback_or_drives_the_terminal(type_, monkeypatch, error, code):
    _failing(monkeypatch, error)
    done = type_("models")
    assert done.code == code
    assert "Traceback" not in done.err
    assert done.err.strip().count("\n") == 0  # click moves to a new line after a ^C
    assert "\x1b" not in done.err


def test_debug_shows_the_traceback(type_, monkeypatch):
    _failing(monkeypatch, ValueError("inside"))
    monkeypatch.setenv("MODELWORKS_DEBUG", "1")
    done = type_("models")
    assert done.code == Exit.FAILURE
    assert "Traceback" in done.err
    assert "inside" in done.err


def test_a_field_is_named_in_json(type_, monkeypatch):
    _failing(monkeypatch, errors.InvalidError("bad", field="rows[0].age"))
    assert type_("models", "--json").json == {
        "error": "bad",
        "kind": "invalid",
        "field": "rows[0].age",
        "exit_code": 4,
    }


@pytest.mark.real
def test_a_reader_that_leaves_is_no_failure(filled):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "modelworks.cli.main", "models"],
        check=False,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=os.environ | {"MODELWORKS_HOME": str(filled.root)},
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (Exit.BROKEN_PIPE, "")


def test_sigterm_ends_what_was_begun(tmp_path: Path):
    """A command that is terminated leaves by its `finally`s."""
    code = (
        "import os, signal, sys, click\n"
        "from modelworks.cli import main as frame\n"
        "@click.command()\n"
        "def long():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        signal.pause()\n"
        "    finally:\n"
        "        print('tidied')\n"
        "frame.LazyGroup.get_command = lambda *_: long\n"
        "sys.exit(frame.main(['models']))\n"
    )
    done = _python(code)
    assert done.returncode == Exit.TERMINATED
    assert (done.stdout, done.stderr) == ("tidied\n", "error: terminated\n")


def test_a_missing_library_names_the_command(home):
    code = (
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"  # what Python does for a module that is not there
        "from modelworks.cli.main import main\n"
        "sys.exit(main(['models', '--json']))\n"
    )
    done = _python(code, MODELWORKS_HOME=str(home.root))
    assert done.returncode == Exit.MISSING_EXTRA, done.stderr
    said = json.loads(done.stdout)
    assert said["kind"] == "missing_extra"
    assert 'pip install "modelworks[platform]"' in said["error"]


def test_a_home_that_cannot_be_made_is_said(type_, monkeypatch, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("MODELWORKS_HOME", str(blocked / "home"))
    done = type_("models")
    assert done.code == Exit.UNAVAILABLE
    assert "MODELWORKS_HOME" in done.err


@pytest.mark.real
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_fail_no_command_and_are_never_a_file_of_ours(closed, tmp_path):
    """The first file opened would take the number of stdout, and be printed into."""
    command = f"exec {sys.executable} -m modelworks.cli.main models --json {closed}"
    environ = os.environ | {"MODELWORKS_HOME": str(tmp_path)}
    done = subprocess.run(
        ["/bin/sh", "-c", command], check=False, capture_output=True, timeout=60, env=environ
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "registry.db").read_bytes()[:15] == b"SQLite format 3"


def test_a_home_of_nobody_and_an_empty_file_name_are_said_in_a_line(capsys, monkeypatch):
    monkeypatch.setenv("MODELWORKS_HOME", "~nobody-of-that-name/x")
    assert frame.main(["models"]) == Exit.INVALID
    assert "no such user's home" in capsys.readouterr().err
    assert frame.main(["import", "", "--name", "m"]) == Exit.INVALID
    assert "name a file" in capsys.readouterr().err
