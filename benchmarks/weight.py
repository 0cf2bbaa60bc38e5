"""What the base install weighs: megabytes, packages, and CPU time of `modelworks --help`.

    python benchmarks/weight.py [--json]

Builds the wheel, installs it into a fresh environment (the package index must be reachable) and
counts the regular files of site-packages, pip and setuptools left out. About one minute.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {"pip", "setuptools"}
BARS = {"megabytes": 200, "packages": 20, "help_cpu_ms": 150}


def help_cpu_ms(program: Path) -> float:
    """CPU milliseconds of `modelworks --help`, the smallest of seven runs."""
    times = []
    for _ in range(7):
        process = subprocess.Popen([program, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"weight: modelworks --help ended with {process.returncode}")
        times.append((usage.ru_utime + usage.ru_stime) * 1000)
    return min(times)


def measure(folder: Path) -> dict[str, float]:
    """Install the wheel under `folder` and weigh it."""
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "-w", folder / "dist", ROOT], check=True, stderr=subprocess.DEVNULL)
    built = next((folder / "dist").glob("*.whl"))
    install = [python, "-m", "pip", "install", "-q", built]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True
    )
    names = {item["name"] for item in json.loads(listed.stdout)} - NOT_OURS
    packages = next((folder / "lib").glob("python3*")) / "site-packages"
    skipped = tuple(str(packages / name) for name in NOT_OURS)
    size = sum(
        path.lstat().st_size
        for path in packages.rglob("*")
        if path.is_file() and not str(path).startswith(skipped)
    )
    return {
        "megabytes": round(size / 1e6, 1),
        "packages": len(names),
        "help_cpu_ms": round(help_cpu_ms(folder / "bin" / "modelworks"), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name))
    if arguments.json:
        print(json.dumps({key: {"measured": found[key], "bar": bar} for key, bar in BARS.items()}))
        return
    for key, bar in BARS.items():
        print(f"{key:12} {found[key]:8}   bar {bar}: {'met' if found[key] <= bar else 'MISSED'}")


if __name__ == "__main__":
    main()
