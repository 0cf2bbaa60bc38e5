"""`jax_export` where JAX is installed: in the environment that JAX's functions are imported in."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

import environments
from modelworks.core.errors import ModelworksError
from modelworks.ext.importers.jax import pins
from modelworks.sandbox import environments as own

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(900)]

INNER = """
import sys
sys.path.append(sys.argv[1])
import pytest
quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore"]
sys.exit(pytest.main([*quiet, *sys.argv[2:]]))
"""


def test_the_contract_of_passes_holds_where_jax_is(tmp_path):
    """The suite runs in JAX's environment; pytest is ours, last on its path."""
    try:
        python = own.make(pins.requirements(), environments.kept())
    except ModelworksError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(error.message)
        pytest.skip(error.message)
    tests = Path(__file__).resolve().parents[1]
    suite = tests / "inner" / "jax_pass_contract.py"
    command = [python, "-c", INNER, sysconfig.get_path("purelib"), str(suite), "--noconftest"]
    env = os.environ | {"PYTHONPATH": str(tests.parent / "src"), "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=800, env=env, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert "passed" in done.stdout
