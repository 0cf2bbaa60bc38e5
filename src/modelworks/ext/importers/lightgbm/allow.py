"""What a LightGBM file may name: data, with the reason for each entry."""

from modelworks.ext.importers.pickles.allow import NUMPY, STDLIB_SAFE, AllowList, Entry

ALLOWED = AllowList(
    "LightGBM",
    exact=(
        Entry(
            (
                "lightgbm.basic.Booster",
                "lightgbm.sklearn.LGBMModel",
                "lightgbm.sklearn.LGBMClassifier",
                "lightgbm.sklearn.LGBMRegressor",
                "lightgbm.sklearn.LGBMRanker",
            ),
            "the models themselves; their state is a text for LightGBM's own parser",
        ),
        Entry(
            ("sklearn.preprocessing._label.LabelEncoder",), "classifiers keep their labels in it"
        ),
    ),
).including(NUMPY, STDLIB_SAFE)
