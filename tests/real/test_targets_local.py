"""The target `local` for real: the contract of targets."""

import pytest

from local_place import place
from modelworks.testing.targets import TargetContract

pytestmark = pytest.mark.real


class TestLocal(TargetContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        return place(tmp_path_factory.mktemp("local") / "target", tmp_path_factory.mktemp("tls"))
