"""One fitted example of every scikit-learn estimator, and pipelines as people write them."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators, get_tags

ROWS = 150
TEXTS = [
    "the cat sat on the mat",
    "a dog ate the bone",
    "cats and dogs live together",
    "the bone was on the mat",
    "no animal sat there",
] * 30


def numbers(seed: int = 0) -> tuple[Any, Any, Any]:
    """Features, classes (three of them) and a regression target."""
    random = np.random.default_rng(seed)
    x = random.normal(2.0, 1.5, (ROWS, 5))
    target = x @ [1.0, -2.0, 0.5, 0.0, 0.3] + 0.1 * random.normal(size=ROWS)
    return x, np.digitize(target, np.quantile(target, [0.33, 0.66])), target


def frame(seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """A table with numbers and texts, and two classes."""
    x, _, target = numbers(seed)
    random = np.random.default_rng(seed)
    table = pd.DataFrame({"age": x[:, 0] * 20, "income": x[:, 1] * 1000})
    table["city"] = random.choice(["Paris", "Rome", "Oslo"], ROWS)
    table["plan"] = random.choice(["free", "paid"], ROWS)
    return table, np.where(target > np.median(target), "yes", "no")


# Estimators that must be told something before they can be fitted at all.
_MADE: dict[str, Callable[[type], Any]] = {
    "ClassifierChain": lambda c: c(LogisticRegression()),
    "ColumnTransformer": lambda c: c([("a", StandardScaler(), [0, 1]), ("b", PCA(2), [2, 3, 4])]),
    "FeatureUnion": lambda c: c([("a", StandardScaler()), ("b", PCA(2))]),
    "FixedThresholdClassifier": lambda c: c(LogisticRegression()),
    "FrozenEstimator": lambda c: c(LogisticRegression().fit(*numbers()[:2])),
    "GaussianRandomProjection": lambda c: c(n_components=3),
    "GridSearchCV": lambda c: c(LogisticRegression(), {"C": [0.5, 1.0]}, cv=3),
    "HalvingGridSearchCV": lambda c: c(LogisticRegression(), {"C": [0.5, 1.0]}, cv=3),
    "IsolationForest": lambda c: c(n_estimators=20),
    "GaussianMixture": lambda c: c(n_components=3),
    "BayesianGaussianMixture": lambda c: c(n_components=3),
    "CCA": lambda c: c(1),
    "PLSCanonical": lambda c: c(1),
    "PLSSVD": lambda c: c(1),
    "KBinsDiscretizer": lambda c: c(encode="ordinal", quantile_method="averaged_inverted_cdf"),
    "LocalOutlierFactor": lambda c: c(novelty=True),
    "MultiOutputClassifier": lambda c: c(LogisticRegression()),
    "MultiOutputRegressor": lambda c: c(Ridge()),
    "NearestNeighbors": lambda c: c(n_neighbors=3),
    "NuSVC": lambda c: c(nu=0.3),
    "OneHotEncoder": lambda c: c(handle_unknown="ignore", sparse_output=False),
    "OneVsOneClassifier": lambda c: c(LogisticRegression()),
    "OneVsRestClassifier": lambda c: c(LogisticRegression()),
    "OutputCodeClassifier": lambda c: c(LogisticRegression()),
    "Pipeline": lambda c: c([("scale", StandardScaler()), ("model", LogisticRegression())]),
    "RFE": lambda c: c(LogisticRegression(), n_features_to_select=3),
    "RFECV": lambda c: c(LogisticRegression(), cv=3),
    "RadiusNeighborsClassifier": lambda c: c(radius=20.0),
    "RadiusNeighborsRegressor": lambda c: c(radius=20.0),
    "RandomForestClassifier": lambda c: c(30),
    "RandomizedSearchCV": lambda c: c(LogisticRegression(), {"C": [0.5, 1.0]}, n_iter=2, cv=3),
    "RegressorChain": lambda c: c(Ridge()),
    "SelectFromModel": lambda c: c(LogisticRegression()),
    "SelfTrainingClassifier": lambda c: c(LogisticRegression()),
    "SequentialFeatureSelector": lambda c: c(LogisticRegression(), cv=3),
    "SparseCoder": lambda c: c(np.eye(5)),
    "SparseRandomProjection": lambda c: c(n_components=3),
    "StackingClassifier": lambda c: c([("a", LogisticRegression()), ("b", KNeighborsClassifier())]),
    "StackingRegressor": lambda c: c([("a", LinearRegression()), ("b", Ridge())]),
    "TunedThresholdClassifierCV": lambda c: c(LogisticRegression(), cv=3),
    "VotingClassifier": lambda c: c([("a", LogisticRegression()), ("b", DecisionTreeClassifier())]),
    "VotingRegressor": lambda c: c([("a", LinearRegression()), ("b", Ridge())]),
}
_TEXT = {"CountVectorizer", "HashingVectorizer", "TfidfVectorizer"}
_TWO_CLASSES = {
    "FixedThresholdClassifier",
    "GaussianProcessClassifier",
    "TargetEncoder",
    "TunedThresholdClassifierCV",
}
_COUNTS = {"CategoricalNB", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
_POSITIVE_TARGET = {"GammaRegressor", "PoissonRegressor", "TweedieRegressor"}
_TARGETS = {"MultiOutputClassifier", "ClassifierChain"}


def every_estimator() -> list[str]:
    """Names of all public estimators of the installed scikit-learn."""
    return [name for name, _ in all_estimators()]


def fitted(name: str) -> Any:
    """A fitted example of an estimator.

    Raises:
        Exception: it cannot be fitted on any of the data here; whatever scikit-learn says.
    """
    kind = dict(all_estimators())[name]
    np.random.seed(0)  # noqa: NPY002 - what estimators without a random_state draw from
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = _MADE.get(name, lambda c: c())(kind)
        return estimator.fit(*_data(name, estimator))


def _data(name: str, estimator: Any) -> tuple[Any, ...]:
    """What to fit it on."""
    x, classes, target = numbers()
    peculiar = {
        **dict.fromkeys(_TEXT, (TEXTS,)),
        "DictVectorizer": ([{"a": 1.0, "b": 2.0}, {"a": 3.0}],),
        "FeatureHasher": ([{"a": 1, "b": 2}],),
        "LabelBinarizer": (classes,),
        "LabelEncoder": (classes,),
        "MultiLabelBinarizer": ([[1, 2], [3]],),
        "KernelCenterer": (x @ x.T,),
        "IsotonicRegression": (x[:, 0], target),
        "PatchExtractor": (np.zeros((3, 8, 8)),),
    }
    return peculiar.get(name) or (_features(name, estimator), _target(name, estimator))


def _features(name: str, estimator: Any) -> Any:
    x = numbers()[0]
    if name in _COUNTS:
        return np.floor(np.abs(x)).clip(0, 3).astype(np.int64)
    positive = get_tags(estimator).input_tags.positive_only or name.endswith("NB")
    return np.abs(x) if positive or name == "SkewedChi2Sampler" else x


def _target(name: str, estimator: Any) -> Any:
    x, classes, target = numbers()
    tags = get_tags(estimator).target_tags
    if name in _TWO_CLASSES:
        return (classes > 1).astype(int)
    if name in _TARGETS:
        return np.stack([classes, (target > 0).astype(int)], axis=1)
    if not is_regressor(estimator):
        return classes
    if tags.positive_only or name in _POSITIVE_TARGET:
        return np.abs(target) + 1
    if (tags.multi_output and not tags.single_output) or name == "PLSSVD":
        return np.stack([target, np.sin(x[:, 1])], axis=1)
    return target


def pipelines() -> dict[str, Any]:
    """Name -> fitted pipeline."""
    np.random.seed(0)  # noqa: NPY002 - as above
    x, classes, target = numbers()
    table, answer = frame()
    holes = x.copy()
    holes[::4, 1] = np.nan
    named = pd.DataFrame(x, columns=["a", "b", "c d", "label", "e"])
    mixed = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        ]
    )
    ordinal = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), MinMaxScaler()), ["age", "income"]),
            (
                "texts",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                ["city", "plan"],
            ),
        ]
    )
    dropping = ColumnTransformer(
        [("numbers", "passthrough", ["age"]), ("texts", OneHotEncoder(), ["city"])]
    )
    named_numbers = ColumnTransformer(
        [("one", StandardScaler(), ["a", "b"]), ("two", MinMaxScaler(), ["c d"])],
        remainder="passthrough",
    )
    both = np.stack([classes, (target > 0).astype(int)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "scaler + logistic regression": make_pipeline(
                StandardScaler(), LogisticRegression()
            ).fit(x, classes),
            "scaler + linear regression, values near 1e8": make_pipeline(
                StandardScaler(), LinearRegression()
            ).fit(x + 1e8, target),
            "named columns, mixed scalers": make_pipeline(named_numbers, LogisticRegression()).fit(
                named, classes
            ),
            "numbers and texts, logistic regression": make_pipeline(
                mixed, LogisticRegression()
            ).fit(table, answer),
            "numbers and texts, gradient boosting": make_pipeline(
                ordinal, GradientBoostingClassifier(n_estimators=20)
            ).fit(table, answer),
            "numbers and texts, some columns dropped": make_pipeline(
                dropping, RandomForestClassifier(20)
            ).fit(table, answer),
            "texts, tf-idf + logistic regression": make_pipeline(
                TfidfVectorizer(), LogisticRegression()
            ).fit(TEXTS, answer),
            "texts, tf-idf + naive Bayes": make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(
                TEXTS, classes
            ),
            "imputer + scaler + support vectors": make_pipeline(
                SimpleImputer(), StandardScaler(), SVC(probability=False)
            ).fit(holes, classes),
            "feature union": make_pipeline(
                FeatureUnion([("pca", PCA(2)), ("best", SelectKBest(k=2))]), LogisticRegression()
            ).fit(x, classes),
            "grid search over a pipeline": GridSearchCV(
                make_pipeline(StandardScaler(), LogisticRegression()),
                {"logisticregression__C": [0.1, 1.0]},
                cv=3,
            ).fit(x, classes),
            "random search over a forest": RandomizedSearchCV(
                RandomForestClassifier(10), {"max_depth": [3, 5]}, n_iter=2, cv=3
            ).fit(x, classes),
            "calibrated forest": CalibratedClassifierCV(RandomForestClassifier(10), cv=3).fit(
                x, classes
            ),
            "isotonic calibration": CalibratedClassifierCV(
                SGDClassifier(), method="isotonic", cv=3
            ).fit(x, classes),
            "voting": VotingClassifier(
                [("a", LogisticRegression()), ("b", ExtraTreesClassifier(10))], voting="soft"
            ).fit(x, classes),
            "stacking": StackingClassifier(
                [("a", RandomForestClassifier(10)), ("b", KNeighborsClassifier())], cv=3
            ).fit(x, classes),
            "voting regressors": VotingRegressor(
                [("a", Ridge()), ("b", RandomForestRegressor(10))]
            ).fit(x, target),
            "multi-output classifier": MultiOutputClassifier(LogisticRegression()).fit(x, both),
            "multi-output regressor": MultiOutputRegressor(Ridge()).fit(
                x, np.stack([target, -target], axis=1)
            ),
            "multi-output forest": RandomForestClassifier(10).fit(x, both),
            "network": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=300)).fit(
                x, classes
            ),
            "scaler + k-means": make_pipeline(StandardScaler(), KMeans(3)).fit(x),
            "scaler + isolation forest": make_pipeline(
                StandardScaler(), IsolationForest(n_estimators=20)
            ).fit(x),
            "boosting, trained with missing values": HistGradientBoostingClassifier(
                max_iter=20
            ).fit(holes, classes),
            "forest, trained with missing values": RandomForestClassifier(20).fit(holes, classes),
            "forest, classes are texts": RandomForestClassifier(20).fit(
                x, np.array(["low", "mid", "high"])[classes]
            ),
            "forest, classes are booleans": RandomForestClassifier(20).fit(x, target > 0),
        }
