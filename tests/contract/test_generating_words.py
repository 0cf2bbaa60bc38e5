"""The contract of sessions that generate, held by the one without a model."""

import pytest

from modelworks.testing.generating import GeneratingContract, Words

pytestmark = pytest.mark.contract


class TestWords(GeneratingContract):
    """`Words`."""

    @pytest.fixture
    def session(self):
        session = Words()
        yield session
        session.close()
