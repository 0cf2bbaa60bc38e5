"""Run the benchmarks: `make bench`, or `make bench BENCH=--quick`. Exit 1 where a bar is missed."""

import argparse
import json
import sys
from pathlib import Path

import data_plane

RESULTS = Path(__file__).resolve().parent / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    arguments = parser.parse_args()
    document = data_plane.run(quick=arguments.quick)
    print(json.dumps(document, indent=1) if arguments.json else data_plane.table(document))
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(document, indent=1) + "\n"
        (RESULTS / "data_plane.json").write_text(text)
    missed = data_plane.misses(document)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
