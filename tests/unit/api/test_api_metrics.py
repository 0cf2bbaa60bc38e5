"""`/metrics` of the control plane, with what the watch has stored."""

import time
import warnings

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from starlette.exceptions import StarletteDeprecationWarning

from modelworks.api.app import create_app
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.core.series import Series

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

pytestmark = pytest.mark.unit
OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0"}


@pytest.fixture
def factory(tmp_path):
    with Factory(Home(tmp_path / "home")) as factory:
        yield factory


def told(factory, source):
    """Families by name, as the strict parser reads them."""
    watch = Watch(factory.home)
    with TestClient(create_app(factory, watch, series=source), "http://127.0.0.1") as client:
        plain = client.get("/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# EOF" not in plain.text
        answer = client.get("/metrics", headers=OPENMETRICS)
        assert "/metrics" not in client.get("/api/v1/openapi.json").json()["paths"]
    watch.close()
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.headers["content-type"] == kind
    return {family.name: family.samples for family in strict(answer.text)}


def test_the_newest_value_of_each_series_is_told(factory):
    now = int(time.time()) // 60 * 60
    labels = {"model": "fraud", "version": "1.0.0", "feature": "age", "method": "psi"}
    source = factory.watching.series
    source.append([Series("drift", labels, (now - 120, now - 60), (0.25, 0.5))])
    found = told(factory, source)
    [drift] = found["modelworks_drift"]
    assert drift.value == 0.5
    assert labels.items() <= drift.labels.items()
    assert found["modelworks_control_build"][0].value == 1
    assert found["modelworks_quality"] == []


def test_series_that_cannot_be_read_leave_the_others(factory, caplog):
    class Source:
        def select(self, name, labels, since, until):
            if name == "drift":
                raise InvalidError("more than one answer holds")
            return [Series(name, {"model": "m"}, (until,), (1.0,))]

    found = told(factory, Source())
    assert found["modelworks_drift"] == []
    assert found["modelworks_quality"][0].value == 1
    assert "drift is missing in /metrics: more than one answer holds" in caplog.text
