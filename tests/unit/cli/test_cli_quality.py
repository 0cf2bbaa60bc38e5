"""`quality`: set, shown, listed, removed; refused with the field."""

import pytest

from modelworks.cli.exits import Exit
from modelworks.control.service import Factory
from modelworks.core.tensor import Datatype, Layout, Role, Signature, TensorSpec
from modelworks.testing.candidates import candidate

pytestmark = pytest.mark.unit


@pytest.fixture
def model(home, tmp_path):
    outputs = (TensorSpec("relevance", Datatype.FP32, (None,), Role.SCORE),)
    inputs = (TensorSpec("input", Datatype.FP32, (None, 2)),)
    signature = Signature(inputs, outputs, Layout.MATRIX, ("x", "country"))
    with Factory(home) as factory:
        one = candidate(tmp_path / "work", b"model", "search")
        values = {name: getattr(one, name) for name in one.__dataclass_fields__}
        factory.publish(type(one)(**{**values, "signature": signature}))


def test_from_set_to_remove(type_, model):
    asked = ("--task", "ranking", "--metric", "ndcg", "--slice", "country", "--query", "x")
    done = type_("quality", "set", "search", *asked)
    assert done.out.splitlines() == [
        "search:1.0.0: ranking, score out.relevance, query in.x",
        "slices: in.country",
        "metrics: ndcg, from 30 rows on",
    ]
    told = type_("quality", "show", "search", "--json").json
    assert told["plan"]["task"] == "ranking"
    assert told["asked"]["document"]["slices"] == ["country"]
    assert "ranking  country  ndcg" in type_("quality", "list").out
    (listed,) = type_("quality", "list", "--json").json
    assert (listed["model"], listed["document"]["query"]) == ("search", "x")
    assert "quality/search" in type_("audit").out
    assert type_("quality", "remove", "search").code == Exit.OK
    assert type_("quality", "list", "--json").json == []
    assert "regression, label out.relevance" in type_("quality", "show", "search").out


def test_what_is_not_there(type_, model):
    done = type_("quality", "set", "search", "--slice", "region")
    assert done.code == Exit.INVALID
    assert "no column 'region': inputs (x, country)" in done.err
    assert type_("quality", "set", "nobody").code == Exit.NOT_FOUND
    assert type_("quality", "remove", "search").code == Exit.NOT_FOUND
    assert type_("quality", "set", "search", "--task", "guess").code == Exit.USAGE
