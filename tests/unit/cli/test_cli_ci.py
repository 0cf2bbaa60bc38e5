"""Pipelines: what their systems take, made of commands that there are, and scripts that work."""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from modelworks.cli.ci.pipeline import EXTRAS, FILES, Holes, pipeline
from modelworks.cli.exits import Exit
from modelworks.cli.main import cli
from modelworks.core.errors import InvalidError

pytestmark = pytest.mark.unit

SYSTEMS = list(FILES)
ROOT = Path(__file__).resolve().parents[3]
PLAN = {"documents": [{"model": "fraud:1.4.0"}, {"model": ""}, {"model": "churn:2.0.0"}]}
MODELWORKS = """#!/bin/sh
echo "$@" >> "$LOG"
case "$1 $*" in
    plan*--json*) cat "$PLAN" ;;
    plan*) echo "honoured spec.replicas"; echo "a warning" >&2; exit "$CODE" ;;
    verify*churn*) exit "$CODE" ;;
esac
"""
GH = """#!/bin/sh
echo "gh $@" >> "$LOG"
case "$*" in
    *--paginate*) echo "$SAID" ;;
    *) cp plan.md said.md ;;
esac
"""
CURL = """#!/bin/sh
echo "curl $@" >> "$LOG"
case "$*" in
    *per_page*) printf '%s\\n' "$SAID" ;;
    *) cp plan.md said.md ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """Run a script as a CI system does, with programs that write down what they were asked."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("modelworks", MODELWORKS), ("gh", GH), ("curl", CURL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "plan").write_text(json.dumps(PLAN))
    work = tmp_path / "work"
    work.mkdir()

    def ran(script, *, shell=("bash", "-e"), code=0, **more):
        environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "LOG": str(tmp_path / "log"),
            "PLAN": str(tmp_path / "plan"),
            "CODE": str(code),
            "MANIFEST": "modelworks.yaml",
            "ENVIRONMENT": "production",
            "REPOSITORY": "registry.example.com/models",
            "BASE": "registry.example.com/python:3",
            **more,
        }
        (tmp_path / "log").write_text("")
        done = subprocess.run(
            [*shell, "-c", script],
            cwd=work,
            env=environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, (tmp_path / "log").read_text(), done.stderr

    ran.work = work
    return ran


def scripts(system):
    """Name of a job or stage -> its shell scripts."""
    text = pipeline(system, Holes())
    if system == "jenkins":
        stages = re.split(r"stage\('(\w+)'\)", text)[1:]
        pairs = zip(stages[::2], stages[1::2], strict=True)
        blocks = r"(?:sh |script: )(?:'''(.*?)'''|'([^'\n]*)')"
        return {n.lower(): [a or b for a, b in re.findall(blocks, s, re.DOTALL)] for n, s in pairs}
    found = yaml.safe_load(text)
    if system == "gitlab":
        return {name: job["script"] for name, job in found.items() if "script" in job}
    jobs = found["jobs"].items()
    return {name: [s["run"] for s in job["steps"] if "run" in s] for name, job in jobs}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_steps_are_there_and_no_hole_is_left(system):
    text = pipeline(
        system, Holes(environment="staging", branch="trunk", base="b.example/x@sha256:1")
    )
    assert re.findall("@[A-Z]+@", text) == []
    for word in ("manifest lint", "plan -f", "verify", "package", "apply -f", "staging"):
        assert word in text
    assert {"lint", "plan", "test", "package", "deploy"} <= scripts(system).keys()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_command_in_it_exists_with_its_options(system):
    said = [line for told in scripts(system).values() for one in told for line in one.splitlines()]
    commands = [
        re.split(r"[<>;|]|2>&1", line[line.index("modelworks ") :])[0]
        for line in said
        if re.search(r"\bmodelworks [a-z]", line) and "plan -->" not in line and "echo" not in line
    ]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command)[1:]
        found = cli
        while isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0))
            assert found is not None, command
        options = {name for one in found.params for name in one.opts}
        assert {word for word in words if word.startswith("-")} <= options, command


def test_the_systems_own_schemas_take_them(tmp_path):
    checks = {
        "github": ["--builtin-schema", "vendor.github-workflows"],
        "gitlab": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    }
    for system, words in checks.items():
        path = tmp_path / f"{system}.yml"
        path.write_text(pipeline(system, Holes()))
        done = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", *words, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_script_is_shell(system):
    for name, told in scripts(system).items():
        for script in told:
            done = subprocess.run(["sh", "-n"], input=script, text=True, check=False)
            assert done.returncode == 0, (name, script)


def test_the_extras_are_ours():
    text = (ROOT / "pyproject.toml").read_text()
    for extra in EXTRAS.split(","):
        assert f"\n{extra} = [" in text


