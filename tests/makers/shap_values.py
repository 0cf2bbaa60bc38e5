"""Writes tests/data/explainers/shap.json: forests, and what the library `shap` says of them.

Run by hand, in an environment of its own: `pip install shap==0.51.0 scikit-learn==1.9.1`, then
`python tests/makers/shap_values.py tests/data/explainers/shap.json`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import shap
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor


def nodes(tree, scale):
    inner = tree.children_left >= 0
    return {
        "feature": np.where(inner, tree.feature, 0).tolist(),
        "threshold": np.where(inner, np.float32(tree.threshold), 0).astype(float).tolist(),
        "left": tree.children_left.tolist(),
        "right": tree.children_right.tolist(),
        "value": (tree.value.reshape(-1) * scale).tolist(),
    }


def case(name, model, trees, offset, scale, rows, background):
    explainer = shap.TreeExplainer(model, data=background, feature_perturbation="interventional")
    return {
        "name": name,
        "trees": [nodes(tree.tree_, scale) for tree in trees],
        "offset": offset,
        "rows": rows.tolist(),
        "background": background.tolist(),
        "base": float(np.ravel(explainer.expected_value)[0]),
        "values": np.asarray(explainer.shap_values(rows, check_additivity=False)).tolist(),
    }


def main(path):
    rng = np.random.default_rng(11)
    x = rng.normal(size=(400, 9)).astype(np.float32).astype(np.float64)
    y = x[:, 0] * x[:, 1] + np.maximum(x[:, 2], x[:, 3]) + 0.2 * rng.normal(size=400)
    rows, background = x[:6], x[100:112]
    forest = RandomForestRegressor(6, max_depth=9, random_state=0).fit(x, y)
    boosted = GradientBoostingClassifier(n_estimators=12, max_depth=3, random_state=0)
    boosted.fit(x, y > 0)
    prior = float(np.log((y > 0).mean() / (y <= 0).mean()))
    found = [
        case("forest", forest, forest.estimators_, 0.0, 1 / 6, rows, background),
        case("boosted", boosted, boosted.estimators_[:, 0], prior, 0.1, rows, background),
    ]
    Path(path).write_text(json.dumps({"shap": shap.__version__, "cases": found}))
    large = RandomForestRegressor(100, max_depth=8, random_state=0).fit(x, y)
    explainer = shap.TreeExplainer(large, data=x[:100], feature_perturbation="interventional")
    began = time.process_time()
    explainer.shap_values(x[100:300], check_additivity=False)
    taken = time.process_time() - began
    sys.stdout.write(f"100 trees of depth 8, 200 rows, background of 100: {taken:.2f} s\n")


if __name__ == "__main__":
    main(sys.argv[1])
