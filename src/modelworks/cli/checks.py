"""What `doctor` looks at: one function a subject, each returning findings. Changes nothing."""

import importlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from modelworks.cli import human, store_checks
from modelworks.cli.findings import Finding, State
from modelworks.client import endpoints
from modelworks.core.compiled import compiled
from modelworks.core.errors import MissingExtraError, ModelworksError
from modelworks.core.home import Home, Stores
from modelworks.plugins import load
from modelworks.sandbox import environments as kept

_NEED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)")
_EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[\w-]+)['"]""")
ROOM_BYTES = 2_000_000_000

# Where the module's name is not the distribution's.
_MODULES = {
    "mypy-extensions": "mypy_extensions",
    "protobuf": "google.protobuf",
    "pysimdjson": "simdjson",
}


def python() -> list[Finding]:
    """The interpreter and the machine."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        Finding(
            "python",
            State.OK if fits else State.BROKEN,
            f"{version} on {platform.system()} {platform.machine()}, {cores} cores",
            "" if fits else "install Python 3.11, 3.12 or 3.13",
        ),
        Finding(
            "request path",
            State.OK,
            "compiled" if compiled() else "Python; a released wheel has it compiled, and is faster",
        ),
    ]


def base() -> list[Finding]:
    """The base install's libraries, each imported."""
    found, broken = [], []
    for name in _needs()[""]:
        try:
            importlib.import_module(_MODULES.get(name, name))
        except ImportError as error:
            broken.append(Finding("base", State.BROKEN, f"{name}: {error}", f"pip install {name}"))
        else:
            found.append(f"{name} {metadata.version(name)}")
    return [Finding("base", State.OK, ", ".join(found)), *broken]


def extras() -> list[Finding]:
    """Each pip extra: whole, or what is missing."""
    findings = []
    for name, wanted in sorted(_needs().items()):
        missing = _missing(name)
        if name in {"", "all"}:
            continue
        if missing:
            cure = f'pip install "modelworks[{name}]"'
            detail = f"not installed: {', '.join(missing)}"
            findings.append(Finding(f"extra {name}", State.NOTE, detail, cure))
        else:
            own = [n for n in wanted if name == "platform" or n not in _needs()["platform"]]
            detail = ", ".join(f"{need} {_version(need)}" for need in own)
            findings.append(Finding(f"extra {name}", State.OK, detail))
    return findings


def plugins() -> list[Finding]:
    """Importers and engines by entry point, each loaded."""
    findings = []
    for group in load.GROUPS:
        for name in sorted(load.available(group)):
            subject = f"{group[:-1]} {name}"
            try:
                plugin = load.load(group, name)
            except MissingExtraError as error:
                what, _, cure = error.message.partition(": ")
                findings.append(Finding(subject, State.NOTE, what, cure))
                continue
            except (ModelworksError, ImportError, AttributeError) as error:
                cure = "pip install --force-reinstall modelworks"
                findings.append(Finding(subject, State.BROKEN, str(error), cure))
                continue
            missing = _missing(plugin.extra) if group == "importers" else []
            if missing:
                cure = f'pip install "modelworks[{plugin.extra}]"'
                detail = f"cannot run here: no {', '.join(missing)}"
                findings.append(Finding(subject, State.NOTE, detail, cure))
            else:
                known = getattr(plugin, "facts", plugin)  # those of a pass stand together
                detail = ", ".join(getattr(known, "consumes", getattr(known, "formats", ())))
                findings.append(Finding(subject, State.OK, detail, experimental=known.experimental))
    return findings


def sandbox() -> list[Finding]:
    """Which walls a worker process can put around itself on this system."""
    code = (
        "import json, pathlib, tempfile\n"
        "from modelworks.sandbox.isolate import isolate\n"
        "from modelworks.sandbox.limits import Limits\n"
        "work = pathlib.Path(tempfile.gettempdir())\n"
        "walls = isolate(work, (), Limits())\n"
        "print(json.dumps({'walls': {'network': walls.network, 'files': walls.files,"
        " 'processes': walls.processes, 'privileges': walls.privileges},"
        " 'reasons': walls.reasons}))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
        )
        data = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return [Finding("sandbox", State.BROKEN, f"no worker process runs: {error}")]
    stands = [name for name, there in data["walls"].items() if there]
    open_walls = [name for name, there in data["walls"].items() if not there]
    detail = f"stands: {', '.join(stands) or 'nothing'}"
    if not open_walls:
        return [Finding("sandbox", State.OK, detail)]
    detail += f"; open: {', '.join(open_walls)} ({'; '.join(data['reasons'])})"
    cure = "import pickles on Linux with user namespaces and Landlock, or as root"
    return [Finding("sandbox", State.NOTE, detail, cure)]


def folder(home: Home) -> list[Finding]:
    """The data folder, and room on its disk."""
    probe = next(path for path in (home.root, *home.root.parents) if path.exists())
    if not os.access(probe, os.W_OK | os.X_OK) or not probe.is_dir():
        cure = "choose another with MODELWORKS_HOME"
        return [Finding("home", State.BROKEN, f"{home.root} cannot be written", cure)]
    free = shutil.disk_usage(probe).free
    made = "" if home.root.exists() else " (not made yet)"
    tight = free < ROOM_BYTES
    return [
        Finding(
            "home",
            State.NOTE if tight else State.OK,
            f"{home.root}{made}, {human.size(free)} free",
            "make room, or choose another disk with MODELWORKS_HOME" if tight else "",
        )
    ]


def environments(home: Home) -> list[Finding]:
    """Python environments of their own, and what they take."""
    found = kept.listed(home.environments)
    detail = ", ".join(
        f"{kept.short(one.requirements)} ({human.size(one.size_bytes)})" for one in found
    )
    cure = "" if found else "modelworks environments make keras, for a machine without a network"
    return [Finding("environments", State.OK, detail or "none made yet", cure)]


def ports(home: Home) -> list[Finding]:
    """The default ports, and the servers that run already."""
    findings = []
    for port, flag in ((8000, "--port"), (8080, "--control-port")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                detail, cure = f"taken: {error.strerror}", f"choose another with {flag}"
                findings.append(Finding(f"port {port}", State.NOTE, detail, cure))
            else:
                findings.append(Finding(f"port {port}", State.OK, "free"))
    for one in endpoints.listed(home):
        detail = f"{one.kind} at {one.url}, pid {one.pid}"
        findings.append(Finding(f"running {one.name}", State.OK, detail))
    return findings


def system() -> list[Finding]:
    """Shared memory and the programs that some work is better with."""
    shm = Path("/dev/shm")  # noqa: S108 - asked about, not written to
    usable = shm.is_dir() and os.access(shm, os.W_OK)
    size = human.size(shutil.disk_usage(shm).free) if usable else ""
    cure = "" if usable else "mount a tmpfs there; in Docker: --shm-size 256m"
    state = State.OK if usable else State.NOTE
    detail = f"{size} free" if usable else "not there, or not writable"
    findings = [Finding("shared memory", state, detail, cure)]
    for program, use in (("git", "lineage"), ("curl", "trying things"), ("wrk", "benchmarks")):
        path = shutil.which(program)
        cure = "" if path else f"apt-get install {program}, for {use}"
        state = State.OK if path else State.NOTE
        findings.append(Finding(program, state, path or "not installed", cure))
    return findings


def everything(home: Home, stores: Stores) -> list[Finding]:
    """All of them, in the order of the report."""
    return [
        *python(),
        *base(),
        *extras(),
        *plugins(),
        *sandbox(),
        *folder(home),
        *environments(home),
        *store_checks.stores(home, stores),
        *ports(home),
        *system(),
    ]


def _needs() -> dict[str, list[str]]:
    """Extra -> the distributions that it names itself; the base install is the extra ''."""
    found: dict[str, list[str]] = {"": []}
    for line in metadata.requires("modelworks") or ():
        match, extra = _NEED.match(line), _EXTRA.search(line)
        if match is None or ("win32" in line and platform.system() == "Windows"):
            continue
        wanted = found.setdefault(extra["extra"] if extra else "", [])
        if match["name"] != "modelworks":
            wanted.append(match["name"])
    return found


def _missing(extra: str) -> list[str]:
    """What an extra lacks here; every framework's extra brings `platform` along."""
    needs = _needs()
    wanted = dict.fromkeys((*needs.get(extra, ()), *needs["platform"]))
    return [need for need in wanted if _version(need) is None]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
