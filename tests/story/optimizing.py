"""The story's part on forms: a faster one is looked for, and what is kept answers alike."""

import csv

import numpy as np

from desk import Desk, predict


def look_for_a_faster_form(desk: Desk) -> None:
    """The boosted trees, by two passes: what is kept is a variant that answers as they do."""
    numbers, labels = desk.notes["numbers"], desk.notes["trees"]
    with (desk.folder / "forms.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["f0", "f1", "leaves"])
        told = zip(numbers.tolist(), labels, strict=True)
        lines.writerows([*row, label] for row, label in told)
    rows = ("--eval", "forms.csv", "--label", "leaves")
    words = ("optimize", "trees:1.0.0", *rows, "--passes", "trees,onnx_clean")
    found = desk.mw(*words, "--budget", "60s", "--json").json
    assert found["conclusion"]
    kept = [one["variant"] for one in found["findings"] if one["ending"] == "kept"]
    listed = desk.mw("variants", "trees:1.0.0", "--json").json
    assert {one["name"] for one in listed} == set(kept)
    assert found["conclusion"] in desk.mw("optimize", "report", "trees:1.0.0").out
    for name in kept[:1]:
        with desk.running("serve", "trees:1.0.0", "--variant", name, "--port", "0") as server:
            told = predict(server.said["url"], "trees", numbers.tolist())["predictions"]
            server.drain()
        assert np.mean([one["label"] == was for one, was in zip(told, labels, strict=True)]) >= 0.9
