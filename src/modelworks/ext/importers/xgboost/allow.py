"""What an XGBoost file may name: data, with the reason for each entry."""

from modelworks.ext.importers.pickles.allow import NUMPY, STDLIB_SAFE, AllowList, Entry

ALLOWED = AllowList(
    "XGBoost",
    exact=(
        Entry(
            (
                "xgboost.core.Booster",
                "xgboost.sklearn.XGBModel",
                "xgboost.sklearn.XGBClassifier",
                "xgboost.sklearn.XGBRegressor",
                "xgboost.sklearn.XGBRanker",
                "xgboost.sklearn.XGBRFClassifier",
                "xgboost.sklearn.XGBRFRegressor",
            ),
            "the models themselves; their state is a buffer for XGBoost's own parser",
        ),
        Entry(
            (
                "xgboost.callback.EarlyStopping",
                "xgboost.callback.EvaluationMonitor",
                "xgboost.callback.LearningRateScheduler",
            ),
            "training callbacks that a wrapper keeps; never called",
        ),
        Entry(
            ("sklearn.preprocessing._label.LabelEncoder",),
            "wrappers before XGBoost 1.6 kept their labels in one",
        ),
    ),
).including(NUMPY, STDLIB_SAFE)
