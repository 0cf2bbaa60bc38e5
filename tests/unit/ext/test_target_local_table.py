"""The target `local` on paper: its table, and what it renders."""

import pytest

from modelworks.ext.targets.local import LocalTarget
from modelworks.testing.targets import TableCase, TargetTable

pytestmark = pytest.mark.unit


class TestLocalTable(TargetTable):
    @pytest.fixture
    def case(self, tmp_path):
        return TableCase(LocalTarget, LocalTarget().open({}, tmp_path))
