"""Train the models of `modelworks demo`: `python -m modelworks.ext.demo.train FOLDER`.

Writes what a user would bring (model files, samples), and `trained.json`: one entry a file with
its accuracy on rows it has not seen and the answers that the original gives there.
"""

import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

SEED = 7
_TELLER = """\
import json
import random


def load(folder):
    with open(folder / "following.json") as file:
        return json.load(file)


def generate(following, text, sampling):
    chance = random.Random(sampling.seed)
    first, second = ("", "", *text.split())[-2:]
    while following.get(f"{first} {second}"):
        first, second = second, chance.choice(following[f"{first} {second}"])
        yield " " + second
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """One file.

    Attributes:
        file: its name.
        sample: the file with rows that training has not seen.
        about: one sentence.
        accuracy: on those rows.
        answers: the original's labels for those rows, in order.
    """

    file: str
    sample: str
    about: str
    accuracy: float
    answers: list[str]


def cancer(folder: Path) -> list[Trained]:
    """Two generations of a gradient-boosting pipeline over named columns."""
    data = load_breast_cancer(as_frame=True)
    labels = data.target.map(dict(enumerate(data.target_names)))
    train_x, test_x, train_y, test_y = train_test_split(data.data, labels, random_state=SEED)
    test_x.to_csv(folder / "cancer.csv", index=False)
    found = []
    for file, trees in (("cancer-small.joblib", 20), ("cancer-large.joblib", 100)):
        model = _boosted(list(train_x.columns), trees)
        model.fit(train_x, train_y)
        joblib.dump(model, folder / file)
        about = f"scikit-learn pipeline, {trees} boosted trees, 30 named columns"
        accuracy = float(model.score(test_x, test_y))
        answers = [str(label) for label in model.predict(test_x)]
        found.append(Trained(file, "cancer.csv", about, accuracy, answers))
    # What is known of the past: answers to patients that the answering model had not seen.
    said = cross_val_predict(_boosted(list(train_x.columns), 20), train_x, train_y, cv=3)
    known = train_x.assign(diagnosis=train_y, **{"out.label": said})
    known.to_csv(folder / "cancer-known.csv", index=False)
    return found


def _boosted(columns: list[str], trees: int) -> Any:
    scale = ColumnTransformer([("scale", StandardScaler(), columns)])
    return make_pipeline(scale, GradientBoostingClassifier(n_estimators=trees, random_state=SEED))


def digits(folder: Path) -> list[Trained]:
    """A network over 64 grey values."""
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images.astype(np.float32), labels, random_state=SEED
    )
    model = make_pipeline(
        MinMaxScaler(), MLPClassifier((64,), early_stopping=True, random_state=SEED)
    )
    model.fit(train_x, train_y)
    joblib.dump(model, folder / "digits.joblib")
    np.save(folder / "digits.npy", test_x)
    accuracy = float(model.score(test_x, test_y))
    answers = [str(label) for label in model.predict(test_x)]
    about = "scikit-learn network, 64 hidden units, 8x8 images"
    return [Trained("digits.joblib", "digits.npy", about, accuracy, answers)]


def neighbours(folder: Path) -> list[Trained]:
    """A vote among neighbours within a radius, which no converter to ONNX knows."""
    data = load_breast_cancer(as_frame=True)
    labels = data.target.map(dict(enumerate(data.target_names)))
    train_x, test_x, train_y, test_y = train_test_split(data.data, labels, random_state=SEED)
    vote = RadiusNeighborsClassifier(5.0, outlier_label="most_frequent")
    model = make_pipeline(StandardScaler(), vote).fit(train_x, train_y)
    joblib.dump(model, folder / "neighbours.joblib")
    accuracy = float(model.score(test_x, test_y))
    answers = [str(label) for label in model.predict(test_x)]
    about = "scikit-learn pipeline that no converter knows"
    return [Trained("neighbours.joblib", "cancer.csv", about, accuracy, answers)]


def stranger(folder: Path) -> None:
    """A file that is no model: whoever unpickles it runs the command in it."""
    command = f"touch {folder.resolve() / 'stranger-was-here'}"
    # Written by hand: GLOBAL, one argument, REDUCE, STOP.
    (folder / "stranger.pkl").write_bytes(f"cos\nsystem\n(V{command}\ntR.".encode())


def teller(folder: Path) -> None:
    """A model that tells on, word by word: which word follows which two in a text that it knows."""
    words = load_breast_cancer()["DESCR"].split()
    following: dict[str, list[str]] = {}
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        following.setdefault(f"{first} {second}", []).append(third)
    (folder / "teller").mkdir()
    (folder / "teller" / "following.json").write_text(json.dumps(following))
    (folder / "teller" / "model.py").write_text(_TELLER)


def cnn(folder: Path) -> list[Trained]:
    """A small convolutional network, where PyTorch is installed; else nothing."""
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        return []
    torch.manual_seed(SEED)
    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(pixels, labels, random_state=SEED)
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = torch.from_numpy(train_x), torch.from_numpy(train_y)
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        answers = model(torch.from_numpy(test_x)).argmax(1).numpy()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (x[:2],), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "digits-cnn.pt2")
    np.save(folder / "digits-cnn.npy", test_x)
    accuracy = float((answers == test_y).mean())
    about = "PyTorch convolutional network, exported by torch.export"
    labels_of = [str(label) for label in answers]
    return [Trained("digits-cnn.pt2", "digits-cnn.npy", about, accuracy, labels_of)]


def main() -> None:
    """Train all of them, and say how well they do."""
    folder = Path(sys.argv[1])
    stranger(folder)
    teller(folder)
    found = []
    for train in (cancer, digits, cnn, neighbours):
        for trained in train(folder):
            found.append(trained)
            print(  # noqa: T201 - this program's output is what the user watches
                f"{trained.file:<21} {trained.accuracy:.1%} right on {len(trained.answers)} "
                f"unseen rows: {trained.about}",
                flush=True,
            )
    (folder / "trained.json").write_text(json.dumps([asdict(trained) for trained in found]))


if __name__ == "__main__":
    main()
