"""Event files as TensorBoard's own reader sees them; slices as TFMA's messages parse."""

import warnings

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf import wrappers_pb2 as _wrappers  # noqa: F401 - registers what is imported

from modelworks.core.errors import InvalidError
from modelworks.evaluation import predictions as rows
from modelworks.evaluation import records, tensorboard, tfma
from modelworks.evaluation.report import evaluate

pytestmark = pytest.mark.unit


def accumulated(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "histograms": 0})
        found.Reload()
    return found


def test_the_checksum_is_the_one_of_the_rfc():
    assert records.crc32c(b"123456789") == 0xE3069283
    assert records.crc32c(bytes(32)) == 0x8A9136AA
    assert records.crc32c(b"\xff" * 32) == 0x62A8AB43


def test_tensorboard_reads_scalars_and_histograms(tmp_path):
    values = np.random.default_rng(0).normal(size=500)
    steps = [
        (1, 10.0, [tensorboard.scalar("loss", 0.5), tensorboard.histogram("residuals", values)]),
        (200, 11.5, [tensorboard.scalar("loss", 0.25)]),
    ]
    tensorboard.write_events(tmp_path, steps, at=9.0)
    found = accumulated(tmp_path)
    assert [(e.step, e.wall_time, e.value) for e in found.Scalars("loss")] == [
        (1, 10.0, 0.5),
        (200, 11.5, 0.25),
    ]
    (histogram,) = found.Histograms("residuals")
    value = histogram.histogram_value
    assert (value.num, value.min, value.max) == (500, values.min(), values.max())
    assert value.sum_squares == pytest.approx(np.square(values).sum())
    counts, edges = np.histogram(values, bins=30)
    assert list(value.bucket) == counts.tolist()
    assert list(value.bucket_limit) == pytest.approx(edges[1:].tolist())


def test_tensorboard_reads_the_curve(tmp_path):
    from sklearn.metrics import precision_score, recall_score

    generator = np.random.default_rng(1)
    scores = generator.random(400)
    truth = (generator.random(400) < scores).astype(int)
    value = tensorboard.pr_curve("pr", truth, scores, np.ones(400))
    tensorboard.write_events(tmp_path, [(3, 1.0, [value])], at=1.0)
    found = accumulated(tmp_path)
    metadata = found.SummaryMetadata("pr")
    assert metadata.plugin_data.plugin_name == "pr_curves"
    assert metadata.plugin_data.content == b"\x10\x65"  # num_thresholds: 101
    (event,) = found.Tensors("pr")
    shape = [dim.size for dim in event.tensor_proto.tensor_shape.dim]
    data = np.frombuffer(event.tensor_proto.tensor_content, "<f4").reshape(shape)
    assert data.shape == (6, 101)
    for place in (0, 25, 80):
        said = scores >= place / 100
        assert data[4, place] == pytest.approx(precision_score(truth, said))
        assert data[5, place] == pytest.approx(recall_score(truth, said))
    assert data[:4].sum(axis=0) == pytest.approx(400)


def test_training_curves(tmp_path):
    columns = {
        "epoch": np.array([1.0, 2.0, 1.0]),
        "time": np.array([5, 6, 7]),
        "run": np.array(["a", "a", "../b"], object),
        "loss": np.array([0.5, np.nan, 0.7]),
        "auc": np.array([0.7, 0.8, 0.9]),
        "note": np.array(["x", "y", "z"], object),
    }
    paths = tensorboard.write_curves(tmp_path, columns, at=1.0)
    assert sorted(path.parent.name for path in paths) == ["_b", "a"]
    found = accumulated(tmp_path / "a")
    assert found.Tags()["scalars"] == ["loss", "auc"]
    assert [(e.step, e.wall_time) for e in found.Scalars("loss")] == [(1, 5)]
    assert [e.step for e in found.Scalars("auc")] == [1, 2]


@pytest.mark.parametrize(
    "case",
    [
        ({"step": [1.5], "loss": [1.0]}, "whole numbers"),
        ({"step": [1], "note": ["a"]}, "no column of numbers"),
        ({"step": [1], "time": [np.nan], "loss": [1.0]}, "time"),
    ],
)
def test_curves_that_cannot_be(tmp_path, case):
    columns, message = case
    with pytest.raises(InvalidError, match=message):
        tensorboard.write_curves(tmp_path, {n: np.array(c) for n, c in columns.items()}, 1.0)


