"""What a kept answer costs beside the model, and what keeping adds to a request that is computed.

python benchmarks/cache/costs.py [--requests N] [--rounds N] [--json FILE]

Requests go through the same code as over HTTP, from the body's bytes to the answer's, without a
socket. CPU time of this process a request, medians of interleaved rounds with their spread: other
work on the machine moves wall time, and moves this less.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from modelworks.core.caching import AnswerCache
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.block import Block
from modelworks.serving.models import ModelTable
from modelworks.serving.repeated import act_of, infer
from modelworks.testing import onnx_models as models

WAYS = ("no cache", "miss", "hit by bytes", "hit by tensors")
KEPT = 64


class Request:
    """An exchange without a socket."""

    __slots__ = ("answered", "body", "gone", "headers", "on_gone", "received_ns")
    trace = None
    request_id = "r"

    def __init__(self, body, answered):
        self.body = body
        self.headers = {}
        self.gone = False
        self.on_gone = None
        self.answered = answered
        self.received_ns = time.perf_counter_ns()

    def reply(self, status, body, kind, headers=()):
        """Note that it is there."""
        del body, kind, headers
        assert status == 200
        self.answered.set()


def bodies(width, count, blank=""):
    """So many different questions; `blank` makes other bytes of the same tensors."""
    return [
        json.dumps(
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [1, width],
                        "datatype": "FP32",
                        "data": [number + place / 8 for place in range(width)],
                    }
                ]
            }
        ).encode()
        + blank.encode()
        for number in range(count)
    ]


async def asked(live, questions, count):
    """CPU seconds a request."""
    answered = asyncio.Event()
    act = act_of(live, infer)
    began = time.process_time()
    for number in range(count):
        answered.clear()
        body = questions[number % len(questions)]
        act(live, Request(body, answered))
        if not answered.is_set():
            await answered.wait()
    return (time.process_time() - began) / count


async def measured(line, width, requests, rounds):
    """Seconds a request by way: one figure a round."""
    found = {way: [] for way in WAYS}
    fresh = bodies(width, requests)
    few, same = bodies(width, KEPT), bodies(width, KEPT, " ")
    for _ in range(rounds):
        for way in WAYS:
            table = ModelTable(Block(), 1, lambda: None)
            cache = None if way == "no cache" else AnswerCache(1 << 30)
            await table.apply(ServedList(1, (replace(line, cache=cache),)))
            live = table.resolve(line.name)
            try:
                if way.startswith("hit"):
                    await asked(live, few, KEPT)
                if way == "hit by tensors":
                    # Other bytes each time, so that only the tensors are the same.
                    other = [body + b" " * (n // KEPT) for n, body in enumerate(same * 40)]
                    taken = await asked(live, other, len(other))
                elif way == "hit by bytes":
                    taken = await asked(live, few, requests)
                else:
                    taken = await asked(live, fresh, requests)
                found[way].append(taken)
            finally:
                await table.close(5)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path, width in (
            ("double, 30 floats", models.double(Path(folder) / "d.onnx", width=30), 30),
            ("8 layers of 512", models.heavy(Path(folder) / "h.onnx"), 512),
        ):
            line = ServedModel("m", "1.0.0", str(path), "sha256:1")
            requests = given.requests if width == 30 else given.requests // 4
            found = uvloop.run(measured(line, width, requests, given.rounds))
            print(f"{name}: CPU us a request, median (least to most) of {given.rounds} rounds")
            told[name] = {}
            for way, taken in found.items():
                us = sorted(1e6 * one for one in taken)
                told[name][way] = us
                print(f"  {way:15s} {statistics.median(us):8.1f}  ({us[0]:.1f} to {us[-1]:.1f})")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
