"""What the way around a language model costs: the engine alone, and OpenAI's API over the loopback.

    python benchmarks/language/tokens.py [--seconds 3]

The model is the one that tests make by hand: a step of it takes next to nothing, so what is seen is
the way, not the model.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from modelworks.core.generation import Prompt, Sampling
from modelworks.core.seams import EngineOptions
from modelworks.core.served import ServedModel
from modelworks.plugins.load import load
from modelworks.testing.generating import Told
from modelworks.testing.servers import Server, serve_list
from tiny_decoder import tiny_decoder

LOOP = " two three two three two"  # goes on until it is stopped
TOKENS = 100


def alone(folder: Path, seconds: float) -> tuple[list[float], float]:
    """Milliseconds to the first piece, and tokens a second, of the engine."""
    session = load("engines", "genai")().load(folder, EngineOptions())
    firsts, made, began = [], 0, time.perf_counter()
    sampling = Sampling(max_tokens=TOKENS, temperature=0.0)
    while time.perf_counter() < began + seconds:
        told, start = Told(), time.perf_counter()
        session.generate(Prompt(LOOP), sampling, told)
        told.first.wait()
        firsts.append(1000 * (time.perf_counter() - start))
        told.wait()
        made += TOKENS
    taken = time.perf_counter() - began
    session.close()
    return firsts, made / taken


def client(port: int, end: float, firsts: list[float], made: list[int]) -> None:
    """Streams one after the other until `end`."""
    body = {"model": "story", "prompt": LOOP, "max_tokens": TOKENS, "stream": True}
    data = json.dumps(body | {"temperature": 0})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while time.perf_counter() < end:
        start = time.perf_counter()
        connection.request("POST", "/v1/completions", data)
        answer = connection.getresponse()
        answer.readline()
        firsts.append(1000 * (time.perf_counter() - start))
        text = answer.read()
        assert text.endswith(b"data: [DONE]\n\n"), text[-200:]
        made.append(TOKENS)
    connection.close()


def served(folder: Path, clients: int, seconds: float) -> tuple[list[float], float]:
    """The same over the loopback, by so many clients at once."""
    line = ServedModel("story", "1.0.0", str(folder), "sha256:0", format="genai", engine="genai")
    listed = serve_list(folder.parent / "served.json", [line])
    with Server(["--served", str(listed)]) as server:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("GET", "/v2/health/ready")
            ready = connection.getresponse().status == 200
            connection.close()
            if ready:
                break
            time.sleep(0.05)
        firsts: list[float] = []
        made: list[int] = []
        began = time.perf_counter()
        threads = [
            threading.Thread(target=client, args=(server.port, began + seconds, firsts, made))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return firsts, sum(made) / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as place:
        folder = tiny_decoder(Path(place) / "story")
        rows = [("engine alone", alone(folder, seconds))]
        rows += [(f"API, {n} clients", served(folder, n, seconds)) for n in (1, 8, 32)]
    print("| way | first token, ms (p50, p99) | tokens a second |\n|---|---|---|")
    for name, (firsts, rate) in rows:
        p99 = statistics.quantiles(firsts, n=100)[98] if len(firsts) > 1 else firsts[0]
        print(f"| {name} | {statistics.median(firsts):.2f}, {p99:.2f} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
