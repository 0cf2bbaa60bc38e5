"""A user who has a network that reads digits, and rows that it was not shown."""

import csv
from pathlib import Path

import numpy as np

from desk import Desk


def digits_desk(folder: Path, epochs: int, rows: int) -> Desk:
    """The network is imported as `net`; `test.csv` has the rows with their label `digit`.

    Args:
        folder: of the user.
        epochs: that the network learns for.
        rows: of those that it was not shown, kept in `notes["rows"]`.
    """
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    desk = Desk(folder)
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, digits = images[order].astype(np.float32), digits[order]
    net = MLPClassifier((512, 512), max_iter=epochs, random_state=0, tol=99, n_iter_no_change=7)
    joblib.dump(net.fit(images[:900], digits[:900]), desk.folder / "net.joblib")
    with (desk.folder / "test.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*(f"x{n}" for n in range(64)), "digit"])
        lines.writerows(
            [*row.tolist(), int(d)] for row, d in zip(images[900:], digits[900:], strict=True)
        )
    desk.mw("import", "net.joblib", "--name", "net")
    desk.notes["rows"] = images[900 : 900 + rows].tolist()
    return desk
