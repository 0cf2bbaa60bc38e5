"""What the environment says of the import sandbox's limits."""

import pytest

from modelworks.apps.embed import Settings
from modelworks.apps.limits import limits_of
from modelworks.core.errors import InvalidError
from modelworks.sandbox.limits import GIB, Limits

pytestmark = pytest.mark.unit


def test_nothing_said_is_the_default():
    assert limits_of({}) == Limits()
    assert limits_of({"MODELWORKS_IMPORT_MEMORY": "", "MODELWORKS_IMPORT_SECONDS": ""}) == Limits()


def test_what_is_said_counts():
    found = Settings.read({"MODELWORKS_IMPORT_MEMORY": "24", "MODELWORKS_IMPORT_SECONDS": "3600"})
    assert found.limits.memory_bytes == 24 * GIB
    assert found.limits.wall_seconds == 3600.0
    assert found.limits.cpu_seconds == 7200


@pytest.mark.parametrize("value", ["much", "-1", "0", "nan", "1e9"])
@pytest.mark.parametrize("name", ["MODELWORKS_IMPORT_MEMORY", "MODELWORKS_IMPORT_SECONDS"])
def test_what_is_no_number_is_refused_by_its_name(name, value):
    with pytest.raises(InvalidError, match=name) as caught:
        limits_of({name: value})
    assert caught.value.field == name
