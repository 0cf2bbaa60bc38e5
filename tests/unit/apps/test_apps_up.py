"""`up` before it starts anything."""

import pytest

from modelworks.apps import up
from modelworks.core.errors import MissingExtraError

pytestmark = pytest.mark.unit


def test_a_missing_library_is_named_with_its_extra_before_anything_starts(home, monkeypatch):
    monkeypatch.setattr(up, "_PLATFORM", ("json", "modelworks_absent_library"))
    with pytest.raises(MissingExtraError, match="platform") as caught:
        up.run(up.UpSettings(home), lambda _: None, lambda _: None)
    assert caught.value.missing == "modelworks_absent_library"
    assert not (home.run / "up.lock").exists()
