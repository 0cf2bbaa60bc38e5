"""Train a small classifier and write what a user would bring: the model file and a sample.

    python examples/train.py [FOLDER]      # writes cancer.joblib and cancer.csv, about 2 seconds

A gradient-boosting pipeline on the breast-cancer data that scikit-learn ships: 569 rows, 30
columns.
"""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    """Train, save, say where."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    data = load_breast_cancer(as_frame=True)
    labels = data.target.map(dict(enumerate(data.target_names)))
    train_x, test_x, train_y, test_y = train_test_split(data.data, labels, random_state=7)
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=7))
    model.fit(train_x, train_y)
    joblib.dump(model, folder / "cancer.joblib")
    test_x.to_csv(folder / "cancer.csv", index=False)
    print(f"accuracy on {len(test_x)} unseen rows: {model.score(test_x, test_y):.3f}")
    print(f"wrote {folder / 'cancer.joblib'} and {folder / 'cancer.csv'}")


if __name__ == "__main__":
    main()
