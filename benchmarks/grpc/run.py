"""Requests a second by gRPC: ours beside MLServer's, interleaved.

    python -m benchmarks.grpc.run [--rounds 5] [--seconds 3] [--connections 1,8,64]

The model is the peers' small one (a scaler and 100 boosted trees on 30 floats), one request a row,
raw bytes. Each server runs alone on one core, the client on the other; the other server stands
still. A round asks every server at every number of connections; told is the median of the rounds,
and the CPU time that the server's processes took for a request. `--only modelworks` leaves MLServer
out; its environment is made from `benchmarks/peers/servers/mlserver/requirements.lock` where it is
not there yet. The answers are held against onnxruntime's own before anything is timed.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
from benchmarks.grpc.load import load
from benchmarks.peers.environments import cache, environment
from benchmarks.peers.models import make
from benchmarks.peers.peer import Place, free_port
from benchmarks.peers.processes import Tree
from benchmarks.peers.servers.mlserver import adapter as mlserver
from benchmarks.peers.servers.modelworks import adapter as modelworks

from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.oip_grpc.responses import read_answer

PATH = b"/inference.GRPCInferenceService/ModelInfer"
READY_S = 120.0


class Server:
    """One of the two, started and ready.

    Args:
        peer: its adapter.
        model: what it serves.
        core: that it is pinned to.
        folder: of its own.
    """

    def __init__(self, peer, model, core, folder):
        self.name = peer.name
        folder.mkdir()
        python = environment(peer.service).python if peer.folder else Path(sys.executable)
        place = Place(python, folder, model, free_port(), peer.service)
        peer.prepare(place)
        self.port = place.port
        if peer.folder:  # MLServer speaks gRPC on a port of its own
            self.port = json.loads((folder / "settings.json").read_text())["grpc_port"]
        self.tree = Tree(peer.command(place), peer.variables(place), folder, core)
        self.tree.start()
        self.message = request(model)
        self._await(model)

    def _await(self, model):
        end = time.monotonic() + READY_S
        options = [("grpc.initial_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            call = channel.unary_unary(PATH.decode())
            while True:
                try:
                    answer = call(self.message, timeout=5, wait_for_ready=False)
                    break
                except grpc.RpcError as error:
                    if time.monotonic() > end or not self.tree.running():
                        words = self.tree.log_file.read_text()[-2000:]
                        raise RuntimeError(f"{self.name}: {error.details()}\n{words}") from error
                    time.sleep(0.1)
        _, outputs = read_answer(answer)
        for spec, array in outputs:
            wanted = model.answers[0][spec.name]
            np.testing.assert_allclose(array.reshape(wanted.shape), wanted, atol=model.tolerance)


def request(model):
    """The model's first row as a message."""
    row = model.rows[0]
    return CODEC.encode(
        "inference.ModelInferRequest",
        {
            "model_name": "m",
            "inputs": [
                {"name": name, "datatype": "FP32", "shape": list(array.shape)}
                for name, array in row.items()
            ],
            "raw_input_contents": [array.tobytes() for array in row.values()],
        },
    )


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", default="1,8,64")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    counts = [int(each) for each in given.connections.split(",")]
    mine, theirs = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {mine})
    model = replace(make("S", cache()))
    peers = [replace(modelworks.PEERS[0]), mlserver.PEERS[0]]
    peers = [peer for peer in peers if given.only.lower() in peer.name.lower()]
    found = {(peer.name, count): [] for peer in peers for count in counts}
    with tempfile.TemporaryDirectory(prefix="modelworks-grpc-") as folder:
        servers = []
        try:
            for peer in peers:
                servers.append(Server(peer, model, theirs, Path(folder) / peer.name))
                servers[-1].tree.signal(signal.SIGSTOP)
            for _ in range(given.rounds):
                for server in servers:
                    server.tree.signal(signal.SIGCONT)
                    load(server.port, PATH, server.message, 8, 0.5)
                    for count in counts:
                        before = server.tree.cpu_seconds()
                        calls, taken, latencies = load(
                            server.port, PATH, server.message, count, given.seconds
                        )
                        used = (server.tree.cpu_seconds() - before) / calls * 1e6
                        p99 = latencies[int(len(latencies) * 0.99)] * 1e3
                        found[server.name, count].append((calls / taken, used, p99))
                    server.tree.signal(signal.SIGSTOP)
        finally:
            for server in servers:
                server.tree.signal(signal.SIGCONT)
                server.tree.end()
    print("| server | connections | requests/s | CPU a request, us | p99, ms |")
    print("|---|---|---|---|---|")
    for (name, count), rounds in found.items():
        rate, used, p99 = (statistics.median(each) for each in zip(*rounds, strict=True))
        print(f"| {name} | {count} | {rate:,.0f} | {used:.0f} | {p99:.2f} |")
    for count in counts if len(peers) == 2 else ():
        ours, other = (
            statistics.median(one[0] for one in found[peer.name, count]) for peer in peers
        )
        print(f"{count} connections: {ours / other:.1f} times MLServer's requests/s")


if __name__ == "__main__":
    main()
