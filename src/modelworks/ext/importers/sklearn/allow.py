"""What a scikit-learn file may name: data, with the reason for each entry."""

from modelworks.ext.importers.pickles.allow import (
    NUMPY,
    SCIPY_SPARSE,
    STDLIB_SAFE,
    AllowList,
    Entry,
)


def _each(module: str, names: str) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name in names.split())


SKLEARN = AllowList(
    "scikit-learn",
    exact=(
        Entry(
            (
                "sklearn.neighbors._kd_tree.newObj",
                "sklearn.neighbors._ball_tree.newObj",
                "sklearn.metrics._dist_metrics.newObj",
            ),
            "how Cython classes without a constructor are made: `cls.__new__(cls)`",
        ),
        Entry(
            (
                *_each(
                    "sklearn._loss._loss",
                    "__pyx_unpickle_CyLossFunction __pyx_unpickle_CyHalfSquaredError "
                    "__pyx_unpickle_CyAbsoluteError __pyx_unpickle_CyPinballLoss "
                    "__pyx_unpickle_CyHuberLoss __pyx_unpickle_CyHalfPoissonLoss "
                    "__pyx_unpickle_CyHalfGammaLoss __pyx_unpickle_CyHalfTweedieLoss "
                    "__pyx_unpickle_CyHalfTweedieLossIdentity __pyx_unpickle_CyHalfBinomialLoss "
                    "__pyx_unpickle_CyHalfMultinomialLoss __pyx_unpickle_CyExponentialLoss",
                ),
            ),
            "Cython's constructors of loss functions; they check a checksum and make an instance",
        ),
        Entry(
            _each(
                "sklearn.feature_selection._univariate_selection",
                "f_classif f_regression chi2 f_oneway r_regression",
            )
            + _each(
                "sklearn.feature_selection._mutual_info",
                "mutual_info_classif mutual_info_regression",
            ),
            "score functions of feature selectors: arithmetic on arrays",
        ),
        Entry(
            _each(
                "sklearn.metrics._classification",
                "accuracy_score balanced_accuracy_score f1_score precision_score recall_score "
                "log_loss jaccard_score matthews_corrcoef brier_score_loss",
            )
            + _each("sklearn.metrics._ranking", "roc_auc_score average_precision_score")
            + _each(
                "sklearn.metrics._regression",
                "r2_score mean_squared_error root_mean_squared_error mean_absolute_error "
                "median_absolute_error explained_variance_score max_error mean_poisson_deviance "
                "mean_gamma_deviance mean_absolute_percentage_error",
            ),
            "what a parameter search was scored by: arithmetic on arrays",
        ),
        Entry(
            _each("sklearn.cluster._kmeans", "_kmeans_single_lloyd _kmeans_single_elkan"),
            "the inner step of a bisecting k-means: arithmetic on arrays",
        ),
        Entry(
            ("scipy.interpolate._interpolate.interp1d", "scipy.interpolate._bsplines.BSpline"),
            "isotonic calibration and splines keep their interpolation",
        ),
        Entry(
            _each("scipy.stats._distn_infrastructure", "rv_continuous_frozen rv_discrete_frozen"),
            "distributions that a random search drew from",
        ),
    ),
    packages=(Entry(("sklearn",), "estimators and their parts; classes only, never functions"),),
    excluded=(
        Entry(
            (
                "sklearn.conftest",
                "sklearn.datasets",
                "sklearn.externals",
                "sklearn.tests",
                "sklearn.utils._joblib",
                "sklearn.utils._mocking",
                "sklearn.utils._show_versions",
                "sklearn.utils._test_common",
                "sklearn.utils._testing",
                "sklearn.utils.discovery",
                "sklearn.utils.estimator_checks",
                "sklearn.utils.fixes",
                "sklearn.utils.parallel",
            ),
            "downloads, tests, bundled projects and process pools: no part of any fitted model",
        ),
    ),
).including(STDLIB_SAFE, NUMPY, SCIPY_SPARSE)
