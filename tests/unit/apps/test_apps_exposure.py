"""Who hears that an address is open, and what helps; what `up` hands on to its parts."""

import pytest

from modelworks.apps.control_tls import tls_files
from modelworks.apps.exposure import exposure
from modelworks.apps.up import UpSettings
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machines_own_addresses(host):
    assert exposure(host, "use it", keys=False, tls=False) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box.lan"])
def test_addresses_that_others_reach(host):
    told = exposure(host, "use it", keys=False, tls=True, cure=" or leave it")
    assert f"listening on {host}: everybody who reaches this address can use it" in told
    assert "--keys" in told
    assert told.endswith("or leave it")
    assert "without TLS" in exposure(host, "use it", keys=True, tls=False)
    assert exposure(host, "use it", keys=True, tls=True) == ""


def test_up_guards_both_parts(tmp_path):
    assert UpSettings(Home(tmp_path)).guard == []
    told = UpSettings(Home(tmp_path), keys="k", tls_cert="c", tls_key="p").guard
    assert told == ["--keys", "k", "--tls-cert", "c", "--tls-key", "p"]


def test_files_of_tls():
    assert tls_files("", "") is None
    both = tls_files("c", "")
    assert (str(both.certificate), str(both.key)) == ("c", "c")
    assert str(tls_files("c", "k").key) == "k"
    with pytest.raises(InvalidError, match="tls_cert"):
        tls_files("", "k")