@pytest.mark.parametrize("code", [0, 4])
@pytest.mark.parametrize("said", ["", "17"])
def test_github_says_the_plan_once_and_ends_as_it_did(run, code, said):
    *_, script = scripts("github")["plan"]
    more = {"GITHUB_REPOSITORY": "a/b", "NUMBER": "7", "SAID": said}
    ended, log, _ = run(script, code=code, **more)
    assert ended == code
    where = "-X PATCH repos/a/b/issues/comments/17" if said else "repos/a/b/issues/7/comments"
    assert log.splitlines()[-1] == f"gh api {where} -F body=@plan.md"
    told = (run.work / "said.md").read_text()
    assert told.startswith("<!-- modelworks plan -->")
    assert "honoured spec.replicas\na warning\n" in told


@pytest.mark.parametrize("code", [0, 4])
@pytest.mark.parametrize(
    "said", [[], [{"id": 3, "body": "hi"}, {"id": 17, "body": "<!-- modelworks plan -->\n"}]]
)
def test_gitlab_says_the_plan_once_and_ends_as_it_did(run, code, said):
    (script,) = scripts("gitlab")["plan"]
    more = {"CI_API_V4_URL": "https://g/api/v4", "CI_PROJECT_ID": "1", "PLAN_TOKEN": "secret"}
    more |= {"CI_MERGE_REQUEST_IID": "7", "SAID": json.dumps(said)}
    ended, log, _ = run(script, code=code, **more)
    assert ended == code
    notes = "https://g/api/v4/projects/1/merge_requests/7/notes"
    last = log.splitlines()[-1]
    assert last.endswith(f"--request PUT --form body=<plan.md {notes}/17") == bool(said)
    assert last.endswith(f"--request POST --form body=<plan.md {notes}") == (not said)
    assert "honoured" in (run.work / "said.md").read_text()


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_version_is_packaged_once(run, system):
    if system == "jenkins":
        (run.work / "plan.json").write_text(json.dumps(PLAN))
    script = "\n".join(s for s in scripts(system)["package"] if "pip install" not in s)
    ended, log, said = run(script, REGISTRY_USER="ada", REGISTRY_PASSWORD="it's $ecret")
    assert ended == 0, said
    assert [line for line in log.splitlines() if line.startswith("package")] == [
        f"package {name}:{number} --base registry.example.com/python:3 "
        f"--push registry.example.com/models/{name}"
        for name, number in (("churn", "2.0.0"), ("fraud", "1.4.0"))
    ]
    (kept,) = run.work.parent.glob("tmp.*/config.json")
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    auth = json.loads(kept.read_text())["auths"]["registry.example.com"]["auth"]
    assert base64.b64decode(auth).decode() == "ada:it's $ecret"


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_version_whose_files_are_damaged_ends_the_test(run, system):
    told = [s for s in scripts(system)["test"] if "verify" in s or "plan" in s or "python3 -c" in s]
    shell = ("sh",) if system == "jenkins" else ("bash", "-e")
    ended, log, _ = run("\n".join(told), shell=shell, code=8)
    assert ended == 8
    assert "verify churn:2.0.0" in log
    assert "verify fraud" not in log
    ended, log, _ = run("\n".join(told), shell=shell)
    assert ended == 0
    assert "verify fraud:1.4.0" in log


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_is_written_once(type_, tmp_path, monkeypatch, system):
    monkeypatch.chdir(tmp_path)
    shown = type_("ci", "init", system, "--print")
    assert shown.code == Exit.OK
    assert list(tmp_path.glob(FILES[system])) == []
    path = Path(type_("ci", "init", system, "--json").json["file"])
    assert path.read_text() == shown.out == pipeline(system, Holes())
    path.write_text("mine")
    done = type_("ci", "init", system)
    assert done.code == Exit.CONFLICT
    assert "--force" in done.err
    assert path.read_text() == "mine"
    assert type_("ci", "init", system, "--force", "--branch", "trunk").code == Exit.OK
    assert path.read_text() == pipeline(system, Holes(branch="trunk"))


@pytest.mark.parametrize("value", ["", "a b", "x'", 'x"', "$(id)", "a\nb", "-rf", "x;y", "é"])
def test_what_would_need_quotes_is_refused(value):
    for field in ("manifest", "environment", "branch", "repository", "base", "python"):
        with pytest.raises(InvalidError) as caught:
            pipeline("github", Holes(**{field: value}))
        assert caught.value.field == field


def test_numbers_stay_texts_in_yaml():
    text = pipeline("github", Holes(environment="007", branch="1.0", manifest="no"))
    found = yaml.safe_load(text)
    assert found["env"]["ENVIRONMENT"] == "007"
    assert found[True]["push"]["branches"] == ["1.0"]  # PyYAML reads the key `on` as YAML 1.1 does
    assert found["env"]["MANIFEST"] == "no"
