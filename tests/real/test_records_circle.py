"""From a server's requests to a store, joined with what became of them, and a person erased."""

import http.client
import json
import time

import pyarrow.parquet as pq
import pytest

from modelworks.control.records.service import Records, lines_of
from modelworks.core.home import Home
from modelworks.core.records import Scan
from modelworks.protocol.records.frames import whole_frames
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ANA, BOB = "ana@example.org", "bob@example.org"
POLICY = {
    "sample": 1,
    "key": "header:X-Order",
    "subject": "header:X-User",
    "fields": [
        {"field": "header:X-User", "act": "tokenize"},
        {"field": "header:X-Order", "act": "hash"},
    ],
}


def ask(connection, name, user, order):
    entry = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
    body = json.dumps({"id": name, "inputs": [entry]})
    connection.request("POST", "/v2/models/double/infer", body, {"X-User": user, "X-Order": order})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200


def contents(path):
    """A file's bytes, and what is packed in them."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        yield repr(pq.ParquetFile(path).read().to_pydict()).encode()
    yield from (payload for _, payload in whole_frames(data))


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY))
    return path


def test_a_person_is_erased_while_the_server_goes_on(tmp_path, policy):
    home = Home(tmp_path / "home").create()
    verbs = Records(home)
    model = models.double(tmp_path / "double.onnx")
    options = ["--file", str(model), "--records", str(home.records), "--record-policy", str(policy)]
    with Server(options) as server:
        connection = http.client.HTTPConnection(server.address, timeout=20)
        for number in range(40):
            user = ANA if number % 4 == 0 else BOB
            ask(connection, f"r{number}", user, f"order-{number}")
        deadline = time.monotonic() + 60
        while verbs.compact().records < 40 and not list(verbs.scan(Scan())):
            assert time.monotonic() < deadline, "the logger closes its segment within ten seconds"
            time.sleep(0.3)
        verbs.intake.message(
            [
                {"model": "double", "prediction": "r1", "item": 1, "truth": 7},
                {"model": "double", "key": "order-2", "truth": 8},
                {"model": "double", "prediction": "r4", "truth": "what ana knows"},
                {"model": "double", "key": "order-8", "truth": "what ana owes"},
            ]
        )
        verbs.compact()
        found = [line for one in verbs.joining().join() for line in lines_of(one.batch)]
        truths = {(line["id"], line["item"]): line["truth"] for line in found}
        assert len(truths) == 80
        assert (truths["r1", 1], truths["r2", 0], truths["r1", 0]) == (7, 8, None)
        assert truths["r4", 0] == "what ana knows"
        assert truths["r8", 0] == "what ana owes"
        made = [
            verbs.export(Scan(), kind, tmp_path / "out") for kind in ("csv", "jsonl", "parquet")
        ]
        assert [one.lines for one in made] == [80, 80, 80]
        for number in range(40, 44):  # in the segment under way
            ask(connection, f"r{number}", ANA if number % 4 == 0 else BOB, f"order-{number}")
        time.sleep(0.3)  # the logger has them
        receipt = verbs.erase(ANA)
        assert (receipt.records, receipt.feedback, receipt.exported, receipt.vault) == (
            11,
            2,
            60,
            1,
        )
        ask(connection, "after", BOB, "order-after")
        connection.close()
    doomed = [
        ANA,
        "what ana",
        *(f'"r{n}"' for n in range(0, 44, 4)),
        *(f"'r{n}'" for n in range(0, 44, 4)),
    ]
    for root in (home.root, tmp_path / "out"):
        for path in root.rglob("*"):
            for content in contents(path) if path.is_file() else ():
                for text in doomed:
                    assert text.encode() not in content, (path, text)
    verbs.compact()
    left = {str(name) for batch in verbs.scan(Scan(), ["id"]) for name in batch.columns["id"]}
    assert left == {f"r{n}" for n in range(44) if n % 4} | {"after"}