def test_two_writers_never_share_a_file(tmp_path):
    paths = {tensorboard.write_events(tmp_path, [], at=1.0) for _ in range(3)}
    assert len(paths) == 3
    (tmp_path / "file").touch()
    with pytest.raises(InvalidError, match="cannot be written"):
        tensorboard.write_events(tmp_path / "file" / "x", [], at=1.0)


def messages():
    """The part of TFMA's metrics_for_slice.proto that is written: names and numbers."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfma.proto", package="tfma", dependency=["google/protobuf/wrappers.proto"]
    )
    file.syntax = "proto3"
    kinds = {"string": 9, "bytes": 12, "message": 11}
    wanted = {
        "SubKey": [
            ("class_id", 1, "Int32Value"),
            ("k", 2, "Int32Value"),
            ("top_k", 3, "Int32Value"),
        ],
        "MetricKey": [("name", 1, "string"), ("sub_key", 3, "SubKey")],
        "BoundedValue": [
            ("lower_bound", 1, "DoubleValue"),
            ("upper_bound", 2, "DoubleValue"),
            ("value", 3, "DoubleValue"),
        ],
        "MetricValue": [("double_value", 1, "DoubleValue"), ("bounded_value", 2, "BoundedValue")],
        "SingleSliceKey": [("column", 1, "string"), ("bytes_value", 2, "bytes")],
        "SliceKey": [("single_slice_keys", 1, "SingleSliceKey*")],
        "MetricKeyAndValue": [("key", 1, "MetricKey"), ("value", 2, "MetricValue")],
        "MetricsForSlice": [
            ("slice_key", 1, "SliceKey"),
            ("metric_keys_and_values", 51, "MetricKeyAndValue*"),
        ],
    }
    for name, fields in wanted.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            base = kind.removesuffix("*")
            added = message.field.add(name=field, number=number, type=kinds.get(base, 11))
            added.label = 3 if kind.endswith("*") else 1
            if base not in kinds:
                package = (
                    "google.protobuf" if base.endswith("Value") and base not in wanted else "tfma"
                )
                added.type_name = f".{package}.{base}"
    pool = descriptor_pool.Default()
    try:
        found = pool.FindMessageTypeByName("tfma.MetricsForSlice")
    except KeyError:
        pool.Add(file)
        found = pool.FindMessageTypeByName("tfma.MetricsForSlice")
    return message_factory.GetMessageClass(found)


def test_tfmas_messages_parse_both_ways_and_say_the_same(tmp_path):
    kind = messages()
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 200)
    said = np.where(generator.random(200) < 0.8, truth, 0)
    columns = {"region": np.array(["eu", "us"] * 100, object)}
    found = evaluate(rows.multiclass(truth, labels=said), columns=columns, by=["region"])
    tfma.write(tmp_path, found)
    written = (tmp_path / tfma.RECORDS).read_bytes()
    assert written == records.framed(tfma.messages(found))
    parsed = [kind.FromString(one) for one in tfma.messages(found)]
    as_json = [json_format.ParseDict(one, kind()) for one in tfma.documents(found)]
    assert parsed == as_json
    assert len(parsed) == 3
    (key,) = parsed[1].slice_key.single_slice_keys
    assert (key.column, key.bytes_value) == ("region", b"eu")
    values = {
        v.key.name: v.value
        for v in parsed[0].metric_keys_and_values
        if not v.key.HasField("sub_key")
    }
    accuracy = values["accuracy"].bounded_value
    assert accuracy.value.value == (truth == said).mean()
    assert accuracy.lower_bound.value < accuracy.value.value < accuracy.upper_bound.value
    assert values["example_count"].double_value.value == 200
    classes = [
        v.key.sub_key.class_id.value
        for v in parsed[0].metric_keys_and_values
        if v.key.name == "f1_score" and v.key.HasField("sub_key")
    ]
    assert classes == [0, 1, 2]


def test_tfmas_keys_of_a_ranking_and_of_what_is_not_defined():
    kind = messages()
    found = evaluate(rows.ranking([1, 0, 2], [3, 2, 1], ["a", "a", "b"]))
    parsed = kind.FromString(tfma.messages(found)[0])
    tops = {v.key.name: v.key.sub_key.top_k.value for v in parsed.metric_keys_and_values}
    assert tops["ndcg"] == 10
    found = evaluate(rows.binary([0, 0], scores=[0.2, 0.3]))
    parsed = json_format.ParseDict(tfma.documents(found)[0], kind())
    values = {v.key.name: v.value for v in parsed.metric_keys_and_values}
    assert np.isnan(values["auc"].double_value.value)
