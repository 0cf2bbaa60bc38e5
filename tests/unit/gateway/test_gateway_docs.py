"""Every option, metric and own path of the gateway stands on its page."""

from pathlib import Path

import pytest

from modelworks.apps.gateway_settings import HELP, GatewaySettings
from modelworks.apps.options import option_of
from modelworks.core.errors import InvalidError
from modelworks.gateway.counts import Counts
from modelworks.gateway.metrics import families
from modelworks.gateway.own import LIVE, READY

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text(encoding="utf-8")


def test_every_option():
    hidden = {"announce", "with_parent"}
    assert [name for name in HELP if name not in hidden and option_of(name) not in PAGE] == []


def test_every_metric_and_path():
    names = [family.shown for family in families(Counts(), None, 0, 0, 0.0)]
    short = [name.removeprefix("modelworks_gateway_") for name in names]
    assert [name for name in short if f"`{name}`" not in PAGE] == []
    assert LIVE.decode() in PAGE
    assert READY.decode() in PAGE


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ([], "snapshot"),
        (["--snapshot", "http://a/b"], "cache"),
        (["--snapshot", "f", "--workers", "0"], "workers"),
        (["--snapshot", "f", "--tls-key", "k"], "tls_key"),
        (["--snapshot", "f", "--access-log-format", "xml"], "access_log_format"),
    ],
)
def test_settings_that_cannot_be_meant(arguments, field):
    with pytest.raises(InvalidError) as caught:
        GatewaySettings.read(arguments, {})
    assert caught.value.field == field


def test_settings_of_the_environment():
    told = {"MODELWORKS_GATEWAY_SNAPSHOT": "f", "MODELWORKS_GATEWAY_BEHIND_PROXY": "1"}
    found = GatewaySettings.read(["--port", "1"], told)
    assert (found.snapshot, found.behind_proxy, found.port) == ("f", True, 1)
    with pytest.raises(InvalidError, match="no setting"):
        GatewaySettings.read(["--snapshot", "f"], {"MODELWORKS_GATEWAY_X": "1"})


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("BEHIND_PROXY", "true", "0 or 1 is wanted, not 'true'"),
        ("BEHIND_PROXY", "", "0 or 1"),
        ("WITH_PARENT", "yes", "0 or 1"),
        ("PORT", "many", "'many' is no int"),
        ("CHECK_SECONDS", "soon", "no float"),
        ("WORKER", "{}", "no setting"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused(variable, text, said):
    name = f"MODELWORKS_GATEWAY_{variable}"
    with pytest.raises(InvalidError, match=said) as caught:
        GatewaySettings.read(["--snapshot", "f"], {name: text})
    assert caught.value.field == name


def test_a_switch_that_is_off_in_the_environment():
    told = {"MODELWORKS_GATEWAY_BEHIND_PROXY": "0"}
    assert not GatewaySettings.read(["--snapshot", "f"], told).behind_proxy
    assert GatewaySettings.read(["--snapshot", "f", "--behind-proxy"], told).behind_proxy
