"""What the READMEs tell a stranger to type is typed, in order, in an empty folder."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
SERVER = "http://127.0.0.1:8000"


def commands(readme: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def test_both_languages_tell_the_same_commands():
    assert commands(READMES[0]) == commands(READMES[1])


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_named_exists(readme: str):
    targets = set(re.findall(r"`make ([a-z-]+)`", (ROOT / readme).read_text(encoding="utf-8")))
    targets |= {line.split()[1] for line in commands(readme) if line.startswith("make ")}
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= targets <= known


@pytest.mark.parametrize("readme", READMES)
def test_every_page_linked_exists(readme: str):
    text = (ROOT / readme).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_runs(tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MODELWORKS_HOME": str(tmp_path / "home"),
        "MODELWORKS_SERVER": url,
    }
    work = tmp_path / "work"
    work.mkdir()
    (work / "examples").symlink_to(ROOT / "examples")
    server = None
    ran = 0
    try:
        for line in commands("README.md"):
            if line.startswith("make "):
                continue  # what runs this test, and the demo, which has a test of its own
            if line.endswith(" &"):
                words = [*line.removesuffix(" &").split(), "--port", str(port)]
                server = subprocess.Popen(words, cwd=work, env=env, stderr=subprocess.DEVNULL)
                await_ready(url)
                continue
            done = subprocess.run(
                ["bash", "-c", line.replace(SERVER, url)],
                cwd=work,
                env=env,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            assert done.stdout, line
            ran += 1
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
    assert ran >= 8


def await_ready(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server was not ready within 20 s")
