"""Which commit an import ran at."""

import os
import subprocess

import pytest

from modelworks.client import git

pytestmark = pytest.mark.unit


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()

    def run(*arguments):
        options = (
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "commit.gpgsign=false",
        )
        subprocess.run(["git", "-C", folder, *options, *arguments], check=True, capture_output=True)

    run("init", "-b", "trunk")
    return folder, run


def test_commit_and_branch(repository):
    folder, run = repository
    assert git.position(folder) == ("", "")  # no commit yet
    (folder / "a").write_text("1")
    run("add", "a")
    run("commit", "-m", "first")
    commit, branch = git.position(folder)
    assert len(commit) == 40
    assert branch == "trunk"
    (folder / "b").write_text("not tracked")
    assert git.position(folder) == (commit, "trunk")
    (folder / "a").write_text("2")
    assert git.position(folder) == (f"{commit}-dirty", "trunk")
    run("checkout", "--detach", "--force")
    assert git.position(folder) == (commit, "")


def test_no_repository_is_quiet(tmp_path):
    assert git.position(tmp_path) == ("", "")
    assert git.position(tmp_path / "nowhere") == ("", "")


def test_no_git_is_quiet(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.position(tmp_path) == ("", "")


def test_a_git_that_hangs_is_left(tmp_path, monkeypatch):
    hanging = tmp_path / "git"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "_SECONDS", 0.1)
    assert git.position(tmp_path) == ("", "")
