"""Ask a server: until it answers, whether it answers rightly, and as fast as it can."""

import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
from benchmarks.peers.environments import MissingError

SCRIPT = Path(__file__).resolve().parent / "post.lua"
READY_S = 240.0
ANSWER_S = 60.0
AT_A_TIME = 8


class WrongError(MissingError):
    """A server's answer is not onnxruntime's."""


def once(port, wire, row):
    """One request on a connection of its own.

    Raises:
        OSError, HTTPException: no answer.
        WrongError: not 200, or not what the wire says.
    """
    headers, body = wire.encode(row)
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("POST", wire.path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise WrongError(
            f"{answer.status}: {' '.join(found[:200].decode(errors='replace').split())}"
        )
    try:
        return wire.decode({k.lower(): v for k, v in answer.getheaders()}, found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WrongError(f"{error!r} in {found[:120]!r}") from None


def same(found, wanted, tolerance):
    """Whether an answer holds every output that onnxruntime gives, and the same numbers."""
    return all(
        name in found
        and np.size(found[name]) == value.size
        and np.allclose(np.ravel(found[name]), value.ravel(), atol=tolerance, rtol=0)
        for name, value in wanted.items()
    )


def check(port, wire, model):
    """Every row, some at a time so that batches are made, has onnxruntime's answer.

    Raises:
        WrongError: one had not.
    """

    def one(pair):
        row, wanted = pair
        try:
            return same(once(port, wire, row), wanted, model.tolerance)
        except (OSError, HTTPException) as error:
            raise WrongError(f"no answer: {error!r}") from None

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        good = list(threads.map(one, zip(model.rows, model.answers, strict=True)))
    if not all(good):
        raise WrongError(f"{good.count(False)} of {len(good)} answers are not onnxruntime's")


def until_ready(tree, port, wire, model, seconds=READY_S):
    """Seconds from now to the first right answer.

    Raises:
        MissingError: it ended, or gave none in time.
    """
    began, last = time.monotonic(), "nothing listens"
    while time.monotonic() < began + seconds:
        if tree.process.poll() is not None and not tree.pids():
            raise MissingError(f"ended with {tree.process.returncode}: {tree.words()}")
        try:
            if same(once(port, wire, model.rows[0]), model.answers[0], model.tolerance):
                return time.monotonic() - began
            last = "a wrong answer"
        except (OSError, HTTPException, WrongError) as error:
            last = str(error) or repr(error)
        time.sleep(0.05)
    raise MissingError(f"not ready in {seconds:.0f} s ({last}): {tree.words()}")


def write_requests(path, wire, model):
    """The file that `post.lua` reads."""
    with path.open("wb") as file:
        for row in model.rows:
            headers, body = wire.encode(row)
            file.write(f"{len(headers)} {len(body)}\n".encode())
            file.writelines(f"{name}: {value}\n".encode() for name, value in headers.items())
            file.write(body)


def wrk(port, wire, requests, connections, seconds, core):
    """One round: what wrk saw.

    Raises:
        MissingError: wrk itself failed.
    """
    command = [
        *("taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"),
        *("--timeout", f"{ANSWER_S:.0f}s", "-s", str(SCRIPT)),
        f"http://127.0.0.1:{port}{wire.path}",
    ]
    try:
        done = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "REQUESTS": str(requests)},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"wrk did not end in {seconds + ANSWER_S:.0f} s") from None
    if done.returncode:
        raise MissingError(f"wrk: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout.splitlines()[-1])


def tools():
    """Programs that the harness itself lacks here."""
    return [name for name in ("wrk", "taskset") if shutil.which(name) is None]
