"""Writes this folder's files with the previous major versions of the libraries.

    pip install --target OLD --no-deps xgboost-cpu==2.1.4 lightgbm==3.3.5
    python tests/data/importers/make.py OLD

Each file is a model of three classes on scikit-learn's iris; `NAME.npy` is what the library that
wrote it predicts.
"""

import pickle
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

HERE = Path(__file__).parent
ROUNDS = 3


def main() -> None:
    """Train, save and predict with whatever lies in the folder that is named."""
    sys.path.insert(0, sys.argv[1])
    import lightgbm
    import xgboost

    rows, species = load_iris(return_X_y=True)
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2, "base_score": 0.3}
    booster = xgboost.train(settings, xgboost.DMatrix(rows, species), ROUNDS)
    booster.save_model(HERE / "xgboost-2.1.4.json")
    (HERE / "xgboost-2.1.4.pkl").write_bytes(pickle.dumps(booster))
    np.save(HERE / "xgboost-2.1.4.npy", booster.predict(xgboost.DMatrix(rows)))
    settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 4, "verbose": -1}
    forest = lightgbm.train(settings, lightgbm.Dataset(rows, species), ROUNDS)
    forest.save_model(HERE / "lightgbm-3.3.5.txt")
    (HERE / "lightgbm-3.3.5.pkl").write_bytes(pickle.dumps(forest))
    np.save(HERE / "lightgbm-3.3.5.npy", forest.predict(rows).astype(np.float32))


if __name__ == "__main__":
    main()
