"""Every scikit-learn estimator goes through the import; the page in `docs` says how it went."""

import os

import pytest

import estimator_table as table
from modelworks.sandbox.jobs import Warm

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def test_the_page_says_what_happens(tmp_path_factory):
    lines = []
    with Warm(table.MODULES) as warm:
        for name, estimator in table.examples().items():
            lines.append(table.line(name, estimator, tmp_path_factory.mktemp("import"), warm))
    assert sum(line.imported for line in lines) >= 60
    if os.environ.get("MODELWORKS_WRITE_DOCS") == "1":
        table.DOC.write_text(table.page(lines))
    found = {line.name: line.imported for line in lines}
    assert found == table.documented(), [
        line.text for line in lines if table.documented().get(line.name) != line.imported
    ]
