"""Run the benchmarks: `make bench`, or `make bench BENCH=--quick`. Exit 1 where a bar is missed."""

import argparse
import json
import sys
from pathlib import Path

import data_plane

RESULTS = Path(__file__).resolve().parent / "results"
WORDS = {True: "met", False: "MISSED", None: "no verdict: too noisy a machine"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four short rounds")
    parser.add_argument("--json", action="store_true", help="print the document")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    arguments = parser.parse_args()
    document = data_plane.run(quick=arguments.quick)
    verdicts = data_plane.verdicts(document)
    document["verdicts"] = {sentence: WORDS[verdict] for sentence, verdict in verdicts}
    print(json.dumps(document, indent=1) if arguments.json else data_plane.table(document))
    if arguments.save:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(document, indent=1) + "\n"
        (RESULTS / "data_plane.json").write_text(text)
    for sentence, verdict in verdicts:
        print(f"{WORDS[verdict]}: {sentence}", file=sys.stderr)
    return 1 if any(verdict is False for _, verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
