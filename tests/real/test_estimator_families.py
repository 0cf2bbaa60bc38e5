"""The estimator table, reduced: one example a family, against the page in `docs`."""

import pytest

import estimator_table as table
import estimator_zoo as zoo
from modelworks.sandbox.jobs import Warm

pytestmark = pytest.mark.real

FAMILIES = [
    "LogisticRegression",
    "Ridge",
    "SVC",
    "KNeighborsClassifier",
    "GaussianNB",
    "GradientBoostingClassifier",
    "MLPClassifier",
    "KMeans",
    "PCA",
    "OneHotEncoder",
    "TfidfVectorizer",
    "OneClassSVM",
    "DBSCAN",
    "TunedThresholdClassifierCV",
]


@pytest.fixture(scope="module")
def warm():
    with Warm(table.MODULES) as host:
        yield host


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_imported_as_the_page_says(name, warm, tmp_path):
    line = table.line(name, zoo.fitted(name), tmp_path, warm)
    assert line.imported == table.documented()[name], line.text


def test_the_page_leaves_nobody_out():
    documented = table.documented()
    assert set(zoo.every_estimator()) <= documented.keys()
    assert sum(documented.values()) >= 60
