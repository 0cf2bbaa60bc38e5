"""What tests of recording share: a server's logger, its counters, what lies in its segments."""

import contextlib
import http.client
import time
from pathlib import Path

from modelworks.measure.processes import tree
from modelworks.protocol.records import read_segment
from modelworks.protocol.records.segments import recover


def records(folder):
    """Everything that lies there, dead loggers' last words too."""
    segments = folder / "segments"
    recover(segments)
    return [one for path in sorted(segments.iterdir()) for one in read_segment(path)]


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about in time")


def gone(pid):
    """Whether a process has ended; nobody may have asked it how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def loggers_of(server):
    found = []
    for pid in tree([server.pid]) - {server.pid}:
        with contextlib.suppress(OSError):
            if b"modelworks.apps.logger" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if not gone(pid)]


def ended(server):
    """Let it drain, and its logger write what it has: that may outlast the server."""
    loggers = loggers_of(server)
    server.terminate()
    assert server.wait() == 0
    until(lambda: all(map(gone, loggers)))


def counts(address):
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line for line in text.splitlines() if line.startswith("modelworks_records_total")]
    return {line.split('outcome="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}
